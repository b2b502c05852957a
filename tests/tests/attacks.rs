//! Scripts that have broken a promise once, each as small as it goes.

use core::cell::RefCell;
use core::future::Future;
use core::task::Waker;
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Wake;

use proptest::prelude::*;
use steadfast_core::backoff::{Backoff, Jitter};
use steadfast_core::event::Events;
use steadfast_core::limits::{Admission, Limiter};
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline, Step};
use steadfast_core::rate_limit::{Quota, Refusal, Reservation, TokenBucket};
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
use steadfast_executor::{Demand, Line, RateLimit, Ticket};

use crate::refunds::{check_refunds, refunding};
use crate::support::{Tasks, World, bucket, config, millis, ms, ns, quota, ten_per_second, wait};

fn reserve_ms(bucket: &mut TokenBucket, now: u64, n: u32) -> (Reservation, u64) {
    let reservation = bucket.reserve(ms(now), n, Instant::MAX).unwrap();
    let ready = reservation.ready_at().as_nanos() / 1_000_000;
    (reservation, ready)
}

/// Promise 1: a refund of one waiting reservation is handed out again at the very time that a later one holds.
#[test]
fn cancelling_between_two_reservations_admits_two_at_once() {
    let mut bucket = bucket(1);
    let (_first, _) = reserve_ms(&mut bucket, 0, 1);
    let (second, _) = reserve_ms(&mut bucket, 0, 1);
    let (_third, third) = reserve_ms(&mut bucket, 0, 1);
    bucket.cancel(ms(0), second);
    let (_fourth, fourth) = reserve_ms(&mut bucket, 0, 1);
    assert_ne!(third, fourth, "a burst of 1 lets two go at {third} ms");
}

/// Promise 1, with nothing but immediate grants and a clock that never steps back.
#[test]
fn cancelling_twice_refunds_what_time_has_refilled() {
    let mut bucket = bucket(10);
    let (a, _) = reserve_ms(&mut bucket, 0, 5);
    let (b, _) = reserve_ms(&mut bucket, 0, 5);
    bucket.cancel(ms(0), a);
    assert_eq!(bucket.try_acquire(ms(300), 8), Ok(()));
    // Of the five of b, three were refilled since: two are to be given back.
    bucket.cancel(ms(300), b);
    assert_eq!(bucket.available(ms(300)), 2, "8 went at 300 ms; of a burst of 10 that leaves 2");
}

proptest! {
    #![proptest_config(config(2_000))]

    /// Promise 1 under any order of taking, reserving, cancelling and waiting.
    #[test]
    fn no_order_of_cancels_exceeds_the_limit(script in refunding(10, 0)) {
        check_refunds(script);
    }

    /// The same on a clock that steps back.
    #[test]
    fn no_order_of_cancels_exceeds_the_limit_on_a_clock_that_steps_back(script in refunding(10, -300)) {
        check_refunds(script);
    }
}

/// The same through the line.
#[test]
fn leaving_the_line_twice_admits_more_than_the_burst_at_once() {
    let mut line = Line::new(ten_per_second(10));
    let a = Limiter::join(&mut line, ms(0), 5, 0, Instant::MAX).unwrap();
    let b = Limiter::join(&mut line, ms(0), 5, 0, Instant::MAX).unwrap();
    line.leave(ms(0), a);
    let _used = Limiter::join(&mut line, ms(300), 8, 0, ms(301)).unwrap();
    line.leave(ms(300), b);
    assert_eq!(line.available(ms(300))[0], 2);
}

/// The same with what any caller has in hand.
#[test]
fn giving_back_what_is_held_twice_admits_more_than_the_burst_at_once() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(10), world.clone());
    let [a, b] = [0; 2].map(|_| limit.try_acquire(5).unwrap());
    a.cancel();
    world.set(ms(300));
    limit.try_acquire(8).unwrap();
    b.cancel();
    assert_eq!(limit.available(), [2], "8 went at 300 ms");
}

