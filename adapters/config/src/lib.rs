//! Steadfast's policies as configuration: in any format of [serde](https://serde.rs), with durations and rates as people
//! write them, and refused with the path of what is wrong.
//!
//! ```
//! use steadfast_config::PipelineConfig;
//! use steadfast_core::pipeline::Pipeline;
//!
//! let text = r#"
//!     rate_limits = ["90000/min burst 2000"]
//!     deadline = "1m30s"
//!
//!     [retry]
//!     max_attempts = 3
//!     backoff = { base = "250ms", jitter = "20%" }
//!
//!     [circuit_breaker]
//!     failure_rate = "none"
//!     open_for = "0s"
//! "#;
//! let config: PipelineConfig = steadfast_config::read(toml::Deserializer::parse(text)?)?;
//! let error = config.build::<1>().unwrap_err();
//! assert_eq!(error.to_string(), "circuit_breaker.open_for: open_for is 0ns, which is not more than zero");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Defaults
//!
//! There are none here. What is left out is what the core makes it, and its pages say what that is and why; a
//! [preset](Preset) is another base. What is on by default, or in a preset, is turned off by `"none"`.
//!
//! | Written as | Means | Read by |
//! | --- | --- | --- |
//! | `"250ms"`, `"1m30s"` | a span of time; a number without a unit is refused | [`Time`] |
//! | `"100/s"`, `"90000/min burst 2000"` | how many, per what time, how many at once | [`Rate`] |
//! | `"none"` | turned off | [`OrNone`] |
//! | `"20%"`, `"full"` | jitter | [`JitterConfig`] |
//! | `"30s"`, `"100 calls"` | the window of a circuit breaker | [`WindowConfig`] |
//!
//! Unknown fields are refused: one that is misspelt would be one that is left out.
//!
//! # While it runs
//!
//! [`Pipeline::reconfigure`](steadfast_core::pipeline::Pipeline::reconfigure) takes over the settings of a pipeline that was
//! built from a file read again, all of them or none, and keeps debts, waiters and what is known. With the feature `client`,
//! `ClientConfig` does so with a whole client.
//!
//! # Features
//!
//! | Feature | Brings |
//! | --- | --- |
//! | `client` | `ClientConfig`, for an `ApiClient` |
//! | `schema` | `JsonSchema` of the crate `schemars` for every type, for editors to check and complete a file by |
//!
//! # When not to use it
//!
//! Where settings are known when a program is compiled: the core's builders check them in constants.

mod budget;
mod circuit_breaker;
#[cfg(feature = "client")]
mod client;
mod concurrency;
mod error;
mod hedge;
mod limits;
mod or_none;
mod pipeline;
mod rate;
mod read;
mod retry;
#[cfg(feature = "schema")]
mod schema;
mod time;

pub use budget::{
    AdaptiveConfig, BudgetConfig, InFlightConfig, QuotaBudgetConfig, RatioConfig, ReserveConfig, ThrottleConfig,
};
pub use circuit_breaker::{
    CircuitBreakerConfig, DroppedCallConfig, ModeConfig, OpenGrowthConfig, SlowCallRateConfig, WindowConfig,
};
#[cfg(feature = "client")]
pub use client::{
    AuthConfig, BaseUrl, ClientConfig, FollowConfig, HeaderConfig, IdempotencyKeysConfig, KeyFormConfig,
    RedirectsConfig, Secret,
};
pub use concurrency::{AlgorithmConfig, ConcurrencyLimitConfig};
pub use error::ConfigError;
pub use hedge::HedgeConfig;
pub use limits::{KeyedRateLimitConfig, SlidingWindowConfig};
pub use or_none::OrNone;
pub use pipeline::{PipelineConfig, Preset};
pub use rate::{CountsConfig, NotARate, Rate, RateLimitConfig};
pub use read::read;
pub use retry::{BackoffConfig, GrowthConfig, JitterConfig, RetryConfig};
pub use time::{NotATime, Time};
