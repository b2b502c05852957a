//! The client over a transport that plays a script, on the clock for tests.

mod auth;
mod bodies;
mod cache;
mod calls;
mod costs;
mod events;
mod faulty;
mod forms;
mod keys;
mod lifecycle;
mod pages;
mod reconfigure;
mod redirects;
mod script;
mod secrets;
mod server_limits;
mod streaming;

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use http::{Method, StatusCode};
use script::Does::{
    self, Answers, BreaksOff, GoesOnForEver, Hangs, HangsAfter, IsDown, Refuses, Resets, ResetsAfter, Slowly, Stalls,
    Streams,
};
use script::Script;
use serde::Deserialize;
use steadfast_client::{ApiClient, ApiClientBuilder, Auth, BoxError, Error, Failure, RequestBody};
use steadfast_core::backoff::{Backoff, Jitter};
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::outcome::Idempotency;
use steadfast_core::pipeline::{Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::Retry;
use steadfast_core::time::{Instant, ManualClock};
use steadfast_http::date::UnixTime;

const BASE: &str = "https://api.example.com/v1";

type Client<'a> = ApiClient<Script, &'a ManualClock>;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Three attempts of 1 s within 10 s, backoffs of 100 and 200 ms, no breaker, ten a second with a burst of five.
fn pipeline() -> PipelineBuilder {
    let backoff = Backoff::builder().jitter(Jitter::None).build().unwrap();
    let quota = Quota::per_second(10).and_then(|quota| quota.with_burst(5)).unwrap();
    Pipeline::builder()
        .deadline(ms(10_000))
        .attempt_timeout(ms(1000))
        .retry(Retry::builder().max_attempts(3).backoff(backoff).build().unwrap())
        .without_circuit_breaker()
        .rate_limit(TokenBucket::new(quota))
}

fn builder<'a>(clock: &'a ManualClock, script: &Script) -> ApiClientBuilder<Script, &'a ManualClock> {
    ApiClient::builder(BASE, script.clone(), clock).pipeline(pipeline().build().unwrap())
}

fn elapsed(clock: &ManualClock) -> Duration {
    use steadfast_core::time::Clock;
    clock.now() - Instant::EPOCH
}

#[derive(Debug, Deserialize, PartialEq)]
struct Item {
    name: String,
}

#[test]
fn ut_01_the_client_starts_with_what_it_was_given() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).header("X-Team", "lamps").user_agent("probe/2").build().unwrap();
    assert_eq!(client.base_url(), BASE);
    clock.drive(client.get("a").send()).unwrap().unwrap();
    clock.drive(client.get("b").header("x-team", "chairs").send()).unwrap().unwrap();
    let seen = script.seen();
    assert_eq!(
        (&seen[0].headers["x-team"], &seen[0].headers["user-agent"]),
        (&"lamps".parse().unwrap(), &"probe/2".parse().unwrap())
    );
    assert_eq!(seen[1].headers.get_all("x-team").iter().collect::<Vec<_>>(), ["chairs"], "its own, not both");

    let plain = ApiClient::builder(BASE, script.clone(), &clock).build().unwrap();
    clock.drive(plain.get("a").send()).unwrap().unwrap();
    let agent = script.seen()[0].headers["user-agent"].to_str().unwrap().to_owned();
    assert!(agent.starts_with("steadfast/"), "{agent}");
}

#[test]
fn ut_02_dropping_the_last_clone_closes_the_transport() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    let clone = client.clone();
    drop(client);
    assert_eq!(script.holders(), 2);
    clock.drive(clone.get("a").send()).unwrap().unwrap();
    drop(clone);
    assert_eq!((script.holders(), script.open()), (1, 0));
}

