use serde::{Deserialize, Serialize};
use steadfast_core::concurrency::{Algorithm, ConcurrencyLimit, ConcurrencyLimitBuilder};

use crate::budget::set;
use crate::error::{ConfigError, name};
use crate::time::Time;

/// How many calls at once: see [`steadfast_core::concurrency`] for the algorithms, and for the defaults of what is left out.
///
/// ```toml
/// concurrency_limit = { fixed = 8 }
/// concurrency_limit = { algorithm = "aimd", initial = 10, max = 50 }
/// ```
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConcurrencyLimitConfig {
    /// Always so many, instead of the four below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<u32>,
    /// How the limit follows what the calls show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<AlgorithmConfig>,
    /// What the limit is before anything is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<u32>,
    /// What it never goes below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// What it never goes above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// For how long a permit keeps its slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Time>,
}

/// How a limit follows what calls show: see [`Algorithm`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AlgorithmConfig {
    /// It looks at failures only.
    Aimd,
    /// Quick to grow, slow to shrink.
    Vegas,
    /// Quick to shrink, slower to grow.
    Gradient2,
}

impl ConcurrencyLimitConfig {
    /// The limit.
    ///
    /// # Errors
    /// If it cannot be, with the path of the field; so is a limit that is both fixed and learned.
    pub fn build(&self) -> Result<ConcurrencyLimit, ConfigError> {
        let Self { fixed, algorithm, initial, min, max, lease } = *self;
        if fixed.is_some() && (algorithm.is_some() || initial.is_some() || min.is_some() || max.is_some()) {
            let reason = "it stands instead of `algorithm`, `initial`, `min` and `max`, not beside them";
            return Err(ConfigError::new("fixed", reason));
        }
        let builder = fixed.map_or_else(ConcurrencyLimit::builder, ConcurrencyLimit::fixed);
        let builder = set(builder, algorithm, |builder, algorithm| {
            builder.algorithm(match algorithm {
                AlgorithmConfig::Aimd => Algorithm::Aimd,
                AlgorithmConfig::Vegas => Algorithm::Vegas,
                AlgorithmConfig::Gradient2 => Algorithm::Gradient2,
            })
        });
        let builder = set(builder, initial, ConcurrencyLimitBuilder::initial);
        let builder = set(builder, min, ConcurrencyLimitBuilder::min);
        let builder = set(builder, max, ConcurrencyLimitBuilder::max);
        let built = set(builder, lease, |builder, lease| builder.lease(lease.get())).build();
        built.map_err(|error| match (fixed, name(&error)) {
            (Some(_), "min" | "max" | "initial") => ConfigError::at("fixed", error),
            _ => ConfigError::of(error),
        })
    }

    /// What is learned is not taken over where the limit is fixed, nor the other way round.
    pub(crate) fn over(self, base: Self) -> Self {
        let learns = self.algorithm.is_some() || self.initial.is_some() || self.min.is_some() || self.max.is_some();
        let (fixed, base) = match self.fixed {
            Some(_) => (self.fixed, Self { lease: base.lease, ..Self::default() }),
            None => (base.fixed.filter(|_| !learns), base),
        };
        Self {
            fixed,
            algorithm: self.algorithm.or(base.algorithm),
            initial: self.initial.or(base.initial),
            min: self.min.or(base.min),
            max: self.max.or(base.max),
            lease: self.lease.or(base.lease),
        }
    }
}
