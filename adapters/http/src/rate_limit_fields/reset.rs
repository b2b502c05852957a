use core::time::Duration;

use crate::date::{self, UnixTime};
use crate::retry_after::decimal;

/// Numbers from here on are points in time: no window is a billion seconds long, which is 32 years.
const EPOCH_SECONDS: u64 = 1_000_000_000;
/// From here on they are in milliseconds: in seconds, it would be the year 5138.
const EPOCH_MILLIS: u64 = 100_000_000_000;
const EPOCH_MICROS: u64 = 100_000_000_000_000;
const EPOCH_NANOS: u64 = 100_000_000_000_000_000;

/// How long until a reset, in whichever form it is written; points in time mean nothing to whoever does not know `now`.
pub(super) fn reset_in(value: &[u8], now: Option<UnixTime>) -> Option<Duration> {
    let at = match decimal(value, 0) {
        Some(0..EPOCH_SECONDS) => return decimal(value, 3).map(Duration::from_millis),
        Some(seconds @ EPOCH_SECONDS..EPOCH_MILLIS) => seconds,
        Some(millis @ EPOCH_MILLIS..EPOCH_MICROS) => millis.div_ceil(1_000),
        Some(micros @ EPOCH_MICROS..EPOCH_NANOS) => micros.div_ceil(1_000_000),
        Some(nanos @ EPOCH_NANOS..) => nanos.div_ceil(1_000_000_000),
        None => {
            if let Some(duration) = duration(value) {
                return Some(duration);
            }
            let at = date::parse_timestamp(value).or_else(|| date::parse(value, now.unwrap_or(UnixTime::EPOCH)))?;
            return now.map(|now| at - now);
        }
    };
    now.map(|now| UnixTime::from_secs(i64::try_from(at).unwrap_or(i64::MAX)) - now)
}

/// The same of a field whose name says that it is in milliseconds.
pub(super) fn reset_in_millis(value: &[u8], now: Option<UnixTime>) -> Option<Duration> {
    match decimal(value, 0) {
        Some(millis @ 0..EPOCH_MILLIS) => Some(Duration::from_millis(millis)),
        _ => reset_in(value, now),
    }
}

/// Reads `1h2m3.5s`, `6m0s`, `20ms`: how Go writes a duration. Of those that are negative, none.
fn duration(value: &[u8]) -> Option<Duration> {
    let mut rest = value.trim_ascii();
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let is_number = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
        let (number, behind) = rest.split_at(rest.iter().take_while(is_number).count());
        let is_unit = |byte: &&u8| !byte.is_ascii_digit() && **byte != b'.';
        let (unit, behind) = behind.split_at(behind.iter().take_while(is_unit).count());
        // How many places of the number are nanoseconds, and how many of those are one of the unit's smallest part.
        let (places, times) = match unit {
            b"h" => (9, 3_600),
            b"m" => (9, 60),
            b"s" => (9, 1),
            b"ms" => (6, 1),
            b"us" | [0xc2, 0xb5, b's'] | [0xce, 0xbc, b's'] => (3, 1),
            b"ns" => (0, 1),
            _ => return None,
        };
        nanos = nanos.saturating_add(decimal(number, places)?.saturating_mul(times));
        rest = behind;
    }
    (!value.trim_ascii().is_empty()).then_some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: UnixTime = UnixTime::from_secs(784_111_777);
    /// Thu, 01 Jan 2026 00:00:00 GMT.
    const IN_2026: UnixTime = UnixTime::from_secs(1_767_225_600);

    /// What is read at `now`, in milliseconds; and whether it is without knowing what time it is.
    fn check(now: UnixTime, table: &[(&str, u64, bool)]) {
        for (value, want, is_relative) in table {
            let want = Duration::from_millis(*want);
            assert_eq!(reset_in(value.as_bytes(), Some(now)), Some(want), "{value}");
            assert_eq!(reset_in(value.as_bytes(), None), is_relative.then_some(want), "{value}");
        }
    }

    #[test]
    fn seconds_milliseconds_and_points_in_time_are_told_apart() {
        check(
            IN_2026,
            &[
                ("0", 0, true),
                ("60", 60_000, true),
                ("1.0001", 1_001, true),
                ("999999999", 999_999_999_000, true),
                ("1000000000", 0, false),
                ("1767225630", 30_000, false),
                ("1767225630.25", 31_000, false), // Discord
                ("1767225600", 0, false),
                ("99999999999", (99_999_999_999 - 1_767_225_600) * 1_000, false),
                ("1767225630000", 30_000, false),
                ("1767225630001", 31_000, false),
                ("1767225630000000", 30_000, false),
                ("1767225630000000000", 30_000, false),
            ],
        );
        assert_eq!(reset_in_millis(b"1500", None), Some(Duration::from_millis(1_500)));
        assert_eq!(reset_in_millis(b"1767225630000", Some(IN_2026)), Some(Duration::from_secs(30)));
    }

    #[test]
    fn durations_of_go_are_read() {
        check(
            NOW,
            &[
                ("1s", 1_000, true),
                ("6m0s", 360_000, true),
                ("20ms", 20, true),
                ("1h2m3.5s", 3_723_500, true),
                ("1.5h", 5_400_000, true),
                ("2000us", 2, true),
                ("3000\u{b5}s", 3, true),
                ("3000\u{3bc}s", 3, true),
                ("5000000ns", 5, true),
            ],
        );
        assert_eq!(reset_in(b"0.0000001ms", None), Some(Duration::from_nanos(1)), "rounded up");
        assert_eq!(reset_in(b"99999999999999999999h", None), Some(Duration::from_nanos(u64::MAX)));
    }

    #[test]
    fn dates_and_timestamps_are_points_in_time() {
        check(
            NOW,
            &[
                ("1994-11-06T08:50:37Z", 60_000, false),
                ("1994-11-06T08:49:38.5Z", 2_000, false),
                ("Sun, 06 Nov 1994 08:49:40 GMT", 3_000, false),
                ("Sun, 06 Nov 1994 08:49:30 GMT", 0, false),
            ],
        );
    }

    #[test]
    fn what_is_no_reset_is_refused() {
        for value in ["", " ", "-1", "-5s", "5 s", "1m 5s", "s", "1", "1,5", "5d", "soon", "1.2.3s", "null", "\u{665}s"]
        {
            let want = (value == "1").then_some(Duration::from_secs(1));
            assert_eq!(reset_in(value.as_bytes(), Some(NOW)), want, "{value}");
        }
        assert_eq!(reset_in(b"\xff\xc2", Some(NOW)), None);
    }
}
