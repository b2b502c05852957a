use core::fmt;

use crate::time::Instant;

use super::State;

/// Leave to make one call. Hand it back with [`CircuitBreaker::record`] or [`CircuitBreaker::abandon`].
///
/// [`CircuitBreaker::record`]: super::CircuitBreaker::record
/// [`CircuitBreaker::abandon`]: super::CircuitBreaker::abandon
#[derive(Debug)]
#[must_use = "an unrecorded permit teaches the breaker nothing, and a probe's keeps its place until its lease ends"]
pub struct Permit {
    /// When the call starts; of one that would have been refused, until when.
    pub(super) at: Instant,
    /// Of the time in which it was given, or of this probe alone.
    pub(super) epoch: u32,
    pub(super) leave: Leave,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Leave {
    Call,
    Probe,
    /// It would have been refused, but for [`Mode::MetricsOnly`](super::Mode::MetricsOnly).
    Unjudged(Reason),
}

impl Permit {
    /// Whether the answer to this call decides if the outage is over.
    pub const fn is_probe(&self) -> bool {
        matches!(self.leave, Leave::Probe)
    }

    /// How the call would have been refused, if the mode were not [`MetricsOnly`](super::Mode::MetricsOnly).
    pub const fn would_refuse(&self) -> Option<Refusal> {
        match self.leave {
            Leave::Call | Leave::Probe => None,
            Leave::Unjudged(reason) => Some(Refusal::NotYet { retry_at: self.at, reason }),
        }
    }
}

/// Why the breaker admitted nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum Refusal {
    /// The dependency is being left alone for a time.
    NotYet {
        /// When to come back. Later than `now`, and coming back then works if nobody else took the place; sooner may
        /// work too, if a probe that is out returns well.
        retry_at: Instant,
        /// Why.
        reason: Reason,
    },
    /// Somebody has [forced](super::Mode::ForcedOpen) it open, and nobody knows for how long.
    ForcedOpen,
}

/// Why the breaker refuses for a time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// As many calls in a row failed as open it.
    ConsecutiveFailures,
    /// As large a part of the calls in the window failed as opens it.
    FailureRate,
    /// As large a part of the calls in the window was slow as opens it.
    SlowCallRate,
    /// It was open, and the probe that followed failed or was slow.
    ProbeFailed,
    /// It is half-open, and as many probes are out as may be.
    ProbesOut,
    /// It is recovering, and the share of calls that it admits by now is taken.
    Recovering,
}

impl Refusal {
    /// When to come back; `None` where nobody knows.
    pub const fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::NotYet { retry_at, .. } => Some(*retry_at),
            Self::ForcedOpen => None,
        }
    }
}

impl Reason {
    /// The end of a sentence that begins with the breaker's state.
    pub(crate) const fn because(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "too many calls in a row failed",
            Self::FailureRate => "too many of the latest calls failed",
            Self::SlowCallRate => "too many of the latest calls were slow",
            Self::ProbeFailed => "the probe failed",
            Self::ProbesOut => "as many probes are out as may be",
            Self::Recovering => "it recovers, and others took the share of calls that it admits by now",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.because())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { retry_at, reason } => write!(f, "circuit breaker: {reason}; come back at {retry_at}"),
            Self::ForcedOpen => f.write_str("circuit breaker: forced open, until somebody says otherwise"),
        }
    }
}

impl core::error::Error for Refusal {}

/// What a result, or a change of mode, did to the breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorded {
    /// It was noted, and the state stays.
    Noted,
    /// It changed the state from `from` to `to`.
    Changed {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
    },
    /// It belongs to an earlier state, or to a probe that was replaced, and changed nothing.
    Late,
    /// Nobody judges it: the breaker is forced closed, or would have refused the call but for
    /// [`Mode::MetricsOnly`](super::Mode::MetricsOnly).
    Unjudged,
}
