//! Scripts for one call through its pipeline, and for two that share one.

use core::num::NonZeroU32;
use core::time::Duration;

use super::{Attempt, Call, CallOptions, Hedged, MayHedge, Pipeline, PipelineBuilder, Step};
use crate::backoff::{Backoff, Jitter};
use crate::circuit_breaker::{self, CircuitBreaker, Mode, Reason, State, Window};
use crate::concurrency::ConcurrencyLimit;
use crate::event::{Event, Events, Observer};
use crate::hedge::Hedge;
use crate::limits::Ticket;
use crate::outcome::{Idempotency, Outcome, OutcomeKind};
use crate::rate_limit::{Quota, TokenBucket};
use crate::rejected::Rejected;
use crate::retry::Retry;
use crate::time::Instant;

mod admissions;
mod describe;
mod diagram;
mod hedging;
mod policies;
mod reconfigure;

extern crate std;
use std::cell::RefCell;
use std::string::ToString;
use std::vec::Vec;

const fn s(secs: u64) -> Instant {
    Instant::from_nanos(secs * 1_000_000_000)
}

const fn seconds(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Attempts of 10 s within 60 s, three of them, backoffs of 1 and 2 s; the breaker opens at two failures for 5 s.
fn builder() -> PipelineBuilder {
    let backoff = Backoff::builder().base(seconds(1)).jitter(Jitter::None).build().unwrap();
    let breaker = CircuitBreaker::builder().failure_threshold(2).open_for(seconds(5)).build().unwrap();
    Pipeline::builder()
        .deadline(seconds(60))
        .attempt_timeout(seconds(10))
        .retry(Retry::builder().max_attempts(3).backoff(backoff).build().unwrap())
        .circuit_breaker(breaker)
}

/// One token a second.
fn limited(builder: PipelineBuilder, burst: u32) -> PipelineBuilder {
    let quota = Quota::per_second(1).and_then(|quota| quota.with_burst(burst)).unwrap();
    builder.rate_limit(TokenBucket::new(quota))
}

/// A pipeline, and what was reported while it was used.
struct Bench {
    pipeline: Pipeline,
    events: Events,
    reported: RefCell<Vec<Event>>,
}

impl Observer for RefCell<Vec<Event>> {
    type Call = ();

    fn observe(&self, _now: Instant, event: &Event) {
        self.borrow_mut().push(*event);
    }
}

impl Bench {
    fn new(builder: PipelineBuilder) -> Self {
        Self { pipeline: builder.build().unwrap(), events: Events::new(), reported: RefCell::default() }
    }

    fn call(&self, secs: u64) -> Call<Ticket> {
        self.pipeline.call(s(secs), CallOptions::idempotent())
    }

    fn poll(&mut self, secs: u64, call: &mut Call<Ticket, impl MayHedge>) -> Step {
        let step = call.poll(s(secs), 0, &mut self.pipeline, &mut self.events);
        self.events.report(s(secs), &self.reported);
        step
    }

    fn finish(&mut self, secs: u64, call: &mut Call<Ticket, impl MayHedge>, outcome: Outcome) {
        call.finish(s(secs), 0, call.attempts(), outcome, &mut self.pipeline, &mut self.events);
        self.events.report(s(secs), &self.reported);
    }

    fn abandon(&mut self, secs: u64, call: &mut Call<Ticket, impl MayHedge>) {
        call.abandon(s(secs), &mut self.pipeline, &mut self.events);
        self.events.report(s(secs), &self.reported);
    }

    fn available(&mut self, secs: u64) -> u32 {
        self.pipeline.limits().rate_limits().unwrap().available(s(secs))[0]
    }

    fn breaker(&mut self) -> &mut CircuitBreaker {
        self.pipeline.circuit_breaker_mut().unwrap()
    }

    /// Opens the breaker by two calls that fail for good at the given second.
    fn trip(&mut self, secs: u64) {
        for _ in 0..2 {
            let permit = self.breaker().try_admit(s(secs)).unwrap();
            self.breaker().record(s(secs), 0, permit, OutcomeKind::Transient);
        }
    }
}

fn start(number: u32, until: u64) -> Step {
    Step::Start(Attempt { number, until: s(until) })
}

fn stopped(rejected: Rejected) -> Step {
    Step::Done(Err(rejected))
}

#[test]
fn a_call_that_succeeds_at_once_starts_at_once() {
    let mut bench = Bench::new(builder());
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    assert_eq!(bench.poll(1, &mut call), Step::Wait(s(10)), "under way");
    bench.finish(1, &mut call, Outcome::success());
    assert_eq!(bench.poll(1, &mut call), Step::Done(Ok(())));
    assert_eq!(bench.poll(9, &mut call), Step::Done(Ok(())), "and stays so");
    let events = [
        Event::AttemptStarted { attempt: 1, until: s(10) },
        Event::AttemptEnded { attempt: 1, outcome: OutcomeKind::Success },
        Event::Succeeded { attempts: 1 },
    ];
    assert_eq!(*bench.reported.borrow(), events);
}

#[test]
fn those_who_wait_for_limits_learn_that_the_breaker_was_forced_open() {
    let mut bench = Bench::new(limited(builder(), 1));
    let (mut first, mut second) = (bench.call(0), bench.call(0));
    assert_eq!(bench.poll(0, &mut first), start(1, 10));
    assert_eq!(bench.poll(0, &mut second), Step::Wait(s(1)));
    // One that opened by itself may have closed when the turn of the call comes.
    bench.trip(0);
    assert_eq!(bench.poll(0, &mut second), Step::Wait(s(1)));
    bench.breaker().set_mode(Mode::ForcedOpen);
    assert_eq!(bench.poll(0, &mut second), stopped(Rejected::CircuitForcedOpen));
    assert_eq!(bench.available(1), 1, "its turn is back");
}

#[test]
fn failures_are_repeated_after_their_backoff_until_attempts_are_spent() {
    let mut bench = Bench::new(builder().without_circuit_breaker());
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    bench.finish(3, &mut call, Outcome::transient());
    assert_eq!(bench.poll(3, &mut call), Step::Wait(s(4)));
    assert_eq!(bench.poll(3, &mut call), Step::Wait(s(4)), "asking early does no harm");
    assert_eq!(bench.poll(4, &mut call), start(2, 14));
    call.time_out(s(14), 0, call.attempts(), &mut bench.pipeline, &mut bench.events);
    assert_eq!(bench.poll(16, &mut call), start(3, 26));
    bench.finish(17, &mut call, Outcome::transient());
    assert_eq!(bench.poll(17, &mut call), stopped(Rejected::AttemptsSpent { max_attempts: 3 }));
    assert_eq!(call.attempts(), 3);
}

#[test]
fn the_last_attempt_gets_what_remains_until_the_deadline() {
    let mut bench = Bench::new(builder().deadline(seconds(12)));
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    bench.finish(4, &mut call, Outcome::transient());
    assert_eq!(bench.poll(5, &mut call), start(2, 12));
}

#[test]
fn what_cannot_be_done_in_time_fails_now() {
    let deadline = s(60);
    for (outcome_at, outcome, want) in [
        (58, Outcome::transient(), None), // The next starts at 59.
        (59, Outcome::transient(), Some(Rejected::NoTimeToRetry { retry_at: s(60), deadline })),
        (60, Outcome::transient(), Some(Rejected::DeadlineExceeded { deadline })),
        (
            9,
            Outcome::throttled().with_retry_after(seconds(3600)),
            Some(Rejected::NoTimeToRetry { retry_at: s(3610), deadline }),
        ),
    ] {
        let mut bench = Bench::new(builder());
        let mut call = bench.call(0);
        assert_eq!(bench.poll(0, &mut call), start(1, 10));
        bench.finish(outcome_at, &mut call, outcome);
        let want = want.map_or(Step::Wait(s(outcome_at + 1)), stopped);
        assert_eq!(bench.poll(outcome_at, &mut call), want, "{outcome:?} at {outcome_at}");
    }
}

#[test]
fn a_call_that_is_asked_too_late_does_not_start() {
    let mut bench = Bench::new(limited(builder(), 1));
    let mut call = bench.call(0);
    assert_eq!(bench.poll(60, &mut call), stopped(Rejected::DeadlineExceeded { deadline: s(60) }));
    let (mut first, mut second) = (bench.call(0), bench.call(0));
    assert_eq!(bench.poll(0, &mut first), start(1, 10));
    assert_eq!(bench.poll(0, &mut second), Step::Wait(s(1)));
    assert_eq!(bench.poll(60, &mut second), stopped(Rejected::DeadlineExceeded { deadline: s(60) }));
}

#[test]
fn attempts_wait_for_the_rate_limit_and_retries_do_too() {
    let mut bench = Bench::new(limited(builder(), 1));
    let (mut first, mut second) = (bench.call(0), bench.call(0));
    assert_eq!(bench.poll(0, &mut first), start(1, 10));
    assert_eq!(bench.poll(0, &mut second), Step::Wait(s(1)));
    bench.finish(0, &mut first, Outcome::transient());
    // The retry may go at second 1, and that token is the other call's.
    assert_eq!(bench.poll(1, &mut first), Step::Wait(s(2)));
    assert_eq!(bench.poll(1, &mut second), start(1, 11));
    assert_eq!(bench.poll(2, &mut first), start(2, 12));
    assert!(bench.reported.borrow().contains(&Event::WaitingForLimits { until: s(2) }));
}

#[test]
fn a_turn_that_comes_after_the_deadline_is_refused_at_once() {
    let mut bench = Bench::new(limited(builder().deadline(seconds(10)), 1));
    let mut calls: Vec<_> = (0..12).map(|_| bench.call(0)).collect();
    let steps: Vec<_> = calls.iter_mut().map(|call| bench.poll(0, call)).collect();
    assert_eq!(steps[9], Step::Wait(s(9)));
    let late = stopped(Rejected::RateLimited { retry_at: s(10), deadline: s(10) });
    assert_eq!(steps[10..], [late, late], "and neither took a token");
}

#[test]
fn a_call_heavier_than_the_burst_is_told_so() {
    let mut bench = Bench::new(limited(builder(), 5));
    let options = CallOptions::idempotent().with_weight(NonZeroU32::new(6).unwrap());
    let mut call = bench.pipeline.call(s(0), options);
    assert_eq!(bench.poll(0, &mut call), stopped(Rejected::TooHeavy { tokens: 6, burst: 5 }));
}

#[test]
fn one_429_slows_everybody_down() {
    let mut bench = Bench::new(limited(builder(), 10));
    let (mut first, mut second) = (bench.call(0), bench.call(0));
    assert_eq!(bench.poll(0, &mut first), start(1, 10));
    bench.finish(0, &mut first, Outcome::throttled().with_retry_after(seconds(7)));
    assert!(bench.reported.borrow().contains(&Event::RateLimitBlocked { until: s(7) }));
    assert_eq!(bench.poll(0, &mut second), Step::Wait(s(7)));
    assert_eq!(bench.poll(0, &mut first), Step::Wait(s(8)), "the hint, and then the backoff");
    assert_eq!(bench.poll(7, &mut second), start(1, 17));
}

#[test]
fn a_hint_with_a_success_or_a_permanent_failure_slows_nobody() {
    for outcome in [Outcome::success(), Outcome::permanent()] {
        let mut bench = Bench::new(limited(builder(), 10));
        let mut call = bench.call(0);
        assert_eq!(bench.poll(0, &mut call), start(1, 10));
        bench.finish(0, &mut call, outcome.with_retry_after(seconds(7)));
        assert_eq!(bench.available(0), 9);
    }
}

#[test]
fn an_outage_trips_the_breaker_within_a_single_call() {
    let mut bench = Bench::new(builder());
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    bench.finish(0, &mut call, Outcome::transient());
    assert_eq!(bench.poll(1, &mut call), start(2, 11));
    bench.finish(1, &mut call, Outcome::transient());
    let opened = Event::CircuitBreakerChanged { from: State::Closed, to: State::Open };
    assert!(bench.reported.borrow().contains(&opened));
    assert_eq!(
        bench.poll(3, &mut call),
        stopped(Rejected::CircuitOpen { retry_at: s(6), reason: Reason::ConsecutiveFailures })
    );
}

#[test]
fn an_open_breaker_costs_no_tokens() {
    let mut bench = Bench::new(limited(builder(), 5));
    bench.trip(0);
    let mut call = bench.call(0);
    assert_eq!(
        bench.poll(0, &mut call),
        stopped(Rejected::CircuitOpen { retry_at: s(5), reason: Reason::ConsecutiveFailures })
    );
    assert_eq!(bench.available(0), 5);
}

#[test]
fn a_breaker_that_opened_while_a_call_was_in_line_refuses_it_and_its_tokens_go_back() {
    let mut bench = Bench::new(limited(builder(), 1));
    let (mut first, mut second) = (bench.call(0), bench.call(0));
    assert_eq!(bench.poll(0, &mut first), start(1, 10));
    assert_eq!(bench.poll(0, &mut second), Step::Wait(s(1)));
    bench.trip(0);
    assert_eq!(
        bench.poll(1, &mut second),
        stopped(Rejected::CircuitOpen { retry_at: s(5), reason: Reason::ConsecutiveFailures })
    );
    assert_eq!(bench.available(1), 1);
}

#[test]
fn the_probe_is_reported_and_closes_the_breaker() {
    let mut bench = Bench::new(builder());
    bench.trip(0);
    let (mut probe, mut other) = (bench.call(5), bench.call(5));
    assert_eq!(bench.poll(5, &mut probe), start(1, 15));
    assert_eq!(
        bench.poll(5, &mut other),
        stopped(Rejected::CircuitOpen { retry_at: s(35), reason: Reason::ProbesOut })
    );
    bench.finish(6, &mut probe, Outcome::success());
    let reported = bench.reported.borrow();
    assert_eq!(reported[0], Event::CircuitBreakerChanged { from: State::Open, to: State::HalfOpen });
    assert!(reported.contains(&Event::CircuitBreakerChanged { from: State::HalfOpen, to: State::Closed }));
}

#[test]
fn a_breaker_that_only_watches_says_what_it_would_have_done() {
    let mut bench = Bench::new(builder());
    bench.trip(0);
    bench.breaker().set_mode(Mode::MetricsOnly);
    let mut call = bench.call(1);
    assert_eq!(bench.poll(1, &mut call), start(1, 11));
    bench.finish(1, &mut call, Outcome::success());
    let refusal = circuit_breaker::Refusal::NotYet { retry_at: s(5), reason: Reason::ConsecutiveFailures };
    assert_eq!(bench.reported.borrow()[0], Event::CircuitBreakerWouldRefuse(refusal));
    assert_eq!(bench.reported.borrow().len(), 4, "and no event is about the result");
}

#[test]
fn a_breaker_that_is_forced_open_rejects_and_names_no_time() {
    let mut bench = Bench::new(builder());
    bench.breaker().set_mode(Mode::ForcedOpen);
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), stopped(Rejected::CircuitForcedOpen));
}

