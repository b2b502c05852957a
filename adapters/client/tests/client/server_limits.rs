//! What a server tells of its limits, and what becomes of those who share them.

use std::cell::RefCell;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::Full;
use steadfast_client::{ApiClient, Error, RequestBody, Transport, TransportError};
use steadfast_core::backoff::{Backoff, Jitter};
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::pipeline::{Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::retry::Retry;
use steadfast_core::retry::budget::Budget;
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};

use super::script::Does::Answers;
use super::script::Script;
use super::{BASE, elapsed, ms};

/// When the test's clock began, on the wall: Thu, 01 Jan 2026 00:00:00 GMT.
const BEGAN: u64 = 1_767_225_600;

const MINUTE: u64 = 60;

/// How a server writes what is left, and in how many seconds it resets.
type Dialect = fn(left: u64, limit: u64, reset_in: u64, now: u64) -> Vec<(&'static str, String)>;

const DRAFT: Dialect = |left, limit, reset_in, _| {
    vec![
        ("ratelimit-policy", format!("\"minute\";q={limit};w=60, \"day\";q=1000000;w=86400")),
        ("ratelimit", format!("\"minute\";r={left};t={reset_in}, \"day\";r=900000;t=80000")),
    ]
};
const OLD_DRAFT: Dialect = |left, limit, reset_in, _| {
    vec![
        ("ratelimit-limit", format!("{limit}, {limit};w=60")),
        ("ratelimit-remaining", left.to_string()),
        ("ratelimit-reset", reset_in.to_string()),
    ]
};
const GITHUB: Dialect = |left, limit, reset_in, now| {
    vec![
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", left.to_string()),
        ("x-ratelimit-reset", (BEGAN + now + reset_in).to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
        ("date", httpdate(now)),
    ]
};
const OPENAI: Dialect = |left, limit, reset_in, _| {
    vec![
        ("x-ratelimit-limit-tokens", limit.to_string()),
        ("x-ratelimit-remaining-tokens", left.to_string()),
        ("x-ratelimit-reset-tokens", format!("{}m{}s", reset_in / 60, reset_in % 60)),
    ]
};
const ANTHROPIC: Dialect = |left, _, reset_in, now| {
    let at = now + reset_in;
    vec![
        ("anthropic-ratelimit-input-tokens-remaining", left.to_string()),
        ("anthropic-ratelimit-input-tokens-reset", format!("2026-01-01T00:{:02}:{:02}Z", at / 60, at % 60)),
        ("date", httpdate(now)),
    ]
};

fn httpdate(now: u64) -> String {
    format!("Thu, 01 Jan 2026 00:{:02}:{:02} GMT", now / 60, now % 60)
}

/// A server with so much for each minute of the clock. What a request costs stands in its path.
#[derive(Clone)]
struct Limited {
    clock: &'static ManualClock,
    limit: u64,
    dialect: Dialect,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    requests: u64,
    minute: u64,
    used: u64,
    refused: u64,
}

impl Limited {
    fn new(clock: &'static ManualClock, limit: u64, dialect: Dialect) -> Self {
        Self { clock, limit, dialect, state: Rc::default() }
    }

    fn seconds(&self) -> u64 {
        elapsed(self.clock).as_secs()
    }

    /// Counts a request that arrives now.
    fn answer(&self, cost: u64) -> Response<Full<Bytes>> {
        let (now, mut state) = (self.seconds(), self.state.borrow_mut());
        if now / MINUTE != state.minute {
            (state.minute, state.used) = (now / MINUTE, 0);
        }
        let is_taken = state.used + cost <= self.limit;
        if is_taken {
            state.used += cost;
        } else {
            state.refused += 1;
        }
        let mut response = Response::new(Full::from("{}"));
        *response.status_mut() = if is_taken { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        let reset_in = MINUTE - now % MINUTE;
        for (name, value) in (self.dialect)(self.limit - state.used, self.limit, reset_in, now) {
            response.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
        }
        response
    }
}

impl Transport for Limited {
    type Body = Full<Bytes>;
    type Sending = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, TransportError>>>>;

    /// Some take longer than others, there and back, so that requests and answers overtake each other.
    fn send(&self, request: Request<RequestBody>) -> Self::Sending {
        let server = self.clone();
        let number = {
            let mut state = server.state.borrow_mut();
            state.requests += 1;
            state.requests
        };
        let cost = request.uri().path().rsplit('/').next().and_then(|cost| cost.parse().ok()).unwrap();
        Box::pin(async move {
            server.clock.sleep_until(server.clock.now() + ms(5 + number * 37 % 200)).await;
            let response = server.answer(cost);
            server.clock.sleep_until(server.clock.now() + ms(5 + number * 61 % 300)).await;
            Ok(response)
        })
    }
}

fn clock() -> &'static ManualClock {
    Box::leak(Box::default())
}

/// Three attempts within an hour, and no limit at all.
fn pipeline() -> PipelineBuilder {
    let backoff = Backoff::builder().jitter(Jitter::None).build().unwrap();
    Pipeline::builder()
        .deadline(Duration::from_secs(3600))
        .attempt_timeout(ms(2000))
        .retry(Retry::builder().max_attempts(3).backoff(backoff).build().unwrap())
        .budget(Budget::unlimited())
        .without_circuit_breaker()
}

/// 25 callers of 16 calls each, over a server with `limit` a minute, where each costs so much; the first caller makes its
/// first call before all others, unless they `rush`. Returns how many were refused and how long all took.
///
/// The clock knows 64 sleepers, and each call has two.
fn four_hundred(pipeline: PipelineBuilder, dialect: Dialect, limit: u64, cost: u32, rush: bool) -> (u64, Duration) {
    let clock = clock();
    let server = Limited::new(clock, limit, dialect);
    let client = ApiClient::builder(BASE, server.clone(), clock).pipeline(pipeline.build().unwrap()).build().unwrap();
    let call = || async {
        let weight = NonZeroU32::new(cost).unwrap();
        let answer = client.get(&format!("cost/{cost}")).weight(weight).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    };
    let caller = |calls| async move {
        for _ in 0..calls {
            call().await;
        }
    };
    let all = async {
        let first = usize::from(!rush);
        caller(first).await;
        join_all((0..25).map(|which| caller(if which == 0 { 16 - first } else { 16 }))).await;
    };
    clock.drive(all).expect("never stuck");
    let state = server.state.borrow();
    assert_eq!(state.requests, 400 + state.refused);
    (state.refused, elapsed(clock))
}

#[test]
fn four_hundred_calls_are_never_refused_once_the_servers_limit_is_known() {
    for dialect in [DRAFT, OLD_DRAFT, GITHUB] {
        let (refused, took) = four_hundred(pipeline(), dialect, 100, 1, false);
        assert_eq!(refused, 0);
        // Four windows, and one asks first in each of them.
        assert!((181..184).contains(&took.as_secs()), "{took:?}");
    }
}

#[test]
fn limits_on_tokens_are_kept_by_what_calls_weigh() {
    for dialect in [OPENAI, ANTHROPIC] {
        let (refused, took) = four_hundred(pipeline(), dialect, 90_000, 800, false);
        assert_eq!(refused, 0);
        // 112 calls in each minute.
        assert!((181..184).contains(&took.as_secs()), "{took:?}");
    }
}

#[test]
fn who_starts_with_all_at_once_is_refused_what_was_under_way_and_nothing_after() {
    let at_once = |attempts| pipeline().concurrency_limit(ConcurrencyLimit::fixed(attempts).build().unwrap());
    assert_eq!(four_hundred(at_once(10), DRAFT, 20, 1, true).0, 0);
    // 25 set out before anything was known, of which the server takes 20.
    assert_eq!(four_hundred(at_once(25), DRAFT, 20, 1, true).0, 5);
}

#[test]
fn a_limit_of_ones_own_is_kept_as_well() {
    let quota = Quota::per_second(1).unwrap();
    let (refused, took) = four_hundred(pipeline().rate_limit(TokenBucket::new(quota)), DRAFT, 100, 1, false);
    assert_eq!((refused, took.as_secs()), (0, 399), "the server's is never reached");
    let quota = Quota::per_second(10).unwrap();
    let (refused, took) = four_hundred(pipeline().rate_limit(TokenBucket::new(quota)), DRAFT, 100, 1, false);
    assert_eq!(refused, 0);
    assert!((189..192).contains(&took.as_secs()), "ten a second in each minute until none is left: {took:?}");
}

/// When the second of two calls is sent, which is made a second after the server answered the first like this.
fn second_goes_at(status: u16, fields: &'static [(&'static str, &'static str)]) -> Duration {
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(status, fields, "{}")]));
    let pipeline = pipeline().retry(Retry::builder().max_attempts(1).build().unwrap()).build().unwrap();
    let client = ApiClient::builder(BASE, script.clone(), &clock).pipeline(pipeline).build().unwrap();
    let _ = clock.drive(client.get("a").send()).unwrap();
    clock.drive((&clock).sleep_until(Instant::EPOCH + ms(1000))).unwrap();
    clock.drive(client.get("b").send()).unwrap().unwrap();
    assert_eq!(script.seen().len(), 2);
    elapsed(&clock)
}

