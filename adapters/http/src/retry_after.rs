//! How long a server asks to be left alone: `Retry-After` and `retry-after-ms`.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_http::RetryAfter;
//! use steadfast_http::date::UnixTime;
//!
//! let now = UnixTime::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
//! for (value, millis) in [("120", 120_000), ("0.25", 250), ("Sun, 06 Nov 1994 08:49:40 GMT", 3_000)] {
//!     let hint = RetryAfter::parse(value.as_bytes(), now).expect("all three are well-formed");
//!     assert_eq!(hint.delay_from(now), Duration::from_millis(millis));
//! }
//! assert_eq!(RetryAfter::parse(b"soon", now), None);
//! ```
//!
//! # What is read, and how
//!
//! | Value | Read as | Reason |
//! | --- | --- | --- |
//! | `120` | 120 s | RFC 9110 §10.2.3 |
//! | any of the three HTTP dates | that time; zero if it has passed | RFC 9110 §10.2.3, [`date`] |
//! | `1.5`, `0.0001` | 1.5 s, 1 ms | Not in the grammar, but sent. To the millisecond, rounded up: never early. |
//! | more than 24 hours | 24 hours | [`RetryAfter::LONGEST`] |
//! | more digits than any integer holds | 24 hours | Saturates, never wraps. |
//! | `-1`, `+5`, `1e9`, `1.`, `.5`, `5 s`, `5, 7`, empty | nothing | Not in the grammar; a guess may be early. |
//!
//! White space around the value is no part of it.
//!
//! # Several of them
//!
//! A response may carry several, under one name or under both. Wait for the longest: none of them is then undercut, and
//! a `Retry-After` that was rounded to seconds costs at most one. [`RetryAfter::from_field`] picks them out:
//!
//! ```
//! use core::time::Duration;
//! use steadfast_http::RetryAfter;
//! use steadfast_http::date::UnixTime;
//!
//! let now = UnixTime::from_secs(784_111_777);
//! let fields: [(&[u8], &[u8]); 3] = [(b"Retry-After", b"2"), (b"retry-after-ms", b"1200"), (b"date", b"")];
//! let hints = fields.iter().filter_map(|(name, value)| RetryAfter::from_field(name, value, now));
//! assert_eq!(hints.map(|hint| hint.delay_from(now)).max(), Some(Duration::from_secs(2)));
//! ```
//!
//! # Which `now`
//!
//! Best the `Date` field of the same response: it comes from the clock that wrote the `Retry-After`, so the delay is
//! right however wrong the caller's clock may be, and firmware has no other. Without it, the caller's own wall clock;
//! with neither, a [`RetryAfter::Delay`] is still good and a [`RetryAfter::At`] is not.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_http::RetryAfter;
//! use steadfast_http::date::{self, UnixTime};
//!
//! let now = date::parse(b"Sun, 06 Nov 1994 08:49:37 GMT", UnixTime::EPOCH).expect("the server's clock");
//! let hint = RetryAfter::parse(b"Sun, 06 Nov 1994 08:50:37 GMT", now).expect("a minute later");
//! assert_eq!(hint.delay_from(now), Duration::from_secs(60));
//! ```
//!
//! # When not to use it
//!
//! For the fields in which servers say when a quota is full again, whose numbers are sometimes points in time. And not
//! on several fields that were joined into one value: what has a comma in the wrong place is refused.

use core::iter;
use core::time::Duration;

use crate::date::{self, UnixTime};

/// How long a server asks to be left alone, in the form in which it said so.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RetryAfter {
    /// From now on. As parsed, at most [`RetryAfter::LONGEST`].
    Delay(Duration),
    /// Until this time.
    At(UnixTime),
}

impl RetryAfter {
    /// 24 hours: whatever is longer reads as this.
    ///
    /// One response, hostile or mistaken, must not stop every caller of a shared limit for years. A daily quota, the
    /// longest that is common, still fits. Whoever has to wait longer is told so again after a day.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// What the field `name: value` asks for, if it is one that asks.
    ///
    /// Three do: `Retry-After`, and in milliseconds `retry-after-ms` (`OpenAI`, Azure) and `x-ms-retry-after-ms`
    /// (Azure).
    pub fn from_field(name: &[u8], value: &[u8], now: UnixTime) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"retry-after") {
            return Self::parse(value, now);
        }
        if name.eq_ignore_ascii_case(b"retry-after-ms") || name.eq_ignore_ascii_case(b"x-ms-retry-after-ms") {
            return Self::parse_millis(value);
        }
        None
    }

    /// Reads the value of a `Retry-After` field: seconds, or a date. `now` is for the date with a year of two digits.
    pub fn parse(value: &[u8], now: UnixTime) -> Option<Self> {
        match decimal(value, 3) {
            Some(millis) => Some(Self::from_millis(millis)),
            None => date::parse(value, now).map(Self::At),
        }
    }

    /// Reads the value of a `retry-after-ms` field: milliseconds, a fraction of one rounded up.
    pub fn parse_millis(value: &[u8]) -> Option<Self> {
        decimal(value, 0).map(Self::from_millis)
    }

    /// How long to wait, if it is `now`: nothing if the time has passed, [`RetryAfter::LONGEST`] if it is further away.
    pub fn delay_from(self, now: UnixTime) -> Duration {
        match self {
            Self::Delay(delay) => delay,
            Self::At(time) => (time - now).min(Self::LONGEST),
        }
    }

    fn from_millis(millis: u64) -> Self {
        Self::Delay(Duration::from_millis(millis).min(Self::LONGEST))
    }
}

