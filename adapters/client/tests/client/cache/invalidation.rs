//! RFC 9111 §4.4: what unsafe calls do to what is kept.

use futures_util::future::join;

use super::*;

/// Whether what is kept of `items` is there still after this call.
fn survives(rule: &str, method: Method, path: &str, does: &[Does]) -> bool {
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE]));
    let client = cached(&clock, &script).build().unwrap();
    clock.drive(client.get("items").send()).unwrap().unwrap();
    script.then(does);
    let ended = clock.drive(client.request(method, path).body("new").without_retry().send());
    assert!(ended.is_some(), "{rule}");
    script.seen();
    // An answer that is of the server is not in the cache, whatever the script goes on with.
    let kept = clock.drive(client.get("items").header("cache-control", "only-if-cached").send()).unwrap();
    assert!(script.seen().is_empty(), "{rule}");
    kept.is_ok()
}

#[test]
fn an_unsafe_call_ends_what_is_kept_of_its_url() {
    const OK: Does = Answers(200, &[], "");
    const ITEMS: &str = "items";
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        assert!(!survives("a MUST", method.clone(), ITEMS, &[OK]), "{method}");
        assert!(survives("another URL", method, "others", &[OK]));
    }
    // A SHOULD: nobody knows what it does.
    assert!(!survives("an unknown method", Method::from_bytes(b"BREW").unwrap(), ITEMS, &[OK]));
    assert!(survives("a safe method", Method::OPTIONS, ITEMS, &[OK]));
    assert!(!survives("a redirect", Method::POST, ITEMS, &[Answers(303, &[("location", "/v1/others")], "")]));
    for status in [400, 404, 409, 422, 429] {
        let answers: &'static [Does] = &*Box::leak(Box::new([Answers(status, &[], "")]));
        assert!(survives("it was refused", Method::POST, ITEMS, answers), "{status}");
    }
    // Nobody knows whether it was done.
    for does in [Answers(500, &[], ""), Resets, BreaksOff, Hangs] {
        assert!(!survives("nobody knows", Method::POST, ITEMS, &[does]), "{does:?}");
    }
}

#[test]
fn what_an_answer_names_is_ended_too_at_the_same_origin() {
    for (field, value, survive) in [
        ("location", "/v1/items", false),
        ("location", "items", false),
        ("content-location", "https://api.example.com/v1/items", false),
        // A MUST NOT.
        ("location", "https://elsewhere.example.com/v1/items", true),
        ("content-location", "http://api.example.com/v1/items", true),
        ("location", "http://[", true),
        ("link", "/v1/items", true),
    ] {
        let fields: &'static [(&str, &str)] = &*Box::leak(Box::new([(field, value)]));
        let got = survives("by name", Method::POST, "orders", &[Answers(201, fields, "")]);
        assert_eq!(got, survive, "{field}: {value}");
        let refused = survives("by name, refused", Method::POST, "orders", &[Answers(404, fields, "")]);
        assert!(refused, "{field}: {value}");
    }
}

#[test]
fn wherever_an_unsafe_call_is_dropped_nobody_is_told_what_was_before() {
    for polls in 1..3 {
        let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE, Answers(503, &[], ""), Hangs]));
        let client = cached(&clock, &script).build().unwrap();
        clock.drive(client.get("items").send()).unwrap().unwrap();
        {
            let mut call = pin!(client.put("items").body("new").send());
            for _ in 0..polls {
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                clock.next_wake().into_iter().for_each(|next| clock.set(next));
            }
            // While it is under way, what was before is as good as what comes.
            assert_eq!(came(clock.drive(client.get("items").send()).unwrap()).0, "hit");
        }
        let kept = clock.drive(client.get("items").header("cache-control", "only-if-cached").send()).unwrap();
        assert!(kept.is_err(), "{polls}");
    }
}

#[test]
fn a_call_that_was_never_sent_ends_nothing() {
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE]));
    let one = TokenBucket::new(Quota::per_second(1).unwrap());
    let client = cached(&clock, &script).pipeline(pipeline().rate_limit(one).build().unwrap()).build().unwrap();
    clock.drive(client.get("items").send()).unwrap().unwrap();
    let refused = clock.drive(client.put("items").deadline(ms(10)).send()).unwrap().unwrap_err();
    assert_eq!(refused.failure().unwrap().attempts(), 0);
    assert_eq!(came(clock.drive(client.get("items").send()).unwrap()).0, "hit");
}

/// A GET begins, a PUT is made and ends, and only then does the GET: what it brings may be what was before.
#[test]
fn what_was_being_fetched_meanwhile_is_not_kept() {
    let clock = clock();
    let late = Does::Later(clock, 500, &MINUTE);
    let script = Script::new(&[late, Answers(200, &[], ""), TWO]);
    let client = cached(clock, &script).build().unwrap();
    let put = async {
        client.put("items").body("new").send().await.unwrap();
        // Whoever asks now is not told what was before either, though somebody is just fetching it.
        came(client.get("items").send().await)
    };
    let (before, after) = clock.drive(join(client.get("items").send(), put)).unwrap();
    assert_eq!((came(before).1, after), ("one".to_owned(), ("server", "two".to_owned())));
    assert_eq!(came(clock.drive(client.get("items").send()).unwrap()), ("hit", "two".to_owned()));
}
