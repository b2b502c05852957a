use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method};
use steadfast_core::event::Observer;
use steadfast_core::limits::ServerLimits;
use steadfast_core::pipeline::Pipeline;
use steadfast_core::time::Timer;
use steadfast_executor::InFlight;
use steadfast_http::date::UnixTime;
use url::Url;

use crate::auth::Auth;
use crate::clock::{self, WallClock};
use crate::endpoints::{Common, Endpoints, OnePipeline};
use crate::error::Error;
use crate::minted::{IdempotencyKeys, Minted};
use crate::redirect::Redirects;
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
    redirects: Redirects,
    minted: Minted,
    transport: T,
    timer: Common<C>,
    endpoints: Endpoints<C, O>,
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
    /// | `endpoint` | none | where a path has a limit of its own |
    /// | `auth` | [`Auth::none`] | |
    /// | `redirects` | [`Redirects::none`] | a redirect is a surprise in an API, and one that a caller should see |
    /// | `idempotency_keys` | none | a server that does not know them acts twice |
    /// | `request_ids`, `attempt_counts` | none | |
    /// | `user_agent` | `steadfast/` and the version | some servers refuse requests without |
    /// | `max_body` | 16 MiB | a response is read into memory; one that never ends must not fill it |
    /// | `max_replay` | 64 KiB | a request's body that is a stream can be sent again up to here; each call under way may hold as much |
    /// | `read_timeout` | 30 s | of a body that is streamed there may be more to come for as long as the deadline allows, but not nothing for so long |
    /// | `longest_hold` | 24 h | a server that says "nothing left for a year" is mistaken; quotas of a day are not |
    /// | `seed` | random | two processes must not draw the same jitter |
    /// | `wall_clock` | the operating system's; in a browser none | a `Retry-After` may be a date |
    ///
    /// On `wasm32-unknown-unknown` there is no randomness to seed with either: every process draws the same jitter unless
    /// it is given a `seed`.
    pub fn builder(base_url: &str, transport: T, timer: C) -> ApiClientBuilder<T, C> {
        let settings = Settings {
            base_url: base_url.to_owned(),
            pipeline: None,
            endpoints: Vec::new(),
            headers: Ok(HeaderMap::new()),
            auth: Auth::none(),
            redirects: Redirects::none(),
            minted: Ok(Minted::nothing()),
            max_body: MAX_BODY,
            max_replay: MAX_REPLAY,
            read_timeout: READ_TIMEOUT,
            longest_hold: ServerLimits::LONGEST_HOLD,
            seed: None,
            wall_clock: clock::system,
        };
        ApiClientBuilder { transport, timer, observer: (), settings }
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

    /// Where a link on a page leads.
    pub(crate) fn linked(&self, page: &Url, link: &str) -> Result<Url, Error> {
        linked(&self.shared.base, page, link)
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

    pub(crate) fn redirects(&self) -> Redirects {
        self.shared.redirects
    }

    pub(crate) fn minted(&self) -> &Minted {
        &self.shared.minted
    }

    /// The pipeline that calls of this URL go through.
    pub(crate) fn pipeline_of(&self, url: &Url) -> &OnePipeline<C, O> {
        self.shared.endpoints.of(url)
    }

    /// All pipelines.
    pub(crate) fn pipelines(&self) -> impl Iterator<Item = &OnePipeline<C, O>> {
        self.shared.endpoints.iter()
    }

    pub(crate) fn timer(&self) -> &C {
        self.shared.timer.get()
    }
}

impl<T, C: Timer, O: Observer> ApiClient<T, C, O> {
    /// A random number.
    pub(crate) fn draw(&self) -> u64 {
        self.shared.endpoints.draw()
    }
}

/// Settings of an [`ApiClient`]; the defaults are at [`ApiClient::builder`].
#[must_use = "call `build`"]
pub struct ApiClientBuilder<T, C, O = ()> {
    transport: T,
    timer: C,
    observer: O,
    settings: Settings,
}

struct Settings {
    base_url: String,
    pipeline: Option<Pipeline>,
    endpoints: Vec<(String, Pipeline)>,
    headers: Result<HeaderMap, Error>,
    auth: Auth,
    redirects: Redirects,
    minted: Result<Minted, Error>,
    max_body: usize,
    max_replay: usize,
    read_timeout: Duration,
    longest_hold: Duration,
    seed: Option<u64>,
    wall_clock: WallClock,
}

impl<T, C: Timer, O: Observer> ApiClientBuilder<T, C, O> {
    /// The policies that every call goes through.
    pub fn pipeline(mut self, pipeline: Pipeline) -> Self {
        self.settings.pipeline = Some(pipeline);
        self
    }

    /// A pipeline of its own for all paths that begin with this one: an endpoint that has its own rate limit, or that may
    /// fail without keeping anybody from the others.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use std::future::{Ready, ready};
    /// # use steadfast_client::{ApiClient, RequestBody, Transport, TransportError};
    /// # use steadfast_core::pipeline::Pipeline;
    /// # use steadfast_core::rate_limit::{Quota, TokenBucket};
    /// # use steadfast_core::time::ManualClock;
    /// # struct Echo;
    /// # impl Transport for Echo {
    /// #     type Body = Full<Bytes>;
    /// #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
    /// #     fn send(&self, _: Request<RequestBody>) -> Self::Sending { ready(Ok(Response::default())) }
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let clock = ManualClock::new();
    /// let search = Pipeline::builder().rate_limit(TokenBucket::new(Quota::per_minute(30)?)).build()?;
    /// let client = ApiClient::builder("https://api.example.com/v1", Echo, &clock)
    ///     .pipeline(Pipeline::builder().rate_limit(TokenBucket::new(Quota::per_second(50)?)).build()?)
    ///     .endpoint("search", search) // /v1/search and /v1/search/code, and not /v1/searches
    ///     .build()?;
    /// # let _ = client;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Where several fit, the longest does. Such a call goes through that pipeline, and not through the client's.
    pub fn endpoint(mut self, path: &str, pipeline: Pipeline) -> Self {
        self.settings.endpoints.push((path.to_owned(), pipeline));
        self
    }

    /// Which redirects are followed.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.settings.redirects = redirects;
        self
    }

    /// Mints a key for each call whose method is not idempotent and that has none, so that it can be repeated.
    pub fn idempotency_keys(mut self, keys: IdempotencyKeys) -> Self {
        self.settings.minted = self.settings.minted.map(|minted| Minted { keys: Some(keys), ..minted });
        self
    }

    /// Gives each call a name, in this field: the same for all of its attempts, and in the error if it fails
    /// ([`Failure::request_id`](crate::Failure::request_id)), so that it can be found in the logs of both sides.
    pub fn request_ids(mut self, field: &str) -> Self {
        self.settings.minted = self.settings.minted.and_then(|minted| {
            let request_id = Some(header(field, "")?.0);
            Ok(Minted { request_id, ..minted })
        });
        self
    }

    /// Gives each attempt its number, in this field: 1 for the first.
    pub fn attempt_counts(mut self, field: &str) -> Self {
        self.settings.minted = self.settings.minted.and_then(|minted| {
            let attempt_count = Some(header(field, "")?.0);
            Ok(Minted { attempt_count, ..minted })
        });
        self
    }

    /// What keys and request ids are drawn from, instead of from the operating system: for tests, and for platforms that have
    /// nothing random. It has to draw a number that nobody has drawn before: with two calls of one key, the server makes only
    /// one of them.
    pub fn identifiers(mut self, draw: impl Fn() -> u128 + Send + Sync + 'static) -> Self {
        self.settings.minted =
            self.settings.minted.map(|minted| Minted { identifiers: Some(Arc::new(draw)), ..minted });
        self
    }

    /// A header field that every request carries unless it sets its own.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.settings.headers = self.settings.headers.and_then(|mut headers| {
            let (name, value) = header(name, value)?;
            headers.insert(name, value);
            Ok(headers)
        });
        self
    }

    /// How the client says who it is, on each request.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.settings.auth = auth;
        self
    }

    /// Who is calling. In place of `steadfast/` and the version.
    pub fn user_agent(self, name: &str) -> Self {
        self.header(USER_AGENT.as_str(), name)
    }

    /// How many bytes of a response's body are read; a longer one is an error.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// How many bytes are kept of a request's body that is a stream, so that it can be sent again. Zero keeps none.
    pub fn max_replay(mut self, bytes: usize) -> Self {
        self.settings.max_replay = bytes;
        self
    }

    /// For how long nothing may come of a response's body while it is read: what comes then is [`Error::ReadTimeout`]. A body
    /// that is read whole is over with its attempt in any case.
    pub fn read_timeout(mut self, time: Duration) -> Self {
        self.settings.read_timeout = time;
        self
    }

    /// How long calls wait at most for the reset of a limit that the server says is spent. A reset that is further away is
    /// not believed: after this time, one call goes and asks again.
    pub fn longest_hold(mut self, time: Duration) -> Self {
        self.settings.longest_hold = time;
        self
    }

    /// What jitter is drawn from, so that a run can be repeated.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// What time it is on the wall, if that is known: only for a `Retry-After` that is a date, and
    /// for a limit whose reset is a point in time.
    ///
    /// A response that has a `Date`, as nearly all have, is read by that and needs no clock. Where neither tells the time,
    /// a `Retry-After` in seconds is obeyed as ever, and one that is a date is not understood.
    pub fn wall_clock(mut self, clock: fn() -> Option<UnixTime>) -> Self {
        self.settings.wall_clock = clock;
        self
    }

    /// Whom to tell what happens.
    pub fn observer<P: Observer>(self, observer: P) -> ApiClientBuilder<T, C, P> {
        let Self { transport, timer, observer: _, settings } = self;
        ApiClientBuilder { transport, timer, observer, settings }
    }

    /// The client.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], if the base URL, an endpoint or a header field cannot be, the read timeout is zero, or keys
    /// are to be minted and there is nothing to draw them from.
    pub fn build(self) -> Result<ApiClient<T, C, O>, Error> {
        let Self { transport, timer, observer, settings } = self;
        let Settings { base_url, pipeline, endpoints, headers, auth, redirects, minted, .. } = settings;
        let Settings { max_body, max_replay, read_timeout, longest_hold, seed, wall_clock, .. } = settings;
        if read_timeout.is_zero() {
            let (value, reason) = (format!("{read_timeout:?}"), "it must be more than zero".to_owned());
            return Err(Error::InvalidRequest { field: "read_timeout", value, reason });
        }
        let base = base(&base_url)?;
        let mut headers = headers?;
        let name = HeaderValue::from_static(concat!("steadfast/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(name);
        let minted = minted?;
        minted.check()?;
        let timer = Common::new(timer);
        let others = pipeline.unwrap_or_default();
        let endpoints = Endpoints::new(&base, &timer, &Common::new(observer), (seed, longest_hold), others, endpoints)?;
        let in_flight = InFlight::new();
        let shared = Shared {
            base,
            headers,
            auth,
            max_body,
            max_replay,
            read_timeout,
            wall_clock,
            redirects,
            minted,
            transport,
            timer,
            endpoints,
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
        f.debug_struct("ApiClientBuilder").field("max_body", &self.settings.max_body).finish_non_exhaustive()
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
pub(crate) fn target(base: &Url, path: &str) -> Result<Url, Error> {
    let invalid = |reason: String| Error::InvalidRequest { field: "url", value: without_secrets(path), reason };
    if path.starts_with("http://") || path.starts_with("https://") {
        return linked(base, base, path);
    }
    let whole = format!("{}/{}", base.as_str().trim_end_matches('/'), path.trim_start_matches('/'));
    let whole = if path.is_empty() { base.as_str() } else { &whole };
    Url::parse(whole).map_err(|error| invalid(error.to_string()))
}

/// Where `link` leads, seen from `page`: nowhere but to the origin of `base`.
fn linked(base: &Url, page: &Url, link: &str) -> Result<Url, Error> {
    let invalid = |reason: String| Error::InvalidRequest { field: "url", value: without_secrets(link), reason };
    let url = page.join(link).map_err(|error| invalid(error.to_string()))?;
    if url.origin() == base.origin() {
        Ok(url)
    } else {
        Err(invalid(format!("which is not at {}", base.origin().ascii_serialization())))
    }
}

/// What can be shown of a text that was to be a URL: no query, and nothing before an `@`.
pub(crate) fn without_secrets(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('@').next().unwrap_or_default().to_owned()
}
