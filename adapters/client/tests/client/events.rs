//! Server-sent events: the bytes as the standard has them, and streams that go on.

use futures_util::StreamExt;
use steadfast_client::{EventParser, EventTooLong, ServerEvent};

use super::*;

/// The events of these pieces: kind, data, id.
fn parsed(parser: &mut EventParser, pieces: &[&[u8]]) -> Result<Vec<(String, String, String)>, EventTooLong> {
    let mut events = Vec::new();
    for piece in pieces {
        let mut bytes = *piece;
        while let Some(ServerEvent { event, data, id }) = parser.next(&mut bytes)? {
            events.push((event, data, id));
        }
        assert!(bytes.is_empty());
    }
    Ok(events)
}

/// The same by the letter of 9.2.6, on the whole text at once.
fn reference(bytes: &[u8]) -> Vec<(String, String, String)> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut data, mut kind, mut id) = (Vec::new(), String::new(), String::new(), String::new());
    // What is behind the last line's end is no line yet.
    let lines: Vec<_> = text.split('\n').collect();
    for line in &lines[..lines.len() - 1] {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                if let Some(data) = data.strip_suffix('\n') {
                    let kind = if kind.is_empty() { "message" } else { &kind };
                    events.push((kind.to_owned(), data.to_owned(), id.clone()));
                }
                data.clear();
                kind.clear();
            }
            "event" => kind = value.to_owned(),
            "data" => data += &format!("{value}\n"),
            "id" if !value.contains('\0') => id = value.to_owned(),
            _ => {}
        }
    }
    events
}

