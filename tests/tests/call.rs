//! Whole calls under random scripts: what they start, wait for, report and give back.

use core::cell::RefCell;
use core::num::NonZeroU32;
use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::event::{Event, Events, Observer};
use steadfast_core::outcome::{Idempotency, Outcome, OutcomeKind, Processed};
use steadfast_core::pipeline::{Attempt, Call, CallOptions, Pipeline, Step};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::Retry;
use steadfast_core::time::Instant;
use steadfast_executor::{Line, Ticket};

use crate::support::{bucket, config, millis, ms, quota};

/// How many attempts may be under way at once.
const SLOTS: u32 = 3;
const MAX_ATTEMPTS: u32 = 3;
const BURST: u32 = 4;
const DEADLINE: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Op {
    New(u32, Idempotency),
    Poll(usize),
    Finish(usize, Outcome, u64),
    TimeOut(usize, u64),
    /// Given up; only while it has been granted nothing that it has not used (see `broken` for the rest).
    Abandon(usize),
    Move(u64),
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let kinds = prop_oneof![
        Just(Outcome::success()),
        Just(Outcome::permanent()),
        Just(Outcome::transient()),
        Just(Outcome::transient()),
        Just(Outcome::throttled())
    ];
    (kinds, any::<bool>(), prop::option::weighted(0.2, 0..3_000_u64)).prop_map(|(outcome, processed, hint)| {
        let outcome = if processed { outcome } else { outcome.not_processed() };
        hint.map_or(outcome, |hint| outcome.with_retry_after(millis(hint)))
    })
}

fn ops() -> impl Strategy<Value = Op> {
    let idempotency = prop_oneof![Just(Idempotency::Idempotent), Just(Idempotency::NotIdempotent)];
    prop_oneof![
        2 => (1..=BURST, idempotency).prop_map(|(weight, idempotency)| Op::New(weight, idempotency)),
        6 => any::<usize>().prop_map(Op::Poll),
        3 => (any::<usize>(), outcomes(), any::<u64>()).prop_map(|(i, outcome, dice)| Op::Finish(i, outcome, dice)),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(i, dice)| Op::TimeOut(i, dice)),
        1 => any::<usize>().prop_map(Op::Abandon),
        3 => prop_oneof![0..300_u64, 0..3_000_u64].prop_map(Op::Move),
    ]
}

#[derive(Default)]
struct Log(RefCell<Vec<Event>>);

impl Observer for Log {
    type Call = ();

    fn observe(&self, _now: Instant, event: &Event) {
        self.0.borrow_mut().push(*event);
    }
}

/// A call, and what is known about it.
struct Known {
    call: Call<Ticket>,
    weight: u32,
    idempotency: Idempotency,
    deadline: Instant,
    started: u32,
    not_before: Instant,
    /// Whether its last attempt may be repeated at all.
    repeatable: bool,
    running: bool,
    ended: bool,
    /// What it was told by its last poll, if that was to wait in line or to back off.
    waits_until: Option<Instant>,
}

struct Script {
    pipeline: Pipeline<Line>,
    now: Instant,
    calls: Vec<Known>,
    starts: Vec<(Instant, u32)>,
}

impl Script {
    fn new() -> Self {
        let pipeline = Pipeline::builder()
            .deadline(DEADLINE)
            .attempt_timeout(TIMEOUT)
            .retry(Retry::builder().max_attempts(MAX_ATTEMPTS).build().unwrap())
            .circuit_breaker(CircuitBreaker::builder().failure_threshold(3).open_for(millis(700)).build().unwrap())
            .rate_limit(bucket(BURST))
            .concurrency_limit(ConcurrencyLimit::fixed(SLOTS).build().unwrap());
        let pipeline = pipeline.build().unwrap().map_limits(Line::before);
        Self { pipeline, now: ms(0), calls: Vec::new(), starts: Vec::new() }
    }

    /// Does something to a call, and returns what it reported.
    fn tell(
        &mut self,
        i: usize,
        tell: impl FnOnce(&mut Known, Instant, &mut Pipeline<Line>, &mut Events),
    ) -> Vec<Event> {
        let (mut events, log) = (Events::new(), Log::default());
        tell(&mut self.calls[i], self.now, &mut self.pipeline, &mut events);
        events.report(self.now, &log);
        log.0.into_inner()
    }

