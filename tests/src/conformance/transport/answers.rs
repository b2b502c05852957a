//! What comes back when nothing fails.

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt;
use steadfast_client::Transport;

use super::{End, LAST, OK, Stack, answer, end, request, settle, start, write};
use crate::scripted_server::Step::{self, Drain, Read};

/// The request line and `Host` are those of the URI, for every method.
pub fn methods_and_targets<S: Stack>() {
    let server = start(&[&[Read, write(LAST)]]);
    let (url, address) = (server.url(), server.address().to_string());
    S::run(async {
        let transport = S::transport();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
            for (path, target) in [("", "/"), ("/", "/"), ("/a/b?x=1&y=%20&y=z", "/a/b?x=1&y=%20&y=z"), ("?q", "/?q")] {
                assert_eq!(end(&transport, request(method, &format!("{url}{path}"), "")).await, End::Answered(200));
                let requests = server.requests();
                let last = requests.last().expect("one was read");
                assert_eq!(last.line(), format!("{method} {target} HTTP/1.1"));
                assert_eq!(last.values("host"), [&address]);
            }
        }
        // A user's name and password in the URL are not for the wire, and a `Host` that is there stays.
        let mut named = request("GET", &format!("http://user:word@{address}/"), "");
        named.headers_mut().insert("host", HeaderValue::from_static("another.example"));
        assert_eq!(end(&transport, named).await, End::Answered(200));
        let last = server.requests().pop().expect("one was read");
        assert_eq!(last.values("host"), ["another.example"]);
        assert!(!last.head.contains("user") && !last.head.contains("word"), "{}", last.head);
    });
}

/// A field that is there several times keeps its values and their order, both ways, and so do opaque bytes.
pub fn header_fields_keep_their_values_in_order<S: Stack>() {
    let server = start(&[&[
        Read,
        write("HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nx: y\r\nset-cookie: b=2\r\nSet-Cookie: \u{e9}\r\n"),
        write("content-length: 0\r\nempty:\r\n\r\n"),
    ]]);
    S::run(async {
        let mut request = request("GET", &server.url(), "");
        for value in ["one", "two", "three", "\u{e9}"] {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("opaque bytes are allowed");
            request.headers_mut().append("x-many", value);
        }
        let (parts, _) = answer(&S::transport(), request).await;
        assert_eq!(server.requests()[0].values("x-many"), ["one", "two", "three", "\u{e9}"]);
        let cookies: Vec<_> = parts.headers.get_all("set-cookie").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(cookies, [b"a=1".as_slice(), b"b=2", "\u{e9}".as_bytes()]);
        assert_eq!(parts.headers["empty"], "");
    });
}

/// No body is waited for where there is none, whatever its length is said to be.
pub fn responses_that_have_no_body<S: Stack>() {
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let server = start(&[&[Read, write(head), Read, write(OK), Drain]]);
        S::run(async {
            let transport = S::transport();
            assert!(answer(&transport, request(method, &server.url(), "")).await.1.is_empty(), "{head}");
            settle::<S>().await;
            // And the connection is none the worse for it.
            assert_eq!(answer(&transport, request("GET", &server.url(), "")).await.1, "ok", "{head}");
            assert_eq!(server.accepted(), 1, "{head}");
        });
    }
}

/// Ten megabytes each way arrive as they were sent.
pub fn large_bodies_go_both_ways<S: Stack>() {
    const LARGE: usize = 10 * 1024 * 1024;
    let large: Bytes = (0..LARGE).map(|index| u8::try_from(index % 251).expect("below 256")).collect();
    let head = Step::write(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
    let server = start(&[&[Read, head, Step::Write(large.to_vec().into()), Drain]]);
    S::run(async {
        let (_, body) = answer(&S::transport(), request("POST", &server.url(), large.clone())).await;
        assert!(body == large, "{} bytes came back", body.len());
        assert!(server.requests()[0].body == large, "{} bytes arrived", server.requests()[0].body.len());
        assert_eq!(server.requests()[0].values("content-length"), [LARGE.to_string()]);
    });
}

/// Chunks are put together; their extensions and trailers do no harm.
pub fn chunked_responses<S: Stack>() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (chunks, want) in [
        ("0\r\n\r\n", ""),
        ("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "abc"),
        ("3;name=value\r\nabc\r\n00\r\ntrailer: x\r\n\r\n", "abc"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    ] {
        let server = start(&[&[Read, write(chunked), write(chunks), Read, write(OK), Drain]]);
        S::run(async {
            let transport = S::transport();
            assert_eq!(answer(&transport, request("GET", &server.url(), "")).await.1, want, "{chunks}");
            settle::<S>().await;
            assert_eq!(answer(&transport, request("GET", &server.url(), "")).await.1, "ok", "{chunks}");
            assert_eq!(server.accepted(), 1, "{chunks}");
        });
    }
}

/// Without a length, the body ends with the connection.
pub fn a_body_that_ends_with_its_connection<S: Stack>() {
    let server = start(&[&[Read, write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end")]]);
    S::run(async {
        assert_eq!(answer(&S::transport(), request("GET", &server.url(), "")).await.1, "to the end");
    });
}

/// The first part is there while the server still has to send the second.
pub fn bodies_arrive_as_they_are_sent<S: Stack>() {
    let server = start(&[&[Read, write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst"), Drain]]);
    S::run(async {
        let response = S::transport().send(request("GET", &server.url(), "")).await.expect("a response");
        let mut body = Box::pin(response.into_body());
        let frame = body.frame().await.expect("not the end").map_err(Into::into).expect("data");
        assert_eq!(frame.into_data().expect("data"), "first");
        assert_eq!(server.open(), 1);
        drop(body);
        assert!(S::comes_true(|| server.open() == 0).await);
    });
}

/// A name leads to its addresses, which are tried in turn: `localhost` may have one where nobody listens.
pub fn names_are_resolved<S: Stack>() {
    let server = start(&[&[Read, write(OK)]]);
    S::run(async {
        let url = format!("http://localhost:{}/", server.address().port());
        assert_eq!(answer(&S::transport(), request("GET", &url, "")).await.1, "ok");
    });
}

/// Redirects are decided before the transport, so it hands them on.
pub fn redirects_are_not_followed<S: Stack>() {
    for status in ["301", "302", "303", "307", "308"] {
        let redirect = format!("HTTP/1.1 {status} Elsewhere\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n");
        let server = start(&[&[Read, Step::write(redirect), Drain]]);
        S::run(async {
            let (parts, _) = answer(&S::transport(), request("GET", &server.url(), "")).await;
            assert_eq!(
                (parts.status.as_str(), &parts.headers["location"]),
                (status, &HeaderValue::from_static("/there"))
            );
            settle::<S>().await;
            assert_eq!(server.requests().len(), 1);
        });
    }
}

/// 100 and 103 precede the response, and are none.
pub fn informational_responses_are_passed_over<S: Stack>() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
    let server = start(&[&[Read, write("HTTP/1.1 100 Continue\r\n\r\n"), write(hints), write(hints), write(OK)]]);
    S::run(async {
        let (parts, body) = answer(&S::transport(), request("POST", &server.url(), "body")).await;
        assert_eq!((parts.status.as_u16(), parts.headers.get("link"), &*body), (200, None, b"ok".as_slice()));
    });
}
