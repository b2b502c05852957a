//! Tables and scripts for one bucket. Properties against an exact model are in the package `steadfast-tests`.

use core::time::Duration;

use super::{Quota, Refusal, TokenBucket};
use crate::settings::{InvalidSetting, Value};
use crate::time::Instant;

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn ten_per_second(burst: u32) -> TokenBucket {
    TokenBucket::new(Quota::per_second(10).and_then(|quota| quota.with_burst(burst)).unwrap())
}

fn not_yet(retry_at: Instant) -> Result<(), Refusal> {
    Err(Refusal::NotYet { retry_at })
}

/// Asks at each time for so many tokens, and compares the answers.
fn check(mut bucket: TokenBucket, script: &[(Instant, u32, Result<(), Refusal>)]) {
    for (line, (now, n, want)) in script.iter().enumerate() {
        assert_eq!(bucket.try_acquire(*now, *n), *want, "line {line}: {n} at {now}");
    }
}

#[test]
fn ut_06_the_bucket_starts_full_and_as_configured() {
    let quota = Quota::new(90_000, Duration::from_secs(60)).unwrap().with_burst(1_500).unwrap();
    assert_eq!((quota.tokens(), quota.period(), quota.burst()), (90_000, Duration::from_secs(60), 1_500));
    let bucket = TokenBucket::new(quota);
    assert_eq!(bucket.quota(), quota);
    for now in [Instant::EPOCH, ms(1), Instant::from_nanos(u64::MAX / 2)] {
        assert_eq!(bucket.available(now), 1_500);
    }
}

#[test]
fn ut_07_acquire_is_free_while_tokens_last() {
    check(
        ten_per_second(3),
        &[(ms(0), 1, Ok(())), (ms(0), 2, Ok(())), (ms(0), 1, not_yet(ms(100))), (ms(100), 1, Ok(()))],
    );
}

#[test]
fn ut_08_acquire_tells_the_exact_wait_once_tokens_are_gone() {
    check(
        ten_per_second(5),
        &[
            (ms(0), 5, Ok(())),
            (ms(0), 1, not_yet(ms(100))),
            (ms(0), 5, not_yet(ms(500))),
            (ms(40), 2, not_yet(ms(200))),
            (ms(199), 2, not_yet(ms(200))),
            (ms(200), 2, Ok(())),
        ],
    );
}

#[test]
fn a_third_of_a_second_is_not_a_whole_number_of_nanoseconds() {
    let bucket = TokenBucket::new(Quota::per_second(3).unwrap());
    let third = Instant::from_nanos(333_333_334);
    check(bucket, &[(ms(0), 1, Ok(())), (ms(333), 1, not_yet(third)), (third, 1, Ok(()))]);
}

#[test]
fn more_than_the_burst_is_never_possible() {
    let mut bucket = ten_per_second(5);
    assert_eq!(bucket.try_acquire(ms(0), 6), Err(Refusal::Never { tokens: 6, burst: 5 }));
    assert_eq!(bucket.reserve(ms(0), u32::MAX, Instant::MAX), Err(Refusal::Never { tokens: u32::MAX, burst: 5 }));
    assert_eq!(bucket.available(ms(0)), 5);
}

#[test]
fn no_tokens_are_admitted_when_one_would_be() {
    check(
        ten_per_second(1),
        &[(ms(0), 0, Ok(())), (ms(0), 1, Ok(())), (ms(0), 0, not_yet(ms(100))), (ms(100), 0, Ok(()))],
    );
}

#[test]
fn a_clock_that_steps_back_gives_no_tokens_and_takes_none() {
    check(
        ten_per_second(2),
        &[
            (ms(1000), 2, Ok(())),
            (ms(0), 1, not_yet(ms(1100))),
            (ms(1099), 1, not_yet(ms(1100))),
            (ms(1100), 1, Ok(())),
            (ms(1200), 1, Ok(())),
        ],
    );
}

#[test]
fn reservations_hold_their_times_in_order() {
    let mut bucket = ten_per_second(2);
    let mut ready = |n| bucket.reserve(ms(0), n, Instant::MAX).unwrap().ready_at();
    assert_eq!([ready(2), ready(1), ready(2), ready(1)], [ms(0), ms(100), ms(300), ms(400)]);
}

#[test]
fn a_reservation_that_would_be_late_takes_nothing() {
    let mut bucket = ten_per_second(1);
    assert_eq!(bucket.try_acquire(ms(0), 1), Ok(()));
    assert_eq!(bucket.reserve(ms(0), 1, ms(100)), Err(Refusal::NotYet { retry_at: ms(100) }));
    assert_eq!(bucket.ready_at(ms(0), 1), Ok(Some(ms(100))));
    assert_eq!(bucket.reserve(ms(0), 1, ms(101)).unwrap().ready_at(), ms(100));
}

/// Four tokens at 0 and so many at `later_at`, then the first four come back at `cancel_at`: what is there then?
fn check_refund(later_at: Instant, later: u32, cancel_at: Instant, want: u32) {
    let mut bucket = ten_per_second(10);
    let first = bucket.reserve(ms(0), 4, Instant::MAX).unwrap();
    assert_eq!(bucket.try_acquire(later_at, later), Ok(()));
    bucket.cancel(cancel_at, first);
    assert_eq!(bucket.available(cancel_at), want, "{later} at {later_at}, cancelled at {cancel_at}");
}

