//! The client against a real server, over real sockets, on a real clock: what the clock for tests cannot show.
//!
//! Bounds on time are generous: they catch a wait that is missing or endless, not a slow machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde::Deserialize;
use steadfast::core::concurrency::ConcurrencyLimit;
use steadfast::core::retry::budget::Budget;
use steadfast::{
    ApiClient, ApiClientBuilder, Auth, Backoff, CircuitBreaker, Error, Pipeline, Quota, Rejected, Retry, TokenBucket,
};
use steadfast_tests::conformance::transport::{Stack, Task};
use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};

use crate::stack::on_every_stack;
use crate::support::slow_server::SlowServer;

type Client<S> = ApiClient<<S as Stack>::Transport, <S as Stack>::Timer>;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize)]
struct Item {
    id: u32,
}

/// A server with these faults, and no limit of its own.
fn server(faults: Faults) -> FaultyServer {
    let settings = Settings { faults, requests_per_second: 10_000, burst: 10_000, ..Settings::default() };
    FaultyServer::start(settings).expect("loopback has a free port")
}

fn client<S: Stack>(url: &str) -> ApiClientBuilder<S::Transport, S::Timer> {
    ApiClient::builder(url, S::transport(), S::timer())
}

/// So many calls at once, each a task of its own.
fn spawn<S: Stack>(client: &Client<S>, calls: u32) -> Vec<Task<Result<(), Error>>> {
    let call = |index| {
        let client = client.clone();
        S::spawn(async move { client.get(&format!("items/{index}")).send().await.map(drop) })
    };
    (0..calls).map(call).collect()
}

async fn it_01_ac_01_requests_are_made_and_responses_processed<S: Stack>() {
    let server = server(Faults::NONE);
    let client = client::<S>(&server.url()).build().unwrap();
    let item: Item = client.get("items/7").send().await.unwrap().json().unwrap();
    assert_eq!(item.id, 7);
    let echo: Vec<u32> = client.post("items").json(&[1, 2, 3]).send().await.unwrap().json().unwrap();
    assert_eq!(echo, [1, 2, 3]);
    assert_eq!(server.report().requests, 2);
}

async fn it_02_ac_03_errors_of_the_server_are_mapped<S: Stack>() {
    let server = server(Faults { unavailable: 100, ..Faults::NONE });
    let pipeline = Pipeline::builder().retry(Retry::builder().max_attempts(1).build().unwrap()).build().unwrap();
    let client = client::<S>(&server.url()).pipeline(pipeline).build().unwrap();
    let missing = client.get("nothing/here").send().await.unwrap_err();
    assert!(matches!(missing, Error::NotFound(_)), "{missing}");
    let failed = client.get("items/1").send().await.unwrap_err();
    assert!(matches!(failed, Error::Server(_)) && failed.is_retryable(), "{failed}");
    assert_eq!(failed.failure().unwrap().rejected(), Some(Rejected::AttemptsSpent { max_attempts: 1 }));
}

async fn it_02_each_way_in_which_a_connection_fails_is_told_apart<S: Stack>() {
    let retry = || Retry::builder().max_attempts(1).build().unwrap();
    let pipeline = || Pipeline::builder().attempt_timeout(SECOND / 2).retry(retry()).build().unwrap();
    for (faults, want) in [
        (Faults { reset: 100, ..Faults::NONE }, "connection"),
        (Faults { cut_short: 100, ..Faults::NONE }, "connection"),
        (Faults { stall: 100, ..Faults::NONE }, "timeout"),
    ] {
        let server = server(faults);
        let client = client::<S>(&server.url()).pipeline(pipeline()).build().unwrap();
        let error = client.get("items/1").send().await.unwrap_err();
        let got = match &error {
            Error::Connection { .. } => "connection",
            Error::AttemptTimeout(_) => "timeout",
            _ => "another",
        };
        assert_eq!(got, want, "{faults:?}: {error}");
    }
}

async fn it_02_a_post_is_repeated_where_it_was_never_sent_and_only_there<S: Stack>() {
    // Nobody listens where somebody did.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = |url: &str| client::<S>(url).build().unwrap();
    let refused = client(&format!("http://{nobody}")).post("items").json(&[1]).send().await.unwrap_err();
    // A client that has had no answer yet may repeat twice: that is what its budget holds in reserve.
    assert_eq!(refused.failure().unwrap().attempts(), 3, "{refused}");

    let server = server(Faults { reset: 100, ..Faults::NONE });
    let reset = client(&server.url()).post("items").json(&[1]).send().await.unwrap_err();
    assert_eq!(reset.failure().unwrap().rejected(), Some(Rejected::NotIdempotent), "{reset}");
    assert_eq!(server.report().requests, 1);
}

