//! Every call as a span, with a span in it for each attempt, and what policies decide as events: for the `tracing` crate.
//!
//! ```
//! use steadfast_core::pipeline::{CallOptions, Pipeline};
//! use steadfast_core::time::ManualClock;
//! use steadfast_executor::SharedPipeline;
//! use steadfast_tracing::TracingObserver;
//!
//! let clock = ManualClock::new(); // Or the timer of your runtime.
//! let pipeline = SharedPipeline::new(Pipeline::standard(), &clock).with_observer(TracingObserver::new());
//! let greeting = pipeline.run(CallOptions::idempotent(), |_attempt| async {
//!     tracing::info!("this is within the attempt's span"); // And so is what a transport says.
//!     Ok::<_, std::io::Error>("hello")
//! });
//! assert_eq!(clock.drive(greeting).expect("it ends").ok(), Some("hello"));
//! ```
//!
//! # Spans
//!
//! Their target is `steadfast`, and their level `INFO`.
//!
//! | Span | From, to | Fields |
//! | --- | --- | --- |
//! | `call` | the call's start, its end or its being dropped | `otel.kind` = `internal`, `steadfast.attempts`, `error.type` if it failed: the name of the [`Rejected`], `otel.status_code` = `ERROR` then |
//! | `attempt` | when it starts, when it has ended, timed out or is cancelled | `otel.kind` = `client`, `steadfast.attempt`, `steadfast.outcome`, `error.type` if it failed, `otel.status_code` = `ERROR` then |
//!
//! Over HTTP, the client tells the attempt's span what [OpenTelemetry asks for][semconv]: `http.request.method`,
//! `server.address`, `server.port`, `url.full` (of its query only the names), `http.request.resend_count`,
//! `http.response.status_code`. By that convention, each request is a span of its own, and so an attempt is.
//!
//! The call's span begins in whichever span is current then. An attempt's span is current while its future is made and
//! polled, and at no other time: two attempts at once do not get into each other's, and neither does whatever runs while
//! they wait. A call that is dropped closes its spans.
//!
//! # Events
//!
//! Each says in words what happened. They are within the span of what they are about.
//!
//! | Event | Level | Fields |
//! | --- | --- | --- |
//! | a retry is scheduled | `INFO` | `steadfast.attempt`, `steadfast.cause`, `steadfast.delay` in seconds |
//! | the call failed, or a fallback answered | `WARN` | `error.type`, `steadfast.policy` |
//! | the breaker changed its state or mode | `WARN` | `steadfast.from`, `steadfast.to` |
//! | the server holds everybody back | `WARN` | `steadfast.delay` in seconds |
//! | it waits for limits | `DEBUG` | `steadfast.delay` in seconds |
//! | anything else | `DEBUG` | |
//!
//! What spans say by themselves is no event: that a call or an attempt starts, ends, times out or is cancelled.
//!
//! # What it costs
//!
//! Where no subscriber wants the target `steadfast`, each of the few things that happen to a call costs a look at a number,
//! and nothing is allocated.
//!
//! # When not to use it
//!
//! Where calls are so many that a span for each is too much: sample, or count them with `steadfast-metrics`.
//!
//! [semconv]: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
//! [`Rejected`]: steadfast_core::rejected::Rejected

use steadfast_core::event::{Detail, Event, Observer};
use steadfast_core::rejected::Rejected;
use steadfast_core::time::Instant;
use tracing::field::{Empty, display};
use tracing::span::Id;
use tracing::{Span, debug, info, info_span, warn};

/// Makes spans and events of what it observes. See the [crate](self) for which.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver(());

impl TracingObserver {
    /// An observer for whichever subscriber there is.
    pub const fn new() -> Self {
        Self(())
    }
}

/// The spans of a call that goes on. There is nothing of them in memory where no subscriber wants any.
#[derive(Debug, Default)]
pub struct CallSpans(Option<Box<Spans>>);

#[derive(Debug)]
struct Spans {
    call: Span,
    /// As many as may be under way at once.
    attempts: [AttemptSpan; 2],
}

#[derive(Debug)]
struct AttemptSpan {
    /// Which; zero if there is none.
    number: u32,
    span: Span,
    /// Whether somebody said what kind of error it was.
    has_error_type: bool,
}

impl AttemptSpan {
    const NONE: Self = Self { number: 0, span: Span::none(), has_error_type: false };
}

impl CallSpans {
    fn made(&mut self) -> &mut Spans {
        self.0.get_or_insert_with(|| Box::new(Spans { call: Span::none(), attempts: [AttemptSpan::NONE; 2] }))
    }

    fn attempt_mut(&mut self, number: u32) -> Option<&mut AttemptSpan> {
        self.0.as_mut()?.attempts.iter_mut().find(|attempt| attempt.number == number)
    }

    /// Within which the call's own events are.
    fn call(&self) -> &Span {
        const NONE: &Span = &Span::none();
        self.0.as_ref().map_or(NONE, |spans| &spans.call)
    }

    fn begin(&mut self) {
        let call = info_span!(
            target: "steadfast",
            "call",
            otel.kind = "internal",
            otel.status_code = Empty,
            steadfast.attempts = Empty,
            error.type = Empty,
        );
        if !call.is_disabled() {
            self.made().call = call;
        }
    }

