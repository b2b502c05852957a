//! Each failure as what it is.

use steadfast_client::{ApiClient, Error};
use steadfast_core::pipeline::Pipeline;
use steadfast_core::retry::Retry;

use super::{End, Limitation, MS, Stack, answer, end, is_closed, request, start, write};
use crate::scripted_server::Step::{self, Drain, Pause, Read, ReadHead, Reset};

/// A refused connection is "never sent".
pub fn where_nobody_listens_nothing_was_sent<S: Stack>() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    S::run(async {
        for method in ["GET", "POST"] {
            assert_eq!(end(&S::transport(), request(method, &url, "body")).await, End::Never);
        }
    });
}

/// So is a URI that leads nowhere.
pub fn what_cannot_be_sent_was_not_sent<S: Stack>() {
    S::run(async {
        for url in ["/no/host", "ftp://127.0.0.1/"] {
            assert_eq!(end(&S::transport(), request("GET", url, "")).await, End::Never, "{url}");
        }
    });
}

/// Before the head is whole, a failure is "maybe processed"; after it, an error of the body. The transport tries nothing again.
pub fn failures_are_what_they_are<S: Stack>() {
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(20_000));
    let long_field = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(4 * 1024 * 1024));
    let chunked = write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let short = write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc");
    let head_first = || Pause(50 * MS);
    let no_body_yet = if S::has(Limitation::HeadComesWithBody) { End::Maybe } else { End::Broken };
    let half_head = if S::has(Limitation::HalfHeadIsBrokenBody) { End::Broken } else { End::Maybe };
    for (script, want) in [
        // Before the head.
        (vec![Read, Reset], End::Maybe),
        (vec![ReadHead, Reset], End::Maybe),
        (vec![Read], End::Maybe),
        (vec![Read, write("HTTP/1.1 200 OK\r\ncont")], half_head),
        (vec![Read, write("HTTP/1.1 200 OK\r\ncont"), head_first(), Reset], End::Maybe),
        // A head that is none.
        (vec![Read, write("\0\u{1}\u{2} garbage\r\n\r\n")], End::Maybe),
        (vec![Read, write("SSH-2.0-OpenSSH_9.9\r\n\r\n")], End::Maybe),
        (vec![Read, write("HTTP/1.1 two hundred\r\n\r\n")], End::Maybe),
        (vec![Read, write("HTTP/1.1 200 OK\r\na b: c\r\n\r\n")], End::Maybe),
        (vec![Read, write("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n")], End::Maybe),
        (vec![Read, write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!")], End::Maybe),
        (vec![Read, Step::write(many_fields), Drain], End::Maybe),
        (vec![Read, Step::write(long_field), Drain], End::Maybe),
        // In the body.
        (vec![Read, short.clone()], End::Broken),
        (vec![Read, short, head_first(), Reset], End::Broken),
        (vec![Read, chunked.clone()], no_body_yet),
        (vec![Read, chunked.clone(), write("3\r\nabc")], End::Broken),
        (vec![Read, chunked.clone(), write("3\r\nabc\r\n")], End::Broken),
        (vec![Read, chunked.clone(), write("3\r\nabc\r\n"), head_first(), Reset], End::Broken),
        (vec![Read, chunked.clone(), write("zz\r\nabc\r\n0\r\n\r\n"), Drain], no_body_yet),
        (vec![Read, chunked.clone(), write("2\r\nabc\r\n0\r\n\r\n"), Drain], End::Broken),
        (vec![Read, chunked, write("ffffffffffffffffff\r\nabc"), Drain], no_body_yet),
    ] {
        for method in ["GET", "POST"] {
            let server = start(&[&script]);
            S::run(async {
                let transport = S::transport();
                let end = end(&transport, request(method, &server.url(), "body")).await;
                let script = format!("{script:.300?}");
                assert_eq!(end, want, "{method}: {script:.300}");
                assert!(S::comes_true(|| server.open() == 0).await, "{method}: {script:.300}");
                // Whatever it was, the transport did not try again.
                assert_eq!((server.accepted(), server.requests().len()), (1, 1), "{method}: {script:.300}");
            });
        }
    }
}

/// A server that has heard enough: the answer counts.
pub fn an_answer_before_the_request_is_whole<S: Stack>() {
    let refused = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
    let server = start(&[&[ReadHead, write(refused), Pause(50 * MS), Drain]]);
    S::run(async {
        let transport = S::transport();
        let (parts, body) = answer(&transport, request("POST", &server.url(), vec![7; 10 * 1024 * 1024])).await;
        assert_eq!((parts.status.as_u16(), &*body), (413, b"no".as_slice()));
        assert!(S::comes_true(|| server.open() == 0).await);
    });
}

/// The attempt timeout of the pipeline is the only one there is, and it closes the socket.
pub fn stalls_end_with_the_attempt<S: Stack>() {
    let head = || write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    let interim = || write("HTTP/1.1 100 Continue\r\n\r\n");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for script in [
        // Deaf as well as silent, for longer than the client waits.
        vec![Pause(300 * MS), Drain],
        vec![ReadHead, Pause(300 * MS), Drain],
        vec![Drain],
        vec![Read, Drain],
        vec![Read, interim(), Drain],
        vec![Read, write("HTTP/1.1 20"), Drain],
        vec![Read, write("HTTP/1.1 200 OK\r\ncontent-"), Drain],
        vec![Read, head(), Drain],
        vec![Read, head(), write("ab"), Drain],
        vec![Read, write(chunked), Drain],
    ] {
        let server = start(&[&script]);
        let retry = Retry::builder().max_attempts(1).build().expect("one attempt is allowed");
        let pipeline = Pipeline::builder().attempt_timeout(100 * MS).retry(retry).build().expect("they agree");
        S::run(async {
            let client = ApiClient::builder(&server.url(), S::transport(), S::timer());
            let client = client.pipeline(pipeline).build().expect("a client");
            // More than the buffers of both sides hold.
            let error = client.post("x").body(vec![7; 10 * 1024 * 1024]).send().await.expect_err("no answer");
            // A 1xx that ends the exchange does so when the body has been sent, in time or not.
            let is_ended = script.contains(&interim())
                && S::has(Limitation::NoInterimResponses)
                && matches!(error, Error::Connection { .. });
            assert!(is_ended || matches!(error, Error::AttemptTimeout(_)), "{script:?}: {error}");
            is_closed::<S>(&server, client).await;
            assert_eq!(server.accepted(), 1, "{script:?}");
        });
    }
}
