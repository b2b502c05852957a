//! The specified cases, scripts for the bucket, and a server whose limit changes.

use core::time::Duration;

use super::super::{Quota, TokenBucket};
use super::{AdaptiveRate, LEAST_RATE, PER_SECOND, PaceChange, Refusal};
use crate::outcome::OutcomeKind::{Permanent, Success, Throttled, Transient};
use crate::time::Instant;

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Throttled after `per_second` calls in the second before, at the second second.
fn throttled_at(per_second: u64) -> AdaptiveRate {
    let mut limit = AdaptiveRate::new(ms(0));
    for call in 1..2 * per_second {
        limit.record(Instant::from_nanos(call * 1_000_000_000 / per_second), 1, Success);
    }
    limit.record(ms(2000), 1, Throttled);
    limit
}

/// The case of the AWS SDKs' specification, as published with aws-smithy-runtime (client rate limiter,
/// `test_client_sending_rates`): a call every 0.2 s, then the measured rate and that of the bucket, in millionths.
#[test]
fn the_specified_rates_of_a_client() {
    let mut limit = AdaptiveRate::new(ms(0));
    for (millis, outcome, measured, rate) in [
        (200, Success, 0, 500_000),
        (400, Success, 0, 500_000),
        (600, Success, 4_800_000, 500_000),
        (800, Success, 4_800_000, 500_000),
        (1000, Success, 4_160_000, 500_000),
        (1200, Success, 4_160_000, 691_200),
        (1400, Success, 4_160_000, 1_097_600),
        (1600, Success, 5_632_000, 1_638_400),
        (1800, Success, 5_632_000, 2_332_800),
        (2000, Throttled, 4_326_400, 3_028_480),
        (2200, Success, 4_326_400, 3_486_639),
        (2400, Success, 4_326_400, 3_821_874),
        (2600, Success, 5_665_280, 4_053_386),
        (2800, Success, 5_665_280, 4_200_373),
        (3000, Success, 4_333_056, 4_282_037),
        (3200, Throttled, 4_333_056, 2_997_426),
        (3400, Success, 4_333_056, 3_452_226),
    ] {
        limit.record(ms(millis), 1, outcome);
        let got = [limit.measured.rate, limit.bucket.rate];
        for (got, want) in got.into_iter().zip([measured * 1000, rate * 1000]) {
            assert!(got.abs_diff(want) <= 1000, "{got}, not {want}, at {millis} ms");
        }
        assert_eq!(limit.interval().is_some(), millis >= 2000);
    }
}

#[test]
fn nothing_is_limited_until_the_server_throttles() {
    let mut limit = AdaptiveRate::new(ms(0));
    for outcome in [Success, Transient, Permanent] {
        assert_eq!((limit.try_acquire(ms(0), u32::MAX), limit.record(ms(0), 1, outcome)), (Ok(()), None));
    }
    // Nothing was measured within the first half second: the least rate there is.
    let to = Duration::from_secs(2);
    assert_eq!(limit.record(ms(0), 1, Throttled), Some(PaceChange { from: None, to }));
    assert_eq!(limit.record(ms(0), 1, Throttled), None);
    assert_eq!(limit.try_acquire(ms(0), 1), Err(Refusal::NotYet { retry_at: ms(2000) }));
    assert_eq!(limit.try_acquire(ms(1999), 0), Err(Refusal::NotYet { retry_at: ms(2000) }));
    assert_eq!(limit.try_acquire(ms(2000), 1), Ok(()));
    // Two seconds later the curve, which started at nothing, is at 0.4 × 2³ = 3.2 a second.
    let faster = Some(PaceChange { from: Some(to), to: Duration::from_nanos(312_500_000) });
    assert_eq!(limit.record(ms(2000), 1, Success), faster);
}

