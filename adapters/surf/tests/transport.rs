//! Both backends against a server on loopback that plays scripts.

#[path = "../../reqwless/tests/call/server.rs"]
mod server;

use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use server::Server;
use server::Step::{Pause, Read, Stall, Write};
use steadfast_client::{RequestBody, Transport, TransportError};
use steadfast_core::outcome::Processed;
use steadfast_surf::{SurfBody, SurfTransport};

fn h1() -> SurfTransport {
    SurfTransport::h1()
}

fn curl() -> SurfTransport {
    SurfTransport::curl().expect("libcurl is there")
}

/// What both must do alike.
fn both() -> [SurfTransport; 2] {
    [h1(), curl()]
}

fn request(method: Method, url: &str, body: &'static str) -> Request<RequestBody> {
    let body = RequestBody::from(bytes::Bytes::from_static(body.as_bytes()));
    Request::builder().method(method).uri(url).body(body).expect("a good request")
}

fn get(url: &str) -> Request<RequestBody> {
    request(Method::GET, url, "")
}

/// How an exchange ended: "200 body", "200 broken", "never sent", "maybe processed".
fn end(result: Result<Response<SurfBody>, TransportError>) -> String {
    match result {
        Ok(response) => {
            let status = response.status().as_u16();
            match block_on(response.into_body().collect()) {
                Ok(body) => format!("{status} {}", String::from_utf8_lossy(&body.to_bytes())),
                Err(_) => format!("{status} broken"),
            }
        }
        Err(error) => match error.processed() {
            Processed::No => "never sent".to_owned(),
            Processed::Maybe => "maybe processed".to_owned(),
        },
    }
}

/// A GET that is answered with this, and then the connection is closed, ends like this with each backend.
fn check(answer: &str, with_h1: &str, with_curl: &str) {
    for (transport, want) in [(h1(), with_h1), (curl(), with_curl)] {
        let server = Server::answering_and_closing(&[answer]);
        let url = server.url("/");
        assert_eq!(end(block_on(transport.send(get(&url)))), want, "{transport:?} on {answer:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn bodies_arrive_whole_or_as_errors() {
    for (answer, with_h1, with_curl) in [
        ("200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 hello", "200 hello"),
        ("200 OK\r\nContent-Length: 0\r\n\r\n", "200 ", "200 "),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2\r\n w\r\n0\r\n\r\n",
            "200 hello w",
            "200 hello w",
        ),
        ("204 No Content\r\n\r\n", "204 ", "204 "),
        ("304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 ", "304 "),
        // Until the end of the connection.
        ("200 OK\r\n\r\nhello", "200 broken", "200 hello"),
        // Short.
        ("200 OK\r\nContent-Length: 50\r\n\r\nhello", "200 broken", "200 broken"),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "200 broken", "200 broken"),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "200 broken", "200 broken"),
        // Redirects are not followed, and errors are answers.
        ("302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "302 ", "302 "),
        ("500 Oh\r\nContent-Length: 2\r\n\r\nno", "500 no", "500 no"),
        ("429 Slow\r\nContent-Length: 0\r\n\r\n", "429 ", "429 "),
    ] {
        check(&format!("HTTP/1.1 {answer}"), with_h1, with_curl);
    }
}

#[test]
fn what_surf_cannot_read_may_have_been_processed() {
    let maybe = "maybe processed";
    for answer in [
        "",
        // Two over which surf panics.
        "HTTP/1.1 529 Overloaded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Name: \u{e9}\r\nContent-Length: 0\r\n\r\n",
    ] {
        check(answer, maybe, maybe);
    }
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", maybe, maybe);
    // libcurl takes it for HTTP/0.9, and refuses that.
    check("SSH-2.0-OpenSSH_9.9\r\n", maybe, maybe);
    // It is content with half a head, whose body is then none.
    check("HTTP/1.1 200 OK\r\nContent-Le", maybe, "200 broken");
}

#[test]
fn a_refused_connection_was_never_sent() {
    for transport in both() {
        assert_eq!(end(block_on(transport.send(get(&server::nobody())))), "never sent", "{transport:?}");
    }
}

