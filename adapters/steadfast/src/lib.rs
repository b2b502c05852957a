//! API calls that survive.
//!
//! The one crate to add: choose a runtime and a transport by their features, and the rest is here.
//!
//! ```toml
//! steadfast = { version = "0.1", features = ["tokio", "reqwest"] }
//! ```
//!
//! ```no_run
//! # #[cfg(all(feature = "tokio", feature = "reqwest"))]
//! # mod example {
//! use steadfast::{Pipeline, Quota, TokenBucket};
//!
//! # #[derive(Debug, serde::Deserialize)]
//! # struct Item { name: String }
//! # pub async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let limit = TokenBucket::new(Quota::per_second(100)?.with_burst(10)?);
//! let client = steadfast::client("https://api.example.com/v1")?
//!     .pipeline(Pipeline::builder().rate_limit(limit).build()?)
//!     .build()?;
//!
//! let item: Item = client.get("items/7").send().await?.json()?;
//! println!("{item:?}");
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! New here? The [guide] begins with ten lines on your runtime, and goes on chapter by chapter.
//!
//! | You want | Take |
//! | --- | --- |
//! | to call an HTTP API | `steadfast::client`, `hyper_client` or `smol_client`, or [`ApiClient`] with another transport or timer |
//! | to await a rate limit, or several at once | [`RateLimit`] |
//! | to await a slot, where only so many may run at once | [`ConcurrencyLimit`] |
//! | a limit for each customer, host or key | [`KeyedRateLimit`]; where calls wait, [`KeyedPipeline`] or [`ApiClientBuilder::per_key`] |
//! | to run many operations under limits, in order, and to shut down | [`Executor`], [`RateLimitedExecutor`] |
//! | to hand jobs to workers, and lose none | [`WorkQueue`] |
//! | to shut down whatever else runs | [`InFlight`] |
//! | any other operation rate limited, retried and guarded | [`SharedPipeline`] |
//! | something else to answer, where the call has failed for good | [`SharedPipeline::fall_back`] with a [`Fallback`] |
//! | the same without async, on threads that block | [`SharedPipeline::call_blocking`] with a [`ThreadTimer`] |
//! | any of it set up by a file, and changed while it runs | `config`, by its feature |
//! | faults on purpose, to see what becomes of calls | [`FaultyTransport`], or [`FaultInjector`] for any operation |
//! | to put a pipeline before services of tower, or clients of reqwest-middleware | the features of those names |
//! | only the decisions, without a runtime or an allocator | [`core`] |
//! | to know what a status or a `Retry-After` means | [`http`] |
//!
//! On a runtime that is not among the features, one writes a timer of one's own: [`core::time`] has one to start from. Firmware on embassy adds
//! `steadfast-embassy`, and [`core`] as `steadfast-core`; there is no standard library in either.
//!
//! # Features
//!
//! | Feature | Brings |
//! | --- | --- |
//! | `tokio` | `TokioTimer`, for tokio |
//! | `smol` | `SmolTimer`, for smol and any other executor that has no timer |
//! | `quanta` | `QuantaClock`, the processor's counter, for limits that admit or refuse and never sleep |
//! | `config` | `config`: policies and clients from TOML, JSON and the like |
//! | `config-schema` | the JSON Schema of those |
//! | `tracing` | `TracingObserver`: a span for each call and each attempt |
//! | `metrics` | `MetricsObserver`: counters, gauges and histograms |
//! | `reqwest` | `ReqwestTransport`, for `http://`; with `tokio`, `client` |
//! | `hyper` | with `tokio`, `HyperTokioTransport` and `hyper_client`; with `smol`, `HyperSmolTransport` and `smol_client` |
//! | `tower` | `SteadfastLayer`, `Steadfast`, and what belongs to them in `tower` |
//! | `reqwest-middleware` | all of `reqwest_middleware`, for clients of that crate |
//! | `rustls`, `native-tls` | `https://` for `reqwest` |
//! | `hyper-tokio-rustls`, `hyper-smol-rustls` | `https://` for `hyper` |

pub mod guide;

