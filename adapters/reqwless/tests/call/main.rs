//! Whole calls, to a server on loopback that plays scripts, on a simulated clock.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use reqwless::client::HttpClient;
use reqwless::request::Method;
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::rejected::Rejected;
use steadfast_core::run::{CallError, LastAttempt, Runner};
use steadfast_core::time::{Clock, Instant, ManualClock};
use steadfast_reqwless::{Buffers, Error, Failure, Request, call, reqwless};

mod net;
mod server;

use net::Net;
use server::Server;
use server::Step::{Pause, Read, Stall, Write};

/// Longer than anything takes: a read that is not answered by then hangs the test's clock, not the run.
const EVER: Duration = Duration::from_secs(20);

/// How a call ended: "status body" or why not, after how many attempts and simulated milliseconds.
#[derive(Debug, Eq, PartialEq)]
struct Ended {
    how: String,
    attempts: u32,
    millis: u128,
}

fn ended(how: &str, attempts: u32, millis: u128) -> Ended {
    Ended { how: how.to_owned(), attempts, millis }
}

/// Makes one call with a head buffer of 256 bytes and a body buffer of 16. Backoffs are 100 ms, 200 ms and so on.
fn make(request: &Request<'_>, net: &Net) -> Ended {
    let pipeline = RefCell::new(Pipeline::default());
    let clock = ManualClock::new();
    let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &() };
    let mut client = HttpClient::new(net, net);
    let (mut head, mut body) = ([0; 256], [0; 16]);
    let buffers = Buffers { head: &mut head, body: &mut body };
    let result = clock.drive(call(&runner, &mut client, request, || u64::MAX, buffers)).expect("it ends");
    let millis = (clock.now() - Instant::EPOCH).as_millis();
    match result {
        Ok(response) => {
            let body = String::from_utf8_lossy(response.body);
            Ended { how: format!("{} {body}", response.status), attempts: response.attempts, millis }
        }
        Err(Error::Failed(CallError { last, attempts, rejected, .. })) => {
            let how = match last {
                LastAttempt::Returned(failure) => format!("{failure} / {rejected}"),
                LastAttempt::TimedOut => format!("timed out / {rejected}"),
                LastAttempt::NotMade => format!("not made / {rejected}"),
            };
            Ended { how, attempts, millis }
        }
        Err(error) => Ended { how: error.to_string(), attempts: 0, millis },
    }
}

fn net() -> Net {
    Net { patience: EVER, asked: Cell::new(0) }
}

/// A GET to this server ends like this, after as many connections as it has scripts for.
#[track_caller]
fn check(server: Server, want: &Ended) {
    let url = server.url("/");
    let net = net();
    assert_eq!(make(&Request::get(&url), &net), *want);
    let requests = server.requests();
    assert_eq!((requests.len(), net.asked.get()), (want.attempts as usize, want.attempts));
}

const SENT: &str = "sent, and no whole response came";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_request_arrives_as_it_was_written() {
    let server = Server::answering(&["HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"]);
    let url = server.url("/sensors/7?unit=K&x=%20");
    let headers = [("X-Tag", "a"), ("X-Tag", "b, c"), ("Authorization", "Bearer s3cret")];
    let request = Request::put(&url, b"temperature=291").with_headers(&headers);
    assert_eq!(make(&request, &net()), ended("201 ok", 1, 0));

    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("it has a host");
    let want = format!(
        "PUT /sensors/7?unit=K&x=%20 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 15\r\nX-Tag: a\r\nX-Tag: b, c\r\n\
         Authorization: Bearer s3cret\r\n\r\ntemperature=291"
    );
    assert_eq!(server.requests(), [want]);
}

