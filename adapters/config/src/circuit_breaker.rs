use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use steadfast_core::circuit_breaker::{CircuitBreaker, CircuitBreakerBuilder, DroppedCall, Mode, Window};

use crate::budget::set;
use crate::error::ConfigError;
use crate::or_none::OrNone;
use crate::time::{Text, Time};

/// When a failing dependency is left alone: see [`steadfast_core::circuit_breaker`] for the defaults of what is left out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CircuitBreakerConfig {
    /// How many failures in a row open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<OrNone<u32>>,
    /// How many percent of the calls in the window open it when they fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<OrNone<u32>>,
    /// How many percent of the calls in the window open it when they are slow, and what is slow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_call_rate: Option<OrNone<SlowCallRateConfig>>,
    /// Of which calls the rates are: `"30s"`, or `"100 calls"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowConfig>,
    /// How many calls the window has to hold before a rate opens anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_calls: Option<u32>,
    /// How long it stays open before the first probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_for: Option<Time>,
    /// How much longer it stays open each time that it opens again without having closed in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_growth: Option<OrNone<OpenGrowthConfig>>,
    /// Up to how many percent longer it stays open, by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_jitter: Option<u32>,
    /// How many probes may be out at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
    /// How long a probe may be out before it counts as lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_lease: Option<Time>,
    /// How many probes must succeed to end the outage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<u32>,
    /// Over how long, after an outage, the share of calls that is admitted grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recover_over: Option<OrNone<Time>>,
    /// What a call counts as that was dropped before it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_call: Option<DroppedCallConfig>,
    /// Whether it judges and refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeConfig>,
}

/// Which share of slow calls opens a breaker.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SlowCallRateConfig {
    /// How many percent.
    pub percent: u32,
    /// How long a call takes, at least, that is slow.
    pub slow_at: Time,
}

/// How much longer a breaker stays open each time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OpenGrowthConfig {
    /// How many times as long as the time before.
    pub factor: u32,
    /// The longest, jitter included.
    pub cap: Time,
}

/// Of which calls the rates of a breaker are: of those that ended within a time (`"30s"`), or of so many, the latest
/// (`"100 calls"`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WindowConfig(pub Window);

/// What a dropped call counts as: see [`DroppedCall`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DroppedCallConfig {
    /// Nothing.
    Neutral,
    /// A failure.
    Failure,
}

/// Whether a breaker judges, and whether it refuses: see [`Mode`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ModeConfig {
    /// It judges the dependency, and acts on it.
    Automatic,
    /// It judges, and refuses nobody.
    MetricsOnly,
    /// It refuses everybody.
    ForcedOpen,
    /// It admits everybody.
    ForcedClosed,
}

impl CircuitBreakerConfig {
    pub(crate) const STANDARD: Self = Self {
        failure_threshold: Some(OrNone::Some(10)),
        failure_rate: Some(OrNone::Some(50)),
        slow_call_rate: Some(OrNone::None),
        window: Some(WindowConfig(Window::Time(Time::of_secs(30).get()))),
        minimum_calls: Some(100),
        open_for: Some(Time::of_secs(5)),
        open_growth: Some(OrNone::None),
        open_jitter: Some(20),
        probes: Some(1),
        probe_lease: Some(Time::of_secs(30)),
        success_threshold: Some(1),
        recover_over: Some(OrNone::None),
        dropped_call: Some(DroppedCallConfig::Neutral),
        mode: Some(ModeConfig::Automatic),
    };

    /// The breaker.
    ///
    /// # Errors
    /// If it cannot be, with the path of the field.
    pub fn build(&self) -> Result<CircuitBreaker, ConfigError> {
        self.closing(self.opening(CircuitBreaker::builder())).build().map_err(ConfigError::of)
    }

