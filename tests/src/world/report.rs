use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use steadfast_core::time::Instant;

use super::tally::{Histogram, second_of};

/// How many seconds there have to be of which all are well, before the first counts as recovered: one may be luck.
const STEADY: usize = 5;

/// What came of a play. Two plays with the same seed, world and fleet have equal reports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The seconds of the play, while calls were begun.
    pub seconds: Vec<Second>,
    /// Calls begun.
    pub calls: u64,
    /// Of those, how many succeeded.
    pub succeeded: u64,
    /// How many ended without success, because a policy said so.
    pub rejected: u64,
    /// How many were given up by their caller, or had not ended long after the play had.
    pub abandoned: u64,
    /// What became of all attempts at the server.
    pub attempts: Attempts,
    /// How many attempts the calls say they made.
    pub attempts_of_calls: u64,
    /// Attempts that arrived while the server was down, from the beginning of the first outage to the end of the last.
    pub attempts_during_outage: u64,
    /// Calls begun in the same time.
    pub calls_during_outage: u64,
    /// Attempts that started before the `Retry-After` of the call's last answer had passed.
    pub early: u64,
    /// Attempts that started before every `Retry-After` that their client had been told had passed, whichever of its
    /// calls was told. A fleet whose pipelines have a rate limit makes none.
    pub early_for_client: u64,
    /// How many calls ended by each policy's word.
    pub refusals: BTreeMap<String, u64>,
    pub(super) latencies: Histogram,
    /// The whole seconds of the outage.
    outage: Option<Range<usize>>,
    /// How many calls the fleet begins in how much time, on average.
    rate: Option<(usize, Duration)>,
}

/// One second of a play.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Second {
    /// Calls begun in this second.
    pub calls: u32,
    /// Of those, how many succeeded, whenever that was.
    pub succeeded: u32,
    /// Attempts that arrived at the server: its load.
    pub attempts: u32,
    /// Of those, how many the server served when nobody listened any more.
    pub wasted: u32,
    /// Successful answers that reached their caller in this second: the goodput.
    pub good: u32,
}

/// What became of attempts at the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attempts {
    /// Served, and the caller had it.
    pub served: u64,
    /// Served, and the caller had given up on it.
    pub wasted: u64,
    /// Served, and the answer was an error.
    pub failed: u64,
    /// Refused, as the server was down.
    pub refused: u64,
    /// Turned away by a full queue.
    pub turned_away: u64,
    /// Answered with 429.
    pub throttled: u64,
    /// Swallowed by an outage: never answered, or cut off.
    pub lost: u64,
}

impl Attempts {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { served, wasted, failed, refused, turned_away, throttled, lost } = self;
        served + wasted + failed + refused + turned_away + throttled + lost
    }
}

impl Second {
    /// How many percent of the calls begun in this second succeeded; `None` if there were none.
    pub fn success_percent(&self) -> Option<f64> {
        (self.calls > 0).then(|| 100.0 * f64::from(self.succeeded) / f64::from(self.calls))
    }
}

impl Report {
    /// One of which nothing has happened yet: so many seconds, from when to when the server is down, and how many calls
    /// are begun in how much time.
    pub(super) fn blank(seconds: usize, outage: Option<(Instant, Instant)>, rate: Option<(usize, Duration)>) -> Self {
        Self {
            seconds: vec![Second::default(); seconds],
            calls: 0,
            succeeded: 0,
            rejected: 0,
            abandoned: 0,
            attempts: Attempts::default(),
            attempts_of_calls: 0,
            attempts_during_outage: 0,
            calls_during_outage: 0,
            early: 0,
            early_for_client: 0,
            refusals: BTreeMap::new(),
            latencies: Histogram::new(),
            outage: outage.map(|(from, until)| second_of(from)..second_of(until)),
            rate,
        }
    }

    /// How many calls are begun in a second: the load if every call is one attempt.
    pub fn normal_load(&self) -> Option<f64> {
        self.rate.map(|(clients, period)| clients as f64 / period.as_secs_f64())
    }

    /// How many percent more attempts than calls there were while the server was down; less than zero if fewer. `None`
    /// if there were no calls then.
    pub fn extra_load_percent(&self) -> Option<f64> {
        let calls = self.calls_during_outage;
        (calls > 0).then(|| 100.0 * (self.attempts_during_outage as f64 / calls as f64 - 1.0))
    }

    /// What exceeds the normal load while the server is down, second by second, as percent of the normal load of that
    /// time: here, a quiet second does not make up for a loud one. `None` without an outage.
    pub fn excess_load_percent(&self) -> Option<f64> {
        let (normal, seconds) = (self.normal_load()?, self.seconds.get(self.outage.clone()?)?);
        let excess: f64 = seconds.iter().map(|second| (f64::from(second.attempts) - normal).max(0.0)).sum();
        (!seconds.is_empty()).then(|| 100.0 * excess / (normal * seconds.len() as f64))
    }

    /// The fullest second of the outage, as a multiple of the normal load. `None` without an outage.
    pub fn peak_in_outage(&self) -> Option<f64> {
        self.peak(self.outage.clone()?)
    }

    /// The fullest second after the outage, as a multiple of the normal load. `None` without an outage.
    pub fn peak_in_recovery(&self) -> Option<f64> {
        self.peak(self.outage.clone()?.end..self.seconds.len())
    }

    fn peak(&self, of: Range<usize>) -> Option<f64> {
        let fullest = self.seconds.get(of)?.iter().map(|second| second.attempts).max()?;
        Some(f64::from(fullest) / self.normal_load()?)
    }

    /// How long after the outage all is well again: from the beginning of the first second in which 99 % of calls
    /// succeed and the load is at most 1.1 times the normal one, if that stays so for as long as the play lasts, and
    /// that is five seconds at least. `None` if that never comes, or there was no outage.
    ///
    /// A server that has come back and breaks down again under its queue has not recovered. In a fleet that calls at
    /// random times, make the play short or the fleet large: chance alone may exceed 1.1 some time.
    pub fn time_to_recover(&self) -> Option<Duration> {
        let normal = self.normal_load()?;
        let after = self.seconds.get(self.outage.as_ref()?.end..)?;
        let is_well = |second: &Second| {
            second.success_percent().is_none_or(|percent| percent >= 99.0) && f64::from(second.attempts) <= 1.1 * normal
        };
        let first = after.iter().rposition(|second| !is_well(second)).map_or(0, |last_bad| last_bad + 1);
        (after.len() - first >= STEADY).then(|| Duration::from_secs(first as u64))
    }

    /// The time within which so many percent of the successful calls had their answer: at most 3 % too long. `None` if
    /// none succeeded.
    pub fn latency(&self, percent: u8) -> Option<Duration> {
        self.latencies.percentile(percent)
    }

    /// How long a successful call took on average. `None` if none succeeded.
    pub fn mean_latency(&self) -> Option<Duration> {
        self.latencies.mean()
    }
}
