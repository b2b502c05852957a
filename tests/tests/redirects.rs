//! Redirects over real sockets: what arrives where, as the servers see it. RFC 9110 §15.4. What the scripted transport of
//! `steadfast-client` can show is tested there.

use bytes::Bytes;
use futures_util::stream;
use steadfast::{ApiClient, ApiClientBuilder, Auth, ClientCredentials, Error, NotFollowed, Redirects, RequestBody};
use steadfast_tests::conformance::transport::Stack;
use steadfast_tests::scripted_server::{Received, ScriptedServer, Step};

use crate::stack::on_every_stack;

/// A connection that is answered so, and closed: one request each, in the order in which they come.
fn answer(status: u16, fields: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} So\r\nconnection: close\r\ncontent-length: {length}\r\n{fields}\r\n");
    vec![Step::Read, Step::write(head + body)]
}

fn to(status: u16, location: &str) -> Vec<Step> {
    answer(status, &format!("location: {location}\r\n"), "elsewhere")
}

fn ok() -> Vec<Step> {
    answer(200, "", "ok")
}

fn start(connections: Vec<Vec<Step>>) -> ScriptedServer {
    ScriptedServer::start(connections).expect("loopback has a free port")
}

fn client<S: Stack>(server: &ScriptedServer, redirects: Redirects) -> ApiClientBuilder<S::Transport, S::Timer> {
    ApiClient::builder(&server.url(), S::transport(), S::timer()).redirects(redirects)
}

fn lines(server: &ScriptedServer) -> Vec<String> {
    server.requests().iter().map(|request| request.line().to_owned()).collect()
}

async fn each_status_leads_on_as_rfc_9110_15_4_says<S: Stack>() {
    for (method, status, next, has_body) in [
        ("POST", 301, "GET", false), // §15.4.2
        ("PUT", 302, "PUT", true),   // §15.4.3
        ("POST", 303, "GET", false), // §15.4.4
        ("POST", 307, "POST", true), // §15.4.8
        ("POST", 308, "POST", true), // §15.4.9
        ("HEAD", 303, "HEAD", true),
    ] {
        let bodies: [fn() -> RequestBody; 2] = [
            || "content".into(),
            // A stream is kept as it leaves, and sent again.
            || {
                RequestBody::stream(stream::iter(
                    ["con", "tent"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part))),
                ))
            },
        ];
        for body in bodies {
            let last = if method == "HEAD" { answer(200, "", "") } else { ok() };
            let first = if method == "HEAD" { answer(status, "location: /next\r\n", "") } else { to(status, "/next") };
            let server = start(vec![first, last]);
            let client = client::<S>(&server, Redirects::same_origin()).auth(Auth::bearer("t0ken").unwrap());
            let client = client.build().unwrap();
            let request =
                client.request(method.parse().unwrap(), "first").header("content-type", "text/x").body(body());
            let response = request.send().await.unwrap();
            assert_eq!((response.status().as_u16(), response.redirects()), (200, 1), "{method} {status}");
            assert_eq!(lines(&server), [format!("{method} /first HTTP/1.1"), format!("{next} /next HTTP/1.1")]);
            let [first, second] = &server.requests()[..] else { panic!("two requests") };
            let kept: &[u8] = if has_body { b"content" } else { b"" };
            assert_eq!((&*first.body, &*second.body), (&b"content"[..], kept), "{method} {status}");
            assert_eq!(second.values("content-type").is_empty(), !has_body, "{method} {status}");
            // The same origin knows who we are.
            assert_eq!(second.values("authorization"), ["Bearer t0ken"]);
        }
    }
}

async fn another_origin_learns_no_secret<S: Stack>() {
    for auth in [
        Auth::bearer("s3cret").unwrap(),
        Auth::basic("s3cret", "s3cret").unwrap(),
        Auth::api_key("x-api-key", "s3cret").unwrap(),
        Auth::api_key_in_query("key", "s3cret"),
    ] {
        for status in [301, 302, 303, 307, 308] {
            // There, and back to where everything is known: a stranger has said so, and so nothing is.
            let other = start(vec![ok()]);
            let home = start(vec![to(status, &format!("{}/file", other.url()))]);
            let client = client::<S>(&home, Redirects::any_origin()).auth(auth.clone()).header("cookie", "s3cret");
            let request = client.build().unwrap();
            let response = request.get("file").header("x-mine", "s3cret").body("s3cret").send().await.unwrap();
            assert_eq!(response.text().unwrap(), "ok");
            let [Received { head, body }] = &other.requests()[..] else { panic!("one request") };
            assert!(!head.contains("s3cret") && !head.contains("czNjcmV0") && body.is_empty(), "{head}");
            // Nor is it sent where the client is told to keep to its own.
            let home = start(vec![to(status, &format!("{}/file", other.url()))]);
            let stays = self::client::<S>(&home, Redirects::same_origin()).auth(auth.clone()).build().unwrap();
            let error = stays.get("file").send().await.unwrap_err();
            assert!(matches!(error, Error::Redirect { reason: NotFollowed::OtherOrigin, .. }), "{error}");
            assert_eq!(other.requests().len(), 1);
        }
    }
}

