//! Streams against a real server, over real sockets: bodies out and in, events and pages.
//!
//! Bounds on time are generous: they catch a wait that is missing or endless, not a slow machine.

use std::io;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use steadfast::{ApiClient, ApiClientBuilder, Backoff, Error, Multipart, Part, Pipeline, RequestBody, Retry};
use steadfast_tests::conformance::transport::Stack;
use steadfast_tests::scripted_server::Step::{Drain, Pause, Read, ReadHead, Reset};
use steadfast_tests::scripted_server::{ScriptedServer, Step};

use crate::stack::on_every_stack;

const MS: Duration = Duration::from_millis(1);
const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";

fn write(text: &'static str) -> Step {
    Step::write(text)
}

/// A server of which each connection plays a script of its own.
fn start(scripts: &[&[Step]]) -> ScriptedServer {
    ScriptedServer::start(scripts.iter().map(|script| script.to_vec()).collect()).expect("loopback has a free port")
}

fn client<S: Stack>(server: &ScriptedServer) -> ApiClientBuilder<S::Transport, S::Timer> {
    let retry = Retry::builder().backoff(Backoff::builder().base(MS).build().unwrap()).build().unwrap();
    let pipeline = Pipeline::builder().retry(retry).build().unwrap();
    ApiClient::builder(&server.url(), S::transport(), S::timer()).pipeline(pipeline)
}

/// So many parts of 1 KiB.
fn parts(many: usize) -> RequestBody {
    RequestBody::stream(stream::iter((0..many).map(|_| Ok::<_, io::Error>(vec![7; 1024].into()))))
}

async fn an_upload_is_sent_again_whole_or_not_at_all<S: Stack>() {
    // Kept, longer than what is kept, and made again.
    for (many, made_again, sent) in [(10, false, 2), (1000, false, 1), (1000, true, 2)] {
        let server = start(&[&[Read, write(BUSY)], &[Read, write(OK)]]);
        let client = client::<S>(&server).build().unwrap();
        let request = match made_again {
            true => client.put("file").body_from(move || parts(many)),
            false => client.put("file").body(parts(many)),
        };
        let result = request.send().await;
        assert_eq!(result.is_ok(), sent == 2, "{many}: {result:?}");
        let requests = server.requests();
        assert_eq!(requests.len(), sent, "{many}");
        assert!(requests.iter().all(|request| request.body == vec![7; many * 1024]), "{many}");
    }
}

async fn an_upload_that_fails_is_an_error_of_its_own<S: Stack>() {
    let server = start(&[&[Read, write(OK), Drain]]);
    let client = client::<S>(&server).build().unwrap();
    let failing = || stream::iter([Ok("some".into()), Err("disk gone")]);
    let form = || Multipart::new().part("file", Part::new(RequestBody::stream(failing())).file_name("f"));
    for request in [client.put("file").body(RequestBody::stream(failing())), client.post("file").multipart(form())] {
        let error = request.send().await.unwrap_err();
        assert!(matches!(&error, Error::Body { source, .. } if source.to_string() == "disk gone"), "{error:?}");
    }
    assert!(S::comes_true(|| server.open() == 0).await);
    assert!(server.requests().is_empty());
}

async fn an_upload_that_the_server_breaks_is_not_begun_again<S: Stack>() {
    let server = start(&[&[ReadHead, Pause(20 * MS), Reset]]);
    let client = client::<S>(&server).build().unwrap();
    let error = client.put("file").body(parts(1000)).send().await.unwrap_err();
    assert!(matches!(error, Error::Connection { .. }) && !error.is_retryable(), "{error}");
    assert_eq!((error.failure().unwrap().attempts(), server.requests().len()), (1, 1));
}

