//! What calls, attempts and policies do, counted and measured: for the `metrics` facade, and so for Prometheus and others.
//!
//! ```
//! use steadfast_core::pipeline::{CallOptions, Pipeline};
//! use steadfast_core::time::ManualClock;
//! use steadfast_executor::SharedPipeline;
//! use steadfast_metrics::MetricsObserver;
//!
//! let clock = ManualClock::new(); // Or the timer of your runtime.
//! let pipeline = SharedPipeline::new(Pipeline::standard(), &clock).with_observer(MetricsObserver::new("search"));
//! let call = pipeline.run(CallOptions::idempotent(), |_attempt| async { Ok::<_, std::io::Error>("hello") });
//! assert_eq!(clock.drive(call).expect("it ends").ok(), Some("hello"));
//! ```
//!
//! # Metrics
//!
//! Each has the label `pipeline`, with the name that the observer was given. This is [`METRICS`], word for word.
//!
//! | Metric | Kind | Unit | Labels | Meaning |
//! | --- | --- | --- | --- | --- |
//! | `steadfast.calls` | counter | | `outcome` | calls that ended |
//! | `steadfast.call.duration` | histogram | s | `outcome` | from a call's start to its end, with all waits |
//! | `steadfast.calls.active` | gauge | | | calls that go on |
//! | `steadfast.attempts` | counter | | `outcome` | attempts that ended |
//! | `steadfast.attempt.duration` | histogram | s | `outcome` | from an attempt's start to its end |
//! | `steadfast.attempts.active` | gauge | | | attempts that are under way |
//! | `steadfast.retries` | counter | | `cause` | retries that were scheduled |
//! | `steadfast.retry.delay` | histogram | s | `cause` | how long a retry is to wait |
//! | `steadfast.hedges` | counter | | | attempts that went beside another |
//! | `steadfast.rejections` | counter | | `reason` | calls that policies ended |
//! | `steadfast.fallbacks` | counter | | `reason` | calls for which something else was answered |
//! | `steadfast.calls.waiting` | gauge | | | calls that wait in line for limits |
//! | `steadfast.wait.duration` | histogram | s | | how long a call waited in line, if it did |
//! | `steadfast.server_holds` | counter | | | how often a server held everybody back |
//! | `steadfast.circuit_breaker.state` | gauge | | `state` | 1 for the breaker's state, 0 for all others |
//! | `steadfast.circuit_breaker.changes` | counter | | `state` | how often the breaker went over to the state |
//! | `steadfast.circuit_breaker.late_results` | counter | | | results that came too late for the breaker to count |
//! | `steadfast.concurrency.limit` | gauge | | | attempts that an adaptive concurrency limit allows |
//! | `steadfast.adaptive_rate.interval` | gauge | s | | the adaptive rate: how long from one token to the next |
//! | `http.client.request.duration` | histogram | s | `http.request.method`, `http.response.status_code`, `error.type` | an attempt over HTTP, as OpenTelemetry has it |
//!
//! # Labels
//!
//! Their values are few, and none comes from a URL or from what a caller sends. `state` is a
//! [`State`], `cause` a [`Cause`], `reason` a [`Rejected`], each by its `as_str`. The `outcome` of a call is `success`, or
//! the `as_str` of its [`Rejected`]; that of an attempt is an [`OutcomeKind`], `timed_out` or `cancelled`.
//! `http.request.method` is one of the nine usual ones or `_OTHER`, the status a number from 100 to 999, and `error.type`
//! one of the client's words or the status.
//!
//! # When not to use it
//!
//! To look at a single call: that is what `steadfast-tracing` is for.
//!
//! [`State`]: steadfast_core::circuit_breaker::State
//! [`Cause`]: steadfast_core::retry::budget::Cause
//! [`Rejected`]: steadfast_core::rejected::Rejected
//! [`OutcomeKind`]: steadfast_core::outcome::OutcomeKind

