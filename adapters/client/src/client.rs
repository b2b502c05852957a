use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method};
use steadfast_core::event::Observer;
use steadfast_core::pipeline::Pipeline;
use steadfast_core::time::Timer;
use steadfast_executor::{InFlight, SharedPipeline};
use steadfast_http::date::UnixTime;
use url::Url;

use crate::auth::Auth;
use crate::clock::{self, WallClock};
use crate::error::Error;
use crate::request::{RequestBuilder, header};

/// How long a response's body may be unless told otherwise.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// How much of a stream that is a request's body is kept unless told otherwise.
const MAX_REPLAY: usize = 64 * 1024;

/// For how long nothing may come of a body unless told otherwise.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one HTTP API, whose every call goes through one [`Pipeline`].
///
/// Cheap to clone, and used from as many tasks as one likes: clones share the transport's connections, the rate limit
/// and the circuit breaker. Built by [`ApiClient::builder`].
///
/// Type parameters: the [`Transport`](crate::Transport) `T`, the timer `C`, and an observer `O`.
pub struct ApiClient<T, C, O = ()> {
    shared: Arc<Shared<T, C, O>>,
}

struct Shared<T, C, O> {
    base: Url,
    headers: HeaderMap,
    auth: Auth,
    max_body: usize,
    max_replay: usize,
    read_timeout: Duration,
    wall_clock: WallClock,
    transport: T,
    pipeline: SharedPipeline<C, O>,
    in_flight: InFlight,
}

impl<T, C, O> Clone for ApiClient<T, C, O> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T, C: Timer> ApiClient<T, C> {
    /// A client of the API at `base_url`, to be set up.
    ///
    /// | Setting | Default | Why |
    /// | --- | --- | --- |
    /// | `pipeline` | [`Pipeline::builder`] as it comes | retries, a breaker and a deadline; no rate limit, since only you know the API's |
    /// | `auth` | [`Auth::none`] | |
    /// | `user_agent` | `steadfast/` and the version | some servers refuse requests without |
    /// | `max_body` | 16 MiB | a response is read into memory; one that never ends must not fill it |
    /// | `max_replay` | 64 KiB | a request's body that is a stream can be sent again up to here; each call under way may hold as much |
    /// | `read_timeout` | 30 s | of a body that is streamed there may be more to come for as long as the deadline allows, but not nothing for so long |
    /// | `seed` | random | two processes must not draw the same jitter |
    /// | `wall_clock` | the operating system's; in a browser none | a `Retry-After` may be a date |
    ///
    /// On `wasm32-unknown-unknown` there is no randomness to seed with either: every process draws the same jitter unless
    /// it is given a `seed`.
    pub fn builder(base_url: &str, transport: T, timer: C) -> ApiClientBuilder<T, C> {
        ApiClientBuilder {
            base_url: base_url.to_owned(),
            transport,
            timer,
            observer: (),
            pipeline: None,
            headers: Ok(HeaderMap::new()),
            auth: Auth::none(),
            max_body: MAX_BODY,
            max_replay: MAX_REPLAY,
            read_timeout: READ_TIMEOUT,
            seed: None,
            wall_clock: clock::system,
        }
    }
}

