//! Every future dropped after every one of its polls, and every operation that panics: nothing stays behind.

use core::cell::{Cell, RefCell};
use core::future::{Future, pending, poll_fn};
use core::num::NonZeroU32;
use core::task::Poll;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use steadfast_core::circuit_breaker::{CircuitBreaker, State};
use steadfast_core::limits::Limiter;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{Attempt, CallOptions, Pipeline};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::run::Runner;
use steadfast_core::share::Share;
use steadfast_core::time::{Clock, Instant};
use steadfast_executor::{Demand, Line, RateLimit, SharedPipeline};

use crate::support::{Tasks, World, ms, ns, ten_per_second, wait};

/// Runs `tasks` until the victim was polled `polls` times, and drops it there. Whether it had ended before.
fn drop_after<R>(tasks: &mut Tasks<'_, R>, victim: usize, polls: u32) -> bool {
    while tasks.done_at(victim).is_none() && tasks.tasks[victim].polls < polls {
        tasks.settle();
        match tasks.world.next_wake() {
            Some(next) if tasks.tasks[victim].polls < polls => tasks.world.set(next),
            _ => break,
        }
        // One poll at a time, so that no poll is passed over.
        tasks.settle();
    }
    let ended = tasks.done_at(victim).is_some();
    tasks.cancel(victim);
    ended
}

/// A rival before the victim and one behind it, before an empty bucket. Whatever the victim was about, the rivals are
/// served as if it had never been there once it has gone, and the bucket is full again in the end.
fn check_rate_limit<'a, F: Future<Output = ()> + 'a>(victim: impl Fn(RateLimit<World>) -> F) {
    for polls in 1.. {
        let world = World::default();
        let limit = RateLimit::new(ten_per_second(2), world.clone());
        limit.try_acquire(2).unwrap();
        let rival = || {
            let limit = limit.clone();
            async move { wait(&limit, 1).await.unwrap() }
        };
        let mut tasks = Tasks::new(&world);
        tasks.spawn(rival());
        let victim = tasks.spawn(victim(limit.clone()));
        tasks.spawn(rival());
        let ended = drop_after(&mut tasks, victim, polls);
        let dropped_at = world.now();
        tasks.run_until(ms(60_000));
        assert_eq!(tasks.done_at(0), Some(ms(100)), "the rival ahead, {polls} polls");
        let granted = ended || dropped_at >= ms(300);
        let want = if granted { ms(400) } else { ms(200).max(dropped_at) };
        assert_eq!(tasks.done_at(2), Some(want), "the rival behind, {polls} polls, dropped at {dropped_at}");
        world.set(ms(60_000));
        assert_eq!((limit.waiting(), limit.available()[0]), (0, 2), "{polls} polls");
        if ended {
            return;
        }
    }
}

#[test]
fn a_dropped_wait_for_the_rate_limit_leaves_nothing_behind() {
    check_rate_limit(|limit| async move { wait(&limit, 2).await.unwrap() });
    check_rate_limit(|limit| async move { wait(&limit, Demand::of([2]).before(ms(5_000))).await.unwrap() });
    check_rate_limit(|limit| async move { limit.execute(2, async {}).await.unwrap() });
}

/// A cell that audits can look into, and that wakes whom the line moved forward.
struct Cell1(RefCell<Pipeline<Line>>);

impl Share for Cell1 {
    type State = Pipeline<Line>;

    fn with<R>(&self, f: impl FnOnce(&mut Pipeline<Line>) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }
}

/// A slow refill, so that every token that was spent is still missing at the end.
fn slow(burst: u32) -> TokenBucket {
    TokenBucket::new(Quota::per_hour(1).unwrap().with_burst(burst).unwrap())
}

/// Fails, then hangs until it is timed out, then succeeds after a nap.
async fn flaky(world: World, attempt: Attempt) -> bool {
    use steadfast_core::time::Timer;
    match attempt.number {
        1 => false,
        2 => pending().await,
        _ => {
            world.sleep_until(world.now() + Duration::from_millis(7)).await;
            true
        }
    }
}

fn classify(answer: &bool) -> Outcome {
    if *answer { Outcome::success() } else { Outcome::transient() }
}

fn options() -> CallOptions {
    CallOptions::idempotent().with_weight(NonZeroU32::new(3).unwrap())
}

/// A pipeline with a line, a call of three attempts of three tokens each, dropped after each of its polls.
#[test]
fn a_dropped_call_spends_only_what_it_started() {
    for polls in 1.. {
        let world = World::default();
        let pipeline = Pipeline::builder().rate_limit(slow(100)).build().unwrap().map_limits(Line::before);
        let shared = Cell1(RefCell::new(pipeline));
        let started = Cell::new(0);
        let runner = Runner { pipeline: &shared, timer: &world, observer: &() };
        let mut tasks = Tasks::new(&world);
        let victim = tasks.spawn(runner.call(
            options(),
            || u64::MAX,
            classify,
            |attempt| {
                started.set(started.get() + 1);
                flaky(world.clone(), attempt)
            },
        ));
        let ended = drop_after(&mut tasks, victim, polls);
        shared.with(|pipeline| {
            let line = pipeline.limits_mut();
            assert_eq!((line.available(world.now())[0], line.len()), (100 - 3 * started.get(), 0), "{polls} polls");
            let breaker = pipeline.circuit_breaker_mut().unwrap();
            assert_eq!(breaker.state(), State::Closed);
        });
        if ended {
            assert_eq!(started.get(), 3);
            return;
        }
    }
}

