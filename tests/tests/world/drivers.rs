//! The same calls under the simulator, under `run`, and under a loop that blocks: the same decisions at the same times.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::event::{Event, Events, Observer};
use steadfast_core::limits::Limiter;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline, PipelineBuilder, Step};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::retry::Retry;
use steadfast_core::run::Runner;
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
use steadfast_executor::Line;
use steadfast_tests::world::{Arrivals, DecisionLog, ScriptedAnswer, Server, World, millis, minutes, seconds};

use crate::support::{self, Tasks, config, ns, quota};

/// The pipeline that the drivers below are compared with: small numbers, so that every policy has its say.
fn strict() -> PipelineBuilder {
    Pipeline::builder()
        .deadline(seconds(5))
        .attempt_timeout(seconds(1))
        .retry(Retry::builder().max_attempts(3).build().unwrap())
        .circuit_breaker(CircuitBreaker::builder().failure_threshold(3).open_for(millis(700)).build().unwrap())
}

/// What the server says to each attempt in turn, under any driver.
pub(super) struct Answers<'a> {
    script: &'a [ScriptedAnswer],
    next: Cell<usize>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(script: &'a [ScriptedAnswer]) -> Self {
        Self { script, next: Cell::new(0) }
    }

    pub(super) fn next(&self) -> ScriptedAnswer {
        let index = self.next.replace(self.next.get() + 1);
        self.script[index % self.script.len()]
    }
}

pub(super) type Decisions = Vec<(Instant, Event)>;

/// The calls of one client, begun at these times, as the simulator drives them.
pub(super) fn simulated<L: Limiter>(pipeline: Pipeline<L>, world: &World) -> Decisions {
    let log = DecisionLog::default();
    let mut pipeline = Some(pipeline);
    super::check(&world.play_observed(|_| pipeline.take().expect("one client"), &log));
    log.into_entries()
}

/// The same calls, as `run` drives them on a clock that is moved by hand. They may overlap.
pub(super) fn awaited<L: Limiter>(
    pipeline: Pipeline<L>,
    entropy: u64,
    times: &[Instant],
    answers: &[ScriptedAnswer],
) -> Decisions {
    let (pipeline, clock, log) = (RefCell::new(pipeline), support::World::default(), DecisionLog::default());
    let (answers, runner) = (Answers::new(answers), Runner { pipeline: &pipeline, timer: &clock, observer: &log });
    let mut calls = Tasks::new(&clock);
    for begin in times {
        let (runner, answers, clock) = (&runner, &answers, &clock);
        calls.spawn(async move {
            clock.sleep_until(*begin).await;
            let attempt = |_| async move {
                let (takes, outcome) = answers.next();
                clock.sleep_until(clock.now() + takes).await;
                outcome
            };
            let _ = runner.call(CallOptions::idempotent(), || entropy, |outcome: &Outcome| *outcome, attempt).await;
        });
    }
    calls.run_until(Instant::MAX);
    assert!(calls.tasks.iter().all(|task| task.done.is_some()), "every call ends");
    drop(calls);
    log.into_entries()
}

/// The same calls, as a loop drives them that has nothing else to do. They must not overlap.
fn blocking(mut pipeline: Pipeline, entropy: u64, times: &[Instant], answers: &[ScriptedAnswer]) -> Decisions {
    let (clock, log, mut events) = (ManualClock::new(), DecisionLog::default(), Events::new());
    let answers = Answers::new(answers);
    for begin in times {
        assert!(*begin >= clock.now(), "two calls at once");
        clock.set(*begin);
        let mut call = pipeline.call(*begin, CallOptions::idempotent());
        log.observe(*begin, &Event::CallStarted { deadline: call.deadline() });
        loop {
            let step = call.poll(clock.now(), entropy, &mut pipeline, &mut events);
            events.report(clock.now(), &log);
            match step {
                Step::Wait(until) => clock.set(until),
                Step::Start(attempt) => {
                    let (takes, outcome) = answers.next();
                    let answer_at = clock.now() + takes;
                    clock.set(answer_at.min(attempt.until));
                    let now = clock.now();
                    if answer_at <= attempt.until {
                        call.finish(now, entropy, attempt.number, outcome, &mut pipeline, &mut events);
                    } else {
                        call.time_out(now, entropy, attempt.number, &mut pipeline, &mut events);
                    }
                    events.report(now, &log);
                }
                Step::Done(_) => break,
            }
        }
    }
    log.into_entries()
}

