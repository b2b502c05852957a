//! Attacks on whole calls and on what they share: each test names the promise or the sentence that it found broken.

use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::task::Poll;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use steadfast_core::circuit_breaker::{CircuitBreaker, Mode, Window};
use steadfast_core::concurrency::{Algorithm, ConcurrencyLimit as Slots};
use steadfast_core::event::{Event, Events, Observer};
use steadfast_core::hedge::Hedge;
use steadfast_core::limits::{Admission, Counts, Limiter, Limits};
use steadfast_core::outcome::{Outcome, OutcomeKind};
use steadfast_core::pipeline::{CallOptions, Pipeline, Step};
use steadfast_core::rate_limit::{AdaptiveRate, RateLimits, Refusal};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::budget::{Budget, Cause};
use steadfast_core::run::Runner;
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
use steadfast_executor::{ConcurrencyLimit, Demand, Line, NoSlot, RateLimit, SharedPipeline};

use crate::support::{Tasks, World, bucket, millis, ms, quota, ten_per_second, wait};

fn slots(limit: u32) -> Slots {
    Slots::fixed(limit).build().unwrap()
}

fn idempotent() -> CallOptions {
    CallOptions::idempotent()
}

/// Promise 8 ("every refusal says which policy, why and until when"), and "As soon as a slot comes free": whoever is not
/// first in line for a slot is told the end of all leases as its turn, and where that is after its deadline, it is refused
/// at once, by a rate limit that there is not.
#[test]
fn the_second_in_line_for_a_slot_is_refused_by_a_rate_limit_that_is_not_there() {
    let world = World::default();
    let pipeline = Pipeline::builder().concurrency_limit(slots(1)).build().unwrap();
    let pipeline = SharedPipeline::with_seed(pipeline, world.clone(), 1);
    let mut tasks = Tasks::new(&world);
    for _ in 0..3 {
        let (pipeline, world) = (pipeline.clone(), world.clone());
        tasks.spawn(async move {
            let work = |_| world.sleep_until(world.now() + millis(100));
            pipeline.call(idempotent(), |()| Outcome::success(), work).await.map_err(|error| error.rejected)
        });
    }
    tasks.run_until(ms(1_000));
    let done: Vec<_> = tasks.tasks.iter().map(|task| task.done).collect();
    assert_eq!(done, [100, 200, 300].map(|at| Some((ms(at), Ok(())))));
}

/// "[`Refusal::NotYet`] when the deadline has passed": the second in line is refused before it has waited at all.
#[test]
fn the_second_in_line_for_a_slot_is_refused_before_its_deadline() {
    let world = World::default();
    let limit = ConcurrencyLimit::new(slots(1), world.clone());
    let held = limit.try_acquire().unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..2 {
        let limit = &limit;
        tasks.spawn(async move { limit.acquire_for(Demand::of([]).before(ms(1_000))).await.map(drop) });
    }
    world.set(ms(10));
    held.record(OutcomeKind::Success);
    tasks.run_until(ms(2_000));
    let done: Vec<_> = tasks.tasks.iter().map(|task| task.done).collect();
    assert_eq!(done, [Some((ms(10), Ok(()))); 2]);
}

/// The same where leases never end: without any deadline, the second in line is told "never".
#[test]
fn the_second_in_line_is_refused_for_good_where_leases_do_not_end() {
    let world = World::default();
    let limit = Slots::fixed(1).lease(Duration::MAX).build().unwrap();
    let limit = ConcurrencyLimit::new(limit, world.clone());
    let held = limit.try_acquire().unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..2 {
        tasks.spawn(async { limit.acquire().await.map(drop) });
    }
    tasks.settle();
    world.set(ms(10));
    drop(held);
    tasks.run_until(ms(2_000));
    assert_eq!(tasks.tasks[1].done, Some((ms(10), Ok(()))));
}

fn join(line: &mut Line, now: Instant, priority: u8) -> steadfast_executor::Ticket {
    Limiter::join(line, now, 1, priority, Instant::MAX).expect("one is never too many")
}

/// How many of these tickets are granted now.
fn granted(line: &mut Line, now: Instant, tickets: &mut [steadfast_executor::Ticket]) -> usize {
    tickets.iter_mut().map(|ticket| Limiter::poll(line, now, ticket)).filter(|told| *told == Admission::Granted).count()
}

