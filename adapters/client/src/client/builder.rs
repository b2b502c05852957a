use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use steadfast_core::event::Observer;
use steadfast_core::limits::Limits;
use steadfast_core::pipeline::Pipeline;
use steadfast_core::time::Timer;
use steadfast_executor::InFlight;
use steadfast_http::date::UnixTime;
use url::Url;

use super::{ApiClient, Shared, without_secrets};
use crate::any_pipeline::{AnyPipeline, LimitsPerKey};
use crate::auth::Auth;
use crate::cache::Cache;
use crate::clock::WallClock;
use crate::endpoints::{Common, Endpoints, PerKey};
use crate::error::Error;
use crate::minted::{IdempotencyKeys, Minted};
use crate::redirect::Redirects;
use crate::request::header;

/// Settings of an [`ApiClient`]; the defaults are at [`ApiClient::builder`].
#[must_use = "call `build`"]
pub struct ApiClientBuilder<T, C, O = ()> {
    pub(super) transport: T,
    pub(super) timer: C,
    pub(super) observer: O,
    pub(super) settings: Settings,
}

pub(super) struct Settings {
    pub(super) base_url: String,
    pub(super) pipeline: Option<AnyPipeline>,
    pub(super) endpoints: Vec<(String, AnyPipeline)>,
    pub(super) per_key: Option<PerKey>,
    pub(super) headers: Result<HeaderMap, Error>,
    pub(super) auth: Auth,
    pub(super) redirects: Redirects,
    pub(super) minted: Result<Minted, Error>,
    pub(super) cache: Option<Cache>,
    pub(super) max_body: usize,
    pub(super) max_replay: usize,
    pub(super) read_timeout: Duration,
    pub(super) longest_hold: Duration,
    pub(super) seed: Option<u64>,
    pub(super) wall_clock: WallClock,
}

impl<T, C: Timer, O: Observer> ApiClientBuilder<T, C, O> {
    /// The policies that every call goes through: a [`Pipeline`](steadfast_core::pipeline::Pipeline) with one rate limit or
    /// with several.
    pub fn pipeline(mut self, pipeline: impl Into<AnyPipeline>) -> Self {
        self.settings.pipeline = Some(pipeline.into());
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
    pub fn endpoint(mut self, path: &str, pipeline: impl Into<AnyPipeline>) -> Self {
        self.settings.endpoints.push((path.to_owned(), pipeline.into()));
        self
    }

    /// Limits of its own for each key: a customer, or an account of whose key the server has limits. A call
    /// [names](crate::RequestBuilder::limit_key) its key.
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
    /// let quota = Quota::per_second(5)?;
    /// let client = ApiClient::builder("https://api.example.com/v1", Echo, &clock)
    ///     .per_key(10_000, Pipeline::builder().build()?, move || TokenBucket::new(quota).into())
    ///     .build()?;
    /// let call = client.get("orders").limit_key("ann").header("authorization", "Bearer eyJ…").send();
    /// clock.drive(call).expect("it ends")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `limits` makes those of a key before its first call. `pipeline` has everything else, for the calls of all keys together:
    /// retries, their budget, the circuit breaker. It has no limits of its own. What the server tells of its limits, and a wait
    /// that it asks for, hold back the key whose call was told so, and no other.
    ///
    /// A call that names a key goes through that pipeline whatever its path is, and not through the client's or an endpoint's.
    ///
    /// | Bound | |
    /// | --- | --- |
    /// | `max_keys` | so many keys are remembered, with about a kilobyte each; those are forgotten when room is needed whose limits are at rest, see [`KeyedPipeline`](steadfast_executor::KeyedPipeline) |
    /// | beyond | a call for a key that is not known fails with [`Error::RateLimited`] and is not sent: no flood of keys makes a limit start anew |
    pub fn per_key<const K: usize>(
        mut self,
        max_keys: usize,
        pipeline: Pipeline,
        limits: impl Fn() -> Limits<K> + Send + Sync + 'static,
    ) -> Self
    where
        LimitsPerKey: From<Box<dyn Fn() -> Limits<K> + Send + Sync>>,
    {
        let limits: Box<dyn Fn() -> Limits<K> + Send + Sync> = Box::new(limits);
        self.settings.per_key = Some(PerKey { max_keys, pipeline, limits: limits.into() });
        self
    }

    /// Which redirects are followed.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.settings.redirects = redirects;
        self
    }

    /// Keeps responses that the server allows to be kept, and answers calls with them: see [`Cache`].
    pub fn cache(mut self, cache: Cache) -> Self {
        self.settings.cache = Some(cache);
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

    /// The same with a value that no `Debug` of a request shows.
    pub fn secret_header(mut self, name: &str, value: &str) -> Self {
        self.settings.headers = self.settings.headers.and_then(|mut headers| {
            let (name, mut value) = header(name, value)?;
            value.set_sensitive(true);
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
        let Settings { base_url, pipeline, endpoints, per_key, headers, auth, redirects, minted, cache, .. } = settings;
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
        let cache = cache.map(|cache| cache.open(minted.request_id.as_ref())).transpose()?;
        let timer = Common::new(timer);
        let others = pipeline.unwrap_or_default();
        let endpoints =
            Endpoints::new(&base, &timer, &Common::new(observer), (seed, longest_hold), others, endpoints, per_key)?;
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
            cache,
            in_flight,
        };
        Ok(ApiClient { shared: Arc::new(shared) })
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
