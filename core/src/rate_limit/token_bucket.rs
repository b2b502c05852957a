use core::cmp;

use super::{Admission, Quota, RateLimiter, Refusal};
use crate::time::Instant;

/// A rate limit with a burst: a bucket of tokens that refills steadily.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::rate_limit::{Quota, Refusal, TokenBucket};
/// use steadfast_core::time::Instant;
///
/// let mut bucket = TokenBucket::new(Quota::per_second(10)?.with_burst(2)?);
/// let now = Instant::EPOCH;
/// assert_eq!(bucket.try_acquire(now, 2), Ok(()));
///
/// let retry_at = now + Duration::from_millis(100);
/// assert_eq!(bucket.try_acquire(now, 1), Err(Refusal::NotYet { retry_at }));
/// assert_eq!(bucket.try_acquire(retry_at, 1), Ok(()));
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// It starts full. In any span of time it admits at most `burst + rate × span` tokens, exactly: for every rate from one
/// a day to one a nanosecond, however long it runs. See [`Quota`] for the settings.
///
/// # How it works
///
/// The generic cell rate algorithm (ITU-T I.371, Annex A). The state is one `u64`: when the bucket will be full
/// again. Taking tokens moves that into the future; time catches up with it. It is kept in units of which each token
/// is worth a whole number, so that no rounding ever accumulates.
///
/// ```text
///               now         full_at         now + capacity
///   ─────────────┼─────────────┼──────────────────┼─────▶
///                 └─ missing ──┘└──── available ──┘
/// ```
///
/// A clock that steps back gives no tokens and takes none: what was spent stays spent until time has caught up again.
///
/// # When not to use it
///
/// A bucket with a burst may let the burst and a period's worth go within one period. Where the other side counts a
/// strict window, keep the burst at 1.
#[derive(Debug)]
pub struct TokenBucket {
    quota: Quota,
    full_at: u64,
    /// The least that `full_at` may be, since a server blocked us: a refund is no reason to come back earlier.
    blocked: u64,
}

/// Tokens that were taken ahead of time, and when they may be used.
///
/// Give it back with [`TokenBucket::cancel`] if they are not: dropping it spends them.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "the tokens are spent; use them at `ready_at` or give them back with `cancel`"]
pub struct Reservation {
    ready_at: Instant,
    /// What `full_at` was, just after these tokens were taken.
    full_at: u64,
    cost: u64,
}

impl Reservation {
    /// When the tokens may be used; the instant of the reservation itself if they were there.
    pub const fn ready_at(&self) -> Instant {
        self.ready_at
    }
}

impl TokenBucket {
    /// A full bucket.
    pub const fn new(quota: Quota) -> Self {
        Self { quota, full_at: 0, blocked: 0 }
    }

