use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use steadfast_core::backoff::{Backoff, Growth, Jitter};
use steadfast_core::retry::Retry;

use crate::error::ConfigError;
use crate::time::{Text, Time};

/// Whether and when failed attempts are repeated: see [`steadfast_core::retry`] for the defaults of what is left out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RetryConfig {
    /// How many attempts are made at most, the first included: 1 never retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How long to wait between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffConfig>,
}

/// How long to wait before the next attempt: see [`steadfast_core::backoff`] for the defaults of what is left out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BackoffConfig {
    /// How delays grow from one retry to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<GrowthConfig>,
    /// How many times longer each delay is than the one before, where growth is exponential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<u32>,
    /// The delay before the first retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Time>,
    /// The longest delay, jitter included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Time>,
    /// How delays are spread: `"none"`, `"full"`, `"equal"`, or up to so many percent below or above, as in `"20%"`. A
    /// decorrelated backoff has none to be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<JitterConfig>,
}

/// How delays grow: see [`Growth`] and [`Backoff::decorrelated`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GrowthConfig {
    /// Not at all.
    Constant,
    /// By the base each time.
    Linear,
    /// Each is the sum of the two before.
    Fibonacci,
    /// Each is `factor` times the one before.
    Exponential,
    /// Anywhere from the base to three times the delay before.
    Decorrelated,
}

/// How delays are spread: see [`Jitter`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JitterConfig(pub Jitter);

impl RetryConfig {
    pub(crate) const STANDARD: Self = Self { max_attempts: Some(4), backoff: Some(BackoffConfig::STANDARD) };

    /// The policy.
    ///
    /// # Errors
    /// If it cannot be, with the path of the field.
    pub fn build(&self) -> Result<Retry, ConfigError> {
        let mut builder = Retry::builder();
        if let Some(attempts) = self.max_attempts {
            builder = builder.max_attempts(attempts);
        }
        if let Some(backoff) = &self.backoff {
            builder = builder.backoff(backoff.build().map_err(|error| error.within("backoff"))?);
        }
        builder.build().map_err(ConfigError::of)
    }

    pub(crate) fn over(self, base: Self) -> Self {
        let backoff = match (self.backoff, base.backoff) {
            (Some(own), Some(base)) => Some(own.over(base)),
            (own, base) => own.or(base),
        };
        Self { max_attempts: self.max_attempts.or(base.max_attempts), backoff }
    }
}

impl BackoffConfig {
    pub(crate) const STANDARD: Self = Self {
        growth: Some(GrowthConfig::Exponential),
        factor: Some(2),
        base: Some(Time::of_millis(100)),
        cap: Some(Time::of_secs(10)),
        jitter: Some(JitterConfig(Jitter::Full)),
    };

    /// The backoff.
    ///
    /// # Errors
    /// If it cannot be, with the path of the field; a factor where nothing is multiplied, and jitter where it is drawn already,
    /// are refused too.
    pub fn build(&self) -> Result<Backoff, ConfigError> {
        const FACTOR: u32 = 2;
        let growth = match self.growth.unwrap_or(GrowthConfig::Exponential) {
            GrowthConfig::Exponential => Growth::Exponential { factor: self.factor.unwrap_or(FACTOR) },
            growth => {
                if self.factor.is_some() {
                    return Err(ConfigError::new("factor", "only an exponential growth has one"));
                }
                match growth {
                    GrowthConfig::Constant => Growth::Constant,
                    GrowthConfig::Linear => Growth::Linear,
                    GrowthConfig::Fibonacci => Growth::Fibonacci,
                    GrowthConfig::Exponential | GrowthConfig::Decorrelated => return self.decorrelated(),
                }
            }
        };
        let mut builder = Backoff::builder().growth(growth);
        if let Some(base) = self.base {
            builder = builder.base(base.get());
        }
        if let Some(cap) = self.cap {
            builder = builder.cap(cap.get());
        }
        if let Some(JitterConfig(jitter)) = self.jitter {
            builder = builder.jitter(jitter);
        }
        builder.build().map_err(ConfigError::of)
    }

    fn decorrelated(&self) -> Result<Backoff, ConfigError> {
        if self.jitter.is_some() {
            return Err(ConfigError::new("jitter", "a decorrelated backoff has none to be chosen"));
        }
        // The core has no defaults for these two: those of any other backoff.
        let or = |time: Option<Time>, standard: Option<Time>| time.or(standard).map_or(Duration::ZERO, Time::get);
        let (base, cap) = (or(self.base, Self::STANDARD.base), or(self.cap, Self::STANDARD.cap));
        Backoff::decorrelated(base, cap).map_err(ConfigError::of)
    }

    /// What belongs to another growth is not taken over.
    fn over(self, base: Self) -> Self {
        let growth = self.growth.or(base.growth);
        let is_exponential = matches!(growth, None | Some(GrowthConfig::Exponential));
        let is_decorrelated = growth == Some(GrowthConfig::Decorrelated);
        Self {
            growth,
            factor: self.factor.or(base.factor.filter(|_| is_exponential)),
            base: self.base.or(base.base),
            cap: self.cap.or(base.cap),
            jitter: self.jitter.or(base.jitter.filter(|_| !is_decorrelated)),
        }
    }
}

impl JitterConfig {
    /// What it is read from, as a regular expression (ECMA-262) that fits exactly that.
    pub const PATTERN: &'static str = "^(none|full|equal|(100|[1-9]?[0-9])%)$";
}

impl FromStr for JitterConfig {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(Self(match text {
            "none" => Jitter::None,
            "full" => Jitter::Full,
            "equal" => Jitter::Equal,
            text => {
                let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
                let digits = digits.filter(|digits| digits.len() == 1 || !digits.starts_with('0')).ok_or(())?;
                Jitter::Proportional(digits.parse().ok().filter(|percent| *percent <= 100).ok_or(())?)
            }
        }))
    }
}

impl fmt::Display for JitterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Jitter::None => f.write_str("none"),
            Jitter::Equal => f.write_str("equal"),
            Jitter::Proportional(percent) => write!(f, "{}%", percent.min(100)),
            _ => f.write_str("full"),
        }
    }
}

impl Serialize for JitterConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JitterConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text("\"none\", \"full\", \"equal\", or percent as in \"20%\"", |text| text.parse().ok()))
    }
}
