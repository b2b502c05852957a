use core::array;
use core::cmp;
use core::fmt;
use core::time::Duration;

use super::{Quota, Refusal, Reservation, TokenBucket};
use crate::time::Instant;

/// Several limits at once, all or nothing, each with its own weight.
///
/// ```
/// use steadfast_core::rate_limit::{Quota, RateLimits};
/// use steadfast_core::time::Instant;
///
/// // 500 requests and 90,000 tokens a minute.
/// let requests = Quota::per_minute(500)?.with_burst(10)?;
/// let tokens = Quota::per_minute(90_000)?.with_burst(9_000)?;
/// let mut limits = RateLimits::new([requests, tokens]);
///
/// let now = Instant::EPOCH;
/// assert!(limits.try_acquire(now, [1, 8_000]).is_ok());
/// let refused = limits.try_acquire(now, [1, 1_500]).unwrap_err();
/// assert_eq!(refused.limit, 1, "it is the tokens that are missing");
/// assert_eq!(limits.available(now), [9, 1_000], "and no request was taken");
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// What is refused by one is taken from none. The refusal names the limit that makes it wait longest, and its time is
/// the one at which all of them have room.
#[derive(Debug)]
pub struct RateLimits<const K: usize> {
    limits: [TokenBucket; K],
}

/// Which of several limits refused, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RefusedBy {
    /// The place of the limit in the list, from 0.
    pub limit: usize,
    /// Why, and until when.
    pub refusal: Refusal,
}

impl fmt::Display for RefusedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit {}: {}", self.limit, self.refusal)
    }
}

impl core::error::Error for RefusedBy {}

/// Tokens that were taken of several limits ahead of time, and when they may be used.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "the tokens are spent; use them at `ready_at` or give them back with `cancel`"]
pub struct Reservations<const K: usize> {
    ready_at: Instant,
    each: [Reservation; K],
}

impl<const K: usize> Reservations<K> {
    /// When the tokens may be used: all of them at this time.
    pub const fn ready_at(&self) -> Instant {
        self.ready_at
    }
}

impl<const K: usize> RateLimits<K> {
    /// These limits, in this order.
    pub const fn of(limits: [TokenBucket; K]) -> Self {
        Self { limits }
    }

    /// Limits with these quotas, in this order, each with a full bucket.
    pub fn new(quotas: [Quota; K]) -> Self {
        Self { limits: quotas.map(TokenBucket::new) }
    }

    /// The limits, in their order.
    pub const fn limits(&self) -> &[TokenBucket; K] {
        &self.limits
    }

    /// The limits, in their order, to change a quota or to block one.
    pub const fn limits_mut(&mut self) -> &mut [TokenBucket; K] {
        &mut self.limits
    }

    /// How many tokens of each could be taken at `now`.
    pub fn available(&self, now: Instant) -> [u32; K] {
        self.limits.each_ref().map(|limit| limit.available(now))
    }

    /// Takes so many tokens of each limit that are there now, or none of any; to be settled or given back later.
    #[allow(clippy::inline_always)] // See `TokenBucket::try_acquire`.
    #[inline(always)]
    pub fn reserve_now(&mut self, now: Instant, weights: [u32; K]) -> Option<Reservations<K>> {
        let mut after = [0; K];
        for ((after, limit), weight) in after.iter_mut().zip(&self.limits).zip(weights) {
            *after = limit.look_now(now, weight)?;
        }
        let take = |limit: usize| self.limits[limit].take_now(now, weights[limit], after[limit]);
        Some(Reservations { ready_at: now, each: array::from_fn(take) })
    }

    /// Takes so many tokens of each limit, or none of any.
    ///
    /// # Errors
    /// If one of them refuses; with the one that makes it wait longest.
    pub fn try_acquire(&mut self, now: Instant, weights: [u32; K]) -> Result<(), RefusedBy> {
        match self.last_to_have_room(now, weights)? {
            (ready_at, _) if ready_at <= now => {
                self.take(now, weights);
                Ok(())
            }
            (retry_at, limit) => Err(RefusedBy { limit, refusal: Refusal::NotYet { retry_at } }),
        }
    }

    /// Takes so many tokens of each limit now, to be used when the reservation says.
    ///
    /// All are used at the same time, so each limit counts them as of then: one that would be ready earlier gives
    /// nothing to others in between that its quota would not cover on top. If they are given back after that, what it
    /// would have given in between is lost, at most its burst.
    ///
    /// # Errors
    /// If all of them would be ready only at `deadline` or later, or never; then nothing is taken.
    pub fn reserve(
        &mut self,
        now: Instant,
        weights: [u32; K],
        deadline: Instant,
    ) -> Result<Reservations<K>, RefusedBy> {
        match self.last_to_have_room(now, weights)? {
            (ready_at, _) if ready_at < deadline => Ok(Reservations { ready_at, each: self.take(ready_at, weights) }),
            (ready_at, limit) => {
                // Where it is the deadline that has passed, the tokens may be there; later than now is soon enough.
                let retry_at = cmp::max(ready_at, now + Duration::from_nanos(1));
                Err(RefusedBy { limit, refusal: Refusal::NotYet { retry_at } })
            }
        }
    }

