use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use steadfast_core::outcome::Processed;

/// Any error, as transports have them.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What a request carries: bytes in memory, so that a retry can send them again.
#[derive(Clone, Debug, Default)]
pub struct RequestBody(Full<Bytes>);

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self(Full::new(bytes))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The port through which requests leave: one request out, one response in.
///
/// A transport has no opinion. It does not retry, does not follow redirects, and has no timeout of its own: those are
/// decisions, and they are made before it. It says one thing about a failure: whether the server may have seen the
/// request.
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