#[test]
fn what_cannot_be_sent_was_never_sent() {
    let strange = Request::builder().uri("http://127.0.0.1:9/").header("x", "\u{e9}");
    let strange = || strange.body(RequestBody::default()).expect("http allows it");
    assert_eq!(end(block_on(h1().send(strange()))), "never sent");
    assert_eq!(end(block_on(h1().send(get("https://127.0.0.1:9/")))), "never sent");
    for transport in both() {
        let unknown = Method::from_bytes(b"BREW").expect("a token");
        assert_eq!(end(block_on(transport.send(request(unknown, "http://127.0.0.1:9/", "")))), "never sent");
        assert_eq!(end(block_on(transport.send(get("/relative")))), "never sent");
        assert_eq!(end(block_on(transport.send(get("ftp://127.0.0.1:9/")))), "never sent");
    }
}

#[test]
fn a_request_arrives_as_it_was_made() {
    let answer = "HTTP/1.1 200 OK\r\nX-Many: a\r\nX-Many: b, c\r\nContent-Length: 2\r\n\r\nok";
    for (transport, want) in [(h1(), ["a", "b, c"].as_slice()), (curl(), &["a, b, c"])] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let server = Server::answering_and_closing(&[answer]);
            let body = if method == Method::POST || method == Method::PUT { "hello" } else { "" };
            let mut sent = request(method.clone(), &server.url("/a%20b/c?x=1&y=%26"), body);
            for value in ["a", "b, c"] {
                sent.headers_mut().append("x-many", value.parse().expect("a good value"));
            }
            let response = block_on(transport.send(sent)).expect("it is answered");
            let values: Vec<_> = response.headers().get_all("x-many").iter().collect();
            assert_eq!(values, ["a", "b, c"], "{transport:?}");
            assert!(!response.headers().contains_key("date"), "{transport:?} makes one up");
            assert_eq!(end(Ok(response)), "200 ok");

            let received = server.requests().remove(0);
            let (head, content) = received.split_once("\r\n\r\n").expect("a head");
            assert_eq!(content, body);
            let line = format!("{method} /a%20b/c?x=1&y=%26 HTTP/1.1");
            assert_eq!(head.lines().next(), Some(line.as_str()), "{transport:?}");
            let fields: Vec<_> = head.lines().skip(1).filter_map(|line| line.split_once(':')).collect();
            let of = |name| {
                fields.iter().filter(move |field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1.trim())
            };
            assert_eq!(of("x-many").collect::<Vec<_>>(), want, "{transport:?}");
            assert!(of("content-type").all(|value| value != "application/octet-stream"), "{transport:?} adds one");
            assert_eq!(of("accept-encoding").count(), 0, "{transport:?} decompresses");
        }
    }
}

#[test]
fn a_head_request_has_no_body() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    let server = Server::answering(&[answer]);
    let url = server.url("/");
    assert_eq!(end(block_on(h1().send(request(Method::HEAD, &url, "")))), "200 ");
    assert_eq!(server.requests().len(), 1);
    // It would wait for one.
    assert_eq!(end(block_on(curl().send(request(Method::HEAD, &url, "")))), "never sent");
}

#[test]
fn a_cancelled_exchange_leaves_nothing_to_the_next() {
    for transport in both() {
        // The answer to the first request comes when nobody waits for it any more.
        let late = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";
        let first = vec![Read, Pause(Duration::from_millis(100)), Write(late.to_owned()), Stall];
        let own = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown";
        let server = Server::start(vec![first, vec![Read, Write(own.to_owned())]]);
        let url = server.url("/");
        let mut cancelled = transport.send(get(&url));
        let patience = Instant::now() + Duration::from_millis(50);
        while Instant::now() < patience {
            assert!(cancelled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(cancelled);
        assert_eq!(end(block_on(transport.send(get(&url)))), "200 own", "{transport:?}");
        // The script of the first connection has been played, so the client has closed it.
        assert_eq!(server.requests().len(), 2);
    }
}

/// With libcurl it does so when the server's next bytes come.
#[test]
fn a_body_that_is_dropped_closes_its_connection() {
    let server = Server::answering(&["HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nbegun"]);
    let url = server.url("/");
    let response = block_on(h1().send(get(&url))).expect("it is answered");
    drop(response);
    assert_eq!(server.requests().len(), 1);
}
