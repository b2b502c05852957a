//! What holds for every input, and where this crate and `httpdate` part.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use steadfast_core::limits::Remaining;
use steadfast_http::date::{self, UnixTime};
use steadfast_http::{RateLimitFields, RetryAfter, idempotency};

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

    #[test]
    fn no_field_of_limits_panics(
        fields in prop::collection::vec((nearly_a_name(), nearly_a_limit()), 0..6),
        now in prop::option::of(any_time()),
        retry_after in prop::option::of(any::<u64>().prop_map(Duration::from_nanos)),
    ) {
        let mut read = RateLimitFields::new();
        for (name, value) in &fields {
            read.read(name, value, now);
        }
        prop_assert!(read.told(retry_after).iter().count() <= 8);
    }

    /// The grammar is that of structured fields: what their own parser refuses says nothing, and from what it reads the
    /// same follows.
    #[test]
    fn sfv_agrees_on_every_list(value in nearly_a_limit()) {
        let mut read = RateLimitFields::new();
        read.read(b"ratelimit", &value, None);
        let got: Vec<_> = read.told(None).iter().map(|limit| (limit.left, limit.reset_in)).collect();
        let list = sfv::Parser::new(&value).parse::<sfv::List>();
        let want = match &list {
            Ok(list) => service_limits(list),
            Err(_) => combined(&value).into_iter().collect(),
        };
        prop_assert_eq!(got, want, "{}", value.escape_ascii());
    }

    #[test]
    fn a_reset_is_never_earlier_than_written(nanos in any::<u64>(), begun in 1_000_000_000..90_000_000_000_u64) {
        let asked = Duration::from_nanos(nanos);
        let reset = |value: String, now| reset_in(value.as_bytes(), now).expect("well-formed");
        let seconds = reset(format!("{}.{:09}", asked.as_secs() % 1_000_000_000, asked.subsec_nanos()), None);
        let asked_seconds = Duration::new(asked.as_secs() % 1_000_000_000, asked.subsec_nanos());
        prop_assert!(seconds >= asked_seconds && seconds < asked_seconds + Duration::from_millis(1));
        prop_assert_eq!(reset(format!("{}s", Decimal(asked)), None), asked);
        let (hours, rest) = (asked.as_secs() / 3600, Duration::new(asked.as_secs() % 3600, asked.subsec_nanos()));
        prop_assert_eq!(reset(format!("{hours}h{}s", Decimal(rest)), None), asked);
        // The same point in time, in each unit.
        let now = UnixTime::from_secs(i64::try_from(begun).expect("in range") - 77);
        for value in [format!("{begun}"), format!("{begun}000"), format!("{begun}000000")] {
            prop_assert_eq!(reset(value, Some(now)), Duration::from_secs(77));
        }
    }
}

/// What is told of the only limit of a response, whose reset is this.
fn reset_in(value: &[u8], now: Option<UnixTime>) -> Option<Duration> {
    let mut read = RateLimitFields::new();
    read.read(b"x-ratelimit-remaining", b"1", now);
    read.read(b"x-ratelimit-reset", value, now);
    read.told(None).iter().next().map(|limit: &Remaining| limit.reset_in)
}

/// Seconds, to the nanosecond.
struct Decimal(Duration);

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.0.as_secs(), self.0.subsec_nanos())
    }
}

/// What follows from a list that sfv has read.
fn service_limits(list: &sfv::List) -> Vec<(u32, Duration)> {
    let mut limits: Vec<(String, u32, Option<Duration>)> = Vec::new();
    for entry in list {
        let sfv::ListEntry::Item(item) = entry else {
            return Vec::new(); // Documented: no field that is read here has inner lists.
        };
        let parameter = |key: &str| {
            let value = item.params.iter().find(|(known, _)| known.as_str() == key).map(|(_, value)| value);
            value.and_then(sfv::BareItem::as_integer).and_then(|number| u64::try_from(i64::from(number)).ok())
        };
        let name = match &item.bare_item {
            sfv::BareItem::String(name) => name.as_str().to_ascii_lowercase(),
            sfv::BareItem::Token(name) => name.as_str().to_ascii_lowercase(),
            _ => continue,
        };
        if let Some(left) = parameter("r") {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            let reset = parameter("t").map(Duration::from_secs);
            match limits.iter_mut().find(|(known, _, _)| *known == name) {
                Some((_, known_left, known_reset)) => {
                    (*known_left, *known_reset) = (left.min(*known_left), reset.max(*known_reset));
                }
                None => limits.push((name, left, reset)),
            }
        }
    }
    limits.into_iter().filter_map(|(_, left, reset)| Some((left, reset?))).collect()
}

/// What follows from the dictionary of an earlier draft.
fn combined(value: &[u8]) -> Option<(u32, Duration)> {
    let dictionary = sfv::Parser::new(value).parse::<sfv::Dictionary>().ok()?;
    let is_item = |entry: &sfv::ListEntry| matches!(entry, sfv::ListEntry::Item(_));
    if !dictionary.values().all(is_item) {
        return None;
    }
    let member = |key: &str| match dictionary.iter().find(|(known, _)| known.as_str() == key)?.1 {
        sfv::ListEntry::Item(item) => u64::try_from(i64::from(item.bare_item.as_integer()?)).ok(),
        sfv::ListEntry::InnerList(_) => None,
    };
    let (left, seconds) = (member("remaining")?, member("reset")?);
    Some((u32::try_from(left).unwrap_or(u32::MAX), Duration::from_secs(seconds)))
}

