use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use steadfast_core::limits::Counts;
use steadfast_core::rate_limit::Quota;
use steadfast_core::settings::InvalidSetting;

use crate::time::{Time, in_one_unit, unit};

/// How many, per what time, and how many of them at once: `"100/s"`, `"90000/min burst 2000"`, `"7/333ms"`.
///
/// ```
/// use steadfast_config::Rate;
/// use steadfast_core::rate_limit::Quota;
///
/// let rate: Rate = "90000/min burst 2000".parse()?;
/// assert_eq!(rate.quota(), Quota::per_minute(90_000)?.with_burst(2_000)?);
/// assert_eq!(rate.to_string(), "90000/m burst 2000");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Behind the slash is a unit of [`Time`], or a time. Without a burst it is one at a time, as in [`Quota`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate(Quota);

/// Why a text is no [`Rate`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NotARate {
    /// It is not written as one.
    Form,
    /// It is, and cannot be kept.
    Quota(InvalidSetting),
}

impl Rate {
    /// What it is read from, as a regular expression (ECMA-262).
    ///
    /// What fits it is a rate. What is a rate and does not fit is of no use to most: periods of nanoseconds or centuries,
    /// times of more than one unit, more than 999,999,999 tokens.
    pub const PATTERN: &'static str = concat!(
        "^([1-9][0-9]{0,8}/([1-9][0-9]{0,4})?(d|h|m|min|s)",
        "|[1-9][0-9]{0,5}/([1-9][0-9]{0,8})?ms",
        "|[1-9][0-9]{0,2}/([1-9][0-9]{0,8})?us)",
        "( burst [1-9][0-9]{0,8})?$"
    );

    /// The rate of a quota.
    pub const fn new(quota: Quota) -> Self {
        Self(quota)
    }

    /// As a quota.
    pub const fn quota(self) -> Quota {
        self.0
    }
}

impl From<Quota> for Rate {
    fn from(quota: Quota) -> Self {
        Self(quota)
    }
}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(number(burst)?)),
            None => (text, None),
        };
        let (tokens, period) = rate.split_once('/').ok_or(NotARate::Form)?;
        let period = match unit(period) {
            Some(nanos) => Duration::from_nanos(nanos),
            None => period.parse::<Time>().map_err(|_| NotARate::Form)?.get(),
        };
        let quota = Quota::new(number(tokens)?, period).map_err(NotARate::Quota)?;
        let quota = burst.map_or(Ok(quota), |burst| quota.with_burst(burst)).map_err(NotARate::Quota)?;
        Ok(Self(quota))
    }
}

/// Digits, and nothing but digits: no sign.
fn number(text: &str) -> Result<u32, NotARate> {
    if text.starts_with('+') { Err(NotARate::Form) } else { text.parse().map_err(|_| NotARate::Form) }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(quota) = self;
        match in_one_unit(quota.period()) {
            (1, unit) => write!(f, "{}/{unit}", quota.tokens())?,
            // More digits than a number may have: then it takes more than one.
            (1_000_000_000.., _) => write!(f, "{}/{}", quota.tokens(), Time::new(quota.period()))?,
            (count, unit) => write!(f, "{}/{count}{unit}", quota.tokens())?,
        }
        if quota.burst() == 1 { Ok(()) } else { write!(f, " burst {}", quota.burst()) }
    }
}

impl fmt::Display for NotARate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("no rate: write it as in \"100/s\" or \"90000/min burst 2000\""),
            Self::Quota(setting) => setting.fmt(f),
        }
    }
}

impl std::error::Error for NotARate {}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as \"100/s\" or \"90000/min burst 2000\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
                text.parse().map_err(|error| E::custom(format_args!("\"{text}\": {error}")))
            }
        }
        from.deserialize_str(Text)
    }
}

/// One of a pipeline's rate limits: a [`Rate`] alone, or a table with what it counts.
///
/// ```toml
/// rate_limits = ["100/s burst 10"]
/// rate_limits = [{ rate = "500/min", counts = "calls" }, { rate = "90000/min burst 9000", counts = "weight" }]
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimitConfig {
    /// How many.
    pub rate: Rate,
    /// What it counts; the weight of calls if it is left out, as [`PipelineBuilder::rate_limit`] does.
    ///
    /// [`PipelineBuilder::rate_limit`]: steadfast_core::pipeline::PipelineBuilder::rate_limit
    pub counts: Option<CountsConfig>,
}

/// What a rate limit counts: see [`Counts`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CountsConfig {
    /// Each call as one, whatever it weighs.
    Calls,
    /// Each call as what it weighs.
    Weight,
}

/// With all of its fields.
#[derive(serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// How many.
    rate: Rate,
    /// What it counts; the weight of calls if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<CountsConfig>,
}

impl RateLimitConfig {
    pub(crate) fn parts(self) -> (Quota, Counts) {
        let counts = match self.counts {
            Some(CountsConfig::Calls) => Counts::Calls,
            Some(CountsConfig::Weight) | None => Counts::Weight,
        };
        (self.rate.quota(), counts)
    }
}

impl From<Rate> for RateLimitConfig {
    fn from(rate: Rate) -> Self {
        Self { rate, counts: None }
    }
}

impl Serialize for RateLimitConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self { rate, counts: None } => rate.serialize(to),
            Self { rate, counts } => Table { rate, counts }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for RateLimitConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RateLimitConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as \"100/s burst 10\", or a table with `rate` and `counts`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RateLimitConfig, E> {
                Rate::deserialize(serde::de::value::StrDeserializer::new(text)).map(RateLimitConfig::from)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RateLimitConfig, A::Error> {
                let Table { rate, counts } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RateLimitConfig { rate, counts })
            }
        }
        from.deserialize_any(Either)
    }
}