#[test]
fn it_goes_no_faster_than_twice_what_was_measured() {
    let mut limit = throttled_at(10);
    for call in 1..=1000 {
        limit.record(ms(2000 + 100 * call), 1, Success);
    }
    assert_eq!(limit.bucket.rate, limit.measured.rate * 2);
    assert!(limit.measured.rate.abs_diff(10 * PER_SECOND) < PER_SECOND);
}

#[test]
fn a_faster_rate_counts_from_now_on() {
    let mut limit = AdaptiveRate::new(ms(0));
    limit.record(ms(0), 1000, Throttled);
    limit.record(ms(3000), 1000, Success); // From one in two seconds to 10.8 a second.
    assert_eq!(limit.try_acquire(ms(3000), 1), Ok(()), "for the three seconds before");
    assert!(limit.try_acquire(ms(3000), 1).is_err());
}

#[test]
fn a_heavy_call_is_admitted_when_the_bucket_is_full_and_leaves_a_debt() {
    let mut limit = throttled_at(10);
    let interval = limit.interval().unwrap();
    assert_eq!(limit.try_acquire(ms(10_000), 70), Ok(()));
    let Err(Refusal::NotYet { retry_at }) = limit.try_acquire(ms(10_000), 1) else { panic!("it owes 63 tokens") };
    assert!((retry_at - ms(10_000)).as_nanos().abs_diff(interval.as_nanos() * 64) < 1_000_000_000, "{retry_at}");
    assert_eq!(limit.try_acquire(retry_at, 1), Ok(()));
}

#[test]
fn a_call_waits_for_as_many_tokens_as_it_weighs() {
    let mut limit = throttled_at(10);
    let interval = limit.interval().unwrap();
    while limit.try_acquire(ms(9000), 1).is_ok() {}
    for n in 1..6 {
        let Err(Refusal::NotYet { retry_at }) = limit.try_acquire(ms(9000), n) else { panic!("there is none") };
        let waits = retry_at - ms(9000);
        assert!(waits > interval * (n - 1) && waits <= interval * n, "{waits:?} for {n} of {interval:?}");
    }
}

#[test]
fn what_was_not_sent_comes_back_as_far_as_there_is_room() {
    let mut limit = throttled_at(10);
    let drain = |limit: &mut AdaptiveRate| (0..).take_while(|_| limit.try_acquire(ms(10_000), 1).is_ok()).count();
    let burst = drain(&mut limit);
    for (given_back, want) in [(1, 1), (2, 2), (u32::MAX, burst)] {
        limit.give_back(ms(10_000), given_back);
        assert_eq!(drain(&mut limit), want, "{given_back} of {burst}");
    }
}

#[test]
fn what_ends_after_a_pause_is_measured_over_all_of_it() {
    for (millis, tokens, want) in [(500, 8, 12_800_000_000), (2000, 8, 3_200_000_000), (10_000, 50, 4_000_000_000)] {
        let mut limit = AdaptiveRate::new(ms(0));
        limit.record(ms(millis), tokens, Success);
        assert_eq!(limit.measured.rate, want, "{tokens} after {millis} ms");
    }
}

/// `SplitMix64`, a generator.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn coming_back_at_the_time_told_works_and_a_nanosecond_before_does_not() {
    let mut state = 1;
    for rate in [1, 3, 7, 10, 999, 12_345] {
        let mut limit = throttled_at(rate);
        let mut now = ms(2000);
        for _ in 0..200 {
            let n = u32::try_from(random(&mut state) % 9).unwrap();
            if let Err(refusal) = limit.try_acquire(now, n) {
                let Refusal::NotYet { retry_at } = refusal else { panic!("{refusal}") };
                assert!(retry_at > now);
                let just_before = Instant::from_nanos(retry_at.as_nanos() - 1);
                assert_eq!(limit.try_acquire(just_before, n), Err(refusal));
                assert_eq!(limit.try_acquire(retry_at, n), Ok(()));
                now = retry_at;
            }
            now += Duration::from_nanos(random(&mut state) % 1_000_000_000);
        }
    }
}

