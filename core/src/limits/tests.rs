//! Tickets of callers that wait by reservation, and what each limit gets back.

extern crate std;

use core::task::Waker;
use core::time::Duration;
use std::string::ToString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;

use super::*;
use crate::rate_limit::{Quota, RefusedBy};

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn ten_per_second(burst: u32) -> TokenBucket {
    TokenBucket::new(Quota::per_second(10).and_then(|quota| quota.with_burst(burst)).unwrap())
}

fn at_once(attempts: u32) -> ConcurrencyLimit {
    ConcurrencyLimit::fixed(attempts).lease(Duration::from_secs(9)).build().unwrap()
}

/// An adaptive rate that was throttled: one call every two seconds, and the first of them at `now`.
fn throttled(now: Instant) -> AdaptiveRate {
    let mut rate = AdaptiveRate::new(now);
    rate.record(now, 1, OutcomeKind::Throttled);
    rate
}

/// Joins and asks at once.
fn ask<const K: usize>(limits: &mut Limits<K>, now: Instant) -> (Ticket<K>, Admission) {
    let mut ticket = limits.join(now, 1, 0, Instant::MAX).unwrap();
    let admission = limits.poll(now, &mut ticket);
    (ticket, admission)
}

#[test]
fn no_limits_admit_everybody() {
    let mut limits = Limits::<1>::none();
    for _ in 0..100 {
        let (ticket, admission) = ask(&mut limits, ms(0));
        assert_eq!(admission, Admission::Granted);
        assert_eq!(limits.finish(ms(0), ticket, OutcomeKind::Success), Learned::NOTHING);
    }
}

#[test]
fn tokens_are_waited_for_by_reservation() {
    let mut limits = Limits::from(ten_per_second(1));
    let (_used, _) = ask(&mut limits, ms(0));
    let (mut second, admission) = ask(&mut limits, ms(0));
    assert_eq!(admission, Admission::Wait(ms(100)));
    assert_eq!(limits.poll(ms(99), &mut second), Admission::Wait(ms(100)));
    assert_eq!(limits.poll(ms(100), &mut second), Admission::Granted);
    assert_eq!(limits.poll(ms(100), &mut second), Admission::Granted, "and stays so");
    let refused = limits.join(ms(100), 1, 0, ms(200)).unwrap_err();
    assert_eq!(refused, rate_limit::Refusal::NotYet { retry_at: ms(200) }.into());
    let never = limits.join(ms(100), 2, 0, Instant::MAX).unwrap_err();
    assert_eq!(never, rate_limit::Refusal::Never { tokens: 2, burst: 1 }.into());
}

#[test]
fn nobody_waits_for_a_slot_without_a_line() {
    let mut limits = Limits::from(ten_per_second(5)).with_concurrency_limit(at_once(1));
    let (first, admission) = ask(&mut limits, ms(0));
    assert_eq!(admission, Admission::Granted);
    let (second, admission) = ask(&mut limits, ms(1));
    let refusal = concurrency::Refusal { in_flight: 1, limit: 1, at_latest: ms(18_000) };
    assert_eq!(admission, Admission::Refused(refusal.into()));
    limits.leave(ms(1), second);
    assert_eq!(limits.rate_limits().unwrap().available(ms(1)), [4], "its token came back");
    limits.finish(ms(2), first, OutcomeKind::Success);
    assert_eq!(ask(&mut limits, ms(2)).1, Admission::Granted);
}

/// What is left of a slot and five tokens once a ticket was granted and handed back in some way.
#[track_caller]
fn check_back(hand_back: impl FnOnce(&mut Limits, Ticket), in_flight: u32, available: u32) {
    let mut limits = Limits::from(ten_per_second(5)).with_concurrency_limit(at_once(2));
    let (ticket, admission) = ask(&mut limits, ms(0));
    assert_eq!(admission, Admission::Granted);
    hand_back(&mut limits, ticket);
    assert_eq!(limits.concurrency_limit().unwrap().in_flight(), in_flight);
    assert_eq!(limits.rate_limits().unwrap().available(ms(0)), [available]);
}

