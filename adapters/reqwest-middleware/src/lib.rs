//! The pipeline as a middleware, for those who use `reqwest-middleware` already.
//!
//! ```no_run
//! use reqwest_middleware::ClientBuilder;
//! use steadfast_core::pipeline::Pipeline;
//! use steadfast_core::rate_limit::{Quota, TokenBucket};
//! use steadfast_executor::{SharedPipeline, ThreadTimer};
//! use steadfast_reqwest_middleware::Steadfast;
//! # fn example(timer: impl steadfast_core::time::Timer<Sleep: Send> + Send + Sync + 'static)
//! # -> Result<(), Box<dyn std::error::Error>> {
//!
//! let limit = TokenBucket::new(Quota::per_second(100)?);
//! let pipeline = SharedPipeline::new(Pipeline::builder().rate_limit(limit).build()?, timer); // Such as `TokioTimer::new()`.
//! let client = ClientBuilder::new(reqwest::Client::new()).with(Steadfast::new(pipeline)).build();
//! # let _ = client;
//! # Ok(())
//! # }
//! ```
//!
//! One middleware takes the place of those for retries, limits and timeouts: none of them knows what another does, and the
//! product of all is what the server sees. Middlewares after it see each attempt, those before it each call.
//!
//! # What it decides, and by what
//!
//! | What | Is |
//! | --- | --- |
//! | whether a request may be sent twice | by its method, or with an `Idempotency-Key`, or if it was never sent, which is known of [clients without redirects](Steadfast::without_redirects) |
//! | how an attempt ended | by the response's status, or reqwest's error |
//! | when to come back | `Retry-After` and its kin |
//! | what is left of the server's limits | `RateLimit`, `X-RateLimit-*` and their spellings by vendors |
//! | a body that cannot be cloned, as a stream | sent once, and never empty |
//!
//! A request with [`CallOptions`] among its extensions (`RequestBuilder::with_extension`) is called with those instead.
//!
//! # What comes back
//!
//! The last response as it is, also where its status would have been worth another attempt, with [`Ended`] among its
//! extensions; or the last error of reqwest; or, as `Error::Middleware`, a [`Refused`], which says which policy and why.
//!
//! # When not to use it
//!
//! For what breaks off in a body: an attempt has ended when the response's head is there. `steadfast-client` reads bodies, and repeats
//! that too.
//!
//! # Cancel safety
//!
//! The future of a request may be dropped at any time, and gives back what it holds.

use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;
use http::{Extensions, HeaderMap};
use reqwest::{Request, Response, Url};
use reqwest_middleware::{Error, Middleware, Next};
use steadfast_core::event::Observer;
use steadfast_core::limits::Told;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::CallOptions;
use steadfast_core::rejected::Rejected;
use steadfast_core::run::{CallError, LastAttempt};
use steadfast_core::time::Timer;
use steadfast_executor::SharedPipeline;
use steadfast_http::date::UnixTime;
use steadfast_http::{head, idempotency};

/// A middleware that sends requests through a pipeline.
#[derive(Debug)]
pub struct Steadfast<T, O = (), const K: usize = 1> {
    pipeline: SharedPipeline<T, O, K>,
    may_follow: bool,
}

/// Why there was no further attempt, among the extensions of a response that is no success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ended {
    /// Why.
    pub rejected: Rejected,
    /// After how many attempts.
    pub attempts: u32,
}

/// Why there is neither a response nor an error of reqwest: the call was refused, or its last attempt was cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Which policy, why, and until when.
    pub rejected: Rejected,
    /// How many attempts were made.
    pub attempts: u32,
}

/// What one attempt brought, and the extensions as the middlewares after us have left them.
struct Tried {
    result: Result<Response, Error>,
    extensions: Extensions,
    /// The request cannot be sent again.
    is_last: bool,
    /// Whether a redirect may have come before, of a request that was acted on.
    may_have_followed: bool,
}

impl<T, O, const K: usize> Steadfast<T, O, K> {
    /// A middleware that sends requests through `pipeline`, which may be shared with others.
    pub const fn new(pipeline: SharedPipeline<T, O, K>) -> Self {
        Self { pipeline, may_follow: true }
    }