/// Promise 1: a clock that steps back before a cancel gives tokens.
#[test]
fn cancelling_on_a_clock_that_stepped_back_gives_tokens() {
    let mut bucket = bucket(10);
    let (first, _) = reserve_ms(&mut bucket, 0, 4);
    assert_eq!(bucket.try_acquire(ms(900), 10), Ok(()));
    bucket.cancel(ms(0), first);
    assert_eq!(bucket.available(ms(900)), 0, "ten went at 900 ms already");
}

/// Promise 1: what a block has swallowed is refunded once more.
#[test]
fn a_refund_after_a_block_is_paid_twice() {
    let mut bucket = bucket(5);
    let (before, _) = reserve_ms(&mut bucket, 0, 5);
    bucket.block_until(ms(1000));
    let (_five, five) = reserve_ms(&mut bucket, 0, 5);
    bucket.cancel(ms(0), before);
    let (_more, more) = reserve_ms(&mut bucket, 0, 5);
    assert!(more >= five + 500, "five at {five} ms and five at {more} ms, of a burst of five and ten a second");
}

/// Promise 2: whoever waits already starts long before the server's `Retry-After`.
#[test]
fn a_call_in_line_starts_before_retry_after() {
    let limit = TokenBucket::new(Quota::per_second(1).unwrap());
    let mut pipeline = Pipeline::builder().rate_limit(limit).build().unwrap();
    let mut events = Events::new();
    let mut first = pipeline.call(ms(0), CallOptions::idempotent());
    let mut second = pipeline.call(ms(0), CallOptions::idempotent());
    assert!(matches!(first.poll(ms(0), 0, &mut pipeline, &mut events), Step::Start(_)));
    assert_eq!(second.poll(ms(0), 0, &mut pipeline, &mut events), Step::Wait(ms(1000)));
    let come_back = Outcome::throttled().with_retry_after(Duration::from_secs(10));
    first.finish(ms(0), 0, 1, come_back, &mut pipeline, &mut events);
    let step = second.poll(ms(1000), 0, &mut pipeline, &mut events);
    assert!(!matches!(step, Step::Start(_)), "{step:?} at 1 s; the server said 10 s");
}

/// Promise 2, in the line: tokens that were granted and not yet used outlive a block.
#[test]
fn a_waiter_that_was_granted_starts_before_retry_after() {
    let mut line = Line::new(ten_per_second(2));
    let _used = Limiter::join(&mut line, ms(0), 2, 0, Instant::MAX).unwrap();
    let mut first = Limiter::join(&mut line, ms(0), 1, 0, Instant::MAX).unwrap();
    let mut second = Limiter::join(&mut line, ms(0), 1, 0, Instant::MAX).unwrap();
    assert_eq!(line.poll(ms(200), &mut first), Admission::Granted); // This grants both.
    line.block_until(ms(10_000));
    assert!(matches!(line.poll(ms(201), &mut second), Admission::Wait(until) if until >= ms(10_000)));
}

/// Promise 4: a forgotten waiter costs what it asked for, and nobody behind it needs it to be polled.
#[test]
fn a_forgotten_waiter_is_passed() {
    let mut line = Line::new(ten_per_second(1));
    let _used = Limiter::join(&mut line, ms(0), 1, 0, Instant::MAX).unwrap();
    let _forgotten = Limiter::join(&mut line, ms(0), 1, 0, Instant::MAX).unwrap();
    let mut behind = Limiter::join(&mut line, ms(0), 1, 0, Instant::MAX).unwrap();
    assert_eq!(line.poll(ms(0), &mut behind), Admission::Wait(ms(200)));
    assert_eq!(line.poll(ms(200), &mut behind), Admission::Wait(ms(300)));
    assert_eq!(line.poll(ms(300), &mut behind), Admission::Granted);
}

/// The same with whole futures: five of six are leaked, and each costs the sixth its token, once.
#[test]
fn five_leaked_waiters_cost_five_tokens() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(1), world.clone());
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..6 {
        tasks.spawn(wait(&limit, 1));
    }
    (0..5).for_each(|forgotten| tasks.leak(forgotten));
    tasks.run_until(ms(60_000));
    assert_eq!(tasks.done_at(5), Some(ms(1100)));
}