#[test]
fn whatever_becomes_of_a_ticket_its_slot_comes_back_and_tokens_that_were_not_used() {
    check_back(|_, ticket| drop(ticket), 1, 4);
    check_back(|limits, ticket| limits.leave(ms(0), ticket), 0, 5);
    check_back(|limits, ticket| limits.abandon(ms(0), ticket), 0, 4);
    check_back(|limits, ticket| assert_eq!(limits.finish(ms(0), ticket, OutcomeKind::Success), Learned::NOTHING), 0, 4);
}

#[test]
fn an_adaptive_rate_holds_callers_back_and_learns_how_they_fared() {
    let mut limits = Limits::<1>::none().with_adaptive_rate(throttled(ms(0)));
    let (mut ticket, admission) = ask(&mut limits, ms(0));
    assert_eq!(admission, Admission::Wait(ms(2000)));
    assert_eq!(limits.poll(ms(2000), &mut ticket), Admission::Granted);
    assert_eq!(ask(&mut limits, ms(2000)).1, Admission::Wait(ms(4000)));
    let learned = limits.finish(ms(9000), ticket, OutcomeKind::Success);
    assert!(limits.adaptive_rate().unwrap().interval() <= Some(Duration::from_secs(2)), "{learned:?}");
}

#[test]
fn who_waits_for_the_adaptive_rate_keeps_no_slot() {
    let mut limits =
        Limits::from(ten_per_second(5)).with_adaptive_rate(throttled(ms(0))).with_concurrency_limit(at_once(1));
    let (waits, admission) = ask(&mut limits, ms(0));
    assert_eq!(admission, Admission::Wait(ms(2000)));
    assert_eq!(limits.concurrency_limit().unwrap().in_flight(), 0);
    limits.leave(ms(0), waits);
    assert_eq!(limits.rate_limits().unwrap().available(ms(0)), [5]);
}

#[test]
fn all_is_taken_at_once_or_nothing_is() {
    let buckets = || RateLimits::of([ten_per_second(1), ten_per_second(2)]);
    let full = |limits: &Limits<2>, now| limits.rate_limits().unwrap().available(now);
    let mut limits = Limits::<2>::none()
        .with_rate_limits(buckets(), [Counts::Calls, Counts::Weight])
        .with_concurrency_limit(at_once(1));
    assert_eq!(limits.weights(7), [1, 7]);

    let never = rate_limit::Refusal::Never { tokens: 3, burst: 2 };
    assert_eq!(limits.try_take(ms(0), [1, 3]).unwrap_err(), Missing::Never(never));
    assert_eq!(full(&limits, ms(0)), [1, 2]);

    let grant = limits.try_take(ms(0), [1, 2]).unwrap();
    assert!(grant.has_slot());
    assert_eq!(limits.try_take(ms(0), [0, 0]).unwrap_err(), Missing::Slot(ms(18_000)));
    limits.give_back(ms(0), grant);
    assert_eq!(full(&limits, ms(0)), [1, 2]);

    let grant = limits.try_take(ms(0), [1, 2]).unwrap();
    limits.abandon_grant(grant);
    assert_eq!(limits.try_take(ms(0), [1, 2]).unwrap_err(), Missing::Tokens(ms(200)));
    assert_eq!(limits.concurrency_limit().unwrap().in_flight(), 0);

    let mut paced = Limits::<2>::none()
        .with_rate_limits(buckets(), [Counts::Calls; 2])
        .with_adaptive_rate(throttled(ms(0)))
        .with_concurrency_limit(at_once(1));
    assert_eq!(paced.try_take(ms(0), [1, 1]).unwrap_err(), Missing::Tokens(ms(2000)));
    assert_eq!((full(&paced, ms(0)), paced.concurrency_limit().unwrap().in_flight()), ([1, 2], 0));
}

#[test]
fn a_call_weighs_what_the_first_limit_says_that_counts_weight() {
    for (counts, weights, want) in [
        ([Counts::Calls, Counts::Weight], [1, 7], 7),
        ([Counts::Weight, Counts::Calls], [7, 1], 7),
        ([Counts::Weight; 2], [7, 9], 7),
        ([Counts::Calls; 2], [7, 9], 1),
    ] {
        let buckets = RateLimits::of([ten_per_second(9), ten_per_second(9)]);
        let limits = Limits::<2>::none().with_rate_limits(buckets, counts);
        assert_eq!(limits.weight(weights), want, "{counts:?}");
    }
}