    fn poll(&mut self, i: usize) {
        let mut step = None;
        let events =
            self.tell(i, |known, now, pipeline, events| step = Some(known.call.poll(now, 0, pipeline, events)));
        let (known, now) = (&mut self.calls[i], self.now);
        known.waits_until = None;
        match step.expect("it was polled") {
            Step::Start(Attempt { number, until }) => {
                known.started += 1;
                assert!(!known.running && !known.ended && number == known.started && number <= MAX_ATTEMPTS);
                assert!(now >= known.not_before, "started at {now}, before {}", known.not_before);
                assert!(now < known.deadline && until == (now + TIMEOUT).min(known.deadline));
                assert!(number == 1 || known.repeatable, "repeated what must not be");
                assert!(events.contains(&Event::AttemptStarted { attempt: number, until }));
                known.running = true;
                self.starts.push((now, known.weight));
                let running = self.calls.iter().filter(|known| known.running).count();
                assert!(running <= SLOTS as usize, "{running} at once");
            }
            Step::Wait(until) => {
                known.waits_until = Some(until).filter(|_| !known.running);
                assert!(until > now || known.running, "told to wait for {until} at {now}");
                assert!(until <= known.deadline || known.running, "waits past its deadline");
                assert!(!events.iter().any(|event| matches!(event, Event::AttemptStarted { .. })));
            }
            Step::Done(result) => {
                let reported = events.iter().any(|event| matches!(event, Event::Rejected(_)));
                assert_eq!(reported, !known.ended, "an end is reported once: {events:?}");
                assert!(result.is_err() || known.started > 0);
                if let Err(rejected) = result {
                    check_rejected(&rejected, now, known);
                }
                known.ended = true;
            }
        }
        assert_eq!(self.calls[i].call.attempts(), self.calls[i].started);
    }

    fn end(&mut self, i: usize, outcome: Outcome, events: &[Event]) {
        let (known, now) = (&mut self.calls[i], self.now);
        if !known.running {
            assert!(events.is_empty(), "nothing was under way: {events:?}");
            return;
        }
        known.running = false;
        known.repeatable = outcome.kind() != OutcomeKind::Permanent
            && (known.idempotency == Idempotency::Idempotent || outcome.processed() == Processed::No);
        known.not_before = now + outcome.retry_after().unwrap_or_default();
        known.ended = match events.last() {
            Some(Event::RetryScheduled { attempt, at, .. }) => {
                assert!(*attempt == known.started + 1 && *at >= known.not_before && *at < known.deadline);
                false
            }
            Some(Event::Succeeded { attempts }) => *attempts == known.started,
            Some(Event::Rejected(_)) => true,
            other => panic!("ended in silence: {other:?}"),
        };
        assert_eq!(outcome.is_success(), matches!(events.last(), Some(Event::Succeeded { .. })));
    }

    /// Lets time pass as a driver would see it: whoever waits asks again when it was told to.
    fn pass(&mut self, end: Instant) {
        loop {
            self.poll_waiting();
            let due = self.calls.iter().filter_map(|known| known.waits_until).filter(|until| *until <= end).min();
            let Some(due) = due else { break };
            self.now = self.now.max(due);
        }
        self.now = end;
        self.poll_waiting();
    }

    fn poll_waiting(&mut self) {
        for i in 0..self.calls.len() {
            if self.calls[i].waits_until.is_some() {
                self.poll(i);
            }
        }
    }

    fn step(&mut self, op: Op) {
        let count = self.calls.len();
        match op {
            Op::New(weight, idempotency) => {
                let options = CallOptions::new(idempotency).with_weight(NonZeroU32::new(weight).unwrap());
                let (call, deadline) = (self.pipeline.call(self.now, options), self.now + DEADLINE);
                self.calls.push(Known {
                    call,
                    weight,
                    idempotency,
                    deadline,
                    started: 0,
                    not_before: ms(0),
                    repeatable: false,
                    running: false,
                    ended: false,
                    waits_until: None,
                });
            }
            Op::Move(step) => self.pass(self.now + millis(step)),
            _ if count == 0 => {}
            Op::Poll(i) => self.poll(i % count),
            Op::Finish(i, outcome, dice) => {
                let events = self.tell(i % count, |known, now, pipeline, events| {
                    known.call.finish(now, dice, known.started, outcome, pipeline, events);
                });
                self.end(i % count, outcome, &events);
            }
            Op::TimeOut(i, dice) => {
                let events = self.tell(i % count, |known, now, pipeline, events| {
                    known.call.time_out(now, dice, known.started, pipeline, events);
                });
                self.end(i % count, Outcome::transient(), &events);
            }
            Op::Abandon(i) => {
                // Whoever stands in line learns first whether it has been granted anything.
                if !self.calls[i % count].running {
                    self.poll(i % count);
                }
                let ended = self.calls[i % count].ended;
                let mut events =
                    self.tell(i % count, |known, now, pipeline, events| known.call.abandon(now, pipeline, events));
                // What the breaker makes of it is told too.
                events.retain(|event| !matches!(event, Event::LateResult { outcome: None }));
                let known = &self.calls[i % count];
                let cancelled = known.running.then_some(Event::AttemptCancelled { attempt: known.started });
                let abandoned = (!ended).then_some(Event::Abandoned);
                assert_eq!(events, cancelled.into_iter().chain(abandoned).collect::<Vec<_>>());
                let known = &mut self.calls[i % count];
                (known.running, known.ended, known.waits_until) = (false, true, None);
            }
        }
    }
}

