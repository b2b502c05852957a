//! Redirects: which are followed, as what, how often, and what another origin never learns. RFC 9110 §15.4.

use steadfast_client::{Auth, NotFollowed, Redirects};
use steadfast_core::time::Clock;

use super::*;

const OK: Does = Answers(200, &[], "{}");

/// An answer with this status that leads there.
const fn to(status: u16, fields: &'static [(&'static str, &'static str)]) -> Does {
    Answers(status, fields, "elsewhere")
}

const NEXT: &[(&str, &str)] = &[("location", "/v1/next")];
const OTHER: &[(&str, &str)] = &[("location", "https://cdn.example.net/file")];
const BACK: &[(&str, &str)] = &[("location", "https://api.example.com/v1/secret")];
const DOWN: &[(&str, &str)] = &[("location", "http://api.example.com/v1/items")];

/// What a call was told, or why it was not followed.
fn told(result: Result<steadfast_client::Response, Error>) -> Result<u16, NotFollowed> {
    match result {
        Ok(response) => Ok(response.status().as_u16()),
        Err(Error::Redirect { reason, .. }) => Err(reason),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_next_request_is_what_rfc_9110_15_4_says() {
    // The method, the status, and what follows it: with its body or without.
    for (method, status, next, with_body) in [
        // §15.4.2, §15.4.3: for a POST, a GET.
        (Method::GET, 301, Method::GET, true),
        (Method::HEAD, 302, Method::HEAD, true),
        (Method::POST, 301, Method::GET, false),
        (Method::POST, 302, Method::GET, false),
        (Method::PUT, 301, Method::PUT, true),
        (Method::DELETE, 302, Method::DELETE, true),
        // §15.4.4: a GET, whatever it was; a HEAD stays one.
        (Method::POST, 303, Method::GET, false),
        (Method::PUT, 303, Method::GET, false),
        (Method::HEAD, 303, Method::HEAD, true),
        // §15.4.8, §15.4.9: the same.
        (Method::POST, 307, Method::POST, true),
        (Method::POST, 308, Method::POST, true),
        (Method::PATCH, 308, Method::PATCH, true),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[to(status, NEXT), OK]));
        let client = builder(&clock, &script).redirects(Redirects::same_origin()).auth(Auth::bearer("t0ken").unwrap());
        let client = client.build().unwrap();
        let request = client.request(method.clone(), "items?page=2").body("body").header("content-type", "text/plain");
        let response = clock.drive(request.header("x-trace", "7").send()).unwrap().unwrap();
        assert_eq!((response.status(), response.redirects(), response.attempts()), (StatusCode::OK, 1, 2));
        let [first, second] = &script.seen()[..] else { panic!("two requests") };
        assert_eq!((&first.method, &*first.body), (&method, &b"body"[..]));
        assert_eq!((&second.method, &*second.uri), (&next, "https://api.example.com/v1/next"), "{method} {status}");
        let has = |name| second.headers.contains_key(name);
        assert_eq!((second.body == "body", has("content-type")), (with_body, with_body), "{method} {status}");
        // It is the same origin, which knows who we are.
        assert!(has("authorization") && has("x-trace") && has("user-agent"), "{method} {status}");
    }
}