#[test]
fn ut_03_each_method_sends_what_it_says_where_it_says() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    for (request, method, path, body) in [
        (client.get("items/7"), Method::GET, "/v1/items/7", ""),
        (client.get("/items/7"), Method::GET, "/v1/items/7", ""),
        (client.get(""), Method::GET, "/v1", ""),
        (client.get("items?page=2").query("q", "a b&c"), Method::GET, "/v1/items?page=2&q=a+b%26c", ""),
        (client.get("https://api.example.com/next?p=3"), Method::GET, "/next?p=3", ""),
        (client.head("items"), Method::HEAD, "/v1/items", ""),
        (client.post("items").json(&["lamp"]), Method::POST, "/v1/items", r#"["lamp"]"#),
        (client.put("items/7").body("raw"), Method::PUT, "/v1/items/7", "raw"),
        (client.patch("items/7"), Method::PATCH, "/v1/items/7", ""),
        (client.delete("items/7"), Method::DELETE, "/v1/items/7", ""),
        (client.options("items"), Method::OPTIONS, "/v1/items", ""),
    ] {
        let response = clock.drive(request.send()).unwrap().unwrap();
        assert_eq!((response.status(), response.attempts()), (StatusCode::OK, 1));
        let [seen] = &script.seen()[..] else { panic!("one request each") };
        assert_eq!((&seen.method, &*seen.uri), (&method, &*format!("https://api.example.com{path}")));
        assert_eq!(seen.body, body);
        let json = seen.headers.get("content-type").is_some_and(|value| value == "application/json");
        assert_eq!(json, body.starts_with('['));
    }
}

/// One GET of something that the server does this with, and the error that comes of it.
fn error_of(script: &[Does]) -> (Error, Duration, usize) {
    let (clock, script) = (ManualClock::new(), Script::new(script));
    let client = builder(&clock, &script).max_body(100_000).build().unwrap();
    let error = clock.drive(client.get("items/7").query("key", "SECRET").send()).unwrap().unwrap_err();
    assert_eq!(script.open(), 0);
    (error, elapsed(&clock), script.seen().len())
}

