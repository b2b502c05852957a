use core::cmp;
use core::time::Duration;

use super::gcra::Taken;
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
/// again (and a second one, that keeps a server's block from being refunded). Taking tokens moves that into the future; time catches up with it. It is kept in units of which each token
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
    floor: u64,
    blocked_until: Instant,
    /// Counts the changes of quota, so that a reservation under an earlier one is recognised.
    epoch: u32,
}

/// Tokens that were taken ahead of time, and when they may be used.
///
/// Give it back with [`TokenBucket::cancel`] if they are not, or settle it with [`TokenBucket::commit`] if more or fewer
/// were: dropping it spends them as they are.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "the tokens are spent; use them at `ready_at` or give them back with `cancel`"]
pub struct Reservation {
    pub(super) ready_at: Instant,
    /// What `full_at` was, just after these tokens were taken.
    pub(super) full_at: u64,
    pub(super) tokens: u32,
    pub(super) epoch: u32,
}

impl Reservation {
    /// When the tokens may be used; the instant of the reservation itself if they were there.
    pub const fn ready_at(&self) -> Instant {
        self.ready_at
    }

    /// How many they are.
    pub const fn tokens(&self) -> u32 {
        self.tokens
    }
}

/// A bucket's state, to be put away and [restored](TokenBucket::restore), on another clock if need be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// How long until it is full.
    pub full_in: Duration,
    /// How long it still admits nothing because a server said so.
    pub blocked_for: Duration,
}

impl TokenBucket {
    /// A full bucket.
    pub const fn new(quota: Quota) -> Self {
        Self { quota, full_at: 0, floor: 0, blocked_until: Instant::EPOCH, epoch: 0 }
    }

    /// The bucket that a snapshot was taken of, under the same quota. Fractions of a nanosecond are rounded up.
    pub fn restore(quota: Quota, now: Instant, snapshot: Snapshot) -> Self {
        let mut bucket = Self::new(quota);
        if !snapshot.blocked_for.is_zero() {
            bucket.block_until(now + snapshot.blocked_for);
        }
        if !snapshot.full_in.is_zero() {
            bucket.full_at = cmp::max(bucket.full_at, quota.units_begun(now + snapshot.full_in));
        }
        bucket
    }

