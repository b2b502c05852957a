use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, PRAGMA, USER_AGENT};
use http::{HeaderMap, HeaderName};
use url::Url;

use crate::error::Error;
use crate::request::header;

mod calls;
mod fills;
mod keeper;
mod resource;
mod revalidations;
mod status;
mod store;

pub(crate) use keeper::Keeper;
pub use resource::Resource;
pub use status::{CacheStatus, WhyStale};
pub use store::{CacheKey, MemoryStore, Store, check_store};

/// How long a response may be that is kept, unless told otherwise.
const MAX_RESPONSE: usize = 1024 * 1024;

/// Fields of a request that say what is wanted, and not who wants it.
const CONTENT: [HeaderName; 6] = [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, USER_AGENT, CACHE_CONTROL, PRAGMA];

/// Which responses a client keeps, to use them again: a private cache, as RFC 9111 has it.
///
/// ```
/// # use std::future::{Ready, ready};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use steadfast_client::{ApiClient, RequestBody, Transport, TransportError};
/// # use steadfast_core::time::ManualClock;
/// use steadfast_client::{Cache, CacheStatus};
/// # struct Echo;
/// # impl Transport for Echo {
/// #     type Body = Full<Bytes>;
/// #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
/// #     fn send(&self, _: Request<RequestBody>) -> Self::Sending {
/// #         let response = Response::builder().header("cache-control", "max-age=60").body(Full::default());
/// #         ready(response.map_err(TransportError::never_sent))
/// #     }
/// # }
/// # let (transport, clock) = (Echo, ManualClock::new());
/// let client = ApiClient::builder("https://api.example.com/v1", transport, &clock).cache(Cache::in_memory()).build()?;
/// # let call = async {
/// assert_eq!(client.get("items/7").send().await?.cache_status(), CacheStatus::Missed);
/// // The server said "max-age=60": for a minute nobody asks it again, and no limit is touched.
/// assert!(matches!(client.get("items/7").send().await?.cache_status(), CacheStatus::Hit { .. }));
/// # Ok::<(), steadfast_client::Error>(())
/// # };
/// # clock.drive(call).expect("it ends")?;
/// # Ok::<(), steadfast_client::Error>(())
/// ```
///
/// | Setting | Default | Why |
/// | --- | --- | --- |
/// | where | [`MemoryStore`]: 16 MiB, 4,096 URLs | |
/// | `max_response` | 1 MiB, with its fields | no response takes more than a sixteenth of that; a longer one is answered and not kept |
/// | `heuristic_freshness` | zero: none | what an API does not say is good for later is asked for again; with `ETag` or `Last-Modified` that is cheap |
/// | `ignored_field` | `Accept`, `Accept-Encoding`, `Accept-Language`, `User-Agent`, `Cache-Control`, `Pragma`, `traceparent`, `tracestate`, and the field of [`request_ids`](crate::ApiClientBuilder::request_ids) | they do not say who asks; where the answer depends on them, the server says so by `Vary` |
///
/// # What a call does
///
/// | Kept is | The call |
/// | --- | --- |
/// | a response that is fresh | has it at once: no token, no slot, no attempt; [`attempts`](crate::Response::attempts) is 0 |
/// | one that is stale, or is always to be asked for (`no-cache`) | asks whether it is still the answer (`If-None-Match`, `If-Modified-Since`); a 304 renews it |
/// | one in its `stale-while-revalidate` | has it, and somebody asks meanwhile: see [`revalidations`](crate::ApiClient::revalidations) |
/// | one in its `stale-if-error`, and the call fails | has it: after the last attempt, or when the breaker, a limit or the deadline lets none be made |
/// | nothing | asks. Whoever wants the same meanwhile waits for that answer, for half of his time or 30 s, and takes it if he may |
///
/// Whoever sends the request for others and leaves hands on to the next of them; whoever waits has his own deadline and
/// priority. An answer that may not be kept, or is of use only once, is shared with nobody: the others ask for themselves, at once.
///
/// A call says otherwise by its own `Cache-Control` (`no-store`, `no-cache`, `max-age`, `min-fresh`, `max-stale`,
/// `only-if-cached`, `stale-if-error`), and goes past all of this by
/// [`without_cache`](crate::RequestBuilder::without_cache). `only-if-cached` with nothing to use is [`Error::NotCached`].
///
/// # What is kept
///
/// What came whole to a `GET`: a 200, 203, 204, 404, 405, 410, 414 or 501, unless it or its request says `no-store`, and unless it
/// varies by anything (`Vary: *`). Of one URL, eight that vary. A `HEAD` is answered from what a `GET` brought, and renews it or
/// ends it. Past the cache go: requests with a body, with `Range` or conditions of their own; responses that are
/// [streamed](crate::RequestBuilder::send_streaming), since nobody knows whether they will be read to their end; what is said not
/// to be [idempotent](crate::RequestBuilder::idempotency); and whatever a redirect to another origin brings.
///
/// An unsafe method ends what is kept of its URL, and of the `Location` and `Content-Location` that its answer names, unless the
/// server refused it with a 4xx. It does so whatever becomes of the call: dropped or timed out, it may have been done. What was
/// being fetched meanwhile is not kept.
///
/// # Who may have it
///
/// Only calls of the same client that have the same in every field that may say who asks: all but those above. A call with another
/// `Authorization`, cookie or key of its own never sees what was kept for the first. What a client's [`Auth`](crate::Auth) adds
/// is the same for all of its calls, so a signer has to sign for one and the same, or each call has to name in a field for whom.
/// Nor does the cache see the cookies that a transport adds of itself.
///
/// # Who hears of it
///
/// [`Response::cache_status`](crate::Response::cache_status) says where each answer comes from. A hit makes no event, since nothing
/// was decided by a policy; a stale answer in place of an error is an
/// [`Event::FellBack`](steadfast_core::event::Event::FellBack), and what is asked of the server has the events of any call.
///
/// # When nobody knows the time
///
/// RFC 9111 §4 has it that a cache without a clock uses nothing that was not validated. So without a
/// [`wall_clock`](crate::ApiClientBuilder::wall_clock), as in a browser, every use is asked for: what is saved is the body. How long
/// something has been here is read off the timer, so that a wall clock that is set back makes nothing fresh again.
///
/// # When not to use it
///
/// With an API that has no idea of caching: nothing is kept, and equal calls wait for each other in vain. And where an answer of
/// this very moment is needed whatever the server allows: ask with `no-cache` there.
pub struct Cache {
    store: Arc<dyn Store>,
    max_response: usize,
    longest_guess: Duration,
    /// The fields that name a call and not its caller.
    naming: Result<Vec<HeaderName>, Error>,
}