#[test]
fn what_is_not_followed_says_why() {
    let (same, any) = (Redirects::same_origin(), Redirects::any_origin());
    for (redirects, method, does, want) in [
        (Redirects::none(), Method::GET, to(302, NEXT), NotFollowed::Never),
        (same.at_most(0), Method::GET, to(302, NEXT), NotFollowed::Never),
        // §15.4.1, §15.4.6, §15.4.7.
        (any, Method::GET, to(300, NEXT), NotFollowed::NotARedirect),
        (any, Method::GET, to(305, NEXT), NotFollowed::NotARedirect),
        (any, Method::GET, to(306, NEXT), NotFollowed::NotARedirect),
        // §10.2.2: one place, and one for requests.
        (any, Method::GET, to(302, &[]), NotFollowed::NoLocation),
        (any, Method::GET, to(302, &[("location", "/a"), ("location", "/b")]), NotFollowed::NoLocation),
        (any, Method::GET, to(302, &[("location", "http://[")]), NotFollowed::NoLocation),
        (any, Method::GET, to(302, &[("location", "ftp://example.com/")]), NotFollowed::NoLocation),
        (any, Method::GET, to(302, &[("location", "javascript:alert(1)")]), NotFollowed::NoLocation),
        // §4.2.4.
        (any, Method::GET, to(302, &[("location", "https://me:SECRET@example.com/")]), NotFollowed::NoLocation),
        (same, Method::GET, to(302, OTHER), NotFollowed::OtherOrigin),
        (same, Method::GET, to(302, &[("location", "https://api.example.com:8443/v1/x")]), NotFollowed::OtherOrigin),
        (same, Method::GET, to(302, &[("location", "//api.example.org/v1/x")]), NotFollowed::OtherOrigin),
        (same, Method::GET, to(302, DOWN), NotFollowed::Insecure),
        (any, Method::GET, to(302, DOWN), NotFollowed::Insecure),
        (any, Method::GET, to(302, &[("location", "http://elsewhere.example.com/")]), NotFollowed::Insecure),
        (any, Method::POST, to(307, OTHER), NotFollowed::UnsafeElsewhere),
        (any, Method::PUT, to(301, OTHER), NotFollowed::UnsafeElsewhere),
        (any, Method::GET, to(302, &[("location", "/v1/items")]), NotFollowed::Loop),
        (any, Method::GET, to(302, &[("location", "#top")]), NotFollowed::Loop),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[does]));
        let client = builder(&clock, &script).redirects(redirects).build().unwrap();
        let error = clock.drive(client.request(method.clone(), "items").send()).unwrap().unwrap_err();
        assert!(matches!(error, Error::Redirect { reason, .. } if reason == want), "{method} {does:?}: {error}");
        assert_eq!((script.seen().len(), script.open()), (1, 0), "{does:?}");
        // The response that led there is in the error, and nothing secret is shown.
        assert!(error.status().unwrap().is_redirection() && !error.is_retryable());
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

#[test]
fn no_more_are_followed_than_may_be_and_none_in_a_circle() {
    const PLACES: [&[(&str, &str)]; 7] = [
        &[("location", "/1")],
        &[("location", "/2")],
        &[("location", "/3")],
        &[("location", "/4")],
        &[("location", "/5")],
        &[("location", "/6")],
        &[("location", "/7")],
    ];
    let same = Redirects::same_origin();
    for (redirects, followed) in [(same.at_most(1), 1), (same.at_most(3), 3), (same, 5)] {
        let (clock, script) = (ManualClock::new(), Script::new(&PLACES.map(|place| to(302, place))));
        let client = builder(&clock, &script).redirects(redirects).build().unwrap();
        let result = clock.drive(client.get("items").send()).unwrap();
        assert_eq!(told(result), Err(NotFollowed::TooMany { at_most: followed }));
        assert_eq!(script.seen().len(), followed as usize + 1);
    }
    // a, b, a: and again as a GET after a POST, which is another request.
    let circle = [to(302, NEXT), to(302, &[("location", "/v1/items")]), OK];
    let (clock, script) = (ManualClock::new(), Script::new(&circle));
    let client = builder(&clock, &script).redirects(same).build().unwrap();
    assert_eq!(told(clock.drive(client.get("items").send()).unwrap()), Err(NotFollowed::Loop));
    let (clock, script) = (ManualClock::new(), Script::new(&[to(303, &[("location", "/v1/items")]), OK]));
    let client = builder(&clock, &script).redirects(same).build().unwrap();
    assert_eq!(told(clock.drive(client.post("items").send()).unwrap()), Ok(200));
}

