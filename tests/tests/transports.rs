//! Every transport that we have passes the suite.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use steadfast::{HyperSmolTransport, RequestBody, Transport};
use steadfast_tests::conformance::transport::Stack;
use steadfast_tests::scripted_server::Step::{Drain, Pause, Read};
use steadfast_tests::scripted_server::{ScriptedServer, Step};

use crate::stack::{HyperSmol, on_every_stack};

mod ac_07_reqwest {
    steadfast_tests::transport_conformance!(crate::stack::Reqwest);
}

mod ac_07_hyper_tokio {
    steadfast_tests::transport_conformance!(crate::stack::HyperTokio);
}

mod ac_07_hyper_smol {
    steadfast_tests::transport_conformance!(crate::stack::HyperSmol);
}

/// A body of unknown length goes with any method: hyper would leave out that of a GET, and nobody would know.
async fn a_stream_is_never_sent_empty<S: Stack>() {
    for method in ["GET", "HEAD", "DELETE", "POST", "PURGE"] {
        let server = ScriptedServer::start(vec![vec![Read, Step::write("HTTP/1.1 204 None\r\n\r\n")]]).unwrap();
        let parts = ["con", "tent"].map(|part| Ok::<_, std::io::Error>(bytes::Bytes::from(part)));
        let body = RequestBody::stream(futures_util::stream::iter(parts));
        let request = Request::builder().method(method).uri(server.url()).body(body).unwrap();
        assert_eq!(S::transport().send(request).await.expect("a response").status(), 204);
        assert_eq!(server.requests()[0].body, b"content", "{method}");
        assert_eq!(server.requests()[0].values("transfer-encoding"), ["chunked"], "{method}");
    }
}

on_every_stack! {
    a_stream_is_never_sent_empty
}

/// Where reqwest follows redirects by itself, that nobody answers in the end does not mean that nobody was asked before.
#[test]
fn what_reqwest_has_redirected_may_have_been_acted_on() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let answer = format!("HTTP/1.1 303 x\r\nlocation: http://{nobody}/\r\ncontent-length: 0\r\n\r\n");
    let server = ScriptedServer::start(vec![vec![Read, Step::write(answer)]]).unwrap();
    crate::stack::Reqwest::run(async {
        let client = steadfast_reqwest::reqwest::Client::builder().no_proxy().build().unwrap();
        let request = Request::post(server.url()).body(RequestBody::from("body")).unwrap();
        let error = steadfast::ReqwestTransport::with_client(client).send(request).await.expect_err("no response");
        assert_eq!(error.processed(), steadfast::core::outcome::Processed::Maybe);
    });
}

/// An address that does not answer: a listener whose backlog is full, and whatever fills it.
mod connect_timeout {
    use std::net::{SocketAddr, TcpStream};

    use steadfast::{ApiClient, Error, HyperTokioTransport, ReqwestTransport};
    use steadfast_tests::conformance::transport::on_tokio;
    use tokio::net::TcpSocket;

    use super::*;
    use crate::stack::{HyperTokio, Reqwest};

    const TIMEOUT: Duration = Duration::from_millis(100);

