//! How many calls at once.
//!
//! ```
//! use steadfast_core::concurrency::ConcurrencyLimit;
//! use steadfast_core::outcome::OutcomeKind;
//! use steadfast_core::time::Instant;
//!
//! let mut limit = ConcurrencyLimit::fixed(1).build()?;
//! let now = Instant::EPOCH;
//! let permit = limit.try_acquire(now).expect("nothing is in flight");
//! assert_eq!(limit.try_acquire(now).unwrap_err().in_flight, 1);
//!
//! limit.record(now, permit, OutcomeKind::Success);
//! assert!(limit.try_acquire(now).is_ok());
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `algorithm` | [`Algorithm::Gradient2`] | | follows a server of unknown and changing capacity, and needs no failure to learn it |
//! | `initial` | 20 | `min` to `max` | enough to measure by at once; a server that it overloads is measured rightly by the first probe |
//! | `min` | 1 | at least 1 | a server in trouble gets one call at a time, and the circuit breaker looks after the rest |
//! | `max` | 200 | at least `min` | more calls at once than most servers take from one client |
//! | `lease` | 60 s | more than zero | longer than any sensible attempt: only a permit that vanished runs into it |
//!
//! [`ConcurrencyLimit::fixed`] sets the first four at once.
//!
//! # Rounds
//!
//! An adaptive limit is corrected once a round, never more often: calls that started before the last correction say
//! nothing about it, so they free their slots and teach nothing.
//!
//! ```text
//!               ┌─────────────── as many of its calls succeeded as a round needs ◀─┐
//!               ▼                                                                  │
//!   correct the limit ─▶ a new round: calls that start from now on are its calls ──┤
//!               ▲                                                                  │
//!               └───────────────────────────── the first of its calls that fails ◀─┘
//! ```
//!
//! A round needs as many calls as were in flight when it began, but at least 10, and never more than the limit.
//!
//! Vegas and Gradient2 compare a round's average latency with that of the unloaded server. They learn the latter from
//! the first round and from probes: every 32nd round runs at half the limit.
//!
//! | Algorithm | Learns from | Settles at, on a server that works on *n* calls at a time | Follows it from 100 to 20 |
//! | --- | --- | --- | --- |
//! | [`Algorithm::Fixed`] | nothing | | |
//! | [`Algorithm::Aimd`] | failures | 0.9 to 1 of the calls that it takes before it turns one down | within 5 s |
//! | [`Algorithm::Gradient2`] | latency, failures | *n* and √*n* (at least 4), within a tenth | within 10 s |
//! | [`Algorithm::Vegas`] | latency, failures | *n* and 3 to 6 steps, within a tenth | within 40 s |
//!
//! The figures are those of the tests, for calls of 50 ms, whether each takes as long or, except in the last column, the
//! time is distributed exponentially.
//!
//! Invariants, each the name of a test:
//! - *never above the limit*: a call is admitted only while fewer than `limit` are in flight.
//! - *a slot comes back once*: whatever becomes of permits, in order or out of it, what is in flight returns to zero.
//! - *a lost permit's slot comes back*: between one lease and two after it was given, when somebody asks.
//! - *a refusal is honest*: at `at_latest`, which is later than `now`, a slot is free even if every permit was lost,
//!   unless somebody else took it or the limit has shrunk.
//! - *no growth without use*: the limit grows only after a round in which at least half of it was in flight.
//! - *no drift under overload*: clients that take all they get do not push the limit up, however long they do.
//!
//! # What counts
//!
//! [`OutcomeKind::Success`] tells a latency. [`OutcomeKind::Transient`] and [`OutcomeKind::Throttled`] are failures, to
//! every algorithm: a server that answers nothing in time is overloaded, however steady the time.
//! [`OutcomeKind::Permanent`] and an abandoned call teach nothing: how long a server takes to turn a call down is not
//! how long it takes to do the work.
//!
//! # What differs from Netflix's library, and why
//!
//! - Rounds. The library corrects with every call unless wrapped in a window of a second; corrections then outrun their
//!   effect by as many calls as are in flight.
//! - Probes at half the limit. The library takes whatever latency is at hand (Vegas) or a long-term average (Gradient2)
//!   as the base; under a steady overload either comes to include the waiting, and the limit climbs to `max`
//!   (Netflix/concurrency-limits issues 137 and 165, pull request 134).
//! - Gradient2's room is √limit, as in the library's first Gradient, since that of 4 calls never fills a large server
//!   whose latency varies; and it counts failures, which the library's ignores (issue 137 again).
//!
//! # When not to use it
//!
//! When the server says how many calls per time it takes: that is a [rate limit](crate::rate_limit). And keep to
//! [`Algorithm::Fixed`] or [`Algorithm::Aimd`] where latency says little about load: where cheap and dear calls share one
//! limit, or a server turns calls down rather than let them wait.
//!
//! A call that outlives the lease frees its slot while it runs, so keep the lease longer than the attempt timeout.

