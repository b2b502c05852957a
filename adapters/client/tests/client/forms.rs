//! Forms, files, and responses as they came.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::stream;
use http_body::Body as _;
use http_body_util::BodyExt;
use steadfast_client::{Multipart, Part};

use super::*;

/// The parts of a form as a server reads them: their heads and their contents.
fn read(content_type: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert!(boundary.len() <= 70 && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first has no line before it.
    let mut rest = &[b"\r\n", body].concat()[..];
    let mut parts = Vec::new();
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
    while let Some(at) = find(rest, &delimiter) {
        if let Some((head, content)) = rest[..at].split_first_chunk::<2>().map(|(_, part)| {
            let end = find(part, b"\r\n\r\n").unwrap_or(0);
            (String::from_utf8(part[..end].to_vec()).unwrap(), part.get(end + 4..).unwrap_or_default().to_vec())
        }) {
            parts.push((head, content));
        }
        rest = &rest[at + delimiter.len()..];
    }
    assert_eq!(rest, b"--\r\n", "and it ends");
    parts
}

fn whole(form: Multipart) -> (String, Bytes) {
    let content_type = form.content_type();
    let clock = ManualClock::new();
    let body = clock.drive(form.into_body().unwrap().collect()).unwrap().unwrap();
    (content_type, body.to_bytes())
}

#[test]
fn a_form_is_sent_as_browsers_send_it() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Resets]));
    let client = builder(&clock, &script).build().unwrap();
    let fields = [("name", "a lamp & more"), ("grüße", "=+%"), ("name", "")];
    let request = client.post("items").idempotency(Idempotency::Idempotent).form(fields);
    clock.drive(request.send()).unwrap().unwrap();
    let seen = script.seen();
    assert_eq!(seen.len(), 2);
    for seen in &seen {
        assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(seen.body, "name=a+lamp+%26+more&gr%C3%BC%C3%9Fe=%3D%2B%25&name=");
    }
}

#[test]
fn the_parts_of_a_form_are_what_was_put_in() {
    let text = |name: &'static str, content: &'static str| (name, content);
    for (name, file_name, want) in [
        ("photo", None, "Content-Disposition: form-data; name=\"photo\""),
        ("photo", Some("lamp.jpg"), "Content-Disposition: form-data; name=\"photo\"; filename=\"lamp.jpg\""),
        // What would end the name, or begin another line, cannot.
        ("a\"; x=\"", None, "Content-Disposition: form-data; name=\"a%22; x=%22\""),
        ("a\r\nX-Injected: 1", None, "Content-Disposition: form-data; name=\"a%0D%0AX-Injected: 1\""),
        ("a", Some("\"\r\n\\%41"), "Content-Disposition: form-data; name=\"a\"; filename=\"%22%0D%0A\\%41\""),
        // Any other is sent as it is, in UTF-8.
        ("größe", Some("大.png"), "Content-Disposition: form-data; name=\"größe\"; filename=\"大.png\""),
    ] {
        for (content, media_type) in
            [text("", ""), text("hello", "text/plain; charset=utf-8"), text("\r\n--x--\r\n", "")]
        {
            let mut part = Part::new(content);
            let mut want = want.to_owned();
            if let Some(file_name) = file_name {
                part = part.file_name(file_name);
            }
            if !media_type.is_empty() {
                part = part.content_type(media_type);
                want += &format!("\r\nContent-Type: {media_type}");
            }
            let (content_type, body) = whole(Multipart::new().text("first", "1").part(name, part));
            let parts = read(&content_type, &body);
            assert_eq!(parts[0].1, b"1");
            assert_eq!(parts[1..], [(want, content.as_bytes().to_vec())]);
        }
    }
    let (content_type, body) = whole(Multipart::new());
    assert!(read(&content_type, &body).is_empty());
}

#[test]
fn nobody_can_guess_a_boundary() {
    let boundaries: std::collections::BTreeSet<_> = (0..1000).map(|_| Multipart::new().content_type()).collect();
    assert_eq!(boundaries.len(), 1000);
    let given = Multipart::with_entropy([1, u64::MAX]).content_type();
    assert_eq!(given, "multipart/form-data; boundary=steadfast-0000000000000001ffffffffffffffff");
}

