//! Every kind of call dropped after any number of polls, over real sockets: the server counts what is left of it.
//!
//! On the clock for tests, `steadfast-client` has the same for what only it can see: tokens, sleepers, the line.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join;
use steadfast::core::concurrency::ConcurrencyLimit;
use steadfast::{ApiClient, Auth, Backoff, ClientCredentials, Pipeline, Redirects, Retry};
use steadfast_tests::conformance::transport::{Stack, polled};
use steadfast_tests::scripted_server::ScriptedServer;
use steadfast_tests::scripted_server::Step::{self, Pause, Read};

use crate::stack::on_every_stack;

const MS: Duration = Duration::from_millis(1);

type Client<S> = ApiClient<<S as Stack>::Transport, <S as Stack>::Timer>;

/// A connection for one request, which is answered slowly: each part of the head and the body can be waited for.
fn slowly(status: u16, fields: &str, body: &'static str) -> Vec<Step> {
    let (first, rest) = body.split_at(body.len() / 2);
    let length = body.len();
    let head = format!("{status} So\r\nconnection: close\r\ncontent-length: {length}\r\n{fields}\r\n{first}");
    let pause = || Pause(2 * MS);
    vec![pause(), Read, Step::write("HTTP/1.1 "), pause(), Step::write(head), pause(), Step::write(rest)]
}

/// Drops what `call` makes after each number of polls, until it comes to its end. Whatever that number is: no call is under way
/// or in line, the slot is free, no socket is open once the client is gone, and no request came that was not to come.
async fn check<S: Stack, F: Future>(connections: &[Vec<Step>], call: impl Fn(Client<S>) -> F) {
    let mut points = 0;
    loop {
        let server = ScriptedServer::start(connections.to_vec()).expect("loopback has a free port");
        let client = client::<S>(&server.url());
        let done = {
            let call = pin!(call(client.clone()));
            polled(call, points).await.is_some()
        };
        assert_eq!((client.running(), client.waiting()), (0, 0), "dropped after {points} polls");
        let requests = server.requests().len();
        assert!(requests <= connections.len(), "dropped after {points} polls");
        {
            // The slot is there for the next, which goes no further.
            let mut next = pin!(client.get("next").send());
            assert!(next.as_mut().now_or_never().is_none() || client.is_shut_down());
            assert_eq!(client.waiting(), 0, "dropped after {points} polls: the slot is taken");
        }
        drop(client);
        assert!(S::comes_true(|| server.open() == 0).await, "dropped after {points} polls: a connection is open");
        if done {
            assert_eq!(requests, connections.len(), "{points} polls");
            break;
        }
        points += 1;
    }
    // There is a connection, a head and a body to wait for, of each request.
    assert!(points >= 2 * connections.len(), "{points} polls for {} requests", connections.len());
}

/// With one slot, so that whoever would keep it keeps the next call from its turn.
fn client<S: Stack>(url: &str) -> Client<S> {
    let auth = ClientCredentials::new(&format!("{url}/token"), "id", "s3cret").expect("a URL");
    let backoff = Backoff::builder().base(2 * MS).cap(4 * MS).build().expect("it is in range");
    let pipeline = Pipeline::builder()
        .concurrency_limit(ConcurrencyLimit::fixed(1).build().expect("it is in range"))
        .retry(Retry::builder().max_attempts(3).backoff(backoff).build().expect("it is in range"))
        .build()
        .expect("they agree");
    ApiClient::builder(url, S::transport(), S::timer())
        .pipeline(pipeline)
        .redirects(Redirects::same_origin())
        .auth(Auth::oauth2(auth))
        .build()
        .expect("a client")
}

const TOKEN: &str = r#"{"access_token":"one","expires_in":1000}"#;

fn token() -> Vec<Step> {
    slowly(200, "", TOKEN)
}

async fn a_call_with_its_token_and_a_retry<S: Stack>() {
    let connections = [token(), slowly(503, "", "later"), slowly(200, "", "ok")];
    check::<S, _>(&connections, |client| async move {
        client.get("items").send().await.expect("an answer");
    })
    .await;
}

async fn a_call_whose_token_is_renewed<S: Stack>() {
    let connections = [token(), slowly(401, "", "no"), token(), slowly(200, "", "ok")];
    check::<S, _>(&connections, |client| async move {
        client.post("items").body("content").send().await.expect("an answer");
    })
    .await;
}

async fn a_call_that_is_redirected<S: Stack>() {
    let connections = [token(), slowly(307, "location: /next\r\n", "there"), slowly(200, "", "ok")];
    check::<S, _>(&connections, |client| async move {
        client.post("items").body("content").send().await.expect("an answer");
    })
    .await;
}

async fn a_stream<S: Stack>() {
    let connections = [token(), slowly(200, "", "a long body")];
    check::<S, _>(&connections, |client| async move {
        let mut response = client.get("items").send_streaming().await.expect("an answer");
        while response.chunk().await.expect("a part").is_some() {}
    })
    .await;
}

async fn events_that_go_on_after_a_break<S: Stack>() {
    let events = |text| slowly(200, "content-type: text/event-stream\r\n", text);
    let connections = [token(), events("retry: 2\n\nid: 1\ndata: a\n\n"), events("id: 2\ndata: b\n\n")];
    check::<S, _>(&connections, |client| async move {
        let mut events = client.get("items").events();
        for data in ["a", "b"] {
            assert_eq!(events.next().await.expect("one more").expect("an event").data, data);
        }
    })
    .await;
}

async fn pages<S: Stack>() {
    let next = "link: </items?page=2>; rel=\"next\"\r\n";
    let connections = [token(), slowly(200, next, "one"), slowly(200, "", "two")];
    check::<S, _>(&connections, |client| async move {
        let mut pages = client.get("items").pages();
        while let Some(page) = pages.next().await {
            page.expect("a page");
        }
    })
    .await;
}

async fn a_shutdown_with_a_call_under_way<S: Stack>() {
    check::<S, _>(&[token(), slowly(200, "", "ok")], |client| async move {
        let call = client.get("items").send();
        let (answer, stopped) = join(call, client.shut_down(Duration::from_secs(20))).await;
        answer.expect("it has begun");
        assert_eq!((stopped.finished, stopped.cancelled), (1, 0));
    })
    .await;
}

on_every_stack! {
    a_call_with_its_token_and_a_retry
    a_call_whose_token_is_renewed
    a_call_that_is_redirected
    a_stream
    events_that_go_on_after_a_break
    pages
    a_shutdown_with_a_call_under_way
}
