use core::cmp;
use core::fmt;
use core::time::Duration;

use super::gcra::Taken;
use super::{Quota, Refusal, Reservation};
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
    blocked_until: Instant,
    /// The latest time at which tokens were asked for and taken.
    latest: Instant,
    /// How many units were ever given back out of turn, with others taken after them. Wraps.
    given_back: u64,
    /// Counts the changes of quota, so that a reservation under an earlier one is recognised.
    epoch: u32,
    /// How many tokens were refused last, and until when they are for as long as the state stays what it is; the epoch
    /// if it has changed since. In a storm of calls nearly all are refused, and this is all that it takes.
    refused: u32,
    refused_until: Instant,
}

/// A bucket's state, to be put away and [restored](TokenBucket::restore), on another clock if need be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// How long until it is full.
    pub full_in: Duration,
    /// How long it still admits nothing because a server said so.
    pub blocked_for: Duration,
}

/// The quota in words.
impl fmt::Display for TokenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.quota.fmt(f)
    }
}

impl TokenBucket {
    /// A full bucket.
    pub const fn new(quota: Quota) -> Self {
        Self {
            quota,
            full_at: 0,
            blocked_until: Instant::EPOCH,
            latest: Instant::EPOCH,
            given_back: 0,
            epoch: 0,
            refused: 0,
            refused_until: Instant::EPOCH,
        }
    }

