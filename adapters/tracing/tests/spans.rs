//! What a subscriber sees.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use steadfast_client::{ApiClient, Auth, RequestBody, Transport, TransportError};
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::event::{Detail, Event, Observer};
use steadfast_core::hedge::Hedge;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
use steadfast_executor::SharedPipeline;
use steadfast_tracing::TracingObserver;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, info};
use tracing_subscriber::layer::{Context as At, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// What a subscriber sees, as a tree: each span with its fields once it has closed, and events with their levels.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Fields {
    fn shown(&self) -> String {
        let mut shown = String::new();
        for (name, value) in self.0.iter().filter(|(name, _)| **name != "message" && !name.starts_with("otel.kind")) {
            write!(shown, " {name}={value}").unwrap();
        }
        shown
    }
}

impl Seen {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn path<S: Subscriber + for<'a> LookupSpan<'a>>(span: Option<tracing_subscriber::registry::SpanRef<'_, S>>) -> String {
    let mut path = String::new();
    for span in span.into_iter().flat_map(|span| span.scope().from_root().collect::<Vec<_>>()) {
        path.push_str(span.name());
        if let Some(number) = span.extensions().get::<Fields>().and_then(|fields| fields.0.get("steadfast.attempt")) {
            path.push_str(number);
        }
        path.push('/');
    }
    path
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, at: At<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        at.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, at: At<'_, S>) {
        values.record(at.span(id).unwrap().extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_event(&self, event: &tracing::Event<'_>, at: At<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level();
        let message = fields.0.get("message").cloned().unwrap_or_default();
        self.push(format!("{}{level} {message}{}", path(at.event_span(event)), fields.shown()));
    }

    fn on_close(&self, id: Id, at: At<'_, S>) {
        let span = at.span(&id).unwrap();
        let shown = span.extensions().get::<Fields>().unwrap().shown();
        let path = path(Some(span));
        self.push(format!("{path} closed{shown}"));
    }
}

/// What is seen while this runs.
fn seen(run: impl FnOnce(&Seen)) -> Vec<String> {
    let seen = Seen::default();
    tracing::subscriber::with_default(Registry::default().with(seen.clone()), || run(&seen));
    seen.take()
}

fn shared(builder: PipelineBuilder, clock: &ManualClock) -> SharedPipeline<&ManualClock, TracingObserver> {
    SharedPipeline::with_seed(builder.build().unwrap(), clock, 7).with_observer(TracingObserver::new())
}

fn classify(status: &u16) -> Outcome {
    if *status < 500 { Outcome::success() } else { Outcome::transient() }
}

#[test]
fn a_call_is_a_span_with_one_for_each_attempt() {
    let clock = ManualClock::new();
    let retry = steadfast_core::retry::Retry::builder().backoff(
        steadfast_core::backoff::Backoff::builder().jitter(steadfast_core::backoff::Jitter::None).build().unwrap(),
    );
    let pipeline = shared(Pipeline::builder().retry(retry.build().unwrap()), &clock);
    let lines = seen(|_| {
        let outer = tracing::info_span!("outer");
        let call = outer.in_scope(|| {
            pipeline.call(CallOptions::idempotent(), classify, |attempt| {
                info!("made");
                let clock = &clock;
                async move {
                    clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
                    info!("polled");
                    if attempt.number == 1 { 503 } else { 200 }
                }
            })
        });
        // Spans begin where a call is polled for the first time.
        assert_eq!(outer.in_scope(|| clock.drive(call)), Some(Ok(200)));
    });
    assert_eq!(
        lines,
        [
            "outer/call/attempt1/INFO made",
            "outer/call/attempt1/INFO polled",
            "outer/call/attempt1/ closed error.type=transient otel.status_code=ERROR steadfast.attempt=1 steadfast.outcome=transient",
            "outer/call/INFO attempt 2 to follow at 110ms, cause: transient steadfast.attempt=2 steadfast.cause=transient steadfast.delay=0.1",
            "outer/call/attempt2/INFO made",
            "outer/call/attempt2/INFO polled",
            "outer/call/attempt2/ closed steadfast.attempt=2 steadfast.outcome=success",
            "outer/call/ closed steadfast.attempts=2",
            "outer/ closed",
        ]
    );
}

#[test]
fn two_attempts_at_once_are_two_spans() {
    let clock = ManualClock::new();
    let hedge = Hedge::builder().after(Duration::from_millis(50)).build().unwrap();
    let pipeline = shared(Pipeline::builder().hedge(hedge), &clock);
    let lines = seen(|_| {
        let call = pipeline.call_hedged(CallOptions::idempotent(), classify, |attempt| {
            let (clock, takes) = (&clock, if attempt.number == 1 { 500 } else { 100 });
            async move {
                info!("begins");
                clock.sleep_until(clock.now() + Duration::from_millis(takes)).await;
                info!("ends");
                200
            }
        });
        assert_eq!(clock.drive(call), Some(Ok(200)));
    });
    assert_eq!(
        lines,
        [
            "call/attempt1/INFO begins",
            "call/DEBUG attempt 2 goes beside attempt 1",
            "call/attempt2/INFO begins",
            "call/attempt2/INFO ends",
            "call/attempt2/ closed steadfast.attempt=2 steadfast.outcome=success",
            "call/attempt1/ closed steadfast.attempt=1 steadfast.outcome=cancelled",
            "call/ closed steadfast.attempts=2",
        ]
    );
}

#[test]
fn a_dropped_call_closes_its_spans() {
    let clock = ManualClock::new();
    let pipeline = shared(Pipeline::builder(), &clock);
    let lines = seen(|seen| {
        let mut call = Box::pin(pipeline.call(CallOptions::idempotent(), classify, |_| std::future::pending::<u16>()));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(seen.take(), Vec::<String>::new());
        drop(call);
    });
    assert_eq!(
        lines,
        [
            "call/attempt1/ closed steadfast.attempt=1 steadfast.outcome=cancelled",
            "call/ closed error.type=abandoned otel.status_code=ERROR steadfast.attempts=1",
        ]
    );
}

#[test]
fn refusals_waits_and_the_breaker_are_events() {
    let clock = ManualClock::new();
    let breaker = CircuitBreaker::builder().failure_threshold(1).build().unwrap();
    let bucket = TokenBucket::new(Quota::per_second(1).unwrap());
    let pipeline = shared(Pipeline::builder().circuit_breaker(breaker).rate_limit(bucket), &clock);
    let lines = seen(|_| {
        let first = pipeline.call(CallOptions::not_idempotent(), classify, |_| async { 503 });
        assert!(clock.drive(first).unwrap().is_err());
        pipeline.with_policies(|pipeline, _| {
            pipeline.circuit_breaker_mut().unwrap().set_mode(steadfast_core::circuit_breaker::Mode::ForcedClosed)
        });
        let second = pipeline.call(CallOptions::idempotent(), classify, |_| async { 200 });
        assert!(clock.drive(second).unwrap().is_ok());
    });
    let want = [
        "call/attempt1/ closed error.type=transient ",
        "call/WARN circuit breaker: from closed to open steadfast.from=closed steadfast.to=open",
        "call/WARN failed by the retry: the attempt may have been acted on and must not be repeated; ",
        "call/ closed error.type=not_idempotent otel.status_code=ERROR steadfast.attempts=1",
        "WARN circuit breaker: from open to forced closed ",
        "WARN circuit breaker: mode from automatic to forced_closed steadfast.from=automatic steadfast.to=forced_closed",
        "call/DEBUG waits for limits, until 1s as far as is known steadfast.delay=1",
        "call/attempt1/ closed steadfast.attempt=1 steadfast.outcome=success",
        "call/ closed steadfast.attempts=1",
    ];
    assert_eq!(lines.len(), want.len(), "{lines:#?}");
    for (line, want) in lines.iter().zip(want) {
        assert!(line.starts_with(want), "{line}, and not {want}");
    }
}

#[test]
fn details_are_fields_of_the_attempt_and_numbers_stay_numbers() {
    let lines = seen(|_| {
        let (observer, mut call, now) =
            (TracingObserver::new(), <TracingObserver as Observer>::Call::default(), Instant::EPOCH);
        observer.observe_call(now, &mut call, &Event::CallStarted { deadline: now });
        observer.observe_call(now, &mut call, &Event::AttemptStarted { attempt: 1, until: now });
        for (name, value) in [
            ("http.request.method", Detail::Words(&"GET")),
            ("http.response.status_code", Detail::Number(503)),
            ("error.type", Detail::Words(&"503")),
            ("nobody.knows", Detail::Words(&"this")),
        ] {
            observer.detail(&mut call, 1, name, value);
        }
        observer.observe_call(now, &mut call, &Event::AttemptTimedOut { attempt: 1 });
    });
    assert_eq!(
        lines,
        [
            "call/attempt1/ closed error.type=503 http.request.method=GET http.response.status_code=503 \
             otel.status_code=ERROR steadfast.attempt=1 steadfast.outcome=timed_out",
            "call/ closed steadfast.attempts=1",
        ]
    );
}

/// Lets through what is steadfast's only if it is a warning, and all else.
struct Quiet;

impl<S: Subscriber> Layer<S> for Quiet {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _at: At<'_, S>) -> bool {
        metadata.target() != "steadfast" || *metadata.level() == tracing::Level::WARN
    }
}

#[test]
fn where_nobody_wants_the_calls_span_its_events_are_in_the_callers() {
    let clock = ManualClock::new();
    let pipeline = shared(Pipeline::builder(), &clock);
    let seen = Seen::default();
    tracing::subscriber::with_default(Registry::default().with(seen.clone()).with(Quiet), || {
        let options = CallOptions::idempotent().with_max_attempts(1);
        let call = pipeline.call(options, classify, |_| ready(503));
        let _ = tracing::info_span!("outer").in_scope(|| clock.drive(call));
    });
    let lines = seen.take();
    assert!(lines[0].starts_with("outer/WARN "), "{lines:?}");
}

/// A server that fails once, with secrets in what it says.
#[derive(Default)]
struct Flaky(AtomicU32);

impl Transport for Flaky {
    type Body = Full<Bytes>;
    type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;

