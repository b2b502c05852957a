use std::error::Error as StdError;
use std::str::Utf8Error;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use steadfast_core::rejected::Rejected;
use steadfast_core::run::{CallError, History, LastAttempt};
use steadfast_core::time::Instant;
use steadfast_executor::ShutDown;

use crate::auth::TokenError;
use crate::exchange::Tried;
use crate::json_error::JsonError;
use crate::redirect::NotFollowed;
use crate::transport::BoxError;

mod failure;

pub use failure::Failure;
pub(crate) use failure::{Named, request_id};

/// Why a call failed.
///
/// It says what the last attempt brought, or why there was none; [`Failure::rejected`] says why there were no more.
/// Printed, it is one sentence: the call, what happened, after how many attempts and how long, and why no more were
/// made. It shows no header, nothing of a body and no query, where secrets may be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be sent as it is. No attempt was made.
    #[error("invalid request: {field} is {value:?}, {reason}")]
    InvalidRequest {
        /// What is wrong: "url", "header", "body".
        field: &'static str,
        /// What it was given.
        value: String,
        /// What it should have been.
        reason: String,
    },
    /// The server could not be reached, or the connection broke before a whole response had come.
    #[error("{failure}: {}", root(&**source))]
    Connection {
        /// What the transport says.
        source: BoxError,
        /// The call.
        failure: Box<Failure>,
    },
    /// The last attempt did not end in time.
    #[error("{0}: the attempt timed out")]
    AttemptTimeout(Box<Failure>),
    /// Of a response's body, nothing came for as long as the read timeout.
    #[error("{0}: nothing more came of the body")]
    ReadTimeout(Box<Failure>),
    /// The deadline of the whole call passed before its first attempt could start, or before a body that is streamed had come
    /// to its end.
    #[error("{0}: the deadline has passed")]
    DeadlineExceeded(Box<Failure>),
    /// Too many requests: the server said so (429), or our own rate limit had no room for the call's first attempt.
    #[error("{0}: rate limited")]
    RateLimited(Box<Failure>),
    /// The circuit breaker leaves the server alone, because it keeps failing: no attempt was made.
    ///
    /// A call that the breaker stops after its first attempt has the error of that attempt, and
    /// [`Failure::rejected`] names the breaker.
    #[error("{0}: not sent")]
    CircuitOpen(Box<Failure>),
    /// No slot came free under the concurrency limit; nothing was sent.
    #[error("{0}: too many at once")]
    ConcurrencyLimited(Box<Failure>),
    /// The client was shut down before the call's first attempt: nothing was sent.
    #[error("{0}: not sent, the client is shut down")]
    ShutDown(Box<Failure>),
    /// The call took longer than the [shutdown](crate::ApiClient::shut_down) of the client had patience. The server may have
    /// acted on it.
    #[error("{0}: cancelled, the client is shut down")]
    Cancelled(Box<Failure>),
    /// The call wanted an answer from the [cache](crate::Cache) or none (`only-if-cached`), and nothing is kept that may be used.
    #[error("{0}: not in the cache")]
    NotCached(Box<Failure>),
    /// The server does not know who we are, or does not let us (401, 403).
    #[error("{0}: not authorised")]
    Authentication(Box<Failure>),
    /// No token could be fetched, so nothing was sent.
    #[error("{failure}: {source}")]
    Token {
        /// Why there is none.
        source: TokenError,
        /// The call.
        failure: Box<Failure>,
    },
    /// The request could not be signed, so nothing was sent.
    #[error("{failure}: not signed: {source}")]
    Signature {
        /// What the signer says.
        source: BoxError,
        /// The call.
        failure: Box<Failure>,
    },
    /// The request's body, a stream, failed. The server has not had a whole request.
    #[error("{failure}: the request's body failed: {source}")]
    Body {
        /// What the stream says.
        source: BoxError,
        /// The call.
        failure: Box<Failure>,
    },
    /// There is no such thing (404, 410).
    #[error("{0}: not found")]
    NotFound(Box<Failure>),
    /// The server wants us to go elsewhere (3xx), and we do not: see [`Redirects`](crate::Redirects).
    #[error("{failure}: {reason}")]
    Redirect {
        /// Why not.
        reason: NotFollowed,
        /// The call, with the response that leads elsewhere.
        failure: Box<Failure>,
    },
    /// The server finds fault with the request (any other 4xx).
    #[error("{0}: the request was refused")]
    Client(Box<Failure>),
    /// The server failed (5xx).
    #[error("{0}: the server failed")]
    Server(Box<Failure>),
    /// The response's body is longer than the client is willing to keep.
    #[error("{0}: the body is longer than the client keeps")]
    BodyTooLong(Box<Failure>),
    /// The body is not the JSON that was asked for.
    #[error("{failure}: the body is not what was expected at {path}: {source}")]
    Decode {
        /// Which of its values: `items[3].price`, or `.` for the whole. A key that does not look like a name is told as `*`, since
        /// that of a map may be a secret: one of more than 32 characters or more than 3 digits, or with others than letters,
        /// digits, `_`, `-` and `$`. Of a long path, the first 256 bytes are told.
        path: String,
        /// What is wrong with it, and where.
        source: JsonError,
        /// The call, with the body's beginning.
        failure: Box<Failure>,
    },
    /// The body is not a stream of events, by its content type.
    #[error("{0}: the body is not a stream of events")]
    NotEvents(Box<Failure>),
    /// Behind this page there are more, and as many as may be have been fetched.
    #[error("{0}: there are more pages than the client fetches")]
    TooManyPages(Box<Failure>),
    /// The body is not UTF-8 text.
    #[error("{failure}: the body is not text: {source}")]
    NotText {
        /// What is wrong with it, and where.
        source: Utf8Error,
        /// The call, with the body's beginning.
        failure: Box<Failure>,
    },
}

