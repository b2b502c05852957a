//! Why a call ended without success, and when to come back.

use core::fmt;

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

impl Rejected {
    /// Which policy it was: what its sentence begins with.
    pub const fn policy(&self) -> &'static str {
        match self {
            Self::Permanent | Self::NotIdempotent | Self::RetryForbidden | Self::AttemptsSpent { .. } => "retry",
            Self::BudgetSpent { .. } | Self::Shed => "retry budget",
            Self::NoTimeToRetry { .. } | Self::DeadlineExceeded { .. } => "deadline",
            Self::CircuitOpen { .. } | Self::CircuitForcedOpen => "circuit breaker",
            Self::RateLimited { .. } | Self::TooHeavy { .. } => "rate limit",
            Self::TooManyInFlight { .. } | Self::NoSlot { .. } => "concurrency limit",
            Self::LineFull { .. } => "line",
            Self::Abandoned => "caller",
        }
    }

    /// Its name, for labels: in snake case, and the same in every version.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::NotIdempotent => "not_idempotent",
            Self::RetryForbidden => "retry_forbidden",
            Self::AttemptsSpent { .. } => "attempts_spent",
            Self::BudgetSpent { .. } => "budget_spent",
            Self::Shed => "shed",
            Self::NoTimeToRetry { .. } => "no_time_to_retry",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::CircuitForcedOpen => "circuit_forced_open",
            Self::RateLimited { .. } => "rate_limited",
            Self::TooHeavy { .. } => "too_heavy",
            Self::LineFull { .. } => "line_full",
            Self::TooManyInFlight { .. } => "too_many_in_flight",
            Self::NoSlot { .. } => "no_slot",
            Self::Abandoned => "abandoned",
        }
    }

    /// What to change where it happens too often: what its sentence ends with.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Permanent => "change what is asked",
            Self::NotIdempotent => {
                "say that the operation is idempotent, or give it a key by which the server knows it again"
            }
            Self::RetryForbidden => "send what can be sent again, unless it was the server's wish",
            Self::AttemptsSpent { .. } => "raise `max_attempts` if such failures soon pass",
            Self::BudgetSpent { .. } => "see why so many calls fail, before you raise the budget",
            Self::Shed => "see why the server refuses so much",
            Self::NoTimeToRetry { .. } => "raise `deadline`, or lower the backoff",
            Self::DeadlineExceeded { .. } => "raise `deadline`, or see what takes so long",
            Self::CircuitOpen { .. } => "see why the dependency fails, or raise what opens the breaker",
            Self::CircuitForcedOpen => "set another mode",
            Self::RateLimited { .. } => "make fewer calls, or raise `deadline` or the quota",
            Self::TooHeavy { .. } => "split the call, or raise the burst",
            Self::LineFull { .. } => "make fewer calls, or let more wait",
            Self::TooManyInFlight { .. } => "make fewer calls at once, let them wait in line, or raise the limit",
            Self::NoSlot { .. } => "make fewer calls at once, or raise `deadline` or the limit",
            Self::Abandoned => "keep its future until it ends, if that was not meant",
        }
    }

    /// What happened, and until when.
    fn reason(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permanent => f.write_str("the failure is permanent, another attempt would repeat it"),
            Self::NotIdempotent => f.write_str("the attempt may have been acted on and must not be repeated"),
            Self::AttemptsSpent { max_attempts: 1 } => f.write_str("the one attempt that it allows failed"),
            Self::AttemptsSpent { max_attempts } => write!(f, "all {max_attempts} attempts that it allows failed"),
            Self::RetryForbidden => {
                f.write_str("the server wants no other attempt, or the caller has nothing left to send")
            }
            Self::BudgetSpent { retry_at: Some(retry_at) } => {
                write!(f, "it is spent until {retry_at}, unless calls succeed earlier")
            }
            Self::BudgetSpent { retry_at: None } => f.write_str("it is spent until calls succeed"),
            Self::Shed => f.write_str("the server accepts so few calls that this one was not sent"),
            Self::NoTimeToRetry { retry_at, deadline } => {
                let late = *retry_at - *deadline;
                write!(f, "the next attempt could start only at {retry_at}, {late:?} after it")
            }
            Self::DeadlineExceeded { deadline } => write!(f, "it passed at {deadline}"),
            Self::CircuitOpen { retry_at, reason } => {
                write!(f, "{reason}, the next attempt may go at {retry_at}")
            }
            Self::CircuitForcedOpen => f.write_str("somebody has forced it open, until somebody says otherwise"),
            Self::RateLimited { retry_at, deadline } => {
                let late = *retry_at - *deadline;
                write!(f, "the turn of this call would come at {retry_at}, {late:?} after the deadline")
            }
            Self::TooHeavy { tokens, burst } => {
                write!(f, "{tokens} tokens at once is more than its burst of {burst}, ever")
            }
            Self::LineFull { waiting } => write!(f, "{waiting} calls wait already, as many as may"),
            Self::TooManyInFlight { in_flight, limit, retry_at } => {
                write!(f, "{in_flight} attempts are in flight, of {limit} that may be, until {retry_at} at the latest")
            }
            Self::NoSlot { deadline } => write!(f, "no slot came free before the deadline at {deadline}"),
            Self::Abandoned => f.write_str("the call was given up"),
        }
    }
}

