//! Bodies of requests that come as streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use steadfast_client::{RequestBody, Transport};

use super::{End, MS, OK, Stack, answer, end, is_closed, request, start, write};
use crate::scripted_server::Step::{self, Drain, Pause, Read, ReadHead};

type Part = Result<Bytes, &'static str>;

fn upload(url: &str, body: RequestBody) -> Request<RequestBody> {
    request("POST", url, "").map(|_| body)
}

/// So many parts of 64 KiB, and how many of them have been asked for.
fn parts(many: usize) -> (impl Stream<Item = Part> + Send, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&asked);
    let part = Bytes::from_static(&[7; 64 * 1024]);
    let parts = (0..many).map(move |_| {
        counts.fetch_add(1, Ordering::SeqCst);
        Ok(part.clone())
    });
    (stream::iter(parts), asked)
}

/// Ten megabytes arrive whole: in chunks, or with their length where that is known.
pub fn streamed_bodies_arrive_whole<S: Stack>() {
    const MANY: usize = 160;
    let server = start(&[&[Read, write(OK), Read, write(OK), Drain]]);
    S::run(async {
        let transport = S::transport();
        for length in [None, Some(MANY * 64 * 1024)] {
            let mut body = RequestBody::stream(parts(MANY).0);
            if let Some(length) = length {
                body = body.with_length(length as u64);
            }
            assert_eq!(answer(&transport, upload(&server.url(), body)).await.1, "ok");
            let got = server.requests().pop().expect("it was read");
            assert_eq!(got.body.len(), MANY * 64 * 1024);
            match length {
                Some(length) => assert_eq!(got.values("content-length"), [length.to_string()]),
                None => assert_eq!(got.values("transfer-encoding"), ["chunked"]),
            }
        }
    });
}

/// A body that fails is broken off: the server never has a request that looks whole.
pub fn a_body_that_fails_is_not_taken_for_whole<S: Stack>() {
    let failing = |parts: usize| {
        let good = (0..parts).map(|_| Part::Ok(Bytes::from_static(b"good")));
        // Not at once, so that what is good has left.
        let mut turns = 0;
        let waits = stream::poll_fn(move |cx| {
            turns += 1;
            if turns > 100 {
                return Poll::Ready(None);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        stream::iter(good).chain(waits).chain(stream::iter([Err("disk gone")]))
    };
    let short = || RequestBody::stream(stream::iter([Part::Ok(Bytes::from_static(b"good"))]));
    let bodies: [&dyn Fn() -> RequestBody; 6] = [
        &|| RequestBody::stream(failing(0)),
        &|| RequestBody::stream(failing(2)),
        &|| RequestBody::stream(failing(2)).with_length(12),
        &|| RequestBody::stream(failing(2)).with_length(8),
        &|| short().with_length(5),
        &|| short().with_length(3),
    ];
    for (index, body) in bodies.iter().enumerate() {
        let server = start(&[&[Read, write(OK), Drain]]);
        S::run(async {
            let transport = S::transport();
            let end = end(&transport, upload(&server.url(), body())).await;
            assert!(matches!(end, End::Never | End::Maybe), "{index}: {end:?}");
            assert!(S::comes_true(|| server.open() == 0).await, "{index}");
            assert!(server.requests().is_empty(), "{index}: {:?}", server.requests());
        });
    }
}

/// A body that has nothing to send for a while holds nobody up, and dropped, its connection is closed.
pub fn a_body_that_stalls_is_dropped_with_its_exchange<S: Stack>() {
    for first in [&b""[..], b"first"] {
        let server = start(&[&[ReadHead, Drain]]);
        S::run(async {
            let transport = S::transport();
            let stalls = stream::iter([Part::Ok(Bytes::from_static(first))]).chain(stream::pending());
            let sending = S::spawn({
                let (transport, upload) = (transport.clone(), upload(&server.url(), RequestBody::stream(stalls)));
                async move { transport.send(upload).await.map(drop) }
            });
            assert!(S::comes_true(|| server.requests().len() == 1).await);
            drop(sending);
            is_closed::<S>(&server, transport).await;
        });
    }
}

/// A stream is asked for no more than the server takes, and what buffers on the way hold.
pub fn a_body_is_not_read_ahead_of_what_is_sent<S: Stack>() {
    // Deaf until the bytes have had the time to pile up.
    let server = start(&[&[ReadHead, Pause(300 * MS), Drain]]);
    S::run(async {
        let (body, asked) = parts(usize::MAX);
        let transport = S::transport();
        let sending = S::spawn({
            let (transport, upload) = (transport.clone(), upload(&server.url(), RequestBody::stream(body)));
            async move { transport.send(upload).await.map(drop) }
        });
        assert!(S::comes_true(|| server.requests().len() == 1).await);
        S::pass(Duration::from_millis(150)).await;
        // Of a gigabyte a second, that would be 2,400.
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked < 400, "{asked} parts of 64 KiB");
        drop(sending);
        is_closed::<S>(&server, transport).await;
    });
}

/// The server sends no faster than its answer is read, but for what buffers on the way hold.
pub fn a_response_that_nobody_reads_waits_at_the_server<S: Stack>() {
    const LARGE: usize = 64 * 1024 * 1024;
    let head = Step::write(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
    let server = start(&[&[Read, head, Step::Write(vec![7; LARGE].into()), Drain]]);
    S::run(async {
        let response = S::transport().send(request("GET", &server.url(), "")).await.expect("a response");
        S::pass(Duration::from_millis(150)).await;
        let written = server.written();
        assert!(written < LARGE / 4, "{written} bytes");
        let mut body = Box::pin(response.into_body());
        let frame = body.frame().await.expect("not the end").map_err(Into::into).expect("data");
        assert!(frame.into_data().expect("data").len() < LARGE / 4);
        drop(body);
        assert!(S::comes_true(|| server.open() == 0).await);
    });
}
