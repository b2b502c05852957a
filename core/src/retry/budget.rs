//! How much may be repeated at all: one budget for the retries and the hedges of all calls to one dependency.
//!
//! ```
//! use steadfast_core::outcome::OutcomeKind;
//! use steadfast_core::retry::budget::{Budget, Cause};
//! use steadfast_core::time::Instant;
//!
//! let mut budget = Budget::default();
//! let (now, entropy) = (Instant::EPOCH, 0);
//!
//! // Every first attempt begins, and every one that was begun ends.
//! for _ in 0..5 {
//!     let charge = budget.begin(now, entropy)?;
//!     budget.record(now, charge, OutcomeKind::Success);
//! }
//! // Five successes pay for one retry, and the reserve has two.
//! for _ in 0..3 {
//!     let charge = budget.withdraw(now, entropy, Cause::Transient)?;
//!     budget.record(now, charge, OutcomeKind::Transient);
//! }
//! assert!(budget.withdraw(now, entropy, Cause::Transient).is_err());
//! # Ok::<(), steadfast_core::retry::budget::Exhausted>(())
//! ```
//!
//! `max_attempts` bounds what one call adds, and that is no bound on what all of them add: where every call fails, four
//! attempts each are four times the load, just when the server can bear least. A budget bounds the sum.
//!
//! # Which one
//!
//! The default is [`Budget::ratio`]. What each adds in the worst case, to the load of one client that makes *r* calls a
//! second, each with up to three retries, all against a server that answers nothing for 60 s:
//!
//! | Budget | From | Adds at most | *r* = 10 | *r* = 1/5 |
//! | --- | --- | --- | --- | --- |
//! | [`Budget::ratio`], the default | Finagle | 20 % of the calls of 10 s, and 2 | 3.7 % | 17 % |
//! | [`Budget::aws_standard_2_1`] | AWS | 35 retries, 100 of throttled attempts | 5.8 %, 17 % | 292 %, 300 % |
//! | [`Budget::aws_standard_2_0`] | AWS | 100 retries, 50 of timeouts | 17 %, 8.3 % | 300 % |
//! | [`Budget::throttle`] | gRPC | 4 retries until the tokens are down to half | 0.7 % | 33 % |
//! | [`Budget::in_flight`] | Envoy | 3 retries at any moment, or a fifth of the calls under way | 300 % | 300 % |
//! | [`Budget::adaptive`] | Google | fewer with every failure | 200 % | 225 % |
//! | [`Budget::unlimited`] | | everything | 300 % | 300 % |
//!
//! The default holds to 20 % for every client with a call each 6 s or more, whatever part of the calls fails: fewer calls
//! than ten a minute are repeated twice a minute at most. It is the only one here whose bound follows the client's rate
//! *and* the clock. The others are for those who know them: a fleet that already runs on one of them, calls that are
//! bounded by concurrency and not by rate ([`Budget::in_flight`]), or a server that spends as much on a refusal as on an
//! answer ([`Budget::adaptive`], which refuses first attempts too).
//!
//! The price of a bound is that it binds: where every fourth attempt fails for hours, a fifth does not repeat them all.
//! [`Budget::quota`] counts only retries in vain, repeats every one of those, and in a brown-out doubles the load.
//!
//! # One attempt
//!
//! ```text
//!   first: begin ───┐              ┌─▶ record: it ended, and how
//!                   ├─▶ a Charge ──┼─▶ abandon: it was started and dropped, and stays paid
//!   other: withdraw ┘              └─▶ refund: it was never started, and what it took comes back
//! ```
//!
//! | Budget | `begin` | `withdraw` | `record` of an answer | of a failure | `refund` |
//! | --- | --- | --- | --- | --- | --- |
//! | ratio | | one of what successes pay, else one of the reserve; nothing if the server has said when | counts a success | | gives it back |
//! | quota | | the cost of the cause | gives back what it cost, or 1 | | gives it back |
//! | in-flight | counts an attempt | counts an attempt and a retry | uncounts both | uncounts both | uncounts both |
//! | throttle | | | 0.1 tokens more, if it was a success | a token less | |
//! | adaptive | counts a request, or refuses | as `begin` | counts an accept | | uncounts the request |
//!
//! An answer is [`OutcomeKind::Success`] or [`OutcomeKind::Permanent`]: the server did its work. `abandon` is as `refund`
//! to the in-flight and the adaptive budget, and nothing to the others. A charge that is lost stays paid; the attempt that
//! it stands for is forgotten when the window is over.
//!
//! # When not to use it
//!
//! Do not share one among dependencies: the calls to the healthy one would pay for the retries at the sick one.

