use core::fmt;
use core::time::Duration;

use steadfast_core::outcome::Outcome;
use steadfast_core::run::CallError;
use steadfast_http::classify;

/// Why a call failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be sent as it is. No attempt was made.
    InvalidRequest {
        /// What is wrong: "url" or "header".
        field: &'static str,
    },
    /// No attempt succeeded, and no further one is made: with the reason, and what became of the last.
    Failed(CallError<Failure>),
}

/// Why an attempt failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// No connection was made: the name was not found, the server refused, TLS did not agree. The request was never sent.
    NotSent(reqwless::Error),
    /// The connection broke, or what came over it is not HTTP. The server may have processed the request.
    Broken(reqwless::Error),
    /// The response is longer than the buffer that it was to be read into: its head, or its body.
    TooLong,
    /// The server answered with a status that means no success. The body was not read.
    Answered {
        /// The status, from 100 to 999.
        status: u16,
        /// How long the server asked to wait, if it did.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// How the attempt ended, in the words that policies understand.
    ///
    /// | Failure | Outcome | Reason |
    /// | --- | --- | --- |
    /// | `NotSent` | transient, not processed | whatever was asked may be repeated; but not to a URL that reqwless refuses |
    /// | `Broken` | transient | it may pass, and the server may have acted on it |
    /// | `TooLong` | permanent | the next response would be as long |
    /// | `Answered` | as [`classify`] has it | |
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotSent(reqwless::Error::InvalidUrl(_)) => Outcome::permanent().not_processed(),
            Self::NotSent(_) => Outcome::transient().not_processed(),
            Self::Broken(_) => Outcome::transient(),
            Self::TooLong => Outcome::permanent(),
            Self::Answered { status, retry_after } => classify(*status, *retry_after),
        }
    }

    /// What went wrong after there was a connection.
    pub(crate) fn after_sending(error: reqwless::Error) -> Self {
        match error {
            reqwless::Error::BufferTooSmall => Self::TooLong,
            error => Self::Broken(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => write!(f, "never sent: {error}"),
            Self::Broken(error) => write!(f, "sent, and no whole response came: {error}"),
            Self::TooLong => f.write_str("the response is longer than the buffer"),
            Self::Answered { status, .. } => write!(f, "answered with {status}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest { field } => write!(f, "invalid request: its {field}"),
            Self::Failed(CallError { rejected, attempts, .. }) => {
                let times = if *attempts == 1 { "attempt" } else { "attempts" };
                write!(f, "failed after {attempts} {times} ({rejected})")
            }
        }
    }
}

impl core::error::Error for Failure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NotSent(error) | Self::Broken(error) => Some(error),
            Self::TooLong | Self::Answered { .. } => None,
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        use steadfast_core::run::LastAttempt;
        match self {
            Self::Failed(CallError { last: LastAttempt::Returned(failure), .. }) => Some(failure),
            Self::InvalidRequest { .. } | Self::Failed(_) => None,
        }
    }
}
