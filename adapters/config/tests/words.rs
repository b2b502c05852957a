//! Durations, rates and the other words: what they mean, and that their patterns say so.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::string::string_regex;
use regex::Regex;
use steadfast_config::{JitterConfig, Rate, Time, WindowConfig};
use steadfast_core::rate_limit::Quota;

/// Whatever fits the pattern is read. Of two texts that differ little, one fits and one may not.
fn fits<T: FromStr<Err: Debug>>(pattern: &str) {
    let inner = pattern.strip_prefix('^').and_then(|inner| inner.strip_suffix('$')).expect("it is of the whole text");
    proptest!(|(text in string_regex(inner).expect("a pattern"))| {
        prop_assert!(text.parse::<T>().is_ok(), "{text}");
    });
}

/// What is read fits the pattern, and what does not fit is not read.
fn fits_exactly<T: FromStr<Err: Debug>>(pattern: &str) {
    fits::<T>(pattern);
    let regex = Regex::new(pattern).expect("a pattern");
    proptest!(|(text in "[0-9dhmsinuequalfroc% -]{0,12}")| {
        prop_assert_eq!(regex.is_match(&text), text.parse::<T>().is_ok(), "{}", text);
    });
}

#[test]
fn the_patterns_of_times_jitter_and_windows_fit_exactly_what_is_read() {
    fits_exactly::<Time>(Time::PATTERN);
    fits_exactly::<JitterConfig>(JitterConfig::PATTERN);
    fits::<WindowConfig>(WindowConfig::CALLS_PATTERN);
    fits_exactly::<WindowConfig>(&format!("^({}|{})$", bare(Time::PATTERN), bare(WindowConfig::CALLS_PATTERN)));
}

fn bare(pattern: &str) -> &str {
    pattern.trim_start_matches('^').trim_end_matches('$')
}

#[test]
fn what_fits_the_pattern_of_rates_is_read() {
    fits::<Rate>(Rate::PATTERN);
}

fn comes_back<T: FromStr<Err: Debug> + Display + Debug + PartialEq>(value: &T) -> Result<(), TestCaseError> {
    prop_assert_eq!(&value.to_string().parse::<T>().expect("what is printed is read"), value);
    Ok(())
}

proptest! {
    #[test]
    fn a_time_comes_back_as_it_was_and_fits_its_pattern(secs in 0..86_399_999_913_600_u64, nanos in 0..1_000_000_000_u32) {
        let time = Time::new(Duration::new(secs, nanos));
        comes_back(&time)?;
        prop_assert!(Regex::new(Time::PATTERN).expect("a pattern").is_match(&time.to_string()));
    }

    /// Of any quota; those with periods that somebody would write fit the pattern too.
    #[test]
    fn a_rate_comes_back_as_it_was(
        tokens in 1..1_000_000_u32,
        burst in 1..u32::MAX,
        nanos in 1_000_000..u64::MAX,
        millis in 1..1_000_000_u64,
    ) {
        for period in [Duration::from_nanos(nanos), Duration::from_millis(millis)] {
            let quota = Quota::new(tokens, period).and_then(|quota| quota.with_burst(burst)).expect("a quota");
            comes_back(&Rate::new(quota))?;
        }
        let quota = Quota::new(tokens, Duration::from_millis(millis)).expect("a quota");
        let text = Rate::new(quota).to_string();
        prop_assert!(Regex::new(Rate::PATTERN).expect("a pattern").is_match(&text), "{}", text);
    }

    /// However hostile: an answer, and no crash.
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}", digits in "[0-9]{1,40}", unit in "(d|s|ns|)") {
        for text in [&text, &format!("{digits}{unit}"), &format!("{digits}/{digits}{unit} burst {digits}")] {
            let _ = (text.parse::<Time>(), text.parse::<Rate>(), text.parse::<JitterConfig>(), text.parse::<WindowConfig>());
        }
    }
}

#[test]
fn times() {
    for (text, want) in [
        ("250ms", Some(Duration::from_millis(250))),
        ("1m30s", Some(Duration::from_secs(90))),
        ("1min 30s", Some(Duration::from_secs(90))),
        ("1d2h3m4s5ms6us7ns", Some(Duration::new(93_784, 5_006_007))),
        ("30s 30s", Some(Duration::from_secs(60))),
        ("0s", Some(Duration::ZERO)),
        ("999999999d", Some(Duration::from_secs(999_999_999 * 86_400))),
        ("999999999d 1s", Some(Duration::from_secs(999_999_999 * 86_400))), // Cut to what can be printed.
        ("1000000000s", None),
        ("1s 1s 1s 1s 1s 1s 1s 1s", None),
        ("30", None),
        ("s", None),
        ("", None),
        (" 30s", None),
        ("30s ", None),
        ("30 s", None),
        ("1.5s", None),
        ("-1s", None),
        ("+1s", None),
        ("30S", None),
        ("1month", None),
        ("٣s", None),
        ("1s…", None),
    ] {
        assert_eq!(text.parse::<Time>().map(Time::get).ok(), want, "{text}");
    }
    for (nanos, want) in [(0, "0s"), (250_000_000, "250ms"), (90_000_000_000, "1m30s"), (86_400_000_000_001, "1d1ns")] {
        assert_eq!(Time::new(Duration::from_nanos(nanos)).to_string(), want);
    }
    assert_eq!(Time::new(Duration::MAX).to_string(), "999999999d");
}

#[test]
fn rates() {
    let secs = Duration::from_secs;
    for (text, want) in [
        ("100/s", Some((100, secs(1), 1, "100/s"))),
        ("90000/min burst 2000", Some((90_000, secs(60), 2_000, "90000/m burst 2000"))),
        ("10/s burst 20", Some((10, secs(1), 20, "10/s burst 20"))),
        ("1/d", Some((1, secs(86_400), 1, "1/d"))),
        ("7/333ms", Some((7, Duration::from_millis(333), 1, "7/333ms"))),
        ("100/1m30s", Some((100, secs(90), 1, "100/90s"))),
        ("1000000000/s", Some((1_000_000_000, secs(1), 1, "1000000000/s"))),
        ("1000000001/s", None),
        ("0/s", None),
        ("1/0s", None),
        ("1/s burst 0", None),
        ("1/s burst", None),
        ("1/s  burst 2", None),
        ("1 /s", None),
        ("+1/s", None),
        ("1/s burst +2", None),
        ("100", None),
        ("/s", None),
        ("100/", None),
        ("5000000000/d", None),
    ] {
        let rate = text.parse::<Rate>().ok();
        let read =
            rate.map(|rate| (rate.quota().tokens(), rate.quota().period(), rate.quota().burst(), rate.to_string()));
        let want = want.map(|(tokens, period, burst, printed)| (tokens, period, burst, printed.to_owned()));
        assert_eq!(read, want, "{text}");
    }
    let error = "0/s".parse::<Rate>().unwrap_err().to_string();
    assert_eq!(error, "tokens is 0, which is not at least 1");
}