#[test]
fn tokens_are_taken_the_short_way_where_there_is_nothing_else() {
    let tokens = || Limits::from(ten_per_second(5));
    for (mut limits, n, taken) in [
        (tokens(), 5, 5),
        (tokens(), 6, 0),
        (tokens().with_concurrency_limit(at_once(1)), 1, 0),
        (tokens().with_adaptive_rate(AdaptiveRate::new(ms(0))), 1, 0),
        (Limits::none(), 1, 0),
    ] {
        let [before] = limits.available(ms(0));
        let grant = limits.try_take_tokens(ms(0), [n]);
        assert_eq!((grant.is_some(), limits.available(ms(0))), (taken > 0, [before - taken]), "{limits}");
    }
}

#[test]
fn what_was_granted_is_renewed_by_all_limits_or_by_none() {
    let buckets = RateLimits::of([ten_per_second(10), ten_per_second(4)]);
    let mut limits = Limits::<2>::none().with_rate_limits(buckets, [Counts::Calls, Counts::Weight]);
    let mut grant = limits.try_take(ms(0), [1, 4]).unwrap();
    let _used = limits.try_take(ms(100), [1, 1]).unwrap();
    // The second limit has room for all four only when that one has come in again.
    for (now, want, available) in [(400, false, [10, 3]), (500, true, [9, 0])] {
        assert_eq!((limits.renew(ms(now), &mut grant), limits.available(ms(now))), (want, available), "{now}");
    }
    let mut unlimited = Limits::<1>::none();
    let mut grant = unlimited.try_take(ms(0), [1]).unwrap();
    assert!(unlimited.renew(ms(9), &mut grant));
}

#[test]
fn each_limit_can_be_changed_and_none_is_there_that_was_not_added() {
    let mut limits = Limits::from(ten_per_second(5)).with_concurrency_limit(at_once(1));
    limits.rate_limits_mut().unwrap().block_until(ms(500));
    assert_eq!(limits.available(ms(0)), [0]);
    limits.concurrency_limit_mut().unwrap().set_bounds(2, 2).unwrap();
    assert_eq!(limits.concurrency_limit().unwrap().limit(), 2);
    let mut unlimited = Limits::<1>::none();
    assert!(unlimited.rate_limits_mut().is_none() && unlimited.concurrency_limit_mut().is_none());
    assert!(!unlimited.try_take(ms(0), [1]).unwrap().has_slot());
}

#[test]
fn a_refusal_says_what_the_limit_behind_it_says() {
    let never = rate_limit::Refusal::Never { tokens: 3, burst: 2 };
    let by = RefusedBy { limit: 1, refusal: never };
    assert_eq!(
        [Refusal::from(never), Refusal::from(by)].map(|refusal| refusal.to_string()),
        [(); 2].map(|()| never.to_string())
    );
    let full = concurrency::Refusal { in_flight: 1, limit: 1, at_latest: ms(9) };
    assert_eq!(Refusal::from(full).to_string(), full.to_string());
}

/// Counts how often it is woken.
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_has_to_ask_again_is_woken_and_who_left_is_not() {
    for (let_go, want) in [(Woken::Wake as fn(Waker) -> Woken, 1), (Woken::Forget, 0)] {
        let count = Arc::new(Count(AtomicU32::new(0)));
        let_go(Waker::from(Arc::clone(&count))).let_go();
        assert_eq!((count.0.load(Ordering::Relaxed), Arc::strong_count(&count)), (want, 1));
    }
}

#[test]
fn a_block_moves_reservations_behind_it() {
    let mut limits = Limits::from(ten_per_second(5));
    let mut tickets = [(); 2].map(|()| limits.join(ms(0), 1, 0, Instant::MAX).unwrap());
    limits.block_until(ms(500));
    let stand = tickets.each_mut().map(|ticket| limits.poll(ms(0), ticket));
    assert_eq!(stand, [Admission::Wait(ms(500)), Admission::Wait(ms(600))]);
    assert_eq!(limits.poll(ms(600), &mut tickets[1]), Admission::Granted);
    assert_eq!((limits.available(ms(600)), limits.ready_at(ms(600), [1])), ([0], Ok(Some(ms(700)))));
    assert_eq!(limits.ready_at_after(ms(600), [7]), Some(ms(1300)));
    // Without a rate limit, everybody waits all the same, and all go at once.
    let mut unlimited = Limits::<1>::none();
    unlimited.block_until(ms(500));
    assert_eq!((unlimited.available(ms(0)), unlimited.ready_at(ms(0), [9])), ([u32::MAX], Ok(Some(ms(0)))));
    assert_eq!(unlimited.ready_at_after(ms(0), [9]), Some(ms(0)));
    assert_eq!(ask(&mut unlimited, ms(499)).1, Admission::Wait(ms(500)));
    assert_eq!(unlimited.try_take(ms(499), [1]).unwrap_err(), Missing::Tokens(ms(500)));
    assert_eq!([ask(&mut unlimited, ms(500)).1, ask(&mut unlimited, ms(500)).1], [Admission::Granted; 2]);
}