#[test]
fn parts_that_are_streams_make_a_stream() {
    let streamed =
        || RequestBody::stream(stream::iter(["ab", "cd"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part)))));
    for (body, length_is_known) in
        [(RequestBody::from("abcd"), true), (streamed(), false), (streamed().with_length(4), true)]
    {
        let form = Multipart::new().text("title", "Lamp").part("file", Part::new(body).file_name("f"));
        let (clock, script) = (ManualClock::new(), Script::new(&[Answers(503, &[], "")]));
        let client = builder(&clock, &script).build().unwrap();
        clock.drive(client.put("items").multipart(form).send()).unwrap().unwrap();
        assert_eq!(script.lengths().iter().map(Option::is_some).collect::<Vec<_>>(), [length_is_known; 2]);
        for seen in script.seen() {
            let parts = read(seen.headers["content-type"].to_str().unwrap(), &seen.body);
            assert_eq!((&*parts[0].1, &*parts[1].1), (&b"Lamp"[..], &b"abcd"[..]));
        }
    }
    let failing = RequestBody::stream(stream::iter([Ok(Bytes::from("ab")), Err("disk gone")]));
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    let form = Multipart::new().part("file", Part::new(failing));
    let error = clock.drive(client.put("items").multipart(form).send()).unwrap().unwrap_err();
    assert!(matches!(error, Error::Body { .. }) && script.seen().is_empty(), "{error}");
    let endless = RequestBody::stream(stream::pending::<Result<Bytes, BoxError>>()).with_length(u64::MAX);
    let form = Multipart::new().part("file", Part::new(endless));
    assert_eq!(form.into_body().unwrap().size_hint().exact(), None, "too long to be told");
}

#[test]
fn a_part_that_cannot_be_is_refused_and_nothing_is_sent() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    let form = Multipart::new().part("a", Part::new("SECRET").content_type("text/plain\r\nx: SECRET"));
    assert!(!format!("{form:?}").contains("SECRET"));
    let error = clock.drive(client.post("items").multipart(form).send()).unwrap().unwrap_err();
    assert!(error.to_string().starts_with("invalid request: header is \"content-type\""), "{error}");
    assert!(!format!("{error:?}").contains("SECRET") && script.seen().is_empty());
}

#[test]
fn a_raw_response_has_any_status_after_the_retries_that_it_calls_for() {
    for (script, status, attempts) in [
        (&[Answers(404, &[], "why")][..], 404, 1),
        (&[Answers(302, &[], "why")], 302, 1),
        (&[Answers(200, &[], "why")], 200, 1),
        (&[Answers(503, &[], "why"); 3], 503, 3),
        (&[Answers(503, &[], ""), Answers(409, &[], "why")], 409, 2),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(script));
        let client = builder(&clock, &script).build().unwrap();
        let response = clock.drive(client.get("items").send_raw()).unwrap().unwrap();
        assert_eq!((response.status().as_u16(), response.attempts()), (status, attempts));
        assert_eq!(response.text().unwrap(), "why");
    }
    // Where there is no response, there is an error.
    type Is = fn(&Error) -> bool;
    let table: [(Does, Is); 4] = [
        (IsDown, |error| matches!(error, Error::Connection { .. })),
        (BreaksOff, |error| matches!(error, Error::Connection { .. })),
        (Hangs, |error| matches!(error, Error::AttemptTimeout(_))),
        (GoesOnForEver, |error| matches!(error, Error::BodyTooLong(_))),
    ];
    for (does, is) in table {
        let (clock, script) = (ManualClock::new(), Script::new(&[does; 3]));
        let client = builder(&clock, &script).max_body(10_000).build().unwrap();
        let error = clock.drive(client.get("items").send_raw()).unwrap().unwrap_err();
        assert!(is(&error), "{does:?}: {error:?}");
    }
}

#[test]
fn json_that_is_not_what_was_expected_says_where() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // Read by nobody but serde.
    struct Order {
        items: Vec<Item>,
        note: Option<String>,
        kind: Option<Kind>,
        prices: Option<HashMap<String, u32>>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    enum Kind {
        Gift { to: Option<Item> },
    }
    let long = format!(r#"{{"items": [], "prices": {{"{}": "x"}}}}"#, "k".repeat(1000));
    for (body, path) in [
        (r#"{"items": [{"name": "a"}, {"name": 7}]}"#, "items[1].name"),
        (r#"{"items": [{"nam": "a"}]}"#, "items[0]"),
        (r#"{"items": {}}"#, "items"),
        (r#"{"items": [], "note": []}"#, "note"),
        // What is unknown is no place, but what was found there. A map's key is one, and shown if it looks like a name.
        (r#"{"items": [], "kind": "SECRET"}"#, "kind"),
        (r#"{"items": [], "kind": {"SECRET": 1}}"#, "kind"),
        (r#"{"items": [], "kind": {"Gift": {"SECRET": 1}}}"#, "kind.Gift"),
        (r#"{"items": [], "prices": {"a": 1, "lamp": "x"}}"#, "prices.lamp"),
        (r#"{"items": [], "prices": {"a": 1, "SECRET@example.com": "x"}}"#, "prices.*"),
        (Box::leak(long.into_boxed_str()), "prices.*"),
        (r#"{"items": []"#, "."),
        (r#"{"items": []} x"#, "."),
        ("<html>", "."),
        ("", "."),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[], body)]));
        let client = builder(&clock, &script).build().unwrap();
        let error = clock.drive(client.get("orders/1").send()).unwrap().unwrap().json::<Order>().unwrap_err();
        let Error::Decode { path: got, failure, .. } = &error else { panic!("{error:?}") };
        assert_eq!((&**got, failure.body()), (path, body.as_bytes()), "{error}");
        assert!(error.to_string().contains(&format!("not what was expected at {path}: ")), "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}
