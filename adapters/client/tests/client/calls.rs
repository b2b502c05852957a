//! What one call, one endpoint or each attempt has of its own: overrides, pipelines by path, keys, names and numbers.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use steadfast_client::{IdempotencyKeys, RequestBuilder};
use steadfast_core::hedge::Hedge;
use steadfast_core::retry::budget::Budget;

use super::*;

const OK: Does = Answers(200, &[], "{}");
const BUSY: Does = Answers(503, &[], "");

type Request<'a> = RequestBuilder<'a, Script, &'a ManualClock, ()>;

/// A GET of something that the server does this with, otherwise than the pipeline says: how often it was sent, and when it
/// ended.
fn check(otherwise: impl for<'a> Fn(Request<'a>) -> Request<'a>, does: Does, want: (usize, u64)) -> Option<Error> {
    let (clock, script) = (ManualClock::new(), Script::new(&[does; 9]));
    let client = builder(&clock, &script).build().unwrap();
    let result = clock.drive(otherwise(client.get("items")).send()).unwrap();
    assert_eq!((script.seen().len(), elapsed(&clock)), (want.0, ms(want.1)), "{does:?}: {result:?}");
    result.err()
}

#[test]
fn a_call_has_otherwise_what_it_says() {
    // The pipeline's: three attempts of 1 s within 10 s, backoffs of 100 and 200 ms.
    check(|request| request, Hangs, (3, 3300));
    check(|request| request.attempt_timeout(ms(200)), Hangs, (3, 900));
    check(|request| request.attempt_timeout(ms(60_000)), Hangs, (1, 10_000));
    check(|request| request.max_attempts(2), Hangs, (2, 2100));
    check(|request| request.max_attempts(0), BUSY, (1, 0));
    check(|request| request.max_attempts(99), BUSY, (3, 300));
    check(|request| request.without_retry().weight(NonZeroU32::MIN), BUSY, (1, 0));
    check(|request| request.idempotency(Idempotency::NotIdempotent), BUSY, (1, 0));
    // What cannot start in time fails now: the second attempt would at 1.1 s.
    let late = check(|request| request.deadline(ms(1050)), Hangs, (1, 1000)).unwrap();
    assert!(matches!(late.failure().unwrap().rejected(), Some(Rejected::NoTimeToRetry { .. })), "{late}");
    let over = check(|request| request.deadline(Duration::ZERO), OK, (0, 0)).unwrap();
    assert!(matches!(over, Error::DeadlineExceeded(_)), "{over}");
    check(|request| request.read_timeout(ms(1)), OK, (1, 0));
}

#[test]
fn a_call_weighs_what_it_says_and_goes_before_those_of_lower_priority() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    // Five at once, and then one each 100 ms.
    let calls = [("heavy", 5, 0), ("low", 1, 0), ("high", 1, 9), ("higher", 1, 10)];
    let calls = calls.map(|(path, weight, priority)| {
        client.get(path).weight(NonZeroU32::new(weight).unwrap()).priority(priority).send()
    });
    assert!(clock.drive(join_all(calls)).unwrap().iter().all(Result::is_ok));
    let order: Vec<_> = script.seen().into_iter().map(|seen| seen.uri.replace(BASE, "")).collect();
    assert_eq!((order, elapsed(&clock)), (["/heavy", "/higher", "/high", "/low"].map(str::to_owned).into(), ms(300)));
}

/// So many a second, one at once.
fn per_second(quota: u32) -> Pipeline {
    pipeline().rate_limit(TokenBucket::new(Quota::per_second(quota).unwrap())).build().unwrap()
}

#[test]
fn each_endpoint_has_a_pipeline_of_its_own_and_the_longest_path_decides() {
    // The paths, and when all of them have been called: those that share a pipeline wait for each other.
    for (paths, want) in [
        (&["a", "b", "c"][..], 200), // The client's own: ten a second.
        (&["search", "search"], 1000),
        (&["search", "search/code", "search?q=1"], 2000),
        (&["/search/", "https://api.example.com/v1/search/x"], 1000),
        (&["search/fast", "search/fast", "search/fast/x"], 20), // The longer one: a hundred a second.
        (&["search", "search/fast", "a"], 0),
        (&["searches", "research", "a/search"], 200), // None of its paths.
        (&["b%20c/x", "b c"], 500),
    ] {
        let (clock, script) = (ManualClock::new(), Script::default());
        let client = builder(&clock, &script)
            .pipeline(per_second(10))
            .endpoint("search", per_second(1))
            .endpoint("/search/fast/", per_second(100))
            .endpoint("b c", per_second(2))
            .build()
            .unwrap();
        let calls = join_all(paths.iter().map(|path| client.get(path).send()));
        assert!(clock.drive(calls).unwrap().iter().all(Result::is_ok));
        assert_eq!(elapsed(&clock), ms(want), "{paths:?}");
    }
}

