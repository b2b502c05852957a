//! What can be set on the command line, and which values make sense.

use std::ffi::OsString;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use reqwest::Url;

/// Requests per second that the local server admits.
pub(crate) const SERVER_RATE: u32 = 100;

/// Longer than this the calls alone must not take at the given rate, so that the whole run ends within 30 s.
const MOST_SECONDS: u32 = 12;

/// Makes the same calls twice, with a bare HTTP client and with steadfast, and compares what became of them.
/// They go to a local server that fails on purpose: some requests get a 503, some a connection reset, half a
/// body or no answer at all, and what exceeds 100 per second gets a 429.
#[derive(Debug, Parser)]
#[command(name = "quickstart", verbatim_doc_comment)]
pub(crate) struct Settings {
    /// Call this http:// address instead of the local server.
    #[arg(long, value_name = "URL", value_parser = http_url)]
    pub(crate) url: Option<Url>,

    /// Make this many calls on each side (1 to 10000).
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = whole_number(1_u32..=10_000), allow_negative_numbers = true)]
    pub(crate) calls: u32,

    /// Have this many calls under way at a time (1 to 256).
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = whole_number(1_usize..=256), allow_negative_numbers = true)]
    pub(crate) concurrency: usize,

    /// Let steadfast send this many requests per second (1 to 10000); the local server admits 100.
    #[arg(long, value_name = "N", default_value_t = SERVER_RATE, value_parser = whole_number(1_u32..=10_000), allow_negative_numbers = true)]
    pub(crate) rate: u32,

    /// Draw the faults and the jitter from this seed, to repeat a run [default: a new one each time].
    #[arg(long, value_name = "N", default_value_t = new_seed(), hide_default_value = true, value_parser = whole_number(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: u64,
}

/// Why the program ends before it starts: `--help`, or a value that makes no sense.
#[derive(Debug)]
pub(crate) struct Refusal(clap::Error);

impl Settings {
    /// Reads the arguments, of which the first is the program's name.
    pub(crate) fn from_args(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, Refusal> {
        let settings = Self::try_parse_from(args).map_err(Refusal)?;
        settings
            .check_duration()
            .map_err(|message| Refusal(Self::command().error(ErrorKind::ValueValidation, message)))?;
        Ok(settings)
    }

    fn check_duration(&self) -> Result<(), String> {
        let Self { calls, rate, .. } = *self;
        let (pace, whose) = match self.url {
            None if rate > SERVER_RATE => (SERVER_RATE, "which the local server admits"),
            _ => (rate, "set by --rate"),
        };
        let most = pace * MOST_SECONDS;
        if calls <= most {
            return Ok(());
        }
        let seconds = calls.div_ceil(pace);
        Err(format!(
            "--calls {calls} takes {seconds} s at {pace} per second ({whose}); expected at most {MOST_SECONDS} s, that is {most} calls"
        ))
    }
}

impl Refusal {
    /// Says why, on the stream where it belongs.
    pub(crate) fn print(&self) -> ExitCode {
        if self.0.use_stderr() {
            eprintln!("{}", self.one_line());
            return ExitCode::from(2);
        }
        // Nobody reads help that cannot be printed.
        let _ = self.0.print();
        ExitCode::SUCCESS
    }

    /// The message, without the tips and the usage that follow it.
    fn one_line(&self) -> String {
        let text = self.0.to_string();
        let message = text.split("\n\n").next().unwrap_or_default();
        message.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn whole_number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let expected = || format!("expected a whole number from {} to {}", range.start(), range.end());
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(expected)
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    let expected = "expected an address like http://127.0.0.1:8080/path";
    let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
    match url.scheme() {
        "http" => Ok(url),
        "https" => Err(format!("{expected}: this example is built without TLS")),
        _ => Err(expected.to_owned()),
    }
}

/// Short enough to be typed again.
fn new_seed() -> u64 {
    RandomState::new().hash_one(0) % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::Settings;

    fn parse(args: &str) -> Result<Settings, String> {
        let args = std::iter::once("quickstart").chain(args.split_whitespace());
        Settings::from_args(args).map_err(|refusal| refusal.one_line())
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let settings = parse("").expect("defaults that make sense");
        assert_eq!((settings.calls, settings.concurrency, settings.rate), (400, 32, 100));
        assert_eq!(settings.url, None);
    }

    #[test]
    fn values_at_the_ends_of_their_range_are_taken() {
        for args in [
            "--calls 1 --concurrency 1 --rate 1 --seed 0",
            "--calls 1200 --concurrency 256 --rate 10000 --seed 18446744073709551615",
            "--calls 10000 --rate 10000 --url http://127.0.0.1:1",
            "--calls 12 --rate 1",
        ] {
            parse(args).expect(args);
        }
    }

    #[test]
    fn wrong_values_get_one_line_that_names_argument_value_and_range() {
        let url = "for '--url <URL>': expected an address like http://127.0.0.1:8080/path";
        let seed = "for '--seed <N>': expected a whole number from 0 to 18446744073709551615";
        for (args, want) in [
            ("--calls 0", "invalid value '0' for '--calls <N>': expected a whole number from 1 to 10000"),
            ("--calls 10001", "invalid value '10001' for '--calls <N>': expected a whole number from 1 to 10000"),
            ("--calls -5", "invalid value '-5' for '--calls <N>': expected a whole number from 1 to 10000"),
            ("--calls 1.5", "invalid value '1.5' for '--calls <N>': expected a whole number from 1 to 10000"),
            ("--calls=", "invalid value '' for '--calls <N>': expected a whole number from 1 to 10000"),
            ("--concurrency 257", "invalid value '257' for '--concurrency <N>': expected a whole number from 1 to 256"),
            ("--rate many", "invalid value 'many' for '--rate <N>': expected a whole number from 1 to 10000"),
            ("--seed -1", &format!("invalid value '-1' {seed}")),
            ("--seed 18446744073709551616", &format!("invalid value '18446744073709551616' {seed}")),
            ("--url nowhere", &format!("invalid value 'nowhere' {url}: relative URL without a base")),
            ("--url http://", &format!("invalid value 'http://' {url}: empty host")),
            (
                "--url https://[::1]/",
                &format!("invalid value 'https://[::1]/' {url}: this example is built without TLS"),
            ),
            ("--url file:///etc", &format!("invalid value 'file:///etc' {url}")),
            ("--speed 9", "unexpected argument '--speed' found"),
            ("9", "unexpected argument '9' found"),
            (
                "--calls 400 --rate 10",
                "--calls 400 takes 40 s at 10 per second (set by --rate); expected at most 12 s, that is 120 calls",
            ),
            (
                "--calls 1201 --rate 200",
                "--calls 1201 takes 13 s at 100 per second (which the local server admits); \
                 expected at most 12 s, that is 1200 calls",
            ),
        ] {
            assert_eq!(parse(args).expect_err(args), format!("error: {want}"));
        }
    }
}