/// Promise 1, with one bucket and nothing else: "tokens are granted as of when somebody asks for them, never as of when they
/// were due". They are as of when somebody else asked: used late, they are followed at once by those that came in instead.
#[test]
fn a_grant_that_is_used_late_is_followed_by_a_whole_burst() {
    let mut line = Line::before(bucket(2));
    let join = |line: &mut Line, at: u64| {
        Limiter::join(line, ms(at), 2, 0, Instant::MAX).expect("two are the burst, and not more")
    };
    let _used = join(&mut line, 0);
    let mut late = join(&mut line, 0);
    line.available(ms(200)); // Somebody looks, and it is granted. Its holder is polled 199 ms late.
    let used_late = Limiter::poll(&mut line, ms(399), &mut late) == Admission::Granted;
    let mut new = join(&mut line, 400);
    let used_at_once = Limiter::poll(&mut line, ms(400), &mut new) == Admission::Granted;
    assert!(!(used_late && used_at_once), "four tokens within a millisecond, at ten a second and two at once");
}

/// Promise 1, and "callers that come late cannot meet and exceed the burst together": with a concurrency limit beside the
/// bucket, a grant is kept until the lease of its slot ends, long after the bucket has refilled its tokens.
#[test]
fn grants_that_were_kept_for_their_slots_exceed_the_burst() {
    let mut line = Line::before(Limits::from(bucket(2)).with_concurrency_limit(slots(10)));
    let _used = [join(&mut line, ms(0), 0), join(&mut line, ms(0), 0)];
    let mut late = [join(&mut line, ms(0), 0), join(&mut line, ms(0), 0)];
    line.available(ms(200)); // Grants both, and neither asks for ten seconds.
    let now = ms(10_000);
    let mut new = [join(&mut line, now, 0), join(&mut line, now, 0)];
    let at_once = granted(&mut line, now, &mut late) + granted(&mut line, now, &mut new);
    assert!(at_once <= 2, "{at_once} at once, with a burst of two");
}

/// Promise 1, with two limits and no slots: a grant is kept until the slower bucket has refilled it, and the faster one has
/// had its tokens back for seconds.
#[test]
fn grants_of_several_limits_exceed_the_burst_of_the_faster_one() {
    let second = Duration::from_secs(1);
    let quotas = RateLimits::new([quota(10, second, 2), quota(1, second, 10)]);
    let mut line = Line::<2>::before(Limits::<0>::none().with_rate_limits(quotas, [Counts::Calls, Counts::Weight]));
    let join = |line: &mut Line<2>, secs: u64, weight| {
        Limiter::join(line, ms(secs * 1_000), weight, 0, Instant::MAX).expect("it is never too many")
    };
    let _used = [join(&mut line, 0, 1), join(&mut line, 0, 1)];
    let late = [join(&mut line, 0, 4), join(&mut line, 0, 4)];
    line.available(ms(200)); // Grants both, and neither asks for five seconds.
    let new = [join(&mut line, 5, 1), join(&mut line, 5, 1)];
    let all = late.into_iter().chain(new);
    let told = all.map(|mut ticket| Limiter::poll(&mut line, ms(5_000), &mut ticket));
    let at_once = told.filter(|told| *told == Admission::Granted).count();
    assert!(at_once <= 2, "{at_once} calls at once, with a burst of two");
}

/// Promise 1, with one bucket and nothing else: a refund fills the bucket earlier than it was to be, and the grant is kept
/// until then all the same.
#[test]
fn a_grant_is_kept_longer_than_the_bucket_takes_after_a_refund() {
    let world = World::default();
    let limit = RateLimit::new(quota(1, Duration::from_secs(1), 10), world.clone());
    let unused = limit.try_acquire(9).unwrap();
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    let late = tasks.spawn(wait(&limit, 1));
    world.set(ms(1_000));
    limit.available(); // Grants it, until 11 s: it is woken, and is not polled for four seconds.
    unused.cancel();
    world.set(ms(5_000));
    assert!(limit.try_acquire(10).is_ok(), "the bucket is full");
    tasks.settle();
    assert_eq!(tasks.done_at(late), None, "the eleventh token at once, with a burst of ten");
}