async fn what_may_change_something_goes_to_no_other_origin<S: Stack>() {
    for status in [307, 308] {
        let other = start(vec![ok()]);
        let home = start(vec![to(status, &other.url())]);
        let client = client::<S>(&home, Redirects::any_origin()).build().unwrap();
        let error = client.post("items").body("content").send().await.unwrap_err();
        assert!(matches!(error, Error::Redirect { reason: NotFollowed::UnsafeElsewhere, .. }), "{error}");
        assert_eq!(other.accepted(), 0);
    }
}

async fn redirects_have_a_bound<S: Stack>() {
    let chain = |length: u32| (1..=length).map(|place| to(307, &format!("/{place}"))).chain([ok()]).collect::<Vec<_>>();
    let same = Redirects::same_origin;
    for (connections, redirects, want, requests) in [
        (chain(5), same(), None, 6),
        (chain(6), same(), Some(NotFollowed::TooMany { at_most: 5 }), 6),
        (chain(3), same().at_most(2), Some(NotFollowed::TooMany { at_most: 2 }), 3),
        (vec![to(307, "/a"), to(307, "/b"), to(307, "/a"), ok()], same(), Some(NotFollowed::Loop), 3),
    ] {
        let server = start(connections);
        let client = client::<S>(&server, redirects).build().unwrap();
        let got = match client.get("0").send().await {
            Ok(_) => None,
            Err(Error::Redirect { reason, .. }) => Some(reason),
            Err(other) => panic!("{other}"),
        };
        assert_eq!((got, server.requests().len()), (want, requests), "{:?}", lines(&server));
        drop(client);
        assert!(S::comes_true(|| server.open() == 0).await);
    }
}

fn oauth(server: &ScriptedServer) -> Auth {
    Auth::oauth2(ClientCredentials::new(&format!("{}/token", server.url()), "id", "s3cret").unwrap())
}

fn token(name: &str) -> Vec<Step> {
    answer(200, "", &format!(r#"{{"access_token":"{name}","expires_in":1000}}"#))
}

async fn a_token_goes_along_at_home_and_is_renewed_where_it_is_refused<S: Stack>() {
    let tokens = start(vec![token("one"), token("two")]);
    let home = start(vec![to(308, "/next"), answer(401, "", "no"), ok()]);
    let client = client::<S>(&home, Redirects::same_origin()).auth(oauth(&tokens)).build().unwrap();
    let response = client.post("items").body("content").send().await.unwrap();
    assert_eq!((response.redirects(), response.attempts()), (1, 3));
    let seen: Vec<_> = home.requests().iter().map(|request| request.values("authorization").join(",")).collect();
    assert_eq!(seen, ["Bearer one", "Bearer one", "Bearer two"]);
    assert!(home.requests().iter().all(|request| request.body == b"content"));
    assert_eq!(lines(&tokens), ["POST /token HTTP/1.1"; 2]);
}

async fn no_token_is_fetched_or_sent_for_another_origin<S: Stack>() {
    let tokens = start(vec![token("one")]);
    // It says 401 to whoever has no token of its own: that is no word on ours.
    let other = start(vec![answer(401, "", "no")]);
    let home = start(vec![to(307, &other.url()), ok()]);
    let client = client::<S>(&home, Redirects::any_origin()).auth(oauth(&tokens)).build().unwrap();
    let error = client.get("file").send().await.unwrap_err();
    assert!(matches!(error, Error::Authentication(_)), "{error}");
    assert!(other.requests()[0].values("authorization").is_empty());
    client.get("file").send().await.unwrap();
    assert_eq!(home.requests()[1].values("authorization"), ["Bearer one"]);
    assert_eq!(tokens.requests().len(), 1, "ours is as good as before");
}

/// RFC 6749 knows no redirect of a token request, whose body is a secret.
async fn a_token_server_that_redirects_is_not_followed<S: Stack>() {
    let other = start(vec![token("stolen")]);
    for status in [302, 307, 308] {
        let tokens = start(vec![to(status, &format!("{}/token", other.url()))]);
        let home = start(vec![ok()]);
        let client = client::<S>(&home, Redirects::any_origin()).auth(oauth(&tokens)).build().unwrap();
        let error = client.get("file").send().await.unwrap_err();
        assert!(matches!(error, Error::Token { .. }), "{error}");
        assert_eq!((other.accepted(), home.accepted()), (0, 0), "{status}");
    }
}

on_every_stack! {
    each_status_leads_on_as_rfc_9110_15_4_says
    another_origin_learns_no_secret
    what_may_change_something_goes_to_no_other_origin
    redirects_have_a_bound
    a_token_goes_along_at_home_and_is_renewed_where_it_is_refused
    no_token_is_fetched_or_sent_for_another_origin
    a_token_server_that_redirects_is_not_followed
}
