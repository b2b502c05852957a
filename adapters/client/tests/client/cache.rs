//! The client with a cache: what is kept, what is used again, and by whom.

mod attacks;
mod coalescing;
mod invalidation;
mod kept;
mod stale;

use std::sync::Arc;

use http::header::{AGE, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use steadfast_client::{Cache, CacheStatus, Response, WhyStale};

use super::*;

const MINUTE: Does = Answers(200, &[("cache-control", "max-age=60"), ("etag", "\"a\"")], "one");
const TWO: Does = Answers(200, &[("cache-control", "max-age=60"), ("etag", "\"b\"")], "two");
const SAME: Does = Answers(304, &[("etag", "\"a\"")], "");

/// The first second of which RFC 9110 speaks, and it does not pass: how long something has been here, the timer tells.
fn wall() -> Option<UnixTime> {
    Some(UnixTime::from_secs(784_111_777))
}

fn cached<'a>(clock: &'a ManualClock, script: &Script) -> ApiClientBuilder<Script, &'a ManualClock> {
    builder(clock, script).wall_clock(wall).cache(Cache::in_memory())
}

/// A clock that a server's answers may wait on.
fn clock() -> &'static ManualClock {
    Box::leak(Box::new(ManualClock::new()))
}

/// Where a response came from, in a word.
fn from(response: &Response) -> &'static str {
    match response.cache_status() {
        CacheStatus::Bypassed => "past",
        CacheStatus::Missed => "server",
        CacheStatus::Hit { .. } => "hit",
        CacheStatus::Collapsed { .. } => "collapsed",
        CacheStatus::Validated => "validated",
        CacheStatus::Stale { why: WhyStale::Accepted, .. } => "stale, accepted",
        CacheStatus::Stale { why: WhyStale::Revalidating, .. } => "stale, revalidating",
        CacheStatus::Stale { why: WhyStale::Failed, .. } => "stale, failed",
        _ => "another",
    }
}

/// What a call came to: where from, and the body; or the error in a word.
fn came(result: Result<Response, Error>) -> (&'static str, String) {
    match result {
        Ok(response) => (from(&response), response.text().unwrap()),
        Err(Error::NotCached(_)) => ("not cached", String::new()),
        Err(Error::NotFound(_)) => ("not found", String::new()),
        Err(Error::Server(_)) => ("server failed", String::new()),
        Err(Error::RateLimited(_)) => ("rate limited", String::new()),
        Err(Error::CircuitOpen(_)) => ("circuit open", String::new()),
        Err(Error::DeadlineExceeded(_)) => ("deadline", String::new()),
        Err(Error::AttemptTimeout(_)) => ("timeout", String::new()),
        Err(Error::Connection { .. }) => ("connection", String::new()),
        Err(Error::ShutDown(_)) => ("shut down", String::new()),
        Err(Error::Cancelled(_)) => ("cancelled", String::new()),
        Err(error) => panic!("{error}"),
    }
}

/// One call: so many seconds after the one before, with this method, path and field; and where its answer is from, its body,
/// and how many requests were sent for it.
type Step = (u64, Method, &'static str, (&'static str, &'static str), &'static str, &'static str, usize);

const NONE: (&str, &str) = ("x-none", "");

fn get(after: u64, want: &'static str, body: &'static str, sent: usize) -> Step {
    (after, Method::GET, "items", NONE, want, body, sent)
}

fn asks(after: u64, field: (&'static str, &'static str), want: &'static str, body: &'static str, sent: usize) -> Step {
    (after, Method::GET, "items", field, want, body, sent)
}

/// Plays calls against a server that plays a script.
fn check(rule: &str, script: &[Does], steps: &[Step]) {
    let (clock, script) = (ManualClock::new(), Script::new(script));
    play(rule, &clock, &script, &cached(&clock, &script).build().unwrap(), steps);
}

fn play(rule: &str, clock: &ManualClock, script: &Script, client: &Client<'_>, steps: &[Step]) {
    for (number, (after, method, path, (name, value), want, body, sent)) in steps.iter().enumerate() {
        clock.advance(ms(after * 1000));
        let mut request = client.request(method.clone(), path);
        if *name != NONE.0 {
            request = request.header(name, value);
        }
        let (from, got) = came(clock.drive(request.send()).unwrap());
        assert_eq!((from, &*got, script.seen().len()), (*want, *body, *sent), "{rule}: call {number}");
    }
    assert_eq!((script.open(), clock.next_wake()), (0, None), "{rule}");
}