/// One client that calls at these times, and a server that has these answers for it.
pub(super) fn scripted(times: &[Instant], answers: &[ScriptedAnswer]) -> World {
    World::new().arrivals(Arrivals::At(times.to_vec())).server(Server::scripted(answers)).lasting(minutes(60))
}

fn answers() -> impl Strategy<Value = Vec<ScriptedAnswer>> {
    let outcome = prop_oneof![
        2 => Just(Outcome::success()),
        4 => Just(Outcome::transient()),
        1 => Just(Outcome::permanent()),
        1 => Just(Outcome::throttled()),
        1 => (0..2_000_000_000_u64).prop_map(|wait| Outcome::throttled().with_retry_after(nanos(wait))),
    ];
    prop::collection::vec(((0..1_300_000_000_u64).prop_map(nanos), outcome), 1..20)
}

/// One call after each pause of so many nanoseconds. No two begin at once: of two events at the same moment, drivers may
/// take either first. That is also why times in these scripts are on no grid.
fn begun(pauses: &[u64]) -> Vec<Instant> {
    let begin = |now: &mut u64, pause: &u64| {
        *now += pause + 1;
        Some(ns(*now))
    };
    pauses.iter().scan(0, begin).collect()
}

proptest! {
    #![proptest_config(config(512))]

    /// Calls that overlap and share a breaker: `run` and the simulator.
    #[test]
    fn promise_10_overlapping_calls_are_decided_alike(
        pauses in prop::collection::vec(0..900_000_000_u64, 1..12),
        answers in answers(),
        entropy in any::<u64>(),
    ) {
        let times = begun(&pauses);
        let world = scripted(&times, &answers).entropy(entropy);
        let want = simulated(strict().build().unwrap(), &world);
        prop_assert_eq!(awaited(strict().build().unwrap(), entropy, &times, &answers), want);
    }

    /// Calls that overlap and stand in one line too, where whoever leaves moves others forward: `run` and the simulator.
    #[test]
    fn promise_10_a_line_is_the_same_line(
        pauses in prop::collection::vec(0..900_000_000_u64, 1..12),
        answers in answers(),
        (entropy, burst) in (any::<u64>(), 1..3_u32),
    ) {
        let pipeline = || {
            let limit = TokenBucket::new(quota(1, nanos(487_654_321), burst));
            strict().rate_limit(limit).build().unwrap().map_limits(Line::before)
        };
        let times = begun(&pauses);
        let world = scripted(&times, &answers).entropy(entropy);
        let want = simulated(pipeline(), &world);
        prop_assert_eq!(awaited(pipeline(), entropy, &times, &answers), want);
    }

    /// Calls one after the other that wait for a rate limit too: `run`, the simulator, and a loop that blocks.
    #[test]
    fn promise_10_calls_in_turn_are_decided_alike(
        pauses in prop::collection::vec(5_100_000_000..7_000_000_000_u64, 1..12),
        answers in answers(),
        (entropy, seconds_for_a_token) in (any::<u64>(), 1..4_u64),
    ) {
        let pipeline = || {
            let limit = TokenBucket::new(quota(1, seconds(seconds_for_a_token), 1));
            strict().rate_limit(limit).build().unwrap()
        };
        let times = begun(&pauses);
        let world = scripted(&times, &answers).entropy(entropy);
        let want = simulated(pipeline(), &world);
        prop_assert_eq!(&blocking(pipeline(), entropy, &times, &answers), &want);
        prop_assert_eq!(awaited(pipeline(), entropy, &times, &answers), want);
    }
}

const fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}
