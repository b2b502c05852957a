//! Why a call ended without success, and when to come back.

use core::fmt;
use core::time::Duration;

use crate::circuit_breaker::Reason;
use crate::time::Instant;

/// Why no further attempt is made: which policy, for what reason, and until when.
///
/// It stands beside the operation's own result, which says what the last attempt returned. Printed, it is one sentence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Rejected {
    /// The attempt failed in a way that another would repeat.
    Permanent,
    /// The attempt failed, may have been acted on, and the operation must not be done twice.
    NotIdempotent,
    /// There must be no other attempt: the server asked for none, or the caller cannot send the same once more.
    RetryForbidden,
    /// As many attempts were made as the retry policy allows.
    AttemptsSpent {
        /// How many that is.
        max_attempts: u32,
    },
    /// All calls together have repeated as much as the retry budget pays for.
    BudgetSpent {
        /// When it can pay again, if nothing succeeds earlier; `None` where time alone brings nothing.
        retry_at: Option<Instant>,
    },
    /// The server accepts so few calls that this one was not sent.
    Shed,
    /// The next attempt could start only when the deadline has passed; it fails now instead.
    NoTimeToRetry {
        /// When the next attempt could have started.
        retry_at: Instant,
        /// By when the whole call had to end.
        deadline: Instant,
    },
    /// The deadline of the whole call has passed.
    DeadlineExceeded {
        /// When that was.
        deadline: Instant,
    },
    /// The circuit breaker leaves the dependency alone.
    CircuitOpen {
        /// When it lets somebody try again.
        retry_at: Instant,
        /// Why it does.
        reason: Reason,
    },
    /// The circuit breaker was [forced open](crate::circuit_breaker::Mode::ForcedOpen), until somebody says otherwise.
    CircuitForcedOpen,
    /// The call's turn under the rate limit would come only when the deadline has passed.
    RateLimited {
        /// When its turn would come.
        retry_at: Instant,
        /// By when the whole call had to end.
        deadline: Instant,
    },
    /// The call weighs more than the rate limit gives at once, ever.
    TooHeavy {
        /// What the call weighs.
        tokens: u32,
        /// The most that the rate limit gives at once.
        burst: u32,
    },
    /// As many calls wait in line at the rate limit as may.
    LineFull {
        /// How many that is.
        waiting: usize,
    },
    /// As many attempts are in flight as the concurrency limit allows, and nobody waits for one to end.
    TooManyInFlight {
        /// How many are.
        in_flight: u32,
        /// How many may be.
        limit: u32,
        /// When one has ended at the latest, even if every permit was lost.
        retry_at: Instant,
    },
    /// No slot came free under the concurrency limit before the deadline; or, after the reset of a limit that the server
    /// told, the attempt that asks what is left was not answered by then.
    NoSlot {
        /// By when the whole call had to end.
        deadline: Instant,
    },
    /// The call was given up by whoever made it.
    Abandoned,
}