use core::cmp;
use core::fmt;
use core::time::Duration;

use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, at_least_one};
use crate::time::{Instant, saturating_nanos};

mod algorithm;
mod estimate;
mod reconfigure;
mod settings;
#[cfg(test)]
mod simulation;
mod slots;
#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
use algorithm::Control;
use estimate::Estimate;
pub use settings::ConcurrencyLimitBuilder;
use settings::at_least;
use slots::Slots;

/// Admits calls while few enough are in flight. See the [module](self) for the algorithms and defaults.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    min: u32,
    max: u32,
    control: Control,
    estimate: Estimate,
    slots: Slots,
    round: Round,
    /// Changes with every round, so that calls from before it are recognised.
    epoch: u32,
}

/// What the calls of one round have shown so far.
#[derive(Debug)]
struct Round {
    /// How many must succeed to end it.
    wanted: u32,
    succeeded: u32,
    /// The sum of their latencies, in nanoseconds.
    latencies: u128,
    /// The most that were in flight at once.
    peak: u32,
}

/// Leave to make one call. Hand it back with [`ConcurrencyLimit::record`] or [`ConcurrencyLimit::abandon`].
#[derive(Debug)]
#[must_use = "an unrecorded permit keeps its slot until its lease ends"]
pub struct Permit {
    started: Instant,
    epoch: u32,
    generation: u32,
}

/// Why the limit admitted nothing: as many calls are in flight as may be.
///
/// A slot comes free when a call ends, and when that is nobody knows. So whoever waits asks again when a permit was
/// handed back, and at [`at_latest`](Self::at_latest) if none was.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Refusal {
    /// How many calls are in flight.
    pub in_flight: u32,
    /// How many may be. Fewer than are in flight, if the limit has shrunk since they started.
    pub limit: u32,
    /// When a slot is free even if every permit was lost. Later than `now`; [`Instant::MAX`] if beyond its end.
    pub at_latest: Instant,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "concurrency limit: {} calls are in flight, of {} that may be", self.in_flight, self.limit)
    }
}

impl core::error::Error for Refusal {}

/// What the end of a call did to the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorded {
    /// Its slot came free.
    Noted,
    /// Its slot came free, and the limit went from `from` to `to`.
    Changed {
        /// The limit before.
        from: u32,
        /// The limit after.
        to: u32,
    },
    /// Its lease had ended and its slot was taken back; it changed nothing.
    Late,
}

impl ConcurrencyLimit {
    /// An adaptive limit with the defaults of the [module](self), to be changed.
    pub const fn builder() -> ConcurrencyLimitBuilder {
        ConcurrencyLimitBuilder {
            algorithm: Algorithm::Gradient2,
            initial: 20,
            min: 1,
            max: 200,
            lease: Duration::from_secs(60),
        }
    }

    /// A limit that stays `limit`.
    pub const fn fixed(limit: u32) -> ConcurrencyLimitBuilder {
        Self::builder().algorithm(Algorithm::Fixed).initial(limit).min(limit).max(limit)
    }

    fn with_settings(settings: ConcurrencyLimitBuilder) -> Self {
        let ConcurrencyLimitBuilder { algorithm, initial, min, max, lease } = settings;
        Self {
            min,
            max,
            control: Control::new(algorithm),
            estimate: Estimate::slots(initial),
            slots: Slots::new(lease),
            round: Round::new(0, initial),
            epoch: 0,
        }
    }

    /// How many calls may be in flight at once. Less than is estimated while a probe runs.
    pub fn limit(&self) -> u32 {
        let limit = self.estimate.whole();
        if self.control.is_probing() { cmp::max(self.min, limit / 2) } else { limit }
    }

    /// How many calls are in flight, as far as is known: lost ones count until their lease ends and somebody asks.
    pub const fn in_flight(&self) -> u32 {
        self.slots.taken()
    }

    /// For how long a permit surely keeps its slot.
    pub const fn lease(&self) -> Duration {
        self.slots.lease()
    }

    /// The least and the most that the limit may be.
    pub const fn bounds(&self) -> (u32, u32) {
        (self.min, self.max)
    }