#[test]
fn another_origin_learns_nothing_that_may_be_secret() {
    let signer = |head: &mut http::request::Parts, _: Option<&bytes::Bytes>| {
        head.headers.insert("x-signature", "SECRET".parse()?);
        Ok(())
    };
    for auth in [
        Auth::bearer("SECRET").unwrap(),
        Auth::basic("ann", "SECRET").unwrap(),
        Auth::api_key("x-api-key", "SECRET").unwrap(),
        Auth::api_key_in_query("key", "SECRET"),
        Auth::signer(signer),
    ] {
        // There, on to another place there, and back: from where it has once left, nothing goes with it any more. And what the
        // server repeats of the query in its `Location` stays here too.
        const ECHO: &[(&str, &str)] = &[("location", "https://cdn.example.net/file?key=SECRET&a=1%202&copy=SECRET")];
        let (clock, script) =
            (ManualClock::new(), Script::new(&[to(302, ECHO), to(302, &[("location", "/b")]), to(302, BACK), OK]));
        let client = builder(&clock, &script).redirects(Redirects::any_origin()).auth(auth.clone());
        let client = client.header("x-team", "SECRET").header("cookie", "SECRET").build().unwrap();
        let request = client.get("items").header("x-token", "SECRET").header("accept", "text/html").body("SECRET");
        assert_eq!(told(clock.drive(request.send()).unwrap()), Ok(200));
        let seen = script.seen();
        assert_eq!(seen.len(), 4);
        for seen in &seen[1..] {
            let names: Vec<_> = seen.headers.keys().map(http::HeaderName::as_str).collect();
            assert!(names.iter().all(|name| ["accept", "user-agent"].contains(name)), "{auth:?}: {names:?}");
            assert!(seen.body.is_empty());
        }
        if format!("{auth:?}").contains("query") {
            assert_eq!(seen[1].uri, "https://cdn.example.net/file?a=1%202", "the rest is as the server wrote it");
            assert!(seen[1..].iter().all(|seen| !seen.uri.contains("SECRET")));
        }
    }
    // At home the key is added anew, and once.
    const AT_HOME: &[(&str, &str)] = &[("location", "?page=2&key=SECRET")];
    let (clock, script) = (ManualClock::new(), Script::new(&[to(302, AT_HOME), OK]));
    let client = builder(&clock, &script).redirects(Redirects::same_origin());
    let client = client.auth(Auth::api_key_in_query("key", "SECRET")).build().unwrap();
    clock.drive(client.get("items").send()).unwrap().unwrap();
    assert_eq!(script.seen()[1].uri, "https://api.example.com/v1/items?page=2&key=SECRET");
}

#[test]
fn each_request_goes_through_the_limits_and_has_its_own_retries() {
    // A burst of five: two for the place that redirects, since the first attempt fails, and two for where it leads.
    let busy = Answers(503, &[], "");
    let (clock, script) = (ManualClock::new(), Script::new(&[busy, to(302, NEXT), busy, OK, OK, OK]));
    let client = builder(&clock, &script).redirects(Redirects::same_origin()).build().unwrap();
    let response = clock.drive(client.get("items").send()).unwrap().unwrap();
    assert_eq!((response.attempts(), response.redirects()), (4, 1));
    assert_eq!((elapsed(&clock), response.elapsed()), (ms(200), ms(200)), "two backoffs of 100 ms");
    let paths: Vec<_> = script.seen().into_iter().map(|seen| seen.uri).collect();
    let next = "https://api.example.com/v1/next";
    assert_eq!(paths, [&*format!("{BASE}/items"), &*format!("{BASE}/items"), next, next]);

    // One a second: the redirect waits for the second token.
    let limit = TokenBucket::new(Quota::per_second(1).unwrap());
    let (clock, script) = (ManualClock::new(), Script::new(&[to(302, NEXT), OK]));
    let client = builder(&clock, &script).pipeline(pipeline().rate_limit(limit).build().unwrap());
    let client = client.redirects(Redirects::same_origin()).build().unwrap();
    clock.drive(client.get("items").send()).unwrap().unwrap();
    assert_eq!(elapsed(&clock), ms(1000));
}