/// One sentence: which policy, why and until when, and what to change. Times are those of the caller's clock.
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.policy())?;
        self.reason(f)?;
        write!(f, "; {}", self.advice())
    }
}

impl core::error::Error for Rejected {}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_refusal_is_one_sentence_with_policy_reason_time_and_advice() {
        let (retry_at, deadline) = (Instant::from_nanos(3_500_000_000), Instant::from_nanos(2_000_000_000));
        let table = [
            (
                Rejected::Permanent,
                "retry: the failure is permanent, another attempt would repeat it; change what is asked",
                None,
            ),
            (
                Rejected::NotIdempotent,
                "retry: the attempt may have been acted on and must not be repeated; \
                 say that the operation is idempotent, or give it a key by which the server knows it again",
                None,
            ),
            (
                Rejected::AttemptsSpent { max_attempts: 4 },
                "retry: all 4 attempts that it allows failed; raise `max_attempts` if such failures soon pass",
                None,
            ),
            (
                Rejected::AttemptsSpent { max_attempts: 1 },
                "retry: the one attempt that it allows failed; raise `max_attempts` if such failures soon pass",
                None,
            ),
            (
                Rejected::RetryForbidden,
                "retry: the server wants no other attempt, or the caller has nothing left to send; \
                 send what can be sent again, unless it was the server's wish",
                None,
            ),
            (
                Rejected::BudgetSpent { retry_at: Some(retry_at) },
                "retry budget: it is spent until 3.5s, unless calls succeed earlier; \
                 see why so many calls fail, before you raise the budget",
                Some(retry_at),
            ),
            (
                Rejected::BudgetSpent { retry_at: None },
                "retry budget: it is spent until calls succeed; \
                 see why so many calls fail, before you raise the budget",
                None,
            ),
            (
                Rejected::Shed,
                "retry budget: the server accepts so few calls that this one was not sent; \
                 see why the server refuses so much",
                None,
            ),
            (
                Rejected::NoTimeToRetry { retry_at, deadline },
                "deadline: the next attempt could start only at 3.5s, 1.5s after it; \
                 raise `deadline`, or lower the backoff",
                Some(retry_at),
            ),
            (
                Rejected::DeadlineExceeded { deadline },
                "deadline: it passed at 2s; raise `deadline`, or see what takes so long",
                None,
            ),
            (
                Rejected::CircuitOpen { retry_at, reason: Reason::FailureRate },
                "circuit breaker: too many of the latest calls failed, the next attempt may go at 3.5s; \
                 see why the dependency fails, or raise what opens the breaker",
                Some(retry_at),
            ),
            (
                Rejected::CircuitForcedOpen,
                "circuit breaker: somebody has forced it open, until somebody says otherwise; set another mode",
                None,
            ),
            (
                Rejected::RateLimited { retry_at, deadline },
                "rate limit: the turn of this call would come at 3.5s, 1.5s after the deadline; \
                 make fewer calls, or raise `deadline` or the quota",
                Some(retry_at),
            ),
            (
                Rejected::TooHeavy { tokens: 9, burst: 5 },
                "rate limit: 9 tokens at once is more than its burst of 5, ever; split the call, or raise the burst",
                None,
            ),
            (
                Rejected::TooManyInFlight { in_flight: 9, limit: 8, retry_at },
                "concurrency limit: 9 attempts are in flight, of 8 that may be, until 3.5s at the latest; \
                 make fewer calls at once, let them wait in line, or raise the limit",
                Some(retry_at),
            ),
            (
                Rejected::NoSlot { deadline },
                "concurrency limit: no slot came free before the deadline at 2s; \
                 make fewer calls at once, or raise `deadline` or the limit",
                None,
            ),
            (
                Rejected::LineFull { waiting: 9 },
                "line: 9 calls wait already, as many as may; make fewer calls, or let more wait",
                None,
            ),
            (
                Rejected::Abandoned,
                "caller: the call was given up; keep its future until it ends, if that was not meant",
                None,
            ),
        ];
        for (rejected, sentence, again) in table {
            assert_eq!((rejected.to_string().as_str(), rejected.retry_at()), (sentence, again));
        }
        // Each reason has a name of its own.
        let mut names: Vec<_> = table.iter().map(|(rejected, ..)| rejected.as_str()).collect();
        names.dedup();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), all), (16, 16), "{names:?}");
    }
}