    /// Calls `test` with an address that neither takes a connection nor refuses it.
    fn with_address(test: impl FnOnce(SocketAddr) + Send) {
        on_tokio::run(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
            let address = socket.local_addr().expect("it is bound");
            let _listener = socket.listen(1).expect("it listens");
            let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
            let filled: Vec<_> = std::iter::from_fn(|| connect().ok()).take(100).collect();
            assert!(filled.len() < 100, "the backlog has no end");
            std::thread::scope(|scope| {
                // On a thread of its own, since there is a runtime on this one.
                scope.spawn(|| test(address)).join().expect("it passes");
            });
        });
    }

    /// Sends nothing, says so in time, and repeats a POST therefore.
    fn check<S: Stack>(transport: S::Transport) {
        with_address(|address| {
            S::run(async {
                let client = ApiClient::builder(&format!("http://{address}"), transport, S::timer()).build().unwrap();
                let error = client.post("items").json(&[1]).send().await.unwrap_err();
                assert!(matches!(error, Error::Connection { .. }), "{error:?}");
                // With the default of 5 s, the first attempt would have taken longer than all of them may.
                let failure = error.failure().unwrap();
                assert_eq!(failure.attempts(), 3, "{error}");
                assert!(failure.elapsed() >= 3 * TIMEOUT && failure.elapsed() < Duration::from_secs(5), "{error}");
            });
        });
    }

    #[test]
    fn what_is_late_was_never_sent_with_reqwest() {
        let client = ReqwestTransport::builder().connect_timeout(TIMEOUT).build().expect("no TLS");
        check::<Reqwest>(ReqwestTransport::with_client(client).without_redirects());
    }

    #[test]
    fn what_is_late_was_never_sent_with_hyper_on_tokio() {
        check::<HyperTokio>(HyperTokioTransport::new().expect("no TLS").with_connect_timeout(TIMEOUT));
    }

    #[test]
    fn what_is_late_was_never_sent_with_hyper_on_smol() {
        check::<HyperSmol>(HyperSmolTransport::new().expect("no TLS").with_connect_timeout(TIMEOUT));
    }

    /// That a setting is there says nothing of its default.
    #[test]
    fn the_default_is_5_s_for_all() {
        with_address(|address| {
            let times = std::thread::scope(|scope| {
                fn time<S: Stack>(address: SocketAddr) -> Duration {
                    S::run(async {
                        let request = Request::get(format!("http://{address}")).body(RequestBody::default());
                        let start = std::time::Instant::now();
                        let error = S::transport().send(request.expect("a request")).await.err().expect("no response");
                        assert_eq!(error.processed(), steadfast::core::outcome::Processed::No);
                        start.elapsed()
                    })
                }
                let times = [time::<Reqwest>, time::<HyperTokio>, time::<HyperSmol>];
                times.map(|time| scope.spawn(move || time(address))).map(|time| time.join().expect("it passes"))
            });
            // A bound from below, and one that only the pipeline's own ten seconds would exceed.
            let seconds = Duration::from_secs;
            assert!(times.iter().all(|time| *time >= seconds(5) && *time < seconds(9)), "{times:?}");
        });
    }
}

/// smol's own pool, which nothing outside watches over.
mod pool {
    use super::*;

    /// So many exchanges at once, and then the connections that are left.
    fn left_open(transport: &HyperSmolTransport, server: &ScriptedServer, exchanges: usize) -> usize {
        HyperSmol::run(async {
            let exchange = |_| {
                let (transport, request) = (transport.clone(), Request::get(server.url()));
                HyperSmol::spawn(async move {
                    let request = request.body(RequestBody::default()).expect("a request that can be");
                    let response = transport.send(request).await.expect("a response");
                    response.into_body().collect().await.expect("a whole body").to_bytes()
                })
            };
            for exchange in (0..exchanges).map(exchange).collect::<Vec<_>>() {
                assert_eq!(exchange.await, "ok");
            }
            HyperSmol::pass(Duration::from_millis(30)).await;
            server.open()
        })
    }

    fn server(pause: Duration) -> ScriptedServer {
        let answer = Step::write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        ScriptedServer::start(vec![vec![Read, Pause(pause), answer, Drain]]).expect("loopback has a free port")
    }

    #[test]
    fn it_keeps_no_more_connections_than_it_may() {
        for (max_idle, left) in [(0, 0), (2, 2), (100, 6)] {
            // Slow enough that all six are under way at once.
            let server = server(Duration::from_millis(100));
            let transport = HyperSmolTransport::new().expect("no TLS").with_max_idle(max_idle);
            assert_eq!(left_open(&transport, &server, 6), left, "of {max_idle}");
        }
    }

    #[test]
    fn what_was_idle_for_too_long_is_closed_at_the_next_use() {
        let servers = [(); 2].map(|()| server(Duration::ZERO));
        let transport = HyperSmolTransport::new().expect("no TLS").with_idle_timeout(Duration::from_millis(1));
        assert_eq!(left_open(&transport, &servers[0], 1), 1);
        assert_eq!(left_open(&transport, &servers[1], 1), 1);
        assert!(servers[0].comes_to(0));
    }
}