#[test]
fn every_kind_of_body_arrives_whole() {
    for (answer, want) in [
        ("200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 hello"),
        ("200 OK\r\nContent-Length: 16\r\n\r\n0123456789abcdef", "200 0123456789abcdef"),
        ("200 OK\r\nContent-Length: 0\r\n\r\n", "200 "),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "200 hello world"),
        ("204 No Content\r\n\r\n", "204 "),
        // It has none, whatever its length says, and the connection stays open.
        ("304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 "),
    ] {
        check(Server::answering(&[&format!("HTTP/1.1 {answer}")]), &ended(want, 1, 0));
    }
    let until_the_end = "HTTP/1.1 200 OK\r\n\r\nuntil the end";
    check(Server::answering_and_closing(&[until_the_end]), &ended("200 until the end", 1, 0));
}

#[test]
fn a_head_request_has_no_body() {
    let server = Server::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"]);
    let url = server.url("/");
    assert_eq!(make(&Request::new(Method::HEAD, &url), &net()), ended("200 ", 1, 0));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_retry_comes_when_the_server_says() {
    for (refusal, at_least, at_most) in [
        ("503 No\r\nRetry-After: 7\r\nContent-Length: 0", 7_000, 14_000),
        ("429 Slow\r\nretry-after: 1\r\nretry-after-ms: 1200\r\nContent-Length: 0", 1_200, 2_400),
        // A date is read on the server's own clock.
        ("503 No\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:40 GMT", 3_000, 6_000),
        // Without that, nobody knows when it is: the backoff decides.
        ("503 No\r\nRetry-After: Fri, 31 Dec 2999 23:59:59 GMT", 1, 100),
        // Neither a page that the buffer cannot hold matters, nor one that never ends.
        ("503 No\r\nRetry-After: 2\r\nContent-Length: 1000", 2_000, 4_000),
        ("503 No\r\nRetry-After: 2\r\nTransfer-Encoding: chunked", 2_000, 4_000),
    ] {
        let server = Server::answering(&[&format!("HTTP/1.1 {refusal}\r\n\r\n"), OK]);
        let url = server.url("/");
        let got = make(&Request::get(&url), &net());
        assert_eq!((got.how.as_str(), got.attempts), ("200 ok", 2), "{refusal}");
        assert!((at_least..=at_most).contains(&got.millis), "{refusal}: {got:?}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn what_another_attempt_would_repeat_is_not_repeated() {
    let too_long = "the response is longer than the buffer";
    let head = format!("200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(300));
    for (answer, why) in [
        ("404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered with 404"),
        ("200 OK\r\nContent-Length: 17\r\n\r\n", too_long),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n", too_long),
        ("200 OK\r\n\r\n0123456789abcdefg", too_long),
        (&head, too_long),
    ] {
        let want = format!("{why} / {}", Rejected::Permanent);
        check(Server::answering(&[&format!("HTTP/1.1 {answer}")]), &ended(&want, 1, 0));
    }
}

#[test]
fn what_broke_on_the_way_is_repeated() {
    for broken in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        // Short.
        "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        // Longer than it says.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        // Of two lengths.
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
    ] {
        let server = Server::answering_and_closing(&[broken, OK]);
        check(server, &ended("200 ok", 2, 100));
        check_post(Server::answering_and_closing(&[broken]), SENT, &Rejected::NotIdempotent);
    }
}

/// A POST to this server fails like this, and is not repeated.
#[track_caller]
fn check_post(server: Server, why: &str, rejected: &Rejected) {
    let url = server.url("/");
    let got = make(&Request::post(&url, b"once"), &net());
    assert!(got.how.starts_with(why) && got.how.ends_with(&rejected.to_string()), "{got:?}");
    assert_eq!(got.attempts, 1);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_server_that_sends_more_than_it_said_gives_what_it_said() {
    // In two segments: reqwless notices the surplus only in the first.
    let script = vec![
        Read,
        Write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".to_owned()),
        Pause(Duration::from_millis(30)),
        Write("abcdefghi".to_owned()),
        Stall,
    ];
    check(Server::start(vec![script]), &ended("200 abc", 1, 0));
}

#[test]
fn what_was_never_sent_may_be_repeated_whatever_it_is() {
    let refused = server::nobody();
    for (url, error) in [(refused.as_str(), "Network(ConnectionRefused)"), ("http://nowhere.invalid/", "Dns")] {
        let net = net();
        let got = make(&Request::post(url, b"once"), &net);
        assert!(got.how.starts_with(&format!("never sent: {error}")), "{got:?}");
        assert!(got.attempts > 1, "{got:?}");
    }
}

#[test]
fn a_429_is_repeated_even_for_a_post() {
    let server = Server::answering(&["HTTP/1.1 429 Slow\r\nRetry-After: 1\r\n\r\n", OK]);
    let url = server.url("/");
    let got = make(&Request::post(&url, b"once"), &net());
    assert_eq!((got.how.as_str(), got.attempts), ("200 ok", 2));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn an_idempotency_key_makes_a_post_repeatable() {
    let server = Server::answering_and_closing(&["", OK]);
    let url = server.url("/");
    let headers = [("Idempotency-Key", "8e03978e")];
    let request = Request::post(&url, b"once").with_headers(&headers);
    assert_eq!(make(&request, &net()), ended("200 ok", 2, 100));
    let requests = server.requests();
    assert_eq!((requests.len(), requests.first()), (2, requests.last()));
}

#[test]
fn an_attempt_that_stalls_is_dropped_in_time_and_its_connection_closed() {
    for stall in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"] {
        let server = Server::answering(&[stall]);
        let url = server.url("/");
        let options = CallOptions::not_idempotent().with_attempt_timeout(Duration::from_secs(3));
        let net = Net { patience: Duration::from_millis(50), asked: Cell::new(0) };
        let got = make(&Request::get(&url).with_options(options), &net);
        assert_eq!(got, ended(&format!("timed out / {}", Rejected::NotIdempotent), 1, 3_000), "{stall:?}");
        // The server has played its script, so the client has closed the connection.
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_request_that_cannot_be_is_refused_before_any_attempt() {
    let net = net();
    for url in [
        "",
        "example.org",
        "ftp://example.org/",
        "http://",
        "http:///path",
        "http://h/ x",
        "http://h/\r\nX: y",
        "http://user@h/",
        "http://h?x=1",
        "http://h/#f",
        "http://h/\u{e9}",
        "http://h:x/",
    ] {
        assert_eq!(make(&Request::get(url), &net), ended("invalid request: its url", 0, 0), "{url:?}");
    }
    for header in [("", "x"), ("a b", "x"), ("a:", "x"), ("x", "a\r\nb: c"), ("x", "a\nb"), ("x", "\0")] {
        let headers = [header];
        let request = Request::get("http://127.0.0.1/").with_headers(&headers);
        assert_eq!(make(&request, &net), ended("invalid request: its header", 0, 0), "{header:?}");
    }
    assert_eq!(net.asked.get(), 0);
}

#[test]
fn https_without_tls_is_not_tried_again() {
    let server = Server::start(vec![vec![Stall]]);
    let url = server.url("/").replace("http", "https");
    let want = format!("never sent: InvalidUrl(UnsupportedScheme) / {}", Rejected::Permanent);
    assert_eq!(make(&Request::get(&url), &net()), ended(&want, 1, 0));
    assert!(server.requests().is_empty());
}

#[test]
fn a_dead_server_opens_the_breaker() {
    let net = net();
    let url = server::nobody();
    let pipeline = RefCell::new(Pipeline::default());
    let clock = ManualClock::new();
    let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &() };
    let mut client = HttpClient::new(&net, &net);
    let calls = 30;
    let mut refused = 0;
    for _ in 0..calls {
        let buffers = Buffers { head: &mut [0; 256], body: &mut [] };
        let request = Request::get(&url).with_options(CallOptions::idempotent().with_max_attempts(1));
        match clock.drive(call(&runner, &mut client, &request, || 0, buffers)).expect("it ends") {
            Err(Error::Failed(CallError { last: LastAttempt::NotMade, rejected, .. })) => {
                assert!(matches!(rejected, Rejected::CircuitOpen { .. }), "{rejected:?}");
                refused += 1;
            }
            Err(Error::Failed(CallError { last: LastAttempt::Returned(Failure::NotSent(_)), .. })) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    assert_eq!(net.asked.get() + refused, calls);
}
