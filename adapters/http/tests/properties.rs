//! What holds for every input, and where this crate and `httpdate` part.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use steadfast_http::date::{self, UnixTime};
use steadfast_http::{RetryAfter, idempotency};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The first second of the year 10,000, which no date can write.
const YEAR_10_000: i64 = 253_402_300_800;

/// At this second the rule of RFC 9110 and the fixed pivot of `httpdate` agree on every year of two digits: the latest
/// second that is at most 50 years away is the last of 2069.
const END_OF_2019: UnixTime = UnixTime::from_secs(1_577_836_799);

/// A date as written, well-formed in all but its ranges.
#[derive(Clone, Debug)]
struct Written {
    weekday: usize,
    day: u32,
    month: usize,
    year: u32,
    time: (u32, u32, u32),
}

impl Written {
    fn imf_fixdate(&self) -> String {
        let (weekday, month) = (&DAYS[self.weekday][..3], MONTHS[self.month]);
        format!("{weekday}, {:02} {month} {:04} {} GMT", self.day, self.year, self.time())
    }

    fn rfc850_date(&self) -> String {
        let (weekday, month) = (DAYS[self.weekday], MONTHS[self.month]);
        format!("{weekday}, {:02}-{month}-{:02} {} GMT", self.day, self.year % 100, self.time())
    }

    fn asctime_date(&self) -> String {
        let (weekday, month) = (&DAYS[self.weekday][..3], MONTHS[self.month]);
        format!("{weekday} {month} {:2} {} {:04}", self.day, self.time(), self.year)
    }

    fn time(&self) -> String {
        let (hour, minute, second) = self.time;
        format!("{hour:02}:{minute:02}:{second:02}")
    }
}

/// Mostly dates that exist, at the edges now and then.
fn written() -> impl Strategy<Value = Written> {
    let time = (0..=24_u32, 0..=60_u32, 0..=61_u32);
    (0..7_usize, 0..=32_u32, 0..12_usize, 0..=9999_u32, time).prop_map(|(weekday, day, month, year, time)| Written {
        weekday,
        day,
        month,
        year,
        time,
    })
}

/// Bytes that look like what the parsers look for: a well-formed value with a few bytes replaced, or cut short.
fn nearly_well_formed() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        written().prop_map(|date| date.imf_fixdate()),
        written().prop_map(|date| date.rfc850_date()),
        written().prop_map(|date| date.asctime_date()),
        "[0-9]{1,30}(\\.[0-9]{1,30})?",
    ];
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b" \t,:-.019GMT".to_vec())];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), byte), 0..3);
    (value, edits, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(value, edits, end, cut)| {
        let mut bytes = value.into_bytes();
        for (place, byte) in edits {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        bytes
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..80), nearly_well_formed()]
}

fn any_time() -> impl Strategy<Value = UnixTime> {
    prop_oneof![any::<i64>(), 0..YEAR_10_000].prop_map(UnixTime::from_secs)
}

/// What `httpdate` reads, in seconds since 1970.
fn reference(value: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(value).ok()?;
    let since_1970 = time.duration_since(UNIX_EPOCH).expect("httpdate refuses years before 1970");
    Some(i64::try_from(since_1970.as_secs()).expect("a year of four digits"))
}

fn ours(value: &str, now: UnixTime) -> Option<i64> {
    date::parse(value.as_bytes(), now).map(UnixTime::as_secs)
}

fn system_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).expect("after 1970"))
}

/// The wait for a delay of `seconds` that did not need rounding.
fn capped(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(RetryAfter::LONGEST)
}