    /// Keeps other bounds from now on; the same number twice fixes the limit. Calls in flight stay, also if they are more
    /// than may be now: until enough of them have ended, nobody is admitted.
    ///
    /// # Errors
    /// If `min` is zero or above `max`; then nothing changes.
    pub fn set_bounds(&mut self, min: u32, max: u32) -> Result<Recorded, InvalidSetting> {
        at_least_one("min", min)?;
        at_least(("max", max), ("min", min))?;
        (self.min, self.max) = (min, max);
        Ok(self.correct(self.limit(), self.estimate))
    }

    /// Whether a slot is free at `now`. Takes none.
    ///
    /// # Errors
    /// As [`try_acquire`](Self::try_acquire).
    pub fn check(&mut self, now: Instant) -> Result<(), Refusal> {
        self.slots.advance(now);
        let (in_flight, limit) = (self.in_flight(), self.limit());
        if in_flight >= limit {
            return Err(Refusal { in_flight, limit, at_latest: self.slots.free_at_latest(limit) });
        }
        Ok(())
    }

    /// Admits a call if a slot is free.
    ///
    /// # Errors
    /// While as many calls are in flight as may be, or more.
    pub fn try_acquire(&mut self, now: Instant) -> Result<Permit, Refusal> {
        self.check(now)?;
        Ok(self.take(now))
    }

    /// Takes the slot that [`check`](Self::check) has found free at `now`.
    #[inline]
    pub(crate) fn take(&mut self, now: Instant) -> Permit {
        let generation = self.slots.take();
        self.round.peak = cmp::max(self.round.peak, self.in_flight());
        Permit { started: now, epoch: self.epoch, generation }
    }

    /// Tells how an admitted call ended, and frees its slot.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a call ends once.
    pub fn record(&mut self, now: Instant, permit: Permit, outcome: OutcomeKind) -> Recorded {
        if !self.slots.give_back(permit.generation) {
            return Recorded::Late;
        }
        if permit.epoch != self.epoch {
            return Recorded::Noted;
        }
        match outcome {
            // What its calls show would change nothing.
            OutcomeKind::Success if self.control.is_fixed() => Recorded::Noted,
            OutcomeKind::Success => self.succeeded(now - permit.started),
            OutcomeKind::Transient | OutcomeKind::Throttled => {
                self.correct(self.limit(), self.control.after_failure(self.estimate))
            }
            OutcomeKind::Permanent => Recorded::Noted,
        }
    }

    /// Tells that an admitted call was dropped before it ended. It frees its slot and teaches nothing.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a call ends once.
    pub fn abandon(&mut self, permit: Permit) -> Recorded {
        if self.slots.give_back(permit.generation) { Recorded::Noted } else { Recorded::Late }
    }

    fn succeeded(&mut self, latency: Duration) -> Recorded {
        self.round.succeeded += 1;
        self.round.latencies += u128::from(saturating_nanos(latency));
        if self.round.succeeded < self.round.wanted {
            return Recorded::Noted;
        }
        let average = self.round.latencies / u128::from(self.round.succeeded);
        let from = self.limit();
        let next = self.control.after_round(self.estimate, u64::try_from(average).unwrap_or(u64::MAX));
        // A round that left half of the slots unused does not show that the server could fill more.
        let next = if self.round.peak < from.div_ceil(2) { cmp::min(next, self.estimate) } else { next };
        self.correct(from, next)
    }

    /// Begins a new round with a new limit.
    fn correct(&mut self, from: u32, next: Estimate) -> Recorded {
        self.estimate = next.clamp(Estimate::slots(self.min), Estimate::slots(self.max));
        self.epoch = self.epoch.wrapping_add(1);
        let to = self.limit();
        self.round = Round::new(self.in_flight(), to);
        if from == to { Recorded::Noted } else { Recorded::Changed { from, to } }
    }
}

impl Round {
    const fn new(in_flight: u32, limit: u32) -> Self {
        // A round trip's worth of calls; of an idle client's, enough that one odd call does not decide.
        let least = if limit < 10 { limit } else { 10 };
        let wanted = if in_flight < least {
            least
        } else if in_flight > limit {
            limit
        } else {
            in_flight
        };
        Self { wanted, succeeded: 0, latencies: 0, peak: in_flight }
    }
}

/// The settings in words: "1 to 200 at once by AIMD, a lost slot is free after 60s".
impl fmt::Display for ConcurrencyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.control, self.min == self.max) {
            (Control::Fixed, _) | (_, true) => write!(f, "{} at once", self.limit())?,
            (control, false) => write!(f, "{} to {} at once by {}", self.min, self.max, control.name())?,
        }
        write!(f, ", a lost slot is free after {:?}", self.lease())
    }
}

/// An adaptive limit with the defaults of the [module](self).
impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self::with_settings(Self::builder())
    }
}