/// Promise 1: grants are looked through by place, not by when they expire; a more urgent one that has not expired yet hides
/// one that has, and that is used beside the tokens that have come in for it.
#[test]
fn an_urgent_grant_keeps_one_that_has_expired() {
    let mut line = Line::before(bucket(2));
    let _used = [join(&mut line, ms(0), 0), join(&mut line, ms(0), 0)];
    let patient = join(&mut line, ms(0), 0);
    line.available(ms(100)); // Granted, until 300.
    let urgent = join(&mut line, ms(100), 9);
    line.available(ms(200)); // Granted, until 400.
    let now = ms(399);
    let new = join(&mut line, now, 0);
    let at_once = granted(&mut line, now, &mut [patient, urgent, new]);
    assert!(at_once <= 2, "{at_once} at once, with a burst of two");
}

/// An attempt that never ends, and notes how many slots were taken when it was dropped.
struct Hangs<F: FnMut()>(F);

impl<F: FnMut()> Drop for Hangs<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl<F: FnMut() + Unpin> Future for Hangs<F> {
    type Output = Outcome;

    fn poll(self: core::pin::Pin<&mut Self>, _cx: &mut core::task::Context<'_>) -> Poll<Outcome> {
        Poll::Pending
    }
}

/// Promise 1 under any interleaving of threads, and "their slots are not free while they run": a call that is dropped gives
/// its slot back first, and drops its attempt afterwards.
#[test]
fn a_dropped_call_frees_its_slot_while_its_attempt_still_runs() {
    let world = World::default();
    let pipeline = RefCell::new(Pipeline::builder().concurrency_limit(slots(1)).build().unwrap());
    let in_flight = || pipeline.borrow().limits().concurrency_limit().unwrap().in_flight();
    let seen = Cell::new(None);
    let runner = Runner { pipeline: &pipeline, timer: &world, observer: &() };
    let mut tasks = Tasks::new(&world);
    let call = runner.call(idempotent(), || 0, |outcome| *outcome, |_| Hangs(|| seen.set(Some(in_flight()))));
    let call = tasks.spawn(call);
    tasks.cancel(call);
    assert_eq!(seen.get(), Some(1), "slots that were taken while the attempt still ran");
}

/// The same for the loser of two attempts, where the other failed for good: its slot is free before it is dropped.
#[test]
fn a_loser_runs_on_without_its_slot_when_the_other_fails_for_good() {
    let world = World::default();
    let pipeline = Pipeline::builder()
        .concurrency_limit(slots(2))
        .hedge(Hedge::builder().after(millis(10)).build().unwrap())
        .build()
        .unwrap();
    let pipeline = RefCell::new(pipeline);
    let in_flight = || pipeline.borrow().limits().concurrency_limit().unwrap().in_flight();
    let seen = Cell::new(None);
    let runner = Runner { pipeline: &pipeline, timer: &world, observer: &() };
    let mut tasks = Tasks::new(&world);
    tasks.spawn(runner.call_hedged(
        idempotent(),
        || 0,
        |outcome| *outcome,
        |attempt| {
            let (world, note) = (&world, || seen.set(Some(in_flight())));
            async move {
                if attempt.number == 1 {
                    return Hangs(note).await;
                }
                world.sleep_until(ms(20)).await;
                Outcome::permanent()
            }
        },
    ));
    tasks.run_until(ms(100));
    assert_eq!(seen.get(), Some(2), "slots that were taken while the loser still ran");
}

/// A timer that panics when it was asked too often: whoever spins inside of a poll would never come back.
struct Patience(World, Cell<u32>);

impl Clock for Patience {
    fn now(&self) -> Instant {
        self.1.set(self.1.get() + 1);
        assert_ne!(self.1.get(), 10_000, "it spins"); // Once: dropping the call asks again.
        self.0.now()
    }
}

impl Timer for Patience {
    type Sleep = <World as Timer>::Sleep;

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        self.0.sleep_until(deadline)
    }
}