    fn send(&self, request: Request<RequestBody>) -> Self::Sending {
        info!("sent");
        assert!(request.uri().query().unwrap().contains("pl4nted"), "it was sent");
        let status = if self.0.fetch_add(1, Ordering::Relaxed) == 0 { 503 } else { 404 };
        let response = Response::builder().status(status).header("set-cookie", "pl4nted");
        ready(Ok(response.body(Full::from("pl4nted")).unwrap()))
    }
}

#[test]
fn a_call_over_http_says_what_open_telemetry_asks_for_and_no_secret() {
    let clock = ManualClock::new();
    let client = ApiClient::builder("https://api.example.com/v1", Flaky::default(), &clock)
        .seed(7)
        .auth(Auth::api_key_in_query("key", "pl4nted"))
        .header("x-secret", "pl4nted")
        .observer(TracingObserver::new())
        .build()
        .unwrap();
    let lines = seen(|_| {
        let call =
            client.get("items/7#pl4nted").query("card", "pl4nted").header("authorization", "Bearer pl4nted").send();
        clock.drive(call).expect("it ends").unwrap_err();
    });
    assert!(!lines.iter().any(|line| line.contains("pl4nted")), "{lines:#?}");
    let fields = "http.request.method=GET";
    let server = "server.address=api.example.com server.port=443";
    for (want, told) in [
        ("call/attempt1/INFO sent", &[][..]),
        ("call/attempt1/ closed", &[fields, server, "http.response.status_code=503", "error.type=503"]),
        (
            "call/attempt2/ closed",
            &[fields, "http.request.resend_count=1", "http.response.status_code=404", "card=REDACTED"],
        ),
        ("call/ closed", &["otel.status_code=ERROR", "steadfast.attempts=2", "error.type=permanent"]),
    ] {
        let line = lines.iter().find(|line| line.starts_with(want)).unwrap_or_else(|| panic!("{want}: {lines:#?}"));
        assert!(told.iter().all(|told| line.contains(told)), "{line}");
    }
}