impl Error {
    /// What a call that did not succeed amounts to: what its last attempt brought, or why it never made one.
    pub(crate) fn of_call<B>(target: Named, error: CallError<Tried<B>>) -> Self {
        let CallError { rejected, last, attempts, elapsed, history } = error;
        let failure =
            |head, body| Box::new(Failure { target, attempts, elapsed, history, rejected: Some(rejected), head, body });
        match last {
            LastAttempt::Returned(tried) => {
                let (what, head, body) = tried.answer.into_parts();
                Self::of_attempt(what, failure(head, body))
            }
            LastAttempt::TimedOut => Self::AttemptTimeout(failure(None, Bytes::new())),
            LastAttempt::NotMade => {
                let failure = failure(None, Bytes::new());
                match rejected {
                    Rejected::CircuitOpen { .. } | Rejected::CircuitForcedOpen | Rejected::Shed => {
                        Self::CircuitOpen(failure)
                    }
                    Rejected::TooManyInFlight { .. } | Rejected::NoSlot { .. } => Self::ConcurrencyLimited(failure),
                    Rejected::RateLimited { .. } | Rejected::TooHeavy { .. } | Rejected::LineFull { .. } => {
                        Self::RateLimited(failure)
                    }
                    _ => Self::DeadlineExceeded(failure),
                }
            }
        }
    }

    /// What a call amounts to that the shutdown of its client has stopped.
    pub(crate) fn of_shut_down(target: Named, attempts: u32, elapsed: Duration, why: ShutDown) -> Self {
        let (history, body) = (History::default(), Bytes::new());
        let failure = Box::new(Failure { target, attempts, elapsed, history, rejected: None, head: None, body });
        match why {
            ShutDown::NotStarted => Self::ShutDown(failure),
            ShutDown::Cancelled => Self::Cancelled(failure),
        }
    }

    /// What a last attempt that was no success amounts to.
    pub(crate) fn of_attempt(what: What, failure: Box<Failure>) -> Self {
        match what {
            What::Broke(source) => Self::Connection { source, failure },
            What::Stalled => Self::ReadTimeout(failure),
            What::TooLong => Self::BodyTooLong(failure),
            What::NoToken(source) => Self::Token { source, failure },
            What::NotSigned(source) => Self::Signature { source, failure },
            What::BodyFailed(source) => Self::Body { source, failure },
            What::TimedOut => Self::AttemptTimeout(failure),
            What::Answered(status) => Self::of_status(status, failure),
        }
    }

    fn of_status(status: StatusCode, failure: Box<Failure>) -> Self {
        match status.as_u16() {
            401 | 403 => Self::Authentication(failure),
            404 | 410 => Self::NotFound(failure),
            429 => Self::RateLimited(failure),
            300..=399 => Self::Redirect { reason: NotFollowed::Never, failure },
            400..=499 => Self::Client(failure),
            _ => Self::Server(failure),
        }
    }

    /// The call that failed; `None` if it was never more than an invalid request.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::InvalidRequest { .. } => None,
            Self::Connection { failure, .. }
            | Self::Redirect { failure, .. }
            | Self::Token { failure, .. }
            | Self::Signature { failure, .. }
            | Self::Body { failure, .. }
            | Self::Decode { failure, .. }
            | Self::NotText { failure, .. } => Some(failure),
            Self::AttemptTimeout(failure)
            | Self::ReadTimeout(failure)
            | Self::NotEvents(failure)
            | Self::TooManyPages(failure)
            | Self::DeadlineExceeded(failure)
            | Self::RateLimited(failure)
            | Self::ConcurrencyLimited(failure)
            | Self::CircuitOpen(failure)
            | Self::ShutDown(failure)
            | Self::Cancelled(failure)
            | Self::NotCached(failure)
            | Self::Authentication(failure)
            | Self::NotFound(failure)
            | Self::Client(failure)
            | Self::Server(failure)
            | Self::BodyTooLong(failure) => Some(failure),
        }
    }

    /// The status of the last response, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.failure().and_then(Failure::status)
    }

    /// Whether the same call may succeed later: nothing was wrong with it, and repeating it does no harm.
    pub fn is_retryable(&self) -> bool {
        match self.failure().and_then(Failure::rejected) {
            None
            | Some(
                Rejected::Permanent | Rejected::NotIdempotent | Rejected::RetryForbidden | Rejected::TooHeavy { .. },
            ) => false,
            Some(_) => true,
        }
    }

    /// When it is worth making again, on the clock of the client's timer; `None` where nobody can tell.
    pub fn retry_at(&self) -> Option<Instant> {
        self.failure().and_then(Failure::rejected).and_then(|rejected| rejected.retry_at())
    }
}

/// What is at the bottom of an error, below all that only says that something went wrong.
fn root<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}

/// What an attempt brought, without its response.
pub(crate) enum What {
    Broke(BoxError),
    Stalled,
    TooLong,
    NoToken(TokenError),
    NotSigned(BoxError),
    BodyFailed(BoxError),
    TimedOut,
    Answered(StatusCode),
}