fn check_rejected(rejected: &Rejected, now: Instant, known: &Known) {
    match rejected {
        Rejected::DeadlineExceeded { deadline } => assert!(known.ended || now >= *deadline),
        Rejected::CircuitOpen { retry_at, .. } => assert!(known.ended || *retry_at > now),
        Rejected::RateLimited { retry_at, deadline } => {
            assert!(retry_at >= deadline && (known.ended || *retry_at > now));
        }
        Rejected::NoSlot { deadline } => assert!(known.ended || now >= *deadline),
        Rejected::AttemptsSpent { max_attempts } => assert!(known.started == *max_attempts),
        _ => assert!(known.ended, "{rejected:?} comes from an attempt"),
    }
}

proptest! {
    #![proptest_config(config(400))]

    /// Would catch: an attempt too many, too early, too late or unasked; a token too many under any order of polls; a
    /// call that waits past its deadline or for a time that has passed; a decision that is not reported, or twice.
    #[test]
    fn calls_keep_every_promise_under_any_script(script in prop::collection::vec(ops(), 1..120)) {
        let mut world = Script::new();
        for op in script {
            world.step(op);
            world.poll_waiting();
        }
        for (i, (from, _)) in world.starts.iter().enumerate() {
            let mut sum = 0;
            for (to, weight) in &world.starts[i..] {
                sum += u128::from(*weight);
                let allowed = u128::from(BURST) * 100_000_000 + (*to - *from).as_nanos();
                prop_assert!(sum * 100_000_000 <= allowed, "{} tokens from {} to {}", sum, from, to);
            }
        }
        // Never stuck: when everybody has gone and time has passed, a new call starts at once.
        (0..world.calls.len()).for_each(|i| world.step(Op::Abandon(i)));
        world.now += Duration::from_secs(60);
        world.step(Op::New(BURST, Idempotency::Idempotent));
        let last = world.calls.len() - 1;
        world.poll(last);
        prop_assert!(world.calls[last].running);
    }
}

/// Where a call is given up.
#[derive(Clone, Copy, Debug)]
enum Stage {
    NeverPolled,
    InLine,
    Running,
    BackingOff,
    Ended,
}

/// Promise 3, for the bucket and the breaker: they are as if the call had not been, but for what it started.
#[test]
fn an_abandoned_call_leaves_bucket_and_breaker_as_they_were() {
    for (stage, spent) in
        [(Stage::NeverPolled, 0), (Stage::InLine, 0), (Stage::Running, 1), (Stage::BackingOff, 1), (Stage::Ended, 1)]
    {
        let burst = 3;
        let limit = TokenBucket::new(quota(10, Duration::from_secs(1), burst));
        let mut pipeline = Pipeline::builder().rate_limit(limit).build().unwrap();
        let (mut events, taken) = (Events::new(), if matches!(stage, Stage::InLine) { burst } else { 1 });
        let limits = pipeline.limits_mut().rate_limits_mut().unwrap();
        limits.try_acquire(ms(0), [taken]).unwrap();
        let mut call = pipeline.call(ms(0), CallOptions::idempotent());
        if !matches!(stage, Stage::NeverPolled) {
            let step = call.poll(ms(0), 0, &mut pipeline, &mut events);
            assert_eq!(matches!(step, Step::Start(_)), !matches!(stage, Stage::InLine));
        }
        match stage {
            Stage::BackingOff => drop(call.finish(ms(0), 0, 1, Outcome::transient(), &mut pipeline, &mut events)),
            Stage::Ended => drop(call.finish(ms(0), 0, 1, Outcome::success(), &mut pipeline, &mut events)),
            Stage::NeverPolled | Stage::InLine | Stage::Running => {}
        }
        call.abandon(ms(0), &mut pipeline, &mut events);
        call.abandon(ms(0), &mut pipeline, &mut events); // Twice is once.
        assert!(matches!(call.poll(ms(0), 0, &mut pipeline, &mut events), Step::Done(_)));
        assert_eq!(pipeline.circuit_breaker_mut().unwrap().check(ms(0)), Ok(()));
        let limits = pipeline.limits();
        assert_eq!(limits.available(ms(0)), [burst - taken - spent], "{stage:?}");
        assert_eq!(limits.available(ms(100)), [(burst - taken - spent + 1).min(burst)], "{stage:?}");
    }
}