#[test]
fn an_endpoint_that_fails_keeps_nobody_from_the_others() {
    let breaker = || CircuitBreaker::builder().failure_threshold(2).build().unwrap();
    let guarded = || pipeline().circuit_breaker(breaker()).build().unwrap();
    let (clock, script) = (ManualClock::new(), Script::new(&[BUSY; 2]));
    let client = builder(&clock, &script).pipeline(guarded()).endpoint("reports", guarded()).build().unwrap();
    clock.drive(client.get("reports").send()).unwrap().unwrap_err();
    let open = clock.drive(client.get("reports").send()).unwrap().unwrap_err();
    assert!(matches!(open, Error::CircuitOpen(_)), "{open}");
    clock.drive(client.get("items").send()).unwrap().unwrap();
}

#[test]
fn calls_in_every_line_are_counted_and_refused_at_the_end() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).pipeline(per_second(1)).endpoint("x", per_second(1)).build().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut calls: Vec<_> = ["a", "a", "x", "x", "x"].map(|path| Box::pin(client.get(path).send())).into();
    calls.retain_mut(|call| call.as_mut().poll(&mut cx).is_pending());
    assert_eq!((calls.len(), client.waiting(), client.running()), (3, 3, 0));
    clock.drive(client.shut_down(ms(0))).unwrap();
    for call in calls {
        assert!(matches!(clock.drive(call), Some(Err(Error::ShutDown(_)))));
    }
    assert_eq!(client.waiting(), 0);
}