pub use steadfast_client::{
    AnyPipeline, ApiClient, ApiClientBuilder, Auth, Cache, CacheKey, CacheStatus, ClientCredentials, Error,
    EventParser, EventStream, EventTooLong, Failure, FaultyTransport, IdempotencyKeys, JsonError, MemoryStore,
    Multipart, NotFollowed, Pages, Part, Redirects, RequestBody, RequestBuilder, Resource, Response, ServerEvent,
    Store, StreamingResponse, Transport, TransportError, WhyStale, check_store,
};
#[cfg(feature = "config")]
pub use steadfast_config as config;
pub use steadfast_core as core;
pub use steadfast_core::backoff::{Backoff, Growth, Jitter};
pub use steadfast_core::circuit_breaker::CircuitBreaker;
pub use steadfast_core::event::{Event, Observer, Recent};
pub use steadfast_core::fallback::{Fallback, LastGood};
pub use steadfast_core::fault::{Fault, Faults};
pub use steadfast_core::hedge::Hedge;
pub use steadfast_core::limits::{Counts, Limits};
pub use steadfast_core::outcome::{Idempotency, Outcome};
pub use steadfast_core::pipeline::{Attempt, CallOptions, Pipeline};
pub use steadfast_core::rate_limit::{Quota, RateLimits, TokenBucket};
pub use steadfast_core::rejected::Rejected;
pub use steadfast_core::retry::Retry;
pub use steadfast_core::retry::budget::Budget;
pub use steadfast_core::run::CallError;
pub use steadfast_core::settings::InvalidSetting;
pub use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
pub use steadfast_executor::{
    ConcurrencyLimit, Demand, Executor, FaultInjector, InFlight, KeyedPipeline, KeyedRateLimit, Line, RateLimit,
    RateLimitedExecutor, Retryable, SharedPipeline, Stopped, ThreadTimer, WorkQueue,
};
pub use steadfast_http as http;
#[cfg(all(feature = "smol", feature = "hyper"))]
pub use steadfast_hyper::HyperSmolTransport;
#[cfg(all(feature = "tokio", feature = "hyper"))]
pub use steadfast_hyper::HyperTokioTransport;
#[cfg(feature = "metrics")]
pub use steadfast_metrics::MetricsObserver;
#[cfg(feature = "quanta")]
pub use steadfast_quanta::QuantaClock;
#[cfg(feature = "reqwest")]
pub use steadfast_reqwest::ReqwestTransport;
#[cfg(all(feature = "tokio", feature = "reqwest"))]
use steadfast_reqwest::reqwest;
#[cfg(feature = "reqwest-middleware")]
pub use steadfast_reqwest_middleware as reqwest_middleware;
#[cfg(feature = "smol")]
pub use steadfast_smol::SmolTimer;
#[cfg(feature = "tokio")]
pub use steadfast_tokio::TokioTimer;
#[cfg(feature = "tower")]
pub use steadfast_tower as tower;
#[cfg(feature = "tower")]
pub use steadfast_tower::{Steadfast, SteadfastLayer};
#[cfg(feature = "tracing")]
pub use steadfast_tracing::TracingObserver;

/// A client of the API at `base_url`, over reqwest and on tokio, to be set up.
///
/// Its defaults are those of [`ApiClient::builder`].
///
/// # Errors
/// If reqwest cannot set up TLS or its resolver.
#[cfg(all(feature = "tokio", feature = "reqwest"))]
pub fn client(base_url: &str) -> Result<ApiClientBuilder<ReqwestTransport, TokioTimer>, reqwest::Error> {
    Ok(ApiClient::builder(base_url, ReqwestTransport::new()?, TokioTimer::new()))
}

/// A client of the API at `base_url`, over hyper and on tokio, to be set up.
///
/// Its defaults are those of [`ApiClient::builder`].
///
/// # Errors
/// With the feature `hyper-tokio-rustls`, if the platform's certificates cannot be loaded.
#[cfg(all(feature = "tokio", feature = "hyper"))]
pub fn hyper_client(base_url: &str) -> std::io::Result<ApiClientBuilder<HyperTokioTransport, TokioTimer>> {
    Ok(ApiClient::builder(base_url, HyperTokioTransport::new()?, TokioTimer::new()))
}

/// A client of the API at `base_url`, over hyper and on smol or any executor that brings no timer, to be set up.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = steadfast::smol_client("http://localhost:8080")?.build()?;
/// println!("{}", client.get("items/7").send().await?.text()?);
/// # Ok(())
/// # }
/// ```
///
/// Its defaults are those of [`ApiClient::builder`].
///
/// # Errors
/// With the feature `hyper-smol-rustls`, if the platform's certificates cannot be loaded.
#[cfg(all(feature = "smol", feature = "hyper"))]
pub fn smol_client(base_url: &str) -> std::io::Result<ApiClientBuilder<HyperSmolTransport, SmolTimer>> {
    Ok(ApiClient::builder(base_url, HyperSmolTransport::new()?, SmolTimer::new()))
}