async fn it_02_no_secret_is_in_an_error_whatever_the_transport_says<S: Stack>() {
    let retry = || Retry::builder().max_attempts(1).build().unwrap();
    let pipeline = || Pipeline::builder().attempt_timeout(SECOND / 5).retry(retry()).build().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = [
        Faults { unavailable: 100, ..Faults::NONE },
        Faults { reset: 100, ..Faults::NONE },
        Faults { cut_short: 100, ..Faults::NONE },
        Faults { stall: 100, ..Faults::NONE },
    ]
    .map(server);
    let urls = servers.iter().map(FaultyServer::url).chain([format!("http://{nobody}")]);
    for url in urls {
        let auth = Auth::api_key_in_query("key", "s3cret");
        let client = client::<S>(&url).auth(auth).header("cookie", "s3cret").pipeline(pipeline()).build().unwrap();
        let request = client.get("items/1").query("token", "s3cret").header("authorization", "Bearer s3cret");
        let error = request.body("s3cret").send().await.unwrap_err();
        let mut printed = format!("{error} {error:?} {error:#?} {client:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            printed += &format!("{error} {error:?}");
            source = error.source();
        }
        assert!(printed.contains("/items/1") && !printed.contains("s3cret"), "{printed}");
    }
}

async fn it_03_ac_02_sockets_are_closed_after_every_kind_of_end<S: Stack>() {
    let faults = Faults { unavailable: 20, reset: 20, cut_short: 20, stall: 20 };
    let server = server(faults);
    let pipeline = Pipeline::builder().attempt_timeout(SECOND / 5).without_circuit_breaker().build().unwrap();
    let client = client::<S>(&server.url()).pipeline(pipeline).build().unwrap();
    let calls = spawn::<S>(&client, 40);
    // Every other call is dropped wherever it stands.
    for (index, call) in calls.into_iter().enumerate() {
        if index % 2 == 1 {
            let _ = call.await;
        }
    }
    drop(client);
    assert!(S::comes_true(|| server.report().open_connections == 0).await, "{:?}", server.report());
}

