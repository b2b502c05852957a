//! The promises, one test each, on whole calls: what the long tests of the single policies prove must survive being put
//! together. (The seventh and the tenth are in [`world`](crate::world), whose worlds they need.)

use core::cell::{Cell, RefCell};
use core::future::pending;
use core::task::{Context, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::backoff::{Backoff, Jitter};
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::event::Event;
use steadfast_core::limits::Limiter;
use steadfast_core::outcome::{Outcome, OutcomeKind};
use steadfast_core::pipeline::{CallOptions, Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::Retry;
use steadfast_core::retry::budget::Budget;
use steadfast_core::run::Runner;
use steadfast_core::time::{Clock, Instant, Timer};
use steadfast_executor::{Demand, Line, SharedPipeline};
use steadfast_tests::world::{
    Arrivals, Condition, DecisionLog, Report, Server, Service, World, millis, minutes, seconds,
};

use crate::support::{self, Tasks, ms, quota};

/// Per second, and at once.
const RATE: u32 = 20;
const BURST: u32 = 5;
const SLOTS: u32 = 3;

/// Every policy, with small numbers so that each has its say.
fn strict() -> PipelineBuilder {
    let backoff = Backoff::builder().base(millis(50)).jitter(Jitter::None).build().unwrap();
    Pipeline::builder()
        .deadline(seconds(4))
        .attempt_timeout(seconds(1))
        .retry(Retry::builder().max_attempts(3).backoff(backoff).build().unwrap())
        .circuit_breaker(CircuitBreaker::builder().failure_threshold(8).open_for(millis(700)).build().unwrap())
        .rate_limit(TokenBucket::new(quota(RATE, seconds(1), BURST)))
        .concurrency_limit(ConcurrencyLimit::fixed(SLOTS).lease(seconds(2)).build().unwrap())
}

/// One client that calls more often than it may, and a server with every kind of trouble.
fn troubled() -> World {
    World::new()
        .arrivals(Arrivals::Poisson(millis(25)))
        .server(Server::with_slots(4).service(Service::Exponential(millis(60))).queue(20).latency(millis(3)))
        .with(seconds(10)..seconds(15), Condition::Fails { percent: 40 })
        .with(seconds(20)..seconds(25), Condition::Slow { times: 20 })
        .with(seconds(30)..seconds(35), Condition::Throttles { per_second: 5, retry_after: millis(1_300) })
        .with(seconds(40)..seconds(45), Condition::Hangs)
        .with(seconds(50)..seconds(55), Condition::Refuses)
        .lasting(seconds(70))
}

type Decisions = Vec<(Instant, Event)>;

/// The same with a line, and everything that was decided.
fn played(world: &World, pipeline: PipelineBuilder) -> (Report, Decisions) {
    let (log, mut pipeline) = (DecisionLog::default(), Some(pipeline.build().unwrap().map_limits(Line::before)));
    let report = world.play_observed(|_| pipeline.take().expect("one client"), &log);
    (report, log.into_entries())
}

/// When attempts started.
fn starts(decisions: &Decisions) -> Vec<Instant> {
    let is_start = |event: &Event| matches!(event, Event::AttemptStarted { .. });
    decisions.iter().filter(|(_, event)| is_start(event)).map(|(at, _)| *at).collect()
}

#[test]
fn promise_1_never_over() {
    let (_, decisions) = played(&troubled(), strict());
    let starts = starts(&decisions);
    for (i, from) in starts.iter().enumerate() {
        for (admitted, to) in (1_u128..).zip(&starts[i..]) {
            let nanos = u128::from(BURST) * 1_000_000_000 + u128::from(RATE) * (*to - *from).as_nanos();
            assert!(admitted * 1_000_000_000 <= nanos, "{admitted} attempts from {from} to {to}");
        }
    }
    let mut in_flight = 0;
    for (at, event) in &decisions {
        match event {
            Event::AttemptStarted { .. } => in_flight += 1,
            Event::AttemptEnded { .. } | Event::AttemptTimedOut { .. } | Event::AttemptCancelled { .. } => {
                in_flight -= 1;
            }
            _ => {}
        }
        assert!(in_flight <= SLOTS, "{in_flight} at once at {at}");
    }
    // Nor less than it says: whoever always has somebody waiting gets the last token of a hundred seconds too.
    let busy = World::new().arrivals(Arrivals::Every(millis(40))).lasting(seconds(100));
    let (_, decisions) = played(&busy, strict().without_deadline());
    let last = Instant::EPOCH + seconds(100);
    let admitted = self::starts(&decisions).iter().filter(|at| **at < last).count();
    assert_eq!(admitted, (BURST + RATE * 100 - 1) as usize, "the burst, and one each 50 ms after it");
}

#[test]
fn promise_2_never_early() {
    let throttles = Condition::Throttles { per_second: 2, retry_after: seconds(1) };
    let world = troubled().with(seconds(56)..seconds(66), throttles);
    let (report, decisions) = played(&world, strict());
    assert!(report.attempts.throttled > 10);
    assert_eq!((report.early, report.early_for_client), (0, 0), "no attempt before a Retry-After that was told");
    let mut blocked_until = Instant::EPOCH;
    for (at, event) in &decisions {
        match event {
            Event::RateLimitBlocked { until } => blocked_until = blocked_until.max(*until),
            Event::AttemptStarted { .. } => assert!(*at >= blocked_until, "{at} is before {blocked_until}"),
            _ => {}
        }
    }
    // One call at a time, so that each retry is known by what was scheduled for it.
    let lonely = World::new().arrivals(Arrivals::Every(seconds(10))).lasting(minutes(5));
    let answers = [Outcome::transient(), Outcome::throttled().with_retry_after(millis(700)), Outcome::success()];
    let world = lonely.server(Server::scripted(answers.map(|outcome| (millis(1), outcome))));
    let (_, decisions) = played(&world, strict().budget(Budget::unlimited()));
    let (mut not_before, mut ended, mut retries) = (Instant::EPOCH, Instant::EPOCH, 0);
    for (at, event) in decisions {
        match event {
            Event::AttemptEnded { .. } => ended = at,
            Event::RetryScheduled { attempt: 2, at, .. } => not_before = at.max(ended + millis(50)),
            Event::RetryScheduled { attempt: _, at, .. } => not_before = at.max(ended + millis(700) + millis(100)),
            Event::AttemptStarted { attempt, .. } => {
                assert!(at >= not_before, "{at} is before {not_before}");
                retries += u32::from(attempt > 1);
            }
            _ => {}
        }
    }
    assert_eq!(retries, 60, "two in each of thirty calls");
}

/// A pipeline that is shared, its clock, and a breaker that has just become half-open.
fn half_open(world: &support::World) -> SharedPipeline<support::World> {
    let breaker = CircuitBreaker::builder().failure_threshold(1).open_for(seconds(1)).open_jitter(0);
    let breaker = breaker.probe_lease(seconds(2)).build().unwrap();
    let pipeline = strict().circuit_breaker(breaker).build().unwrap();
    let shared = SharedPipeline::with_seed(pipeline, world.clone(), 7);
    shared.with_policies(|policies, now| {
        let breaker = policies.circuit_breaker_mut().unwrap();
        let permit = breaker.try_admit(now).unwrap();
        breaker.record(now, 0, permit, OutcomeKind::Transient);
    });
    world.set(world.now() + seconds(1));
    shared
}

fn is_true(answer: &bool) -> Outcome {
    if *answer { Outcome::success() } else { Outcome::transient() }
}

#[test]
fn promise_3_never_lost() {
    for polls in 0.. {
        let world = support::World::default();
        let shared = half_open(&world);
        // Nothing is there but what comes in, so that the call has to wait in line.
        shared.with_policies(|policies, now| {
            let line = policies.limits_mut();
            let all = line.join(now, Demand::of([BURST])).unwrap();
            line.finish(now, all, OutcomeKind::Success);
        });
        let made = Cell::new(0_u32);
        let mut tasks = Tasks::new(&world);
        let attempt = |_| {
            made.set(made.get() + 1);
            let (world, fails) = (world.clone(), made.get() < 2);
            async move {
                world.sleep_until(world.now() + millis(10)).await;
                !fails
            }
        };
        let mut victim = Box::pin(shared.call(CallOptions::idempotent(), is_true, attempt));
        let mut ended = false;
        for _ in 0..polls {
            ended = ended || victim.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            if let Some(next) = world.next_wake() {
                world.set(next);
            }
        }
        drop(victim);
        let spent = made.get();
        // Everything is back but the tokens of attempts that the server may have seen.
        let now = world.now();
        shared.with_policies(|policies, _| {
            let line = policies.limits_mut();
            assert!(line.is_empty(), "{polls} polls");
            assert_eq!(line.limits().concurrency_limit().unwrap().in_flight(), 0, "{polls} polls");
            let came_in = u32::try_from((now - ms(1_000)).as_millis() / 50).unwrap();
            assert_eq!(line.available(now)[0], came_in - spent, "{polls} polls");
        });
        // And the probe's place: whoever comes next may go, unless the breaker has learned that it should not.
        let failed = spent == 1 && now > ms(1_060);
        let next = tasks.spawn(shared.call(CallOptions::idempotent(), is_true, |_| async { true }));
        tasks.run_until(now + millis(60));
        assert_eq!(tasks.done_at(next).is_some_and(|_| tasks.tasks[next].done.as_ref().unwrap().1.is_ok()), !failed);
        if ended {
            return;
        }
    }
}

#[test]
fn promise_4_never_stuck() {
    let world = support::World::default();
    let shared = half_open(&world);
    let mut tasks = Tasks::new(&world);
    let hanging = || shared.call(CallOptions::idempotent(), is_true, |_| pending());
    // The probe vanishes, and then those that hold every slot, and everybody in line.
    let probe = tasks.spawn(hanging());
    tasks.leak(probe);
    let refused = tasks.spawn(hanging());
    assert!(tasks.done_at(refused).is_some(), "a probe is out");
    world.set(world.now() + seconds(2));
    let again = tasks.spawn(shared.call(CallOptions::idempotent(), is_true, |_| async { true }));
    assert!(tasks.done_at(again).is_some(), "a lost probe is replaced after its lease");
    let vanished: Vec<usize> = (0..20).map(|_| tasks.spawn(hanging())).collect();
    assert!(vanished.iter().all(|task| tasks.done_at(*task).is_none()), "three run, and the others wait");
    vanished.into_iter().for_each(|task| tasks.leak(task));
    // Each of those in line costs a slot for two leases at most, and three have one at a time.
    let patient = CallOptions::idempotent().with_deadline(seconds(20 / 3 * 4 + 4));
    let last = tasks.spawn(shared.call(patient, is_true, |_| async { true }));
    tasks.run_until(world.now() + seconds(60));
    let (_, answer) = tasks.tasks[last].done.as_ref().expect("nobody waits for those who have left");
    assert_eq!(answer.as_ref().ok(), Some(&true));
}

#[test]
fn promise_5_never_late() {
    // A line that is longer than the deadline, and hints beyond it.
    let throttles = Condition::Throttles { per_second: 5, retry_after: seconds(5) };
    let world = troubled().arrivals(Arrivals::Poisson(millis(5))).with(seconds(56)..seconds(66), throttles);
    let (_, decisions) = played(&world, strict());
    let (mut ended, mut last_failure) = (BTreeMap::new(), Instant::EPOCH);
    for (at, event) in decisions {
        match event {
            Event::AttemptEnded { .. } | Event::AttemptTimedOut { .. } => last_failure = at,
            Event::AttemptStarted { until, .. } => assert!(at < until),
            Event::RetryScheduled { at: retry_at, .. } => assert!(retry_at < at + seconds(4)),
            Event::Rejected(rejected) => {
                match rejected {
                    // Said when it was known, not when the time was over.
                    Rejected::NoTimeToRetry { retry_at, deadline } => {
                        assert!(retry_at >= deadline && at == last_failure, "{rejected} at {at}");
                    }
                    Rejected::RateLimited { retry_at, deadline } => assert!(retry_at >= deadline && at < deadline),
                    Rejected::DeadlineExceeded { deadline } | Rejected::NoSlot { deadline } => {
                        assert_eq!(at, deadline, "{rejected}");
                    }
                    _ => {}
                }
                let name = rejected.to_string().split(':').next().unwrap().to_owned();
                *ended.entry(name).or_insert(0) += 1;
            }
            _ => {}
        }
    }
    assert!(ended["deadline"] > 10 && ended["rate limit"] > 10, "{ended:?}");
}

#[test]
fn promise_6_never_twice() {
    let fails = Condition::Fails { percent: 50 };
    for (condition, options, repeated) in [
        (fails, CallOptions::idempotent(), true),
        (fails, CallOptions::not_idempotent(), false),
        (Condition::Hangs, CallOptions::idempotent(), true),
        (Condition::Hangs, CallOptions::not_idempotent(), false),
        // A connection that was never made: the server cannot have acted.
        (Condition::Refuses, CallOptions::not_idempotent(), true),
    ] {
        let world = World::new().with(seconds(0)..minutes(2), condition).lasting(minutes(1)).options(options);
        let pipeline = strict().without_circuit_breaker().budget(Budget::unlimited());
        let (report, _) = played(&world, pipeline);
        let twice = report.attempts.total() > report.calls;
        assert_eq!(twice, repeated, "{condition:?} {options:?}: {} of {}", report.attempts.total(), report.calls);
    }
}

#[test]
fn promise_8_never_silent() {
    let mut names = BTreeSet::new();
    // More calls than the rate limit bears, and fewer, so that failures come to be repeated.
    for pause in [8, 100] {
        let (report, decisions) = played(&troubled().arrivals(Arrivals::Poisson(millis(pause))), strict());
        let count = |is: fn(&Event) -> bool| decisions.iter().filter(|(_, event)| is(event)).count() as u64;
        let started = count(|event| matches!(event, Event::AttemptStarted { .. }));
        let ended = count(|event| matches!(event, Event::AttemptEnded { .. } | Event::AttemptTimedOut { .. }));
        assert_eq!((started, ended), (report.attempts.total(), started), "every attempt is seen to start and to end");
        assert_eq!(count(|event| matches!(event, Event::Succeeded { .. })), report.succeeded);
        assert_eq!(count(|event| matches!(event, Event::Rejected(_))), report.rejected);
        assert_eq!(report.abandoned, 0);
        for (at, event) in decisions {
            let Event::Rejected(rejected) = event else { continue };
            let text = rejected.to_string();
            let (policy, why) = text.split_once(": ").expect("which policy, and why");
            assert!(!why.is_empty());
            names.insert(policy.to_owned());
            assert!(rejected.retry_at().is_none_or(|retry_at| retry_at > at), "{rejected} at {at}");
            let has_time = matches!(rejected, Rejected::CircuitOpen { .. } | Rejected::RateLimited { .. });
            assert!(!has_time || rejected.retry_at().is_some(), "{rejected} does not say until when");
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(names, ["circuit breaker", "concurrency limit", "deadline", "rate limit", "retry", "retry budget"]);
}

#[test]
fn promise_9_never_a_panic_never_unbounded() {
    // A clock that steps back and to its end, and servers that say anything, to calls under way at the same time.
    let times = [u64::MAX, 0, 1, u64::MAX - 1, 5_000_000_000, 1 << 63, 4_999_999_999, u64::MAX];
    let shared = RefCell::new(strict().build().unwrap().map_limits(Line::before));
    let clock = support::World::default();
    let runner = Runner { pipeline: &shared, timer: &clock, observer: &() };
    let mut tasks = Tasks::new(&clock);
    for (i, time) in times.iter().cycle().take(64).enumerate() {
        clock.set(Instant::from_nanos(*time));
        let hint = Duration::from_nanos(times[i % 5]);
        let classify = move |(): &()| Outcome::throttled().with_retry_after(hint);
        let options = CallOptions::idempotent().with_weight(u32::MAX.try_into().unwrap());
        let options = if i % 2 == 0 { CallOptions::idempotent() } else { options };
        tasks.spawn(runner.call(options, || u64::MAX, classify, |_| async {}));
    }
    let answers = tasks.tasks.iter().filter_map(|task| task.done.as_ref()).filter(|(_, answer)| answer.is_err());
    assert!(answers.count() >= 32, "an answer, and be it that there is none");
    drop(tasks);

    // However many come, no more wait than may; however often it is tried, no more is remembered than has room.
    let line = |limits| Line::before(limits).with_max_waiters(10);
    let shared = RefCell::new(strict().without_deadline().build().unwrap().map_limits(line));
    let clock = support::World::default();
    let runner = Runner { pipeline: &shared, timer: &clock, observer: &() };
    let mut tasks = Tasks::new(&clock);
    for _ in 0..1_000 {
        tasks.spawn(runner.call(CallOptions::idempotent(), || 0, is_true, |_| pending()));
    }
    let refused = tasks.tasks.iter().filter_map(|task| task.done.as_ref());
    let refused = refused
        .filter(|(_, answer)| answer.as_ref().is_err_and(|error| error.rejected == Rejected::LineFull { waiting: 10 }));
    assert_eq!(refused.count(), 1_000 - 10 - SLOTS as usize);
    drop(tasks);

    let retry = Retry::builder().max_attempts(1_000).build().unwrap();
    let shared = RefCell::new(only_retries(retry));
    let runner = Runner { pipeline: &shared, timer: &clock, observer: &() };
    let mut tasks = Tasks::new(&clock);
    let call = tasks.spawn(runner.call(CallOptions::idempotent(), || 0, is_true, |_| async { false }));
    tasks.run_until(Instant::MAX);
    let (_, answer) = tasks.tasks[call].done.take().expect("no attempt is left");
    let error = answer.expect_err("it never succeeds");
    assert_eq!((error.attempts, error.history.iter().count()), (1_000, 8));
}

fn only_retries(retry: Retry) -> Pipeline {
    let builder = Pipeline::builder().without_deadline().without_circuit_breaker().retry(retry);
    builder.budget(Budget::unlimited()).build().unwrap()
}
