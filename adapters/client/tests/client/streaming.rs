//! Responses whose bodies come in parts: what guards them, and what the policies see.

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::join;
use steadfast_client::{Redirects, StreamingResponse};
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::time::Clock;

use super::*;

type Streaming<'a> = StreamingResponse<Script, &'a ManualClock, ()>;

/// The parts of a body, and how it ended.
async fn parts(response: &mut Streaming<'_>) -> (Vec<Bytes>, Result<(), Error>) {
    let mut parts = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(part)) => parts.push(part),
            Ok(None) => return (parts, Ok(())),
            Err(error) => return (parts, Err(error)),
        }
    }
}

#[test]
fn a_body_comes_in_parts_after_a_head_that_every_policy_has_judged() {
    for (script, attempts) in [
        (&[Streams(&["a", "b", "c"])][..], 1),
        (&[Answers(503, &[], "later"), Streams(&["a", "b", "c"])], 2),
        (&[Answers(429, &[("retry-after", "1")], ""), IsDown, Streams(&["a", "b", "c"])], 3),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(script));
        let client = builder(&clock, &script).build().unwrap();
        let mut response = clock.drive(client.get("file").send_streaming()).unwrap().unwrap();
        assert_eq!((response.status(), response.attempts()), (StatusCode::OK, attempts));
        assert_eq!(response.elapsed(), elapsed(&clock));
        let (parts, end) = clock.drive(parts(&mut response)).unwrap();
        assert!(end.is_ok() && parts == ["a", "b", "c"], "{parts:?} {end:?}");
        assert_eq!(script.open(), 0, "at its end it holds nothing");
        assert!(clock.drive(response.chunk()).unwrap().unwrap().is_none());
    }
    let (clock, script) = (ManualClock::new(), Script::new(&[Streams(&["a", "b"])]));
    let client = builder(&clock, &script).build().unwrap();
    let response = clock.drive(client.get("file").send_streaming()).unwrap().unwrap();
    let collected: Vec<Bytes> = clock.drive(response.try_collect()).unwrap().unwrap();
    assert_eq!(collected, ["a", "b"]);
}

#[test]
fn a_response_that_is_no_success_is_an_error_with_its_body() {
    for (does, status) in [(Answers(404, &[], "no such file"), 404), (Answers(302, &[], "no such file"), 302)] {
        let (clock, script) = (ManualClock::new(), Script::new(&[does]));
        let client = builder(&clock, &script).build().unwrap();
        let error = clock.drive(client.get("file").send_streaming()).unwrap().unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!((failure.status().unwrap().as_u16(), failure.body()), (status, &b"no such file"[..]));
        assert_eq!(script.open(), 0);
    }
}

#[test]
fn a_raw_response_is_no_error_whatever_its_status() {
    // What it says, in how many attempts, and in which parts.
    let table: [(&[Does], u16, u32, &[&str]); 6] = [
        (&[Streams(&["a", "b"])], 200, 1, &["a", "b"]),
        (&[Answers(404, &[], "no such file")], 404, 1, &["no such file"]),
        (&[Answers(404, &[], "")], 404, 1, &[]),
        (&[Answers(302, &[], "elsewhere")], 302, 1, &["elsewhere"]),
        (&[Answers(503, &[], "later"), Streams(&["a", "b"])], 200, 2, &["a", "b"]),
        (&[Answers(503, &[], "later"); 3], 503, 3, &["later"]),
    ];
    for (does, status, attempts, want) in table {
        let (clock, script) = (ManualClock::new(), Script::new(does));
        let client = builder(&clock, &script).build().unwrap();
        let mut response = clock.drive(client.get("file").send_raw_streaming()).unwrap().unwrap();
        assert_eq!((response.status().as_u16(), response.attempts()), (status, attempts));
        let (parts, end) = clock.drive(parts(&mut response)).unwrap();
        assert!(end.is_ok() && parts == want, "{parts:?} {end:?}");
        assert_eq!((script.open(), client.running()), (0, 0));
    }
    for does in [Resets, BreaksOff] {
        let (clock, script) = (ManualClock::new(), Script::new(&[does; 3]));
        let client = builder(&clock, &script).build().unwrap();
        let result = clock.drive(client.post("file").send_raw_streaming()).unwrap();
        assert_eq!(result.is_ok(), matches!(does, BreaksOff), "a head is a response, and no head is none");
    }
}

