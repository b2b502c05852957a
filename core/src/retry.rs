//! Whether to try again, and when.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::outcome::{Idempotency, Outcome};
//! use steadfast_core::retry::budget::Budget;
//! use steadfast_core::retry::{Failure, Retry, Verdict};
//! use steadfast_core::time::Instant;
//!
//! let retry = Retry::builder().max_attempts(3).build()?;
//! let mut budget = Budget::default(); // One for all calls.
//! let now = Instant::EPOCH;
//! let failure = Failure {
//!     attempt: 1,
//!     outcome: Outcome::throttled().with_retry_after(Duration::from_secs(2)),
//!     idempotency: Idempotency::Idempotent,
//!     max_attempts: u32::MAX,
//!     previous_delay: Duration::ZERO,
//!     deadline: now + Duration::from_secs(30),
//! };
//! let entropy = 0; // A random number; zero draws the shortest delay.
//! let Verdict::Retry { at, .. } = retry.decide(now, entropy, &failure, &mut budget) else { panic!("it may be repeated") };
//! assert_eq!(at, now + Duration::from_secs(2));
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `max_attempts` | 4 | at least 1 | carries 255 of 256 calls through a server that fails every fourth request; more only adds load |
//! | `backoff` | [the default](crate::backoff) | | |
//!
//! # The decision
//!
//! In this order, and the first that applies is the answer:
//! 1. a permanent failure is not repeated;
//! 2. nothing is repeated that the server has asked not to be;
//! 3. an operation that is not idempotent is not repeated, unless the attempt was provably not acted on;
//! 4. no more attempts than `max_attempts` are made;
//! 5. the next one waits for what the server asked, if it did, plus the backoff's delay: never a moment less, and not
//!    at the same moment as everybody else; if that is at the deadline or later, the call fails now and says so;
//! 6. the [`budget`] pays for it, or it is not made. It is asked last, so that what will not happen costs nothing.
//!
//! A retry that is given up while it waits goes back to the budget with [`Budget::refund`].
//!
//! # When not to use it
//!
//! At more than one layer: three layers with four attempts each are 64 attempts.
//!
//! # With other policies
//!
//! In a [pipeline](crate::pipeline) a retry is an attempt like the first: the breaker is asked, and limits are waited for. Hedges are
//! counted among the attempts, and the one budget pays for both.

use core::fmt;
use core::time::Duration;

use crate::backoff::Backoff;
use crate::outcome::{Idempotency, Outcome, OutcomeKind, Processed};
use crate::rejected::Rejected;
use crate::retry::budget::{Budget, Cause, Charge};
use crate::settings::{InvalidSetting, at_least_one};
use crate::time::Instant;

pub mod budget;
#[cfg(test)]
mod tests;

/// Decides whether a failed attempt is followed by another. See the [module](self) for defaults and order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    max_attempts: u32,
    backoff: Backoff,
}

/// An attempt that did not succeed, and what bounds the next.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// Which attempt it was; the first is 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the operation may be done twice.
    pub idempotency: Idempotency,
    /// How many attempts this call may make, if the policy allows as many; `u32::MAX` leaves it to the policy.
    pub max_attempts: u32,
    /// What the backoff said before this attempt, as [`Verdict::Retry`] told; zero for the first.
    pub previous_delay: Duration,
    /// By when the whole call has to end.
    pub deadline: Instant,
}

/// What [`Retry::decide`] says.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "what the budget paid for a retry goes back to it, whatever becomes of the retry"]
pub enum Verdict {
    /// Try again at this time, not before.
    Retry {
        /// Before the deadline, and never before now.
        at: Instant,
        /// The backoff's part of the wait, for [`Failure::previous_delay`] if the retry fails too.
        delay: Duration,
        /// What the budget holds for it.
        charge: Charge,
        /// What it was told that this is for.
        cause: Cause,
    },
    /// Stop, for this reason.
    Stop(Rejected),
}

impl Retry {
    /// A retry policy with the defaults of the [module](self), to be changed.
    pub const fn builder() -> RetryBuilder {
        RetryBuilder { max_attempts: 4, backoff: Backoff::builder().unchecked() }
    }

    /// How many attempts are made at most, the first included.
    pub const fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// The shortest time after which a call may be repeated for the first time.
    pub(crate) const fn shortest_delay(&self) -> Duration {
        self.backoff.shortest()
    }

    /// What follows a failed attempt. `entropy` is a uniformly random number; see [`Backoff::delay`].
    ///
    /// The attempt itself is recorded with the budget before this: the budget then knows how it ended.
    pub fn decide(&self, now: Instant, entropy: u64, failure: &Failure, budget: &mut Budget) -> Verdict {
        let Failure { attempt, outcome, idempotency, max_attempts, previous_delay, deadline } = *failure;
        let max_attempts = self.max_attempts.min(max_attempts).max(1);
        if outcome.kind() == OutcomeKind::Permanent {
            return Verdict::Stop(Rejected::Permanent);
        }
        if outcome.forbids_retry() {
            return Verdict::Stop(Rejected::RetryForbidden);
        }
        if idempotency == Idempotency::NotIdempotent && outcome.processed() == Processed::Maybe {
            return Verdict::Stop(Rejected::NotIdempotent);
        }
        if attempt >= max_attempts {
            return Verdict::Stop(Rejected::AttemptsSpent { max_attempts });
        }
        if now >= deadline {
            return Verdict::Stop(Rejected::DeadlineExceeded { deadline });
        }
        let hint = outcome.retry_after().unwrap_or(Duration::ZERO);
        let delay = self.backoff.delay(attempt, previous_delay, entropy);
        let at = now + hint + delay;
        if at >= deadline {
            return Verdict::Stop(Rejected::NoTimeToRetry { retry_at: at, deadline });
        }
        // The halves change places: the delay hangs on the high one, and whether it is paid for should not.
        let cause = Cause::after(&outcome);
        match budget.withdraw(now, entropy.rotate_left(32), cause) {
            Ok(charge) => Verdict::Retry { at, delay, charge, cause },
            Err(exhausted) => Verdict::Stop(Rejected::BudgetSpent { retry_at: exhausted.retry_at }),
        }
    }
}

/// The settings in words: "at most 4 attempts, exponential backoff from 100ms by 2 up to 10s, full jitter".
impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max_attempts {
            1 => f.write_str("never"),
            attempts => write!(f, "at most {attempts} attempts, {}", self.backoff),
        }
    }
}

/// The default policy of the [module](self).
impl Default for Retry {
    fn default() -> Self {
        Self::builder().unchecked()
    }
}

/// Settings of a [`Retry`]; ranges and defaults are in the [module](self).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct RetryBuilder {
    max_attempts: u32,
    backoff: Backoff,
}

impl RetryBuilder {
    /// How many attempts are made at most, the first included: 1 never retries.
    pub const fn max_attempts(self, attempts: u32) -> Self {
        Self { max_attempts: attempts, ..self }
    }

    /// How long to wait between them.
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// The policy.
    ///
    /// # Errors
    /// If `max_attempts` is zero.
    pub const fn build(self) -> Result<Retry, InvalidSetting> {
        match at_least_one("max_attempts", self.max_attempts) {
            Ok(()) => Ok(self.unchecked()),
            Err(error) => Err(error),
        }
    }

    /// The policy, of settings that are known to be sound.
    pub(crate) const fn unchecked(self) -> Retry {
        let Self { max_attempts, backoff } = self;
        Retry { max_attempts, backoff }
    }
}
