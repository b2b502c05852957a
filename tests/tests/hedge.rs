//! Hedging: what it has learned, against latencies that are sorted and counted.

use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::hedge::Hedge;
use steadfast_core::outcome::Idempotency;

use crate::support::{config, millis, ns};

/// Latencies from a millisecond to a minute, as a mixture of what is usual and a tail.
fn latencies(most: usize) -> impl Strategy<Value = Vec<Duration>> {
    let one = prop_oneof![
        8 => 1_100_000..200_000_000_u64,
        2 => 100_000_000..5_000_000_000_u64,
        1 => 1_100_000..60_000_000_000_u64,
    ];
    prop::collection::vec(one.prop_map(Duration::from_nanos), 100..most)
}

fn learned(percentile: u32, latencies: &[Duration]) -> Duration {
    let builder = Hedge::builder().percentile(percentile).min_delay(Duration::from_nanos(1)).max_delay(Duration::MAX);
    let mut hedge = builder.build().expect("settings that can be");
    latencies.iter().for_each(|latency| hedge.record(*latency));
    hedge.delay()
}

/// The nearest-rank percentile: the least latency that so many percent do not exceed.
fn exact(percentile: usize, latencies: &[Duration]) -> Duration {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percentile).div_ceil(100) - 1]
}

proptest! {
    #![proptest_config(config(50))]

    /// While nothing was halved yet, the only error is the width of a box.
    #[test]
    fn a_percentile_is_never_early_and_late_by_a_quarter_at_most(
        percentile in 50..=99_u32, latencies in latencies(1_023),
    ) {
        let (want, got) = (exact(percentile as usize, &latencies), learned(percentile, &latencies));
        prop_assert!(got > want && got <= want * 5 / 4, "{got:?} for {want:?}");
    }

    /// However long it runs: the answer is that of the latencies weighted by half for each time they were halved, give or
    /// take one latency of those remembered for each halving that still shows, two in all.
    #[test]
    fn halving_moves_a_percentile_by_two_latencies_at_most(percentile in 50..=95_u32, latencies in latencies(6_000)) {
        let mut weighted: Vec<(Duration, f64)> = Vec::new();
        let mut counted = 0_usize;
        for latency in &latencies {
            weighted.push((*latency, 1.0));
            counted += 1;
            if counted == 1_024 {
                counted /= 2;
                weighted.iter_mut().for_each(|(_, weight)| *weight /= 2.0);
            }
        }
        weighted.sort_by_key(|(latency, _)| *latency);
        let total: f64 = weighted.iter().map(|(_, weight)| weight).sum();
        let at_rank = |rank: f64| {
            let mut below = 0.0;
            let found = weighted.iter().find(|(_, weight)| { below += weight; below >= rank });
            found.map_or(Duration::MAX, |(latency, _)| *latency)
        };
        let rank = total * f64::from(percentile) / 100.0;
        let got = learned(percentile, &latencies);
        let (low, high) = (at_rank(rank - 2.0), at_rank(rank + 2.0));
        prop_assert!(got > low && got <= high.saturating_mul(5) / 4, "{got:?} is not from {low:?} to {high:?}");
    }

    #[test]
    fn every_hedge(
        started in any::<u64>(), sent in any::<u32>(), most in 1..=u32::MAX, delay in 1..=u64::MAX,
        latencies in prop::collection::vec(any::<u64>(), 0..300),
    ) {
        let mut hedge = Hedge::builder().after(Duration::from_nanos(delay)).max_hedges(most).build().unwrap();
        latencies.into_iter().for_each(|latency| hedge.record(Duration::from_nanos(latency)));
        let want = (sent < most).then(|| ns(started) + Duration::from_nanos(delay));
        prop_assert_eq!(hedge.next_at(ns(started), sent, Idempotency::Idempotent), want);
        prop_assert_eq!(hedge.next_at(ns(started), sent, Idempotency::NotIdempotent), None);
    }
}

/// A server that answers in 20 ms and hangs for a second one time in a hundred: one call in a hundred is hedged, not one
/// in twenty, since the 95th percentile is as fast as the rest; and the losers, cancelled long before their second is over,
/// do not make it look faster.
#[test]
fn losers_do_not_drag_the_percentile_down() {
    let mut hedge = Hedge::default();
    let (mut hedged, mut slowest_after_learning) = (0, Duration::ZERO);
    for call in 0..100_000_u32 {
        let first = if call % 100 == 7 {
            millis(1_000)
        } else {
            millis(15) + Duration::from_micros(u64::from(call % 97) * 100)
        };
        let delay = hedge.delay();
        let took = if first <= delay {
            hedge.record(first);
            first
        } else {
            // The hedge answers in 20 ms, and the first is cancelled then.
            hedged += 1;
            let took = first.min(delay + millis(20));
            hedge.record(millis(20));
            hedge.record(took);
            took
        };
        if call > 1_000 {
            slowest_after_learning = slowest_after_learning.max(took);
        }
    }
    assert!((990..=1_010).contains(&hedged), "{hedged} of 100,000");
    assert!(slowest_after_learning <= millis(60), "{slowest_after_learning:?}");
}

/// When a server becomes slower for good, the delay follows within so many latencies as are remembered, and back.
#[test]
fn the_delay_follows_a_server_that_changes() {
    let mut hedge = Hedge::default();
    for (latency, most) in [(20, 1_024), (200, 1_024), (20, 20_000)] {
        let learned = (1..).find(|_| {
            hedge.record(millis(latency));
            (millis(latency)..=millis(latency) * 5 / 4).contains(&hedge.delay())
        });
        assert!(learned.is_some_and(|calls| calls <= most), "{latency} ms after {learned:?} latencies");
        (0..5_000).for_each(|_| hedge.record(millis(latency)));
    }
}
