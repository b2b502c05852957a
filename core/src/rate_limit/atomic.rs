use core::cmp;
use core::hint;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

use super::{Quota, Refusal};
use crate::time::Instant;

/// For how many turns of an idle loop a thread keeps away from a bucket that others take from, at first and at most.
const FIRST_TURNS: u32 = 16;
const MOST_TURNS: u32 = 256;

/// A [`TokenBucket`](super::TokenBucket) that threads share without a lock.
///
/// ```
/// use std::thread;
/// use steadfast_core::rate_limit::{AtomicTokenBucket, Quota};
/// use steadfast_core::time::Instant;
///
/// let limit = AtomicTokenBucket::new(Quota::per_second(10)?.with_burst(5)?);
/// let takes = || (0..4).filter(|_| limit.try_acquire(Instant::EPOCH, 1).is_ok()).count();
/// let admitted: usize = thread::scope(|scope| {
///     let takers = [(); 3].map(|()| scope.spawn(takes));
///     takers.into_iter().map(|taker| taker.join().expect("it does not panic")).sum()
/// });
/// assert_eq!(admitted, 5);
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// It decides exactly as the bucket does, with one compare-and-swap where nobody interferes. It exists where the target
/// has 64-bit atomics; elsewhere, share a `TokenBucket` in a cell (see [`share`](crate::share)).
///
/// # When not to use it
///
/// Where the quota changes while it runs, tokens are reserved or given back, or callers have to wait in line: these need
/// the bucket in a cell.
#[derive(Debug)]
pub struct AtomicTokenBucket {
    quota: Quota,
    /// The one word that threads share. It orders nothing else, so relaxed accesses do.
    full_at: AtomicU64,
}

impl AtomicTokenBucket {
    #[cfg(not(loom))]
    /// A full bucket.
    pub const fn new(quota: Quota) -> Self {
        Self { quota, full_at: AtomicU64::new(0) }
    }

    #[cfg(loom)]
    /// A full bucket.
    pub fn new(quota: Quota) -> Self {
        Self { quota, full_at: AtomicU64::new(0) }
    }

    /// The quota that it keeps.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// How many tokens could be taken at `now`, if nobody else takes any.
    pub fn available(&self, now: Instant) -> u32 {
        self.quota.available(self.full_at.load(Ordering::Relaxed), now)
    }

    /// Takes `n` tokens, or takes none and says when to come back. See
    /// [`TokenBucket::try_acquire`](super::TokenBucket::try_acquire).
    ///
    /// # Errors
    /// [`Refusal::NotYet`] until they are there; [`Refusal::Never`] if `n` is more than the burst.
    #[allow(clippy::inline_always)] // See `TokenBucket::try_acquire`.
    #[inline(always)]
    pub fn try_acquire(&self, now: Instant, n: u32) -> Result<(), Refusal> {
        let full_at = self.full_at.load(Ordering::Relaxed);
        let after = self.take_now(full_at, now, n)?;
        match self.full_at.compare_exchange_weak(full_at, after, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(current) => self.try_again(current, now, n),
        }
    }

    #[inline]
    fn take_now(&self, full_at: u64, now: Instant, n: u32) -> Result<u64, Refusal> {
        self.quota.take_now(full_at, now, n).ok_or_else(|| self.quota.refusal(full_at, now, n))
    }

    /// Goes on where somebody else was faster.
    ///
    /// Whoever that was is likely to be back at once, and moving the word from one processor to another takes longer than
    /// dozens of calls. So we leave it there for a while, twice as long each time: both get more done.
    #[cold]
    fn try_again(&self, mut full_at: u64, now: Instant, n: u32) -> Result<(), Refusal> {
        let mut turns = FIRST_TURNS;
        loop {
            self.take_now(full_at, now, n)?; // Who is refused does not wait.
            (0..turns).for_each(|_| hint::spin_loop());
            turns = cmp::min(turns * 2, MOST_TURNS);
            full_at = self.full_at.load(Ordering::Relaxed);
            let after = self.take_now(full_at, now, n)?;
            match self.full_at.compare_exchange(full_at, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => full_at = current,
            }
        }
    }

    /// Admits nothing before `until`, because the server said so. See
    /// [`TokenBucket::block_until`](super::TokenBucket::block_until).
    pub fn block_until(&self, until: Instant) {
        self.full_at.fetch_max(self.quota.blocked(until), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::rate_limit::TokenBucket;

    #[test]
    fn it_decides_exactly_as_the_plain_bucket_does() {
        let quota = Quota::new(7, Duration::from_millis(3)).and_then(|quota| quota.with_burst(5)).unwrap();
        let (atomic, mut plain) = (AtomicTokenBucket::new(quota), TokenBucket::new(quota));
        // A simple generator, so that the script is the same each time and reaches every branch.
        let mut random = 1_u64;
        let mut now = Instant::EPOCH;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now += Duration::from_nanos(random >> 45);
            let n = u32::try_from(random >> 40 & 7).unwrap();
            match random >> 35 & 7 {
                0..=6 => assert_eq!(atomic.try_acquire(now, n), plain.try_acquire(now, n)),
                _ => {
                    atomic.block_until(now + Duration::from_micros(n.into()));
                    plain.block_until(now + Duration::from_micros(n.into()));
                }
            }
            assert_eq!(atomic.available(now), plain.available(now));
        }
    }

    #[test]
    fn who_was_beaten_decides_by_what_is_there_then() {
        let quota = Quota::per_second(1).and_then(|quota| quota.with_burst(3)).unwrap();
        let (bucket, now) = (AtomicTokenBucket::new(quota), Instant::EPOCH);
        assert_eq!(bucket.try_acquire(now, 1), Ok(()));
        // As if it had been full when they looked, and empty.
        assert_eq!(bucket.try_again(0, now, 1), Ok(()));
        assert_eq!(bucket.available(now), 1);
        let retry_at = now + Duration::from_secs(1);
        assert_eq!(bucket.try_again(0, now, 2), Err(Refusal::NotYet { retry_at }));
        assert!(bucket.try_again(u64::MAX / 2, now, 1).is_err());
        assert_eq!(bucket.available(now), 1);
    }
}