use core::fmt;
use core::time::Duration;

use crate::outcome::{Outcome, OutcomeKind};
use crate::settings::{InvalidSetting, is_shorter};
use crate::time::Instant;

mod adaptive;
mod in_flight;
mod kind;
mod quota;
mod ratio;
mod reconfigure;
#[cfg(test)]
mod tests;
mod throttle;
mod window;

use kind::{Does, Kind, Unlimited};

pub use adaptive::AdaptiveBuilder;
pub use in_flight::InFlightBuilder;
pub use quota::QuotaBuilder;
pub use ratio::RatioBuilder;
pub use throttle::ThrottleBuilder;

/// How much may be repeated, by all calls together. See the [module](self) for the kinds and which to choose.
pub struct Budget {
    kind: Kind,
    does: &'static Does,
}

/// Why another attempt is made.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// The one before failed in a way that may pass.
    Transient,
    /// The server asked for fewer calls.
    Throttled,
    /// The server asked for fewer calls, and said when to come back.
    ToldWhen,
    /// The one before did not end in time.
    TimedOut,
    /// The one before takes long, and this one goes beside it.
    Hedge,
}

impl Cause {
    /// Its name, for labels: in snake case, and the same in every version.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::ToldWhen => "told_when",
            Self::TimedOut => "timed_out",
            Self::Hedge => "hedge",
        }
    }

    /// Why an attempt that follows one with this outcome is made.
    pub const fn after(outcome: &Outcome) -> Self {
        match outcome.kind() {
            OutcomeKind::Throttled => match outcome.retry_after() {
                Some(delay) if !delay.is_zero() => Self::ToldWhen,
                Some(_) | None => Self::Throttled,
            },
            OutcomeKind::Success | OutcomeKind::Transient | OutcomeKind::Permanent => {
                if outcome.is_timeout() {
                    Self::TimedOut
                } else {
                    Self::Transient
                }
            }
        }
    }
}

/// What the budget holds for one attempt. Hand it back with [`Budget::record`], [`Budget::abandon`] or
/// [`Budget::refund`].
#[derive(Debug, Eq, PartialEq)]
#[must_use = "hand it back when the attempt has ended, or it stays paid and teaches the budget nothing"]
pub struct Charge {
    at: Instant,
    paid: Paid,
}

impl Charge {
    const fn nothing(at: Instant) -> Self {
        Self { at, paid: Paid::Nothing }
    }
}

/// How an attempt was paid for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Paid {
    Nothing,
    BySuccesses,
    ByReserve,
    Tokens(u32),
}

/// There is nothing left for another attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Exhausted {
    /// When there will be something, if nothing succeeds earlier and nobody else takes it. `None` where time alone
    /// brings nothing, or nobody can tell when.
    pub retry_at: Option<Instant>,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.retry_at {
            Some(retry_at) => write!(f, "retry budget: spent until {retry_at}, unless calls succeed earlier"),
            None => f.write_str("retry budget: spent until calls succeed"),
        }
    }
}

impl core::error::Error for Exhausted {}

impl Budget {
    /// A share of what succeeded lately, and a small reserve: the default.
    pub const fn ratio() -> RatioBuilder {
        RatioBuilder::DEFAULT
    }

    /// Tokens that retries in vain use up, with the constants of [`Budget::aws_standard_2_1`] to be changed.
    pub const fn quota() -> QuotaBuilder {
        QuotaBuilder::AWS_2_1
    }