/// Whatever happens, the bucket alone says what it would in limits that have nothing else.
#[test]
fn a_bucket_alone_admits_as_limits_of_that_bucket_do() {
    let (mut alone, mut limits) = (ten_per_second(3), Limits::from(ten_per_second(3)));
    let (mut now, mut dice) = (Instant::EPOCH, 1_u64);
    let mut tickets = std::vec::Vec::new();
    let mut refused = 0;
    for _ in 0..5_000 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let roll = dice >> 33;
        now += Duration::from_millis(roll % 90);
        let (n, deadline) = (u32::try_from(roll % 5).unwrap(), now + Duration::from_millis(roll % 900));
        match (alone.join(now, n, 0, deadline), limits.join(now, n, 0, deadline)) {
            (Ok(of_bucket), Ok(of_limits)) => tickets.push((of_bucket, of_limits)),
            (one, other) => {
                assert_eq!(one.unwrap_err(), other.unwrap_err());
                refused += 1;
            }
        }
        if roll % 40 == 0 {
            let until = now + Duration::from_millis(roll % 1_000);
            Limiter::block_until(&mut alone, until);
            limits.block_until(until);
        }
        tickets.retain_mut(|(of_bucket, of_limits)| {
            let admission = alone.poll(now, of_bucket);
            assert_eq!(admission, limits.poll(now, of_limits), "at {now}");
            admission != Admission::Granted
        });
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn a_bucket_alone_gets_back_what_nobody_used() {
    let mut bucket = ten_per_second(5);
    let [used, dropped, left] = [1, 2, 4].map(|n| bucket.join(ms(0), n, 0, Instant::MAX).unwrap());
    assert_eq!(bucket.available(ms(0)), 0);
    bucket.leave(ms(0), left);
    assert_eq!(bucket.available(ms(0)), 2);
    assert_eq!(bucket.finish(ms(0), used, OutcomeKind::Transient), Learned::NOTHING);
    assert_eq!(bucket.tell(ms(0), &dropped, &Told::NOTHING), None, "it does not keep that in mind");
    bucket.abandon(ms(0), dropped);
    assert_eq!(bucket.available(ms(0)), 2, "what was started is spent");
}

#[test]
fn limits_are_at_rest_when_they_are_full_and_nobody_blocks_them() {
    let quota = |tokens, burst| Quota::per_second(tokens).and_then(|quota| quota.with_burst(burst)).unwrap();
    let mut limits =
        Limits::<2>::none().with_rate_limits(RateLimits::new([quota(10, 2), quota(100, 50)]), [Counts::Weight; 2]);
    assert_eq!(limits.at_rest_at(ms(7)), ms(7));
    for (weights, want) in [([1, 0], 100), ([0, 30], 300), ([1, 0], 300)] {
        let _ = limits.try_take(ms(0), weights).expect("there is as much");
        assert_eq!(limits.at_rest_at(ms(0)), ms(want), "{weights:?}");
    }
    assert_eq!(limits.at_rest_at(ms(299)), ms(300));
    assert_eq!(limits.at_rest_at(ms(301)), ms(301));
    Limiter::block_until(&mut limits, ms(9_000));
    // They start anew from there, with one token each.
    assert_eq!(limits.at_rest_at(ms(301)), ms(9_490));
    Limiter::block_until(&mut limits, Instant::MAX);
    assert_eq!(limits.at_rest_at(ms(301)), Instant::MAX);
    let mut none = Limits::<1>::none();
    Limiter::block_until(&mut none, ms(50));
    assert_eq!((none.at_rest_at(ms(7)), none.at_rest_at(ms(50))), (ms(50), ms(50)));
}