    /// When all have room, if nobody else takes any; `None` if that lies beyond the end of the clock.
    ///
    /// # Errors
    /// If one of them never has; with that one.
    pub fn ready_at(&self, now: Instant, weights: [u32; K]) -> Result<Option<Instant>, RefusedBy> {
        match self.last_to_have_room(now, weights) {
            Ok((ready_at, _)) => Ok(Some(ready_at)),
            Err(RefusedBy { refusal: Refusal::NotYet { .. }, .. }) => Ok(None),
            Err(never) => Err(never),
        }
    }

    /// When the last of so many tokens could be taken of each, if they are taken one after the other as they come in;
    /// `None` if that lies beyond the end of the clock. See [`TokenBucket::ready_at_after`].
    ///
    /// With more than one limit it may be later in truth: while one is waited for, another may fill up and stay full.
    pub fn ready_at_after(&self, now: Instant, tokens: [u64; K]) -> Option<Instant> {
        let mut ready_at = self.limits.iter().zip(tokens).map(|(limit, tokens)| limit.ready_at_after(now, tokens));
        ready_at.try_fold(now, |latest, ready_at| ready_at.map(|ready_at| cmp::max(latest, ready_at)))
    }

    /// Whether [`cancel`](Self::cancel) would still give anything back.
    pub fn is_refundable(&self, now: Instant, reservations: &Reservations<K>) -> bool {
        self.limits.iter().zip(&reservations.each).any(|(limit, held)| limit.is_refundable(now, held))
    }

    /// Lets tokens be used at `now` that were taken at an earlier time, if all limits have room for that. See
    /// [`TokenBucket::renew`].
    pub fn renew(&mut self, now: Instant, reservations: &mut Reservations<K>) -> bool {
        let mut after = [0; K];
        for ((after, limit), reservation) in after.iter_mut().zip(&self.limits).zip(&reservations.each) {
            match limit.look_renewed(now, reservation) {
                Some(full_at) => *after = full_at,
                None => return false,
            }
        }
        let each = self.limits.iter_mut().zip(&mut reservations.each).zip(after);
        each.for_each(|((limit, reservation), after)| limit.take_renewed(now, reservation, after));
        true
    }

    /// Gives reserved tokens back. See [`TokenBucket::cancel`].
    pub fn cancel(&mut self, now: Instant, reservations: Reservations<K>) {
        self.commit(now, reservations, [0; K]);
    }

    /// Settles a reservation with what was used in truth. See [`TokenBucket::commit`].
    pub fn commit(&mut self, now: Instant, reservations: Reservations<K>, used: [u32; K]) {
        for ((limit, reservation), used) in self.limits.iter_mut().zip(reservations.each).zip(used) {
            limit.commit(now, reservation, used);
        }
    }

    /// Takes so many tokens of each that were used already. See [`TokenBucket::debit`].
    pub fn debit(&mut self, now: Instant, used: [u32; K]) {
        self.limits.iter_mut().zip(used).for_each(|(limit, used)| limit.debit(now, used));
    }

    /// Admits nothing before `until`, because the server said so.
    pub fn block_until(&mut self, until: Instant) {
        self.limits.iter_mut().for_each(|limit| limit.block_until(until));
    }

    /// The latest time until which one of them admits nothing because the server said so.
    pub fn blocked_until(&self) -> Instant {
        self.limits.iter().map(TokenBucket::blocked_until).max().unwrap_or_default()
    }

    /// When all have room, and which is the last to.
    fn last_to_have_room(&self, now: Instant, weights: [u32; K]) -> Result<(Instant, usize), RefusedBy> {
        let mut latest = (Some(now), 0);
        for (limit, (bucket, weight)) in self.limits.iter().zip(weights).enumerate() {
            let ready_at = bucket.ready_at(now, weight).map_err(|refusal| RefusedBy { limit, refusal })?;
            // Beyond the end of the clock is later than any time on it.
            latest = cmp::max_by_key(latest, (ready_at, limit), |(at, _)| at.map_or((1, Instant::MAX), |at| (0, at)));
        }
        match latest {
            (Some(ready_at), limit) => Ok((ready_at, limit)),
            (None, limit) => Err(RefusedBy { limit, refusal: Refusal::not_yet(None) }),
        }
    }