impl<T, C, O> ApiClient<T, C, O> {
    /// A `GET` of `path`. See [`request`](Self::request).
    pub fn get(&self, path: &str) -> RequestBuilder<'_, T, C, O> {
        self.request(Method::GET, path)
    }

    /// A `HEAD` of `path`. See [`request`](Self::request).
    pub fn head(&self, path: &str) -> RequestBuilder<'_, T, C, O> {
        self.request(Method::HEAD, path)
    }

    /// A `POST` to `path`. See [`request`](Self::request).
    ///
    /// It is not repeated once the server may have seen it, unless it carries an `Idempotency-Key`.
    pub fn post(&self, path: &str) -> RequestBuilder<'_, T, C, O> {
        self.request(Method::POST, path)
    }

    /// A `PUT` to `path`. See [`request`](Self::request).
    pub fn put(&self, path: &str) -> RequestBuilder<'_, T, C, O> {
        self.request(Method::PUT, path)
    }

    /// A `PATCH` of `path`. See [`request`](Self::request).
    ///
    /// It is not repeated once the server may have seen it, unless it carries an `Idempotency-Key`.
    pub fn patch(&self, path: &str) -> RequestBuilder<'_, T, C, O> {
        self.request(Method::PATCH, path)
    }

    /// A `DELETE` of `path`. See [`request`](Self::request).
    pub fn delete(&self, path: &str) -> RequestBuilder<'_, T, C, O> {
        self.request(Method::DELETE, path)
    }

    /// An `OPTIONS` of `path`. See [`request`](Self::request).
    pub fn options(&self, path: &str) -> RequestBuilder<'_, T, C, O> {
        self.request(Method::OPTIONS, path)
    }

    /// A request with any method.
    ///
    /// `path` goes behind the base URL's own path, with one slash between them, and may bring a query. A whole URL is
    /// taken as it is if it has the base URL's origin, as links to a next page have; another origin is refused, since
    /// the default headers may hold secrets.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder<'_, T, C, O> {
        RequestBuilder::new(self, method, target(&self.shared.base, path))
    }

    /// The URL that paths are relative to.
    pub fn base_url(&self) -> &str {
        self.shared.base.as_str()
    }

    pub(crate) fn default_headers(&self) -> &HeaderMap {
        &self.shared.headers
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.shared.auth
    }

    pub(crate) fn max_body(&self) -> usize {
        self.shared.max_body
    }

    pub(crate) fn max_replay(&self) -> usize {
        self.shared.max_replay
    }

    pub(crate) fn read_timeout(&self) -> Duration {
        self.shared.read_timeout
    }

    pub(crate) fn wall_clock(&self) -> WallClock {
        self.shared.wall_clock
    }

    pub(crate) fn transport(&self) -> &T {
        &self.shared.transport
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.shared.in_flight
    }

    pub(crate) fn pipeline(&self) -> &SharedPipeline<C, O> {
        &self.shared.pipeline
    }
}

impl<T, C: Timer, O: Observer> ApiClient<T, C, O> {
    pub(crate) fn timer(&self) -> &C {
        self.shared.pipeline.timer()
    }
}

/// Settings of an [`ApiClient`]; the defaults are at [`ApiClient::builder`].
#[must_use = "call `build`"]
pub struct ApiClientBuilder<T, C, O = ()> {
    base_url: String,
    transport: T,
    timer: C,
    observer: O,
    pipeline: Option<Pipeline>,
    headers: Result<HeaderMap, Error>,
    auth: Auth,
    max_body: usize,
    max_replay: usize,
    read_timeout: Duration,
    seed: Option<u64>,
    wall_clock: WallClock,
}

impl<T, C: Timer, O: Observer> ApiClientBuilder<T, C, O> {
    /// The policies that every call goes through.
    pub fn pipeline(self, pipeline: Pipeline) -> Self {
        Self { pipeline: Some(pipeline), ..self }
    }