use metrics::{SharedString, counter, gauge, histogram};
use steadfast_core::circuit_breaker::State;
use steadfast_core::event::{Detail, Event, Observer};
use steadfast_core::rejected::Rejected;
use steadfast_core::time::Instant;

mod table;

use table::{
    ATTEMPT_DURATION, ATTEMPTS, BREAKER_CHANGES, BREAKER_STATE, CALL_DURATION, CALLS, FALLBACKS, HEDGES, HOLDS,
    HTTP_DURATION, IN_FLIGHT, IN_FLIGHT_CALLS, LATE, LIMIT, PACE, REJECTIONS, RETRIES, RETRY_DELAY, WAIT, WAITING,
};
pub use table::{Kind, METRICS, Metric};

/// Counts and measures what it observes. See the [crate](self) for the metrics.
#[derive(Clone, Debug)]
pub struct MetricsObserver {
    pipeline: SharedString,
}

impl MetricsObserver {
    /// An observer for whichever recorder there is by now, which it tells what each metric means. `pipeline` is the value of
    /// that label: choose one for each observer, and not for each call.
    pub fn new(pipeline: impl Into<SharedString>) -> Self {
        table::describe();
        Self { pipeline: pipeline.into() }
    }

    fn label(&self) -> SharedString {
        self.pipeline.clone()
    }

    fn count(&self, name: &'static str, label: &'static str, value: &'static str) {
        counter!(name, "pipeline" => self.label(), label => value).increment(1);
    }

    /// Notes what happened, to whichever call.
    fn note(&self, now: Instant, event: &Event) {
        match *event {
            Event::RetryScheduled { at, cause, .. } => {
                self.count(RETRIES, "cause", cause.as_str());
                histogram!(RETRY_DELAY, "pipeline" => self.label(), "cause" => cause.as_str()).record(at - now);
            }
            Event::Hedged { .. } => counter!(HEDGES, "pipeline" => self.label()).increment(1),
            Event::RateLimitBlocked { .. } => counter!(HOLDS, "pipeline" => self.label()).increment(1),
            Event::LateResult { .. } => counter!(LATE, "pipeline" => self.label()).increment(1),
            Event::Rejected(rejected) => self.count(REJECTIONS, "reason", rejected.as_str()),
            Event::FellBack(rejected) => self.count(FALLBACKS, "reason", rejected.as_str()),
            Event::ConcurrencyLimitChanged { to, .. } => {
                gauge!(LIMIT, "pipeline" => self.label()).set(to);
            }
            Event::AdaptiveRateChanged(change) => {
                gauge!(PACE, "pipeline" => self.label()).set(change.to.as_secs_f64());
            }
            Event::CircuitBreakerChanged { to, .. } => {
                self.count(BREAKER_CHANGES, "state", to.as_str());
                for state in State::ALL {
                    let is_it = u32::from(state == to);
                    gauge!(BREAKER_STATE, "pipeline" => self.label(), "state" => state.as_str()).set(is_it);
                }
            }
            _ => {}
        }
    }

    fn end(&self, now: Instant, call: &CallMeasures, outcome: &'static str) {
        self.count(CALLS, "outcome", outcome);
        histogram!(CALL_DURATION, "pipeline" => self.label(), "outcome" => outcome).record(now - call.started);
        gauge!(IN_FLIGHT_CALLS, "pipeline" => self.label()).decrement(1);
    }

    fn end_attempt(&self, now: Instant, call: &mut CallMeasures, number: u32, outcome: &'static str) {
        let Some(place) = call.attempt_mut(number) else { return };
        let Measured { started, method, status, error, .. } = std::mem::take(place);
        let took = now - started;
        self.count(ATTEMPTS, "outcome", outcome);
        histogram!(ATTEMPT_DURATION, "pipeline" => self.label(), "outcome" => outcome).record(took);
        gauge!(IN_FLIGHT, "pipeline" => self.label()).decrement(1);
        if let Some(method) = method {
            let status = status.map_or(SharedString::const_str(""), |status| status.to_string().into());
            let fallback = if outcome == "timed_out" { "timeout" } else { "" };
            let error = error.unwrap_or(SharedString::const_str(fallback));
            histogram!(
                HTTP_DURATION,
                "pipeline" => self.label(),
                "http.request.method" => method,
                "http.response.status_code" => status,
                "error.type" => error,
            )
            .record(took);
        }
    }

