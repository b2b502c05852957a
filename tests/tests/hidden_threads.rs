//! Nothing starts a thread that the runtime did not have. Linux tells which threads a process has, so it is asked there.
//!
//! Each test is a process of its own, because the others start and end threads all the time.

use std::collections::BTreeMap;
use std::fs;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use steadfast::core::retry::budget::Budget;
use steadfast::{ApiClient, Backoff, Hedge, Pipeline, Quota, Retry, TokenBucket};
use steadfast_tests::conformance::transport::Stack;
use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};

use crate::stack::{HyperSmol, HyperTokio, Reqwest};
use crate::support::alone;

/// The threads of this process by their numbers, with their names.
fn threads() -> BTreeMap<u32, String> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux tells");
    let named = tasks.flatten().filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
    });
    named.collect()
}

/// The names of all threads that are there after any poll and were not before.
async fn new_threads(future: impl Future<Output = ()>) -> Vec<String> {
    let (before, mut seen) = (threads(), BTreeMap::new());
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        // A thread gives itself its name, so the last one counts.
        seen.extend(threads());
        polled
    })
    .await;
    seen.extend(threads());
    seen.into_iter().filter(|(number, _)| !before.contains_key(number)).map(|(_, name)| name).collect()
}

/// Calls with everything that waits: for tokens, for backoffs, for attempts that stall, for hedges.
async fn calls<S: Stack>(url: &str) {
    let millis = Duration::from_millis;
    let backoff = Backoff::builder().base(millis(1)).cap(millis(5)).build().expect("it is in range");
    let pipeline = Pipeline::builder()
        .attempt_timeout(millis(200))
        .rate_limit(TokenBucket::new(Quota::per_second(200).and_then(|quota| quota.with_burst(2)).expect("in range")))
        .retry(Retry::builder().max_attempts(10).backoff(backoff).build().expect("it is in range"))
        .budget(Budget::unlimited())
        .hedge(Hedge::builder().after(millis(50)).build().expect("it is in range"));
    let client = ApiClient::builder(url, S::transport(), S::timer()).pipeline(pipeline.build().expect("they agree"));
    let client = client.build().expect("a client");
    let (mut answered, mut attempts) = (0, 0);
    for index in 0..20 {
        let call = client.get(&format!("items/{index}")).send().await;
        answered += u32::from(call.is_ok());
        // A call that failed was spared nothing.
        attempts += call.map_or(2, |response| response.attempts());
    }
    assert!(answered > 0 && attempts > 20, "nobody waited for anything: {answered} answered in {attempts} attempts");
}

/// At a server with an address, all new threads are `of_the_runtime`; at one with a name, they may be its threads for what
/// blocks as well.
fn check<S: Stack>(of_the_runtime: &[&str], for_names: &str) {
    let faults = Faults { unavailable: 20, stall: 5, ..Faults::NONE };
    let settings = Settings { faults, requests_per_second: 10_000, burst: 10_000, ..Settings::default() };
    let server = FaultyServer::start(settings).expect("loopback has a free port");
    S::run(async {
        let mut new = new_threads(calls::<S>(&server.url())).await;
        new.dedup();
        assert_eq!(new, of_the_runtime);
        let url = server.url().replace("127.0.0.1", "localhost");
        let new = new_threads(calls::<S>(&url)).await;
        assert!(new.iter().all(|name| name.starts_with(for_names)), "{new:?}");
    });
}

#[test]
fn none_with_reqwest() {
    alone(concat!(module_path!(), "::none_with_reqwest"), || check::<Reqwest>(&[], "tokio-"));
}

#[test]
fn none_with_hyper_on_tokio() {
    alone(concat!(module_path!(), "::none_with_hyper_on_tokio"), || check::<HyperTokio>(&[], "tokio-"));
}

/// smol has no timers and no sockets but those of async-io, which waits for them on a thread.
#[test]
fn none_with_hyper_on_smol() {
    alone(concat!(module_path!(), "::none_with_hyper_on_smol"), || check::<HyperSmol>(&["async-io"], "blocking-"));
}
