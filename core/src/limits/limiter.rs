use core::fmt;
use core::task::Waker;

use super::Told;
use crate::concurrency::{self, Recorded};
use crate::outcome::OutcomeKind;
use crate::rate_limit::{self, PaceChange, RefusedBy};
use crate::time::Instant;

/// How it stands with somebody who waits for limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Tokens and slot are theirs. Who does not start after all hands the ticket to [`Limiter::leave`].
    Granted,
    /// Not before this instant, as far as is known now. Ask again then, or when woken.
    Wait(Instant),
    /// As soon as a slot comes free, and when that is nobody knows. Ask again when woken; at this instant one is free
    /// even if every permit was lost.
    WaitForSlot(Instant),
    /// Not at all.
    Refused(Refusal),
}

/// Why limits admit nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// A rate limit does not.
    RateLimit(rate_limit::Refusal),
    /// The concurrency limit does not.
    ConcurrencyLimit(concurrency::Refusal),
}

impl From<rate_limit::Refusal> for Refusal {
    fn from(refusal: rate_limit::Refusal) -> Self {
        Self::RateLimit(refusal)
    }
}

impl From<RefusedBy> for Refusal {
    fn from(refused: RefusedBy) -> Self {
        Self::RateLimit(refused.refusal)
    }
}

impl From<concurrency::Refusal> for Refusal {
    fn from(refusal: concurrency::Refusal) -> Self {
        Self::ConcurrencyLimit(refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimit(refusal) => refusal.fmt(f),
            Self::ConcurrencyLimit(refusal) => refusal.fmt(f),
        }
    }
}

impl core::error::Error for Refusal {}

/// What limits learned from the end of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Learned {
    /// What the concurrency limit did with it; [`Recorded::Noted`] where there is none.
    pub concurrency: Recorded,
    /// How the adaptive rate changed its pace, if it did.
    pub pace: Option<PaceChange>,
}

impl Learned {
    /// Nothing.
    pub const NOTHING: Self = Self { concurrency: Recorded::Noted, pace: None };
}

/// The port of limits on which calls wait.
///
/// A caller joins and gets a ticket, asks how its ticket stands whenever it likes, and either starts its attempt when it
/// is granted, and says how that ended, or leaves. A ticket that is forgotten may cost its own tokens, and its slot until
/// the lease of that ends, but nobody else their turn.
pub trait Limiter {
    /// A place in line, and then tokens and slot.
    type Ticket;

    /// Takes a place for a call that weighs `n` in line: behind all of its priority and above, before all below. Limits
    /// without a line do not read the priority.
    ///
    /// # Errors
    /// At once, if its turn would come only at `deadline` or later, or never.
    fn join(&mut self, now: Instant, n: u32, priority: u8, deadline: Instant) -> Result<Self::Ticket, Refusal>;

    /// How the ticket stands. May be asked at any time, in any order of tickets, as often as one likes.
    fn poll(&mut self, now: Instant, ticket: &mut Self::Ticket) -> Admission;

    /// Gives back a place, or what was granted and not used; those behind move forward.
    fn leave(&mut self, now: Instant, ticket: Self::Ticket);

    /// Tells how an attempt ended that was granted and started: its tokens are spent, its slot is free.
    fn finish(&mut self, now: Instant, mut ticket: Self::Ticket, outcome: OutcomeKind) -> Learned {
        self.end(now, &mut ticket, outcome)
    }

    /// The same, and the ticket is kept for whoever learns later what the attempt weighed in truth: for
    /// [`commit`](Self::commit). Dropped, its tokens stay spent.
    fn end(&mut self, now: Instant, ticket: &mut Self::Ticket, outcome: OutcomeKind) -> Learned;

    /// Settles an attempt that has [ended](Self::end) with what it weighed in truth.
    ///
    /// If that was less, what has not been refilled in the meantime goes back, and those in line move forward. If it was
    /// more, the difference is owed, and those in line wait for it. Limits that count calls are left as they are.
    ///
    /// Limits that cannot, as by default, leave everything spent.
    fn commit(&mut self, now: Instant, ticket: Self::Ticket, used: u32) {
        let _ = (now, ticket, used);
    }

    /// Tells that an attempt was started and dropped before it ended: its tokens are spent, its slot is free.
    fn abandon(&mut self, now: Instant, ticket: Self::Ticket);

    /// Tells what the response to an attempt said of the server's limits, before the attempt is
    /// [finished](Self::finish). Returns until when everybody is held back for it, if nobody was before.
    ///
    /// Limits that do not keep it in mind, as by default, need not care.
    fn tell(&mut self, now: Instant, ticket: &Self::Ticket, told: &Told) -> Option<Instant> {
        let _ = (now, ticket, told);
        None
    }

    /// Grants nothing before `until`, to anybody: the server said so.
    fn block_until(&mut self, until: Instant);

    /// Asks to be woken when what [`poll`](Self::poll) last said turns out to be too late.
    ///
    /// Limits whose answers never improve, and a driver that only waits for time to pass, need not care.
    fn watch(&mut self, ticket: &Self::Ticket, waker: &Waker) {
        let _ = (ticket, waker);
    }

    /// Has everybody who waits ask again, because something else than these limits has changed.
    ///
    /// As with [`watch`](Self::watch), a driver that only waits for time to pass need not care.
    fn wake_everybody(&mut self) {}

    /// Hands out one more waker that is due, if there is one, to be [let go](Woken::let_go) once no lock is held: waking
    /// or dropping it may run anything.
    fn next_woken(&mut self) -> Option<Woken> {
        None
    }
}

/// A waker on its way out of a limit.
#[derive(Debug)]
#[must_use = "somebody waits to be woken"]
pub enum Woken {
    /// Somebody who has to ask again.
    Wake(Waker),
    /// Somebody who left, or has another waker now.
    Forget(Waker),
}

impl Woken {
    /// Wakes whom it has to, and drops the waker. Not while a lock is held.
    pub fn let_go(self) {
        match self {
            Self::Wake(waker) => waker.wake(),
            Self::Forget(waker) => drop(waker),
        }
    }
}