async fn it_03_a_shutdown_leaves_no_socket_and_no_call<S: Stack>() {
    let server = server(Faults { stall: 100, ..Faults::NONE });
    let slots = ConcurrencyLimit::fixed(4).build().unwrap();
    let pipeline = Pipeline::builder().concurrency_limit(slots).build().unwrap();
    let client = client::<S>(&server.url()).pipeline(pipeline).build().unwrap();
    let calls = spawn::<S>(&client, 10);
    assert!(S::comes_true(|| server.report().requests == 4 && client.waiting() == 6).await);
    let stopped = client.shut_down(SECOND / 100).await;
    assert_eq!((stopped.finished, stopped.cancelled), (0, 4));
    let (mut refused, mut cancelled) = (0, 0);
    for call in calls {
        match call.await.unwrap_err() {
            Error::ShutDown(_) => refused += 1,
            Error::Cancelled(_) => cancelled += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((refused, cancelled, client.running(), client.waiting()), (6, 4, 0, 0));
    let late = client.clone().get("items/1").send().await.unwrap_err();
    assert!(matches!(late, Error::ShutDown(_)), "{late}");
    drop(client);
    assert!(S::comes_true(|| server.report().open_connections == 0).await, "{:?}", server.report());
    assert_eq!(server.report().requests, 4);
}

async fn it_04_ac_04_requests_are_spaced_by_the_limit_in_real_time<S: Stack>() {
    let server = server(Faults::NONE);
    let limit = TokenBucket::new(Quota::per_second(50).unwrap());
    let pipeline = Pipeline::builder().rate_limit(limit).build().unwrap();
    let client = client::<S>(&server.url()).pipeline(pipeline).build().unwrap();
    let start = Instant::now();
    for call in spawn::<S>(&client, 26) {
        call.await.unwrap();
    }
    // The first goes at once, and twenty-five follow 20 ms apart.
    assert!(start.elapsed() >= SECOND / 2, "{:?}", start.elapsed());
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
}

async fn it_05_rate_and_concurrency_limits_hold_together<S: Stack>() {
    // Of the two, the rate is what holds back calls that take no time, and the slots those that take long.
    for (takes, calls, at_least) in [(Duration::ZERO, 11, SECOND / 5), (SECOND / 10, 9, SECOND * 4 / 10)] {
        let server = SlowServer::start(takes);
        let limit = TokenBucket::new(Quota::per_second(50).unwrap());
        let slots = ConcurrencyLimit::fixed(2).build().unwrap();
        let pipeline = Pipeline::builder().rate_limit(limit).concurrency_limit(slots).build().unwrap();
        let client = client::<S>(&server.url()).pipeline(pipeline).build().unwrap();
        let start = Instant::now();
        for call in spawn::<S>(&client, u32::try_from(calls).unwrap()) {
            call.await.unwrap();
        }
        assert!(start.elapsed() >= at_least && start.elapsed() < 20 * SECOND, "{takes:?}: {:?}", start.elapsed());
        assert!(server.most() <= 2, "{takes:?}: {} at once", server.most());
        assert_eq!(server.requests(), calls);
    }
}

async fn it_06_ac_05_the_breaker_opens_on_a_failing_server_and_then_spares_it<S: Stack>() {
    let faults = Faults { unavailable: 100, ..Faults::NONE };
    let settings = Settings { faults, most_failures_in_a_row: u32::MAX, ..Settings::default() };
    let server = FaultyServer::start(settings).unwrap();
    let breaker = CircuitBreaker::builder().failure_threshold(3).open_for(600 * SECOND).build().unwrap();
    let pipeline = Pipeline::builder().circuit_breaker(breaker).budget(Budget::unlimited()).build().unwrap();
    let client = client::<S>(&server.url()).pipeline(pipeline).build().unwrap();
    let first = client.get("items/0").send().await.unwrap_err();
    assert!(matches!(first, Error::Server(_)), "{first}");
    assert!(matches!(first.failure().unwrap().rejected(), Some(Rejected::CircuitOpen { .. })), "{first}");
    for index in 1..20 {
        let error = client.get(&format!("items/{index}")).send().await.unwrap_err();
        assert!(matches!(error, Error::CircuitOpen(_)) && error.retry_at().is_some(), "{error}");
    }
    assert_eq!(server.report().requests, 3);
}

async fn it_07_ac_06_retries_carry_calls_through_a_server_that_fails_now_and_then<S: Stack>() {
    let server = server(Faults { unavailable: 15, reset: 10, cut_short: 10, stall: 5 });
    let backoff = Backoff::builder().base(SECOND / 100).build().unwrap();
    let retry = Retry::builder().max_attempts(4).backoff(backoff).build().unwrap();
    // Two of five attempts fail all the time: more than the default budget pays for.
    let budget = Budget::ratio().percent(100).reserve(20, SECOND).build().unwrap();
    let pipeline = Pipeline::builder().attempt_timeout(SECOND / 2).retry(retry).budget(budget).build().unwrap();
    let client = client::<S>(&server.url()).pipeline(pipeline).build().unwrap();
    let mut attempts = 0;
    for index in 0..60 {
        let response = client.get(&format!("items/{index}")).send().await.unwrap();
        attempts += response.attempts();
        assert_eq!(response.json::<Item>().unwrap().id, index);
    }
    assert!(attempts > 60, "the server failed none of 60");
}

async fn a_429_is_obeyed_by_everybody_who_shares_the_limit<S: Stack>() {
    let settings = Settings { faults: Faults::NONE, requests_per_second: 20, burst: 5, ..Settings::default() };
    let server = FaultyServer::start(settings).unwrap();
    // Our own limit is far too generous, so only what the server says holds us back.
    let limit = TokenBucket::new(Quota::per_second(1000).unwrap().with_burst(10).unwrap());
    let client =
        client::<S>(&server.url()).pipeline(Pipeline::builder().rate_limit(limit).build().unwrap()).build().unwrap();
    for call in spawn::<S>(&client, 12) {
        call.await.unwrap();
    }
    let report = server.report();
    assert!(report.rejected > 0 && report.early_retries == 0, "{report:?}");
}

/// A server that answers one request with these bytes, and reads no more of it than its head.
fn answers(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let _ = stream.write_all(bytes);
    });
    format!("http://{address}")
}

async fn a_body_that_says_it_is_too_long_is_not_read<S: Stack>() {
    let url = answers(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n");
    let error = client::<S>(&url).build().unwrap().get("").send().await.unwrap_err();
    assert!(matches!(error, Error::BodyTooLong(_)), "{error}");
}

async fn calls_can_be_spawned<S: Stack>() {
    fn is_send(_: impl Send) {}
    let client = client::<S>("http://localhost").build().unwrap();
    is_send(client.get("x").send());
    is_send(client.revalidations());
    is_send(client);
}

on_every_stack! {
    it_01_ac_01_requests_are_made_and_responses_processed
    it_02_ac_03_errors_of_the_server_are_mapped
    it_02_each_way_in_which_a_connection_fails_is_told_apart
    it_02_a_post_is_repeated_where_it_was_never_sent_and_only_there
    it_02_no_secret_is_in_an_error_whatever_the_transport_says
    it_03_ac_02_sockets_are_closed_after_every_kind_of_end
    it_03_a_shutdown_leaves_no_socket_and_no_call
    it_04_ac_04_requests_are_spaced_by_the_limit_in_real_time
    it_05_rate_and_concurrency_limits_hold_together
    it_06_ac_05_the_breaker_opens_on_a_failing_server_and_then_spares_it
    it_07_ac_06_retries_carry_calls_through_a_server_that_fails_now_and_then
    a_429_is_obeyed_by_everybody_who_shares_the_limit
    a_body_that_says_it_is_too_long_is_not_read
    calls_can_be_spawned
}