    /// What opens it.
    fn opening(&self, builder: CircuitBreakerBuilder) -> CircuitBreakerBuilder {
        let builder = set(builder, self.failure_threshold, |builder, threshold| match threshold {
            OrNone::None => builder.without_failure_threshold(),
            OrNone::Some(failures) => builder.failure_threshold(failures),
        });
        let builder = set(builder, self.failure_rate, |builder, rate| match rate {
            OrNone::None => builder.without_failure_rate(),
            OrNone::Some(percent) => builder.failure_rate(percent),
        });
        let builder = set(builder, self.slow_call_rate, |builder, rate| match rate {
            OrNone::None => builder.without_slow_call_rate(),
            OrNone::Some(SlowCallRateConfig { percent, slow_at }) => builder.slow_call_rate(percent, slow_at.get()),
        });
        let builder = set(builder, self.window, |builder, WindowConfig(window)| builder.window(window));
        set(builder, self.minimum_calls, CircuitBreakerBuilder::minimum_calls)
    }

    /// For how long, what closes it, and the rest.
    fn closing(&self, builder: CircuitBreakerBuilder) -> CircuitBreakerBuilder {
        let builder = set(builder, self.open_for, |builder, time| builder.open_for(time.get()));
        let builder = set(builder, self.open_growth, |builder, growth| match growth {
            OrNone::None => builder.without_open_growth(),
            OrNone::Some(OpenGrowthConfig { factor, cap }) => builder.open_growth(factor, cap.get()),
        });
        let builder = set(builder, self.open_jitter, CircuitBreakerBuilder::open_jitter);
        let builder = set(builder, self.probes, CircuitBreakerBuilder::probes);
        let builder = set(builder, self.probe_lease, |builder, time| builder.probe_lease(time.get()));
        let builder = set(builder, self.success_threshold, CircuitBreakerBuilder::success_threshold);
        let builder = set(builder, self.recover_over, |builder, over| match over {
            OrNone::None => builder.without_recovery(),
            OrNone::Some(time) => builder.recover_over(time.get()),
        });
        let builder = set(builder, self.dropped_call, |builder, dropped| {
            builder.dropped_call(match dropped {
                DroppedCallConfig::Neutral => DroppedCall::Neutral,
                DroppedCallConfig::Failure => DroppedCall::Failure,
            })
        });
        set(builder, self.mode, |builder, mode| {
            builder.mode(match mode {
                ModeConfig::Automatic => Mode::Automatic,
                ModeConfig::MetricsOnly => Mode::MetricsOnly,
                ModeConfig::ForcedOpen => Mode::ForcedOpen,
                ModeConfig::ForcedClosed => Mode::ForcedClosed,
            })
        })
    }

    pub(crate) fn over(self, base: Self) -> Self {
        Self {
            failure_threshold: self.failure_threshold.or(base.failure_threshold),
            failure_rate: self.failure_rate.or(base.failure_rate),
            slow_call_rate: self.slow_call_rate.or(base.slow_call_rate),
            window: self.window.or(base.window),
            minimum_calls: self.minimum_calls.or(base.minimum_calls),
            open_for: self.open_for.or(base.open_for),
            open_growth: self.open_growth.or(base.open_growth),
            open_jitter: self.open_jitter.or(base.open_jitter),
            probes: self.probes.or(base.probes),
            probe_lease: self.probe_lease.or(base.probe_lease),
            success_threshold: self.success_threshold.or(base.success_threshold),
            recover_over: self.recover_over.or(base.recover_over),
            dropped_call: self.dropped_call.or(base.dropped_call),
            mode: self.mode.or(base.mode),
        }
    }
}

impl WindowConfig {
    /// What it is read from beside a [`Time`], as a regular expression (ECMA-262) that fits exactly that.
    pub const CALLS_PATTERN: &'static str = "^[0-9]{1,3} calls?$";
}

impl FromStr for WindowConfig {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let calls = text.strip_suffix(" calls").or_else(|| text.strip_suffix(" call"));
        let Some(calls) = calls else {
            return text.parse::<Time>().map(|time| Self(Window::Time(time.get()))).map_err(|_| ());
        };
        if calls.len() > 3 || !calls.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        calls.parse().map(|calls| Self(Window::Calls(calls))).map_err(|_| ())
    }
}

impl fmt::Display for WindowConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Window::Calls(calls) => write!(f, "{calls} calls"),
            Window::Time(time) => Time::new(time).fmt(f),
        }
    }
}

impl Serialize for WindowConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WindowConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text("a duration such as \"30s\", or calls as in \"100 calls\"", |text| text.parse().ok()))
    }
}