async fn a_download_comes_in_parts_and_closes_its_connection_wherever_it_ends<S: Stack>() {
    let first = || write("5\r\nfirst\r\n");
    let last = || write("4\r\nlast\r\n0\r\n\r\n");
    let busy = || vec![Read, write(BUSY)];
    let head = || vec![Read, write(CHUNKED), first()];
    // The server's part, and what the client had of it.
    for (rest, want) in [(vec![Pause(20 * MS), last(), Drain], "ok"), (vec![Drain], "stalled"), (vec![], "broken")] {
        let server = start(&[&busy(), &[head(), rest].concat()]);
        let client = client::<S>(&server).read_timeout(300 * MS).build().unwrap();
        let mut response = client.get("file").send_streaming().await.unwrap();
        assert_eq!(response.attempts(), 2);
        assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
        let got = match response.try_collect::<Vec<_>>().await {
            Ok(parts) if parts.concat() == b"last" => "ok",
            Err(Error::ReadTimeout(_)) => "stalled",
            Err(Error::Connection { .. }) => "broken",
            other => panic!("{other:?}"),
        };
        assert_eq!(got, want);
        drop(client);
        assert!(S::comes_true(|| server.open() == 0).await, "{want}");
    }
    let server = start(&[&[head(), vec![Drain]].concat()]);
    let client = client::<S>(&server).build().unwrap();
    let response = client.get("file").send_streaming().await.unwrap();
    assert_eq!((server.open(), client.running()), (1, 1));
    drop(response);
    assert!(S::comes_true(|| server.open() == 0).await);
    assert_eq!(client.running(), 0);
}

async fn events_go_on_behind_the_last_one<S: Stack>() {
    let server = start(&[
        &[
            Read,
            write(EVENTS),
            write("retry: 1\nid: 1\ndata: a\n\nda"),
            Pause(20 * MS),
            write("ta: b\r\n\r\ndata: half"),
        ],
        &[Read, write(BUSY)],
        &[Read, write(EVENTS), write("id: 2\ndata: c\n\ndata: half"), Pause(20 * MS), Reset],
        &[Read, write(EVENTS), write("data: d\n\n")],
        &[Read, write("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")],
    ]);
    let client = client::<S>(&server).build().unwrap();
    let events = client.get("prices").events().into_stream();
    let events: Vec<_> = events.map_ok(|event| event.data).try_collect().await.unwrap();
    assert_eq!(events, ["a", "b", "c", "d"]);
    let ids: Vec<_> = server.requests().iter().map(|request| request.values("last-event-id").concat()).collect();
    assert_eq!(ids, ["", "1", "1", "2", "2"]);
}

async fn pages_are_fetched_as_they_are_asked_for<S: Stack>() {
    let page = "HTTP/1.1 200 OK\r\nconnection: close\r\nlink: <?page=2>; rel=\"next\"\r\ncontent-length: 1\r\n\r\n1";
    let server = start(&[&[Read, write(page)], &[Read, write(OK)]]);
    let client = client::<S>(&server).build().unwrap();
    let mut pages = client.get("items").pages();
    assert_eq!(pages.next().await.unwrap().unwrap().bytes(), "1");
    assert_eq!(server.requests().len(), 1);
    let rest: Vec<_> = pages.into_stream().collect().await;
    assert_eq!((rest.len(), server.requests()[1].line()), (1, "GET /items?page=2 HTTP/1.1"));
}

async fn streams_can_be_spawned<S: Stack>() {
    fn is_send(_: &impl Send) {}
    let server = start(&[&[Read, write(OK)]]);
    let client = client::<S>(&server).build().unwrap();
    is_send(&client.put("x").body(parts(1)).send());
    is_send(&client.put("x").body_from(|| parts(1)).send());
    is_send(&client.get("x").send_streaming());
    is_send(&client.get("x").send_streaming().await.unwrap());
    is_send(&client.get("x").events().next());
    is_send(&client.get("x").events().into_stream());
    is_send(&client.get("x").pages().next());
    is_send(&client.get("x").pages().into_stream());
}

on_every_stack! {
    an_upload_is_sent_again_whole_or_not_at_all
    an_upload_that_fails_is_an_error_of_its_own
    an_upload_that_the_server_breaks_is_not_begun_again
    a_download_comes_in_parts_and_closes_its_connection_wherever_it_ends
    events_go_on_behind_the_last_one
    pages_are_fetched_as_they_are_asked_for
    streams_can_be_spawned
}