    /// Says that the client follows no redirects: without a connection, nothing was sent, and even a `POST` may be repeated.
    ///
    /// By default it may, as reqwest's do, and does not tell that it did before it found nobody to connect to.
    #[must_use]
    pub fn without_redirects(self) -> Self {
        Self { may_follow: false, ..self }
    }
}

#[async_trait]
impl<T, O, const K: usize> Middleware for Steadfast<T, O, K>
where
    T: Timer<Sleep: Send> + Send + Sync + 'static,
    O: Observer<Call: Send> + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let mut options = options_of(&request, extensions);
        let mut spare = request.try_clone();
        if spare.is_none() {
            // Neither repeated nor hedged: there is only the one.
            options = options.with_max_attempts(1);
        }
        let (mut request, given) = (Some(request), extensions.clone());
        let attempt = |_attempt| {
            let again = spare.take().or_else(|| request.as_ref().and_then(Request::try_clone));
            let sent = std::mem::replace(&mut request, again);
            let (next, mut extensions, is_last) = (next.clone(), given.clone(), request.is_none());
            let (asked, may_follow) = (sent.as_ref().map(|request| without_fragment(request.url())), self.may_follow);
            async move {
                let result = match sent {
                    Some(request) => next.run(request, &mut extensions).await,
                    // None is begun without a request: `options` allow one attempt where there is one request.
                    None => Err(Error::middleware(Refused { rejected: Rejected::RetryForbidden, attempts: 1 })),
                };
                let answered_elsewhere = |response: &Response| asked != Some(without_fragment(response.url()));
                let may_have_followed = may_follow && result.as_ref().map_or(true, answered_elsewhere);
                Tried { result, extensions, is_last, may_have_followed }
            }
        };
        let (mut tried, ended) = match self.pipeline.call_hedged(options, classify, attempt).await {
            Ok(tried) => (tried, None),
            Err(CallError { rejected, attempts, last: LastAttempt::Returned(tried), .. }) => {
                (tried, Some(Ended { rejected, attempts }))
            }
            Err(CallError { rejected, attempts, .. }) => {
                return Err(Error::middleware(Refused { rejected, attempts }));
            }
        };
        *extensions = tried.extensions;
        if let (Ok(response), Some(ended)) = (&mut tried.result, ended) {
            response.extensions_mut().insert(ended);
        }
        tried.result
    }
}

fn options_of(request: &Request, extensions: &Extensions) -> CallOptions {
    if let Some(options) = extensions.get::<CallOptions>() {
        return *options;
    }
    CallOptions::new(idempotency::of_request(request.method().as_str().as_bytes(), fields(request.headers())))
}

fn classify(tried: &Tried) -> (Outcome, Told) {
    let (outcome, told) = match &tried.result {
        Ok(response) => head::classify(response.status().as_u16(), || fields(response.headers()), wall_clock()),
        // Without a connection, or before one was sought, it was never sent.
        Err(Error::Reqwest(error)) if error.is_connect() => (Outcome::transient().not_processed(), Told::NOTHING),
        Err(Error::Reqwest(error)) if error.is_builder() => (Outcome::permanent().not_processed(), Told::NOTHING),
        // Where redirects lead in a circle, they do so again.
        Err(Error::Reqwest(error)) if error.is_redirect() => (Outcome::permanent(), Told::NOTHING),
        Err(Error::Reqwest(_)) => (Outcome::transient(), Told::NOTHING),
        // Nobody knows what another middleware has refused, or why: it is not for us to insist.
        Err(Error::Middleware(_)) => (Outcome::permanent(), Told::NOTHING),
    };
    let outcome = if tried.may_have_followed { outcome.maybe_processed() } else { outcome };
    (if tried.is_last { outcome.without_retry() } else { outcome }, told)
}

/// It is not sent, and not part of what comes back.
fn without_fragment(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// For dates without the server's own. One that stands before 1970 is plainly wrong, and reads as 1970.
fn wall_clock() -> Option<UnixTime> {
    use std::time::{SystemTime, UNIX_EPOCH};
    Some(UnixTime::EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempts {
            0 => write!(f, "no attempt was made: {}", self.rejected),
            attempts => write!(f, "attempt {attempts} did not end in time, and there is no other: {}", self.rejected),
        }
    }
}

impl StdError for Refused {}