/// Would catch: calls that are refused before they join the line, and that a recovering breaker never hears of.
#[test]
fn calls_that_are_refused_count_as_having_come_to_a_recovering_breaker() {
    let breaker = CircuitBreaker::builder().failure_threshold(2).open_for(seconds(5)).recover_over(seconds(10));
    let mut bench = Bench::new(limited(builder(), 100).circuit_breaker(breaker.build().unwrap()));
    bench.trip(0);
    let probe = bench.breaker().try_admit(s(5)).unwrap();
    bench.breaker().record(s(5), 0, probe, OutcomeKind::Success);
    let admitted = (0..100).filter(|_| {
        let mut call = bench.call(7);
        matches!(bench.poll(7, &mut call), Step::Start(_))
    });
    assert_eq!(admitted.count(), 20, "a fifth of the ramp has passed, and a fifth is admitted");
}

#[test]
fn a_result_that_comes_after_the_breaker_has_moved_on_is_reported_as_late() {
    let mut bench = Bench::new(builder());
    let mut straggler = bench.call(0);
    assert_eq!(bench.poll(0, &mut straggler), start(1, 10));
    bench.trip(1);
    bench.finish(2, &mut straggler, Outcome::success());
    assert!(bench.reported.borrow().contains(&Event::LateResult { outcome: Some(OutcomeKind::Success) }));
    assert_eq!(bench.breaker().state(), State::Open);
    assert_eq!(bench.poll(2, &mut straggler), Step::Done(Ok(())), "it is a success all the same");
}