/// Would catch: a probe whose future was dropped, or whose operation panicked, and that keeps its place.
#[test]
fn a_dropped_or_panicking_probe_gives_its_place_back() {
    for panics in [false, true] {
        let world = World::default();
        let mut breaker = CircuitBreaker::builder().failure_threshold(1).build().unwrap();
        let permit = breaker.try_admit(ns(0)).unwrap();
        breaker.record(ns(0), 0, permit, steadfast_core::outcome::OutcomeKind::Transient);
        world.set(ms(5_000));
        let shared = RefCell::new(Pipeline::builder().circuit_breaker(breaker).rate_limit(slow(10)).build().unwrap());
        let runner = Runner { pipeline: &shared, timer: &world, observer: &() };
        let probe = runner.call(
            options(),
            || 0,
            |()| Outcome::success(),
            |_| async move {
                assert!(!panics, "as it should");
                pending::<()>().await;
            },
        );
        if panics {
            assert!(catch_unwind(AssertUnwindSafe(|| Tasks::new(&world).spawn(probe))).is_err());
        } else {
            let mut tasks = Tasks::new(&world);
            let probe = tasks.spawn(probe);
            assert!(shared.borrow_mut().circuit_breaker_mut().unwrap().check(world.now()).is_err(), "it is out");
            tasks.cancel(probe);
        }
        let mut shared = shared.borrow_mut();
        assert_eq!(shared.circuit_breaker_mut().unwrap().check(world.now()), Ok(()));
        // The attempt was started: its tokens stay spent.
        assert_eq!(shared.limits().available(world.now()), [7]);
    }
}

/// Would catch: a panic in the classifier or in the entropy that leaves the call half done.
#[test]
fn a_panic_in_any_closure_gives_the_permit_back() {
    for place in 0..3 {
        let world = World::default();
        let shared = RefCell::new(Pipeline::builder().rate_limit(slow(10)).build().unwrap());
        let runner = Runner { pipeline: &shared, timer: &world, observer: &() };
        let call = runner.call(
            options(),
            || if place == 0 { panic!("as it should") } else { 0 },
            |()| if place == 1 { panic!("as it should") } else { Outcome::success() },
            |_| {
                assert_ne!(place, 2, "as it should");
                async {}
            },
        );
        assert!(catch_unwind(AssertUnwindSafe(|| Tasks::new(&world).spawn(call))).is_err());
        let mut shared = shared.borrow_mut();
        assert_eq!(shared.circuit_breaker_mut().unwrap().state(), State::Closed);
        // Where the dice panic, the call has not joined the line yet.
        assert_eq!(shared.limits().available(world.now()), [if place == 0 { 10 } else { 7 }]);
    }
}

/// A call in line is dropped after each of its polls: its neighbours are served when they would be without it.
#[test]
fn a_shared_call_that_is_dropped_in_line_delays_nobody() {
    for polls in 1.. {
        let world = World::default();
        let pipeline = Pipeline::builder().rate_limit(TokenBucket::new(ten_per_second(1))).build().unwrap();
        let pipeline = SharedPipeline::with_seed(pipeline, world.clone(), 1);
        let mut tasks = Tasks::new(&world);
        let call = || async {
            let call = pipeline.call(CallOptions::idempotent(), |()| Outcome::success(), |_| async {});
            call.await.map(drop).map_err(|error| error.rejected)
        };
        for _ in 0..5 {
            tasks.spawn(call());
        }
        let ended = drop_after(&mut tasks, 2, polls);
        let dropped_at = world.now();
        tasks.run_until(ms(60_000));
        let moved = if ended { 0 } else { 1 };
        for (i, turn) in [(0, 0), (1, 1), (3, 3 - moved), (4, 4 - moved)] {
            let want = ms(turn * 100).max(if i > 2 { dropped_at } else { ns(0) });
            assert_eq!(tasks.tasks[i].done, Some((want, Ok(()))), "call {i}, {polls} polls");
        }
        if ended {
            return;
        }
    }
}

/// Interrupted between its grant and its poll, a waiter gives back what it was granted.
#[test]
fn a_granted_waiter_that_never_learns_of_it_gives_its_tokens_back() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(2), world.clone());
    limit.try_acquire(2).unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..3 {
        tasks.spawn(wait(&limit, 1));
    }
    world.set(ms(200));
    assert_eq!(limit.available()[0], 0); // Grants the first two.
    assert_eq!(limit.waiting(), 1);
    tasks.cancel(1);
    tasks.run_until(ms(60_000));
    assert_eq!(tasks.done_at(2), Some(ms(200)));
}

/// A future that was never polled has taken nothing.
#[test]
fn a_future_that_is_never_polled_takes_nothing() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(2), world);
    drop(wait(&limit, 2));
    drop(limit.execute(1, poll_fn(|_| Poll::Ready(()))));
    assert_eq!((limit.available()[0], limit.waiting()), (2, 0));
    let mut line = Line::new(ten_per_second(2));
    let ticket = Limiter::join(&mut line, ns(0), 2, 0, Instant::MAX).unwrap();
    line.leave(ns(0), ticket);
    assert_eq!(line.available(ns(0))[0], 2);
}