#[test]
fn never_more_than_a_second_s_worth_above_the_rate() {
    let mut limit = throttled_at(10);
    let (rate, from) = (limit.bucket.rate, 2000);
    let mut admitted = 0;
    // Asked every millisecond for ten minutes, it neither drifts up nor down.
    for millis in from..from + 600_000 {
        admitted += u64::from(limit.try_acquire(ms(millis), 1).is_ok());
    }
    let exact = rate * 600 / PER_SECOND;
    assert!((exact..=exact + rate / PER_SECOND + 1).contains(&admitted), "{admitted}, not {exact}");
}

#[test]
fn a_clock_that_steps_back_or_ends_gives_nothing_and_panics_nowhere() {
    let mut limit = throttled_at(10);
    while limit.try_acquire(ms(9000), 1).is_ok() {}
    let refused = limit.try_acquire(ms(9000), 1);
    assert_eq!(limit.try_acquire(ms(0), 1), refused, "it waits until the clock has caught up");
    limit.record(ms(0), 1, Success);
    assert!(limit.try_acquire(ms(9000), 1).is_err(), "the time that passes twice gives nothing");
    assert_eq!(limit.try_acquire(Instant::MAX, 1), Ok(()));
    while limit.try_acquire(Instant::MAX, 1).is_ok() {}
    assert_eq!(limit.try_acquire(Instant::MAX, 1), Err(Refusal::NotYet { retry_at: Instant::MAX }));

    let mut state = 2;
    let any = |state: &mut u64| random(state) >> (random(state) % 64);
    for seed in 0..100 {
        let mut limit = AdaptiveRate::new(Instant::from_nanos(any(&mut state)));
        for _ in 0..200 {
            let now = Instant::from_nanos(any(&mut state));
            let n = u32::try_from(any(&mut state) >> 32).unwrap();
            let outcome = [Success, Throttled, Transient, Permanent][(any(&mut state) % 4) as usize];
            limit.record(now, n, outcome);
            if let Err(Refusal::NotYet { retry_at }) = limit.try_acquire(now, n) {
                assert!(retry_at > now || now == Instant::MAX, "{seed}");
            }
            assert!(limit.bucket.rate >= LEAST_RATE && limit.bucket.tokens <= limit.bucket.capacity());
        }
    }
}

/// Callers who always want one more, of a server that takes so many a second: how many of those succeed, and how many
/// of all calls are throttled, in percent, from the second minute on.
fn served(limit: &mut AdaptiveRate, from: Instant, per_second: u32) -> (u64, u64) {
    let mut server =
        TokenBucket::new(Quota::per_second(per_second).and_then(|quota| quota.with_burst(per_second)).unwrap());
    let (settled, end) = (from + Duration::from_secs(60), from + Duration::from_secs(300));
    let (mut now, mut succeeded, mut throttled) = (from, 0, 0);
    while now < end {
        if let Err(Refusal::NotYet { retry_at }) = limit.try_acquire(now, 1) {
            now = retry_at;
            continue;
        }
        let outcome = if server.try_acquire(now, 1).is_ok() { Success } else { Throttled };
        if now >= settled {
            succeeded += u64::from(outcome == Success);
            throttled += u64::from(outcome == Throttled);
        }
        limit.record(now, 1, outcome);
        now += Duration::from_millis(1); // They come a thousand times a second at most.
    }
    (succeeded * 100 / (u64::from(per_second) * 240), throttled * 100 / (succeeded + throttled))
}

#[test]
fn it_settles_near_the_servers_limit_and_follows_it() {
    let mut limit = AdaptiveRate::new(ms(0));
    let mut from = ms(0);
    // Each throttling is the price of a look above the limit: dearer, in percent, where there are few calls.
    for (per_second, most_throttled) in [(50, 1), (10, 4), (100, 1), (5, 9)] {
        let (used, throttled) = served(&mut limit, from, per_second);
        assert!(used >= 98 && throttled <= most_throttled, "{per_second}/s: used {used} %, throttled {throttled} %");
        from += Duration::from_secs(300);
    }
}