#[test]
fn it_tells_of_the_way_what_a_whole_response_tells() {
    let to_next = Answers(307, &[("location", "/v1/next")], "");
    let named = Answers(200, &[("x-request-id", "r-1")], "file");
    for (does, id) in [(named, "r-1"), (Streams(&["file"]), "mine")] {
        let (clock, script) = (ManualClock::new(), Script::new(&[to_next, does, to_next, does]));
        let client = builder(&clock, &script).redirects(Redirects::same_origin()).request_ids("x-request-id");
        let client = client.build().unwrap();
        let get = || client.get("file").header("x-request-id", "mine");
        let streaming = clock.drive(get().send_streaming()).unwrap().unwrap();
        let whole = clock.drive(get().send()).unwrap().unwrap();
        assert_eq!((streaming.redirects(), streaming.request_id()), (1, Some(id)));
        assert_eq!((whole.redirects(), whole.request_id()), (1, Some(id)));
    }
}

#[test]
fn each_way_in_which_a_stream_ends_is_its_own() {
    type Is = fn(&Error) -> bool;
    let clock: &ManualClock = Box::leak(Box::new(ManualClock::new()));
    let table: [(Does, Is, u64, usize); 4] = [
        (BreaksOff, |error| matches!(error, Error::Connection { .. }), 0, 1),
        (Stalls(&[]), |error| matches!(error, Error::ReadTimeout(_)), 3000, 0),
        (Stalls(&["a", "b"]), |error| matches!(error, Error::ReadTimeout(_)), 3000, 2),
        // Of six parts, each as late as may be, the deadline cuts off the rest.
        (Slowly(clock, 2999, &["a"; 6]), |error| matches!(error, Error::DeadlineExceeded(_)), 10_000, 3),
    ];
    for (does, is, at, had) in table {
        let (start, script) = (clock.now(), Script::new(&[does]));
        let elapsed = || clock.now() - start;
        let client = builder(clock, &script).read_timeout(ms(3000)).build().unwrap();
        let mut response = clock.drive(client.get("file").send_streaming()).unwrap().unwrap();
        let (parts, end) = clock.drive(parts(&mut response)).unwrap();
        let error = end.unwrap_err();
        assert!(is(&error), "{does:?}: {error:?}");
        assert_eq!((elapsed(), parts.len()), (ms(at), had), "{does:?}");
        assert_eq!((error.failure().unwrap().elapsed(), error.status()), (ms(at), Some(StatusCode::OK)), "{does:?}");
        // It is over, and the connection closed, though the response is still there.
        assert_eq!((script.open(), clock.next_wake()), (0, None), "{does:?}");
        assert!(clock.drive(response.chunk()).unwrap().unwrap().is_none());
    }
}

#[test]
fn the_read_timeout_runs_while_somebody_waits() {
    // A part as late as may be each time, and a reader who takes his time.
    let clock: &ManualClock = Box::leak(Box::new(ManualClock::new()));
    let script = Script::new(&[Slowly(clock, 999, &["a", "b", "c"])]);
    let client = builder(clock, &script).build().unwrap();
    let request = client.get("file").read_timeout(ms(1000));
    let mut response = clock.drive(request.send_streaming()).unwrap().unwrap();
    for part in ["a", "b", "c"] {
        clock.advance(ms(2000));
        assert_eq!(clock.drive(response.chunk()).unwrap().unwrap().unwrap(), part);
    }
    assert_eq!(elapsed(clock), ms(3 * 2999));
    assert!(clock.drive(response.chunk()).unwrap().is_ok_and(|end| end.is_none()));
}

#[test]
fn a_body_that_never_ends_is_cut_off_at_the_deadline_and_takes_no_memory() {
    let (clock, script) = (ManualClock::new(), Script::new(&[GoesOnForEver]));
    let client = builder(&clock, &script).max_body(10).build().unwrap();
    let mut response = clock.drive(client.get("file").send_streaming()).unwrap().unwrap();
    for _ in 0..1000 {
        assert_eq!(clock.drive(response.chunk()).unwrap().unwrap().unwrap().len(), 1024);
    }
    clock.advance(ms(10_000));
    let error = clock.drive(response.chunk()).unwrap().unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded(_)) && script.open() == 0, "{error}");
}

