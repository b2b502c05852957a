//! What comes back when nothing fails.

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt;
use steadfast_client::Transport;

use super::{End, LAST, Limitation, OK, Stack, answer, end, is_kept, request, settle, start, write};
use crate::scripted_server::Step::{self, Drain, Read};

/// The last is in no standard.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"];

/// The request line and `Host` are those of the URI, for every method.
pub fn methods_and_targets<S: Stack>() {
    let server = start(&[&[Read, write(LAST)]]);
    let (url, address) = (server.url(), server.address().to_string());
    S::run(async {
        let transport = S::transport();
        let sent: &[_] = if S::has(Limitation::NoOtherMethods) {
            assert_eq!(end(&transport, request("PURGE", &url, "")).await, End::Never);
            &METHODS[..6]
        } else {
            &METHODS
        };
        for method in sent {
            for (path, target) in [("", "/"), ("/", "/"), ("/a/b?x=1&y=%20&y=z", "/a/b?x=1&y=%20&y=z"), ("?q", "/?q")] {
                assert_eq!(end(&transport, request(method, &format!("{url}{path}"), "")).await, End::Answered(200));
                let requests = server.requests();
                let last = requests.last().expect("one was read");
                assert_eq!(last.line(), format!("{method} {target} HTTP/1.1"));
                assert_eq!(last.values("host"), [&address]);
            }
        }
        // A user's name and password in the URL are not for the wire, and a `Host` that is there stays.
        let mut named = request("GET", &format!("http://somebody:word@{address}/"), "");
        named.headers_mut().insert("host", HeaderValue::from_static("another.example"));
        assert_eq!(end(&transport, named).await, End::Answered(200));
        let last = server.requests().pop().expect("one was read");
        assert_eq!(last.values("host"), ["another.example"]);
        assert!(!last.head.contains("somebody") && !last.head.contains("word"), "{}", last.head);
        assert_eq!(last.values("authorization"), [""; 0]);
    });
}

/// Whatever they mean, and whether they mean anything: 529 is what some servers say when they are overloaded.
pub fn statuses_are_those_of_the_server<S: Stack>() {
    for status in [200, 206, 299, 400, 404, 429, 451, 500, 503, 529, 599] {
        let head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n");
        let server = start(&[&[Read, Step::write(head)]]);
        S::run(async {
            let is_strange = matches!(status, 299 | 529 | 599) && S::has(Limitation::NoOtherStatuses);
            let want = if is_strange { End::Maybe } else { End::Answered(status) };
            assert_eq!(end(&S::transport(), request("GET", &server.url(), "")).await, want, "{status}");
        });
    }
}

/// A field that is there several times keeps its values and their order, both ways, and so do opaque bytes.
pub fn header_fields_keep_their_values_in_order<S: Stack>() {
    let fields = |cookie| {
        let fields = format!("set-cookie: a=1\r\nx: y\r\nset-cookie: b=2\r\nSet-Cookie: {cookie}\r\n");
        Step::write(format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\nempty:\r\n\r\n"))
    };
    let exchange = async |last: &str| {
        let server = start(&[&[Read, fields(last.to_owned())]]);
        let mut request = request("GET", &server.url(), "");
        for value in ["one", "two", "three", last] {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("opaque bytes are allowed");
            request.headers_mut().append("x-many", value);
        }
        let (parts, _) = answer(&S::transport(), request).await;
        let many = server.requests()[0].values("x-many").join("\n");
        if S::has(Limitation::ListsInOneField) {
            assert_eq!(many, format!("one, two, three, {last}"));
        } else {
            assert_eq!(many, format!("one\ntwo\nthree\n{last}"));
        }
        let cookies: Vec<_> = parts.headers.get_all("set-cookie").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(cookies, [b"a=1".as_slice(), b"b=2", last.as_bytes()]);
        assert_eq!(parts.headers["empty"], "");
    };
    S::run(async {
        exchange("four").await;
        if !S::has(Limitation::OnlyAsciiFields) {
            return exchange("\u{e9}").await;
        }
        let server = start(&[&[Read, fields("\u{e9}".to_owned())]]);
        let mut strange = request("GET", &server.url(), "");
        let value = HeaderValue::from_bytes("\u{e9}".as_bytes()).expect("opaque bytes are allowed");
        strange.headers_mut().append("x", value);
        assert_eq!(end(&S::transport(), strange).await, End::Never);
        assert_eq!(end(&S::transport(), request("GET", &server.url(), "")).await, End::Maybe);
        assert_eq!(server.requests().len(), 1);
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
            if method == "HEAD" && S::has(Limitation::NoHead) {
                return assert_eq!(end(&transport, request(method, &server.url(), "")).await, End::Never);
            }
            assert!(answer(&transport, request(method, &server.url(), "")).await.1.is_empty(), "{head}");
            // And the connection is none the worse for it.
            is_kept::<S>(&transport, &server).await;
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
            let (transport, request) = (S::transport(), request("GET", &server.url(), ""));
            if chunks.contains(';') && S::has(Limitation::NoChunkExtensions) {
                return assert_eq!(end(&transport, request).await, End::Broken);
            }
            assert_eq!(answer(&transport, request).await.1, want, "{chunks}");
            is_kept::<S>(&transport, &server).await;
        });
    }
}

/// Without a length, the body ends with the connection.
pub fn a_body_that_ends_with_its_connection<S: Stack>() {
    let server = start(&[&[Read, write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end")]]);
    S::run(async {
        let (transport, request) = (S::transport(), request("GET", &server.url(), ""));
        if S::has(Limitation::NoBodyWithoutLength) {
            return assert_eq!(end(&transport, request).await, End::Broken);
        }
        assert_eq!(answer(&transport, request).await.1, "to the end");
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
        let (transport, request) = (S::transport(), request("POST", &server.url(), "body"));
        if S::has(Limitation::NoInterimResponses) {
            return assert_eq!(end(&transport, request).await, End::Maybe);
        }
        let (parts, body) = answer(&transport, request).await;
        assert_eq!((parts.status.as_u16(), parts.headers.get("link"), &*body), (200, None, b"ok".as_slice()));
    });
}
