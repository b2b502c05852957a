use core::cmp;

use super::{Quota, Refusal};
use crate::time::Instant;

/// How full a bucket is, without the quota that it keeps: eight bytes, for tables in which many share one quota.
///
/// ```
/// use steadfast_core::rate_limit::{Level, Quota};
/// use steadfast_core::time::Instant;
///
/// let quota = Quota::per_second(1)?;
/// let mut customers = [Level::FULL; 1000];
/// assert!(customers[7].try_acquire(&quota, Instant::EPOCH, 1).is_ok());
/// assert!(customers[7].try_acquire(&quota, Instant::EPOCH, 1).is_err());
/// assert!(customers[8].try_acquire(&quota, Instant::EPOCH, 1).is_ok());
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// It means something only with the quota that it was used with before. One that is full again is as good as
/// [`Level::FULL`], and need not be kept. [`KeyedRateLimit`](super::KeyedRateLimit) is such a table.
#[derive(Debug, Eq, PartialEq)]
pub struct Level(u64);

impl Level {
    /// The level of a full bucket, under any quota.
    pub const FULL: Self = Self(0);

    /// Takes `n` tokens, or takes none and says when to come back. See
    /// [`TokenBucket::try_acquire`](super::TokenBucket::try_acquire).
    ///
    /// # Errors
    /// [`Refusal::NotYet`] until they are there; [`Refusal::Never`] if `n` is more than the burst.
    #[allow(clippy::inline_always)] // See `TokenBucket::try_acquire`.
    #[inline(always)]
    pub fn try_acquire(&mut self, quota: &Quota, now: Instant, n: u32) -> Result<(), Refusal> {
        self.0 = quota.take_now(self.0, now, n).ok_or_else(|| quota.refusal(self.0, now, n))?;
        Ok(())
    }

    /// How many tokens could be taken at `now`.
    pub fn available(&self, quota: &Quota, now: Instant) -> u32 {
        quota.available(self.0, now)
    }

    /// Whether it is full at `now`, and so as good as new.
    #[inline]
    pub fn is_full(&self, quota: &Quota, now: Instant) -> bool {
        self.0 <= quota.units_passed(now)
    }

    /// When it will be full; [`Instant::MAX`] if that is beyond the end of the clock.
    pub fn full_at(&self, quota: &Quota) -> Instant {
        quota.instant_at(self.0).unwrap_or(Instant::MAX)
    }

    /// Admits nothing before `until`, because the server said so; then one token, and the rate.
    pub fn block_until(&mut self, quota: &Quota, until: Instant) {
        self.0 = cmp::max(self.0, quota.blocked(until));
    }
}

/// Full.
impl Default for Level {
    fn default() -> Self {
        Self::FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::TokenBucket;

    #[test]
    fn it_is_a_bucket_that_is_told_its_quota() {
        let quota = Quota::per_second(10).and_then(|quota| quota.with_burst(5)).unwrap();
        let (mut level, mut bucket) = (Level::default(), TokenBucket::new(quota));
        for (millis, n) in [(0, 2), (0, 3), (0, 1), (150, 1), (150, 1), (400, 0), (400, 6), (2000, 1)] {
            let now = Instant::from_nanos(millis * 1_000_000);
            assert_eq!(level.try_acquire(&quota, now, n), bucket.try_acquire(now, n), "{n} at {now}");
            assert_eq!(level.available(&quota, now), bucket.available(now), "{n} at {now}");
            assert_eq!(level.full_at(&quota) - now, bucket.snapshot(now).full_in, "{n} at {now}");
            assert!(!level.is_full(&quota, now) && level.is_full(&quota, level.full_at(&quota)));
        }
    }
}