    fn begin_attempt(&mut self, number: u32) {
        let span = info_span!(
            target: "steadfast",
            parent: or_current(self.call()),
            "attempt",
            otel.kind = "client",
            otel.status_code = Empty,
            steadfast.attempt = number,
            steadfast.outcome = Empty,
            error.type = Empty,
            http.request.method = Empty,
            http.request.resend_count = Empty,
            http.response.status_code = Empty,
            server.address = Empty,
            server.port = Empty,
            url.full = Empty,
        );
        self.call().record("steadfast.attempts", number);
        if span.is_disabled() {
            return;
        }
        self.made();
        if let Some(free) = self.attempt_mut(0) {
            *free = AttemptSpan { number, span, has_error_type: false };
        }
    }

    /// Closes the span of an attempt that ended so.
    fn end_attempt(&mut self, number: u32, outcome: &'static str, error: Option<&'static str>) {
        let Some(attempt) = self.attempt_mut(number) else { return };
        let AttemptSpan { span, has_error_type, .. } = std::mem::replace(attempt, AttemptSpan::NONE);
        span.record("steadfast.outcome", outcome);
        if let Some(error) = error {
            span.record("otel.status_code", "ERROR");
            if !has_error_type {
                span.record("error.type", error);
            }
        }
    }

    fn fail(&self, error: &'static str) {
        self.call().record("otel.status_code", "ERROR");
        self.call().record("error.type", error);
    }
}

impl Observer for TracingObserver {
    type Call = CallSpans;

    fn observe(&self, now: Instant, event: &Event) {
        tell(&Span::none(), now, event);
    }

    fn observe_call(&self, now: Instant, call: &mut CallSpans, event: &Event) {
        match *event {
            Event::CallStarted { .. } => call.begin(),
            Event::AttemptStarted { attempt, .. } => call.begin_attempt(attempt),
            Event::AttemptEnded { attempt, outcome } => {
                let is_success = outcome == steadfast_core::outcome::OutcomeKind::Success;
                call.end_attempt(attempt, outcome.as_str(), Some(outcome.as_str()).filter(|_| !is_success));
            }
            Event::AttemptTimedOut { attempt } => call.end_attempt(attempt, "timed_out", Some("timeout")),
            Event::AttemptCancelled { attempt } => call.end_attempt(attempt, "cancelled", None),
            Event::Succeeded { .. } => {}
            Event::Abandoned => call.fail(Rejected::Abandoned.as_str()),
            Event::Rejected(rejected) => {
                call.fail(rejected.as_str());
                tell(call.call(), now, event);
            }
            _ => tell(call.call(), now, event),
        }
    }

    fn detail(&self, call: &mut CallSpans, attempt: u32, name: &'static str, value: Detail<'_>) {
        let Some(attempt) = call.attempt_mut(attempt) else { return };
        attempt.has_error_type |= name == "error.type";
        match value {
            Detail::Number(number) => attempt.span.record(name, number),
            Detail::Words(words) => attempt.span.record(name, display(words)),
        };
    }

    fn within<R>(&self, call: &mut CallSpans, attempt: u32, piece: impl FnOnce() -> R) -> R {
        match call.attempt_mut(attempt) {
            Some(attempt) => attempt.span.in_scope(piece),
            None => piece(),
        }
    }
}

/// The span that something is told in. Where nobody wants the call's, it is the caller's: a filter on `steadfast` leaves it its place.
fn or_current(span: &Span) -> Option<Id> {
    span.id().or_else(|| Span::current().id())
}

/// Says what happened, within this span.
fn tell(span: &Span, now: Instant, event: &Event) {
    let seconds = |until: Instant| (until - now).as_secs_f64();
    match event {
        Event::RetryScheduled { attempt, at, cause } => {
            let (cause, delay) = (cause.as_str(), seconds(*at));
            info!(
                target: "steadfast",
                parent: or_current(span),
                { steadfast.attempt = *attempt, steadfast.cause = cause, steadfast.delay = delay },
                "{event}"
            );
        }
        Event::Rejected(rejected) | Event::FellBack(rejected) => {
            let (error, policy) = (rejected.as_str(), rejected.policy());
            warn!(target: "steadfast", parent: or_current(span), { error.type = error, steadfast.policy = policy }, "{event}");
        }
        Event::CircuitBreakerChanged { from, to } => changed(span, from.as_str(), to.as_str(), event),
        Event::CircuitBreakerModeChanged { from, to } => changed(span, from.as_str(), to.as_str(), event),
        Event::RateLimitBlocked { until } => {
            warn!(target: "steadfast", parent: or_current(span), { steadfast.delay = seconds(*until) }, "{event}");
        }
        Event::WaitingForLimits { until } => {
            debug!(target: "steadfast", parent: or_current(span), { steadfast.delay = seconds(*until) }, "{event}");
        }
        _ => debug!(target: "steadfast", parent: or_current(span), "{event}"),
    }
}

fn changed(span: &Span, from: &'static str, to: &'static str, event: &Event) {
    warn!(target: "steadfast", parent: or_current(span), { steadfast.from = from, steadfast.to = to }, "{event}");
}