#[test]
fn what_is_read_whole_has_the_read_timeout_too() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Stalls(&["{"]), Stalls(&[]), Answers(200, &[], "{}")]));
    let client = builder(&clock, &script).read_timeout(ms(300)).build().unwrap();
    let response = clock.drive(client.get("item").send()).unwrap().unwrap();
    assert_eq!((response.attempts(), elapsed(&clock)), (3, ms(300 + 100 + 300 + 200)));
    let (clock, script) = (ManualClock::new(), Script::new(&[Stalls(&[]); 3]));
    let client = builder(&clock, &script).build().unwrap();
    let error = clock.drive(client.get("item").read_timeout(ms(300)).send()).unwrap().unwrap_err();
    assert!(matches!(error, Error::ReadTimeout(_)) && error.is_retryable(), "{error}");
    assert!(error.to_string().ends_with(": nothing more came of the body"), "{error}");

    let error = builder(&clock, &script).read_timeout(Duration::ZERO).build().unwrap_err();
    assert!(error.to_string().contains("read_timeout is \"0ns\""), "{error}");
}

#[test]
fn limit_and_breaker_see_the_head_and_no_more() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Stalls(&["a"]), BreaksOff]));
    let breaker = CircuitBreaker::builder().failure_threshold(1).build().unwrap();
    let one = ConcurrencyLimit::fixed(1).build().unwrap();
    let pipeline = pipeline().concurrency_limit(one).circuit_breaker(breaker).build().unwrap();
    let client = builder(&clock, &script).pipeline(pipeline).build().unwrap();
    let open = clock.drive(client.get("first").send_streaming()).unwrap().unwrap();
    let mut broken = clock.drive(client.get("second").send_streaming()).unwrap().unwrap();
    let (_, end) = clock.drive(parts(&mut broken)).unwrap();
    assert!(matches!(end, Err(Error::Connection { .. })), "{end:?}");
    clock.drive(client.get("third").send()).unwrap().unwrap();
    assert_eq!((elapsed(&clock), script.open()), (Duration::ZERO, 1), "nobody had to wait, and nobody was refused");
    drop(open);
    assert_eq!(script.open(), 0);
}

#[test]
fn a_shutdown_waits_for_streams_and_then_cancels_them() {
    for (does, want) in [(Streams(&["a"]), (1, 0)), (Stalls(&["a"]), (0, 1))] {
        let (clock, script) = (ManualClock::new(), Script::new(&[does]));
        let client = builder(&clock, &script).read_timeout(ms(5000)).build().unwrap();
        let mut response = clock.drive(client.get("file").send_streaming()).unwrap().unwrap();
        assert_eq!(client.running(), 1);
        let (stopped, (_, end)) = clock.drive(join(client.shut_down(ms(1000)), parts(&mut response))).unwrap();
        assert_eq!((stopped.finished, stopped.cancelled), want, "{does:?}");
        assert_eq!(matches!(end, Err(Error::Cancelled(_))), want.1 == 1, "{end:?}");
        assert_eq!((client.running(), script.open()), (0, 0));
    }
    // One that is dropped did not come to its end.
    let (clock, script) = (ManualClock::new(), Script::new(&[Stalls(&["a"])]));
    let client = builder(&clock, &script).build().unwrap();
    let response = clock.drive(client.get("file").send_streaming()).unwrap().unwrap();
    let (stopped, ()) = clock.drive(join(client.shut_down(ms(1000)), async move { drop(response) })).unwrap();
    assert_eq!((stopped.finished, stopped.cancelled, elapsed(&clock)), (0, 1, Duration::ZERO));
}

#[test]
fn nothing_leaks_wherever_a_stream_is_dropped() {
    for does in [IsDown, Hangs, BreaksOff, Stalls(&[]), Stalls(&["a"]), Answers(503, &[], "")] {
        for polls in 0.. {
            let (clock, script) = (ManualClock::new(), Script::new(&[does, Streams(&["a", "b"])]));
            let client = builder(&clock, &script).read_timeout(ms(500)).build().unwrap();
            let ended = {
                let all = async {
                    let mut response = client.get("file").send_streaming().await?;
                    parts(&mut response).await.1
                };
                let (mut all, mut cx) = (pin!(all), Context::from_waker(Waker::noop()));
                (0..polls).any(|_| {
                    let ended = all.as_mut().poll(&mut cx).is_ready();
                    clock.next_wake().into_iter().for_each(|next| clock.set(next));
                    ended
                })
            };
            assert_eq!((script.open(), clock.next_wake()), (0, None), "{does:?} dropped after {polls} polls");
            assert_eq!((script.holders(), client.running()), (2, 0), "{does:?} dropped after {polls} polls");
            if ended {
                break;
            }
        }
    }
}
