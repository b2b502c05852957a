use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// A span of time, as people write it: `"250ms"`, `"1m30s"`, `"2h"`.
///
/// ```
/// use std::time::Duration;
/// use steadfast_config::Time;
///
/// let time: Time = "1m30s".parse()?;
/// assert_eq!(Duration::from(time), Duration::from_secs(90));
/// assert_eq!(time.to_string(), "1m30s");
/// # Ok::<(), steadfast_config::NotATime>(())
/// ```
///
/// One to seven numbers of at most nine digits, each with its unit: `d`, `h`, `m` or `min`, `s`, `ms`, `us`, `ns`. They are
/// added up, and there may be a space before each but the first. A number without a unit is refused: half of those who read
/// it would take it for seconds, and the others for milliseconds.
///
/// It is read by hand, in thirty lines, so that [`PATTERN`](Self::PATTERN) says all of it: what the known crates read is wider,
/// and of those `humantime` 2.4 panics on some times near the end of what a `u64` of seconds holds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(Duration);

/// A text that is no [`Time`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotATime;

/// The units, the longest first, each with its length in nanoseconds. The first of a length is the one that is printed.
const UNITS: [(&str, u64); 8] = [
    ("d", 24 * 60 * 60 * 1_000_000_000),
    ("h", 60 * 60 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("min", 60 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// How many numbers there may be, one for each unit.
const MOST_PARTS: usize = 7;

/// How long a number may be: so that no sum overflows.
const MOST_DIGITS: usize = 9;

/// What the longest time that can be written is cut to: all nines of days, which no clock of ours outlasts.
const LONGEST: Duration = Duration::from_secs(999_999_999 * 24 * 60 * 60);

impl Time {
    /// What it is read from, as a regular expression (ECMA-262) that fits exactly that.
    pub const PATTERN: &'static str = "^[0-9]{1,9}(d|h|m|min|s|ms|us|ns)( ?[0-9]{1,9}(d|h|m|min|s|ms|us|ns)){0,6}$";

    /// So long; more than 999,999,999 days count as those.
    pub fn new(time: Duration) -> Self {
        Self(time.min(LONGEST))
    }

    pub(crate) const fn of_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    pub(crate) const fn of_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// As a duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

/// The length of a unit, in nanoseconds.
pub(crate) fn unit(name: &str) -> Option<u64> {
    UNITS.iter().find(|(unit, _)| *unit == name).map(|(_, nanos)| *nanos)
}

/// The longest unit that a time is a whole number of, and how many.
pub(crate) fn in_one_unit(time: Duration) -> (u128, &'static str) {
    let nanos = time.as_nanos();
    let unit = UNITS.iter().find(|(_, unit)| nanos % u128::from(*unit) == 0);
    unit.map_or((nanos, "ns"), |(name, unit)| (nanos / u128::from(*unit), name))
}

impl FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (mut rest, mut sum) = (text, Duration::ZERO);
        for part in 0..MOST_PARTS {
            if part > 0 {
                rest = rest.strip_prefix(' ').unwrap_or(rest);
            }
            let (number, behind) = split_at_end_of(rest, u8::is_ascii_digit);
            let (name, behind) = split_at_end_of(behind, u8::is_ascii_lowercase);
            if number.len() > MOST_DIGITS {
                return Err(NotATime);
            }
            let number: u32 = number.parse().map_err(|_| NotATime)?;
            sum += Duration::from_nanos(unit(name).ok_or(NotATime)?) * number;
            if behind.is_empty() {
                return Ok(Self::new(sum));
            }
            rest = behind;
        }
        Err(NotATime)
    }
}

/// A text, and what follows it, where the first byte that is not of a kind is ASCII or begins a character.
fn split_at_end_of(text: &str, is_of_kind: fn(&u8) -> bool) -> (&str, &str) {
    let end = text.bytes().take_while(is_of_kind).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        let mut left = self.0.as_nanos();
        for (name, nanos) in UNITS {
            let count = left / u128::from(nanos);
            left %= u128::from(nanos);
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

impl From<Duration> for Time {
    fn from(time: Duration) -> Self {
        Self::new(time)
    }
}

impl From<Time> for Duration {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no duration: write it as in \"250ms\" or \"1m30s\"")
    }
}

impl std::error::Error for NotATime {}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text("a duration such as \"250ms\" or \"1m30s\"", |text| text.parse().ok()))
    }
}

/// Reads a text that means something; what is expected, and what reads it.
pub(crate) struct Text<T>(pub(crate) &'static str, pub(crate) fn(&str) -> Option<T>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.1(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}
