//! Each fault is what it claims to be, seen from a plain socket.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use steadfast_tests::faulty_server::{Faults, FaultyServer, Report, Settings};

/// Far longer than anything here takes, so that a hang fails instead of hanging the run.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(settings: Settings) -> FaultyServer {
    FaultyServer::start(settings).expect("a server on loopback")
}

/// A server that meets every request with `faults`.
fn always(faults: Faults) -> FaultyServer {
    start(Settings { faults, most_failures_in_a_row: u32::MAX, ..Settings::default() })
}

fn connect(server: &FaultyServer) -> TcpStream {
    let connection = TcpStream::connect(server.address()).expect("an open port");
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    connection
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

fn post(body: &str) -> String {
    let length = body.len();
    format!("POST /items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Everything that comes back until the connection ends.
fn exchange(server: &FaultyServer, request: &str) -> io::Result<String> {
    let mut connection = connect(server);
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    head.lines().filter_map(|line| line.split_once(": ")).find_map(|(key, value)| (key == name).then_some(value))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("an end of the head").1
}

/// Waits until the server's report is as it should be.
fn wait_for(server: &FaultyServer, what: &str, holds: impl Fn(&Report) -> bool) {
    let start = Instant::now();
    while !holds(&server.report()) {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn requests_get_the_answer_that_fits_them() {
    let server = always(Faults::NONE);
    let too_long = format!("\"{}\"", "x".repeat(64 * 1024));
    for (request, status) in [
        (get("/items/7"), "200 OK"),
        (get("/items/007"), "200 OK"),
        (post("{\"id\": 1}"), "200 OK"),
        (get("/items/99999"), "200 OK"),
        (get("/items/100000"), "404 Not Found"),
        (get("/items/-1"), "404 Not Found"),
        (get("/items/"), "404 Not Found"),
        (get("/items"), "404 Not Found"),
        (get("/"), "404 Not Found"),
        (get("/items/7").replace("GET", "DELETE"), "404 Not Found"),
        (post("{\"id\": "), "400 Bad Request"),
        (post(""), "400 Bad Request"),
        (post(&too_long), "413 Payload Too Large"),
    ] {
        let answer = exchange(&server, &request).expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:.80}\n{answer:.200}");
        assert_eq!(header(&answer, "content-type"), Some("application/json"));
        assert_eq!(header(&answer, "content-length"), Some(&*body(&answer).len().to_string()));
        serde_json::from_str::<serde_json::Value>(body(&answer)).expect("JSON");
    }
    let report = server.report();
    assert_eq!((report.requests, report.answered, report.client_errors), (13, 4, 9));
    let by_path: Vec<_> = report.requests_by_path.iter().map(|(path, requests)| (path.as_str(), *requests)).collect();
    assert_eq!(by_path, [("/items", 1), ("/items/7", 2), ("/items/99999", 1)]);
}

#[test]
fn items_have_an_id_and_a_name_and_posts_are_echoed() {
    let server = always(Faults::NONE);
    let answer = exchange(&server, &get("/items/7")).expect("an answer");
    let item: serde_json::Value = serde_json::from_str(body(&answer)).expect("JSON");
    assert_eq!(item["id"], 7);
    assert!(item["name"].as_str().is_some_and(|name| name.len() > 1000));

    let answer = exchange(&server, &post("[1, {}]")).expect("an answer");
    assert_eq!(body(&answer), "[1, {}]");
}

#[test]
fn connections_are_kept_alive_between_answers() {
    let server = always(Faults::NONE);
    let mut connection = connect(&server);
    for _ in 0..3 {
        connection.write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("an open connection");
        let mut answer = Vec::new();
        BufReader::new(&connection).read_until(b'}', &mut answer).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 404") && answer.ends_with(b"}"));
    }
    assert_eq!(server.report().open_connections, 1);
    drop(connection);
    wait_for(&server, "no open connection", |report| report.open_connections == 0);
}

#[test]
fn unavailable_is_a_503_without_retry_after() {
    let server = always(Faults { unavailable: 100, ..Faults::NONE });
    let answer = exchange(&server, &get("/items/7")).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert_eq!(header(&answer, "retry-after"), None);
    assert_eq!(server.report().unavailable, 1);
}

#[test]
fn reset_is_a_rst_before_the_first_byte() {
    let server = always(Faults { reset: 100, ..Faults::NONE });
    for request in [get("/items/7"), post("{}")] {
        let mut connection = connect(&server);
        connection.write_all(request.as_bytes()).expect("an open connection");
        let error = connection.read(&mut [0; 1]).expect_err("neither a byte nor an orderly end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(server.report().reset, 2);
}

#[test]
fn cut_short_promises_more_than_it_sends_and_ends_in_order() {
    let server = always(Faults { cut_short: 100, ..Faults::NONE });
    for request in [get("/items/7"), post("{}")] {
        let answer = exchange(&server, &request).expect("an orderly end");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let announced: usize =
            header(&answer, "content-length").and_then(|length| length.parse().ok()).expect("a length");
        assert_eq!(body(&answer).len(), announced / 2);
    }
    assert_eq!(server.report().cut_short, 2);
}

#[test]
fn stall_is_silence_until_the_client_leaves() {
    let server = start(Settings {
        faults: Faults { stall: 100, ..Faults::NONE },
        longest_stall: Duration::from_secs(3600),
        ..Settings::default()
    });
    let mut connection = connect(&server);
    connection.write_all(get("/items/7").as_bytes()).expect("an open connection");
    wait_for(&server, "the stall", |report| report.stalled == 1);

    connection.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout above zero");
    let error = connection.read(&mut [0; 1]).expect_err("silence");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    assert_eq!(server.report().open_connections, 1);

    drop(connection);
    wait_for(&server, "no open connection", |report| report.open_connections == 0);
}

#[test]
fn stall_ends_without_an_answer_when_its_time_is_over() {
    let longest_stall = Duration::from_millis(50);
    let server =
        start(Settings { faults: Faults { stall: 100, ..Faults::NONE }, longest_stall, ..Settings::default() });
    let start = Instant::now();
    assert_eq!(exchange(&server, &get("/items/7")).expect("an orderly end"), "");
    assert!(start.elapsed() >= longest_stall);
}

#[test]
fn above_the_rate_limit_it_answers_429_with_retry_after() {
    let server = start(Settings { faults: Faults::NONE, requests_per_second: 0, burst: 3, ..Settings::default() });
    for _ in 0..3 {
        let answer = exchange(&server, &get("/items/7")).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    for id in [7, 8] {
        let answer = exchange(&server, &get(&format!("/items/{id}"))).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
        assert_eq!(header(&answer, "retry-after"), Some("1"));
    }
    let report = server.report();
    assert_eq!((report.requests, report.answered, report.rejected), (5, 3, 2));
    assert_eq!(report.admitted_peak_per_second, 3);
    assert_eq!(report.early_retries, 0);
}

#[test]
fn a_retry_that_does_not_wait_is_counted() {
    let server = start(Settings { burst: 0, requests_per_second: 0, ..Settings::default() });
    for (id, early_retries) in [(7, 0), (7, 1), (8, 1), (7, 2)] {
        exchange(&server, &get(&format!("/items/{id}"))).expect("an answer");
        assert_eq!(server.report().early_retries, early_retries);
    }
}

#[test]
fn servers_with_the_same_seed_fail_alike_whatever_the_order() {
    let settings = |seed| Settings {
        seed,
        faults: Faults { unavailable: 25, reset: 25, cut_short: 25, stall: 0 },
        burst: 1000,
        ..Settings::default()
    };
    let play = |seed, ids: Vec<u32>| {
        let server = start(settings(seed));
        let mut ends = BTreeMap::<_, Vec<_>>::new();
        for id in ids.into_iter().flat_map(|id| [id; 3]) {
            let end = exchange(&server, &get(&format!("/items/{id}")));
            // Not the head: it has the date.
            ends.entry(id).or_default().push(end.map(|answer| body(&answer).to_owned()).map_err(|error| error.kind()));
        }
        ends
    };
    let forwards = play(7, (0..20).collect());
    assert_eq!(forwards, play(7, (0..20).rev().collect()));
    assert_ne!(forwards, play(8, (0..20).collect()));
}

#[test]
fn faults_beyond_100_percent_are_refused() {
    let error = FaultyServer::start(Settings {
        faults: Faults { reset: 60, stall: 41, ..Faults::NONE },
        ..Settings::default()
    })
    .expect_err("101 %");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("101 %"), "{error}");
}

#[test]
fn dropping_the_server_closes_every_socket() {
    let server = start(Settings { faults: Faults { stall: 100, ..Faults::NONE }, ..Settings::default() });
    let mut idle = connect(&server);
    let mut stalled = connect(&server);
    stalled.write_all(get("/items/7").as_bytes()).expect("an open connection");
    wait_for(&server, "the stall and both connections", |report| report.stalled == 1 && report.open_connections == 2);

    let address = server.address();
    drop(server);
    for connection in [&mut idle, &mut stalled] {
        assert!(matches!(connection.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    let error = TcpStream::connect(address).expect_err("a closed port");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
