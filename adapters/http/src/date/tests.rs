extern crate std;

use std::format;
use std::string::String;

use super::{UnixTime, parse};

/// The first second of 2026.
const NOW: UnixTime = UnixTime::from_secs(1_767_225_600);

fn check(table: &[(&str, Option<i64>)]) {
    for (value, want) in table {
        let got = parse(value.as_bytes(), NOW);
        assert_eq!(got, want.map(UnixTime::from_secs), "{value:?}");
    }
}

#[test]
fn three_forms_of_one_second() {
    check(&[
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
        ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
        ("Sun Nov 06 08:49:37 1994", Some(784_111_777)),
        ("\t Sun, 06 Nov 1994 08:49:37 GMT \t", Some(784_111_777)),
    ]);
}

#[test]
fn every_month_and_day_by_name() {
    check(&[
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Sun, 01 Feb 1970 00:00:00 GMT", Some(31 * 86_400)),
        ("Sun, 01 Mar 1970 00:00:00 GMT", Some(59 * 86_400)),
        ("Wed, 01 Apr 1970 00:00:00 GMT", Some(90 * 86_400)),
        ("Fri, 01 May 1970 00:00:00 GMT", Some(120 * 86_400)),
        ("Mon, 01 Jun 1970 00:00:00 GMT", Some(151 * 86_400)),
        ("Wed, 01 Jul 1970 00:00:00 GMT", Some(181 * 86_400)),
        ("Sat, 01 Aug 1970 00:00:00 GMT", Some(212 * 86_400)),
        ("Tue, 01 Sep 1970 00:00:00 GMT", Some(243 * 86_400)),
        ("Thu, 01 Oct 1970 00:00:00 GMT", Some(273 * 86_400)),
        ("Sun, 01 Nov 1970 00:00:00 GMT", Some(304 * 86_400)),
        ("Tue, 01 Dec 1970 00:00:00 GMT", Some(334 * 86_400)),
    ]);
    for day in "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(' ') {
        check(&[(&format!("{day}, 06-Nov-94 08:49:37 GMT"), Some(784_111_777))]);
    }
}

#[test]
fn the_ends_of_each_range() {
    check(&[
        ("Sat, 01 Jan 0000 00:00:00 GMT", Some(-62_167_219_200)),
        ("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
        ("Fri, 00 Jan 2021 00:00:00 GMT", None),
        ("Sun, 31 Jan 2021 00:00:00 GMT", Some(1_612_051_200)),
        ("Sun, 32 Jan 2021 00:00:00 GMT", None),
        ("Fri, 30 Apr 2021 00:00:00 GMT", Some(1_619_740_800)),
        ("Sat, 31 Apr 2021 00:00:00 GMT", None),
        ("Sun Apr 31 00:00:00 2021", None),
        ("Saturday, 31-Apr-21 00:00:00 GMT", None),
        ("Tue, 28 Feb 2023 00:00:00 GMT", Some(1_677_542_400)),
        ("Wed, 29 Feb 2023 00:00:00 GMT", None),
        ("Thu, 29 Feb 2024 00:00:00 GMT", Some(1_709_164_800)),
        ("Fri, 30 Feb 2024 00:00:00 GMT", None),
        ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
        ("Thu, 29 Feb 1900 00:00:00 GMT", None),
        ("Thu, 01 Jan 1970 23:00:00 GMT", Some(82_800)),
        ("Thu, 01 Jan 1970 24:00:00 GMT", None),
        ("Thu, 01 Jan 1970 00:59:00 GMT", Some(3_540)),
        ("Thu, 01 Jan 1970 00:60:00 GMT", None),
        ("Thu, 01 Jan 1970 00:00:59 GMT", Some(59)),
        ("Thu, 01 Jan 1970 00:00:61 GMT", None),
    ]);
}

#[test]
fn a_leap_second_is_the_first_of_the_next_minute() {
    check(&[
        ("Sat, 31 Dec 2016 23:59:60 GMT", Some(1_483_228_800)),
        ("Sun, 01 Jan 2017 00:00:00 GMT", Some(1_483_228_800)),
    ]);
}

#[test]
fn the_wrong_day_of_the_week_is_overlooked() {
    check(&[
        ("Mon, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
        ("Monday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
        ("Mon Nov  6 08:49:37 1994", Some(784_111_777)),
    ]);
}

#[test]
fn what_the_grammar_lacks_is_refused() {
    for value in [
        "",
        "784111777",
        "1994-11-06T08:49:37Z",
        "06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT+1",
        "Sun, 06 Nov 1994 08:49:3a GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 NOV 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT ago",
        "Sunday, 06-Nov-9x 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  0 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov  6 24:49:37 1994",
        "Sun, \u{661}\u{661} Nov 1994 08:49:37 GMT",
    ] {
        check(&[(value, None)]);
    }
}

/// At `now`, the date `written` with two digits is in the year `want`.
fn check_century(table: &[(&str, &str, Option<u32>)]) {
    let read = |value: String, now| parse(value.as_bytes(), now);
    for (now, written, want) in table {
        let now = read(format!("Mon, {now} GMT"), NOW).expect("a date");
        let got = read(format!("Monday, {written} GMT"), now);
        let (day, time) = (written[..6].replace('-', " "), &written[10..]);
        let want = want.map(|year| read(format!("Mon, {day} {year:04} {time} GMT"), NOW).expect("a date"));
        assert_eq!(got, want, "{written} at {now:?}");
    }
}

#[test]
fn two_digits_are_the_latest_year_within_50_years_of_now() {
    check_century(&[
        ("01 Jan 2026 00:00:00", "01-Jan-76 00:00:00", Some(2076)),
        ("01 Jan 2026 00:00:00", "01-Jan-76 00:00:01", Some(1976)),
        ("01 Jan 2026 00:00:00", "31-Dec-99 23:59:59", Some(1999)),
        ("01 Jan 2026 00:00:00", "29-Feb-00 00:00:00", Some(2000)),
        // 13 leap days instead of 12: 50 years are not a number of seconds.
        ("01 Jan 2028 00:00:00", "01-Jan-78 00:00:00", Some(2078)),
        ("01 Jan 2028 00:00:00", "01-Jan-78 00:00:01", Some(1978)),
        // Near the end of a century, the next one comes into sight.
        ("01 Jan 2075 00:00:00", "01-Jan-20 00:00:00", Some(2120)),
        // 50 years before a leap day there was none; the day after it stands in.
        ("01 Mar 2026 00:00:00", "29-Feb-76 00:00:00", Some(2076)),
        ("28 Feb 2026 23:59:59", "29-Feb-76 00:00:00", Some(1976)),
        ("01 Mar 2055 00:00:00", "29-Feb-00 00:00:00", None),
        // Beyond what four digits can write there is no later century, and before it no earlier one.
        ("31 Dec 9999 23:59:59", "31-Dec-99 23:59:59", Some(9999)),
        ("31 Dec 9999 23:59:59", "01-Jan-00 00:00:00", Some(9900)),
        ("01 Jan 0049 00:00:00", "01-Jan-99 00:00:00", Some(99)),
        ("01 Jan 0049 00:00:00", "01-Jan-99 00:00:01", None),
    ]);
}

#[test]
fn a_clock_gone_mad_still_gets_an_answer() {
    let value = b"Sunday, 06-Nov-94 08:49:37 GMT";
    assert_eq!(parse(value, UnixTime::from_secs(i64::MIN)), None);
    let in_9994 = parse(b"Sun, 06 Nov 9994 08:49:37 GMT", NOW);
    assert_eq!(parse(value, UnixTime::from_secs(i64::MAX)), in_9994);
}