/// Promises 4 and 9: a call through a pipeline with a hedge, by a driver that runs one attempt at a time, must not start a
/// hedge that nobody makes, or it never returns from its poll: no lane has the attempt whose time is over.
#[test]
fn a_driver_that_runs_one_attempt_at_a_time_is_asked_for_no_other() {
    let hedge = Hedge::builder().after(millis(10)).build().unwrap();
    let pipeline = RefCell::new(Pipeline::builder().hedge(hedge).build().unwrap());
    let world = World::default();
    let timer = Patience(world.clone(), Cell::new(0));
    let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
    let made = Cell::new(0);
    let attempt = |_| {
        made.set(made.get() + 1);
        async {
            world.sleep_until(world.now() + millis(50)).await;
            Outcome::transient()
        }
    };
    let mut tasks = Tasks::new(&world);
    tasks.spawn(runner.call(idempotent(), || 0, |outcome| *outcome, attempt));
    let ended = catch_unwind(AssertUnwindSafe(|| tasks.run_until(ms(60_000))));
    assert!(ended.is_ok(), "it spins");
    let error = tasks.tasks[0].done.as_ref().unwrap().1.as_ref().unwrap_err();
    assert_eq!(error.attempts, made.get(), "attempts that were counted, and those that were made");
}

/// "Each that is spent comes back after `every`, one at a time": one that was given back leaves its time behind, and the
/// other comes back after a second.
#[test]
fn the_reserve_comes_back_early_after_a_refund() {
    let s = |secs: u64| ms(secs * 1_000);
    let mut budget = Budget::default(); // Two, each of which comes back after a minute.
    let given_up = budget.withdraw(s(0), 0, Cause::Transient).unwrap();
    assert!(budget.withdraw(s(59), 0, Cause::Transient).is_ok());
    budget.refund(s(59), given_up);
    let spent = 1 + (0..5).filter(|_| budget.withdraw(s(60), 0, Cause::Transient).is_ok()).count();
    assert!(spent <= 2, "{spent} retries within a second, of a reserve of two a minute each");
}

/// What a call has told.
#[derive(Default)]
struct Log(RefCell<Vec<Event>>);

impl Observer for Log {
    type Call = ();

    fn observe(&self, _now: Instant, event: &Event) {
        self.0.borrow_mut().push(*event);
    }
}

/// Promise 2, and section 6 ("one 429 slows everybody down"): with the defaults there is no rate limit to be blocked, so
/// that every other call goes on before the server's time, and a hedge too. What is told is that everybody is held.
#[test]
fn with_the_defaults_a_server_that_asks_for_later_holds_nobody_but_the_one_it_told() {
    let (mut pipeline, mut events, log) = (Pipeline::standard(), Events::new(), Log::default());
    let mut told = pipeline.call(ms(0), idempotent());
    assert!(matches!(told.poll(ms(0), 0, &mut pipeline, &mut events), Step::Start(_)));
    let later = Outcome::throttled().with_retry_after(Duration::from_secs(10));
    told.finish(ms(0), 0, 1, later, &mut pipeline, &mut events);
    events.report(ms(0), &log);
    assert!(log.0.borrow().contains(&Event::RateLimitBlocked { until: ms(10_000) }), "the premise");
    let mut other = pipeline.call(ms(1), idempotent());
    let step = other.poll(ms(1), 0, &mut pipeline, &mut events);
    assert!(!matches!(step, Step::Start(_)), "it starts 9,999 ms before the server's time");
}

/// "Grants nothing before `until`, to anybody: the server said so." Limits without a bucket grant as before.
#[test]
fn limits_without_a_bucket_are_not_blocked() {
    let with_slots = Limits::<1>::none().with_concurrency_limit(slots(1));
    for mut limits in [with_slots, Limits::none().with_adaptive_rate(AdaptiveRate::new(ms(0)))] {
        limits.block_until(ms(10_000));
        let mut ticket = limits.join(ms(0), 1, 0, Instant::MAX).expect("one is never too many");
        assert_eq!(limits.poll(ms(0), &mut ticket), Admission::Wait(ms(10_000)));
    }
}

/// "A forgotten waiter is passed: it costs what it asked for, and nobody behind it needs it to be polled", and promise 3:
/// with two slots free and two in line, the first of whom was forgotten, the second is not woken until the leases end.
#[test]
fn a_forgotten_waiter_keeps_all_slots_from_those_behind_it() {
    let world = World::default();
    let limit = ConcurrencyLimit::new(slots(2), world.clone());
    let held = [limit.try_acquire().unwrap(), limit.try_acquire().unwrap()];
    let mut tasks = Tasks::new(&world);
    let forgotten = tasks.spawn(async { limit.acquire().await.map(drop) });
    let behind = tasks.spawn(async { limit.acquire().await.map(drop) });
    tasks.settle();
    tasks.leak(forgotten);
    world.set(ms(10));
    held.into_iter().for_each(|slot| slot.record(OutcomeKind::Success));
    tasks.run_until(ms(600_000));
    assert_eq!(tasks.done_at(behind), Some(ms(10)), "one slot is for the forgotten one, and one is free");
}

