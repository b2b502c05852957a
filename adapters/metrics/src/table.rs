//! Which metrics there are: the one place that says so.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A sum that only grows.
    Counter,
    /// A level.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, as the recorder is told.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// What is counted or measured.
    pub unit: Unit,
    /// Its labels beside `pipeline`, which each metric has.
    pub labels: &'static [&'static str],
    /// What it means.
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, meaning }
}

macro_rules! names {
    ($($name:ident = $text:literal;)*) => { $(pub(crate) const $name: &str = $text;)* };
}

names! {
    CALLS = "steadfast.calls";
    CALL_DURATION = "steadfast.call.duration";
    IN_FLIGHT_CALLS = "steadfast.calls.active";
    ATTEMPTS = "steadfast.attempts";
    ATTEMPT_DURATION = "steadfast.attempt.duration";
    IN_FLIGHT = "steadfast.attempts.active";
    RETRIES = "steadfast.retries";
    RETRY_DELAY = "steadfast.retry.delay";
    HEDGES = "steadfast.hedges";
    REJECTIONS = "steadfast.rejections";
    FALLBACKS = "steadfast.fallbacks";
    WAITING = "steadfast.calls.waiting";
    WAIT = "steadfast.wait.duration";
    HOLDS = "steadfast.server_holds";
    BREAKER_STATE = "steadfast.circuit_breaker.state";
    BREAKER_CHANGES = "steadfast.circuit_breaker.changes";
    LATE = "steadfast.circuit_breaker.late_results";
    LIMIT = "steadfast.concurrency.limit";
    PACE = "steadfast.adaptive_rate.interval";
    HTTP_DURATION = "http.client.request.duration";
}

/// Every metric, in the order of the table in the crate's docs.
pub const METRICS: [Metric; 20] = {
    use Kind::{Counter, Gauge, Histogram};
    [
        metric(CALLS, Counter, Unit::Count, &["outcome"], "calls that ended"),
        metric(CALL_DURATION, Histogram, Unit::Seconds, &["outcome"], "from a call's start to its end, with all waits"),
        metric(IN_FLIGHT_CALLS, Gauge, Unit::Count, &[], "calls that go on"),
        metric(ATTEMPTS, Counter, Unit::Count, &["outcome"], "attempts that ended"),
        metric(ATTEMPT_DURATION, Histogram, Unit::Seconds, &["outcome"], "from an attempt's start to its end"),
        metric(IN_FLIGHT, Gauge, Unit::Count, &[], "attempts that are under way"),
        metric(RETRIES, Counter, Unit::Count, &["cause"], "retries that were scheduled"),
        metric(RETRY_DELAY, Histogram, Unit::Seconds, &["cause"], "how long a retry is to wait"),
        metric(HEDGES, Counter, Unit::Count, &[], "attempts that went beside another"),
        metric(REJECTIONS, Counter, Unit::Count, &["reason"], "calls that policies ended"),
        metric(FALLBACKS, Counter, Unit::Count, &["reason"], "calls for which something else was answered"),
        metric(WAITING, Gauge, Unit::Count, &[], "calls that wait in line for limits"),
        metric(WAIT, Histogram, Unit::Seconds, &[], "how long a call waited in line, if it did"),
        metric(HOLDS, Counter, Unit::Count, &[], "how often a server held everybody back"),
        metric(BREAKER_STATE, Gauge, Unit::Count, &["state"], "1 for the breaker's state, 0 for all others"),
        metric(BREAKER_CHANGES, Counter, Unit::Count, &["state"], "how often the breaker went over to the state"),
        metric(LATE, Counter, Unit::Count, &[], "results that came too late for the breaker to count"),
        metric(LIMIT, Gauge, Unit::Count, &[], "attempts that an adaptive concurrency limit allows"),
        metric(PACE, Gauge, Unit::Seconds, &[], "the adaptive rate: how long from one token to the next"),
        metric(
            HTTP_DURATION,
            Histogram,
            Unit::Seconds,
            &["http.request.method", "http.response.status_code", "error.type"],
            "an attempt over HTTP, as OpenTelemetry has it",
        ),
    ]
};

/// Tells the recorder the unit and the meaning of each metric.
pub(crate) fn describe() {
    for Metric { name, kind, unit, meaning, .. } in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, unit, meaning),
            Kind::Gauge => describe_gauge!(name, unit, meaning),
            Kind::Histogram => describe_histogram!(name, unit, meaning),
        }
    }
}