/// Promises 1 and 5: where an earlier wake came late, two do not go together to make up for it. Who cannot be in time for
/// its deadline any more is told so when it asks, and does not wait until then.
#[test]
fn a_late_wake_may_cost_those_behind_their_deadline() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(1), world.clone());
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    tasks.spawn(wait(&limit, Demand::of([1]).before(Instant::MAX)));
    tasks.spawn(wait(&limit, Demand::of([1]).before(ms(210))));
    world.set(ms(150)); // A timer that is late, or a busy executor.
    tasks.run_until(ms(60_000));
    assert_eq!(tasks.tasks[1].done, Some((ms(200), Err(Refusal::NotYet { retry_at: ms(250) }))));
}

/// No tokens at all make the waiter spin: it is told to wait until now.
#[test]
fn waiting_for_no_tokens_spins() {
    let clock = ManualClock::new();
    let limit = RateLimit::new(ten_per_second(1), &clock);
    limit.try_acquire(1).unwrap();
    assert_eq!(clock.drive(wait(&limit, 0)), Some(Ok(())));
}

/// No tokens at all are admitted although one would not be, and their waiter stays in line for good.
#[test]
fn trying_for_no_tokens_leaves_a_ghost_in_line() {
    let clock = ManualClock::new();
    let limit = RateLimit::new(ten_per_second(1), &clock);
    limit.try_acquire(1).unwrap();
    assert_eq!((limit.try_acquire(0).map(drop), limit.waiting()), (Err(Refusal::NotYet { retry_at: ms(100) }), 0));
}

/// "No tokens at all are admitted when one would be, and leave it there." They do not, between two units of time.
#[test]
fn no_tokens_at_all_take_one() {
    let mut bucket = TokenBucket::new(Quota::per_second(3).unwrap());
    assert_eq!(bucket.try_acquire(ns(1), 0), Ok(()));
    assert_eq!(bucket.try_acquire(ns(1), 1), Ok(()));
}

/// "Up to `burst` tokens at once after a rest", but not one by one: after the first, a unit of time is missing.
#[test]
fn a_full_bucket_keeps_one_token_back() {
    let mut bucket = TokenBucket::new(quota(3, Duration::from_secs(1), 10));
    assert_eq!((0..50).filter(|_| bucket.try_acquire(ns(1), 1).is_ok()).count(), 10);
}

/// Promise 3: the bucket is not as if the reservation had not been.
#[test]
fn a_cancel_at_once_does_not_give_everything_back() {
    let mut bucket = TokenBucket::new(quota(3, Duration::from_secs(1), 5));
    let reservation = bucket.reserve(ns(1), 2, Instant::MAX).unwrap();
    bucket.cancel(ns(1), reservation);
    assert_eq!(bucket.available(ns(1)), 5);
}

/// Promise 8: "`retry_at` is later than `now`".
#[test]
fn a_refusal_for_a_deadline_that_has_passed_says_come_back_now() {
    let mut bucket = bucket(1);
    match bucket.reserve(ms(5), 1, ms(5)) {
        Err(Refusal::NotYet { retry_at }) => assert!(retry_at > ms(5), "{retry_at}"),
        other => panic!("{other:?}"),
    }
}

/// Promise 1, and "period: 1 ns to 584 years": a longer one is taken as 584 years, in silence.
#[test]
fn a_period_beyond_the_range_admits_more_than_it_says() {
    assert!(Quota::new(1000, Duration::MAX).is_err());
}

/// 600 M/s is 400 M/s with a burst of one, although 500 M/s is what whole nanoseconds allow.
#[test]
fn six_hundred_million_a_second_are_four_hundred() {
    let mut bucket = TokenBucket::new(Quota::per_second(600_000_000).unwrap());
    let admitted = (0..1_000).filter(|now| bucket.try_acquire(ns(*now), 1).is_ok()).count();
    assert_eq!(admitted, 500);
}

/// "How many tokens somebody who asks now would get at once."
#[test]
fn available_forgets_that_the_line_has_had_its_turn() {
    let mut line = Line::new(ten_per_second(5));
    let _used = Limiter::join(&mut line, ms(0), 5, 0, Instant::MAX).unwrap();
    let _forgotten: Ticket = Limiter::join(&mut line, ms(0), 1, 0, Instant::MAX).unwrap();
    let available = line.available(ms(10_000))[0];
    assert!(Limiter::join(&mut line, ms(10_000), 4, 0, ms(10_001)).is_ok());
    assert_eq!(available, 4);
}

