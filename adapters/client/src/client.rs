use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use steadfast_core::event::Observer;
use steadfast_core::limits::ServerLimits;
use steadfast_core::rate_limit::Refusal;
use steadfast_core::time::Timer;
use steadfast_executor::InFlight;
use url::Url;

use crate::auth::Auth;
use crate::cache::Keeper;
use crate::clock::{self, WallClock};
use crate::endpoints::{Common, Endpoints, OnePipeline};
use crate::error::Error;
use crate::minted::Minted;
use crate::redirect::{Redirects, without};
use crate::request::RequestBuilder;

mod builder;

pub use builder::ApiClientBuilder;
use builder::Settings;

/// How long a response's body may be unless told otherwise.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// How much of a stream that is a request's body is kept unless told otherwise.
const MAX_REPLAY: usize = 64 * 1024;

/// For how long nothing may come of a body unless told otherwise.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one HTTP API, whose every call goes through one [`Pipeline`](steadfast_core::pipeline::Pipeline).
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
    cache: Option<Keeper>,
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
    /// | `pipeline` | [`Pipeline::builder`](steadfast_core::pipeline::Pipeline::builder) as it comes | retries, a breaker and a deadline; no rate limit, since only you know the API's |
    /// | `endpoint` | none | where a path has a limit of its own |
    /// | `per_key` | none | where customers or accounts have limits of their own |
    /// | `auth` | [`Auth::none`] | |
    /// | `redirects` | [`Redirects::none`] | a redirect is a surprise in an API, and one that a caller should see |
    /// | `idempotency_keys` | none | a server that does not know them acts twice |
    /// | `request_ids`, `attempt_counts` | none | |
    /// | `cache` | none | memory, and answers that are a little old, are yours to allow |
    /// | `user_agent` | `steadfast/` and the version | some servers refuse requests without |
    /// | `max_body` | 16 MiB | a response is read into memory; one that never ends must not fill it |
    /// | `max_replay` | 64 KiB | a request's body that is a stream can be sent again up to here; each call under way may hold as much |
    /// | `read_timeout` | 30 s | of a body that is streamed there may be more to come for as long as the deadline allows, but not nothing for so long |
    /// | time to connect | 5 s | a setting of the transport, which alone knows when there is a connection; what is late there was never sent, so a POST is repeated too |
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
            per_key: None,
            headers: Ok(HeaderMap::new()),
            auth: Auth::none(),
            redirects: Redirects::none(),
            minted: Ok(Minted::nothing()),
            cache: None,
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
        let mut url = linked(&self.shared.base, page, link)?;
        // A server may repeat what it was asked with. The key is added anew.
        without(&mut url, |name, value| self.auth().is_secret_parameter(name, value));
        Ok(url)
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

    pub(crate) fn cache(&self) -> Option<&Keeper> {
        self.shared.cache.as_ref()
    }

    pub(crate) fn redirects(&self) -> Redirects {
        self.shared.redirects
    }

    pub(crate) fn minted(&self) -> &Minted {
        &self.shared.minted
    }

    pub(crate) fn base(&self) -> &Url {
        &self.shared.base
    }

    pub(crate) fn endpoints(&self) -> &Endpoints<C, O> {
        &self.shared.endpoints
    }

    /// The pipeline that calls of this key go through; `None` if there is none for keys.
    pub(crate) fn pipeline_of_key(&self, key: &str) -> Option<Result<OnePipeline<C, O>, Refusal>>
    where
        C: Timer,
        O: Observer,
    {
        self.shared.endpoints.of_key(key)
    }

    /// The pipeline that calls of this URL go through.
    pub(crate) fn pipeline_of(&self, url: &Url) -> &OnePipeline<C, O> {
        self.shared.endpoints.of(url)
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

/// Where `link` leads, seen from `page`: nowhere but to the origin of `base`, and only if that is where the page is from. What
/// another origin says is nothing to send our credentials for.
fn linked(base: &Url, page: &Url, link: &str) -> Result<Url, Error> {
    let invalid = |reason: String| Error::InvalidRequest { field: "url", value: without_secrets(link), reason };
    let url = page.join(link).map_err(|error| invalid(error.to_string()))?;
    if url.origin() != base.origin() || page.origin() != base.origin() {
        return Err(invalid(format!("which is not at {}", base.origin().ascii_serialization())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // They would be sent as ours (RFC 9110 §4.2.4).
        return Err(invalid("which has a user's name or password".to_owned()));
    }
    Ok(url)
}

/// What can be shown of a text that was to be a URL: no query, and nothing before an `@`.
pub(crate) fn without_secrets(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('@').next().unwrap_or_default().to_owned()
}
