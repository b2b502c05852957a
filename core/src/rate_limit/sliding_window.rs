use core::time::Duration;

use super::Refusal;
use crate::settings::{InvalidSetting, at_least_one, positive};
use crate::time::Instant;

/// A strict rate limit: never more than `N` in any window of its length, wherever the window begins.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::rate_limit::{Refusal, SlidingWindow};
/// use steadfast_core::time::Instant;
///
/// let mut limit = SlidingWindow::<3>::new(Duration::from_secs(60))?;
/// let at = |secs| Instant::EPOCH + Duration::from_secs(secs);
/// assert_eq!(limit.try_acquire(at(0), 1), Ok(()));
/// assert_eq!(limit.try_acquire(at(59), 2), Ok(()));
/// assert_eq!(limit.try_acquire(at(60), 2), Err(Refusal::NotYet { retry_at: at(119) }));
/// assert_eq!(limit.try_acquire(at(60), 1), Ok(()));
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// It remembers when each of the last `N` was admitted: eight bytes each, in place. A window includes its beginning and
/// not its end, so what was admitted at 0 makes room at the window's length.
///
/// A clock that steps back gives nothing and takes nothing: what is admitted meanwhile counts as of the latest time
/// that was seen.
///
/// # When not to use it
///
/// For large `N`, or where an even flow is welcome: it lets all `N` go at once. A
/// [`TokenBucket`](super::TokenBucket) with a burst of 1 spaces them, and needs eight bytes for any rate.
#[derive(Debug)]
pub struct SlidingWindow<const N: usize> {
    window: Duration,
    /// When each of the last `N` was admitted; `None` before there were as many. A ring: the oldest is at `oldest`.
    admitted: [Option<Instant>; N],
    oldest: usize,
    latest: Instant,
}

impl<const N: usize> SlidingWindow<N> {
    /// A limit of `N` in any `window`, of which nothing has been used.
    ///
    /// # Errors
    /// If `N` or `window` is zero.
    pub fn new(window: Duration) -> Result<Self, InvalidSetting> {
        at_least_one("N", u32::from(N > 0))?;
        positive("window", window)?;
        Ok(Self { window, admitted: [None; N], oldest: 0, latest: Instant::EPOCH })
    }

    /// How many could be admitted at `now`.
    pub fn available(&self, now: Instant) -> usize {
        (0..N).take_while(|place| self.is_free(now, *place)).count()
    }

    /// Admits `n` at once, or none and says when to come back.
    ///
    /// # Errors
    /// [`Refusal::NotYet`] until there is room for all of them; [`Refusal::Never`] if `n` is more than `N`.
    pub fn try_acquire(&mut self, now: Instant, n: u32) -> Result<(), Refusal> {
        let places = usize::try_from(n).unwrap_or(usize::MAX);
        if places > N {
            return Err(Refusal::Never { tokens: n, burst: u32::try_from(N).unwrap_or(u32::MAX) });
        }
        // The ring is in the order of admission: once the last of the `n` oldest has left the window, all have.
        if let Some(last) = places.checked_sub(1).filter(|last| !self.is_free(now, *last)) {
            return Err(Refusal::not_yet(self.nth_oldest(last).map(|admitted| admitted + self.window)));
        }
        self.latest = self.latest.max(now);
        for _ in 0..places {
            self.admitted[self.oldest] = Some(self.latest);
            self.oldest = (self.oldest + 1) % N;
        }
        Ok(())
    }

    fn nth_oldest(&self, n: usize) -> Option<Instant> {
        self.admitted[(self.oldest + n) % N]
    }

    /// Compares spans, not instants: a sum that saturates would make room at the end of the clock.
    fn is_free(&self, now: Instant, nth_oldest: usize) -> bool {
        self.nth_oldest(nth_oldest).is_none_or(|admitted| now - admitted >= self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    /// Five in ten seconds: asks at each second for so many, and compares the answers; `None` for admitted.
    fn check(script: &[(u64, u32, Option<u64>)]) {
        let mut limit = SlidingWindow::<5>::new(Duration::from_secs(10)).unwrap();
        for (line, (now, n, want)) in script.iter().enumerate() {
            let want = want.map_or(Ok(()), |retry_at| Err(Refusal::NotYet { retry_at: s(retry_at) }));
            assert_eq!(limit.try_acquire(s(*now), *n), want, "line {line}: {n} at {now}");
        }
    }

    #[test]
    fn no_window_sees_twice_the_limit_at_its_edge() {
        check(&[(9, 5, None), (10, 1, Some(19)), (18, 5, Some(19)), (19, 5, None), (20, 1, Some(29))]);
    }

    #[test]
    fn room_comes_back_one_by_one() {
        check(&[(0, 1, None), (3, 2, None), (4, 2, None), (5, 1, Some(10)), (5, 3, Some(13)), (5, 5, Some(14))]);
        check(&[(0, 4, None), (1, 1, None), (10, 4, None), (10, 1, Some(11)), (11, 1, None), (12, 1, Some(20))]);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        check(&[(50, 4, None), (20, 1, None), (21, 1, Some(60)), (59, 1, Some(60)), (60, 5, None)]);
    }

    #[test]
    fn none_at_all_are_always_admitted_and_more_than_the_limit_never() {
        let mut limit = SlidingWindow::<2>::new(Duration::from_secs(1)).unwrap();
        assert_eq!(limit.try_acquire(s(0), 3), Err(Refusal::Never { tokens: 3, burst: 2 }));
        assert_eq!((limit.try_acquire(s(0), 2), limit.try_acquire(s(0), 0)), (Ok(()), Ok(())));
        assert_eq!((limit.available(s(0)), limit.available(s(1))), (0, 2));
    }

    #[test]
    fn the_end_of_the_clock_admits_nothing_extra() {
        let mut limit = SlidingWindow::<2>::new(Duration::MAX).unwrap();
        assert_eq!(limit.try_acquire(s(1), 2), Ok(()));
        for now in [s(2), Instant::MAX] {
            assert_eq!(limit.try_acquire(now, 1), Err(Refusal::NotYet { retry_at: Instant::MAX }));
        }
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        let zero = InvalidSetting::count("N", 0, "at least 1");
        assert_eq!(SlidingWindow::<0>::new(Duration::from_secs(1)).unwrap_err(), zero);
        let zero = InvalidSetting::time("window", Duration::ZERO, "more than zero");
        assert_eq!(SlidingWindow::<1>::new(Duration::ZERO).unwrap_err(), zero);
    }
}