#[test]
fn a_call_that_is_abandoned_gives_back_exactly_what_it_took() {
    // Before its first step: nothing.
    let mut bench = Bench::new(limited(builder(), 1));
    let mut call = bench.call(0);
    bench.abandon(0, &mut call);
    assert_eq!(bench.available(0), 1);
    assert_eq!(bench.poll(0, &mut call), stopped(Rejected::Abandoned));

    // In line: its place.
    let (mut first, mut second) = (bench.call(0), bench.call(0));
    assert_eq!(bench.poll(0, &mut first), start(1, 10));
    assert_eq!(bench.poll(0, &mut second), Step::Wait(s(1)));
    bench.abandon(0, &mut second);
    assert_eq!(bench.available(1), 1);

    // Under way: the probe's place, and not its token, since the server may have seen it.
    bench.trip(1);
    let (mut probe, mut next) = (bench.call(6), bench.call(6));
    assert_eq!(bench.poll(6, &mut probe), start(1, 16));
    bench.abandon(6, &mut probe);
    assert_eq!(bench.available(6), 0);
    assert_eq!(bench.poll(7, &mut next), start(1, 17));

    // Backing off, and ended: nothing, and the second time is not even reported.
    bench.finish(7, &mut next, Outcome::transient());
    bench.abandon(7, &mut next);
    bench.abandon(7, &mut next);
    let abandoned = bench.reported.borrow().iter().filter(|event| **event == Event::Abandoned).count();
    assert_eq!(abandoned, 4);
}

