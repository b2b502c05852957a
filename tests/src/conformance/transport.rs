//! One suite that every [`Transport`] passes, against a server that plays each case byte by byte.
//!
//! ```
//! use std::future::Future;
//! use steadfast::{HyperSmolTransport, SmolTimer};
//! use steadfast_tests::conformance::transport::{self, Stack, Task};
//!
//! struct OnSmol;
//!
//! impl Stack for OnSmol {
//!     type Transport = HyperSmolTransport;
//!     type Timer = SmolTimer;
//!
//!     fn run<F: Future>(future: F) -> F::Output {
//!         smol::block_on(future)
//!     }
//!
//!     fn transport() -> HyperSmolTransport {
//!         HyperSmolTransport::new().expect("no TLS is set up")
//!     }
//!
//!     fn timer() -> SmolTimer {
//!         SmolTimer::new()
//!     }
//!
//!     fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
//!         Box::pin(smol::spawn(future))
//!     }
//! }
//!
//! // One case. `steadfast_tests::transport_conformance!(OnSmol)` makes a test of each.
//! transport::methods_and_targets::<OnSmol>();
//! ```
//!
//! Each case is a function here, and a test of the same name where the macro is called.
//!
//! What a transport cannot do, since what it stands on cannot, it declares as a [`Limitation`]. No case is left out for
//! it: the case then holds the transport to what it does instead, and says so in its output.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{Method, Request};
use http_body::Body;
use http_body_util::BodyExt;
use steadfast_client::{RequestBody, Transport, TransportError};
use steadfast_core::outcome::Processed;
use steadfast_core::time::{Clock, Timer};

use crate::scripted_server::{ScriptedServer, Step};

mod answers;
mod cancellation;
mod connections;
mod failures;
mod limitations;
pub mod on_tokio;
mod streams;

pub use answers::*;
pub use cancellation::*;
pub use connections::*;
pub use failures::*;
pub use limitations::Limitation;
pub use streams::*;

/// A test for each case of the suite, on the [`Stack`] that is named.
#[macro_export]
macro_rules! transport_conformance {
    ($stack:ty) => {
        $crate::transport_conformance! { $stack:
            methods_and_targets
            statuses_are_those_of_the_server
            header_fields_keep_their_values_in_order
            responses_that_have_no_body
            large_bodies_go_both_ways
            chunked_responses
            a_body_that_ends_with_its_connection
            bodies_arrive_as_they_are_sent
            names_are_resolved
            redirects_are_not_followed
            informational_responses_are_passed_over
            connections_are_kept_alive
            a_connection_that_is_not_to_be_kept_is_closed
            origins_do_not_share_connections
            a_connection_that_was_closed_while_idle_costs_nothing
            a_request_on_a_kept_connection_is_not_repeated
            bytes_that_nobody_asked_for_answer_nothing
            many_at_once
            where_nobody_listens_nothing_was_sent
            what_cannot_be_sent_was_not_sent
            failures_are_what_they_are
            an_answer_before_the_request_is_whole
            stalls_end_with_the_attempt
            cancelled_at_every_await_point
            streamed_bodies_arrive_whole
            a_body_that_fails_is_not_taken_for_whole
            a_body_that_stalls_is_dropped_with_its_exchange
            a_body_is_not_read_ahead_of_what_is_sent
            a_response_that_nobody_reads_waits_at_the_server
        }
    };
    ($stack:ty: $($case:ident)*) => {
        $(#[test]
        fn $case() {
            $crate::conformance::transport::$case::<$stack>();
        })*
    };
}

/// A runtime, its timer, and a transport.
pub trait Stack {
    /// One that can be spawned with.
    type Transport: Transport<Sending: Send, Body: Body<Error: Send> + Send> + Clone + Send + Sync + 'static;
    /// One that can be spawned with.
    type Timer: Timer<Sleep: Send> + Clone + Send + Sync + 'static;

    /// What the transport cannot do.
    const LIMITATIONS: &'static [Limitation] = &[];

    /// Runs a future on the runtime.
    fn run<F: Future>(future: F) -> F::Output;

    /// A transport with its own connections.
    fn transport() -> Self::Transport;