#[test]
fn a_cancelled_reservation_gives_back_what_was_not_refilled() {
    for (later_at, later, cancel_at, want) in [
        (ms(0), 0, ms(0), 10),     // All of it, at once.
        (ms(0), 6, ms(0), 4),      // Whatever was taken after it.
        (ms(100), 6, ms(200), 4),  // Two of the four have been refilled since; the other two come back.
        (ms(200), 6, ms(400), 4),  // All four have been: nothing is left to give back.
        (ms(900), 10, ms(900), 0), // Long since: otherwise a full bucket would be spent twice.
    ] {
        check_refund(later_at, later, cancel_at, want);
    }
}

#[test]
fn cancelling_a_waiting_reservation_refunds_it_whole() {
    let mut bucket = ten_per_second(2);
    assert_eq!(bucket.try_acquire(ms(0), 2), Ok(()));
    let waiting = bucket.reserve(ms(0), 2, Instant::MAX).unwrap();
    let behind = bucket.reserve(ms(50), 1, Instant::MAX).unwrap();
    bucket.cancel(ms(199), waiting);
    // The one behind keeps its time; the next in line gets what came free.
    assert_eq!(behind.ready_at(), ms(300));
    assert_eq!(bucket.ready_at(ms(199), 1), Ok(Some(ms(200))));
}

#[test]
fn nothing_passes_before_the_server_says_so() {
    let mut bucket = ten_per_second(5);
    bucket.block_until(ms(1000));
    bucket.block_until(ms(200)); // An earlier time does not shorten the wait.
    check(
        bucket,
        &[
            (ms(0), 1, not_yet(ms(1000))),
            (ms(0), 0, not_yet(ms(1000))),
            (ms(999), 2, not_yet(ms(1100))),
            (ms(1000), 1, Ok(())),
            (ms(1000), 1, not_yet(ms(1100))),
        ],
    );
}

#[test]
fn a_block_does_not_forgive_what_was_spent() {
    let mut bucket = ten_per_second(5);
    assert_eq!(bucket.try_acquire(ms(0), 5), Ok(()));
    bucket.block_until(ms(50));
    assert_eq!(bucket.try_acquire(ms(50), 1), not_yet(ms(100)));
}

#[test]
fn a_refund_does_not_undo_a_block() {
    let mut bucket = ten_per_second(5);
    let reservation = bucket.reserve(ms(0), 5, Instant::MAX).unwrap();
    bucket.block_until(ms(1000));
    bucket.cancel(ms(0), reservation);
    assert_eq!(bucket.try_acquire(ms(999), 1), not_yet(ms(1000)));
}

#[test]
fn the_end_of_the_clock_admits_nothing_extra() {
    for quota in [Quota::per_second(10), Quota::per_second(3), Quota::per_second(1_000_000_000)] {
        let mut bucket = TokenBucket::new(quota.unwrap().with_burst(4).unwrap());
        let admitted = (0..100).filter(|_| bucket.try_acquire(Instant::MAX, 1).is_ok()).count();
        assert!(admitted <= 4, "{admitted} of {quota:?}");
        assert_eq!(bucket.try_acquire(Instant::MAX, 1), not_yet(Instant::MAX));
    }
}

#[test]
fn a_slow_quota_with_a_huge_burst_neither_wraps_nor_stops() {
    let quota = Quota::per_day(1).unwrap().with_burst(u32::MAX).unwrap();
    let mut bucket = TokenBucket::new(quota);
    for _ in 0..200_000 {
        assert_eq!(bucket.try_acquire(ms(0), 1), Ok(()));
    }
    assert_eq!(bucket.available(ms(0)), u32::MAX - 200_000);
    assert_eq!(bucket.try_acquire(ms(0), u32::MAX - 200_000), Ok(()));
    let Err(Refusal::NotYet { retry_at }) = bucket.try_acquire(ms(0), 1) else { panic!("the bucket is empty") };
    let day = Duration::from_secs(86_400);
    assert!(retry_at >= ms(0) + day && retry_at < ms(0) + day + Duration::from_millis(1), "{retry_at}");
}

#[test]
fn a_quota_that_cannot_be_is_refused_by_name() {
    let second = Duration::from_secs(1);
    for (got, setting, value) in [
        (Quota::per_second(0), "tokens", Value::Count(0)),
        (Quota::new(1, Duration::ZERO), "period", Value::Time(Duration::ZERO)),
        (Quota::per_second(1_000_000_001), "tokens", Value::Count(1_000_000_001)),
        (Quota::new(2, Duration::from_nanos(1)), "tokens", Value::Count(2)),
        (Quota::new(1, second).and_then(|quota| quota.with_burst(0)), "burst", Value::Count(0)),
    ] {
        match got {
            Err(InvalidSetting::OutOfRange { setting: got_setting, value: got_value, .. }) => {
                assert_eq!((got_setting, got_value), (setting, value));
            }
            other => panic!("{other:?}"),
        }
    }
    for (tokens, period) in [(1, Duration::MAX), (u32::MAX, Duration::MAX), (1_000_000_000, second)] {
        assert!(Quota::new(tokens, period).unwrap().with_burst(u32::MAX).is_ok());
    }
}
