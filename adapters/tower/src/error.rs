use std::fmt;

use steadfast_core::rejected::Rejected;

/// Why a call has no answer: the service's own error, or ours. `E` is the service's, as it is, in no box.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The service failed. This is what its last attempt returned.
    Service {
        /// What it returned.
        source: E,
        /// Why there was no further attempt.
        rejected: Rejected,
        /// How many were made.
        attempts: u32,
    },
    /// The last attempt did not end in time, and was cancelled.
    TimedOut {
        /// Why there was no further attempt.
        rejected: Rejected,
        /// How many were made.
        attempts: u32,
    },
    /// The call was refused before its first attempt. The service knows nothing of it.
    Rejected(Rejected),
}

impl<E> Error<E> {
    /// Why no further attempt was made: which policy, for what reason, and until when.
    pub const fn rejected(&self) -> Rejected {
        match self {
            Self::Service { rejected, .. } | Self::TimedOut { rejected, .. } | Self::Rejected(rejected) => *rejected,
        }
    }

    /// How many attempts were made.
    pub const fn attempts(&self) -> u32 {
        match self {
            Self::Service { attempts, .. } | Self::TimedOut { attempts, .. } => *attempts,
            Self::Rejected(_) => 0,
        }
    }

    /// The service's own error, if the last attempt returned one.
    pub fn into_service_error(self) -> Option<E> {
        match self {
            Self::Service { source, .. } => Some(source),
            Self::TimedOut { .. } | Self::Rejected(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { source, rejected, attempts } => {
                write!(f, "attempt {attempts} failed ({source}), and there is no other: {rejected}")
            }
            Self::TimedOut { rejected, attempts } => {
                write!(f, "attempt {attempts} did not end in time, and there is no other: {rejected}")
            }
            Self::Rejected(rejected) => write!(f, "no attempt was made: {rejected}"),
        }
    }
}

/// With the service's error in its own text, and not as a source: many of tower's errors are boxed, and those are no source.
impl<E: fmt::Debug + fmt::Display> std::error::Error for Error<E> {}