    /// The bucket that a snapshot was taken of, under the same quota. Fractions of a nanosecond are rounded up.
    pub fn restore(quota: Quota, now: Instant, snapshot: Snapshot) -> Self {
        let mut bucket = Self::new(quota);
        if !snapshot.blocked_for.is_zero() {
            bucket.block_until(now + snapshot.blocked_for);
        }
        if !snapshot.full_in.is_zero() {
            bucket.set_full_at(cmp::max(bucket.full_at, quota.units_begun(now + snapshot.full_in)));
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
    /// debt is still owed. What a server blocked stays blocked. Reservations keep the times they were told, give nothing
    /// back any more, and do not count under a faster quota: those who take what comes in may meet them.
    pub fn set_quota(&mut self, now: Instant, quota: Quota) {
        // What a block alone has set is no debt while it lasts: it is set anew below, by the new quota. Once it is over
        // it has to do for what was spent before it, which it may have hidden.
        let is_blocked = self.blocked_until > now;
        let debt = if is_blocked && self.full_at == self.floor() { 0 } else { self.full_at };
        self.set_full_at(self.quota.convert(debt, now, &quota));
        self.quota = quota;
        self.epoch = self.epoch.wrapping_add(1);
        if is_blocked {
            self.block_until(self.blocked_until);
        } else {
            self.blocked_until = Instant::EPOCH;
        }
    }

    /// How many tokens could be taken at `now`, all at once. Taken one by one, the last of a full bucket may come a unit
    /// of time later: see [`Quota`].
    pub fn available(&self, now: Instant) -> u32 {
        self.quota.available(self.full_at, now)
    }

    /// Takes `n` tokens, or takes none and says when to come back.
    ///
    /// No tokens at all (`n` = 0) are admitted when one would be, and leave it there.
    ///
    /// # Errors
    /// [`Refusal::NotYet`] until they are there; [`Refusal::Never`] if `n` is more than the burst.
    #[allow(clippy::inline_always)] // A call costs as much again: its answer would go through memory.
    #[inline(always)]
    pub fn try_acquire(&mut self, now: Instant, n: u32) -> Result<(), Refusal> {
        if now < self.refused_until && n == self.refused {
            return Err(Refusal::NotYet { retry_at: self.refused_until });
        }
        match self.quota.take_now(self.full_at, now, n) {
            Some(full_at) => {
                self.note(now, full_at);
                Ok(())
            }
            None => Err(self.refuse(now, n)),
        }
    }

    #[inline(never)] // So that what is inlined stays small.
    fn refuse(&mut self, now: Instant, n: u32) -> Refusal {
        let refusal = self.quota.refusal(self.full_at, now, n);
        match refusal {
            // It may be `now` that is too late, and not the state: a clock that steps back may find tokens then.
            Refusal::NotYet { retry_at: Instant::MAX } => {}
            Refusal::NotYet { retry_at } => (self.refused, self.refused_until) = (n, retry_at),
            Refusal::Never { .. } | Refusal::LineFull { .. } | Refusal::TableFull { .. } => {}
        }
        refusal
    }

    /// Takes `n` tokens now, to be used when the reservation says.
    ///
    /// # Errors
    /// [`Refusal::NotYet`], and nothing is taken, if they would be ready only at `deadline` or later;
    /// [`Refusal::Never`] if `n` is more than the burst. Without a deadline, pass [`Instant::MAX`].
    pub fn reserve(&mut self, now: Instant, n: u32, deadline: Instant) -> Result<Reservation, Refusal> {
        match self.quota.take(self.full_at, now, n)? {
            Some(taken) if taken.ready_at < deadline => Ok(self.give(now, taken, n)),
            // Where it is the deadline that has passed, the tokens may be there; later than now is soon enough.
            taken => Err(Refusal::not_yet(taken.map(|taken| cmp::max(taken.ready_at, now + Duration::from_nanos(1))))),
        }
    }

    /// What the state would be after taking `n` tokens that are there now; `None` if they are not.
    #[inline]
    pub(super) fn look_now(&self, now: Instant, n: u32) -> Option<u64> {
        self.quota.take_now(self.full_at, now, n)
    }

    /// Takes what [`look_now`](Self::look_now) has found.
    #[inline]
    pub(super) fn take_now(&mut self, now: Instant, n: u32, full_at: u64) -> Reservation {
        self.give(now, Taken { full_at, ready_at: now }, n)
    }

    /// Takes `n` tokens as of a time at which it has said they are ready.
    pub(super) fn take_at(&mut self, ready_at: Instant, n: u32) -> Reservation {
        let taken = self.quota.take(self.full_at, ready_at, n).ok().flatten();
        self.give(ready_at, taken.unwrap_or(Taken { full_at: u64::MAX, ready_at }), n)
    }

    #[inline]
    fn give(&mut self, now: Instant, taken: Taken, tokens: u32) -> Reservation {
        let (before, after) = (self.full_at, taken.full_at);
        self.note(now, taken.full_at);
        let (given_back, epoch) = (self.given_back, self.epoch);
        Reservation { ready_at: taken.ready_at, tokens, before, after, given_back, epoch }
    }

    #[inline]
    fn note(&mut self, now: Instant, full_at: u64) {
        self.set_full_at(full_at);
        if now > self.latest {
            self.latest = now;
        }
    }

    /// The only place where the state changes, so that no refusal is remembered beyond that.
    #[inline]
    fn set_full_at(&mut self, full_at: u64) {
        self.full_at = full_at;
        self.refused_until = Instant::EPOCH;
    }

    /// Gives reserved tokens back, as far as nobody gets more for it than the quota says.
    ///
    /// The reservation that was made last comes back whole, as if it had never been made. An earlier one comes back as
    /// far as time has not refilled it, and as far as the burst has room for it beside what was reserved after it, since
    /// those reservations keep their times. What others have given back since counts as if it had lain before this one:
    /// in doubt, less comes back. What comes back goes to whoever asks next.
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
                let refund = self.refundable(now, &reservation, unused);
                self.set_full_at(self.full_at - refund);
                if !self.is_newest(&reservation, refund) {
                    self.given_back = self.given_back.wrapping_add(refund);
                }
                if used > 0 {
                    // They may still be for a time to come, and what is given back later must have room beside them.
                    self.latest = cmp::max(self.latest, reservation.ready_at);
                }
            }
            None => self.debit(now, used - reservation.tokens),
        }
    }

    /// Takes `n` tokens that were used already, whether they are there or not. What is not there is owed, and whoever
    /// comes next waits for it; it may well be more than the burst.
    pub fn debit(&mut self, now: Instant, n: u32) {
        let taken = self.quota.look(self.full_at, now, n.into());
        self.note(now, taken.map_or(u64::MAX, |taken| taken.full_at));
    }

    /// Lets tokens be used at `now` that were taken at an earlier time, if that can be: what has come in of them since
    /// counts anew, as of now, or a whole burst could go beside them. If so much is not there, nothing changes.
    ///
    /// Tokens that were taken under another quota stay as they are.
    pub fn renew(&mut self, now: Instant, reservation: &mut Reservation) -> bool {
        let Some(full_at) = self.look_renewed(now, reservation) else {
            return false;
        };
        self.take_renewed(now, reservation, full_at);
        true
    }

    /// What the state would be after [`renew`](Self::renew); `None` if that cannot be.
    pub(super) fn look_renewed(&self, now: Instant, reservation: &Reservation) -> Option<u64> {
        if reservation.epoch != self.epoch {
            return Some(self.full_at);
        }
        let end = self.end_of(reservation);
        let cost = self.quota.cost(reservation.tokens.into())?;
        let refilled = cost.saturating_sub(end.saturating_sub(self.quota.units_begun(cmp::max(now, self.latest))));
        if refilled == 0 {
            return Some(self.full_at);
        }
        let taken = self.quota.look_units(self.full_at, now, refilled)?;
        (taken.ready_at == now).then_some(taken.full_at)
    }

    /// Renews what [`look_renewed`](Self::look_renewed) has found that it can be.
    pub(super) fn take_renewed(&mut self, now: Instant, reservation: &mut Reservation, full_at: u64) {
        if full_at != self.full_at {
            self.note(now, full_at);
            let cost = self.quota.cost(reservation.tokens.into()).unwrap_or(full_at);
            (reservation.before, reservation.after) = (full_at.saturating_sub(cost), full_at);
            reservation.given_back = self.given_back;
        }
    }

    /// Whether [`cancel`](Self::cancel) would still give anything back.
    pub fn is_refundable(&self, now: Instant, reservation: &Reservation) -> bool {
        self.refundable(now, reservation, reservation.tokens) > 0
    }

    /// How many units come back, if so many tokens were not used.
    fn refundable(&self, now: Instant, reservation: &Reservation, unused: u32) -> u64 {
        if reservation.epoch != self.epoch {
            return 0;
        }
        let refund = if self.is_newest(reservation, 0) && unused == reservation.tokens {
            self.full_at.saturating_sub(reservation.before)
        } else {
            let end = self.end_of(reservation);
            let not_refilled = end.saturating_sub(self.quota.units_begun(cmp::max(now, self.latest)));
            let room = self.quota.capacity().saturating_sub(self.full_at.saturating_sub(end));
            cmp::min(self.quota.unit_cost().saturating_mul(unused.into()), cmp::min(not_refilled, room))
        };
        cmp::min(refund, self.full_at.saturating_sub(self.floor()))
    }

    /// Where a reservation ends, as if all that was given back since had lain before it.
    const fn end_of(&self, reservation: &Reservation) -> u64 {
        reservation.after.saturating_sub(self.given_back.wrapping_sub(reservation.given_back))
    }

    /// Whether nothing was taken since the reservation that is not back again, but for a refund of its own.
    fn is_newest(&self, reservation: &Reservation, refund: u64) -> bool {
        self.full_at.checked_add(refund) == Some(reservation.after) && self.given_back == reservation.given_back
    }

    /// The least that `full_at` may be, since a server blocked us: a refund is no reason to come back earlier.
    fn floor(&self) -> u64 {
        self.quota.blocked(self.blocked_until)
    }

    /// Admits nothing before `until`, because the server said so; then one token, and the rate.
    ///
    /// It only ever adds to the wait: what was spent stays spent, and an earlier word of a later time stands. Who holds
    /// a reservation for an earlier time has to be kept from using it, as [`Limits`](crate::limits::Limits) does.
    pub fn block_until(&mut self, until: Instant) {
        self.blocked_until = cmp::max(self.blocked_until, until);
        self.set_full_at(cmp::max(self.full_at, self.floor()));
    }

    /// Until when it admits nothing because the server said so; the epoch, or a time in the past, if it did not.
    pub const fn blocked_until(&self) -> Instant {
        self.blocked_until
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
