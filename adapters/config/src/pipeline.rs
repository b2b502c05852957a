use serde::{Deserialize, Serialize};
use steadfast_core::limits::{Counts, Limits};
use steadfast_core::pipeline::{Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::{AdaptiveRate, Quota, RateLimits};
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::Instant;

use crate::budget::{BudgetConfig, set};
use crate::circuit_breaker::CircuitBreakerConfig;
use crate::concurrency::{AlgorithmConfig, ConcurrencyLimitConfig};
use crate::error::{ConfigError, name};
use crate::hedge::HedgeConfig;
use crate::or_none::OrNone;
use crate::rate::{CountsConfig, Rate, RateLimitConfig};
use crate::retry::{BackoffConfig, RetryConfig};
use crate::time::Time;

/// The policies that calls to one dependency share: see [`steadfast_core::pipeline`] for their order, and for the defaults
/// of what is left out.
///
/// ```
/// use steadfast_config::PipelineConfig;
/// use steadfast_core::pipeline::Pipeline;
///
/// let text = r#"
///     deadline = "20s"
///     attempt_timeout = "5s"
///     rate_limits = ["100/s burst 10"]
///     circuit_breaker = { failure_threshold = 5, open_for = "10s" }
///     budget.ratio = { percent = 10 }
/// "#;
/// let config: PipelineConfig = steadfast_config::read(toml::Deserializer::parse(text)?)?;
/// let pipeline: Pipeline = config.build()?;
/// assert!(pipeline.describe().to_string().contains("rate limit: 100 per 1s, 10 at once"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// What it is based on; the others change it. The core's defaults, which are those of `"standard"`, if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// By when a call has to end, from its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<OrNone<Time>>,
    /// How long one attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<OrNone<Time>>,
    /// Whether and when failed attempts are repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryConfig>,
    /// How much may be repeated by all calls together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetConfig>,
    /// When to send another attempt beside one that takes long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<OrNone<HedgeConfig>>,
    /// The breaker that watches over the dependency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<OrNone<CircuitBreakerConfig>>,
    /// The rate limits that every attempt waits for, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<Vec<RateLimitConfig>>,
    /// Whether there is a rate that follows what the server bears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_rate: Option<bool>,
    /// How many attempts may be under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_limit: Option<OrNone<ConcurrencyLimitConfig>>,
}

/// A pipeline to begin with.
///
/// ```toml
/// preset = "standard"
/// preset = { llm_api = { requests = "500/min burst 10", tokens = "90000/min burst 9000" } }
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Preset {
    /// [`Pipeline::standard`].
    Standard,
    /// [`Pipeline::for_llm_api`]: two rate limits, the first of which counts calls and the second their weight.
    LlmApi {
        /// How many requests.
        requests: Rate,
        /// How many tokens.
        tokens: Rate,
    },
}

impl Preset {
    /// All that it sets.
    fn config(self) -> PipelineConfig {
        match self {
            Self::Standard => PipelineConfig::standard(),
            Self::LlmApi { requests, tokens } => PipelineConfig::llm_api(requests, tokens),
        }
    }
}

impl PipelineConfig {
    /// [`Pipeline::standard`], with all of its settings: for a file to begin with, or to be compared with.
    pub fn standard() -> Self {
        Self {
            preset: None,
            deadline: Some(OrNone::Some(Time::of_secs(30))),
            attempt_timeout: Some(OrNone::Some(Time::of_secs(10))),
            retry: Some(RetryConfig::STANDARD),
            budget: Some(BudgetConfig::STANDARD),
            hedge: Some(OrNone::None),
            circuit_breaker: Some(OrNone::Some(CircuitBreakerConfig::STANDARD)),
            rate_limits: None,
            adaptive_rate: Some(false),
            concurrency_limit: Some(OrNone::None),
        }
    }

    /// [`Pipeline::for_llm_api`], with all of its settings.
    pub fn llm_api(requests: Rate, tokens: Rate) -> Self {
        let lease = Some(Time::of_secs(5 * 60));
        let limit = |rate, counts| RateLimitConfig { rate, counts: Some(counts) };
        Self {
            deadline: Some(OrNone::Some(Time::of_secs(10 * 60))),
            attempt_timeout: Some(OrNone::Some(Time::of_secs(4 * 60))),
            retry: Some(RetryConfig {
                max_attempts: Some(3),
                backoff: Some(BackoffConfig {
                    base: Some(Time::of_millis(500)),
                    cap: Some(Time::of_secs(30)),
                    ..BackoffConfig::STANDARD
                }),
            }),
            circuit_breaker: Some(OrNone::Some(CircuitBreakerConfig {
                failure_rate: Some(OrNone::None),
                open_for: Some(Time::of_secs(15)),
                probe_lease: lease,
                ..CircuitBreakerConfig::STANDARD
            })),
            rate_limits: Some(vec![limit(requests, CountsConfig::Calls), limit(tokens, CountsConfig::Weight)]),
            concurrency_limit: Some(OrNone::Some(ConcurrencyLimitConfig {
                fixed: None,
                algorithm: Some(AlgorithmConfig::Aimd),
                initial: Some(20),
                min: Some(1),
                max: Some(200),
                lease,
            })),
            ..Self::standard()
        }
    }

