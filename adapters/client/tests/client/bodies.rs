//! Bodies of requests that come as streams: sent whole, sent again only whole, or else the call says why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http_body::Body;

use super::*;

/// Four parts of 2 bytes.
const PARTS: [&str; 4] = ["ab", "cd", "ef", "gh"];

fn parts(parts: &'static [&'static str]) -> RequestBody {
    RequestBody::stream(stream::iter(
        parts.iter().map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part.as_bytes()))),
    ))
}

/// Two parts, and then an error.
fn fails() -> RequestBody {
    RequestBody::stream(stream::iter([Ok("ab".into()), Ok("cd".into()), Err("disk gone")]))
}

/// How a call with this body ended: its attempts and what the server had of the body in each, or why it failed.
fn put(body: RequestBody, keep: usize, script: &[Does]) -> (Result<u32, Error>, Vec<String>) {
    let (clock, script) = (ManualClock::new(), Script::new(script));
    let client = builder(&clock, &script).max_replay(keep).build().unwrap();
    let result = clock.drive(client.put("file").body(body).send()).unwrap();
    assert_eq!(script.open(), 0);
    let seen = script.seen().into_iter().map(|seen| String::from_utf8(seen.body.to_vec()).unwrap()).collect();
    (result.map(|response| response.attempts()), seen)
}

#[test]
fn every_attempt_carries_the_whole_body() {
    let unavailable = Answers(503, &[], "");
    // How much is kept, and what the server had of the body each time that it was reached.
    for (keep, script, want) in [
        // Kept to its end.
        (8, &[][..], &["abcdefgh"][..]),
        (8, &[unavailable, Resets], &["abcdefgh", "abcdefgh", "abcdefgh"]),
        (8, &[IsDown, ResetsAfter(1)], &["ab", "abcdefgh"]),
        (8, &[HangsAfter(2)], &["abcd", "abcdefgh"]),
        // Not a byte had left.
        (0, &[IsDown], &["abcdefgh"]),
        (0, &[Refuses(503)], &["", "abcdefgh"]),
        (0, &[HangsAfter(0)], &["", "abcdefgh"]),
        // What had left is kept, and comes at once: then the rest.
        (7, &[ResetsAfter(3)], &["abcdef", "abcdefgh"]),
        (7, &[ResetsAfter(2), ResetsAfter(2)], &["abcd", "abcdef", "abcdefgh"]),
        (2, &[Refuses(429), ResetsAfter(1)], &["", "ab", "abcdefgh"]),
    ] {
        let (result, got) = put(parts(&PARTS), keep, script);
        assert_eq!(got, want, "{keep} {script:?}");
        let attempts = u32::try_from(script.len() + 1).unwrap();
        assert_eq!(result.ok(), Some(attempts), "{keep} {script:?}");
    }
}

#[test]
fn a_stream_that_is_spent_is_not_sent_again() {
    let unavailable = Answers(503, &[], "");
    type Is = fn(&Error) -> bool;
    let table: [(usize, Does, Is); 8] = [
        (7, unavailable, |error| matches!(error, Error::Server(_))),
        (7, Resets, |error| matches!(error, Error::Connection { .. })),
        (7, Hangs, |error| matches!(error, Error::AttemptTimeout(_))),
        (7, Answers(429, &[], ""), |error| matches!(error, Error::RateLimited(_))),
        (0, ResetsAfter(1), |error| matches!(error, Error::Connection { .. })),
        (0, HangsAfter(1), |error| matches!(error, Error::AttemptTimeout(_))),
        (1, ResetsAfter(1), |error| matches!(error, Error::Connection { .. })),
        (5, HangsAfter(3), |error| matches!(error, Error::AttemptTimeout(_))),
    ];
    for (keep, does, is) in table {
        let (result, got) = put(parts(&PARTS), keep, &[does]);
        let error = result.unwrap_err();
        assert!(is(&error), "{keep} {does:?}: {error}");
        let failure = error.failure().unwrap();
        assert_eq!((failure.attempts(), failure.rejected()), (1, Some(Rejected::RetryForbidden)), "{keep} {does:?}");
        assert!(!error.is_retryable() && got.len() == 1, "{keep} {does:?}: {got:?}");
    }
}

#[test]
fn a_hint_holds_for_all_who_share_the_limit_though_the_stream_is_spent() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(429, &[("retry-after", "3")], "")]));
    let client = builder(&clock, &script).max_replay(0).build().unwrap();
    clock.drive(client.put("file").body(parts(&PARTS)).send()).unwrap().unwrap_err();
    assert_eq!(elapsed(&clock), Duration::ZERO);
    clock.drive(client.get("another").send()).unwrap().unwrap();
    assert_eq!(elapsed(&clock), ms(3000));
}

#[test]
fn bodies_that_are_made_afresh_are_sent_as_often_as_bytes() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Resets, ResetsAfter(2)]));
    let client = builder(&clock, &script).max_replay(0).build().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&made);
    let make = move || {
        counts.fetch_add(1, Ordering::Relaxed);
        parts(&PARTS)
    };
    let response = clock.drive(client.put("file").body_from(make).send()).unwrap().unwrap();
    let seen: Vec<_> = script.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!((response.attempts(), made.load(Ordering::Relaxed)), (3, 3));
    assert_eq!(seen, ["abcdefgh", "abcd", "abcdefgh"]);
}

