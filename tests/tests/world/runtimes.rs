//! The script of a seed on every runtime: the log of decisions is the same.
//!
//! On clocks that jump it is the same byte for byte, time included, and the same as the simulator's. On real clocks no two
//! runs are alike to the nanosecond; there every decision is the same, and how long each says to wait.

use core::cell::RefCell;
use core::future::{Future, pending, poll_fn};
use core::ops::Range;
use core::task::Poll;

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use fastrand::Rng;
use steadfast::TokioTimer;
use steadfast_core::backoff::{Backoff, Jitter};
use steadfast_core::circuit_breaker::{CircuitBreaker, Mode};
use steadfast_core::event::{Event, Observer};
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{Attempt, CallOptions, Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::retry::Retry;
use steadfast_core::retry::budget::Budget;
use steadfast_core::run::Runner;
use steadfast_core::share::Share;
use steadfast_core::time::{BlockingTimer, Clock, Instant, ManualClock, Timer};
use steadfast_embassy::Shared;
use steadfast_executor::ThreadTimer;
use steadfast_smol::SmolTimer;
use steadfast_tests::world::{DecisionLog, ScriptedAnswer, millis, seconds};

use super::drivers::{Answers, Decisions, awaited, scripted, simulated};
use crate::support::{self, embassy, ms, quota};

const SEEDS: Range<u64> = 0..40;
const ENTROPY: u64 = 0;

/// When calls begin, and what the server says to each attempt in turn.
///
/// All times are whole milliseconds, because tokio knows no others, and no two calls ever have something due at the same
/// time, because then drivers may take either first: call *i* begins *i* ms after a multiple of 32 ms, and whatever happens
/// to it takes a multiple of 16 ms.
#[derive(Debug)]
struct Script {
    begins: Vec<Instant>,
    answers: Vec<ScriptedAnswer>,
}

impl Script {
    /// Sixteen calls, each begun a pause after the one before. In slots of 32 ms: how long those pauses are, and which hints
    /// the server gives when it throttles. Answers take up to 40 slots.
    fn drawn(seed: u64, pause: Range<u64>, hints: &[u64]) -> Self {
        let mut dice = Rng::with_seed(seed);
        let mut slot = 0;
        let begins = (0..16).map(|call| {
            slot += dice.u64(pause.clone());
            ms(slot * 32 + call)
        });
        let begins = begins.collect();
        let answers = (0..40).map(|_| {
            let outcome = match dice.u8(0..9) {
                0..2 => Outcome::success(),
                2..6 => Outcome::transient(),
                6 => Outcome::permanent(),
                7 => Outcome::throttled(),
                _ => {
                    Outcome::throttled().with_retry_after(millis(dice.choice(hints).copied().unwrap_or_default() * 32))
                }
            };
            (millis(dice.u64(0..40) * 32 + 16), outcome)
        });
        Self { begins, answers: answers.collect() }
    }
}

/// Small numbers, so that every policy has its say. No jitter: its delays are no whole milliseconds.
fn pipeline() -> PipelineBuilder {
    let backoff = Backoff::builder().base(millis(96)).cap(millis(960)).jitter(Jitter::None).build().unwrap();
    let breaker = CircuitBreaker::builder().failure_threshold(3).open_for(millis(704)).open_jitter(0).build().unwrap();
    Pipeline::builder()
        .retry(Retry::builder().max_attempts(4).backoff(backoff).build().unwrap())
        .circuit_breaker(breaker)
}

/// One line for each decision, with its time.
fn text(decisions: &[(Instant, Event)]) -> String {
    decisions.iter().map(|(now, event)| format!("{} {event:?}\n", now.as_nanos())).collect()
}

/// Polls them all, in their order, whenever one of them is woken.
async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut running: Vec<_> = futures.map(Box::pin).collect();
    poll_fn(|cx| {
        running.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// One call of a script.
async fn call<S, T, O>(runner: &Runner<'_, S, T, O>, begin: Instant, answers: &Answers<'_>)
where
    S: Share<State = Pipeline>,
    T: Timer,
    O: Observer,
{
    runner.timer.sleep_until(begin).await;
    let attempt = |_| async {
        let (takes, outcome) = answers.next();
        runner.timer.sleep_until(runner.timer.now() + takes).await;
        outcome
    };
    let _ = runner.call(CallOptions::idempotent(), || ENTROPY, |outcome: &Outcome| *outcome, attempt).await;
}

/// All calls of a script, in one task.
async fn calls<T: Timer>(timer: T, shared: impl Share<State = Pipeline>, script: &Script) -> Decisions {
    let log = DecisionLog::default();
    let (runner, answers) =
        (Runner { pipeline: &shared, timer: &timer, observer: &log }, Answers::new(&script.answers));
    all(script.begins.iter().map(|begin| call(&runner, *begin, &answers))).await;
    log.into_entries()
}

fn on_tokio(pipeline: Pipeline, script: &Script) -> Decisions {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { calls(TokioTimer::new(), RefCell::new(pipeline), script).await })
}

fn on_embassy(pipeline: Pipeline, script: &Script) -> Decisions {
    embassy::drive(|timer| calls(timer, Shared::<CriticalSectionRawMutex, _>::new(pipeline), script))
}

/// On smol's executor, a task for each call. The clock is one for tests: smol's own cannot be moved.
fn on_smol(pipeline: Pipeline, script: &Script) -> Decisions {
    let (shared, clock, log) = (RefCell::new(pipeline), support::World::default(), DecisionLog::default());
    let (runner, answers) =
        (Runner { pipeline: &shared, timer: &clock, observer: &log }, Answers::new(&script.answers));
    let executor = smol::LocalExecutor::new();
    for begin in &script.begins {
        executor.spawn(call(&runner, *begin, &answers)).detach();
    }
    while !executor.is_empty() {
        while executor.try_tick() {}
        if let Some(next) = clock.next_wake() {
            clock.set(next);
        }
    }
    drop(executor);
    log.into_entries()
}

/// As a program without async makes them: one after the other.
fn blocking(pipeline: Pipeline, script: &Script) -> Decisions {
    let (shared, clock, log) = (RefCell::new(pipeline), ManualClock::new(), DecisionLog::default());
    let (runner, answers) =
        (Runner { pipeline: &shared, timer: &clock, observer: &log }, Answers::new(&script.answers));
    for begin in &script.begins {
        assert!(*begin >= clock.now(), "two calls at once");
        clock.wait_until(*begin);
        let attempt = |_| {
            let (takes, outcome) = answers.next();
            clock.wait_until(clock.now() + takes);
            outcome
        };
        let _ = runner.call_blocking(CallOptions::idempotent(), || ENTROPY, |outcome: &Outcome| *outcome, attempt);
    }
    log.into_entries()
}

/// A way to drive a script.
type Driver = (&'static str, fn(Pipeline, &Script) -> Decisions);

const TASKS: [Driver; 4] = [
    ("run", |pipeline, script| awaited(pipeline, ENTROPY, &script.begins, &script.answers)),
    ("tokio", on_tokio),
    ("smol", on_smol),
    ("embassy", on_embassy),
];

/// Compares what every driver makes of a script with what the simulator makes of it, and returns that.
fn check(script: &Script, pipeline: impl Fn() -> Pipeline, drivers: &[Driver]) -> Decisions {
    let want = simulated(pipeline(), &scripted(&script.begins, &script.answers).entropy(ENTROPY));
    for (name, driver) in drivers {
        assert_eq!(text(&driver(pipeline(), script)), text(&want), "{name}, {script:?}");
    }
    want
}

/// Whether the scripts have led to all of these at least once: a script in which nothing happens proves nothing.
fn assert_had(decisions: &[(Instant, Event)], wanted: &[&str]) {
    let text = text(decisions);
    for event in wanted {
        assert!(text.contains(event), "no {event}");
    }
}

#[test]
fn promise_10_calls_that_overlap_are_decided_alike_on_every_runtime() {
    let pipeline = || pipeline().deadline(seconds(5)).attempt_timeout(millis(1024)).build().unwrap();
    // No time to come back at: all who wait for one go at the same moment, and of those drivers may take any first.
    let play = |seed| check(&Script::drawn(seed, 0..32, &[0]), pipeline, &TASKS);
    let decisions: Vec<_> = SEEDS.flat_map(play).collect();
    let wanted = ["TimedOut", "RetryScheduled", "HalfOpen", "CircuitOpen", "BudgetSpent", "Succeeded"];
    assert_had(&decisions, &wanted);
}

#[test]
fn promise_10_calls_in_turn_are_decided_alike_on_every_runtime_and_without_one() {
    // They wait for tokens, and are over before the next begins. An attempt that blocks cannot be cancelled, so none is
    // still under way when its time or that of the call is over.
    let pipeline = || {
        let limit = TokenBucket::new(quota(1, seconds(2), 1));
        pipeline().deadline(seconds(30)).attempt_timeout(seconds(2)).rate_limit(limit).build().unwrap()
    };
    let drivers = [&TASKS[..], &[("blocking", blocking as fn(_, &_) -> _)]].concat();
    let play = |seed| check(&Script::drawn(seed, 2_000..2_100, &[0, 3, 20, 60, 1_000]), pipeline, &drivers);
    let decisions: Vec<_> = SEEDS.flat_map(play).collect();
    let wanted = ["WaitingForLimits", "RateLimitBlocked", "RetryScheduled", "NoTimeToRetry", "Succeeded"];
    assert_had(&decisions, &wanted);
}

/// What the server does with an attempt, on a real clock: it answers at once, or never. Anything between would be a race.
type Answer = Option<Outcome>;

fn prompt_answers(seed: u64) -> Vec<Answer> {
    let mut dice = Rng::with_seed(seed);
    let outcome = |_| match dice.u8(0..8) {
        0..2 => Some(Outcome::success()),
        2..5 => Some(Outcome::transient()),
        5 => Some(Outcome::permanent()),
        6 => Some(Outcome::throttled().with_retry_after(millis(dice.u64(0..20)))),
        _ => None,
    };
    (0..40).map(outcome).collect()
}

/// Short waits, and nothing that depends on how late one ends: no other bound on the whole time than one that only a machine
/// that stands still comes to, and a breaker that is not open any more when the shortest backoff ends.
fn quick() -> Pipeline {
    let backoff = Backoff::builder().base(millis(2)).cap(millis(8)).jitter(Jitter::None).build().unwrap();
    let breaker = CircuitBreaker::builder().failure_threshold(3).without_failure_rate().without_recovery();
    Pipeline::builder()
        .deadline(seconds(600))
        .attempt_timeout(millis(15))
        .retry(Retry::builder().max_attempts(3).backoff(backoff).build().unwrap())
        .budget(Budget::unlimited())
        .circuit_breaker(breaker.open_for(millis(1)).open_jitter(0).build().unwrap())
        .rate_limit(TokenBucket::new(quota(1_000, millis(1), 1_000)))
        .build()
        .unwrap()
}

/// How many calls a prompt script has. The last two find the breaker forced open.
const PROMPT_CALLS: usize = 14;

/// What prompt scripts lead to, all together.
const PROMPT_EVENTS: [&str; 5] = ["RetryScheduled", "RateLimitBlocked", "HalfOpen", "CircuitForcedOpen", "Succeeded"];

/// When the next call can be made: the breaker says so. None comes earlier, since whether it would is a race too.
fn ready_at(pipeline: &RefCell<Pipeline>, now: Instant, call: usize) -> Instant {
    pipeline.with(|pipeline| {
        let breaker = pipeline.circuit_breaker_mut().expect("there is one");
        if call + 2 == PROMPT_CALLS {
            breaker.set_mode(Mode::ForcedOpen);
        }
        breaker.check(now).err().and_then(|refusal| refusal.retry_at()).unwrap_or(now)
    })
}

async fn prompt_calls<T: Timer>(timer: T, answers: &[Answer]) -> Decisions {
    let (pipeline, log) = (RefCell::new(quick()), DecisionLog::default());
    let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &log };
    let mut answers = answers.iter().cycle();
    for call in 0..PROMPT_CALLS {
        timer.sleep_until(ready_at(&pipeline, timer.now(), call)).await;
        let attempt = |_| {
            let answer = answers.next().copied().flatten();
            async move {
                match answer {
                    Some(outcome) => outcome,
                    None => pending().await,
                }
            }
        };
        let _ = runner.call(CallOptions::idempotent(), || ENTROPY, |outcome: &Outcome| *outcome, attempt).await;
    }
    log.into_entries()
}

fn prompt_calls_blocking<T: BlockingTimer>(timer: &T, answers: &[Answer]) -> Decisions {
    let (pipeline, log) = (RefCell::new(quick()), DecisionLog::default());
    let runner = Runner { pipeline: &pipeline, timer, observer: &log };
    let mut answers = answers.iter().cycle();
    for call in 0..PROMPT_CALLS {
        timer.wait_until(ready_at(&pipeline, timer.now(), call));
        let attempt = |attempt: Attempt| {
            answers.next().copied().flatten().unwrap_or_else(|| {
                timer.wait_until(attempt.until);
                Outcome::timed_out()
            })
        };
        let _ = runner.call_blocking(CallOptions::idempotent(), || ENTROPY, |outcome: &Outcome| *outcome, attempt);
    }
    log.into_entries()
}

/// One line for each decision, with every time in it counted from when it was decided. What depends on how late the timer
/// was is left out: whether a call found its token there already.
fn relative_text(decisions: &[(Instant, Event)]) -> String {
    let lines = decisions.iter().filter(|(_, event)| !matches!(event, Event::WaitingForLimits { .. }));
    let line = |(now, event): &(Instant, Event)| {
        let absolute = format!("{event:?}\n");
        let mut parts = absolute.split("Instant(");
        let mut line = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (nanos, rest) = part.split_once(')').expect("an instant prints as one number");
            let time = Instant::from_nanos(nanos.parse().expect("an instant prints as one number"));
            line += &format!("{:?} later{rest}", time - *now);
        }
        line
    };
    lines.map(line).collect()
}

/// Nothing comes before the time that was told for it.
fn assert_never_early(name: &str, decisions: &[(Instant, Event)]) {
    let mut told = Instant::EPOCH;
    for (now, event) in decisions {
        match event {
            Event::RetryScheduled { at, .. } | Event::RateLimitBlocked { until: at } => told = told.max(*at),
            Event::AttemptStarted { .. } => assert!(*now >= told, "{name}: an attempt at {now}, and not before {told}"),
            _ => {}
        }
    }
}

/// Runs a prompt script on a real clock, and compares it with what comes of it on one that jumps.
fn check_prompt(name: &str, seed: u64, want: &Decisions, got: &Decisions) {
    assert_eq!(relative_text(got), relative_text(want), "{name}, seed {seed}");
    assert_never_early(name, got);
}

/// A runtime with a real clock.
type RealClock = (&'static str, fn(&[Answer]) -> Decisions);

const REAL_CLOCKS: [RealClock; 3] = [
    ("tokio", |answers| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { prompt_calls(TokioTimer::new(), answers).await })
    }),
    ("tokio's threads", |answers| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(async { prompt_calls(TokioTimer::new(), answers).await })
    }),
    ("smol", |answers| smol::block_on(prompt_calls(SmolTimer::new(), answers))),
];

#[test]
fn promise_10_on_real_clocks_the_decisions_are_the_same() {
    let mut decisions = Vec::new();
    for seed in 0..3 {
        let answers = prompt_answers(seed);
        let clock = ManualClock::new();
        let want = clock.drive(prompt_calls(&clock, &answers)).expect("it is never stuck");
        for (name, driver) in REAL_CLOCKS {
            check_prompt(name, seed, &want, &driver(&answers));
        }
        decisions.extend(want);
    }
    assert_had(&decisions, &PROMPT_EVENTS);
    assert_had(&decisions, &["AttemptTimedOut"]);
}

#[test]
fn promise_10_on_a_thread_that_blocks_the_decisions_are_the_same() {
    let mut decisions = Vec::new();
    for seed in 0..3 {
        let answers = prompt_answers(seed);
        let want = prompt_calls_blocking(&ManualClock::new(), &answers);
        check_prompt("a thread", seed, &want, &prompt_calls_blocking(&ThreadTimer::new(), &answers));
        decisions.extend(want);
    }
    assert_had(&decisions, &PROMPT_EVENTS);
}
