//! Faults on purpose, between the client and its transport.

use std::time::Duration;

use http::Method;
use steadfast_client::{ApiClient, FaultyTransport};
use steadfast_core::fault::{Faults, FaultsBuilder};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::budget::Budget;
use steadfast_core::time::ManualClock;

use crate::script::Does::Answers;
use crate::script::Script;
use crate::{BASE, elapsed, ms, pipeline};

/// Makes a call whose every attempt meets this fault, and compares why it ended, after how many attempts, how many of them
/// reached the server, and when.
#[track_caller]
fn check(method: Method, faults: FaultsBuilder, want: (Rejected, u32), want_seen: usize, want_ms: u64) {
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[], "hello"); 3]));
    let transport = FaultyTransport::new(script.clone(), faults.build().unwrap(), &clock, 7);
    let pipeline = pipeline().budget(Budget::unlimited()).build().unwrap();
    let client = ApiClient::builder(BASE, transport, &clock).pipeline(pipeline).build().unwrap();
    let error = clock.drive(client.request(method, "items").send()).unwrap().unwrap_err();
    let failure = error.failure().expect("an attempt was made");
    assert_eq!((failure.rejected(), failure.attempts()), (Some(want.0), want.1));
    assert_eq!((script.seen().len(), elapsed(&clock)), (want_seen, ms(want_ms)));
    assert_eq!(script.open(), 0);
}

#[test]
fn each_fault_is_what_it_says() {
    let (faults, spent) = (Faults::builder(), (Rejected::AttemptsSpent { max_attempts: 3 }, 3));
    check(Method::GET, faults.error_before(100), spent, 0, 300);
    check(Method::POST, faults.error_before(100), spent, 0, 300);
    check(Method::GET, faults.error_after(100), spent, 3, 300);
    check(Method::POST, faults.error_after(100), (Rejected::NotIdempotent, 1), 1, 0);
    check(Method::GET, faults.reset(100), spent, 3, 300);
    check(Method::POST, faults.reset(100), (Rejected::NotIdempotent, 1), 1, 0);
    // Refused three times, for two seconds each: a POST may be repeated, since nothing was done.
    check(Method::POST, faults.throttle(100, ms(1500)), spent, 0, 4300);
    check(Method::GET, faults.latency(100, ms(50), ms(50)).error_before(100), spent, 0, 450);
    check(Method::GET, faults.latency(100, Duration::from_secs(5), Duration::from_secs(5)), spent, 0, 3300);
}

#[test]
fn the_same_seed_gives_the_same_run_and_most_calls_survive() {
    let run = |seed| {
        let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[], "hello"); 200]));
        let faults = Faults::builder().latency(30, ms(1), ms(100)).error_before(10).error_after(10).reset(10);
        let transport = FaultyTransport::new(script.clone(), faults.build().unwrap(), &clock, seed);
        let pipeline = pipeline().budget(Budget::unlimited()).build().unwrap();
        let client = ApiClient::builder(BASE, transport, &clock).pipeline(pipeline).build().unwrap();
        let calls: Vec<_> = (0..30)
            .map(|_| clock.drive(client.get("items").send()).unwrap().map(|response| response.attempts()).ok())
            .collect();
        (calls, script.seen().len(), elapsed(&clock))
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first.0, run(8).0);
    assert!(first.0.iter().flatten().count() >= 25 && first.0.iter().any(|attempts| *attempts != Some(1)), "{first:?}");
}