#[test]
fn what_is_told_at_the_wrong_time_is_ignored() {
    let mut bench = Bench::new(builder());
    let mut call = bench.call(0);
    bench.finish(0, &mut call, Outcome::success());
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    bench.finish(1, &mut call, Outcome::transient());
    bench.finish(1, &mut call, Outcome::success());
    assert_eq!(bench.poll(1, &mut call), Step::Wait(s(2)));
}

#[test]
fn without_limits_of_time_there_are_none() {
    let mut bench = Bench::new(builder().without_deadline().without_attempt_timeout());
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), Step::Start(Attempt { number: 1, until: Instant::MAX }));
    assert_eq!(call.deadline(), Instant::MAX);
}

#[test]
fn settings_that_contradict_each_other_are_refused_by_both_names() {
    let lease = |secs| CircuitBreaker::builder().probe_lease(seconds(secs)).build().unwrap();
    let slots = |secs| ConcurrencyLimit::fixed(1).lease(seconds(secs)).build().unwrap();
    let slow_at = |secs| CircuitBreaker::builder().slow_call_rate(50, seconds(secs));
    let window = |secs| CircuitBreaker::builder().window(Window::Time(seconds(secs)));
    let hedge = |secs, hedges| Hedge::builder().after(seconds(secs)).max_hedges(hedges).build().unwrap();
    let retry_after = |secs, attempts| {
        let backoff = Backoff::builder().base(seconds(secs)).cap(seconds(secs)).jitter(Jitter::None).build().unwrap();
        Retry::builder().max_attempts(attempts).backoff(backoff).build().unwrap()
    };
    for (builder, want) in [
        (builder().deadline(seconds(9)), "attempt_timeout is 10s: it must be at most as long as deadline, which is 9s"),
        (
            builder().circuit_breaker(lease(9)),
            "attempt_timeout is 10s: it must be at most as long as probe_lease, which is 9s",
        ),
        (
            builder().without_attempt_timeout().circuit_breaker(lease(59)),
            "deadline is 60s: it must be at most as long as probe_lease, which is 59s",
        ),
        (
            builder().concurrency_limit(slots(9)),
            "attempt_timeout is 10s: it must be at most as long as concurrency_limit.lease, which is 9s",
        ),
        (
            builder().without_deadline().without_attempt_timeout().concurrency_limit(slots(9)),
            "deadline is none: it must be at most as long as concurrency_limit.lease, which is 9s",
        ),
        (
            builder().circuit_breaker(slow_at(11).build().unwrap()),
            "slow_call_rate is 11s: it must be at most as long as attempt_timeout, which is 10s",
        ),
        (
            builder().circuit_breaker(window(19).build().unwrap()),
            "window is 19s: it must be at least twice as long as attempt_timeout, which is 10s",
        ),
        (builder().hedge(hedge(10, 1)), "hedge.min_delay is 10s: it must be less than attempt_timeout, which is 10s"),
        (
            builder().without_attempt_timeout().without_circuit_breaker().hedge(hedge(60, 1)),
            "hedge.min_delay is 60s: it must be less than deadline, which is 60s",
        ),
        (builder().hedge(hedge(9, 3)), "hedge.max_hedges is 3: it must be less than retry.max_attempts, which is 3"),
        (
            builder().hedge(hedge(9, 1)).retry(Retry::builder().max_attempts(1).build().unwrap()),
            "hedge.max_hedges is 1: it must be less than retry.max_attempts, which is 1",
        ),
        (builder().retry(retry_after(60, 2)), "retry.backoff is 60s: it must be less than deadline, which is 60s"),
        (builder().deadline(Duration::ZERO), "deadline is 0ns, which is not more than zero"),
        (builder().attempt_timeout(Duration::ZERO), "attempt_timeout is 0ns, which is not more than zero"),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), want);
    }
    // Each by as little as can be, and what is not there contradicts nothing.
    for builder in [
        builder().deadline(seconds(10)),
        builder().circuit_breaker(lease(10)),
        builder().concurrency_limit(slots(10)),
        builder().circuit_breaker(slow_at(10).build().unwrap()),
        builder().without_deadline().without_attempt_timeout().circuit_breaker(slow_at(30).build().unwrap()),
        builder().circuit_breaker(window(20).build().unwrap()),
        builder().circuit_breaker(window(1).without_failure_rate().build().unwrap()),
        builder().circuit_breaker(CircuitBreaker::builder().window(Window::Calls(100)).build().unwrap()),
        builder().hedge(hedge(9, 2)),
        builder().without_deadline().without_attempt_timeout().hedge(hedge(1_000, 2)),
        builder().retry(retry_after(59, 2)),
        builder().retry(retry_after(60, 1)),
    ] {
        assert!(builder.build().is_ok());
    }
}