/// Promise 4, and "who can never be served has left the line": a block puts what was granted back in line, also what another
/// quota has made too heavy since, and where its holder has vanished, nobody behind it is ever served.
#[test]
fn a_grant_that_became_too_heavy_and_was_taken_back_wedges_the_line() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(5), world.clone());
    limit.try_acquire(5).unwrap();
    let mut tasks = Tasks::new(&world);
    let heavy = tasks.spawn(wait(&limit, 5));
    let behind = tasks.spawn(wait(&limit, 1));
    world.set(ms(500));
    limit.available(); // Grants the heavy one.
    tasks.leak(heavy);
    limit.set_quota(0, ten_per_second(3));
    limit.block_until(ms(1_000));
    tasks.run_until(ms(60_000));
    let done = tasks.tasks[behind].done;
    assert!(done.is_some_and(|(at, result)| result.is_ok() && at <= ms(2_000)), "{done:?}");
}

/// `retry_at`: "the same request works then if nobody else took its place". Nobody did.
#[test]
fn a_slot_that_is_refused_says_come_back_in_a_nanosecond() {
    let world = World::default();
    let limit = ConcurrencyLimit::new(slots(1), world.clone());
    let _held = limit.try_acquire().unwrap();
    let Err(NoSlot::NotYet { at_latest }) = limit.try_acquire().map(drop) else { panic!("it is taken") };
    world.set(at_latest);
    assert_eq!(limit.try_acquire().map(drop), Ok(()), "refused again at {at_latest}");
}

/// The same where an adaptive rate refuses, which knows the time exactly.
#[test]
fn what_an_adaptive_rate_refuses_says_come_back_in_a_nanosecond() {
    let world = World::default();
    let limit = RateLimit::with_line(Line::before(Limits::<1>::none().with_adaptive_rate(throttled())), world.clone());
    world.set(ms(10_000));
    limit.try_acquire(1).unwrap();
    let Err(Refusal::NotYet { retry_at }) = limit.try_acquire(1).map(drop) else { panic!("one in two seconds") };
    world.set(retry_at);
    assert_eq!(limit.try_acquire(1).map(drop), Ok(()), "refused again at {retry_at}");
}

/// Promise 8: which policy refuses. It is a concurrency limit, and there is no other.
#[test]
fn a_concurrency_limit_says_that_it_is_a_rate_limit() {
    let limit = ConcurrencyLimit::new(slots(1), World::default());
    let _held = limit.try_acquire().unwrap();
    let said = limit.try_acquire().map(drop).unwrap_err().to_string();
    assert!(!said.contains("rate limit"), "{said}");
}

/// "It learns from how long an attempt took that was answered, and how long a loser had taken when it was cancelled because
/// another was faster. The latter took longer than the delay": calls that their callers gave up at once teach that answers
/// come at once, and from then on a server that needs a second gets everything twice.
#[test]
fn calls_that_were_given_up_make_the_server_look_fast() {
    let mut pipeline = Pipeline::builder().hedge(Hedge::default()).build().unwrap();
    let mut events = Events::new();
    for _ in 0..100 {
        let mut call = pipeline.hedged_call(ms(0), idempotent());
        assert!(matches!(call.poll(ms(0), 0, &mut pipeline, &mut events), Step::Start(_)));
        call.abandon(ms(1), &mut pipeline, &mut events);
        events.report(ms(1), &());
    }
    let mut call = pipeline.hedged_call(ms(1), idempotent());
    assert!(matches!(call.poll(ms(1), 0, &mut pipeline, &mut events), Step::Start(_)));
    // Nothing was ever answered: it waits for `max_delay`.
    assert_eq!(call.poll(ms(1), 0, &mut pipeline, &mut events), Step::Wait(ms(5_001)));
}

/// An adaptive rate that the server has throttled to one call in two seconds.
fn throttled() -> AdaptiveRate {
    let mut rate = AdaptiveRate::new(ms(0));
    rate.record(ms(0), 1, OutcomeKind::Throttled);
    rate
}

