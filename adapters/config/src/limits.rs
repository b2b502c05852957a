use serde::{Deserialize, Serialize};
use steadfast_core::rate_limit::SlidingWindow;

use crate::error::ConfigError;
use crate::rate::Rate;
use crate::time::Time;

/// A strict rate limit: see [`SlidingWindow`].
///
/// ```toml
/// calls = 5
/// window = "1m"
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SlidingWindowConfig {
    /// How many in any window.
    pub calls: u32,
    /// How long a window is.
    pub window: Time,
}

impl SlidingWindowConfig {
    /// The limit, which remembers as many calls as its type says.
    ///
    /// # Errors
    /// If it cannot be, or `calls` is another number than `N`.
    pub fn build<const N: usize>(&self) -> Result<SlidingWindow<N>, ConfigError> {
        if usize::try_from(self.calls) != Ok(N) {
            let reason = format!("it is {}, and this limit is built for {N}", self.calls);
            return Err(ConfigError::new("calls", reason));
        }
        SlidingWindow::new(self.window.get()).map_err(|error| match crate::error::name(&error) {
            "N" => ConfigError::at("calls", error),
            _ => ConfigError::of(error),
        })
    }
}

/// A quota for each of many keys, for `KeyedRateLimit::new(config.rate.quota(), config.max_keys, timer)` of
/// `steadfast-executor`.
///
/// ```toml
/// rate = "10/s burst 20"
/// max_keys = 100000
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyedRateLimitConfig {
    /// The quota that each key has.
    pub rate: Rate,
    /// How many keys are remembered at most.
    pub max_keys: usize,
}