#[test]
fn ut_04_each_failure_is_its_own_error() {
    /// The script, what error it comes to, its status, how many attempts were made, and whether it is worth another.
    type Row = (Vec<Does>, fn(&Error) -> bool, Option<u16>, u32, bool);
    let thrice = |does| vec![does; 3];
    let table: [Row; 15] = [
        (thrice(IsDown), |error| matches!(error, Error::Connection { .. }), None, 3, true),
        (thrice(Resets), |error| matches!(error, Error::Connection { .. }), None, 3, true),
        (thrice(BreaksOff), |error| matches!(error, Error::Connection { .. }), Some(200), 3, true),
        (thrice(Hangs), |error| matches!(error, Error::AttemptTimeout(_)), None, 3, true),
        (vec![GoesOnForEver], |error| matches!(error, Error::BodyTooLong(_)), Some(200), 1, false),
        (vec![Answers(401, &[], "")], |error| matches!(error, Error::Authentication(_)), Some(401), 1, false),
        (vec![Answers(403, &[], "")], |error| matches!(error, Error::Authentication(_)), Some(403), 1, false),
        (vec![Answers(404, &[], "")], |error| matches!(error, Error::NotFound(_)), Some(404), 1, false),
        (vec![Answers(410, &[], "")], |error| matches!(error, Error::NotFound(_)), Some(410), 1, false),
        (vec![Answers(422, &[], "")], |error| matches!(error, Error::Client(_)), Some(422), 1, false),
        (vec![Answers(302, &[], "")], |error| matches!(error, Error::Redirect { .. }), Some(302), 1, false),
        (thrice(Answers(429, &[], "")), |error| matches!(error, Error::RateLimited(_)), Some(429), 3, true),
        (thrice(Answers(500, &[], "")), |error| matches!(error, Error::Server(_)), Some(500), 3, true),
        (vec![Answers(501, &[], "")], |error| matches!(error, Error::Server(_)), Some(501), 1, false),
        (thrice(Answers(503, &[], "")), |error| matches!(error, Error::Server(_)), Some(503), 3, true),
    ];
    for (script, is, status, attempts, retryable) in table {
        let (error, _, _) = error_of(&script);
        let failure = error.failure().expect("it was sent");
        assert!(is(&error), "{script:?}: {error:?}");
        assert_eq!(error.status().map(|status| status.as_u16()), status, "{script:?}");
        assert_eq!((failure.attempts(), error.is_retryable()), (attempts, retryable), "{script:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

#[test]
fn an_error_is_one_sentence_and_has_what_the_server_said() {
    let fields = &[("x-request-id", "req-42"), ("retry-after", "3"), ("set-cookie", "SECRET")];
    let (error, _, _) = error_of(&[Answers(404, fields, "no such lamp: SECRET")]);
    let sentence = "GET https://api.example.com/v1/items/7: 404 Not Found after 1 attempt in 0.0ns \
                    (retry: the failure is permanent, another attempt would repeat it; change what is asked): not found";
    assert_eq!(error.to_string(), sentence);
    assert!(!format!("{error:?}").contains("SECRET"));
    let failure = error.failure().unwrap();
    assert_eq!(failure.request_id(), Some("req-42"));
    assert_eq!(failure.body(), b"no such lamp: SECRET");
    assert_eq!(failure.retry_after(), Some(ms(3000)));
    assert_eq!(failure.rejected(), Some(Rejected::Permanent));
}

#[test]
fn ut_05_nothing_leaks_wherever_a_call_is_dropped() {
    for does in [IsDown, Resets, BreaksOff, Hangs, Answers(503, &[], ""), Answers(200, &[], "{}")] {
        // A poll at a time, and the clock moves in between: dropped before the first, after the first, ...
        for polls in 0.. {
            let (clock, script) = (ManualClock::new(), Script::new(&[does, does]));
            let client = builder(&clock, &script).build().unwrap();
            // Four of the five tokens are gone, so that the second attempt has to wait in line too.
            for _ in 0..4 {
                clock.drive(client.clone().get("x").send()).unwrap().ok();
            }
            let ended = {
                let mut call = pin!(client.get("items/7").send());
                let mut cx = Context::from_waker(Waker::noop());
                let mut poll = || {
                    let ended = call.as_mut().poll(&mut cx).is_ready();
                    clock.next_wake().into_iter().for_each(|next| clock.set(next));
                    ended
                };
                (0..polls).any(|_| poll())
            };
            assert_eq!(script.open(), 0, "{does:?} dropped after {polls} polls");
            assert_eq!(clock.next_wake(), None, "{does:?} dropped after {polls} polls: somebody still sleeps");
            assert_eq!(script.holders(), 2, "{does:?} dropped after {polls} polls");
            // The line has nobody in it, so the next call goes as if the other had never been there or had ended.
            clock.advance(ms(10_000));
            let before = elapsed(&clock);
            clock.drive(client.get("next").send()).unwrap().unwrap();
            assert_eq!(elapsed(&clock), before, "{does:?} dropped after {polls} polls");
            if ended {
                break;
            }
        }
    }
}

/// Calls with the given method and header until it ends; how often the server was asked.
fn asked(method: Method, header: Option<(&str, &str)>, says: Option<Idempotency>, does: Does) -> usize {
    let (clock, script) = (ManualClock::new(), Script::new(&[does]));
    let client = builder(&clock, &script).build().unwrap();
    let mut request = client.request(method, "items").body("body");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if let Some(idempotency) = says {
        request = request.idempotency(idempotency);
    }
    clock.drive(request.send()).unwrap().ok();
    let seen = script.seen();
    assert!(seen.iter().all(|seen| seen.body == "body"), "every attempt carries the whole body");
    seen.len()
}

#[test]
fn what_is_not_idempotent_is_not_repeated_once_the_server_may_have_seen_it() {
    let key = Some(("Idempotency-Key", "one"));
    for (method, header, says, does, want) in [
        (Method::GET, None, None, Resets, 2),
        (Method::PUT, None, None, Resets, 2),
        (Method::DELETE, None, None, BreaksOff, 2),
        (Method::POST, None, None, Resets, 1),
        (Method::POST, None, None, BreaksOff, 1),
        (Method::POST, None, None, Hangs, 1),
        (Method::POST, None, None, Answers(503, &[], ""), 1),
        (Method::PATCH, None, None, Answers(503, &[], ""), 1),
        // The server did not act on these.
        (Method::POST, None, None, IsDown, 1), // The one that arrived.
        (Method::POST, None, None, Answers(429, &[], ""), 2),
        // Somebody says that it may be repeated, or that it may not.
        (Method::POST, key, None, Resets, 2),
        (Method::POST, None, Some(Idempotency::Idempotent), Resets, 2),
        (Method::GET, None, Some(Idempotency::NotIdempotent), Resets, 1),
    ] {
        let got = asked(method.clone(), header, says, does);
        assert_eq!(got, want, "{method} {header:?} {says:?} {does:?}");
    }
}

#[test]
fn a_hint_is_kept_to_the_millisecond_and_a_hostile_one_does_no_harm() {
    // What the server says, and when the second attempt comes: after the hint, and then the backoff of 100 ms.
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, want) in [
        (&[][..], Some(100)),
        (&[("retry-after", "2")], Some(2100)),
        (&[("retry-after", "0")], Some(100)),
        (&[("retry-after", "1.5")], Some(1600)),
        (&[("retry-after-ms", "250")], Some(350)),
        (&[("retry-after", "1"), ("retry-after-ms", "1250")], Some(1350)),
        (&[("date", DATE), ("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")], Some(3100)),
        (&[("date", DATE), ("retry-after", "Sunday, 06-Nov-94 08:49:40 GMT")], Some(3100)),
        (&[("date", DATE), ("retry-after", "Sun Nov  6 08:49:40 1994")], Some(3100)),
        (&[("date", DATE), ("retry-after", DATE)], Some(100)),
        // Nonsense counts as nothing said.
        (&[("retry-after", "-5")], Some(100)),
        (&[("retry-after", "soon")], Some(100)),
        (&[("retry-after", "")], Some(100)),
        // Later than the deadline: no attempt, and nobody sleeps until then.
        (&[("retry-after", "10")], None),
        (&[("retry-after", "1000000000000000000000000000000")], None),
        (&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], None),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[Answers(503, fields, "")]));
        let client = builder(&clock, &script).build().unwrap();
        let result = clock.drive(client.get("items").send()).unwrap();
        let want = want.map(ms);
        assert_eq!(result.is_ok().then(|| elapsed(&clock)), want, "{fields:?}: {result:?}");
        if let Err(error) = result {
            assert_eq!(elapsed(&clock), Duration::ZERO, "it fails now");
            assert!(error.retry_at().is_some() && error.is_retryable(), "{error}");
        }
    }
}

