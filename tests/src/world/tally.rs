use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use steadfast_core::rejected::Rejected;
use steadfast_core::time::Instant;

/// How often each latency was seen, in fixed memory: exact below 64 ns, and from there within one part in 32, as 32
/// equal steps lie between each power of two and the next (G. Tene's `HdrHistogram`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
}

/// Steps from one power of two to the next, and their number of bits.
const STEPS: u64 = 32;
const STEP_BITS: u32 = 5;

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0, sum: 0 }
    }

    pub(super) fn note(&mut self, latency: Duration) {
        // No two instants lie further apart than this.
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.sum += u128::from(nanos);
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        let mean = self.sum.checked_div(u128::from(self.total))?;
        u64::try_from(mean).ok().map(Duration::from_nanos)
    }

    /// By nearest rank, and never less than the true value.
    pub(super) fn percentile(&self, percent: u8) -> Option<Duration> {
        let rank = (self.total * u64::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen >= rank
        };
        self.counts.iter().position(reached).map(|bucket| Duration::from_nanos(longest(bucket)))
    }
}

/// Which bucket a number of nanoseconds falls into.
fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let bucket = u64::from(shift) * STEPS + (nanos >> shift);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The largest number of nanoseconds that falls into a bucket.
fn longest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    // The last bucket ends with the last number.
    u64::try_from((u128::from(bucket - shift * STEPS + 1) << shift) - 1).unwrap_or(u64::MAX)
}

/// How often each kind of refusal was given, with one of each for its words.
///
/// Kinds are told apart as the core tells them apart, so one that the core adds is counted without a change here.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(Discriminant<Rejected>, Rejected, u64)>);

impl Refusals {
    pub(super) fn note(&mut self, rejected: Rejected) {
        let kind = discriminant(&rejected);
        match self.0.iter_mut().find(|(known, _, _)| *known == kind) {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((kind, rejected, 1)),
        }
    }

    /// By the policy that refused, which is how a refusal's sentence begins.
    pub(super) fn by_policy(&self) -> impl Iterator<Item = (String, u64)> {
        self.0.iter().map(|(_, rejected, count)| {
            let sentence = rejected.to_string();
            let policy = sentence.split_once(':').map_or("the caller", |(policy, _)| policy);
            (policy.to_owned(), *count)
        })
    }
}

/// Which second of the play it is.
pub(super) fn second_of(now: Instant) -> usize {
    usize::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_in_its_bucket_and_buckets_follow_each_other() {
        for nanos in (0..3_000).chain((0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit])).chain([u64::MAX]) {
            let bucket = bucket(nanos);
            let shortest = bucket.checked_sub(1).map_or(0, |before| longest(before) + 1);
            assert!(shortest <= nanos && nanos <= longest(bucket), "{nanos}: {shortest} to {}", longest(bucket));
            assert!((longest(bucket) - shortest) <= nanos / STEPS, "{nanos} is told too roughly");
        }
    }

    #[test]
    fn percentiles_and_mean_of_what_was_noted() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.percentile(50), histogram.mean()), (None, None));
        (1..=50).for_each(|nanos| histogram.note(Duration::from_nanos(nanos)));
        for (percent, want) in [(0, 1), (1, 1), (2, 1), (3, 2), (50, 25), (99, 50), (100, 50), (255, 50)] {
            assert_eq!(histogram.percentile(percent), Some(Duration::from_nanos(want)), "{percent} %");
        }
        assert_eq!(histogram.mean(), Some(Duration::from_nanos(25)));
        histogram.note(Duration::MAX);
        assert_eq!(histogram.percentile(100), Some(Duration::from_nanos(u64::MAX)));
    }
}
