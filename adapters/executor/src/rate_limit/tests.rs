//! The future of an acquire by itself. Many at once, dropped at every poll, are tried in the package `steadfast-tests`.

use std::cell::Cell;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::time::{Clock, ManualClock};

use super::*;

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Ten a second, one at a time, with the bucket empty.
fn empty<T: Timer>(timer: T) -> RateLimit<T> {
    let limit = RateLimit::new(Quota::per_second(10).unwrap(), timer);
    drop(limit.try_acquire(1).unwrap());
    limit
}

/// A timer that rings at once, whatever was asked, as a broken one would; and how often it was asked.
struct RingsAtOnce<'a>(&'a ManualClock, &'a Cell<u32>);

impl Clock for RingsAtOnce<'_> {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl Timer for RingsAtOnce<'_> {
    type Sleep = Ready<()>;

    fn sleep_until(&self, _deadline: Instant) -> Ready<()> {
        self.1.set(self.1.get() + 1);
        ready(())
    }
}

#[test]
fn a_timer_that_rings_early_makes_nothing_early_and_lets_others_run() {
    let (clock, slept) = (ManualClock::new(), Cell::new(0));
    let limit = empty(RingsAtOnce(&clock, &slept));
    let mut waiting = pin!(limit.acquire(1));
    let mut cx = Context::from_waker(Waker::noop());
    for want in [2, 4] {
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert_eq!(slept.get(), want);
    }
    clock.advance(Duration::from_millis(100));
    assert!(matches!(waiting.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
}

/// A timer that never rings, and how often it was asked.
struct NeverRings<'a>(&'a ManualClock, &'a Cell<u32>);

impl Clock for NeverRings<'_> {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl Timer for NeverRings<'_> {
    type Sleep = std::future::Pending<()>;

    fn sleep_until(&self, _deadline: Instant) -> Self::Sleep {
        self.1.set(self.1.get() + 1);
        std::future::pending()
    }
}

#[test]
fn who_is_told_the_same_time_again_sleeps_on() {
    let (clock, slept) = (ManualClock::new(), Cell::new(0));
    let limit = empty(NeverRings(&clock, &slept));
    let mut waiting = pin!(limit.acquire(1));
    let mut cx = Context::from_waker(Waker::noop());
    for want in [1, 1, 1] {
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert_eq!(slept.get(), want);
    }
    limit.block_until(ms(500));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert_eq!(slept.get(), 2, "until another time");
}

#[test]
fn who_asks_out_of_turn_overtakes_nobody() {
    let clock = ManualClock::new();
    let limit = RateLimit::new(Quota::per_second(10).and_then(|quota| quota.with_burst(2)).unwrap(), &clock);
    drop(limit.try_acquire(2).unwrap());
    let (mut heavy, mut light) = (pin!(limit.acquire(2)), pin!(limit.acquire(1)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(heavy.as_mut().poll(&mut cx).is_pending() && light.as_mut().poll(&mut cx).is_pending());
    assert_eq!(limit.waiting(), 2);
    for _ in [100, 200] {
        clock.advance(Duration::from_millis(100));
        assert!(light.as_mut().poll(&mut cx).is_pending(), "what is there is for the heavy one");
    }
    assert!(matches!(heavy.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    clock.advance(Duration::from_millis(100));
    assert!(matches!(light.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    assert_eq!((limit.waiting(), limit.available()), (0, [0]));
}

#[test]
fn nobody_gets_a_second_answer() {
    let clock = ManualClock::new();
    let limit = RateLimit::new(Quota::per_second(10).unwrap(), &clock);
    let mut cx = Context::from_waker(Waker::noop());
    let mut at_once = pin!(limit.acquire(1));
    assert!(matches!(at_once.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    let mut waits = pin!(limit.acquire(1));
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    let mut never = pin!(limit.acquire(2));
    assert!(matches!(never.as_mut().poll(&mut cx), Poll::Ready(Err(Refusal::Never { .. }))));
    clock.advance(Duration::from_millis(100));
    assert!(matches!(waits.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    clock.advance(Duration::from_millis(100));
    for mut answered in [at_once as std::pin::Pin<&mut dyn Future<Output = _>>, waits, never] {
        let again = answered.as_mut().poll(&mut cx);
        assert!(matches!(again, Poll::Ready(Err(Refusal::NotYet { retry_at: Instant::MAX }))), "{again:?}");
    }
    assert_eq!(limit.available(), [1], "and nothing is taken for it");
}

#[test]
fn who_gives_up_has_left_the_line_though_it_is_not_dropped() {
    for deadline in [101, 500] {
        let clock = ManualClock::new();
        let limit = empty(&clock);
        let mut cx = Context::from_waker(Waker::noop());
        let mut waits = pin!(limit.acquire(Demand::of([1]).before(ms(deadline))));
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        limit.block_until(ms(500));
        let answer = waits.as_mut().poll(&mut cx);
        assert!(matches!(answer, Poll::Ready(Err(Refusal::NotYet { retry_at })) if retry_at == ms(500)), "{answer:?}");
        assert_eq!(limit.waiting(), 0);
    }
}

#[test]
fn who_is_dropped_has_left_the_line() {
    let clock = ManualClock::new();
    let limit = empty(&clock);
    {
        let mut waits = pin!(limit.acquire(1));
        assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(limit.waiting(), 1);
    }
    assert_eq!(limit.waiting(), 0);
}

#[test]
fn true_costs_are_settled_and_what_was_not_used_goes_back() {
    for (used, want) in [(None, 4), (Some(0), 9), (Some(3), 6), (Some(6), 3)] {
        let clock = ManualClock::new();
        let limit = RateLimit::new(Quota::per_second(10).and_then(|quota| quota.with_burst(9)).unwrap(), &clock);
        let held = limit.try_acquire(5).unwrap();
        match used {
            None => drop(held),
            Some(0) => held.cancel(),
            Some(used) => held.commit([used]),
        }
        assert_eq!(limit.available(), [want], "{used:?} used");
    }
}

#[test]
fn another_quota_holds_from_now_on() {
    let clock = ManualClock::new();
    let limit = empty(&clock);
    limit.set_quota(0, Quota::per_second(5).unwrap());
    assert!(matches!(limit.try_acquire(1), Err(Refusal::NotYet { retry_at }) if retry_at == ms(200)));
}

#[test]
fn a_deadline_ends_the_wait_for_a_slot() {
    let clock = ManualClock::new();
    let slots = ConcurrencyLimit::fixed(1).lease(Duration::from_secs(9)).build().unwrap();
    let limit = RateLimit::with_line(Line::<0>::before(Limits::none().with_concurrency_limit(slots)), &clock);
    let taken = limit.try_acquire([]).unwrap();
    let late = clock.drive(limit.acquire(Demand::of([]).before(ms(30)))).unwrap().map(drop);
    assert!(matches!(late, Err(Refusal::NotYet { retry_at }) if retry_at > ms(30)), "{late:?}");
    assert_eq!((clock.now(), limit.waiting()), (ms(30), 0));
    drop(taken);
    assert!(limit.try_acquire([]).is_ok(), "what is dropped frees its slot");
}