#[test]
fn each_example_and_rule_of_the_standard_holds() {
    let message = |data: &str| ("message".to_owned(), data.to_owned(), String::new());
    for (bytes, want) in [
        // 9.2.6's own examples.
        (&b"data: YHOO\ndata: +2\ndata: 10\n\n"[..], vec![message("YHOO\n+2\n10")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            vec![
                ("message".into(), "first event".into(), "1".into()),
                message("second event"),
                message(" third event"),
            ],
        ),
        (b"data\n\ndata\ndata\n\ndata:", vec![message(""), message("\n")]),
        (b"data:test\n\ndata: test\n\n", vec![message("test"), message("test")]),
        // Ends of lines, all three, and mixed.
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\r\n", vec![message("a"), message("b"), message("c")]),
        (b"data: a\r\ndata: b\r\n\r\n", vec![message("a\nb")]),
        // A byte order mark counts at the beginning, and nowhere else.
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", vec![message("a")]),
        (b"\xef\xbb\xbf\n\ndata: a\n\n", vec![message("a")]),
        // Kinds, and one that has no data does not colour the next.
        (b"event: x\ndata: a\n\n", vec![("x".into(), "a".into(), String::new())]),
        (b"event: x\n\ndata: a\n\n", vec![message("a")]),
        (b"event: x\nevent\ndata: a\n\n", vec![message("a")]),
        // An id stays until another comes, also without data; one with a NUL is none.
        (b"id: 1\n\ndata: a\n\n", vec![("message".into(), "a".into(), "1".into())]),
        (
            b"id: 1\ndata: a\n\nid: 2\x00\ndata: b\n\n",
            vec![("message".into(), "a".into(), "1".into()), ("message".into(), "b".into(), "1".into())],
        ),
        // Fields are told apart by their exact names, and others mean nothing.
        (b"Data: a\ndata : b\n data: c\nfoo: bar\n:data: d\ndata: e\n\n", vec![message("e")]),
        // What is no UTF-8 is replaced.
        (b"data: \xff\xc3\n\n", vec![message("\u{fffd}\u{fffd}")]),
        // An event that is cut short is none.
        (b"data: a\n\ndata: b\n", vec![message("a")]),
        (b"data: a", vec![]),
        (b"", vec![]),
    ] {
        assert_eq!(reference(bytes), want, "{}", String::from_utf8_lossy(bytes));
        // However the bytes are split, the events are the same.
        for at in 0..=bytes.len() {
            let (one, other) = bytes.split_at(at);
            assert_eq!(parsed(&mut EventParser::new(), &[one, other]).as_ref(), Ok(&want), "{at}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(parsed(&mut EventParser::new(), &single), Ok(want));
    }
}

#[test]
fn however_the_bytes_are_split_the_events_are_the_same() {
    const WORDS: [&[u8]; 20] = [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b": ",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"x",
        b"12",
        b"\xc3",
        b"\xa9",
        b"\xef\xbb\xbf",
        b"\0",
        b"\xff",
        b"data: y\n\n",
        b"id: 7\n",
    ];
    let mut state = 7_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut events = 0;
    for _ in 0..5_000 {
        let bytes: Vec<u8> = (0..random(40)).flat_map(|_| WORDS[random(WORDS.len())]).copied().collect();
        let want = reference(&bytes);
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(random(rest.len()) + 1);
            pieces.push(piece);
            rest = more;
        }
        assert_eq!(parsed(&mut EventParser::new(), &pieces).as_ref(), Ok(&want), "{}", bytes.escape_ascii());
        events += want.len();
    }
    assert!(events > 1_500, "{events} say little");
}

#[test]
fn neither_a_line_nor_an_event_grows_without_bound() {
    let too_long = Err(EventTooLong { max_event: 10 });
    for (bytes, want) in [
        (&b"data: 1234\n\n"[..], Ok(1)),
        (b"data: 12345\n\n", too_long),
        (b":123456789", Ok(0)),
        (b":1234567890", too_long),
        (b"data:12345\ndata:6789\n\n", Ok(1)),
        (b"data:12345\ndata:67890\n\n", too_long),
        (b"data\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\n\n", Ok(1)),
        (b"data\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\n\n", too_long),
        // Ten bytes, and each of five becomes three.
        (b"data:\xff\xff\xff\xff\xff\n\n", too_long),
    ] {
        for pieces in [bytes.chunks(100).collect::<Vec<_>>(), bytes.chunks(1).collect()] {
            let mut parser = EventParser::new().with_max_event(10);
            assert_eq!(parsed(&mut parser, &pieces).map(|events| events.len()), want, "{}", bytes.escape_ascii());
        }
    }
    let mut parser = EventParser::new();
    let megabyte = vec![b'x'; 1024 * 1024];
    assert!(parsed(&mut parser, &[&megabyte]).is_ok() && parsed(&mut parser, &[b"x"]).is_err());
}

#[test]
fn the_time_to_wait_is_a_number_of_milliseconds() {
    for (line, want) in [
        ("retry: 1500", Some(ms(1500))),
        ("retry:0", Some(ms(0))),
        ("retry: 99999999999999999999999", Some(ms(u64::MAX))),
        ("retry: -1", None),
        ("retry: 1.5", None),
        ("retry:  1", None),
        ("retry:", None),
        ("retry", None),
        ("retry: ١", None),
    ] {
        let mut parser = EventParser::new();
        parsed(&mut parser, &[line.as_bytes(), b"\n"]).unwrap();
        assert_eq!(parser.retry(), want, "{line}");
    }
}

const SSE: (&str, &str) = ("content-type", "text/event-stream; charset=utf-8");
const AND_THEN_204: Does = Answers(204, &[], "");

fn sse(body: &'static str) -> Does {
    Answers(200, &[SSE], body)
}

/// What a stream came to: its events' data, how it ended, when, and the `Last-Event-ID` of each request.
fn listen(method: Method, script: &[Does], asks: usize) -> (Vec<String>, Vec<Error>, Duration, Vec<Option<String>>) {
    let (clock, script) = (ManualClock::new(), Script::new(script));
    let client = builder(&clock, &script).build().unwrap();
    let backoff = Backoff::builder().jitter(Jitter::None).build().unwrap();
    let mut events = client.request(method, "prices").body("body").events().backoff(backoff);
    let (mut data, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..asks {
        match clock.drive(events.next()).unwrap() {
            Some(Ok(event)) => data.push(event.data),
            Some(Err(error)) => errors.push(error),
            None => break,
        }
    }
    drop(events);
    assert_eq!((script.open(), client.running(), clock.next_wake()), (0, 0, None));
    let seen = script.seen();
    for seen in &seen {
        assert_eq!((&seen.headers["accept"], &*seen.body), (&"text/event-stream".parse().unwrap(), &b"body"[..]));
    }
    let id = |seen: &script::Seen| seen.headers.get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
    (data, errors, elapsed(&clock), seen.iter().map(id).collect())
}

#[test]
fn a_stream_goes_on_where_it_ended_until_the_server_says_204() {
    let id = |id: &str| Some(id.to_owned());
    let broken = Answers(200, &[SSE], "id: 1\ndata: a\n\nid: 2\ndata: half");
    for (script, data, at, ids) in [
        (&[AND_THEN_204][..], &[][..], 0, vec![None]),
        (&[sse("data: a\n\n"), AND_THEN_204], &["a"], 1100, vec![None, None]),
        (
            &[sse("id: 1\ndata: a\n\n"), sse("data: b\n\n"), AND_THEN_204],
            &["a", "b"],
            2200,
            vec![None, id("1"), id("1")],
        ),
        // The half of an event was none, and its id is not taken for read.
        (&[broken, AND_THEN_204], &["a"], 1100, vec![None, id("1")]),
        (&[sse("id: 1\n\n"), AND_THEN_204], &[], 1100, vec![None, id("1")]),
        (&[sse("id: 1\ndata: a\n\nid\ndata: b\n\n"), AND_THEN_204], &["a", "b"], 1100, vec![None, None]),
        // What the server says holds until it says otherwise.
        (&[sse("retry: 5000\ndata: a\n\n"), sse("data: b\n\n"), AND_THEN_204], &["a", "b"], 10_200, vec![None; 3]),
        (&[sse("retry: 0\ndata: a\n\n"), sse("data: b\n\n"), AND_THEN_204], &["a", "b"], 200, vec![None; 3]),
        (&[sse("retry: 99999999999999999999\ndata: a\n\n"), AND_THEN_204], &["a"], 86_400_100, vec![None; 2]),
        // Who is cut off again and again comes less often: 100, 200 and 400 ms more.
        (&[sse("retry: 0\n"), sse(""), sse(": hello\n"), AND_THEN_204], &[], 700, vec![None; 4]),
        // The pipeline retries each connection, and it counts as one.
        (&[sse("id: 1\ndata: a\n\n"), Resets, AND_THEN_204], &["a"], 1200, vec![None, id("1"), id("1")]),
        (&[sse("id: 1\ndata: a\n\n"), Answers(503, &[], ""), AND_THEN_204], &["a"], 1200, vec![None, id("1"), id("1")]),
    ] {
        let (got, errors, elapsed, seen) = listen(Method::GET, script, 9);
        assert!(errors.is_empty() && got == data, "{script:?}: {got:?} {errors:?}");
        assert_eq!((elapsed, seen), (ms(at), ids), "{script:?}");
    }
}

#[test]
fn what_breaks_goes_on_and_what_is_refused_does_not() {
    let stalls = Does::StallsAs(SSE, "id: 1\ndata: a\n\ndata: half");
    let breaks = Does::BreaksAs(SSE, "id: 1\ndata: a\n\ndata: half");
    // After 30 s without a word.
    for (does, at) in [(stalls, 30_000 + 1100), (breaks, 1100)] {
        let (data, errors, elapsed, ids) = listen(Method::GET, &[does, AND_THEN_204], 9);
        assert!(errors.is_empty() && data == ["a"], "{does:?}: {data:?} {errors:?}");
        assert_eq!((elapsed, ids), (ms(at), vec![None, Some("1".to_owned())]), "{does:?}");
    }
    type Is = fn(&Error) -> bool;
    let table: [(Does, Is); 4] = [
        (Answers(404, &[], ""), |error| matches!(error, Error::NotFound(_))),
        (Answers(200, &[], "data: a\n\n"), |error| matches!(error, Error::NotEvents(_))),
        (Answers(200, &[("content-type", "text/html")], ""), |error| matches!(error, Error::NotEvents(_))),
        (Answers(302, &[], ""), |error| matches!(error, Error::Redirect { .. })),
    ];
    for (does, is) in table {
        let (_, errors, elapsed, ids) = listen(Method::GET, &[does], 9);
        assert!(matches!(&errors[..], [error] if is(error)), "{does:?}: {errors:?}");
        assert_eq!((elapsed, ids.len()), (Duration::ZERO, 1), "{does:?}");
    }
    // What may pass is an error too, when the retries are spent. Whoever asks again is connected, and not at once.
    let script = [sse("id: 1\ndata: a\n\n"), IsDown, IsDown, IsDown, sse("data: b\n\n"), AND_THEN_204];
    let (data, errors, elapsed, _) = listen(Method::GET, &script, 9);
    assert!(matches!(&errors[..], [Error::Connection { .. }]) && data == ["a", "b"], "{data:?} {errors:?}");
    assert_eq!(elapsed, ms(1100 + 300 + 1200 + 1100));
}

#[test]
fn what_must_not_be_repeated_is_not() {
    let post = |script: &[Does]| listen(Method::POST, script, 9);
    let (data, errors, _, ids) = post(&[sse("data: a\n\ndata: [DONE]\n\n")]);
    assert!(errors.is_empty() && data == ["a", "[DONE]"] && ids.len() == 1, "{data:?} {errors:?}");
    for does in [Does::BreaksAs(SSE, "data: a\n\n"), Does::StallsAs(SSE, "data: a\n\n")] {
        let (data, errors, _, ids) = post(&[does]);
        assert!(errors.len() == 1 && data == ["a"] && ids.len() == 1, "{does:?}: {data:?} {errors:?}");
    }
    let (clock, script) = (ManualClock::new(), Script::new(&[sse("data: a\n\n"), AND_THEN_204]));
    let client = builder(&clock, &script).header("idempotency-key", "one").build().unwrap();
    let events = client.post("prices").events().into_stream();
    let events: Vec<_> = clock.drive(events.collect()).unwrap();
    assert_eq!((events.len(), script.seen().len()), (1, 2));
}

#[test]
fn a_request_that_cannot_be_sent_again_is_refused() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    let stream = RequestBody::stream(futures_util::stream::empty::<Result<bytes::Bytes, BoxError>>());
    for (request, field) in [(client.get("a").body(stream), "body"), (client.get("a").header("a b", "c"), "header")] {
        let mut events = request.events();
        let error = clock.drive(events.next()).unwrap().unwrap().unwrap_err();
        assert!(error.to_string().starts_with(&format!("invalid request: {field} is ")), "{error}");
        assert!(clock.drive(events.next()).unwrap().is_none() && script.seen().is_empty());
    }
    let mut events = client.get("a").events().after("\u{1}");
    assert!(clock.drive(events.next()).unwrap().unwrap().is_err() && script.seen().is_empty());
}

#[test]
fn an_event_that_is_too_long_ends_the_stream() {
    let (clock, script) = (ManualClock::new(), Script::new(&[sse("data: a\n\ndata: 12345678901234567890\n\n")]));
    let client = builder(&clock, &script).build().unwrap();
    let mut events = client.get("prices").events().max_event(20).after("7");
    assert_eq!(clock.drive(events.next()).unwrap().unwrap().unwrap().id, "7");
    let error = clock.drive(events.next()).unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Error::BodyTooLong(_)) && script.open() == 0, "{error}");
    assert_eq!(script.seen()[0].headers["last-event-id"], "7");
    assert!(clock.drive(events.next()).unwrap().is_none());
}