#[test]
fn a_post_that_is_redirected_is_not_repeated_where_the_server_may_have_seen_it() {
    for (does, attempts) in [(Resets, 2), (IsDown, 3)] {
        let (clock, script) = (ManualClock::new(), Script::new(&[to(307, NEXT), does, OK]));
        let client = builder(&clock, &script).redirects(Redirects::same_origin()).build().unwrap();
        let result = clock.drive(client.post("items").body("body").send()).unwrap();
        assert_eq!(result.is_ok(), does_not_act(does), "{result:?}");
        let made = result.map_or_else(|error| error.failure().unwrap().attempts(), |response| response.attempts());
        assert_eq!(made, attempts);
    }
    // It has become a GET, which may be.
    let (clock, script) = (ManualClock::new(), Script::new(&[to(303, NEXT), Resets, OK]));
    let client = builder(&clock, &script).redirects(Redirects::same_origin()).build().unwrap();
    assert_eq!(told(clock.drive(client.post("items").body("body").send()).unwrap()), Ok(200));
}

fn does_not_act(does: Does) -> bool {
    matches!(does, IsDown)
}

#[test]
fn the_deadline_is_one_for_all() {
    // Eight seconds of the ten are gone when the second place does not answer.
    let late: &[(&str, &str)] = &[("location", "/v1/next"), ("retry-after", "8")];
    let hangs = [Hangs; 9];
    let (clock, script) = (ManualClock::new(), Script::new(&[&[to(302, late)][..], &hangs[..]].concat()));
    let client = builder(&clock, &script).redirects(Redirects::same_origin()).build().unwrap();
    let error = clock.drive(client.get("items").send()).unwrap().unwrap_err();
    assert!(matches!(error, Error::AttemptTimeout(_)), "{error}");
    assert!(elapsed(&clock) <= ms(10_000), "{:?}", elapsed(&clock));
    let sentence = "GET https://api.example.com/v1/items, redirected to GET https://api.example.com/v1/next after ";
    assert!(error.to_string().starts_with(sentence), "{error}");
}

#[test]
fn a_redirect_is_followed_when_the_server_says() {
    // RFC 9110 §10.2.3. Later than the deadline: nobody sleeps until then.
    for (seconds, want) in [("0", Ok(0)), ("3", Ok(3000)), ("10", Err(())), ("99999999999999", Err(()))] {
        let fields = Box::leak(Box::new([("location", "/v1/next"), ("retry-after", seconds)]));
        let (clock, script) = (ManualClock::new(), Script::new(&[to(302, fields), OK]));
        let client = builder(&clock, &script).redirects(Redirects::same_origin()).build().unwrap();
        let result = told(clock.drive(client.get("items").send()).unwrap());
        assert_eq!(result, want.map(|_| 200).map_err(|()| NotFollowed::TooLate), "{seconds}");
        assert_eq!(elapsed(&clock), ms(want.unwrap_or(0)), "{seconds}");
    }
}

#[test]
fn ut_05_nothing_leaks_wherever_a_redirected_call_is_dropped() {
    let late: &[(&str, &str)] = &[("location", "/v1/next"), ("retry-after", "1")];
    for polls in 0.. {
        let (clock, script) = (ManualClock::new(), Script::new(&[to(307, late), Answers(503, &[], ""), Hangs]));
        let client = builder(&clock, &script).redirects(Redirects::same_origin()).build().unwrap();
        let ended = {
            let mut call = pin!(client.put("items").body("body").send());
            let mut cx = Context::from_waker(Waker::noop());
            let mut poll = || {
                let ended = call.as_mut().poll(&mut cx).is_ready();
                clock.next_wake().into_iter().for_each(|next| clock.set(next));
                ended
            };
            (0..polls).any(|_| poll())
        };
        assert_eq!((script.open(), client.running(), client.waiting()), (0, 0, 0), "dropped after {polls} polls");
        assert_eq!(clock.next_wake(), None, "dropped after {polls} polls: somebody still sleeps");
        if ended {
            assert!(polls > 4 && clock.now() > Instant::EPOCH);
            break;
        }
    }
}
