//! Limits without a line: what is settled, what is changed while it runs, and what comes back.

use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::rate_limit::{
    AtomicTokenBucket, KeyedRateLimit, Quota, RateLimits, Refusal, SlidingWindow, TokenBucket,
};
use steadfast_core::time::{Instant, ManualClock};

use crate::support::{bucket, config, ms, ns, quota, ten_per_second};
use crate::token_bucket::Model;

/// Documented at `cancel`: what others gave back counts as if it had lain before. In doubt less comes back, never more.
#[test]
fn in_doubt_less_comes_back() {
    let mut bucket = bucket(10);
    let [a, b, _c] = [0; 3].map(|_| bucket.reserve(ms(0), 3, Instant::MAX).unwrap());
    bucket.cancel(ms(0), b);
    bucket.cancel(ms(0), a);
    assert_eq!(bucket.available(ms(0)), 4, "of the seven that are not held");
    assert_eq!(bucket.available(ms(300)), 7, "and time mends it");
}

/// Promise 1: who waits until 200 ms and will use one of its eight makes room for what an earlier one gives back.
#[test]
fn what_is_settled_before_its_time_lets_an_earlier_one_give_back_too_much() {
    let mut bucket = bucket(10);
    let [four, eight] = [4, 8].map(|n| bucket.reserve(ms(0), n, Instant::MAX).unwrap());
    assert_eq!(eight.ready_at(), ms(200));
    bucket.commit(ms(0), eight, 1); // Of which one is used at 200 ms.
    bucket.commit(ms(0), four, 1);
    let ten = bucket.reserve(ms(0), 10, Instant::MAX).unwrap();
    assert!(ten.ready_at() > ms(200), "eleven at {}, of a burst of ten", ten.ready_at());
}

/// Promise 8: a block of a second is over after a second, also if the operator slows down meanwhile.
#[test]
fn a_slower_quota_makes_a_block_longer() {
    let mut bucket = bucket(10);
    bucket.block_until(ms(60_000));
    bucket.set_quota(ms(0), quota(1, Duration::from_secs(1), 10));
    assert_eq!(bucket.ready_at(ms(0), 1), Ok(Some(ms(60_000))));
}

/// Promise 3: a block that is long over swallows a refund, since another quota has moved its floor.
#[test]
fn a_block_that_is_over_swallows_a_refund_under_another_quota() {
    let mut bucket = bucket(10);
    bucket.block_until(ms(1));
    bucket.set_quota(ms(2_000), quota(1, Duration::from_secs(1), 10));
    let held = bucket.reserve(ms(2_000), 10, Instant::MAX).unwrap();
    bucket.cancel(ms(2_000), held);
    assert_eq!(bucket.available(ms(2_000)), 10);
}

/// Documented at `set_quota`: reservations keep their times, and a faster quota gives its own tokens beside them.
#[test]
fn a_faster_quota_admits_beside_what_was_reserved() {
    let mut bucket = bucket(1);
    let held = [0; 11].map(|_| bucket.reserve(ms(0), 1, Instant::MAX).unwrap());
    assert_eq!(held[10].ready_at(), ms(1_000));
    bucket.set_quota(ms(0), quota(1_000, Duration::from_secs(1), 1));
    assert!(bucket.try_acquire(ms(9), 1).is_err(), "the debt of ten is paid first, at the new rate");
    assert_eq!(bucket.try_acquire(ms(1_000), 1), Ok(()));
}

/// "It decides exactly as the bucket does."
#[test]
fn an_atomic_bucket_blocked_until_the_epoch() {
    let (atomic, mut plain) = (AtomicTokenBucket::new(ten_per_second(10)), bucket(10));
    atomic.block_until(Instant::EPOCH);
    plain.block_until(Instant::EPOCH);
    assert_eq!(atomic.available(ms(0)), plain.available(ms(0)));
}

/// Promise 8: "`retry_at` is later than `now`", for several limits as for one.
#[test]
fn several_refuse_a_deadline_that_has_passed_until_now() {
    let mut limits = RateLimits::new([ten_per_second(1), ten_per_second(1)]);
    match limits.reserve(ms(5), [1, 1], ms(5)) {
        Err(refused) => {
            assert!(matches!(refused.refusal, Refusal::NotYet { retry_at } if retry_at > ms(5)), "{refused}");
        }
        Ok(held) => panic!("{held:?}"),
    }
}

/// Documented at `reserve` of several: what was held for a slower limit is lost as far as others have taken since, and
/// never more than the burst.
#[test]
fn what_was_held_for_a_slower_limit_is_lost_beside_what_others_took() {
    let mut limits = RateLimits::new([ten_per_second(20), ten_per_second(1)]);
    limits.debit(ms(0), [0, 11]);
    let held = limits.reserve(ms(0), [1, 1], Instant::MAX).unwrap();
    limits.debit(ms(0), [1, 0]);
    limits.cancel(ms(0), held);
    assert_eq!(limits.available(ms(0))[0], 8);
    assert_eq!(limits.available(ms(1_200))[0], 20, "time mends it");
}

