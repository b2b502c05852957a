//! Who the client says it is: on each attempt, once for all calls, and shown nowhere.

use futures_util::future::join_all;
use steadfast_client::{ClientCredentials, TokenError};

use super::*;

const TOKEN_URL: &str = "https://login.example.com/token";

/// A token of 1,000 seconds, and the second one after it.
const FIRST: Does = Answers(200, &[], r#"{"access_token":"first","token_type":"Bearer","expires_in":1000}"#);
const SECOND: Does = Answers(200, &[], r#"{"access_token":"second","expires_in":1000}"#);
const OK: Does = Answers(200, &[], "{}");

fn oauth() -> Auth {
    Auth::oauth2(ClientCredentials::new(TOKEN_URL, "my:app", "s3cret/+").unwrap().scope("read write").audience("api"))
}

/// The URL and the authorization of each request that was seen.
fn seen(script: &Script) -> Vec<(String, String)> {
    let authorization = |seen: &script::Seen| {
        seen.headers.get("authorization").map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    script.seen().iter().map(|seen| (seen.uri.clone(), authorization(seen))).collect()
}

#[test]
fn each_kind_says_who_it_is_in_its_own_place() {
    let signer = |head: &mut http::request::Parts, body: Option<&bytes::Bytes>| {
        let length = body.map_or("?".to_owned(), |body| body.len().to_string());
        let signature = format!("{} {} {length}", head.method, head.uri.path());
        head.headers.insert("x-signature", signature.parse()?);
        Ok(())
    };
    for (auth, field, want) in [
        (Auth::none(), "authorization", ""),
        (Auth::bearer("t0ken").unwrap(), "authorization", "Bearer t0ken"),
        // RFC 7617 §2.
        (Auth::basic("Aladdin", "open sesame").unwrap(), "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (Auth::api_key("x-api-key", "k3y").unwrap(), "x-api-key", "k3y"),
        (Auth::signer(signer), "x-signature", "POST /v1/items 3"),
    ] {
        let (clock, script) = (ManualClock::new(), Script::default());
        let client = builder(&clock, &script).auth(auth.clone()).build().unwrap();
        clock.drive(client.post("items").body("abc").send()).unwrap().unwrap();
        let seen = script.seen();
        let got = seen[0].headers.get(field).map_or("", |value| value.to_str().unwrap());
        assert_eq!(got, want, "{auth:?}");
    }
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).auth(Auth::api_key_in_query("key", "a&b c")).build().unwrap();
    clock.drive(client.get("items?page=2").send()).unwrap().unwrap();
    assert_eq!(script.seen()[0].uri, format!("{BASE}/items?page=2&key=a%26b+c"));
}

#[test]
fn what_a_request_sets_itself_goes_before() {
    let (clock, script) = (ManualClock::new(), Script::default());
    for auth in [Auth::bearer("ours").unwrap(), oauth()] {
        let client = builder(&clock, &script).auth(auth).build().unwrap();
        clock.drive(client.get("items").header("authorization", "Bearer theirs").send()).unwrap().unwrap();
        assert_eq!(seen(&script), [(format!("{BASE}/items"), "Bearer theirs".to_owned())]);
    }
}

#[test]
fn what_cannot_be_sent_is_refused_by_name_and_not_shown() {
    for error in [
        Auth::bearer("a\nb").unwrap_err(),
        Auth::api_key("x key", "s3cret").unwrap_err(),
        Auth::api_key("x-key", "s3cret\n").unwrap_err(),
        Auth::basic("an:n", "s3cret").unwrap_err(),
        ClientCredentials::new("ftp://example.com", "id", "s3cret").unwrap_err(),
        ClientCredentials::new("https://me:s3cret@example.com", "id", "x").unwrap_err(),
        ClientCredentials::new("nothing", "id", "s3cret").unwrap_err(),
    ] {
        assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
}

#[test]
fn a_token_is_fetched_once_for_all_calls_and_again_before_it_expires() {
    let (clock, script) = (ManualClock::new(), Script::new(&[FIRST, OK, OK, OK, OK, OK, SECOND]));
    let limit = TokenBucket::new(Quota::per_second(10).and_then(|quota| quota.with_burst(100)).unwrap());
    let client =
        builder(&clock, &script).pipeline(pipeline().rate_limit(limit).build().unwrap()).auth(oauth()).build().unwrap();
    let calls = join_all((0..5).map(|_| client.get("items").send()));
    assert!(clock.drive(calls).unwrap().iter().all(Result::is_ok));
    let all = script.seen();
    let fetch = &all[0];
    assert_eq!((fetch.uri.as_str(), &fetch.method), (TOKEN_URL, &Method::POST));
    // RFC 6749 §2.3.1: my%3Aapp:s3cret%2F%2B.
    assert_eq!(fetch.headers["authorization"], "Basic bXklM0FhcHA6czNjcmV0JTJGJTJC");
    assert_eq!(fetch.body, "grant_type=client_credentials&scope=read+write&audience=api");
    assert!(all[1..].iter().all(|seen| seen.headers["authorization"] == "Bearer first"));
    assert_eq!(all.len(), 6);

    clock.set(Instant::EPOCH + ms(945_000));
    clock.drive(client.get("items").send()).unwrap().unwrap();
    let again = seen(&script).into_iter().map(|(_, authorization)| authorization).collect::<Vec<_>>();
    assert_eq!(again[1..], ["Bearer second"]);
}

#[test]
fn a_token_that_is_over_as_soon_as_it_comes_is_used_once() {
    // Of no life, and of less than it takes to fetch: whoever fetched it tries it, and does not fetch for ever.
    const SHORT: &str = r#"{"access_token":"short","expires_in":1}"#;
    let clock: &'static ManualClock = Box::leak(Box::new(ManualClock::new()));
    for over in [Answers(200, &[], r#"{"access_token":"short","expires_in":0}"#), Slowly(clock, 2_000, &[SHORT])] {
        let script = Script::new(&[over, OK, over, OK]);
        let pipeline = pipeline().deadline(ms(20_000)).attempt_timeout(ms(5_000)).build().unwrap();
        let client = builder(clock, &script).pipeline(pipeline).auth(oauth()).build().unwrap();
        for _ in 0..2 {
            clock.drive(client.get("items").send()).unwrap().unwrap();
        }
        let authorizations: Vec<_> = seen(&script).into_iter().map(|(_, authorization)| authorization).collect();
        assert_eq!(
            (&*authorizations[1], &*authorizations[3], authorizations.len()),
            ("Bearer short", "Bearer short", 4)
        );
    }
}

#[test]
fn a_call_that_is_told_401_gets_one_new_token() {
    let told = Answers(401, &[], "no");
    let (clock, script) = (ManualClock::new(), Script::new(&[FIRST, told, SECOND, OK]));
    let client = builder(&clock, &script).auth(oauth()).build().unwrap();
    // A POST too: the server has refused it, and done nothing.
    clock.drive(client.post("items").send()).unwrap().unwrap();
    let authorizations: Vec<_> = seen(&script).into_iter().map(|(_, authorization)| authorization).collect();
    assert_eq!(authorizations[1], "Bearer first");
    assert_eq!(authorizations[3], "Bearer second");

    let (clock, script) = (ManualClock::new(), Script::new(&[FIRST, told, SECOND, told, OK]));
    let client = builder(&clock, &script).auth(oauth()).build().unwrap();
    let error = clock.drive(client.get("items").send()).unwrap().unwrap_err();
    assert!(matches!(error, Error::Authentication(_)), "{error}");
    assert_eq!((script.seen().len(), error.failure().unwrap().attempts()), (4, 2));
}

#[test]
fn an_api_that_refuses_every_token_is_told_no_more_tokens_than_pauses_pass() {
    let told = Answers(401, &[], "no");
    let (clock, script) =
        (ManualClock::new(), Script::new(&[FIRST, told, SECOND, told, told, told, told, told, FIRST, told]));
    let client = builder(&clock, &script).auth(oauth()).build().unwrap();
    // A new one at once, and then not before 5 s have passed.
    for (at, attempts) in [(0, 2), (1_000, 1), (2_000, 1), (4_000, 1), (6_000, 2)] {
        clock.set(Instant::EPOCH + ms(at));
        let error = clock.drive(client.get("items").send()).unwrap().unwrap_err();
        assert!(matches!(error, Error::Authentication(_)), "{error}");
        assert_eq!(error.failure().unwrap().attempts(), attempts, "at {at}");
    }
    let fetched = seen(&script).iter().filter(|(url, _)| url == TOKEN_URL).count();
    assert_eq!(fetched, 3);
}

#[test]
fn a_token_that_cannot_be_fetched_is_an_error_of_its_own() {
    let refused = Answers(400, &[], r#"{"error":"invalid_scope"}"#);
    for (script, want, requests) in [
        (&[refused][..], "no token: the token server refuses: 400 Bad Request, invalid_scope", 1),
        (&[Answers(401, &[], "who?")], "no token: the token server refuses: 401 Unauthorized", 1),
        (&[Answers(200, &[], "{}")], "no token: the answer is none, at line 1 column 2", 1),
        (&[Answers(200, &[], r#"{"access_token":"a\nb"}"#)], "no token: it cannot be sent in a header field", 1),
        // What may pass is tried as often as the pipeline says.
        (&[Answers(500, &[], ""); 9], "no token: the token server failed: 500 Internal Server Error", 3),
        (&[Resets; 9], "no token: the token server could not be asked: connection reset", 3),
        (&[BreaksOff; 9], "no token: the token server could not be asked: connection reset", 3),
        (&[GoesOnForEver; 9], "no token: the token server could not be asked: the answer is too long", 3),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(script));
        let client = builder(&clock, &script).auth(oauth()).build().unwrap();
        let error = clock.drive(client.post("items").send()).unwrap().unwrap_err();
        assert!(matches!(error, Error::Token { .. }), "{error:?}");
        assert!(error.to_string().ends_with(want), "{error}");
        assert_eq!(script.seen().iter().filter(|seen| seen.uri == TOKEN_URL).count(), requests, "{error}");
        assert_eq!(script.open(), 0);
    }
}

#[test]
fn a_token_server_that_is_down_for_a_while_is_not_noticed() {
    let (clock, script) = (ManualClock::new(), Script::new(&[FIRST, OK, IsDown, OK, OK, SECOND, OK]));
    let client = builder(&clock, &script).auth(oauth()).build().unwrap();
    let mut authorizations = Vec::new();
    for secs in [0, 950, 951, 960] {
        clock.set(Instant::EPOCH + ms(secs * 1000));
        clock.drive(client.get("items").send()).unwrap().unwrap();
        authorizations.extend(seen(&script).into_iter().filter(|(url, _)| url != TOKEN_URL).map(|(_, value)| value));
    }
    assert_eq!(authorizations, ["Bearer first", "Bearer first", "Bearer first", "Bearer second"]);
}

#[test]
fn a_fetch_that_is_dropped_is_begun_anew_by_the_next() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Hangs, FIRST]));
    let client = builder(&clock, &script).auth(oauth()).build().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut dropped = Box::pin(client.get("items").send());
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    let mut waits = Box::pin(client.get("items").send());
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    drop(dropped);
    clock.drive(waits).unwrap().unwrap();
    assert_eq!((elapsed(&clock), script.open()), (Duration::ZERO, 0));
}

#[test]
fn a_signer_that_fails_ends_the_call() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let auth = Auth::signer(|_: &mut http::request::Parts, _: Option<&bytes::Bytes>| Err("no key".into()));
    let client = builder(&clock, &script).auth(auth).build().unwrap();
    let error = clock.drive(client.get("items").send()).unwrap().unwrap_err();
    assert!(matches!(error, Error::Signature { .. }) && error.to_string().ends_with("not signed: no key"), "{error}");
    assert!(script.seen().is_empty());
}

#[test]
fn no_secret_is_shown_by_anything_that_holds_one() {
    const SECRET: &str = "s3cret";
    let credentials = ClientCredentials::new(TOKEN_URL, "id", SECRET).unwrap();
    let auths = [
        Auth::bearer(SECRET).unwrap(),
        Auth::basic("ann", SECRET).unwrap(),
        Auth::api_key("x-api-key", SECRET).unwrap(),
        Auth::api_key_in_query("key", SECRET),
        Auth::oauth2(credentials.clone()),
    ];
    let mut shown = format!("{credentials:?}");
    for auth in auths {
        let (clock, script) = (ManualClock::new(), Script::new(&[Answers(500, &[], "failed")]));
        let client = builder(&clock, &script).auth(auth.clone()).build().unwrap();
        let request = client.get("items");
        shown += &format!("{auth:?} {client:?} {request:?}");
        let error = clock.drive(request.send()).unwrap();
        shown += &format!("{error:?}");
        if let Err(error) = error {
            shown += &error.to_string();
        }
    }
    for encoded in [SECRET, "YW5uOnMzY3JldA", "aWQ6czNjcmV0"] {
        assert!(!shown.contains(encoded), "{shown}");
    }
    let error = TokenError::Refused(StatusCode::BAD_REQUEST, None);
    assert!(!error.may_pass());
}