/// A list or a dictionary of limits, with a few bytes replaced, or cut short. Without partition keys: sfv checks base64.
fn nearly_a_limit() -> impl Strategy<Value = Vec<u8>> {
    let parameter = prop_oneof![
        4 => "; ?[rt]=[0-9]{1,17}",
        1 => ";[a-z*][a-z0-9_.*-]{0,3}",
        1 => ";[a-z]=(-?[0-9]{1,13}\\.[0-9]{1,4}|\"[ a-z\\\\\"]{0,4}\"|[?][01]|@-?[0-9]{1,9}|%\"[a-z]{0,3}\"|[a-z*]{1,3})",
    ];
    let item = ("(\"[a-c]\"|[a-c]|[0-9]{1,3})", prop::collection::vec(parameter, 0..5))
        .prop_map(|(name, parameters)| name + &parameters.concat());
    let list = prop::collection::vec(item, 1..7).prop_map(|items| items.join(", "));
    let dictionary = prop::collection::vec("(limit|remaining|reset)=[0-9]{1,4}(;[a-z]=1)?", 1..5)
        .prop_map(|members| members.join(","));
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b" \t,;=\"\\-.?@%()019rtRT*".to_vec())];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), byte), 0..3);
    let value = prop_oneof![3 => list, 1 => dictionary];
    (value, edits, any::<prop::sample::Index>(), 0..4_u8).prop_map(|(value, edits, end, cut)| {
        let mut bytes = value.into_bytes();
        for (place, byte) in edits {
            let place = place.index(bytes.len());
            bytes[place] = if byte == b':' { b';' } else { byte };
        }
        if cut == 0 {
            bytes.truncate(end.index(bytes.len()));
        }
        bytes
    })
}

/// Names that are read, and others that are like them.
fn nearly_a_name() -> impl Strategy<Value = Vec<u8>> {
    let name = "(x-|X-App-|anthropic-|)(rate-?limit|RateLimit)(-policy|)?(-(remaining|reset|reset-after|reset-ms|limit|bucket))?(-(tokens|requests|day))?";
    prop_oneof![3 => name.prop_map(String::into_bytes), 1 => any_bytes()]
}

/// A field that a cache reads, or something like it.
fn cache_field() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "cache-control",
        "expires",
        "date",
        "age",
        "last-modified",
        "vary",
        "pragma",
        "range",
    ]);
    let word = prop::sample::select(vec![
        "no-store",
        "no-cache",
        "max-age",
        "must-revalidate",
        "max-stale",
        "min-fresh",
        "stale-while-revalidate",
        "stale-if-error",
        "only-if-cached",
        "must-understand",
        "=",
        "=",
        ",",
        ", ",
        "\"",
        "\\",
        "*",
        "-1",
        "0",
        "60",
        "18446744073709551615",
        "99999999999999999999999",
    ]);
    let value = prop_oneof![
        prop::collection::vec(word, 0..8).prop_map(|words| words.concat().into_bytes()),
        nearly_well_formed(),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    (name, value)
}

proptest! {
    /// Whatever a server or a caller writes, there is an answer, and what is forbidden stays forbidden.
    #[test]
    fn a_cache_answers_whatever_it_reads(
        response in prop::collection::vec(cache_field(), 0..6),
        request in prop::collection::vec(cache_field(), 0..6),
        now in prop_oneof![any::<i64>(), 784_000_000..785_000_000_i64],
        (took, since, guess) in (any::<u64>(), any::<u64>(), any::<u64>()),
        status in any::<u16>(),
    ) {
        use steadfast_http::cache::{RequestFields, ResponseFields, Use};
        let now = UnixTime::from_secs(now);
        let mut fields = ResponseFields::new();
        response.iter().for_each(|(name, value)| fields.read(name.as_bytes(), value, now));
        let mut asked = RequestFields::new();
        request.iter().for_each(|(name, value)| asked.read(name.as_bytes(), value));
        let kept = fields.kept(status, now, Duration::from_secs(took), Duration::from_secs(guess));
        let age = kept.age(Duration::from_secs(since));
        prop_assert!(age >= Duration::from_secs(took.max(since)));
        let used = kept.judge(&asked, age);
        let says = |word: &str| {
            let of = |(name, value): &(&str, Vec<u8>)| *name == "cache-control" && value == word.as_bytes();
            response.iter().any(of)
        };
        let understood =
            response.iter().any(|(_, value)| value.to_ascii_lowercase().windows(15).any(|word| word == b"must-understand"));
        prop_assert!(!says("no-store") || understood || !fields.may_be_stored(status));
        if says("no-cache") || asked.wants_validation() {
            prop_assert_eq!(used, Use::Validate);
        }
        if says("must-revalidate") {
            prop_assert!(!matches!(used, Use::Stale | Use::WhileRevalidating));
            prop_assert!(!kept.stands_in(&asked, age, None));
        }
        // What is fresh stays so no longer when it is older.
        if used == Use::Fresh {
            prop_assert!(kept.judge(&asked, kept.age(Duration::ZERO)) != Use::Stale);
        }
    }

    /// What is written is read again as the same second, by us and by `httpdate`, wherever there is a form for it.
    #[test]
    fn a_date_that_is_written_is_the_one_that_is_read(
        seconds in prop_oneof![any::<i64>(), -70_000_000_000..YEAR_10_000 + 1000, 0..YEAR_10_000],
    ) {
        let time = UnixTime::from_secs(seconds);
        match date::format(time) {
            Some(written) => {
                prop_assert_eq!(date::parse(&written, UnixTime::EPOCH), Some(time));
                if let Ok(since_1970) = u64::try_from(seconds) {
                    let theirs = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(since_1970));
                    prop_assert_eq!(theirs.as_bytes(), &written[..]);
                }
            }
            None => prop_assert!(!(-62_167_219_200..YEAR_10_000).contains(&seconds)),
        }
    }
}