    /// The retry quota of the AWS SDKs' standard mode before its revision of 2026.
    pub const fn aws_standard_2_0() -> Self {
        QuotaBuilder::AWS_2_0.unchecked()
    }

    /// The retry quota of the AWS SDKs' standard mode since its revision of 2026.
    pub const fn aws_standard_2_1() -> Self {
        QuotaBuilder::AWS_2_1.unchecked()
    }

    /// A share of what is under way, as in Envoy.
    pub const fn in_flight() -> InFlightBuilder {
        InFlightBuilder::DEFAULT
    }

    /// All or nothing, by how failures and successes stand to each other, as in gRPC.
    pub const fn throttle() -> ThrottleBuilder {
        ThrottleBuilder::DEFAULT
    }

    /// First attempts too, refused at random by how many the server accepts, as at Google.
    pub const fn adaptive() -> AdaptiveBuilder {
        AdaptiveBuilder::DEFAULT
    }

    /// No bound but each call's own. For tests, and for a dependency that nobody else uses.
    pub const fn unlimited() -> Self {
        Self { kind: Kind::Unlimited(Unlimited), does: &const { Does::of::<Unlimited>() } }
    }

    /// A first attempt is about to start. `entropy` is a uniformly random number; only [`Budget::adaptive`] reads it.
    ///
    /// # Errors
    /// Of [`Budget::adaptive`] alone: the server accepts so few calls that this one is not sent.
    pub fn begin(&mut self, now: Instant, entropy: u64) -> Result<Charge, Exhausted> {
        (self.does.begin)(&mut self.kind, now, entropy)
    }

    /// Pays for another attempt of a call, to be started now or later. `entropy` is a uniformly random number; only
    /// [`Budget::adaptive`] reads it.
    ///
    /// # Errors
    /// If there is nothing left to pay with, and then nothing was taken.
    pub fn withdraw(&mut self, now: Instant, entropy: u64, cause: Cause) -> Result<Charge, Exhausted> {
        (self.does.withdraw)(&mut self.kind, now, entropy, cause)
    }

    /// Tells how an attempt ended.
    pub fn record(&mut self, now: Instant, charge: Charge, outcome: OutcomeKind) {
        (self.does.record)(&mut self.kind, now, charge, outcome);
    }

    /// Tells that an attempt was started and dropped before it ended: what it took stays taken, since the server may have
    /// seen it, and it says nothing about the server.
    pub fn abandon(&mut self, now: Instant, charge: Charge) {
        (self.does.abandon)(&mut self.kind, now, charge);
    }

    /// How many more attempts it would pay for at `now`, of calls whose first failed in a way that may pass. `None` where
    /// that is no number: it pays for all of them, or refuses at random.
    pub fn left(&mut self, now: Instant) -> Option<u64> {
        match &mut self.kind {
            Kind::Unlimited(Unlimited) | Kind::Adaptive(_) => None,
            Kind::Ratio(ratio) => Some(ratio.left(now)),
            Kind::Quota(quota) => quota.left(),
            Kind::InFlight(in_flight) => Some(in_flight.left(now)),
            Kind::Throttle(throttle) => throttle.left(),
        }
    }

    /// Gives back what was taken for an attempt that was never started.
    pub fn refund(&mut self, now: Instant, charge: Charge) {
        (self.does.refund)(&mut self.kind, now, charge);
    }
}

/// [`Budget::ratio`] with its defaults.
impl Default for Budget {
    fn default() -> Self {
        RatioBuilder::DEFAULT.unchecked()
    }
}

/// Whether the server did its work.
const fn is_answer(outcome: OutcomeKind) -> bool {
    matches!(outcome, OutcomeKind::Success | OutcomeKind::Permanent)
}

/// Refuses a window that cannot be cut into ten slices with any meaning.
const fn long_enough(setting: &'static str, window: Duration) -> Result<(), InvalidSetting> {
    if is_shorter(window, Duration::from_micros(1)) {
        return Err(InvalidSetting::time(setting, window, "at least a microsecond"));
    }
    Ok(())
}
