use std::fmt;

use http::{HeaderMap, Request, Response};
use steadfast_core::limits::Told;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::CallOptions;
use steadfast_core::rejected::Rejected;
use steadfast_http::date::UnixTime;
use steadfast_http::{head, idempotency};

use crate::protocol::Protocol;

/// HTTP, for services that take an [`http::Request`]: what `steadfast-http` knows of methods, statuses and fields.
///
/// | What | Is |
/// | --- | --- |
/// | may be made twice | by its method, or with an `Idempotency-Key` |
/// | how an attempt ended | by its status |
/// | when to come back | `Retry-After` and its kin |
/// | what is left of the server's limits | `RateLimit`, `X-RateLimit-*` and their spellings by vendors |
/// | an error instead of a response | transient, and the server may have seen the request, unless [`never_sent`](Self::never_sent) says otherwise |
///
/// A request that has [`CallOptions`] among its extensions is called with those instead: with another deadline, with a weight, or as
/// one that may be made twice.
///
/// A request is repeated with a clone of its body. [`with_bodies`](Self::with_bodies) is for those that have none.
#[derive(Clone, Copy)]
pub struct Http<B = Cloned, E = Never> {
    bodies: B,
    never_sent: E,
}

/// How bodies are repeated that can be cloned.
#[derive(Clone, Copy, Debug)]
pub struct Cloned;

/// Whether an error says that a request was never sent: nobody has told.
#[derive(Clone, Copy, Debug)]
pub struct Never;

/// How a body is repeated.
pub trait Bodies<B> {
    /// The same body once more, if there can be another.
    fn repeat(&self, body: &B) -> Option<B>;
}

/// Whether an error says that a request was never sent.
pub trait NeverSent<E> {
    /// Whether this one does.
    fn is_never_sent(&self, error: &E) -> bool;
}

impl<B: Clone> Bodies<B> for Cloned {
    fn repeat(&self, body: &B) -> Option<B> {
        Some(body.clone())
    }
}

impl<B, F: Fn(&B) -> Option<B>> Bodies<B> for F {
    fn repeat(&self, body: &B) -> Option<B> {
        self(body)
    }
}

impl<E> NeverSent<E> for Never {
    fn is_never_sent(&self, _error: &E) -> bool {
        false
    }
}

impl<E, F: Fn(&E) -> bool> NeverSent<E> for F {
    fn is_never_sent(&self, error: &E) -> bool {
        self(error)
    }
}

impl Http {
    /// With bodies that are cloned, and errors that prove nothing.
    pub const fn new() -> Self {
        Self { bodies: Cloned, never_sent: Never }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl<B, E> Http<B, E> {
    /// The same, with bodies that are repeated so; `None` for one that cannot be.
    pub fn with_bodies<F>(self, repeat: F) -> Http<F, E> {
        Http { bodies: repeat, never_sent: self.never_sent }
    }

    /// The same, with errors of which this says whether they prove that the request was never sent, as when no connection was
    /// made: then it may be repeated, whatever its method.
    pub fn never_sent<F>(self, is: F) -> Http<B, F> {
        Http { bodies: self.bodies, never_sent: is }
    }
}

impl<B, E> fmt::Debug for Http<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl<Body, Answer, Error, B, E> Protocol<Request<Body>, Response<Answer>, Error> for Http<B, E>
where
    B: Bodies<Body>,
    E: NeverSent<Error>,
{
    type Classified = (Outcome, Told);

    fn options(&self, request: &Request<Body>) -> CallOptions {
        if let Some(options) = request.extensions().get::<CallOptions>() {
            return *options;
        }
        let method = request.method().as_str().as_bytes();
        CallOptions::new(idempotency::of_request(method, fields(request.headers())))
    }

    fn repeat(&self, request: &Request<Body>) -> Option<Request<Body>> {
        let body = self.bodies.repeat(request.body())?;
        let mut again = Request::new(body);
        *again.method_mut() = request.method().clone();
        *again.uri_mut() = request.uri().clone();
        *again.version_mut() = request.version();
        *again.headers_mut() = request.headers().clone();
        *again.extensions_mut() = request.extensions().clone();
        Some(again)
    }

    fn classify(&self, result: Result<&Response<Answer>, &Error>) -> (Outcome, Told) {
        match result {
            Ok(response) => head::classify(response.status().as_u16(), || fields(response.headers()), wall_clock()),
            Err(error) if self.never_sent.is_never_sent(error) => (Outcome::transient().not_processed(), Told::NOTHING),
            Err(_) => (Outcome::transient(), Told::NOTHING),
        }
    }

    fn note_end(&self, response: &mut Response<Answer>, rejected: Rejected, attempts: u32) {
        response.extensions_mut().insert(Ended { rejected, attempts });
    }
}

/// Why there was no further attempt, among the extensions of a response that is no success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ended {
    /// Why.
    pub rejected: Rejected,
    /// After how many attempts.
    pub attempts: u32,
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// For dates without the server's own. One that stands before 1970 is plainly wrong, and reads as 1970.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
fn wall_clock() -> Option<UnixTime> {
    use std::time::{SystemTime, UNIX_EPOCH};
    Some(UnixTime::EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// None: in a browser the standard library's clock panics.
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
fn wall_clock() -> Option<UnixTime> {
    None
}
