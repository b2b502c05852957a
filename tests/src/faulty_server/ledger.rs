//! What the server decides about each request, and what it remembers of it. No I/O, and told the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::settings::{Fault, Settings};
use crate::peak::PeakPerSecond;

/// What a 429 asks the client to wait.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a [`FaultyServer`](super::FaultyServer) saw and did so far.
///
/// A request is seen once it has arrived whole; `requests` is the sum of the seven kinds of answer that follow it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Requests seen.
    pub requests: u64,
    /// Answered 200, in full.
    pub answered: u64,
    /// Answered 4xx because the request itself is wrong. Neither the rate limit nor the faults apply to these.
    pub client_errors: u64,
    /// Answered 429 with `Retry-After: 1`.
    pub rejected: u64,
    /// Answered 503.
    pub unavailable: u64,
    /// Connection reset instead of an answer.
    pub reset: u64,
    /// Answered with half a body.
    pub cut_short: u64,
    /// Not answered.
    pub stalled: u64,
    /// The most requests seen within any one second.
    pub peak_per_second: usize,
    /// The most requests within any one second that the rate limit let through.
    pub admitted_peak_per_second: usize,
    /// Requests for a path that came before the `Retry-After` last given for that path had passed.
    ///
    /// Measured on the server's clock, without tolerance, from just before the 429 is written: who waits as long as
    /// asked is never counted here.
    pub early_retries: u64,
    /// Connections open now.
    pub open_connections: usize,
    /// How many requests each path got, those answered 429 included.
    pub requests_by_path: BTreeMap<String, u64>,
}

/// How a request is met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    InFull,
    Rejected,
    Fails(Fault),
}

/// Everything the server knows.
#[derive(Debug)]
pub(super) struct Ledger {
    settings: Settings,
    bucket: Bucket,
    seen: PeakPerSecond,
    admitted: PeakPerSecond,
    /// As many as the catalogue has paths, at most.
    paths: BTreeMap<String, PathRecord>,
    report: Report,
}

#[derive(Debug, Default)]
struct PathRecord {
    requests: u64,
    admitted: u64,
    failures_in_a_row: u32,
    retry_at: Option<Instant>,
}

impl Ledger {
    pub(super) fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            bucket: Bucket { tokens: f64::from(settings.burst), filled_at: now },
            seen: PeakPerSecond::default(),
            admitted: PeakPerSecond::default(),
            paths: BTreeMap::new(),
            report: Report::default(),
        }
    }

    pub(super) fn change(&mut self, settings: Settings, now: Instant) {
        self.settings = settings;
        self.bucket = Bucket { tokens: f64::from(settings.burst), filled_at: now };
    }

    /// Notes a request that is wrong in itself.
    pub(super) fn turn_away(&mut self, now: Instant) {
        self.see(now);
        self.report.client_errors += 1;
    }

    /// Decides how to meet a request for `path`.
    pub(super) fn receive(&mut self, now: Instant, path: &str) -> Answer {
        self.see(now);
        let answer = self.decide(now, path);
        let count = match answer {
            Answer::InFull => &mut self.report.answered,
            Answer::Rejected => &mut self.report.rejected,
            Answer::Fails(Fault::Unavailable) => &mut self.report.unavailable,
            Answer::Fails(Fault::Reset) => &mut self.report.reset,
            Answer::Fails(Fault::CutShort) => &mut self.report.cut_short,
            Answer::Fails(Fault::Stall) => &mut self.report.stalled,
        };
        *count += 1;
        answer
    }

    fn see(&mut self, now: Instant) {
        self.report.requests += 1;
        self.seen.record(now);
    }

    fn decide(&mut self, now: Instant, path: &str) -> Answer {
        let record = self.paths.entry(path.to_owned()).or_default();
        record.requests += 1;
        if record.retry_at.is_some_and(|retry_at| now < retry_at) {
            self.report.early_retries += 1;
        }
        if !self.bucket.take(now, &self.settings) {
            record.retry_at = Some(now + RETRY_AFTER);
            return Answer::Rejected;
        }
        self.admitted.record(now);

        // Only admitted requests draw: which ones meet a 429 depends on the order of arrival, and the faults must not.
        let roll = roll(self.settings.seed, path, record.admitted);
        record.admitted += 1;
        let may_fail = record.failures_in_a_row < self.settings.most_failures_in_a_row;
        match self.settings.faults.pick(roll).filter(|_| may_fail) {
            Some(fault) => {
                record.failures_in_a_row += 1;
                Answer::Fails(fault)
            }
            None => {
                record.failures_in_a_row = 0;
                Answer::InFull
            }
        }
    }

    pub(super) fn connection_opened(&mut self) {
        self.report.open_connections += 1;
    }

    pub(super) fn connection_closed(&mut self) {
        self.report.open_connections -= 1;
    }

    pub(super) fn report(&self) -> Report {
        Report {
            peak_per_second: self.seen.peak(),
            admitted_peak_per_second: self.admitted.peak(),
            requests_by_path: self.paths.iter().map(|(path, record)| (path.clone(), record.requests)).collect(),
            ..self.report.clone()
        }
    }
}

/// The server's own rate limit: the plainest token bucket there is, sharing no code with the library that it judges.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, settings: &Settings) -> bool {
        let refill = now.duration_since(self.filled_at).as_secs_f64() * f64::from(settings.requests_per_second);
        self.tokens = (self.tokens + refill).min(f64::from(settings.burst));
        self.filled_at = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

/// A number from 0 to 99 that depends on these three things alone.
fn roll(seed: u64, path: &str, turn: u64) -> u64 {
    // FNV-1a over all bytes, then the finalizer of SplitMix64 (Steele et al. 2014), without which neighbouring paths
    // would meet the same faults. The hasher of std may change with a release of Rust, and old seeds with it.
    let bytes = seed.to_le_bytes().into_iter().chain(path.bytes()).chain(turn.to_le_bytes());
    let mut hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)) % 100
}

#[cfg(test)]
mod tests;
