//! What is wrong with a setting, said so that the reader can mend it.
//!
//! ```
//! use steadfast_core::rate_limit::Quota;
//!
//! let error = Quota::per_second(0).unwrap_err();
//! assert_eq!(error.to_string(), "tokens is 0, which is not at least 1");
//! ```

use core::fmt;
use core::time::Duration;

/// A setting that cannot be: which one, what it was given, and what it accepts.
///
/// Every policy checks its settings when it is built, or [changed](crate::pipeline::Pipeline::reconfigure), and returns
/// this; nothing is checked later, and nothing panics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidSetting {
    /// The value is outside the range that the setting accepts.
    OutOfRange {
        /// The setting, by the name of the method that sets it.
        setting: &'static str,
        /// What it was given.
        value: Value,
        /// What it accepts, to be read after "which is not".
        accepted: &'static str,
    },
    /// The value is sound alone and contradicts another.
    Contradiction {
        /// The setting, by the name of the method that sets it.
        setting: &'static str,
        /// What it was given.
        value: Value,
        /// How the two must stand to each other, to be read between them.
        must_be: &'static str,
        /// The setting that it contradicts.
        other: &'static str,
        /// What that one was given.
        other_value: Value,
    },
    /// The value is sound, and cannot be changed to while calls go by another.
    Unchangeable {
        /// The setting, by the name of the method that sets it.
        setting: &'static str,
        /// Why not.
        reason: &'static str,
    },
}

/// The value of a setting, as it was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A count.
    Count(u64),
    /// A span of time.
    Time(Duration),
    /// Nothing: it was not set.
    None,
}

impl InvalidSetting {
    pub(crate) const fn count(setting: &'static str, value: u64, accepted: &'static str) -> Self {
        Self::OutOfRange { setting, value: Value::Count(value), accepted }
    }

    pub(crate) const fn time(setting: &'static str, value: Duration, accepted: &'static str) -> Self {
        Self::OutOfRange { setting, value: Value::Time(value), accepted }
    }
}

/// Refuses a time of zero, under the name of its setting.
pub(crate) const fn positive(setting: &'static str, value: Duration) -> Result<(), InvalidSetting> {
    if value.is_zero() {
        return Err(InvalidSetting::time(setting, value, "more than zero"));
    }
    Ok(())
}

/// Refuses a count of zero, under the name of its setting.
pub(crate) const fn at_least_one(setting: &'static str, value: u32) -> Result<(), InvalidSetting> {
    if value == 0 {
        return Err(InvalidSetting::count(setting, 0, "at least 1"));
    }
    Ok(())
}

/// The first complaint of several checks, in their order. Settings are checked in constants too, where `?` cannot be.
pub(crate) const fn first<const N: usize>(checks: [Result<(), InvalidSetting>; N]) -> Result<(), InvalidSetting> {
    let mut check = 0;
    while check < N {
        if checks[check].is_err() {
            return checks[check];
        }
        check += 1;
    }
    Ok(())
}

/// Refuses a count that is not within a range, both ends included.
pub(crate) const fn within(
    setting: &'static str,
    value: u32,
    (least, most): (u32, u32),
    accepted: &'static str,
) -> Result<(), InvalidSetting> {
    if least <= value && value <= most {
        return Ok(());
    }
    Err(InvalidSetting::count(setting, value as u64, accepted))
}

/// Refuses a count that is more than another, by both their names.
pub(crate) const fn at_most(
    (setting, value): (&'static str, u32),
    (other, other_value): (&'static str, u32),
) -> Result<(), InvalidSetting> {
    if value <= other_value {
        return Ok(());
    }
    Err(contradiction((setting, Value::Count(value as u64)), "at most", (other, Value::Count(other_value as u64))))
}

/// Refuses a time that is shorter than another, by both their names.
pub(crate) const fn at_least_as_long(
    (setting, value): (&'static str, Duration),
    (other, other_value): (&'static str, Duration),
) -> Result<(), InvalidSetting> {
    if !is_shorter(value, other_value) {
        return Ok(());
    }
    Err(contradiction((setting, Value::Time(value)), "at least as long as", (other, Value::Time(other_value))))
}

/// Refuses a time that is longer than another, by both their names.
pub(crate) const fn at_most_as_long(
    (setting, value): (&'static str, Duration),
    (other, other_value): (&'static str, Duration),
) -> Result<(), InvalidSetting> {
    if !is_shorter(other_value, value) {
        return Ok(());
    }
    Err(contradiction((setting, Value::Time(value)), "at most as long as", (other, Value::Time(other_value))))
}

/// A setting that stays what it was when it was built.
pub(crate) const fn unchangeable(setting: &'static str, reason: &'static str) -> InvalidSetting {
    InvalidSetting::Unchangeable { setting, reason }
}

/// Two settings that cannot stand beside each other.
pub(crate) const fn contradiction(
    (setting, value): (&'static str, Value),
    must_be: &'static str,
    (other, other_value): (&'static str, Value),
) -> InvalidSetting {
    InvalidSetting::Contradiction { setting, value, must_be, other, other_value }
}

/// `time < than`, in constants too.
pub(crate) const fn is_shorter(time: Duration, than: Duration) -> bool {
    time.as_nanos() < than.as_nanos()
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Time(time) => write!(f, "{time:?}"),
            Self::None => f.write_str("none"),
        }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { setting, value, accepted } => {
                write!(f, "{setting} is {value}, which is not {accepted}")
            }
            Self::Contradiction { setting, value, must_be, other, other_value } => {
                write!(f, "{setting} is {value}: it must be {must_be} {other}, which is {other_value}")
            }
            Self::Unchangeable { setting, reason } => {
                write!(f, "{setting} cannot be changed while calls go by it: {reason}")
            }
        }
    }
}

impl core::error::Error for InvalidSetting {}