#[test]
fn one_response_slows_everybody() {
    for (status, fields, want) in [
        (200, &[("ratelimit", "\"a\";r=0;t=30")][..], 30_000),
        (200, &[("ratelimit", "\"a\";r=1;t=30")], 1000),
        (404, &[("ratelimit", "\"a\";r=0;t=30")], 30_000),
        (429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "2.5")], 2500),
        // `Retry-After` goes before the reset, if it is shorter or longer.
        (429, &[("ratelimit", "\"a\";r=0;t=30"), ("retry-after", "5")], 5000),
        (429, &[("ratelimit", "\"a\";r=0;t=3"), ("retry-after", "5")], 5000),
        // And holds back everybody by itself.
        (429, &[("retry-after", "5")], 5000),
        (503, &[("retry-after", "5")], 5000),
        (503, &[], 1000),
    ] {
        assert_eq!(second_goes_at(status, fields), ms(want), "{status} with {fields:?}");
    }
}

#[test]
fn nobody_waits_longer_than_the_longest_hold() {
    let (clock, script) =
        (ManualClock::new(), Script::new(&[Answers(200, &[("ratelimit", "\"a\";r=0;t=31536000")], "")]));
    let pipeline = pipeline().without_deadline().build().unwrap();
    let builder = ApiClient::builder(BASE, script.clone(), &clock).pipeline(pipeline);
    let client = builder.longest_hold(Duration::from_secs(3600)).build().unwrap();
    clock.drive(client.get("a").send()).unwrap().unwrap();
    clock.drive(client.get("b").send()).unwrap().unwrap();
    assert_eq!(elapsed(&clock), Duration::from_secs(3600));

    let refused = ApiClient::builder(BASE, script, &clock).longest_hold(Duration::ZERO).build().unwrap_err();
    assert!(matches!(refused, Error::InvalidRequest { field: "longest_hold", .. }), "{refused}");
}

#[test]
fn a_call_that_would_wait_past_its_deadline_fails_at_once() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[("ratelimit", "\"a\";r=0;t=7200")], "")]));
    let client =
        ApiClient::builder(BASE, script.clone(), &clock).pipeline(pipeline().build().unwrap()).build().unwrap();
    clock.drive(client.get("a").send()).unwrap().unwrap();
    let error = clock.drive(client.get("b").send()).unwrap().unwrap_err();
    assert_eq!(elapsed(&clock), Duration::ZERO);
    assert!(error.to_string().contains("rate limit"), "{error}");
    assert_eq!(script.seen().len(), 1);
}

#[test]
fn headers_of_no_meaning_change_nothing() {
    let nonsense: &[(&str, &str)] = &[
        ("ratelimit", "\"a\";r=0;t=30;;"),
        ("ratelimit-policy", "((("),
        ("x-ratelimit-remaining", "-1"),
        ("x-ratelimit-reset", "tomorrow"),
    ];
    assert_eq!(second_goes_at(200, nonsense), ms(1000));
}