#[test]
fn an_endpoint_that_cannot_be_is_refused_by_name() {
    let clock = ManualClock::new();
    for paths in [
        &[""][..],
        &["/"],
        &["a?key=SECRET"],
        &["a#b"],
        &["a", "/a/"],
        &["https://elsewhere.example.com/a"],
        &["."],
        &["a/.."],
        &[".."],
        &[BASE],
    ] {
        let client = builder(&clock, &Script::default());
        let client = paths.iter().fold(client, |client, path| client.endpoint(path, per_second(1)));
        let error = client.build().unwrap_err();
        assert!(matches!(error, Error::InvalidRequest { .. }), "{paths:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

/// A client whose keys and names are 1, 2, 3, ..., and which may repeat as often as it likes.
fn counting<'a>(clock: &'a ManualClock, script: &Script) -> ApiClientBuilder<Script, &'a ManualClock> {
    let drawn = AtomicU64::new(0);
    let pipeline = pipeline().budget(Budget::unlimited()).build().unwrap();
    builder(clock, script).pipeline(pipeline).identifiers(move || u128::from(drawn.fetch_add(1, Ordering::Relaxed)) + 1)
}

/// The values that a field had in each request, the last characters of them.
fn values(script: &Script, field: &str) -> Vec<String> {
    let last = |text: &str| text[text.len().saturating_sub(3)..].to_owned();
    let value = |seen: &script::Seen| seen.headers.get(field).map_or("-".to_owned(), |v| last(v.to_str().unwrap()));
    script.seen().iter().map(value).collect()
}

#[test]
fn a_key_is_minted_once_for_each_call_and_kept_over_its_attempts() {
    const KEY: &str = "idempotency-key";
    let raw = IdempotencyKeys::raw;
    for does in [BUSY, Resets, BreaksOff, Hangs] {
        let (clock, script) = (ManualClock::new(), Script::new(&[does, does, OK, does, OK]));
        let client = counting(&clock, &script).idempotency_keys(raw()).build().unwrap();
        for _ in 0..2 {
            clock.drive(client.post("items").send()).unwrap().unwrap();
        }
        assert_eq!(values(&script, KEY), ["001", "001", "001", "002", "002"], "{does:?}");
    }
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = counting(&clock, &script).idempotency_keys(IdempotencyKeys::quoted()).build().unwrap();
    let own = raw().in_field("x-request-key").unwrap();
    for (request, field, want) in [
        (client.post("a"), KEY, "01\""),
        (client.patch("a"), KEY, "02\""),
        // These may be repeated without.
        (client.get("a"), KEY, "-"),
        (client.put("a"), KEY, "-"),
        (client.delete("a"), KEY, "-"),
        // What the call says itself goes before.
        (client.post("a").header("Idempotency-Key", "mine"), KEY, "ine"),
        // One that is empty says nothing.
        (client.post("a").header("Idempotency-Key", " "), KEY, "03\""),
        (client.post("a").without_idempotency_key(), KEY, "-"),
        (client.post("a").idempotency_key(raw()), KEY, "004"),
        (client.put("a").idempotency_key(own.clone()), "x-request-key", "005"),
    ] {
        clock.drive(request.send()).unwrap().unwrap();
        assert_eq!(values(&script, field), [want]);
    }
    // In whatever field, it makes a call repeatable; and without one, it is not.
    for (request, want) in [(client.post("a").idempotency_key(own), 2), (client.post("a").without_idempotency_key(), 1)]
    {
        script.then(&[Resets]);
        clock.drive(request.send()).unwrap().ok();
        assert_eq!(script.seen().len(), want);
    }
    assert!(raw().in_field("a b").is_err());
}

#[test]
fn a_key_is_the_same_over_hedges() {
    let hedge = Hedge::builder().after(ms(100)).build().unwrap();
    let pipeline = pipeline().hedge(hedge).build().unwrap();
    let (clock, script) = (ManualClock::new(), Script::new(&[Hangs, OK]));
    let client = counting(&clock, &script).pipeline(pipeline).idempotency_keys(IdempotencyKeys::raw()).build().unwrap();
    clock.drive(client.post("items").send()).unwrap().unwrap();
    let keys = values(&script, "idempotency-key");
    assert_eq!((keys, elapsed(&clock), script.open()), (vec!["001".to_owned(); 2], ms(100), 0));
}

#[test]
fn each_call_has_a_name_and_each_attempt_a_number_if_that_is_asked_for() {
    let (clock, script) = (ManualClock::new(), Script::new(&[BUSY, Hangs, OK, BUSY, BUSY, BUSY]));
    let client = counting(&clock, &script).request_ids("X-Request-Id").attempt_counts("X-Attempt").build().unwrap();
    let response = clock.drive(client.get("items").send()).unwrap().unwrap();
    assert_eq!(response.request_id(), Some("00000000-0000-4000-8000-000000000001"));
    let seen = script.seen();
    let of = |field| seen.iter().map(|seen| seen.headers[field].to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((of("x-request-id"), of("x-attempt")), (vec![response.request_id().unwrap(); 3], vec!["1", "2", "3"]));
    // It is in the error of a call that failed, was never sent, or was answered with what cannot be read.
    let failed = clock.drive(client.get("items").send()).unwrap().unwrap_err();
    assert_eq!(failed.failure().unwrap().request_id(), Some("00000000-0000-4000-8000-000000000002"));
    let unreadable = clock.drive(client.get("items").send()).unwrap().unwrap().json::<Item>().unwrap_err();
    assert_eq!(unreadable.failure().unwrap().request_id(), Some("00000000-0000-4000-8000-000000000003"));
    clock.drive(client.shut_down(ms(0))).unwrap();
    let late = clock.drive(client.get("items").header("x-request-id", "mine").send()).unwrap().unwrap_err();
    assert_eq!(late.failure().unwrap().request_id(), Some("mine"));

    // The server's own goes before, and without either there is none.
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[("x-request-id", "theirs")], ""), OK]));
    let client = counting(&clock, &script).request_ids("x-request-id").build().unwrap();
    assert_eq!(clock.drive(client.get("a").send()).unwrap().unwrap().request_id(), Some("theirs"));
    let client = builder(&clock, &script).build().unwrap();
    assert_eq!(clock.drive(client.get("a").send()).unwrap().unwrap().request_id(), None);
    assert!(!script.seen()[1].headers.contains_key("x-request-id"));
    for error in [
        counting(&clock, &script).request_ids("a b").build().unwrap_err(),
        counting(&clock, &script).attempt_counts("").build().unwrap_err(),
    ] {
        assert!(error.to_string().starts_with("invalid request: header is "), "{error}");
    }
}