impl Cache {
    /// Keeps responses in a [`MemoryStore`] with its defaults.
    pub fn in_memory() -> Self {
        Self::with_store(MemoryStore::new())
    }

    /// Keeps responses in this store. Several clients may have one, for the sake of one bound: none sees what another keeps.
    pub fn with_store(store: impl Store + 'static) -> Self {
        let naming = Ok(["traceparent", "tracestate"].map(HeaderName::from_static).to_vec());
        Self { store: Arc::new(store), max_response: MAX_RESPONSE, longest_guess: Duration::ZERO, naming }
    }

    /// Keeps no response that is longer than so many bytes, with its fields. Zero keeps none.
    #[must_use]
    pub fn max_response(self, bytes: usize) -> Self {
        Self { max_response: bytes, ..self }
    }

    /// Takes a response that does not say how long it is fresh for so: a tenth of the time since it was last modified, and this
    /// long at most (RFC 9111 §4.2.2).
    #[must_use]
    pub fn heuristic_freshness(self, longest: Duration) -> Self {
        Self { longest_guess: longest, ..self }
    }

    /// This field of a request does not say who asks: calls that differ in nothing else have the same answer, unless the server
    /// says by `Vary` that they do not. For what names a call and not its caller.
    #[must_use]
    pub fn ignored_field(self, name: &str) -> Self {
        let naming = self.naming.and_then(|mut naming| {
            naming.push(header(name, "")?.0);
            Ok(naming)
        });
        Self { naming, ..self }
    }

    pub(crate) fn open(self, request_id: Option<&HeaderName>) -> Result<Keeper, Error> {
        /// Each client keeps under a number of its own.
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        let Self { store, max_response, longest_guess, naming } = self;
        let mut naming = naming?;
        naming.extend(request_id.cloned());
        let client = CLIENTS.fetch_add(1, Ordering::Relaxed);
        Ok(Keeper::new(client, store, max_response, longest_guess, &CONTENT, naming))
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::in_memory()
    }
}

/// Shows the settings, and nothing of what is kept.
impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("max_response", &self.max_response)
            .field("heuristic_freshness", &self.longest_guess)
            .finish_non_exhaustive()
    }
}

/// A field of a response that names another URL, if that is at the same origin (RFC 9111 §4.4: a MUST NOT for any other).
pub(crate) fn named_url(url: &Url, headers: &HeaderMap, field: &HeaderName) -> Option<Url> {
    let named = url.join(std::str::from_utf8(headers.get(field)?.as_bytes()).ok()?).ok()?;
    (named.origin() == url.origin()).then_some(named)
}