    /// The quota that it keeps.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// How many tokens could be taken at `now`.
    pub fn available(&self, now: Instant) -> u32 {
        let passed = self.quota.units_passed(now);
        let missing = self.full_at.saturating_sub(passed);
        let tokens = self.quota.capacity().saturating_sub(missing) / self.quota.unit_cost();
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// Takes `n` tokens, or takes none and says when to come back.
    ///
    /// No tokens at all (`n` = 0) are admitted when one would be, and leave it there.
    ///
    /// # Errors
    /// [`Refusal::NotYet`] until they are there; [`Refusal::Never`] if `n` is more than the burst.
    pub fn try_acquire(&mut self, now: Instant, n: u32) -> Result<(), Refusal> {
        let ready_at = self.ready_at(now, n)?;
        if ready_at.is_none_or(|ready_at| ready_at > now) {
            return Err(Refusal::not_yet(ready_at));
        }
        self.take(now, n);
        Ok(())
    }

    /// Takes `n` tokens now, to be used when the reservation says.
    ///
    /// # Errors
    /// [`Refusal::NotYet`], and nothing is taken, if they would be ready only at `deadline` or later;
    /// [`Refusal::Never`] if `n` is more than the burst. Without a deadline, pass [`Instant::MAX`].
    pub fn reserve(&mut self, now: Instant, n: u32, deadline: Instant) -> Result<Reservation, Refusal> {
        match self.ready_at(now, n)? {
            Some(ready_at) if ready_at < deadline => {
                let cost = self.take(now, n);
                Ok(Reservation { ready_at, full_at: self.full_at, cost })
            }
            ready_at => Err(Refusal::not_yet(ready_at)),
        }
    }

    /// Gives reserved tokens back.
    ///
    /// What comes back is what the bucket has not refilled in the meantime: all of it until the reservation is ready,
    /// less and less afterwards. Giving back more would let a later span of time see more than the quota. Reservations
    /// made after this one keep their times; what was given back goes to whoever asks next.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: tokens are given back once.
    pub fn cancel(&mut self, now: Instant, reservation: Reservation) {
        let not_refilled = reservation.full_at.saturating_sub(self.quota.units_begun(now));
        let refunded = self.full_at.saturating_sub(cmp::min(reservation.cost, not_refilled));
        self.full_at = cmp::max(refunded, self.blocked);
    }

    /// Whether [`cancel`](Self::cancel) would still give anything back.
    pub fn is_refundable(&self, now: Instant, reservation: &Reservation) -> bool {
        reservation.full_at > self.quota.units_begun(now)
    }

    /// Admits nothing before `until`, because the server said so; then one token, and the rate.
    ///
    /// It only ever adds to the wait: what was spent stays spent, and an earlier word of a later time stands.
    pub fn block_until(&mut self, until: Instant) {
        let one_token = self.quota.capacity() - self.quota.unit_cost();
        let blocked = self.quota.units_begun(until).saturating_add(one_token);
        self.blocked = cmp::max(self.blocked, blocked);
        self.full_at = cmp::max(self.full_at, blocked);
    }

    /// When `n` tokens could be taken, if nobody else takes any: `now` if they are there, `None` if that lies beyond
    /// the end of the clock.
    ///
    /// # Errors
    /// [`Refusal::Never`] if `n` is more than the burst.
    pub fn ready_at(&self, now: Instant, n: u32) -> Result<Option<Instant>, Refusal> {
        let burst = self.quota.burst();
        if n > burst {
            return Err(Refusal::Never { tokens: n, burst });
        }
        Ok(self.ready_at_after(now, n.max(1).into()))
    }

    /// When the last of `tokens` could be taken, if they are taken one after the other as they come in; `None` if that
    /// lies beyond the end of the clock.
    ///
    /// Unlike [`ready_at`](Self::ready_at) this may be more than the burst: it is how a line of callers knows when the
    /// turn of its last one comes.
    pub fn ready_at_after(&self, now: Instant, tokens: u64) -> Option<Instant> {
        let cost = self.quota.cost(tokens)?;
        let full_at = self.start(now).checked_add(cost)?;
        // What is missing now, not `full_at`, decides: a full bucket gives its whole burst, whatever the fraction of a
        // unit at which time stands.
        let missing = self.full_at.saturating_sub(self.quota.units_passed(now));
        if missing + cost <= self.quota.capacity() {
            return Some(now);
        }
        self.quota.instant_at(full_at - self.quota.capacity())
    }

    /// From where the next tokens count: when the bucket is full again, or from now on if it is.
    fn start(&self, now: Instant) -> u64 {
        if self.full_at <= self.quota.units_passed(now) { self.quota.units_begun(now) } else { self.full_at }
    }

    /// Moves `full_at` by what `n` tokens cost, and returns that.
    fn take(&mut self, now: Instant, n: u32) -> u64 {
        let cost = self.quota.unit_cost().saturating_mul(n.into());
        self.full_at = self.start(now).saturating_add(cost);
        cost
    }
}

/// Callers wait by reservation: each holds its own time from the start, in the order in which they came.
impl RateLimiter for TokenBucket {
    type Ticket = Reservation;

    fn join(&mut self, now: Instant, n: u32, deadline: Instant) -> Result<Reservation, Refusal> {
        self.reserve(now, n, deadline)
    }

    fn poll(&mut self, now: Instant, ticket: &mut Reservation) -> Admission {
        if now < ticket.ready_at { Admission::Wait(ticket.ready_at) } else { Admission::Granted }
    }

    fn leave(&mut self, now: Instant, ticket: Reservation) {
        self.cancel(now, ticket);
    }

    fn block_until(&mut self, until: Instant) {
        Self::block_until(self, until);
    }
}