/// Promise 3 ("tokens are refunded"), and "gives back a place, or what was granted and not used": what the adaptive rate
/// gave is lost.
#[test]
fn a_grant_that_is_handed_back_keeps_the_adaptive_rates_token() {
    let now = ms(10_000);
    let mut limits = Limits::<1>::none().with_adaptive_rate(throttled());
    let mut given_up = limits.join(now, 1, 0, Instant::MAX).unwrap();
    assert_eq!(limits.poll(now, &mut given_up), Admission::Granted);
    limits.leave(now, given_up);
    let mut next = limits.join(now, 1, 0, Instant::MAX).unwrap();
    assert_eq!(limits.poll(now, &mut next), Admission::Granted, "nothing was sent");
}

/// "The limit grows only after a round in which at least half of it was in flight": whoever asks for a slot and finds no
/// tokens counts as in flight.
#[test]
fn a_limit_grows_for_those_who_only_asked() {
    let slots = Slots::builder().algorithm(Algorithm::Aimd).initial(4).build().unwrap();
    let mut limits = Limits::from(bucket(1)).with_concurrency_limit(slots);
    for round in 0..8 {
        let now = ms(round * 1_000);
        let mut grant = limits.try_take(now, [1]).expect("a token a second is there");
        assert!(limits.try_take(now, [1]).is_err(), "and no other");
        limits.finish_grant(now + millis(10), &mut grant, OutcomeKind::Success);
    }
    assert_eq!(limits.concurrency_limit().unwrap().limit(), 4, "never more than one was in flight, of four");
}

/// "Moving the clock to the end of the next sleep whenever everything waits": a signal that goes against the order of
/// polling takes three polls, and the clock moves after two.
#[test]
fn the_clock_moves_on_while_a_signal_is_under_way() {
    let clock = ManualClock::new();
    let reached = Cell::new(0);
    let stage = |waits_for: u32| {
        let (clock, reached) = (&clock, &reached);
        async move {
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if reached.get() == waits_for { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            reached.set(waits_for + 1);
            clock.now()
        }
    };
    let mut stages: Vec<_> = (0..4).rev().map(|waits_for| Box::pin(stage(waits_for))).collect();
    let mut timeout = Box::pin((&clock).sleep_until(ms(10_000)));
    let last = clock.drive(poll_fn(|cx| {
        let _ = timeout.as_mut().poll(cx);
        let mut last = Poll::Pending;
        let mut remaining = Vec::new();
        for (i, mut stage) in core::mem::take(&mut stages).into_iter().enumerate() {
            match stage.as_mut().poll(cx) {
                Poll::Ready(at) if i == 0 && reached.get() == 4 => last = Poll::Ready(at),
                Poll::Ready(_) => {}
                Poll::Pending => remaining.push(stage),
            }
        }
        stages = remaining;
        last
    }));
    assert_eq!(last, Some(ms(0)));
}

/// "Settings that contradict each other are refused": an attempt that may take for ever outlives every lease, and then a
/// second runs in its slot.
#[test]
fn an_attempt_without_an_end_may_have_a_slot_with_one() {
    let endless = || Pipeline::builder().without_deadline().without_attempt_timeout();
    assert!(endless().concurrency_limit(slots(1)).without_circuit_breaker().build().is_err(), "a slot's lease");
    // A probe may: what it says still counts, until another has taken its place.
    assert!(endless().build().is_ok());
}

/// "Settings that contradict each other (an attempt timeout longer than the deadline, a window shorter than two attempts)
/// are refused at build time by an error that names both."
#[test]
fn a_window_shorter_than_two_attempts_is_accepted() {
    let breaker = CircuitBreaker::builder().window(Window::Time(millis(1))).build().unwrap();
    let built = Pipeline::builder().attempt_timeout(Duration::from_secs(10)).circuit_breaker(breaker).build();
    assert!(built.is_err());
}

/// Promise 8 ("until when"), and "`None` where waiting alone changes nothing": the limit has said when a slot is free even if
/// every permit was lost.
#[test]
fn a_call_without_a_slot_is_not_told_when_one_is_free_at_the_latest() {
    let mut pipeline = Pipeline::builder().concurrency_limit(slots(1)).build().unwrap();
    let mut events = Events::new();
    let mut first = pipeline.call(ms(0), idempotent());
    assert!(matches!(first.poll(ms(0), 0, &mut pipeline, &mut events), Step::Start(_)));
    let mut second = pipeline.call(ms(0), idempotent());
    let Step::Done(Err(rejected)) = second.poll(ms(0), 0, &mut pipeline, &mut events) else { panic!("it is taken") };
    assert!(matches!(rejected, Rejected::TooManyInFlight { .. }));
    assert!(rejected.retry_at().is_some(), "{rejected}");
}

/// Promise 7: "with the defaults, a thousand clients facing an outage add at most 20 % load". A server that turns everything
/// down, and does not say for how long, gets all of it four times: the default budget lets these retries go for nothing,
/// since "the server has said when", and the breaker does not count them.
#[test]
fn a_server_that_turns_everything_down_gets_it_four_times() {
    let (mut pipeline, mut events, mut attempts) = (Pipeline::standard(), Events::new(), 0_u32);
    let calls = 600; // Ten a second, for a minute.
    for number in 0..calls {
        let mut now = ms(number * 100);
        let mut call = pipeline.call(now, idempotent());
        loop {
            match call.poll(now, 0, &mut pipeline, &mut events) {
                Step::Wait(until) => now = until,
                Step::Start(attempt) => {
                    attempts += 1;
                    call.finish(now, 0, attempt.number, Outcome::throttled(), &mut pipeline, &mut events);
                }
                Step::Done(_) => break,
            }
            events.report(now, &());
        }
    }
    assert!(u64::from(attempts) <= calls * 12 / 10, "{attempts} attempts for {calls} calls");
}

/// Promise 5: "A wait that cannot finish before the deadline fails now." The server has blocked everybody for an hour, and
/// those in line learn it when their turn would have come.
#[test]
fn those_in_line_do_not_learn_that_their_deadlines_cannot_be_met_any_more() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(1), world.clone());
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..5 {
        tasks.spawn(wait(&limit, Demand::of([1]).before(ms(30_000))));
    }
    limit.block_until(ms(3_600_000));
    tasks.run_until(ms(60_000));
    let last = tasks.tasks[4].done.map(|(at, result)| (at, result.is_err()));
    assert_eq!(last, Some((ms(0), true)));
}