#[test]
fn a_hint_holds_though_the_body_behind_it_never_comes() {
    const HINT: (&str, &str) = ("retry-after", "2");
    // The second attempt comes after the hint, counted from when the first was over, and the backoff of 100 ms.
    for (does, read_timeout, want) in [
        (Does::BreaksAs(HINT, "half"), 500, 2100),
        (Does::StallsAs(HINT, "half"), 500, 500 + 2100),
        // The attempt is over before.
        (Does::StallsAs(HINT, "half"), 5000, 1000 + 2100),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[does]));
        let client = builder(&clock, &script).read_timeout(ms(read_timeout)).build().unwrap();
        clock.drive(client.get("items").send()).unwrap().unwrap();
        assert_eq!((script.seen().len(), elapsed(&clock)), (2, ms(want)), "{does:?}");
    }
}

#[test]
fn a_date_is_understood_by_whoever_knows_the_time() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const THREE_LATER: (&str, &str) = ("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT");
    let no_clock: fn() -> Option<UnixTime> = || None;
    let a_second_late: fn() -> Option<UnixTime> = || Some(UnixTime::from_secs(784_111_778));
    // When the second attempt comes: after the hint, and then the backoff of 100 ms.
    for (clock_on_the_wall, fields, want) in [
        (a_second_late, &[THREE_LATER][..], 2100),
        (a_second_late, &[("date", DATE), THREE_LATER], 3100),
        (a_second_late, &[("date", "yesterday"), THREE_LATER], 2100),
        (no_clock, &[("date", DATE), THREE_LATER], 3100),
        (no_clock, &[("date", "Sunday, 06-Nov-94 08:49:37 GMT"), THREE_LATER], 3100),
        // Nobody knows when that is. What is said in seconds, everybody understands.
        (no_clock, &[THREE_LATER], 100),
        (no_clock, &[THREE_LATER, ("retry-after-ms", "1500")], 1600),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[Answers(503, fields, "")]));
        let client = builder(&clock, &script).wall_clock(clock_on_the_wall).build().unwrap();
        clock.drive(client.get("items").send()).unwrap().unwrap();
        assert_eq!(elapsed(&clock), ms(want), "{fields:?}");
    }
}

