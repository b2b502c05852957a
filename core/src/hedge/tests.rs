use super::*;

extern crate std;
use std::string::ToString;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn after(delay: Instant) -> Option<Instant> {
    Some(delay)
}

#[test]
fn only_what_may_be_done_twice_and_only_so_often() {
    let hedge = Hedge::builder().after(ms(50)).max_hedges(2).build().unwrap();
    let started = Instant::EPOCH + ms(7);
    let due = after(started + ms(50));
    for (sent, idempotency, want) in [
        (0, Idempotency::Idempotent, due),
        (1, Idempotency::Idempotent, due),
        (2, Idempotency::Idempotent, None),
        (u32::MAX, Idempotency::Idempotent, None),
        (0, Idempotency::NotIdempotent, None),
    ] {
        assert_eq!(hedge.next_at(started, sent, idempotency), want, "{sent} {idempotency:?}");
    }
    assert_eq!(hedge.next_at(Instant::MAX, 0, Idempotency::Idempotent), after(Instant::MAX));
}

#[test]
fn the_delay_is_learned_between_its_bounds() {
    let mut hedge = Hedge::builder().min_delay(ms(20)).max_delay(ms(500)).build().unwrap();
    let mut learn = |latency, times| {
        (0..times).for_each(|_| hedge.record(latency));
        hedge.delay()
    };
    assert_eq!(learn(ms(100), 99), ms(500), "before enough is known");
    assert_eq!(learn(ms(100), 1), Duration::from_nanos(6 << 24), "100.7 ms is the end of the box of 100 ms");
    assert_eq!(learn(ms(1), 4000), ms(20));
    assert_eq!(learn(ms(900), 4000), ms(500));
    assert_eq!(learn(Duration::MAX, 4000), ms(500));
    assert_eq!(learn(Duration::ZERO, 20_000), ms(20));
}

#[test]
fn a_loser_counts_once_it_has_taken_longer_than_the_delay() {
    let mut hedge = Hedge::builder().max_delay(ms(500)).build().unwrap();
    (0..100).for_each(|_| hedge.record(ms(100)));
    let learned = hedge.delay();
    (0..4000).for_each(|_| hedge.record_loser(learned - Duration::from_nanos(1)));
    assert_eq!(hedge.delay(), learned, "those that had hardly begun say nothing");
    (0..10).for_each(|_| hedge.record_loser(learned));
    assert!(hedge.delay() > learned, "it was too short for one in ten");
}

#[test]
fn a_fixed_delay_learns_nothing() {
    let mut hedge = Hedge::builder().after(ms(50)).build().unwrap();
    for latency in [ms(1), ms(1000)] {
        (0..2000).for_each(|_| hedge.record(latency));
        assert_eq!(hedge.delay(), ms(50));
    }
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let mut hedge = Hedge::default();
    assert_eq!(hedge.delay(), Duration::from_secs(5));
    (0..200).for_each(|_| hedge.record(Duration::ZERO));
    assert_eq!(hedge.delay(), ms(10));
    assert!(hedge.next_at(Instant::EPOCH, 0, Idempotency::Idempotent).is_some());
    assert_eq!(hedge.next_at(Instant::EPOCH, 1, Idempotency::Idempotent), None);
    // One in twenty is slow, and then a little more than that.
    let mut hedge = Hedge::default();
    (0..95).for_each(|_| hedge.record(ms(20)));
    (0..5).for_each(|_| hedge.record(ms(1000)));
    assert!(hedge.delay() < ms(25));
    hedge.record(ms(1000));
    assert!(hedge.delay() >= ms(1000));
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    for (builder, want) in [
        (Hedge::builder().percentile(49), "percentile is 49, which is not from 50 to 99"),
        (Hedge::builder().percentile(100), "percentile is 100, which is not from 50 to 99"),
        (Hedge::builder().min_delay(Duration::ZERO), "min_delay is 0ns, which is not more than zero"),
        (
            Hedge::builder().min_delay(ms(2)).max_delay(ms(1)),
            "max_delay is 1ms: it must be at least as long as min_delay, which is 2ms",
        ),
        (Hedge::builder().max_hedges(0), "max_hedges is 0, which is not at least 1"),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), want);
    }
    for percentile in [50, 99] {
        assert!(Hedge::builder().percentile(percentile).after(ms(1)).build().is_ok());
    }
}