/// Reads `digits [ "." digits ]` times ten to the `places`, rounded up to an integer and cut to the range of a `u64`.
pub(crate) fn decimal(value: &[u8], places: usize) -> Option<u64> {
    let mut parts = value.trim_ascii().splitn(2, |byte| *byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next().unwrap_or(b"0");
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let kept = fraction.iter().chain(iter::repeat(&b'0')).take(places);
    let floor = whole
        .iter()
        .chain(kept)
        .fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    let cut_off = fraction.iter().skip(places).any(|digit| *digit != b'0');
    Some(floor.saturating_add(u64::from(cut_off)))
}

fn is_digits(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::{Duration, RetryAfter, UnixTime, decimal};

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: UnixTime = UnixTime::from_secs(784_111_777);
    const DAY: Option<u64> = Some(86_400_000);

    /// What the field asks for, in milliseconds from `NOW`.
    fn check(name: &str, table: &[(&[u8], Option<u64>)]) {
        for (value, want) in table {
            let hint = RetryAfter::from_field(name.as_bytes(), value, NOW);
            let got = hint.map(|hint| hint.delay_from(NOW));
            let text = value.escape_ascii();
            assert_eq!(got, want.map(Duration::from_millis), "{name}: {text}");
        }
    }

    #[test]
    fn seconds_are_read_rounded_up_and_capped() {
        check(
            "Retry-After",
            &[
                (b"0", Some(0)),
                (b"1", Some(1_000)),
                (b"120", Some(120_000)),
                (b"000000000000000000000000000007", Some(7_000)),
                (b" \t5\t ", Some(5_000)),
                (b"1.5", Some(1_500)),
                (b"1.500000000000000000000000000000", Some(1_500)),
                (b"0.0001", Some(1)),
                (b"1.0000000000000000000000000000001", Some(1_001)),
                (b"86399.999", Some(86_399_999)),
                (b"86399.9991", DAY),
                (b"86400", DAY),
                (b"86400.001", DAY),
                (b"86401", DAY),
                (b"18446744073709551616", DAY), // 2^64
                (b"18446744073709552", DAY),    // 2^64 milliseconds
                (b"1000000000000000000000000000000", DAY),
            ],
        );
    }

    #[test]
    fn milliseconds_are_read_rounded_up_and_capped() {
        for name in ["retry-after-ms", "Retry-After-Ms", "x-ms-retry-after-ms", "X-Ms-Retry-After-Ms"] {
            check(
                name,
                &[
                    (b"0", Some(0)),
                    (b" 1200 ", Some(1_200)),
                    (b"33.0", Some(33)),
                    (b"33.04", Some(34)),
                    (b"86400001", DAY),
                    (b"18446744073709551616.5", DAY),
                    (b"Sun, 06 Nov 1994 08:49:40 GMT", None),
                    (b"-1", None),
                    (b"", None),
                ],
            );
        }
    }

    #[test]
    fn dates_are_waited_for_and_capped() {
        check(
            "retry-after",
            &[
                (b"Sun, 06 Nov 1994 08:49:38 GMT", Some(1_000)),
                (b" Sunday, 06-Nov-94 08:49:40 GMT\t", Some(3_000)),
                (b"Sun Nov  6 08:50:37 1994", Some(60_000)),
                (b"Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
                (b"Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
                (b"Fri, 01 Jan 0000 00:00:00 GMT", Some(0)),
                (b"Mon, 07 Nov 1994 08:49:36 GMT", Some(86_399_000)),
                (b"Mon, 07 Nov 1994 08:49:38 GMT", DAY),
                (b"Fri, 31 Dec 9999 23:59:59 GMT", DAY),
            ],
        );
    }

    #[test]
    fn what_is_no_hint_is_refused() {
        let refused = [
            "", " ", ".", "1.", ".5", "1.5.", "1.5.5", "1.5-", "-1", "-0", "+5", "1e9", "0x10", "5s", "5 s", "5, 7",
            "5,7", "1 000", "1_000", "inf", "NaN", "null", "\"5\"", "/", ":", "\0", "5\0", "\u{665}",
        ];
        for value in refused {
            check("retry-after", &[(value.as_bytes(), None)]);
        }
        check("retry-after", &[(b"\xff\xfe", None), (b"Sun, 06 Nov 1994 08:49:38 GMT, 5", None)]);
        for name in ["", "retry", "retry-after-", "x-retry-after", "date"] {
            check(name, &[(b"5", None)]);
        }
    }

    #[test]
    fn numbers_saturate() {
        for (value, want) in [
            (&b"18446744073709551614"[..], u64::MAX - 1),
            (b"18446744073709551615", u64::MAX),
            (b"18446744073709551615.9", u64::MAX),
            (b"18446744073709551616", u64::MAX),
            (b"100000000000000000000", u64::MAX),
        ] {
            assert_eq!(decimal(value, 0), Some(want));
        }
    }

    #[test]
    fn a_delay_that_the_caller_made_is_left_alone() {
        let week = RetryAfter::LONGEST * 7;
        assert_eq!(RetryAfter::Delay(week).delay_from(NOW), week);
    }
}