/// Half of all callers at the cap come back at the very same nanosecond.
#[test]
fn proportional_jitter_at_the_cap_is_half_no_jitter() {
    let second = Duration::from_secs(1);
    let backoff = Backoff::builder().base(second).cap(second).jitter(Jitter::Proportional(20)).build().unwrap();
    let at_cap = (0..1_000).filter(|i| backoff.delay(1, Duration::ZERO, i * (u64::MAX / 1_000)) == second).count();
    assert!(at_cap <= 10, "{at_cap} of 1,000 wait for exactly the cap");
}

/// `ManualClock` jumps over the end of a sleep that it had no room for.
#[test]
fn the_sixty_fifth_sleeper_oversleeps() {
    let clock = ManualClock::new();
    let mut sleeps: Vec<_> = (0..64).map(|_| Box::pin((&clock).sleep_until(ms(10)))).collect();
    let mut last = Box::pin((&clock).sleep_until(ms(1)));
    let woke = clock.drive(core::future::poll_fn(|cx| {
        for sleep in &mut sleeps {
            let _ = sleep.as_mut().poll(cx);
        }
        last.as_mut().poll(cx).map(|()| clock.now())
    }));
    assert_eq!(woke, Some(ms(1)));
}

/// Whoever leaves from behind wakes the first in line, whose time that does not change: polls grow with the leavers.
#[test]
fn those_who_leave_from_behind_wake_the_first() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(1), world.clone());
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..1_001 {
        tasks.spawn(wait(&limit, 1));
    }
    for leaver in 1..1_001 {
        tasks.cancel(leaver);
        tasks.settle();
    }
    assert!(tasks.tasks[0].polls <= 4, "{} polls", tasks.tasks[0].polls);
}

/// With the cell that core itself brings, nobody wakes whom the line moved forward.
#[test]
fn a_line_in_a_ref_cell_wakes_nobody() {
    use steadfast_core::run::Runner;
    let world = World::default();
    let limit = TokenBucket::new(Quota::per_second(1).unwrap());
    let pipeline = Pipeline::builder().rate_limit(limit).build().unwrap().map_limits(Line::before);
    let pipeline = RefCell::new(pipeline);
    let runner = Runner { pipeline: &pipeline, timer: &world, observer: &() };
    let call = || runner.call(CallOptions::idempotent(), || 0, |()| Outcome::success(), |_| async {});
    let mut tasks = Tasks::new(&world);
    for _ in 0..3 {
        tasks.spawn(call());
    }
    tasks.cancel(1);
    tasks.run_until(ms(60_000));
    assert_eq!(tasks.done_at(2), Some(ms(1000)));
}

struct AsksOnDrop(RateLimit<WallClock>);

#[derive(Clone)]
struct WallClock(std::time::Instant);

impl Clock for WallClock {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }
}

impl Timer for WallClock {
    type Sleep = core::future::Pending<()>;

    fn sleep_until(&self, _deadline: Instant) -> Self::Sleep {
        core::future::pending()
    }
}

impl Wake for AsksOnDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for AsksOnDrop {
    fn drop(&mut self) {
        self.0.available();
    }
}

/// "No user code runs under our locks": a waker is cloned and dropped under them, and dropping the last waker of a task
/// drops the task. On a thread of its own, and with the wall clock, because the failure is a deadlock.
#[test]
fn a_waker_is_dropped_under_the_lock() {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        let limit = RateLimit::new(Quota::per_hour(1).unwrap(), WallClock(std::time::Instant::now()));
        limit.try_acquire(1).unwrap();
        let mut waits = Box::pin(wait(&limit, 1));
        let waker = Waker::from(Arc::new(AsksOnDrop(limit.clone())));
        let _ = waits.as_mut().poll(&mut core::task::Context::from_waker(&waker));
        drop(waker);
        let _ = waits.as_mut().poll(&mut core::task::Context::from_waker(Waker::noop())); // Replaces the last of it.
        let _ = done.send(());
    });
    assert_eq!(finished.recv_timeout(millis(2_000)), Ok(()));
}