/// Names the limit that can never be met, wherever it stands.
#[test]
fn never_is_said_also_behind_a_limit_beyond_the_end_of_the_clock() {
    let mut limits = RateLimits::new([ten_per_second(1), ten_per_second(1)]);
    limits.limits_mut()[0].block_until(Instant::MAX);
    limits.debit(ms(0), [u32::MAX, 0]);
    let refused = limits.try_acquire(ms(0), [1, 2]).unwrap_err();
    assert_eq!((refused.limit, refused.refusal), (1, Refusal::Never { tokens: 2, burst: 1 }));
}

/// A key that was forgotten and a clock that steps back: what was spent stays spent until time has caught up again.
#[test]
fn a_key_that_was_forgotten_does_not_spend_twice_on_a_clock_that_steps_back() {
    let mut limit = KeyedRateLimit::<char, 2>::new(Quota::per_second(1).unwrap());
    assert_eq!(limit.try_acquire(ms(0), &'a', 1), Ok(()));
    assert_eq!(limit.try_acquire(ms(1_000), &'b', 1), Ok(()));
    assert!(limit.try_acquire(ms(500), &'a', 1).is_err());
}

/// Would catch: a sleeper of whom there was no room to take note that is passed over, also after others have left.
#[test]
fn two_hundred_sleepers_each_wake_on_time() {
    use core::future::Future;
    use steadfast_core::time::{Clock, Timer};
    let clock = ManualClock::new();
    let mut sleeps: Vec<_> =
        (0..200_u64).rev().map(|i| (i, Box::pin((&clock).sleep_until(ns(i * 7 % 200 + 1))))).collect();
    let late = clock.drive(core::future::poll_fn(|cx| {
        let (now, mut late) = (clock.now(), false);
        sleeps.retain_mut(|(i, sleep)| {
            let ready = sleep.as_mut().poll(cx).is_ready();
            late |= ready && now != ns(*i * 7 % 200 + 1);
            !ready
        });
        if late || sleeps.is_empty() { core::task::Poll::Ready(late) } else { core::task::Poll::Pending }
    }));
    assert_eq!(late, Some(false));
}

/// Admits by the whole log: no half-open window, wherever it begins, has more than four.
fn check_window(script: &[(i64, u32)]) {
    let window = 100;
    let mut limit = SlidingWindow::<4>::new(Duration::from_nanos(window)).unwrap();
    let (mut log, mut now, mut latest) = (Vec::<u64>::new(), 500_u64, 0);
    for (step, n) in script {
        now = now.saturating_add_signed(*step);
        let in_window = |at: u64| log.iter().filter(|t| at.saturating_sub(**t) < window).count();
        let room = 4 - in_window(now).min(4);
        assert_eq!(limit.available(ns(now)), room);
        let honest = (now + 1..).find(|at| in_window(*at) + *n as usize <= 4);
        match limit.try_acquire(ns(now), *n) {
            Ok(()) => {
                assert!(*n as usize <= room);
                latest = latest.max(now);
                log.extend((0..*n).map(|_| latest));
            }
            Err(Refusal::NotYet { retry_at }) => {
                assert!(*n as usize > room && Some(retry_at.as_nanos()) == honest, "{retry_at} {honest:?}");
            }
            Err(refusal) => assert_eq!(refusal, Refusal::Never { tokens: *n, burst: 4 }),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Take(u32),
    Reserve(u32),
    Commit(usize, u32),
    Move(i64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (1..=10_u32).prop_map(Op::Take),
        (1..=10_u32).prop_map(Op::Reserve),
        (any::<usize>(), 0..=10_u32).prop_map(|(i, used)| Op::Commit(i, used)),
        (-300..500_i64).prop_map(Op::Move),
    ];
    prop::collection::vec(op, 1..30)
}

fn extremes() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX / 4),
        Just(u64::MAX / 4 + 1),
        any::<u64>(),
        0..100_000_u64
    ]
}

fn weights() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>(), 0..9_u32]
}