    /// The pipeline, for as many rate limits as its type says; without any, for each type.
    ///
    /// # Errors
    /// If it cannot be, with the path of the field.
    pub fn build<const K: usize>(&self) -> Result<Pipeline<Limits<K>>, ConfigError> {
        let config = match self.preset {
            Some(preset) => self.clone().over(preset.config()),
            None => self.clone(),
        };
        let builder = config.policies(Pipeline::builder().without_rate_limits())?;
        let builder = match config.rate_limits.as_deref() {
            None | Some([]) => builder,
            Some(limits) => {
                let (quotas, counts) = several(limits)?;
                builder.rate_limits(RateLimits::new(quotas), counts)
            }
        };
        builder.build().map_err(|error| ConfigError::at(path_of(&error), error))
    }

    /// How many rate limits there are.
    #[cfg(feature = "client")]
    pub(crate) fn rate_limits(&self) -> usize {
        match (&self.rate_limits, self.preset) {
            (Some(limits), _) => limits.len(),
            (None, Some(Preset::LlmApi { .. })) => 2,
            (None, Some(Preset::Standard) | None) => 0,
        }
    }

    /// All but the rate limits.
    fn policies<const K: usize>(&self, builder: PipelineBuilder<K>) -> Result<PipelineBuilder<K>, ConfigError> {
        let within = |field: &'static str| move |error: ConfigError| error.within(field);
        let builder = set(builder, self.deadline, |builder, deadline| match deadline {
            OrNone::None => builder.without_deadline(),
            OrNone::Some(time) => builder.deadline(time.get()),
        });
        let builder = set(builder, self.attempt_timeout, |builder, timeout| match timeout {
            OrNone::None => builder.without_attempt_timeout(),
            OrNone::Some(time) => builder.attempt_timeout(time.get()),
        });
        let retry = self.retry.map(|retry| retry.build().map_err(within("retry"))).transpose()?;
        let builder = set(builder, retry, PipelineBuilder::retry);
        let budget = self.budget.map(|budget| budget.build().map_err(within("budget"))).transpose()?;
        let builder = set(builder, budget, PipelineBuilder::budget);
        let mut builder = builder;
        match self.hedge {
            None | Some(OrNone::None) => {}
            Some(OrNone::Some(hedge)) => builder = builder.hedge(hedge.build().map_err(within("hedge"))?),
        }
        match self.circuit_breaker {
            None => {}
            Some(OrNone::None) => builder = builder.without_circuit_breaker(),
            Some(OrNone::Some(breaker)) => {
                builder = builder.circuit_breaker(breaker.build().map_err(within("circuit_breaker"))?);
            }
        }
        match self.concurrency_limit {
            None | Some(OrNone::None) => {}
            Some(OrNone::Some(limit)) => {
                builder = builder.concurrency_limit(limit.build().map_err(within("concurrency_limit"))?);
            }
        }
        if self.adaptive_rate == Some(true) {
            // What it measures begins with the first answer, whenever that comes.
            builder = builder.adaptive_rate(AdaptiveRate::new(Instant::EPOCH));
        }
        Ok(builder)
    }

    /// What is set here, on top of what is set there.
    fn over(self, base: Self) -> Self {
        let retry = match (self.retry, base.retry) {
            (Some(own), Some(base)) => Some(own.over(base)),
            (own, base) => own.or(base),
        };
        let budget = match (self.budget, base.budget) {
            (Some(own), Some(base)) => Some(own.over(base)),
            (own, base) => own.or(base),
        };
        Self {
            preset: None,
            deadline: self.deadline.or(base.deadline),
            attempt_timeout: self.attempt_timeout.or(base.attempt_timeout),
            retry,
            budget,
            // No preset has one.
            hedge: self.hedge.or(base.hedge),
            circuit_breaker: OrNone::over(self.circuit_breaker, base.circuit_breaker, CircuitBreakerConfig::over),
            rate_limits: self.rate_limits.or(base.rate_limits),
            adaptive_rate: self.adaptive_rate.or(base.adaptive_rate),
            concurrency_limit: OrNone::over(
                self.concurrency_limit,
                base.concurrency_limit,
                ConcurrencyLimitConfig::over,
            ),
        }
    }
}

/// As many quotas as a pipeline has, and what each counts.
fn several<const K: usize>(limits: &[RateLimitConfig]) -> Result<([Quota; K], [Counts; K]), ConfigError> {
    let wrong = || {
        let reason = format!("there are {}, and this pipeline is built for {K}", limits.len());
        ConfigError::new("rate_limits", reason)
    };
    let limits: &[RateLimitConfig; K] = limits.try_into().map_err(|_| wrong())?;
    let parts = limits.map(RateLimitConfig::parts);
    Ok((parts.map(|(quota, _)| quota), parts.map(|(_, counts)| counts)))
}

/// The field of a setting that the pipeline names, which may be one of a policy's.
pub(crate) fn path_of(error: &InvalidSetting) -> &'static str {
    match name(error) {
        "probe_lease" => "circuit_breaker.probe_lease",
        "slow_call_rate" => "circuit_breaker.slow_call_rate",
        "window" => "circuit_breaker.window",
        own => own,
    }
}