    /// Its state at `now`.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let full_at = self.quota.instant_at(self.full_at).unwrap_or(Instant::MAX);
        Snapshot { full_in: full_at - now, blocked_for: self.blocked_until - now }
    }

    /// The quota that it keeps.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Keeps another quota from now on.
    ///
    /// The tokens that are there stay, as far as the new burst has room; a larger burst fills at the new rate, and a
    /// debt is still owed. What a server blocked stays blocked. Reservations keep the times they were told, and give
    /// nothing back any more.
    pub fn set_quota(&mut self, now: Instant, quota: Quota) {
        self.full_at = self.quota.convert(self.full_at, now, &quota);
        self.quota = quota;
        self.epoch = self.epoch.wrapping_add(1);
        self.floor = 0;
        if self.blocked_until > now {
            self.block_until(self.blocked_until);
        }
    }

    /// How many tokens could be taken at `now`.
    pub fn available(&self, now: Instant) -> u32 {
        self.quota.available(self.full_at, now)
    }

    /// Takes `n` tokens, or takes none and says when to come back.
    ///
    /// No tokens at all (`n` = 0) are admitted when one would be, and leave it there.
    ///
    /// # Errors
    /// [`Refusal::NotYet`] until they are there; [`Refusal::Never`] if `n` is more than the burst.
    pub fn try_acquire(&mut self, now: Instant, n: u32) -> Result<(), Refusal> {
        match self.quota.take(self.full_at, now, n)? {
            Some(taken) if taken.ready_at <= now => {
                self.full_at = taken.full_at;
                Ok(())
            }
            taken => Err(Refusal::not_yet(taken.map(|taken| taken.ready_at))),
        }
    }

    /// Takes `n` tokens now, to be used when the reservation says.
    ///
    /// # Errors
    /// [`Refusal::NotYet`], and nothing is taken, if they would be ready only at `deadline` or later;
    /// [`Refusal::Never`] if `n` is more than the burst. Without a deadline, pass [`Instant::MAX`].
    pub fn reserve(&mut self, now: Instant, n: u32, deadline: Instant) -> Result<Reservation, Refusal> {
        match self.quota.take(self.full_at, now, n)? {
            Some(Taken { full_at, ready_at }) if ready_at < deadline => {
                self.full_at = full_at;
                Ok(Reservation { ready_at, full_at, tokens: n, epoch: self.epoch })
            }
            taken => Err(Refusal::not_yet(taken.map(|taken| taken.ready_at))),
        }
    }

    /// Takes `n` tokens as of a time at which it has said they are ready.
    pub(super) fn take_at(&mut self, ready_at: Instant, n: u32) -> Reservation {
        let taken = self.quota.take(self.full_at, ready_at, n).ok().flatten();
        self.full_at = taken.map_or(u64::MAX, |taken| taken.full_at);
        Reservation { ready_at, full_at: self.full_at, tokens: n, epoch: self.epoch }
    }

    /// Gives reserved tokens back.
    ///
    /// What comes back is what the bucket has not refilled in the meantime: all of it until the reservation is ready,
    /// less and less afterwards. Giving back more would let a later span of time see more than the quota. Reservations
    /// made after this one keep their times; what was given back goes to whoever asks next.
    pub fn cancel(&mut self, now: Instant, reservation: Reservation) {
        self.commit(now, reservation, 0);
    }

    /// Settles a reservation with what was used in truth, which may be known only afterwards.
    ///
    /// If it was less, the difference is given back, as by [`cancel`](Self::cancel). If it was more, the difference is
    /// owed, and whoever comes next waits for it; it may well be more than the burst.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a reservation is settled once.
    pub fn commit(&mut self, now: Instant, reservation: Reservation, used: u32) {
        match reservation.tokens.checked_sub(used) {
            Some(unused) => {
                let refundable = reservation.epoch == self.epoch;
                let refund = if refundable { self.quota.refund(&reservation, now, unused) } else { 0 };
                self.full_at = cmp::max(self.full_at.saturating_sub(refund), self.floor);
            }
            None => self.debit(now, used - reservation.tokens),
        }
    }

    /// Takes `n` tokens that were used already, whether they are there or not. What is not there is owed, and whoever
    /// comes next waits for it; it may well be more than the burst.
    pub fn debit(&mut self, now: Instant, n: u32) {
        let taken = self.quota.look(self.full_at, now, n.into());
        self.full_at = taken.map_or(u64::MAX, |taken| taken.full_at);
    }

    /// Whether [`cancel`](Self::cancel) would still give anything back.
    pub fn is_refundable(&self, now: Instant, reservation: &Reservation) -> bool {
        reservation.epoch == self.epoch && self.quota.refund(reservation, now, reservation.tokens) > 0
    }

    /// Admits nothing before `until`, because the server said so; then one token, and the rate.
    ///
    /// It only ever adds to the wait: what was spent stays spent, and an earlier word of a later time stands.
    pub fn block_until(&mut self, until: Instant) {
        self.blocked_until = cmp::max(self.blocked_until, until);
        self.floor = cmp::max(self.floor, self.quota.blocked(until));
        self.full_at = cmp::max(self.full_at, self.floor);
    }

    /// When `n` tokens could be taken, if nobody else takes any: `now` if they are there, `None` if that lies beyond
    /// the end of the clock.
    ///
    /// # Errors
    /// [`Refusal::Never`] if `n` is more than the burst.
    pub fn ready_at(&self, now: Instant, n: u32) -> Result<Option<Instant>, Refusal> {
        Ok(self.quota.take(self.full_at, now, n)?.map(|taken| taken.ready_at))
    }

    /// When the last of `tokens` could be taken, if they are taken one after the other as they come in; `None` if that
    /// lies beyond the end of the clock.
    ///
    /// Unlike [`ready_at`](Self::ready_at) this may be more than the burst: it is how a line of callers knows when the
    /// turn of its last one comes.
    pub fn ready_at_after(&self, now: Instant, tokens: u64) -> Option<Instant> {
        self.quota.look(self.full_at, now, tokens).map(|taken| taken.ready_at)
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
