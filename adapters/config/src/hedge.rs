use serde::{Deserialize, Serialize};
use steadfast_core::hedge::{Hedge, HedgeBuilder};

use crate::budget::set;
use crate::error::{ConfigError, name};
use crate::time::Time;

/// When another attempt goes beside one that takes long: see [`steadfast_core::hedge`] for the defaults of what is left out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HedgeConfig {
    /// How many of a hundred attempts are answered before another is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<u32>,
    /// The shortest wait before another is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_delay: Option<Time>,
    /// The longest wait before another is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<Time>,
    /// Exactly this wait, instead of the three above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Time>,
    /// How many more attempts a call sends beside others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hedges: Option<u32>,
}

impl HedgeConfig {
    /// The policy.
    ///
    /// # Errors
    /// If it cannot be, with the path of the field; so is a wait that is both fixed and learned.
    pub fn build(&self) -> Result<Hedge, ConfigError> {
        let Self { percentile, min_delay, max_delay, after, max_hedges } = *self;
        if after.is_some() && (percentile.is_some() || min_delay.is_some() || max_delay.is_some()) {
            let reason = "it stands instead of `percentile`, `min_delay` and `max_delay`, not beside them";
            return Err(ConfigError::new("after", reason));
        }
        let builder = set(Hedge::builder(), percentile, HedgeBuilder::percentile);
        let builder = set(builder, min_delay, |builder, delay| builder.min_delay(delay.get()));
        let builder = set(builder, max_delay, |builder, delay| builder.max_delay(delay.get()));
        let builder = set(builder, after, |builder, delay| builder.after(delay.get()));
        let built = set(builder, max_hedges, HedgeBuilder::max_hedges).build();
        built.map_err(|error| match (after, name(&error)) {
            (Some(_), "min_delay" | "max_delay") => ConfigError::at("after", error),
            _ => ConfigError::of(error),
        })
    }
}
