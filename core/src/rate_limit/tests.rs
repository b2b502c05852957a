//! Tables and scripts for one bucket. Properties against an exact model are in the package `steadfast-tests`.

extern crate std;

use core::time::Duration;
use std::format;
use std::string::ToString;
use std::vec::Vec;

use super::{Quota, Refusal, RefusedBy, Reservation, TokenBucket};
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

/// What a bucket should answer, worked out without what it remembers of earlier refusals.
fn anew(bucket: &TokenBucket, now: Instant, n: u32) -> Result<(), Refusal> {
    let ready_at = bucket.ready_at(now, n)?;
    if ready_at == Some(now) { Ok(()) } else { Err(Refusal::not_yet(ready_at)) }
}

/// Asks at each time for so many tokens, and compares the answers.
fn check(mut bucket: TokenBucket, script: &[(Instant, u32, Result<(), Refusal>)]) {
    for (line, (now, n, want)) in script.iter().enumerate() {
        assert_eq!(anew(&bucket, *now, *n), *want, "line {line}, anew: {n} at {now}");
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
            (Instant::from_nanos(199_999_999), 2, not_yet(ms(200))), // Not a nanosecond early.
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
fn halves_and_thirds_of_a_nanosecond_are_exact_after_thirty_years() {
    let late = |nanos| Instant::from_nanos(1_000_000_000_000_000_000 + nanos);
    for (tokens, nanos) in
        [(3, 1_000_000_000), (12, 1_000_000_000), (3, 3_500_000_003), (2, 3_000_000_001), (4, 6_000_000_002)]
    {
        let quota = Quota::new(tokens, Duration::from_nanos(nanos)).and_then(|quota| quota.with_burst(tokens)).unwrap();
        let script = [
            (late(0), tokens, Ok(())),
            (late(0), tokens, not_yet(late(nanos))),
            (late(nanos - 1), tokens, not_yet(late(nanos))),
            (late(nanos), tokens, Ok(())),
        ];
        check(TokenBucket::new(quota), &script);
    }
}

#[test]
fn a_bucket_that_is_just_full_gives_no_part_of_a_token_beyond_its_burst() {
    // Three and a half units pass in a nanosecond. At 3 ns the two tokens are back for a seventh of one, and that is lost.
    let quota = Quota::new(7, Duration::from_nanos(10)).and_then(|quota| quota.with_burst(2)).unwrap();
    let ns = Instant::from_nanos;
    check(
        TokenBucket::new(quota),
        &[(ns(0), 2, Ok(())), (ns(3), 1, Ok(())), (ns(3), 1, not_yet(ns(4))), (ns(4), 1, Ok(()))],
    );
}

#[test]
fn a_refusal_is_one_sentence() {
    for (refusal, want) in [
        (Refusal::not_yet(Some(ms(1500))), "rate limit: nothing left until 1.5s"),
        (Refusal::Never { tokens: 6, burst: 5 }, "rate limit: 6 tokens at once is more than the burst of 5, ever"),
        (Refusal::LineFull { waiting: 9 }, "rate limit: 9 wait in line already, as many as may"),
        (Refusal::TableFull { retry_at: ms(2000) }, "rate limit: no place for another key until 2s"),
    ] {
        assert_eq!(refusal.to_string(), want);
        let by = RefusedBy { limit: 1, refusal };
        assert_eq!(by.to_string(), format!("limit 1: {want}"));
    }
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

/// Would catch: a change of state after which a bucket still answers what was true before.
#[test]
fn a_refusal_is_remembered_until_the_state_changes() {
    type Change = fn(&mut TokenBucket, Reservation);
    let changes: [(&str, Change); 8] = [
        ("nothing", |_, _| {}),
        ("tokens that come in", |bucket, _| assert_eq!(bucket.try_acquire(ms(150), 1), Ok(()))),
        ("a reservation", |bucket, _| assert!(bucket.reserve(ms(0), 1, Instant::MAX).is_ok())),
        ("a refund", |bucket, held| bucket.cancel(ms(0), held)),
        ("part of one", |bucket, held| bucket.commit(ms(0), held, 1)),
        ("a debt", |bucket, held| bucket.commit(ms(0), held, 4)),
        ("a block", |bucket, _| bucket.block_until(ms(5_000))),
        ("another quota", |bucket, _| bucket.set_quota(ms(0), Quota::per_second(1).unwrap())),
    ];
    for (what, change) in changes {
        for refused in 0..=3 {
            let mut bucket = ten_per_second(3);
            let held = bucket.reserve(ms(0), 3, Instant::MAX).unwrap();
            let refusal = not_yet(ms(100 * u64::from(refused.max(1))));
            assert_eq!([0; 2].map(|_| bucket.try_acquire(ms(0), refused)), [refusal; 2]);
            change(&mut bucket, held);
            for (now, n) in [(0, 1), (0, 2), (0, 3), (0, 0), (0, 4), (50, 1), (50, 2), (150, 1), (150, 3), (2_000, 1)] {
                let want = anew(&bucket, ms(now), n);
                assert_eq!(bucket.try_acquire(ms(now), n), want, "{refused} refused, then {what}: {n} at {now} ms");
            }
        }
    }
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
fn a_clock_that_steps_back_refunds_nothing_that_was_refilled_by_the_latest_time() {
    let mut bucket = ten_per_second(10);
    let first = bucket.reserve(ms(0), 4, Instant::MAX).unwrap();
    assert_eq!(bucket.try_acquire(ms(300), 3), Ok(())); // Three of the four are refilled by now.
    bucket.cancel(ms(0), first);
    assert_eq!(bucket.available(ms(300)), 7);
}

#[test]
fn a_waiting_reservation_comes_back_as_far_as_the_burst_has_room() {
    for (behind, want) in [(0, ms(199)), (1, ms(300)), (2, ms(500))] {
        let mut bucket = ten_per_second(2);
        assert_eq!(bucket.try_acquire(ms(0), 2), Ok(()));
        let waiting = bucket.reserve(ms(0), 2, Instant::MAX).unwrap();
        assert_eq!(waiting.ready_at(), ms(200));
        let _behind = bucket.reserve(ms(50), behind, Instant::MAX).unwrap();
        bucket.cancel(ms(199), waiting);
        assert_eq!(bucket.ready_at(ms(199), 1), Ok(Some(want)), "{behind} behind");
    }
}

#[derive(Debug)]
enum Step {
    /// Reserves so many tokens.
    Reserve(u32),
    /// Settles the reservation of this number, the first is 0, of which so many were used.
    Commit(usize, u32),
}

/// All at 0, with a bucket of ten: what is there in the end?
fn check_settled(script: &[Step], want: u32) {
    let mut bucket = ten_per_second(10);
    let mut held = Vec::new();
    for step in script {
        match *step {
            Step::Reserve(n) => held.push(Some(bucket.reserve(ms(0), n, Instant::MAX).unwrap())),
            Step::Commit(number, used) => bucket.commit(ms(0), held[number].take().unwrap(), used),
        }
    }
    assert_eq!(bucket.available(ms(0)), want, "{script:?}");
}

#[test]
fn what_comes_back_hangs_on_what_was_taken_and_given_back_since() {
    use Step::{Commit, Reserve};
    // In reverse order all of it does.
    check_settled(&[Reserve(4), Reserve(6), Commit(1, 0), Commit(0, 0)], 10);
    // Out of order, what others gave back counts as if it had lain before.
    check_settled(&[Reserve(3), Reserve(3), Reserve(3), Commit(1, 0), Commit(0, 0)], 4);
    // Who waits until 200 ms and goes leaves its place to those before it; who stays with one token needs room for it.
    check_settled(&[Reserve(4), Reserve(8), Commit(1, 0), Reserve(1), Commit(0, 0)], 9);
    check_settled(&[Reserve(4), Reserve(8), Commit(1, 1), Reserve(1), Commit(0, 0)], 6);
}

/// Four tokens at 0 and so many at `later_at`, then the first four are to be used at `now`: may they, and what is there then?
fn check_renewed(later_at: Instant, later: u32, now: Instant, want: bool, available: u32) {
    let mut bucket = ten_per_second(10);
    let mut held = bucket.reserve(ms(0), 4, Instant::MAX).unwrap();
    assert_eq!(bucket.try_acquire(later_at, later), Ok(()));
    let renewed = bucket.renew(now, &mut held);
    assert_eq!((renewed, bucket.available(now)), (want, available), "{later} at {later_at}, used at {now}");
}

#[test]
fn what_is_used_late_counts_anew_as_far_as_it_has_come_in_since() {
    for (later_at, later, now, want, available) in [
        (ms(0), 0, ms(0), true, 6),     // At once: it counts already.
        (ms(0), 0, ms(200), true, 6),   // Two of the four have come in since, and are spent again.
        (ms(0), 0, ms(400), true, 6),   // All four.
        (ms(0), 0, ms(900), true, 6),   // Long since; and the bucket has not overflowed for it.
        (ms(300), 6, ms(500), true, 1), // Beside what others took meanwhile.
        (ms(400), 10, ms(500), false, 1),
        (ms(400), 10, ms(799), false, 3), // They took so much that four more have come in only at 800 ms.
        (ms(400), 10, ms(800), true, 0),
        (ms(300), 6, ms(0), false, 0), // A clock that steps back does not undo that three came in.
        (ms(300), 1, ms(0), true, 2),
    ] {
        check_renewed(later_at, later, now, want, available);
    }
}

/// Would catch: a bucket that is full and does not say so while a unit is under way.
#[test]
fn a_whole_burst_is_renewed_as_soon_as_it_has_come_in() {
    let quota = Quota::new(7, Duration::from_nanos(10)).and_then(|quota| quota.with_burst(2)).unwrap();
    for now in [0, 3, 4, 5] {
        let mut bucket = TokenBucket::new(quota);
        let mut held = bucket.reserve(ms(0), 2, Instant::MAX).unwrap();
        assert!(bucket.renew(Instant::from_nanos(now), &mut held), "{now}");
    }
}

#[test]
fn what_was_renewed_comes_back_whole() {
    let mut bucket = ten_per_second(10);
    let mut held = bucket.reserve(ms(0), 4, Instant::MAX).unwrap();
    assert!(bucket.renew(ms(900), &mut held));
    bucket.cancel(ms(900), held);
    assert_eq!(bucket.available(ms(900)), 10);
}

#[test]
fn what_was_taken_under_another_quota_is_not_renewed() {
    let mut bucket = ten_per_second(10);
    let mut held = bucket.reserve(ms(0), 4, Instant::MAX).unwrap();
    bucket.set_quota(ms(0), bucket.quota());
    assert!(bucket.renew(ms(200), &mut held));
    assert_eq!(bucket.available(ms(200)), 8);
}

#[test]
fn it_tells_whether_anything_would_come_back() {
    let mut bucket = ten_per_second(10);
    let [first, second] = [0; 2].map(|_| bucket.reserve(ms(0), 2, Instant::MAX).unwrap());
    for (now, want) in [(0, [true; 2]), (199, [true; 2]), (200, [false, true])] {
        assert_eq!([&first, &second].map(|held| bucket.is_refundable(ms(now), held)), want, "{now}");
    }
}

#[test]
fn the_turn_of_the_last_in_line_may_be_beyond_the_burst() {
    let mut bucket = ten_per_second(5);
    assert_eq!(bucket.try_acquire(ms(0), 3), Ok(()));
    for (tokens, want) in [(0, 0), (2, 0), (3, 100), (50, 4800)] {
        assert_eq!(bucket.ready_at_after(ms(0), tokens), Some(ms(want)), "{tokens}");
    }
    assert_eq!(bucket.ready_at_after(ms(0), u64::MAX), None);
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
fn time_that_has_to_be_multiplied_ends_after_146_years() {
    let last = Instant::from_nanos((1 << 62) - 1);
    let bucket = || TokenBucket::new(Quota::per_second(3).and_then(|quota| quota.with_burst(4)).unwrap());
    check(bucket(), &[(last, 4, Ok(())), (last, 1, not_yet(Instant::MAX))]);
    check(bucket(), &[(last + Duration::from_nanos(1), 1, not_yet(Instant::MAX)), (last, 1, Ok(()))]);
}

#[test]
fn time_that_need_not_be_multiplied_ends_with_the_clock() {
    let late = |millis| Instant::from_nanos(u64::MAX - 1_000_000_000) + Duration::from_millis(millis);
    check(ten_per_second(1), &[(late(0), 1, Ok(())), (late(0), 1, not_yet(late(100))), (late(100), 1, Ok(()))]);
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
fn a_quota_is_per_what_it_says() {
    for (quota, secs) in [
        (Quota::per_second(7), 1),
        (Quota::per_minute(7), 60),
        (Quota::per_hour(7), 3_600),
        (Quota::per_day(7), 86_400),
    ] {
        assert_eq!(quota, Quota::new(7, Duration::from_secs(secs)));
    }
}

#[test]
fn a_quota_that_cannot_be_is_refused_by_name() {
    let second = Duration::from_secs(1);
    for (got, setting, value) in [
        (Quota::per_second(0), "tokens", Value::Count(0)),
        (Quota::new(1, Duration::ZERO), "period", Value::Time(Duration::ZERO)),
        (Quota::per_second(1_000_000_001), "tokens", Value::Count(1_000_000_001)),
        (Quota::new(2, Duration::from_nanos(1)), "tokens", Value::Count(2)),
        (Quota::new(1000, Duration::MAX), "period", Value::Time(Duration::MAX)),
        (Quota::new(1, second).and_then(|quota| quota.with_burst(0)), "burst", Value::Count(0)),
    ] {
        match got {
            Err(InvalidSetting::OutOfRange { setting: got_setting, value: got_value, .. }) => {
                assert_eq!((got_setting, got_value), (setting, value));
            }
            other => panic!("{other:?}"),
        }
    }
    let longest = Duration::from_nanos(u64::MAX);
    let quarter = Duration::from_nanos(u64::MAX / 4 + 1);
    for (tokens, period) in
        [(1, longest), (4, longest), (7, longest), (u32::MAX, longest), (7, quarter), (1_000_000_000, second)]
    {
        assert!(Quota::new(tokens, period).unwrap().with_burst(u32::MAX).is_ok());
    }
}

/// Reserves five tokens at 0 of a bucket with ten, settles them at `now` with what was used, and looks what is there.
fn check_commit(now: Instant, used: u32, want: Result<u32, Instant>) {
    let mut bucket = ten_per_second(10);
    let reservation = bucket.reserve(ms(0), 5, Instant::MAX).unwrap();
    assert_eq!(reservation.tokens(), 5);
    bucket.commit(now, reservation, used);
    match want {
        Ok(available) => assert_eq!(bucket.available(now), available, "{used} used at {now}"),
        Err(retry_at) => assert_eq!(bucket.try_acquire(now, 1), not_yet(retry_at), "{used} used at {now}"),
    }
}

#[test]
fn a_reservation_is_settled_with_its_true_cost() {
    for (now, used, want) in [
        (ms(0), 5, Ok(5)),
        (ms(0), 3, Ok(7)),
        (ms(0), 0, Ok(10)),
        (ms(0), 9, Ok(1)),
        (ms(0), 10, Err(ms(100))),
        (ms(0), 25, Err(ms(1600))), // Owed, beyond the burst.
        (ms(300), 3, Ok(10)),       // Three of the five have been refilled: two are left to give back.
        (ms(300), 0, Ok(10)),
        (ms(900), 7, Ok(8)), // Full long since, and two more were used.
    ] {
        check_commit(now, used, want);
    }
    check_commit(ms(0), u32::MAX, Err(Instant::from_nanos((u64::from(u32::MAX) - 9) * 100_000_000)));
}

/// Ten a second with a burst of ten; takes `taken` at 0, then keeps another quota from 100 ms on.
fn check_set_quota(taken: u32, quota: Quota, want_available: u32, want_full_at: Instant) {
    let mut bucket = ten_per_second(10);
    let held = bucket.reserve(ms(0), taken, Instant::MAX).unwrap();
    bucket.set_quota(ms(100), quota);
    assert_eq!(bucket.quota(), quota);
    assert_eq!(bucket.available(ms(100)), want_available, "{taken} taken, then {quota:?}");
    assert_eq!(ms(100) + bucket.snapshot(ms(100)).full_in, want_full_at, "{taken} taken, then {quota:?}");
    let before = bucket.snapshot(ms(100));
    bucket.cancel(ms(100), held);
    assert_eq!(bucket.snapshot(ms(100)), before, "what was reserved under another quota gives nothing back");
}

#[test]
fn another_quota_keeps_the_tokens_that_are_there_and_the_debts() {
    let quota = |tokens, burst| Quota::per_second(tokens).and_then(|quota| quota.with_burst(burst)).unwrap();
    for (taken, quota, available, full_at) in [
        (10, quota(20, 10), 1, ms(550)),  // One has come in; nine to go, twice as fast.
        (10, quota(1, 10), 1, ms(9100)),  // Or ten times as slowly.
        (10, quota(10, 20), 1, ms(2000)), // A larger burst fills at its rate.
        (5, quota(10, 3), 3, ms(100)),    // A smaller one is full.
        (0, quota(10, 20), 10, ms(1100)), // Nothing is given away, even where it was full.
        (10, quota(4, 10), 1, ms(2350)),
    ] {
        check_set_quota(taken, quota, available, full_at);
    }
    // A debt of two tokens, after 100 ms of ten a second: two tokens still.
    let mut bucket = ten_per_second(1);
    let _ = bucket.reserve(ms(0), 1, Instant::MAX).unwrap();
    for _ in 0..3 {
        let _ = bucket.reserve(ms(0), 1, Instant::MAX).unwrap();
    }
    bucket.set_quota(ms(100), quota(1, 1));
    assert_eq!(bucket.try_acquire(ms(100), 1), not_yet(ms(3100)));
}

#[test]
fn another_quota_does_not_undo_a_block() {
    for quota in [Quota::per_second(1_000_000), Quota::per_second(3), Quota::per_day(1)] {
        let mut bucket = ten_per_second(10);
        bucket.block_until(ms(1000));
        bucket.set_quota(ms(100), quota.and_then(|quota| quota.with_burst(100)).unwrap());
        match bucket.try_acquire(ms(999), 1) {
            Err(Refusal::NotYet { retry_at }) => assert!(retry_at >= ms(1000), "{retry_at}"),
            other => panic!("{other:?}"),
        }
    }
    // Nor does a slower one make it longer.
    let mut bucket = ten_per_second(10);
    bucket.block_until(ms(1000));
    bucket.set_quota(ms(100), Quota::per_second(1).and_then(|quota| quota.with_burst(10)).unwrap());
    assert_eq!([1, 2].map(|n| bucket.ready_at(ms(100), n)), [Ok(Some(ms(1000))), Ok(Some(ms(2000)))]);
}

/// Would catch: a block that has hidden what was spent before it, and is over when the quota changes.
#[test]
fn another_quota_does_not_forget_what_was_spent_before_a_block() {
    for change_at in [ms(990), ms(1000), ms(1001), ms(1200)] {
        let mut bucket = ten_per_second(10);
        assert_eq!(bucket.try_acquire(ms(850), 10), Ok(()));
        bucket.block_until(ms(1000));
        let (quota, available) = (bucket.quota(), bucket.available(ms(1200)));
        bucket.set_quota(change_at, quota);
        assert_eq!((available, bucket.available(ms(1200))), (3, 3), "changed at {change_at}");
        let blocked_until = if change_at < ms(1000) { ms(1000) } else { Instant::EPOCH };
        assert_eq!(bucket.blocked_until(), blocked_until, "changed at {change_at}");
    }
}

#[test]
fn a_snapshot_goes_on_where_it_was_on_another_clock() {
    let mut bucket = ten_per_second(10);
    assert_eq!(bucket.try_acquire(ms(0), 7), Ok(()));
    bucket.block_until(ms(150));
    let snapshot = bucket.snapshot(ms(100));
    assert_eq!(snapshot.blocked_for, Duration::from_millis(50));
    let mut restored = TokenBucket::restore(bucket.quota(), ms(5100), snapshot);
    assert_eq!(restored.snapshot(ms(5100)), snapshot);
    for later in [0, 49, 50, 150, 300, 800, 2000] {
        let (old, new) = (bucket.available(ms(100 + later)), restored.available(ms(5100 + later)));
        assert_eq!(old, new, "{later} ms later");
        let old = bucket.try_acquire(ms(100 + later), 1).is_ok();
        assert_eq!(restored.try_acquire(ms(5100 + later), 1).is_ok(), old, "{later} ms later");
    }
    // With nothing but a debt, and with nothing at all.
    let mut bucket = ten_per_second(10);
    assert_eq!(bucket.try_acquire(ms(0), 7), Ok(()));
    let restored = TokenBucket::restore(bucket.quota(), ms(5100), bucket.snapshot(ms(100)));
    assert_eq!([5100, 5500].map(|at| restored.available(ms(at))), [4, 8]);
    let full = ten_per_second(10).snapshot(ms(70));
    assert_eq!(TokenBucket::restore(bucket.quota(), ms(0), full).available(ms(0)), 10);
}