    fn begin_wait(&self, now: Instant, call: &mut CallMeasures) {
        if call.waits_since.replace(now).is_none() {
            gauge!(WAITING, "pipeline" => self.label()).increment(1);
        }
    }

    /// A call that waited does so no longer.
    fn end_wait(&self, now: Instant, call: &mut CallMeasures) {
        if let Some(since) = call.waits_since.take() {
            gauge!(WAITING, "pipeline" => self.label()).decrement(1);
            histogram!(WAIT, "pipeline" => self.label()).record(now - since);
        }
    }
}

/// What is measured of a call that goes on.
#[derive(Debug, Default)]
pub struct CallMeasures {
    started: Instant,
    waits_since: Option<Instant>,
    /// As many as may be under way at once.
    attempts: [Measured; 2],
}

#[derive(Debug, Default)]
struct Measured {
    /// Which; zero if there is none.
    number: u32,
    started: Instant,
    method: Option<SharedString>,
    status: Option<u64>,
    error: Option<SharedString>,
}

impl CallMeasures {
    fn attempt_mut(&mut self, number: u32) -> Option<&mut Measured> {
        self.attempts.iter_mut().find(|attempt| attempt.number == number)
    }
}

impl Observer for MetricsObserver {
    type Call = CallMeasures;

    fn observe(&self, now: Instant, event: &Event) {
        self.note(now, event);
    }

    fn observe_call(&self, now: Instant, call: &mut CallMeasures, event: &Event) {
        match *event {
            Event::CallStarted { .. } => {
                call.started = now;
                gauge!(IN_FLIGHT_CALLS, "pipeline" => self.label()).increment(1);
            }
            Event::WaitingForLimits { .. } => self.begin_wait(now, call),
            Event::AttemptStarted { attempt, .. } => {
                self.end_wait(now, call);
                gauge!(IN_FLIGHT, "pipeline" => self.label()).increment(1);
                if let Some(free) = call.attempt_mut(0) {
                    *free = Measured { number: attempt, started: now, ..Measured::default() };
                }
            }
            Event::AttemptEnded { attempt, outcome } => self.end_attempt(now, call, attempt, outcome.as_str()),
            Event::AttemptTimedOut { attempt } => self.end_attempt(now, call, attempt, "timed_out"),
            Event::AttemptCancelled { attempt } => self.end_attempt(now, call, attempt, "cancelled"),
            Event::HedgeRefused(_) => self.end_wait(now, call),
            Event::Succeeded { .. } => {
                self.end_wait(now, call);
                self.end(now, call, "success");
            }
            Event::Rejected(rejected) => {
                self.end_wait(now, call);
                self.end(now, call, rejected.as_str());
            }
            Event::Abandoned => {
                self.end_wait(now, call);
                self.end(now, call, Rejected::Abandoned.as_str());
            }
            _ => {}
        }
        self.note(now, event);
    }

    fn detail(&self, call: &mut CallMeasures, attempt: u32, name: &'static str, value: Detail<'_>) {
        let Some(attempt) = call.attempt_mut(attempt) else { return };
        match (name, value) {
            ("http.request.method", Detail::Words(method)) => attempt.method = Some(method.to_string().into()),
            ("http.response.status_code", Detail::Number(status)) => attempt.status = Some(status),
            ("error.type", Detail::Words(error)) => attempt.error = Some(error.to_string().into()),
            _ => {}
        }
    }
}