#[test]
fn a_server_that_is_down_for_good_costs_each_call_one_clear_error() {
    let (clock, script) = (ManualClock::new(), Script::new(&[IsDown; 1000]));
    let breaker = CircuitBreaker::builder().failure_threshold(5).build().unwrap();
    let pipeline = pipeline().circuit_breaker(breaker).build().unwrap();
    let client = builder(&clock, &script).pipeline(pipeline).build().unwrap();
    let errors: Vec<_> = (0..20).map(|_| clock.drive(client.get("x").send()).unwrap().unwrap_err()).collect();
    let attempts: u32 = errors.iter().filter_map(Error::failure).map(Failure::attempts).sum();
    assert_eq!(attempts, 5);
    assert!(matches!(&errors[0], Error::Connection { .. }));
    assert!(errors[0].to_string().ends_with(": connection refused"), "{}", errors[0]);
    // The first had three attempts, which is what the budget holds in reserve, and the next two one each.
    assert!(errors[3..].iter().all(|error| matches!(error, Error::CircuitOpen(_)) && error.retry_at().is_some()));
    assert!(elapsed(&clock) < ms(1000));
}

#[test]
fn a_body_that_is_not_what_was_asked_for_says_where() {
    let (clock, script) = (
        ManualClock::new(),
        Script::new(&[
            Answers(200, &[], r#"{"name": "lamp"}"#),
            Answers(200, &[], "<html>"),
            Answers(200, &[], r#"{"name": 7}"#),
            Answers(200, &[], "lämp"),
        ]),
    );
    let client = builder(&clock, &script).build().unwrap();
    let get = || clock.drive(client.get("items").send()).unwrap().unwrap();
    assert_eq!(get().json::<Item>().unwrap(), Item { name: "lamp".to_owned() });
    for want in ["expected value at line 1 column 1", "invalid type: integer, expected a string at line 1 column 10"] {
        let error = get().json::<Item>().unwrap_err();
        assert!(matches!(error, Error::Decode { .. }) && error.to_string().ends_with(want), "{error}");
        assert!(!error.failure().unwrap().body().is_empty() && !error.is_retryable());
    }
    assert_eq!(get().text().unwrap(), "lämp");
}

#[test]
fn a_base_url_that_cannot_be_is_refused_by_name() {
    let clock = ManualClock::new();
    for url in [
        "",
        "api.example.com",
        "ftp://x/",
        "http://",
        "http://x/?q=1",
        "http://x/#top",
        "http://me:SECRET@x/",
        "http://me:SECRET@/",
    ] {
        let error = ApiClient::builder(url, Script::default(), &clock).build().unwrap_err();
        assert!(error.to_string().starts_with("invalid request: base_url is "), "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

#[test]
fn a_request_that_cannot_be_is_refused_and_nothing_is_sent() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client: Client<'_> = builder(&clock, &script).build().unwrap();
    for (request, field) in [
        (client.get("https://elsewhere.example.com/?key=SECRET"), "url"),
        (client.get("https://me:SECRET@api.example.com/v1"), "url"), // RFC 9110 §4.2.4.
        (client.get("http://api.example.com/v1"), "url"),            // Another scheme is another origin.
        (client.get("x").header("a b", "c"), "header"),
        (client.get("x").header("authorization", "SECRET\n"), "header"),
        (client.get("x").json(&std::collections::BTreeMap::from([((1, 2), 3)])), "body"),
    ] {
        let error = clock.drive(request.send()).unwrap().unwrap_err();
        assert!(error.to_string().starts_with(&format!("invalid request: {field} is ")), "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        assert!(error.failure().is_none() && !error.is_retryable());
    }
    assert!(script.seen().is_empty());
    let header = builder(&clock, &script).header("x", "SECRET\u{7f}").build().unwrap_err();
    assert!(!format!("{header} {header:?}").contains("SECRET"));
}
