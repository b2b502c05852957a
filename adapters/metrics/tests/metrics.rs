//! What a recorder is told.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Label, Unit};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::event::{Detail, Event, Observer};
use steadfast_core::hedge::Hedge;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::rejected::Rejected;
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
use steadfast_executor::SharedPipeline;
use steadfast_metrics::{Kind, METRICS, MetricsObserver};

/// What is told while this runs: each metric with its labels but `pipeline`, and for a histogram its sum and count.
fn told(run: impl FnOnce()) -> BTreeMap<String, String> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, run);
    let mut told = BTreeMap::new();
    for (key, unit, meaning, value) in snapshotter.snapshot().into_vec() {
        let (kind, key) = key.into_parts();
        let known = METRICS.iter().find(|metric| metric.name == key.name()).expect("it is in the table");
        let kind = match kind {
            MetricKind::Counter => Kind::Counter,
            MetricKind::Gauge => Kind::Gauge,
            MetricKind::Histogram => Kind::Histogram,
        };
        let labels: Vec<_> = key.labels().map(Label::key).collect();
        let want: Vec<_> = std::iter::once("pipeline").chain(known.labels.iter().copied()).collect();
        assert_eq!((kind, &labels), (known.kind, &want), "{}", known.name);
        assert_eq!((unit, meaning.as_deref()), (Some(known.unit), Some(known.meaning)), "{}", known.name);
        let labels: Vec<_> = key.labels().skip(1).map(Label::value).collect();
        let value = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(level) => level.to_string(),
            DebugValue::Histogram(values) => {
                format!("{} in {:?}", values.iter().map(|value| value.0).sum::<f64>(), values.len())
            }
        };
        told.insert(format!("{} {}", key.name(), labels.join(" ")).trim_end().to_owned(), value);
    }
    told
}

/// That the recorder was told this, among others.
fn check(told: &BTreeMap<String, String>, want: &[(&str, &str)]) {
    for (name, value) in want {
        assert_eq!(told.get(*name).map(String::as_str), Some(*value), "{name} in {told:#?}");
    }
}

fn shared(builder: PipelineBuilder, clock: &ManualClock) -> SharedPipeline<&ManualClock, MetricsObserver> {
    SharedPipeline::with_seed(builder.build().unwrap(), clock, 7).with_observer(MetricsObserver::new("search"))
}

fn classify(status: &u16) -> Outcome {
    if *status < 500 { Outcome::success() } else { Outcome::transient() }
}

/// The crate's page is the table, word for word.
#[test]
fn the_docs_say_what_is_registered() {
    let docs = include_str!("../src/lib.rs");
    let rows: Vec<_> = docs.lines().filter_map(|line| line.strip_prefix("//! | `")).collect();
    let want: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let unit = if metric.unit == Unit::Seconds { " s" } else { "" };
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!(" {}", labels.join(", ")) };
            format!("{}` | {kind} |{unit} |{labels} | {} |", metric.name, metric.meaning)
        })
        .collect();
    assert_eq!(rows, want);
}

#[test]
fn calls_attempts_retries_and_waits_are_counted_and_measured() {
    let clock = ManualClock::new();
    let told = told(|| {
        let bucket = TokenBucket::new(Quota::per_second(1).unwrap());
        let pipeline = shared(Pipeline::builder().rate_limit(bucket), &clock);
        let call = pipeline.call(CallOptions::idempotent(), classify, |attempt| async move {
            if attempt.number == 1 { 503 } else { 200 }
        });
        assert_eq!(clock.drive(call), Some(Ok(200)));
        let refused =
            pipeline
                .call(CallOptions::idempotent().with_deadline(Duration::from_millis(10)), classify, |_| async { 200 });
        assert!(clock.drive(refused).unwrap().is_err());
    });
    check(
        &told,
        &[
            ("steadfast.calls success", "1"),
            ("steadfast.calls rate_limited", "1"),
            ("steadfast.call.duration success", "1 in 1"),
            ("steadfast.calls.active", "0"),
            ("steadfast.attempts transient", "1"),
            ("steadfast.attempts success", "1"),
            ("steadfast.attempt.duration success", "0 in 1"),
            ("steadfast.attempts.active", "0"),
            ("steadfast.retries transient", "1"),
            ("steadfast.rejections rate_limited", "1"),
            ("steadfast.calls.waiting", "0"),
        ],
    );
    assert!(told["steadfast.wait.duration"].ends_with(" in 1"), "{told:#?}");
}