impl Rejected {
    /// When the same call may be worth making again; `None` where waiting alone changes nothing.
    pub const fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::NoTimeToRetry { retry_at, .. }
            | Self::CircuitOpen { retry_at, .. }
            | Self::RateLimited { retry_at, .. }
            | Self::TooManyInFlight { retry_at, .. } => Some(*retry_at),
            Self::BudgetSpent { retry_at } => *retry_at,
            Self::Permanent
            | Self::NotIdempotent
            | Self::RetryForbidden
            | Self::CircuitForcedOpen
            | Self::AttemptsSpent { .. }
            | Self::Shed
            | Self::DeadlineExceeded { .. }
            | Self::TooHeavy { .. }
            | Self::LineFull { .. }
            | Self::NoSlot { .. }
            | Self::Abandoned => None,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permanent => f.write_str("retry: the failure is permanent, another attempt would repeat it"),
            Self::NotIdempotent => f.write_str("retry: the attempt may have been acted on and must not be repeated"),
            Self::AttemptsSpent { max_attempts: 1 } => f.write_str("retry: the one attempt that it allows failed"),
            Self::AttemptsSpent { max_attempts } => {
                write!(f, "retry: all {max_attempts} attempts that it allows failed")
            }
            Self::RetryForbidden => {
                f.write_str("retry: the server wants no other attempt, or the caller has nothing left to send")
            }
            Self::BudgetSpent { retry_at: Some(retry_at) } => {
                write!(f, "retry budget: it is spent until {retry_at}, unless calls succeed earlier")
            }
            Self::BudgetSpent { retry_at: None } => f.write_str("retry budget: it is spent until calls succeed"),
            Self::Shed => f.write_str("retry budget: the server accepts so few calls that this one was not sent"),
            Self::NoTimeToRetry { retry_at, deadline } => {
                write!(f, "deadline: the next attempt could start only {} after it", Late(*retry_at, *deadline))
            }
            Self::DeadlineExceeded { .. } => f.write_str("deadline: it has passed"),
            Self::CircuitOpen { retry_at, reason } => {
                write!(f, "circuit breaker: {reason}, the next attempt may go at {retry_at}")
            }
            Self::CircuitForcedOpen => f.write_str("circuit breaker: somebody has forced it open"),
            Self::RateLimited { retry_at, deadline } => {
                write!(
                    f,
                    "rate limit: the turn of this call would come {} after the deadline",
                    Late(*retry_at, *deadline)
                )
            }
            Self::TooHeavy { tokens, burst } => {
                write!(f, "rate limit: {tokens} tokens at once is more than its burst of {burst}, ever")
            }
            Self::LineFull { waiting } => write!(f, "{waiting} calls wait in line already, as many as may"),
            Self::TooManyInFlight { in_flight, limit, retry_at: _ } => {
                write!(f, "concurrency limit: {in_flight} attempts are in flight, of {limit} that may be")
            }
            Self::NoSlot { .. } => f.write_str("concurrency limit: no slot came free before the deadline"),
            Self::Abandoned => f.write_str("the call was given up by its caller"),
        }
    }
}

impl core::error::Error for Rejected {}

/// By how much something would be late.
struct Late(Instant, Instant);

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late: Duration = self.0 - self.1;
        write!(f, "{late:?}")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn every_reason_is_one_sentence() {
        let (retry_at, deadline) = (Instant::from_nanos(3_500_000_000), Instant::from_nanos(2_000_000_000));
        for (rejected, sentence, again) in [
            (Rejected::Permanent, "retry: the failure is permanent, another attempt would repeat it", None),
            (Rejected::NotIdempotent, "retry: the attempt may have been acted on and must not be repeated", None),
            (Rejected::AttemptsSpent { max_attempts: 4 }, "retry: all 4 attempts that it allows failed", None),
            (Rejected::AttemptsSpent { max_attempts: 1 }, "retry: the one attempt that it allows failed", None),
            (
                Rejected::RetryForbidden,
                "retry: the server wants no other attempt, or the caller has nothing left to send",
                None,
            ),
            (
                Rejected::BudgetSpent { retry_at: Some(retry_at) },
                "retry budget: it is spent until 3.5s, unless calls succeed earlier",
                Some(retry_at),
            ),
            (Rejected::BudgetSpent { retry_at: None }, "retry budget: it is spent until calls succeed", None),
            (Rejected::Shed, "retry budget: the server accepts so few calls that this one was not sent", None),
            (
                Rejected::NoTimeToRetry { retry_at, deadline },
                "deadline: the next attempt could start only 1.5s after it",
                Some(retry_at),
            ),
            (Rejected::DeadlineExceeded { deadline }, "deadline: it has passed", None),
            (
                Rejected::CircuitOpen { retry_at, reason: Reason::FailureRate },
                "circuit breaker: too many of the latest calls failed, the next attempt may go at 3.5s",
                Some(retry_at),
            ),
            (Rejected::CircuitForcedOpen, "circuit breaker: somebody has forced it open", None),
            (
                Rejected::RateLimited { retry_at, deadline },
                "rate limit: the turn of this call would come 1.5s after the deadline",
                Some(retry_at),
            ),
            (
                Rejected::TooHeavy { tokens: 9, burst: 5 },
                "rate limit: 9 tokens at once is more than its burst of 5, ever",
                None,
            ),
            (
                Rejected::TooManyInFlight { in_flight: 9, limit: 8, retry_at },
                "concurrency limit: 9 attempts are in flight, of 8 that may be",
                Some(retry_at),
            ),
            (Rejected::NoSlot { deadline }, "concurrency limit: no slot came free before the deadline", None),
            (Rejected::LineFull { waiting: 9 }, "9 calls wait in line already, as many as may", None),
            (Rejected::Abandoned, "the call was given up by its caller", None),
        ] {
            assert_eq!((rejected.to_string().as_str(), rejected.retry_at()), (sentence, again));
        }
    }
}