#[test]
fn a_body_that_fails_is_an_error_of_its_own() {
    for (body, want) in [
        (fails as fn() -> RequestBody, "disk gone"),
        (|| parts(&PARTS).with_length(7), "it is longer than the 7 bytes that were told"),
        (|| parts(&PARTS).with_length(6), "it is longer than the 6 bytes that were told"),
        (|| parts(&PARTS).with_length(0), "it is longer than the 0 bytes that were told"),
        (|| parts(&PARTS).with_length(9), "it is shorter than the 9 bytes that were told"),
    ] {
        for keep in [0, 100] {
            let (clock, script) = (ManualClock::new(), Script::default());
            let client = builder(&clock, &script).max_replay(keep).build().unwrap();
            for request in [client.put("file").body(body()), client.put("file").body_from(body)] {
                let error = clock.drive(request.send()).unwrap().unwrap_err();
                assert!(matches!(error, Error::Body { .. }), "{error:?}");
                assert!(error.to_string().ends_with(&format!("the request's body failed: {want}")), "{error}");
                assert_eq!(error.failure().unwrap().attempts(), 1, "{error}");
                assert!(!error.is_retryable() && script.seen().is_empty() && script.open() == 0, "{error}");
            }
        }
    }
}

#[test]
fn a_stream_that_has_panicked_is_not_sent_again() {
    // What it would give behind the part in which it has panicked, would look whole without that part.
    let mut panics = true;
    let parts = PARTS.into_iter().map(move |part| {
        assert!(part != "cd" || !std::mem::take(&mut panics), "once");
        Ok::<_, std::io::Error>(Bytes::from(part))
    });
    let (result, got) = put(RequestBody::stream(stream::iter(parts)), 100, &[]);
    let error = result.unwrap_err();
    assert_eq!(error.failure().unwrap().rejected(), Some(Rejected::RetryForbidden), "{error}");
    assert_eq!(got, [""; 0]);
}

#[test]
fn what_is_known_of_the_length_is_told() {
    for (body, want) in [
        (RequestBody::default(), Some(0)),
        (RequestBody::from("text"), Some(4)),
        (RequestBody::from(String::from("text")), Some(4)),
        (RequestBody::from(vec![0; 4]), Some(4)),
        (RequestBody::from(&[0; 4][..]), Some(4)),
        (parts(&PARTS), None),
        (parts(&PARTS).with_length(8), Some(8)),
        (RequestBody::wrap(RequestBody::from("text")), Some(4)),
        (RequestBody::wrap(parts(&PARTS)), None),
        (RequestBody::wrap(parts(&PARTS).with_length(8)), Some(8)),
    ] {
        assert_eq!(body.size_hint().exact(), want);
        assert_eq!(format!("{body:?}"), format!("RequestBody {{ length: {want:?}, .. }}"));
    }
    // And so it is where part of it is replayed.
    let (clock, script) = (ManualClock::new(), Script::new(&[ResetsAfter(2)]));
    let client = builder(&clock, &script).build().unwrap();
    clock.drive(client.put("file").body(parts(&PARTS).with_length(8)).send()).unwrap().unwrap();
    assert_eq!(script.lengths(), [Some(8), Some(8)]);
}

#[test]
fn a_stream_is_read_no_further_than_it_is_sent() {
    let read = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&read);
    let endless = stream::repeat_with(move || {
        counts.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1024]))
    });
    let (result, _) = put(RequestBody::stream(endless), 10_000, &[ResetsAfter(3), ResetsAfter(20)]);
    assert_eq!(result.unwrap_err().failure().unwrap().attempts(), 2);
    // The second attempt was given the 3 at once, as one part, and then 19 more.
    assert_eq!(read.load(Ordering::Relaxed), 3 + 19);
}

#[test]
fn a_signer_is_told_that_it_cannot_see_a_stream() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let sees = |head: &mut http::request::Parts, body: Option<&Bytes>| {
        head.headers.insert("x-digest", body.map_or("unsigned", |_| "signed").parse()?);
        Ok(())
    };
    let client = builder(&clock, &script).auth(Auth::signer(sees)).build().unwrap();
    for (body, want) in [(RequestBody::from("text"), "signed"), (parts(&PARTS), "unsigned")] {
        clock.drive(client.put("file").body(body).send()).unwrap().unwrap();
        assert_eq!(script.seen()[0].headers["x-digest"], want);
    }
}

#[test]
fn nothing_leaks_wherever_an_upload_is_dropped() {
    for does in [IsDown, Resets, ResetsAfter(2), HangsAfter(2), Refuses(503), Answers(200, &[], "{}")] {
        for polls in 0.. {
            let (clock, script) = (ManualClock::new(), Script::new(&[does]));
            let client = builder(&clock, &script).build().unwrap();
            // A stream that is never ready at once, and tells when it is dropped.
            let witness = Arc::new(());
            let (held, mut ready) = (Arc::clone(&witness), false);
            let mut left = PARTS.iter();
            let slow = stream::poll_fn(move |cx| {
                let _ = &held;
                ready = !ready;
                if ready {
                    cx.waker().wake_by_ref();
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(
                    left.next().map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part.as_bytes()))),
                )
            });
            let ended = {
                let mut call = pin!(client.put("file").body(RequestBody::stream(slow)).send());
                let mut cx = Context::from_waker(Waker::noop());
                (0..polls).any(|_| {
                    let ended = call.as_mut().poll(&mut cx).is_ready();
                    clock.next_wake().into_iter().for_each(|next| clock.set(next));
                    ended
                })
            };
            assert_eq!((script.open(), clock.next_wake()), (0, None), "{does:?} dropped after {polls} polls");
            assert_eq!(Arc::strong_count(&witness), 1, "{does:?} dropped after {polls} polls");
            if ended {
                break;
            }
        }
    }
}
