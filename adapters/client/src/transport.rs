use std::error::Error as StdError;
use std::fmt;
use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use steadfast_core::outcome::Processed;

use crate::body::RequestBody;

/// Any error, as transports have them.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The port through which requests leave: one request out, one response in.
///
/// A transport has no opinion. It does not retry, does not follow redirects, and has no timeout of its own: those are
/// decisions, and they are made before it. It says one thing about a failure: whether the server may have seen the
/// request.
///
/// A request's body may fail in the middle. The transport then breaks off: it closes the connection without the end that a
/// whole request has, and returns an error.
///
/// Dropping [`Sending`](Self::Sending), or a response body before its end, cancels the exchange and frees its
/// connection.
pub trait Transport {
    /// The response's body, as it arrives.
    type Body: Body<Data = Bytes, Error: Into<BoxError>>;

    /// The exchange, up to the head of the response. A named type, so that a caller who spawns can ask for `Send`.
    type Sending: Future<Output = Result<Response<Self::Body>, TransportError>>;

    /// Sends a request with an absolute URI.
    fn send(&self, request: Request<RequestBody>) -> Self::Sending;
}

impl<T: Transport + ?Sized> Transport for &T {
    type Body = T::Body;
    type Sending = T::Sending;

    fn send(&self, request: Request<RequestBody>) -> Self::Sending {
        (**self).send(request)
    }
}

/// Why there is no response.
#[derive(Debug)]
pub struct TransportError {
    processed: Processed,
    source: BoxError,
}

impl TransportError {
    /// The request provably never reached the server: there was no connection to send it on.
    pub fn never_sent(source: impl Into<BoxError>) -> Self {
        Self { processed: Processed::No, source: source.into() }
    }

    /// The server may have seen the request, and may have acted on it. The answer for everything that is not certain.
    pub fn maybe_processed(source: impl Into<BoxError>) -> Self {
        Self { processed: Processed::Maybe, source: source.into() }
    }

    /// Whether the server may have acted on the request.
    pub const fn processed(&self) -> Processed {
        self.processed
    }

    pub(crate) fn into_source(self) -> BoxError {
        self.source
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.processed {
            Processed::No => f.write_str("the request was never sent"),
            Processed::Maybe => f.write_str("the request was sent, and no response came"),
        }
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
