use core::ops::{Add, Sub};
use core::time::Duration;

pub(super) const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// A point on the wall clock: whole seconds since 1970 began in Greenwich, leap seconds not counted.
///
/// It is a type of its own because it is not the `Instant` of `steadfast-core`, whose clock never steps: a deadline is
/// made from the [`Duration`] between two of these, never from one of them.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use steadfast_http::date::UnixTime;
///
/// let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
/// let now = UnixTime::EPOCH + since_1970;
/// assert_eq!((now + Duration::from_secs(2)) - now, Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(i64);

impl UnixTime {
    /// 1970-01-01 00:00:00 UTC.
    pub const EPOCH: Self = Self(0);

    /// The time `seconds` after the epoch, or before it if negative.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds after the epoch, negative before it.
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// A second of a day in the Gregorian calendar, which is extended to the years before it. `None` if that month has
    /// no such day. `month` is 1 to 12.
    pub(super) fn from_calendar(year: i64, month: i64, day: i64, second: i64) -> Option<Self> {
        let exists = (1..=days_in_month(year, month)).contains(&day);
        exists.then(|| Self::from_calendar_rolling(year, month, day, second))
    }

    /// The same, where a day that the month does not have runs on into the next.
    pub(super) fn from_calendar_rolling(year: i64, month: i64, day: i64, second: i64) -> Self {
        let months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
        let days = days_before(year) - days_before(1970) + months + day - 1;
        Self(days * SECONDS_PER_DAY + second)
    }

    /// The year, month, day, and second of the day, of the Gregorian calendar. `None` outside of the years 0 to 9999.
    pub(super) fn to_calendar(self) -> Option<(i64, i64, i64, i64)> {
        let days = self.0.div_euclid(SECONDS_PER_DAY) + days_before(1970);
        // No year is longer than 366 days, so this is the year or one before; and none is 365.2425 exactly.
        let mut year = days.checked_mul(400)?.div_euclid(146_097);
        while days >= days_before(year + 1) {
            year += 1;
        }
        let mut day = days - days_before(year);
        let mut month = 1;
        while day >= days_in_month(year, month) {
            day -= days_in_month(year, month);
            month += 1;
        }
        (0..=9999).contains(&year).then_some((year, month, day + 1, self.0.rem_euclid(SECONDS_PER_DAY)))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        // What the other eleven months leave of the year.
        2 => days_before(year + 1) - days_before(year) - 337,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the first of the year 1 to the first of `year`.
fn days_before(year: i64) -> i64 {
    let years = year - 1;
    years * 365 + years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400)
}

impl Add<Duration> for UnixTime {
    type Output = Self;

    /// Saturates, and drops the fraction of a second: a `now` that is a little early makes a wait a little longer.
    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(delay.as_secs()))
    }
}

impl Sub for UnixTime {
    type Output = Duration;

    /// How long after `earlier` this time is; zero if it is not after it.
    fn sub(self, earlier: Self) -> Duration {
        if self <= earlier {
            return Duration::ZERO;
        }
        Duration::from_secs(self.0.abs_diff(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, UnixTime};

    const MIN: UnixTime = UnixTime::from_secs(i64::MIN);
    const MAX: UnixTime = UnixTime::from_secs(i64::MAX);

    #[test]
    fn differences_are_exact_and_never_negative() {
        for (later, earlier, want) in [
            (UnixTime::from_secs(5), UnixTime::from_secs(2), 3),
            (UnixTime::from_secs(5), UnixTime::from_secs(-2), 7),
            (UnixTime::from_secs(2), UnixTime::from_secs(5), 0),
            (MAX, MIN, u64::MAX),
            (MIN, MAX, 0),
            (MAX, MAX, 0),
        ] {
            assert_eq!(later - earlier, Duration::from_secs(want), "{later:?} - {earlier:?}");
        }
    }

    #[test]
    fn sums_saturate_and_drop_the_fraction() {
        for (time, delay, want) in [
            (UnixTime::EPOCH, Duration::from_millis(1_999), UnixTime::from_secs(1)),
            (UnixTime::from_secs(-3), Duration::from_secs(5), UnixTime::from_secs(2)),
            (MIN, Duration::MAX, MAX),
            (UnixTime::EPOCH, Duration::MAX, MAX),
            (MAX, Duration::from_secs(1), MAX),
        ] {
            assert_eq!(time + delay, want, "{time:?} + {delay:?}");
        }
        assert_eq!(UnixTime::from_secs(-7).as_secs(), -7);
    }
}