proptest! {
    #![proptest_config(config(2_000))]

    /// Would catch: a ring that wraps wrongly, a window whose end counts, a refusal that is a nanosecond off.
    #[test]
    fn a_sliding_window_is_its_log(script in prop::collection::vec((0..60_i64, 0..5_u32), 1..60)) {
        check_window(&script.iter().map(|(step, n)| (*step, (*n).min(4))).collect::<Vec<_>>());
    }

    /// Would catch: a change that is given for what time has refilled, or twice.
    #[test]
    fn no_order_of_commits_exceeds_the_limit(script in ops()) {
        let quota = quota(1, Duration::from_nanos(100), 10);
        let (mut bucket, mut model, mut now, mut held) = (TokenBucket::new(quota), Model::new(&quota), 1_000_u64, Vec::new());
        for op in script {
            match op {
                Op::Take(n) if bucket.try_acquire(ns(now), n).is_ok() => model.admitted.push((now, n.into(), false)),
                Op::Take(_) => {}
                Op::Reserve(n) => held.push(bucket.reserve(ns(now), n, Instant::MAX).unwrap()),
                Op::Commit(i, used) if !held.is_empty() => {
                    let settled = held.swap_remove(i % held.len());
                    let (at, used) = (settled.ready_at().as_nanos(), used.min(settled.tokens()));
                    bucket.commit(ns(now), settled, used);
                    model.admitted.push((at, used.into(), false));
                }
                Op::Commit(..) => {}
                Op::Move(step) => now = now.saturating_add_signed(step),
            }
        }
        model.admitted.extend(held.iter().map(|kept| (kept.ready_at().as_nanos(), kept.tokens().into(), false)));
        model.check_all_windows();
    }

    /// The same for two limits that are ready at different times.
    #[test]
    fn no_order_of_commits_exceeds_several_limits(script in ops()) {
        let quotas = [quota(1, Duration::from_nanos(100), 10), quota(1, Duration::from_nanos(37), 5)];
        let each = |n: u32| [n, (n * 7 % 5).max(1)];
        let (mut limits, mut models, mut now, mut held) = (RateLimits::new(quotas), quotas.map(|quota| Model::new(&quota)), 1_000_u64, Vec::new());
        let mut note = |at: u64, used: [u32; 2]| models.iter_mut().zip(used).for_each(|(model, n)| model.admitted.push((at, n.into(), false)));
        for op in script {
            match op {
                Op::Take(n) => match limits.try_acquire(ns(now), each(n)) {
                    Ok(()) => note(now, each(n)),
                    Err(refused) => {
                        let Refusal::NotYet { retry_at } = refused.refusal else { panic!("{refused}") };
                        prop_assert!(retry_at > ns(now));
                        let before = ns(retry_at.as_nanos() - 1);
                        let missing = limits.limits()[refused.limit].available(before) < each(n)[refused.limit];
                        prop_assert!(missing, "{refused}");
                        prop_assert!(limits.available(retry_at).iter().zip(each(n)).all(|(there, n)| *there >= n));
                    }
                },
                Op::Reserve(n) => held.push((limits.reserve(ns(now), each(n), Instant::MAX).unwrap(), each(n))),
                Op::Commit(i, used) if !held.is_empty() => {
                    let (settled, weights) = held.swap_remove(i % held.len());
                    let (at, used) = (settled.ready_at().as_nanos(), weights.map(|n| n.min(used)));
                    limits.commit(ns(now), settled, used);
                    note(at, used);
                }
                Op::Commit(..) => {}
                Op::Move(step) => now = now.saturating_add_signed(step),
            }
        }
        held.iter().for_each(|(kept, n)| note(kept.ready_at().as_nanos(), *n));
        models.iter_mut().for_each(Model::check_all_windows);
    }

    /// Would catch: an overflow, wherever numbers are as large as they go.
    #[test]
    fn nothing_overflows_in_any_interleaving(
        quotas in prop::collection::vec((weights(), extremes(), weights()), 1..4),
        ops in prop::collection::vec((0..9_u8, extremes(), weights(), extremes()), 1..30),
    ) {
        let quotas: Vec<_> = quotas.into_iter().filter_map(|(tokens, period, burst)| {
            Quota::new(tokens, Duration::from_nanos(period)).and_then(|quota| quota.with_burst(burst)).ok()
        }).collect();
        let quotas = if quotas.is_empty() { vec![ten_per_second(3)] } else { quotas };
        let (mut bucket, mut held) = (TokenBucket::new(quotas[0]), Vec::new());
        for (op, now, n, other) in ops {
            let (now, other) = (ns(now), ns(other));
            match op {
                0 => drop(bucket.try_acquire(now, n)),
                1 => held.extend(bucket.reserve(now, n, other)),
                2 => held.extend(bucket.reserve(now, n, Instant::MAX)),
                3 => bucket.debit(now, n),
                4 => bucket.block_until(other),
                5 => bucket.set_quota(now, quotas[n as usize % quotas.len()]),
                6 => bucket = TokenBucket::restore(bucket.quota(), other, bucket.snapshot(now)),
                7 => held.pop().into_iter().for_each(|held| bucket.commit(now, held, n)),
                _ => held.pop().into_iter().for_each(|held| bucket.cancel(now, held)),
            }
            prop_assert!(bucket.available(now) <= bucket.quota().burst());
            if let Err(Refusal::NotYet { retry_at }) = bucket.reserve(now, 1, now) {
                prop_assert!(retry_at > now || now == Instant::MAX);
            }
        }
    }
}
