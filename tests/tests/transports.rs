//! Every transport that we have passes the suite.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use steadfast::{HyperSmolTransport, RequestBody, Transport};
use steadfast_tests::conformance::transport::Stack;
use steadfast_tests::scripted_server::Step::{Drain, Pause, Read};
use steadfast_tests::scripted_server::{ScriptedServer, Step};

use crate::stack::HyperSmol;

mod ac_07_reqwest {
    steadfast_tests::transport_conformance!(crate::stack::Reqwest);
}

mod ac_07_hyper_tokio {
    steadfast_tests::transport_conformance!(crate::stack::HyperTokio);
}

mod ac_07_hyper_smol {
    steadfast_tests::transport_conformance!(crate::stack::HyperSmol);
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