#[test]
fn events_outlive_the_deadline_and_end_with_a_shutdown() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Does::StallsAs(SSE, "data: a\n\ndata: b\n\n")]));
    let client = builder(&clock, &script).build().unwrap();
    let mut events = client.get("prices").read_timeout(Duration::MAX).events();
    assert_eq!(clock.drive(events.next()).unwrap().unwrap().unwrap().data, "a");
    clock.advance(ms(60_000));
    assert_eq!(clock.drive(events.next()).unwrap().unwrap().unwrap().data, "b");
    let stop = client.shut_down(ms(10));
    let (stopped, next) = clock.drive(futures_util::future::join(stop, events.next())).unwrap();
    assert_eq!((stopped.finished, stopped.cancelled), (0, 1));
    assert!(matches!(next, Some(Err(Error::Cancelled(_)))), "{next:?}");
    assert!(clock.drive(events.next()).unwrap().is_none());
}

#[test]
fn nothing_is_lost_wherever_next_is_dropped() {
    let script = [sse("id: 1\ndata: a\n\n"), Resets, Does::BreaksAs(SSE, "id: 2\ndata: b\n\n"), sse("data: c\n\n")];
    for polls in 1..30 {
        let (clock, script) = (ManualClock::new(), Script::new(&[&script[..], &[AND_THEN_204]].concat()));
        let client = builder(&clock, &script).build().unwrap();
        let mut events = client.get("prices").events();
        let mut data = Vec::new();
        // Every future is dropped after so many polls, and asked for again.
        let mut tries = 0;
        let ended = loop {
            let next = {
                let (mut next, mut cx) = (pin!(events.next()), Context::from_waker(Waker::noop()));
                (0..polls).find_map(|_| {
                    let next = match next.as_mut().poll(&mut cx) {
                        std::task::Poll::Ready(next) => Some(next),
                        std::task::Poll::Pending => None,
                    };
                    clock.next_wake().into_iter().for_each(|next| clock.set(next));
                    next
                })
            };
            match next {
                Some(Some(Ok(event))) => data.push(event.data),
                Some(Some(Err(error))) => panic!("{error}"),
                Some(None) => break true,
                None => tries += 1,
            }
            if tries > 100 {
                break false;
            }
        };
        assert!(!ended || data == ["a", "b", "c"], "{polls}: {data:?}");
        assert!(data.is_sorted() && data.windows(2).all(|two| two[0] != two[1]), "{polls}: {data:?}");
        drop(events);
        assert_eq!((script.open(), clock.next_wake()), (0, None), "{polls}");
        assert!(polls < 10 || ended, "{polls} are enough: {data:?}");
    }
}

#[test]
fn what_must_not_be_repeated_is_sent_once_wherever_next_is_dropped() {
    let (clock, script) = (ManualClock::new(), Script::new(&[AND_THEN_204, Hangs, sse("data: a\n\n")]));
    let limited = pipeline().rate_limit(TokenBucket::new(Quota::per_second(1).unwrap())).build().unwrap();
    let client = builder(&clock, &script).pipeline(limited).build().unwrap();
    clock.drive(client.get("first").send()).unwrap().unwrap();
    assert_eq!(script.seen().len(), 1);
    let mut events = client.post("prices").events();
    // It waits in line, is dropped there, and is sent the next time.
    for (after, want) in [(0, 0), (1000, 1)] {
        clock.advance(ms(after));
        assert!(pin!(events.next()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(script.seen().len(), want);
    }
    let error = clock.drive(events.next()).unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error}");
    assert!(clock.drive(events.next()).unwrap().is_none() && script.seen().is_empty());
}