proptest! {
    #[test]
    fn no_bytes_panic(name in any_bytes(), value in any_bytes(), now in any_time(), then in any_time()) {
        let _ = date::parse(&value, now);
        let _ = RetryAfter::from_field(&name, &value, now);
        let _ = idempotency::of_request(&name, [(&name[..], &value[..])]);
        for hint in [RetryAfter::parse(&value, now), RetryAfter::parse_millis(&value)].into_iter().flatten() {
            prop_assert!(hint.delay_from(then) <= RetryAfter::LONGEST);
        }
    }

    #[test]
    fn every_date_that_httpdate_writes_is_read_back(seconds in 0..YEAR_10_000, now in any_time()) {
        let value = httpdate::fmt_http_date(system_time(seconds));
        prop_assert_eq!(ours(&value, now), Some(seconds));
    }

    #[test]
    fn all_forms_name_the_same_second(seconds in 0..YEAR_10_000, ago in -1_577_000_000..1_577_000_000_i64) {
        let value = httpdate::fmt_http_date(system_time(seconds));
        let weekday = DAYS.iter().find(|day| day.starts_with(&value[..3])).expect("a weekday");
        let (day, month, year, time) = (&value[5..7], &value[8..11], &value[12..16], &value[17..25]);
        let rfc850 = format!("{weekday}, {day}-{month}-{} {time} GMT", &year[2..]);
        let padded_day = day.strip_prefix('0').map_or(day.to_owned(), |digit| format!(" {digit}"));
        let asctime = format!("{} {month} {padded_day} {time} {year}", &value[..3]);
        // 1,577,000,000 seconds are just under 50 years.
        prop_assert_eq!(ours(&rfc850, UnixTime::from_secs(seconds + ago)), Some(seconds), "{}", rfc850);
        prop_assert_eq!(ours(&asctime, UnixTime::EPOCH), Some(seconds), "{}", asctime);
        prop_assert_eq!(reference(&asctime), Some(seconds), "{}", asctime);
    }

    /// Four differences, each documented: leap seconds, years before 1970, the wrong name of a day, and (by the choice
    /// of `now` made equal here) the century of a year with two digits.
    #[test]
    fn httpdate_agrees_or_the_difference_is_documented(mut written in written(), form in 0..3_usize) {
        let form = [Written::imf_fixdate, Written::rfc850_date, Written::asctime_date][form];
        let got = ours(&form(&written), END_OF_2019);
        let leap_second = written.time.2 == 60;
        let before_1970 = got.is_some_and(|seconds| seconds < 0);
        let mut readings = Vec::new();
        for weekday in 0..7 {
            written.weekday = weekday;
            readings.extend(reference(&form(&written)));
        }
        if leap_second || before_1970 {
            prop_assert_eq!(readings, vec![]);
        } else {
            // Exactly one name is the right one.
            prop_assert_eq!(readings, Vec::from_iter(got));
        }
    }

    #[test]
    fn where_both_read_broken_dates_they_agree(value in nearly_well_formed()) {
        let value = String::from_utf8_lossy(&value);
        if let (Some(got), Some(want)) = (ours(&value, END_OF_2019), reference(&value)) {
            prop_assert_eq!(got, want, "{:?}", value);
        }
    }

    #[test]
    fn a_year_of_two_digits_is_within_50_years_of_now(written in written(), now in 0..YEAR_10_000 - 1_578_000_000) {
        if let Some(got) = ours(&written.rfc850_date(), UnixTime::from_secs(now)) {
            // 50 years and at most one day, since not all of them have as many leap days.
            let most = 50 * 31_556_952 + 86_400;
            prop_assert!(got.abs_diff(now) <= most, "{got} at {now}");
        }
    }

    #[test]
    fn any_whole_number_is_read_without_wrapping(digits in "[0-9]{1,400}") {
        let push = |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        let asked = digits.bytes().fold(0, push);
        let seconds = RetryAfter::parse(digits.as_bytes(), UnixTime::EPOCH);
        prop_assert_eq!(seconds, Some(RetryAfter::Delay(capped(asked))));
        let millis = RetryAfter::parse_millis(digits.as_bytes());
        prop_assert_eq!(millis, Some(RetryAfter::Delay(Duration::from_millis(asked).min(RetryAfter::LONGEST))));
    }

    #[test]
    fn a_delay_is_never_shorter_than_asked_nor_1_ms_longer(whole in 0..100_000_u64, nanos in 0..1_000_000_000_u32) {
        let asked = Duration::new(whole, nanos);
        let value = format!("{whole}.{nanos:09}");
        let got = RetryAfter::parse(value.as_bytes(), UnixTime::EPOCH).expect("a decimal").delay_from(UnixTime::EPOCH);
        prop_assert!(got >= asked.min(RetryAfter::LONGEST), "{value}: {got:?}");
        prop_assert!(got < asked + Duration::from_millis(1), "{value}: {got:?}");
    }

    #[test]
    fn a_date_is_never_waited_for_less(seconds in 0..YEAR_10_000, wait in 0..200_000_i64) {
        let value = httpdate::fmt_http_date(system_time(seconds));
        let now = UnixTime::from_secs(seconds - wait);
        let got = RetryAfter::parse(value.as_bytes(), now).expect("a date").delay_from(now);
        prop_assert_eq!(got, capped(wait.unsigned_abs()));
    }

    #[test]
    fn white_space_around_a_value_changes_nothing(value in any_bytes(), before in "[ \t]{0,3}", after in "[ \t]{0,3}") {
        let padded = [before.as_bytes(), &value, after.as_bytes()].concat();
        let now = END_OF_2019;
        prop_assert_eq!(RetryAfter::parse(&padded, now), RetryAfter::parse(&value, now));
        prop_assert_eq!(RetryAfter::parse_millis(&padded), RetryAfter::parse_millis(&value));
    }
}