/// Promise 8 ("until when"): nobody knows for how long a breaker is forced open, and those in line, who may wait for as long
/// as their deadlines allow, learn it only when their turn has come.
#[test]
fn those_in_line_do_not_learn_that_the_breaker_was_forced_open() {
    let world = World::default();
    let pipeline = Pipeline::builder().rate_limit(bucket(1)).build().unwrap();
    let shared = SharedPipeline::with_seed(pipeline, world.clone(), 7);
    let mut tasks = Tasks::new(&world);
    for _ in 0..5 {
        tasks.spawn(async { shared.call(idempotent(), |_: &()| Outcome::success(), |_| async {}).await });
    }
    tasks.run_until(ms(150));
    world.set(ms(150));
    shared.with_policies(|policies, _| policies.circuit_breaker_mut().unwrap().set_mode(Mode::ForcedOpen));
    tasks.run_until(ms(10_000));
    for task in [2, 3, 4] {
        let ended = tasks.tasks[task].done.as_ref().map(|(at, result)| (*at, result.map_err(|error| error.rejected)));
        assert_eq!(ended, Some((ms(150), Err(Rejected::CircuitForcedOpen))), "{task}");
    }
}

/// Promise 3, and "dropping it changes nothing": before a line with slots, dropping what was acquired loses the slot until
/// its lease ends, and so does `execute`.
#[test]
fn what_a_rate_limit_gave_keeps_its_slot_when_it_is_dropped() {
    let world = World::default();
    let line = Line::before(Limits::from(bucket(5)).with_concurrency_limit(slots(1)));
    let limit = RateLimit::with_line(line, world.clone());
    let mut tasks = Tasks::new(&world);
    for _ in 0..2 {
        tasks.spawn(async { limit.execute(1, async {}).await });
    }
    tasks.run_until(ms(600_000));
    assert_eq!(tasks.done_at(1), Some(ms(0)), "the first operation has ended");
}

/// "The same, if it can be had before `deadline`; otherwise it is refused."
#[test]
fn a_demand_whose_deadline_has_passed_is_granted() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(1), world.clone());
    world.set(ms(10));
    assert!(limit.try_acquire(Demand::of([1]).before(ms(5))).is_err());
}