    /// Takes the tokens of each as of `ready_at`, when all have room.
    fn take(&mut self, ready_at: Instant, weights: [u32; K]) -> [Reservation; K] {
        array::from_fn(|limit| self.limits[limit].take_at(ready_at, weights[limit]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// Ten a second with a burst of two, and a hundred a second with a burst of fifty.
    fn limits() -> RateLimits<2> {
        let quota = |tokens, burst| Quota::per_second(tokens).and_then(|quota| quota.with_burst(burst)).unwrap();
        RateLimits::new([quota(10, 2), quota(100, 50)])
    }

    fn not_yet(limit: usize, retry_at: Instant) -> Result<(), RefusedBy> {
        Err(RefusedBy { limit, refusal: Refusal::NotYet { retry_at } })
    }

    #[test]
    fn all_or_nothing_and_the_last_to_have_room_is_named() {
        let mut limits = limits();
        for (now, weights, want) in [
            (ms(0), [1, 40], Ok(())),
            (ms(0), [1, 20], not_yet(1, ms(100))),
            (ms(0), [2, 10], not_yet(0, ms(100))),
            (ms(0), [2, 40], not_yet(1, ms(300))),
            (ms(0), [1, 10], Ok(())),
            (ms(0), [1, 0], not_yet(0, ms(100))),
        ] {
            let before = limits.available(now);
            assert_eq!(limits.try_acquire(now, weights), want, "{weights:?} at {now}");
            if want.is_err() {
                assert_eq!(limits.available(now), before, "{weights:?} was refused and took something");
            }
        }
        let never = RefusedBy { limit: 1, refusal: Refusal::Never { tokens: 51, burst: 50 } };
        assert_eq!(limits.try_acquire(ms(0), [1, 51]), Err(never));
    }

    #[test]
    fn a_reservation_counts_in_each_limit_as_of_the_time_at_which_all_are_ready() {
        let mut limits = limits();
        assert_eq!(limits.try_acquire(ms(0), [0, 50]), Ok(()));
        // The tokens come at 300 ms, and so the request counts as of then, though it could go now.
        let held = limits.reserve(ms(0), [2, 30], Instant::MAX).unwrap();
        assert_eq!(held.ready_at(), ms(300));
        assert_eq!(limits.try_acquire(ms(300), [1, 0]), not_yet(0, ms(400)));
        limits.cancel(ms(300), held);
        assert_eq!(limits.available(ms(300)), [2, 30]);
    }

    #[test]
    fn what_is_there_now_is_reserved_in_each_or_in_none() {
        let mut limits = limits();
        let held = limits.reserve_now(ms(0), [1, 40]).unwrap();
        assert_eq!((held.ready_at(), limits.available(ms(0))), (ms(0), [1, 10]));
        for missing in [[2, 1], [1, 11], [3, 0], [0, 51]] {
            assert_eq!(limits.reserve_now(ms(0), missing), None, "{missing:?}");
        }
        assert_eq!(limits.available(ms(0)), [1, 10]);
        limits.cancel(ms(0), held);
        assert_eq!(limits.available(ms(0)), [2, 50]);
    }

    #[test]
    fn when_there_is_room_is_told_for_the_last_to_have_it() {
        let mut limits = limits();
        assert_eq!(limits.try_acquire(ms(0), [2, 50]), Ok(()));
        for (weights, want) in [([1, 1], 100), ([1, 20], 200), ([2, 5], 200), ([0, 50], 500)] {
            assert_eq!(limits.ready_at(ms(0), weights), Ok(Some(ms(want))), "{weights:?}");
        }
        let never = RefusedBy { limit: 0, refusal: Refusal::Never { tokens: 3, burst: 2 } };
        assert_eq!(limits.ready_at(ms(0), [3, 0]), Err(never));
        for (tokens, want) in [([3, 60], 600), ([7, 60], 700), ([0, 0], 0)] {
            assert_eq!(limits.ready_at_after(ms(0), tokens), Some(ms(want)), "{tokens:?}");
        }
        limits.block_until(Instant::MAX);
        assert_eq!((limits.ready_at(ms(0), [0, 1]), limits.ready_at_after(ms(0), [0, 1])), (Ok(None), None));
        assert_eq!(limits.blocked_until(), Instant::MAX);
    }

    #[test]
    fn a_reservation_gives_something_back_as_long_as_one_limit_does() {
        let mut limits = limits();
        let [first, second] = [0; 2].map(|_| limits.reserve(ms(0), [1, 20], Instant::MAX).unwrap());
        for (now, want) in [(0, [true; 2]), (99, [true; 2]), (199, [true; 2]), (200, [false, true])] {
            assert_eq!([&first, &second].map(|held| limits.is_refundable(ms(now), held)), want, "{now}");
        }
        for limit in limits.limits_mut() {
            limit.set_quota(ms(0), limit.quota());
        }
        assert!(!limits.is_refundable(ms(0), &second));
    }

    #[test]
    fn a_reservation_that_would_be_late_takes_nothing() {
        let mut limits = limits();
        assert_eq!(limits.try_acquire(ms(0), [0, 50]), Ok(()));
        let late = limits.reserve(ms(0), [1, 30], ms(300)).unwrap_err();
        assert_eq!(Err(late), not_yet(1, ms(300)));
        assert_eq!(limits.available(ms(0)), [2, 0]);
    }

    #[test]
    fn true_costs_are_settled_in_each() {
        let mut limits = limits();
        let held = limits.reserve(ms(0), [1, 50], Instant::MAX).unwrap();
        limits.commit(ms(0), held, [1, 12]);
        assert_eq!(limits.available(ms(0)), [1, 38]);
        limits.debit(ms(0), [1, 8]);
        assert_eq!(limits.available(ms(0)), [0, 30]);
        limits.block_until(ms(1000));
        assert_eq!(limits.available(ms(0)), [0, 0]);
    }
}