    /// A header field that every request carries unless it sets its own.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            let (name, value) = header(name, value)?;
            headers.insert(name, value);
            Ok(headers)
        });
        self
    }

    /// How the client says who it is, on each request.
    pub fn auth(self, auth: Auth) -> Self {
        Self { auth, ..self }
    }

    /// Who is calling. In place of `steadfast/` and the version.
    pub fn user_agent(self, name: &str) -> Self {
        self.header(USER_AGENT.as_str(), name)
    }

    /// How many bytes of a response's body are read; a longer one is an error.
    pub fn max_body(self, bytes: usize) -> Self {
        Self { max_body: bytes, ..self }
    }

    /// How many bytes are kept of a request's body that is a stream, so that it can be sent again. Zero keeps none.
    pub fn max_replay(self, bytes: usize) -> Self {
        Self { max_replay: bytes, ..self }
    }

    /// For how long nothing may come of a response's body while it is read: what comes then is [`Error::ReadTimeout`]. A body
    /// that is read whole is over with its attempt in any case.
    pub fn read_timeout(self, time: Duration) -> Self {
        Self { read_timeout: time, ..self }
    }

    /// What jitter is drawn from, so that a run can be repeated.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// What time it is on the wall, if that is known: only for a `Retry-After` that is a date.
    ///
    /// A response that has a `Date`, as nearly all have, is read by that and needs no clock. Where neither tells the time,
    /// a `Retry-After` in seconds is obeyed as ever, and one that is a date is not understood.
    pub fn wall_clock(self, clock: fn() -> Option<UnixTime>) -> Self {
        Self { wall_clock: clock, ..self }
    }

    /// Whom to tell what happens.
    pub fn observer<P: Observer>(self, observer: P) -> ApiClientBuilder<T, C, P> {
        let Self {
            base_url,
            transport,
            timer,
            observer: _,
            pipeline,
            headers,
            auth,
            max_body,
            max_replay,
            read_timeout,
            seed,
            wall_clock,
        } = self;
        ApiClientBuilder {
            base_url,
            transport,
            timer,
            observer,
            pipeline,
            headers,
            auth,
            max_body,
            max_replay,
            read_timeout,
            seed,
            wall_clock,
        }
    }

    /// The client.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], if the base URL or a header field cannot be, or the read timeout is zero.
    pub fn build(self) -> Result<ApiClient<T, C, O>, Error> {
        let Self {
            base_url,
            transport,
            timer,
            observer,
            pipeline,
            headers,
            auth,
            max_body,
            max_replay,
            read_timeout,
            seed,
            wall_clock,
        } = self;
        if read_timeout.is_zero() {
            let (value, reason) = (format!("{read_timeout:?}"), "it must be more than zero".to_owned());
            return Err(Error::InvalidRequest { field: "read_timeout", value, reason });
        }
        let base = base(&base_url)?;
        let mut headers = headers?;
        let name = HeaderValue::from_static(concat!("steadfast/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(name);
        let pipeline = pipeline.unwrap_or_default();
        let pipeline = match seed {
            Some(seed) => SharedPipeline::with_seed(pipeline, timer, seed),
            None => SharedPipeline::new(pipeline, timer),
        };
        let pipeline = pipeline.with_observer(observer);
        let in_flight = InFlight::new();
        let shared = Shared {
            base,
            headers,
            auth,
            max_body,
            max_replay,
            read_timeout,
            wall_clock,
            transport,
            pipeline,
            in_flight,
        };
        Ok(ApiClient { shared: Arc::new(shared) })
    }
}

/// Shows no header value: a secret may be in it.
impl<T, C, O> fmt::Debug for ApiClient<T, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { base, headers, auth, max_body, .. } = &*self.shared;
        let names: Vec<_> = headers.keys().collect();
        f.debug_struct("ApiClient")
            .field("base_url", &base.as_str())
            .field("headers", &names)
            .field("auth", auth)
            .field("max_body", max_body)
            .finish_non_exhaustive()
    }
}

/// Shows no URL and no header: neither has been checked for secrets yet.
impl<T, C, O> fmt::Debug for ApiClientBuilder<T, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClientBuilder").field("max_body", &self.max_body).finish_non_exhaustive()
    }
}

/// The base URL, which has to be one that requests can be sent to.
fn base(url: &str) -> Result<Url, Error> {
    let invalid = |reason: String| Error::InvalidRequest { field: "base_url", value: without_secrets(url), reason };
    let base = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(invalid("which does not begin with http:// or https://".to_owned()));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(invalid("which has a user's name or password: set an authorization header instead".to_owned()));
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(invalid("which has a query or a fragment: paths go behind it".to_owned()));
    }
    Ok(base)
}

/// Where `path` leads, seen from `base`.
fn target(base: &Url, path: &str) -> Result<Url, Error> {
    let invalid = |reason: String| Error::InvalidRequest { field: "url", value: without_secrets(path), reason };
    if path.starts_with("http://") || path.starts_with("https://") {
        let url = Url::parse(path).map_err(|error| invalid(error.to_string()))?;
        if url.origin() != base.origin() {
            return Err(invalid(format!("which is not at {}", base.origin().ascii_serialization())));
        }
        return Ok(url);
    }
    let whole = format!("{}/{}", base.as_str().trim_end_matches('/'), path.trim_start_matches('/'));
    let whole = if path.is_empty() { base.as_str() } else { &whole };
    Url::parse(whole).map_err(|error| invalid(error.to_string()))
}

/// What can be shown of a text that was to be a URL: no query, and nothing before an `@`.
pub(crate) fn without_secrets(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('@').next().unwrap_or_default().to_owned()
}
