//! Which connection a request goes over, and what becomes of it.

use std::iter;

use super::{End, Limitation, MS, OK, Stack, answer, end, request, settle, start, write};
use crate::scripted_server::Step::{Drain, Pause, Read, Reset};

/// Requests that follow each other share a connection, and it is closed with the transport.
pub fn connections_are_kept_alive<S: Stack>() {
    let script: Vec<_> = iter::repeat_n([Read, write(OK)], 5).flatten().chain([Drain]).collect();
    let server = start(&[&script]);
    S::run(async {
        let transport = S::transport();
        for _ in 0..5 {
            assert_eq!(answer(&transport, request("POST", &server.url(), "body")).await.1, "ok");
            settle::<S>().await;
        }
        if S::has(Limitation::NoKeepAlive) {
            assert_eq!(server.accepted(), 5);
        } else {
            assert_eq!((server.accepted(), server.open()), (1, 1));
        }
        drop(transport);
        assert!(S::comes_true(|| server.open() == 0).await);
    });
}

/// The server says that it will not keep the connection, and leaves it to the client to close.
pub fn a_connection_that_is_not_to_be_kept_is_closed<S: Stack>() {
    for head in ["HTTP/1.1 200 OK\r\nconnection: close\r\n", "HTTP/1.0 200 OK\r\n"] {
        let server = start(&[&[Read, write(head), write("content-length: 2\r\n\r\nok"), Drain]]);
        S::run(async {
            let (transport, request) = (S::transport(), request("GET", &server.url(), ""));
            if head.starts_with("HTTP/1.0") && S::has(Limitation::NoHttp10) {
                assert_eq!(end(&transport, request).await, End::Maybe);
            } else {
                assert_eq!(answer(&transport, request).await.1, "ok");
            }
            assert!(S::comes_true(|| server.open() == 0).await, "{head}");
        });
    }
}

/// A connection is used for its own origin only.
pub fn origins_do_not_share_connections<S: Stack>() {
    let servers = [(); 2].map(|()| start(&[&[Read, write(OK), Drain]]));
    S::run(async {
        let transport = S::transport();
        for server in &servers {
            assert_eq!(answer(&transport, request("GET", &server.url(), "")).await.1, "ok");
            settle::<S>().await;
            assert_eq!(server.accepted(), 1);
        }
    });
}

/// An idle connection that the server closed is found out before a request is lost on it.
pub fn a_connection_that_was_closed_while_idle_costs_nothing<S: Stack>() {
    // Not before the connection is back in the pool.
    let server = start(&[&[Read, write(OK), Pause(50 * MS)], &[Read, write(OK), Drain]]);
    S::run(async {
        let transport = S::transport();
        assert_eq!(answer(&transport, request("GET", &server.url(), "")).await.1, "ok");
        assert!(S::comes_true(|| server.open() == 0).await);
        settle::<S>().await;
        // Not even for a request that must not be sent twice.
        assert_eq!(answer(&transport, request("POST", &server.url(), "body")).await.1, "ok");
        assert_eq!((server.accepted(), server.requests().len()), (2, 2));
    });
}

/// The server has read it, so nobody but the caller may decide to send it again.
pub fn a_request_on_a_kept_connection_is_not_repeated<S: Stack>() {
    for last in [vec![Read, Reset], vec![Read]] {
        let script = [vec![Read, write(OK)], last].concat();
        let server = start(&[&script, &[Read, write(OK), Drain]]);
        S::run(async {
            let transport = S::transport();
            assert_eq!(answer(&transport, request("GET", &server.url(), "")).await.1, "ok");
            settle::<S>().await;
            // Where none is kept, it goes over another, on which nothing goes wrong.
            let (want, accepted) =
                if S::has(Limitation::NoKeepAlive) { (End::Answered(200), 2) } else { (End::Maybe, 1) };
            assert_eq!(end(&transport, request("POST", &server.url(), "body")).await, want, "{script:?}");
            assert_eq!((server.accepted(), server.requests().len()), (accepted, 2), "{script:?}");
        });
    }
}

/// What follows a response unasked is nobody's answer: least of all the next request's.
pub fn bytes_that_nobody_asked_for_answer_nothing<S: Stack>() {
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for unasked in [vec![write(OK), write(forged)], vec![write(OK), Pause(5 * MS), write(forged)]] {
        let script = [vec![Read], unasked, vec![Drain]].concat();
        let server = start(&[&script, &[Read, write(OK), Drain]]);
        S::run(async {
            let transport = S::transport();
            for _ in 0..2 {
                assert_eq!(answer(&transport, request("GET", &server.url(), "")).await.1, "ok", "{script:?}");
                settle::<S>().await;
            }
            assert_eq!(server.accepted(), 2, "{script:?}");
        });
    }
}

/// A hundred at once are all answered, and leave no socket behind.
pub fn many_at_once<S: Stack>() {
    let server = start(&[&[Read, Pause(10 * MS), write(OK), Drain]]);
    S::run(async {
        let transport = S::transport();
        let exchanges: Vec<_> = (0..100)
            .map(|index| {
                let (transport, request) = (transport.clone(), request("POST", &server.url(), index.to_string()));
                S::spawn(async move { answer(&transport, request).await.1 })
            })
            .collect();
        for exchange in exchanges {
            assert_eq!(exchange.await, "ok");
        }
        assert_eq!(server.requests().len(), 100);
        drop(transport);
        assert!(S::comes_true(|| server.open() == 0).await);
    });
}