    /// The runtime's timer.
    fn timer() -> Self::Timer;

    /// A task of its own, which is cancelled when the handle is dropped.
    fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T>;

    /// Whether the transport has this limitation. A case that asks holds it to it, so what it prints is true.
    fn has(limitation: Limitation) -> bool {
        let has = Self::LIMITATIONS.contains(&limitation);
        if has {
            println!("limitation: {limitation}");
        }
        has
    }

    /// Lets so much time pass, in which the runtime does what is left to do.
    fn pass(duration: Duration) -> impl Future<Output = ()> {
        let timer = Self::timer();
        timer.sleep_until(timer.now() + duration)
    }

    /// Waits until something is so, and says whether it came to that within a time that means never.
    fn comes_true(is_so: impl Fn() -> bool) -> impl Future<Output = bool> {
        async move {
            let timer = Self::timer();
            let end = timer.now() + Duration::from_secs(20);
            while !is_so() {
                if timer.now() > end {
                    return false;
                }
                Self::pass(Duration::from_millis(1)).await;
            }
            true
        }
    }
}

/// A task on whichever runtime; dropped, it is cancelled.
pub type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) const MS: Duration = Duration::from_millis(1);

/// The last answer on its connection: the server closes it, and says so.
pub(super) const LAST: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Never sent.
    Never,
    /// Maybe processed: no response.
    Maybe,
    /// A response whose body broke.
    Broken,
    /// A whole response.
    Answered(u16),
}

pub(super) fn start(scripts: &[&[Step]]) -> ScriptedServer {
    ScriptedServer::start(scripts.iter().map(|script| script.to_vec()).collect()).expect("loopback has a free port")
}

pub(super) fn write(text: &'static str) -> Step {
    Step::write(text)
}

pub(super) fn request(method: &str, url: &str, body: impl Into<Bytes>) -> Request<RequestBody> {
    let method = Method::from_bytes(method.as_bytes()).expect("a token");
    Request::builder().method(method).uri(url).body(RequestBody::from(body.into())).expect("a request that can be")
}

/// A request and its response, body and all.
pub(super) async fn exchange<T: Transport>(
    transport: &T,
    request: Request<RequestBody>,
) -> Result<(Parts, Result<Bytes, String>), TransportError> {
    let (parts, body) = transport.send(request).await?.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).map_err(|error| error.into().to_string());
    Ok((parts, body))
}

/// The same, where nothing fails.
pub(super) async fn answer<T: Transport>(transport: &T, request: Request<RequestBody>) -> (Parts, Bytes) {
    let (parts, body) = exchange(transport, request).await.expect("a response");
    (parts, body.expect("a whole body"))
}

pub(super) async fn end<T: Transport>(transport: &T, request: Request<RequestBody>) -> End {
    match exchange(transport, request).await {
        Ok((parts, Ok(_))) => End::Answered(parts.status.as_u16()),
        Ok((_, Err(_))) => End::Broken,
        Err(error) if error.processed() == Processed::No => End::Never,
        Err(_) => End::Maybe,
    }
}

/// The connection is there for the next request, which the server answers on it with [`OK`]; or it has been closed,
/// where none is kept.
pub(super) async fn is_kept<S: Stack>(transport: &S::Transport, server: &ScriptedServer) {
    if S::has(Limitation::NoKeepAlive) {
        assert!(S::comes_true(|| server.open() == 0).await);
    } else {
        settle::<S>().await;
        assert_eq!(answer(transport, request("GET", &server.url(), "")).await.1, "ok");
    }
    assert_eq!(server.accepted(), 1);
}

/// The exchange that was dropped has closed its connection; or it does so when what has the transport is dropped too.
pub(super) async fn is_closed<S: Stack>(server: &ScriptedServer, has_transport: impl Sized) {
    if S::has(Limitation::DroppedWithTransport) {
        drop(has_transport);
    }
    assert!(S::comes_true(|| server.open() == 0).await, "a connection is still open");
}

/// Long enough for a runtime's own tasks to put a connection back, and to notice what the server did to it.
pub(super) async fn settle<S: Stack>() {
    S::pass(30 * MS).await;
}