#[test]
fn what_is_dropped_is_under_way_no_longer() {
    let clock = ManualClock::new();
    let told = told(|| {
        let bucket = TokenBucket::new(Quota::per_second(1).unwrap());
        let pipeline = shared(Pipeline::builder().rate_limit(bucket), &clock);
        for _ in 0..2 {
            // The first is under way when it is dropped, the second in line.
            let mut call =
                Box::pin(pipeline.call(CallOptions::idempotent(), classify, |_| std::future::pending::<u16>()));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(call.as_mut().poll(&mut cx).is_pending());
        }
    });
    check(
        &told,
        &[
            ("steadfast.calls abandoned", "2"),
            ("steadfast.calls.active", "0"),
            ("steadfast.calls.waiting", "0"),
            ("steadfast.attempts cancelled", "1"),
            ("steadfast.attempts.active", "0"),
            ("steadfast.wait.duration", "0 in 1"),
        ],
    );
}

#[test]
fn the_breaker_is_in_one_state_at_a_time() {
    let clock = ManualClock::new();
    let told = told(|| {
        let breaker = CircuitBreaker::builder().failure_threshold(1).build().unwrap();
        let pipeline = shared(Pipeline::builder().circuit_breaker(breaker), &clock);
        let call = pipeline.call(CallOptions::not_idempotent(), classify, |_| async { 503 });
        assert!(clock.drive(call).unwrap().is_err());
    });
    check(
        &told,
        &[
            ("steadfast.circuit_breaker.state open", "1"),
            ("steadfast.circuit_breaker.state closed", "0"),
            ("steadfast.circuit_breaker.changes open", "1"),
            ("steadfast.calls not_idempotent", "1"),
        ],
    );
}

#[test]
fn of_two_attempts_at_once_each_is_measured() {
    let clock = ManualClock::new();
    let told = told(|| {
        let hedge = Hedge::builder().after(Duration::from_millis(50)).build().unwrap();
        let pipeline = shared(Pipeline::builder().hedge(hedge), &clock);
        let call = pipeline.call_hedged(CallOptions::idempotent(), classify, |attempt| {
            let (clock, takes) = (&clock, if attempt.number == 1 { 500 } else { 100 });
            async move {
                clock.sleep_until(clock.now() + Duration::from_millis(takes)).await;
                200
            }
        });
        assert_eq!(clock.drive(call), Some(Ok(200)));
    });
    check(
        &told,
        &[
            ("steadfast.hedges", "1"),
            ("steadfast.attempt.duration success", "0.1 in 1"),
            ("steadfast.attempt.duration cancelled", "0.15 in 1"),
            ("steadfast.attempts.active", "0"),
        ],
    );
}

/// Events that come of no call here, and what HTTP tells.
#[test]
fn everything_else_is_told_too() {
    let told = told(|| {
        let (observer, now) = (MetricsObserver::new("search"), Instant::EPOCH);
        let mut call = <MetricsObserver as Observer>::Call::default();
        observer.observe_call(now, &mut call, &Event::CallStarted { deadline: now });
        for attempt in 1..=2 {
            observer.observe_call(now, &mut call, &Event::AttemptStarted { attempt, until: now });
            observer.detail(&mut call, attempt, "http.request.method", Detail::Words(&"GET"));
            observer.detail(&mut call, attempt, "url.full", Detail::Words(&"https://example.com/SECRET"));
        }
        observer.detail(&mut call, 1, "http.response.status_code", Detail::Number(503));
        observer.detail(&mut call, 1, "error.type", Detail::Words(&"503"));
        let later = now + Duration::from_secs(2);
        let transient = steadfast_core::outcome::OutcomeKind::Transient;
        observer.observe_call(later, &mut call, &Event::AttemptEnded { attempt: 1, outcome: transient });
        observer.observe_call(later, &mut call, &Event::AttemptTimedOut { attempt: 2 });
        observer.observe(now, &Event::RateLimitBlocked { until: later });
        observer.observe(now, &Event::LateResult { outcome: None });
        observer.observe(now, &Event::ConcurrencyLimitChanged { from: 9, to: 8 });
        observer.observe(now, &Event::FellBack(Rejected::Shed));
        let to = Duration::from_millis(250);
        observer.observe(now, &Event::AdaptiveRateChanged(steadfast_core::rate_limit::PaceChange { from: None, to }));
    });
    check(
        &told,
        &[
            ("http.client.request.duration GET 503 503", "2 in 1"),
            ("http.client.request.duration GET  timeout", "2 in 1"),
            ("steadfast.server_holds", "1"),
            ("steadfast.circuit_breaker.late_results", "1"),
            ("steadfast.concurrency.limit", "8"),
            ("steadfast.fallbacks shed", "1"),
            ("steadfast.adaptive_rate.interval", "0.25"),
        ],
    );
}
