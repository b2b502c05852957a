//! What the head of a response says to policies: its status and all of its fields at once.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::outcome::Outcome;
//! use steadfast_http::head;
//!
//! let fields: [(&[u8], &[u8]); 2] = [(b"retry-after", b"7"), (b"ratelimit", br#""burst";r=0;t=5"#)];
//! let (outcome, told) = head::classify(429, || fields.into_iter(), None);
//!
//! let seven = Duration::from_secs(7);
//! assert_eq!(outcome, Outcome::throttled().not_processed().with_retry_after(seven));
//! // Nothing is left until `Retry-After` is over, which goes before the reset.
//! assert_eq!(told.iter().map(|limit| (limit.left, limit.reset_in)).collect::<Vec<_>>(), [(0, seven)]);
//! ```
//!
//! Fields are pairs of name and value, and are gone through more than once: so what comes in is what iterates over them. The `clock` is the caller's own, on the wall, if it has one: a date that a field names
//! is on the server's clock, and is read by that where the response shows it in its `Date`.

use core::time::Duration;

use steadfast_core::limits::Told;
use steadfast_core::outcome::Outcome;

use crate::date::{self, UnixTime};
use crate::{RateLimitFields, RetryAfter, status};

/// The outcome of an attempt that was answered with this head, and what it told of the server's limits: together, what a
/// pipeline wants to know of an answer.
pub fn classify<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    status: u16,
    fields: impl Fn() -> I,
    clock: Option<UnixTime>,
) -> (Outcome, Told) {
    let retry_after = retry_after(&fields, clock);
    (status::classify(status, retry_after), told(fields, retry_after, clock))
}

/// How long the server asks to wait: the longest, if it says so more than once.
///
/// A date says nothing to whoever does not know today's: without a `clock` and without the server's `Date`, only delays are read.
pub fn retry_after<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    fields: impl Fn() -> I,
    clock: Option<UnixTime>,
) -> Option<Duration> {
    let now = server_now(fields(), clock);
    let since = now.unwrap_or(UnixTime::EPOCH);
    let hints = fields().filter_map(|(name, value)| RetryAfter::from_field(name, value, since));
    let told = hints.filter(|hint| now.is_some() || matches!(hint, RetryAfter::Delay(_)));
    told.map(|hint| hint.delay_from(since)).max()
}

/// What the server told of its limits. `retry_after` goes before the reset of those of which nothing is left.
pub fn told<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    fields: impl Fn() -> I,
    retry_after: Option<Duration>,
    clock: Option<UnixTime>,
) -> Told {
    let now = server_now(fields(), clock);
    let mut read = RateLimitFields::new();
    fields().for_each(|(name, value)| read.read(name, value, now));
    read.told(retry_after)
}

/// The server's clock where it shows it, since a date that it names is on that clock; ours otherwise, if there is one.
fn server_now<'a>(mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, clock: Option<UnixTime>) -> Option<UnixTime> {
    let shown = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"date"));
    // Only the oldest form of a date needs a clock, to know its century.
    shown.and_then(|(_, value)| date::parse(value, clock.unwrap_or(UnixTime::EPOCH))).or(clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
    const NOON_AND_A_MINUTE: &str = "Sun, 06 Nov 1994 12:01:00 GMT";

    #[track_caller]
    fn check(fields: &[(&str, &str)], clock: Option<i64>, want_seconds: Option<u64>) {
        let bytes = || fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let got = retry_after(bytes, clock.map(UnixTime::from_secs));
        assert_eq!(got, want_seconds.map(Duration::from_secs), "{fields:?} at {clock:?}");
    }

    #[test]
    fn the_longest_wait_counts_and_a_date_by_the_clock_that_wrote_it() {
        check(&[], None, None);
        check(&[("Retry-After", "2"), ("retry-after-ms", "3000"), ("retry-after", "1")], None, Some(3));
        check(&[("retry-after", NOON_AND_A_MINUTE)], None, None);
        check(&[("retry-after", NOON_AND_A_MINUTE), ("retry-after", "5")], None, Some(5));
        check(&[("retry-after", NOON_AND_A_MINUTE)], Some(784_123_230), Some(30));
        check(&[("Date", NOON), ("retry-after", NOON_AND_A_MINUTE)], Some(784_123_230), Some(60));
        check(&[("date", NOON), ("retry-after", NOON_AND_A_MINUTE)], None, Some(60));
        check(&[("date", "noon"), ("retry-after", NOON_AND_A_MINUTE)], Some(784_123_230), Some(30));
    }

    #[test]
    fn a_status_and_its_fields_are_read_together() {
        let fields = [("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "9"), ("retry-after", "4")];
        let bytes = || fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let (outcome, told) = classify(503, bytes, None);
        assert_eq!(outcome, Outcome::transient().with_retry_after(Duration::from_secs(4)));
        let left = told.iter().map(|limit| (limit.left, limit.reset_in.as_secs()));
        assert!(left.eq([(3, 9)]), "{told:?}");
    }
}
