use serde::{Deserialize, Serialize};
use steadfast_core::retry::budget::{
    AdaptiveBuilder, Budget, InFlightBuilder, QuotaBuilder, RatioBuilder, ThrottleBuilder,
};
use steadfast_core::settings::InvalidSetting;

use crate::error::{ConfigError, name};
use crate::time::Time;

/// How much may be repeated by all calls together: see [`steadfast_core::retry::budget`] for which to choose, and for the
/// defaults of what is left out.
///
/// ```toml
/// budget = "unlimited"
/// budget.ratio = { percent = 10, reserve = { retries = 5, every = "30s" } }
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BudgetConfig {
    /// A share of what succeeded lately, and a small reserve.
    Ratio(RatioConfig),
    /// Tokens that retries in vain use up.
    Quota(QuotaBudgetConfig),
    /// The retry quota of the AWS SDKs' standard mode before its revision of 2026.
    #[serde(rename = "aws_standard_2_0")]
    AwsStandard20,
    /// The retry quota of the AWS SDKs' standard mode since its revision of 2026.
    #[serde(rename = "aws_standard_2_1")]
    AwsStandard21,
    /// A share of what is under way, as in Envoy.
    InFlight(InFlightConfig),
    /// All or nothing, by how failures and successes stand to each other, as in gRPC.
    Throttle(ThrottleConfig),
    /// First attempts too, refused at random by how many the server accepts, as at Google.
    Adaptive(AdaptiveConfig),
    /// No bound but each call's own.
    Unlimited,
}

/// See [`Budget::ratio`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RatioConfig {
    /// How many retries a hundred successes pay for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// For how long a success counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Time>,
    /// Retries beside those that successes pay for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve: Option<ReserveConfig>,
}

/// Retries that come back with time alone.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReserveConfig {
    /// How many.
    pub retries: u32,
    /// After what time each that is spent comes back.
    pub every: Time,
}

/// See [`Budget::quota`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct QuotaBudgetConfig {
    /// How many tokens there are at most, and at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// What a retry after a transient failure costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transient_cost: Option<u32>,
    /// What a retry after a throttled attempt costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_cost: Option<u32>,
    /// What a retry after a timeout costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_cost: Option<u32>,
    /// What a hedge costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge_cost: Option<u32>,
    /// What a first attempt that succeeds brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_gain: Option<u32>,
}

/// See [`Budget::in_flight`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InFlightConfig {
    /// How many of a hundred attempts under way may be retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// How many retries may be under way however few attempts there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_retries: Option<u32>,
    /// When an attempt that was begun and never reported is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Time>,
}

/// See [`Budget::throttle`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ThrottleConfig {
    /// How many tokens there are at most, and at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// What a success brings, in thousandths of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ratio_thousandths: Option<u32>,
}

/// See [`Budget::adaptive`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AdaptiveConfig {
    /// K, in percent: how many calls are sent for each that is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplier_percent: Option<u32>,
    /// For how long a call counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Time>,
}

/// What a builder becomes by a setting, if that is set.
pub(crate) fn set<B, T>(builder: B, value: Option<T>, set: impl FnOnce(B, T) -> B) -> B {
    match value {
        Some(value) => set(builder, value),
        None => builder,
    }
}

impl BudgetConfig {
    pub(crate) const STANDARD: Self = Self::Ratio(RatioConfig {
        percent: Some(20),
        window: Some(Time::of_secs(10)),
        reserve: Some(ReserveConfig { retries: 2, every: Time::of_secs(60) }),
    });

    /// The budget.
    ///
    /// # Errors
    /// If it cannot be, with the path of the field.
    pub fn build(&self) -> Result<Budget, ConfigError> {
        let (kind, built) = match self {
            Self::Ratio(config) => ("ratio", config.build()),
            Self::Quota(config) => ("quota", config.build()),
            Self::AwsStandard20 => return Ok(Budget::aws_standard_2_0()),
            Self::AwsStandard21 => return Ok(Budget::aws_standard_2_1()),
            Self::InFlight(config) => ("in_flight", config.build()),
            Self::Throttle(config) => ("throttle", config.build()),
            Self::Adaptive(config) => ("adaptive", config.build()),
            Self::Unlimited => return Ok(Budget::unlimited()),
        };
        built.map_err(|error| {
            let error = ConfigError::of(error);
            if name_of(&error) == "every" { error.within("reserve").within(kind) } else { error.within(kind) }
        })
    }

    /// What belongs to another kind is not taken over.
    pub(crate) fn over(self, base: Self) -> Self {
        match (self, base) {
            (Self::Ratio(own), Self::Ratio(base)) => Self::Ratio(RatioConfig {
                percent: own.percent.or(base.percent),
                window: own.window.or(base.window),
                reserve: own.reserve.or(base.reserve),
            }),
            // The presets have none of the other kinds.
            (own, _) => own,
        }
    }
}

fn name_of(error: &ConfigError) -> &'static str {
    error.setting().map_or("", name)
}

impl RatioConfig {
    fn build(&self) -> Result<Budget, InvalidSetting> {
        let builder = set(Budget::ratio(), self.percent, RatioBuilder::percent);
        let builder = set(builder, self.window, |builder, window| builder.window(window.get()));
        let reserve =
            |builder: RatioBuilder, reserve: ReserveConfig| builder.reserve(reserve.retries, reserve.every.get());
        set(builder, self.reserve, reserve).build()
    }
}

impl QuotaBudgetConfig {
    fn build(&self) -> Result<Budget, InvalidSetting> {
        let builder = set(Budget::quota(), self.capacity, QuotaBuilder::capacity);
        let builder = set(builder, self.transient_cost, QuotaBuilder::transient_cost);
        let builder = set(builder, self.throttled_cost, QuotaBuilder::throttled_cost);
        let builder = set(builder, self.timeout_cost, QuotaBuilder::timeout_cost);
        let builder = set(builder, self.hedge_cost, QuotaBuilder::hedge_cost);
        set(builder, self.success_gain, QuotaBuilder::success_gain).build()
    }
}

impl InFlightConfig {
    fn build(&self) -> Result<Budget, InvalidSetting> {
        let builder = set(Budget::in_flight(), self.percent, InFlightBuilder::percent);
        let builder = set(builder, self.min_retries, InFlightBuilder::min_retries);
        set(builder, self.lease, |builder, lease| builder.lease(lease.get())).build()
    }
}

impl ThrottleConfig {
    fn build(&self) -> Result<Budget, InvalidSetting> {
        let builder = set(Budget::throttle(), self.max_tokens, ThrottleBuilder::max_tokens);
        set(builder, self.token_ratio_thousandths, ThrottleBuilder::token_ratio_thousandths).build()
    }
}

impl AdaptiveConfig {
    fn build(&self) -> Result<Budget, InvalidSetting> {
        let builder = set(Budget::adaptive(), self.multiplier_percent, AdaptiveBuilder::multiplier_percent);
        set(builder, self.window, |builder, window| builder.window(window.get())).build()
    }
}
