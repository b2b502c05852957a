//! RFC 9111 through the whole client: what is kept, how long it is the answer, and for whom.

use steadfast_client::MemoryStore;

use super::*;

#[test]
fn what_is_fresh_is_answered_without_a_request_a_token_or_an_attempt() {
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE]));
    let client = cached(&clock, &script).build().unwrap();
    let first = clock.drive(client.get("items").send()).unwrap().unwrap();
    assert_eq!((first.cache_status(), first.attempts(), first.headers().get(AGE)), (CacheStatus::Missed, 1, None));
    clock.advance(ms(7500));
    // More than there are tokens.
    for _ in 0..50 {
        let hit = clock.drive(client.get("items").send()).unwrap().unwrap();
        assert_eq!((hit.cache_status(), hit.attempts()), (CacheStatus::Hit { age: ms(7500) }, 0));
        // §4: a MUST.
        assert_eq!((hit.headers()[AGE].as_bytes(), hit.bytes().as_ref()), (&b"7"[..], &b"one"[..]));
        // RFC 9110 §6.6.1: a MUST.
        assert_eq!(hit.headers()["date"], "Sun, 06 Nov 1994 08:49:37 GMT");
    }
    assert_eq!((elapsed(&clock), script.seen().len()), (ms(7500), 1));
}

#[test]
fn what_comes_from_the_cache_costs_nothing() {
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE, SAME]));
    let client = cached(&clock, &script).build().unwrap();
    let read = Arc::new(std::sync::atomic::AtomicU32::new(0));
    for (after, want) in [(0, "server"), (59_000, "hit"), (1000, "validated")] {
        clock.advance(ms(after));
        let read = Arc::clone(&read);
        let cost = move |_: &Response| Some(read.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        assert_eq!(came(clock.drive(client.get("items").cost(cost).send()).unwrap()).0, want);
    }
    // What is kept says what it cost when it was made, and that was paid.
    assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn rfc_9111_what_is_stored_and_for_how_long() {
    const NO_STORE: Does = Answers(200, &[("cache-control", "no-store, max-age=60")], "one");
    const NO_CACHE: Does = Answers(200, &[("cache-control", "no-cache, max-age=60"), ("etag", "\"a\"")], "one");
    const PRIVATE: Does = Answers(200, &[("cache-control", "private, max-age=60")], "one");
    const AGED: Does = Answers(200, &[("cache-control", "max-age=60"), ("age", "50")], "one");
    const EXPIRES: Does = Answers(200, &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], "one");
    const DATED: Does =
        Answers(200, &[("date", "Sun, 06 Nov 1994 08:48:47 GMT"), ("expires", "Sun, 06 Nov 1994 08:49:47 GMT")], "one");
    const SAID_NOTHING: Does = Answers(200, &[("last-modified", "Sun, 06 Nov 1984 08:49:37 GMT")], "one");
    const STRICT: Does = Answers(200, &[("cache-control", "max-age=60, must-revalidate"), ("etag", "\"a\"")], "one");
    const GONE: Does = Answers(404, &[("cache-control", "max-age=60")], "");
    const PART: Does = Answers(206, &[("cache-control", "max-age=60")], "one");
    const CREATED: Does = Answers(201, &[("cache-control", "max-age=60")], "one");
    let max_stale = ("cache-control", "max-stale");
    let twice = |script| [script, TWO];
    check("§3: no-store", &twice(NO_STORE), &[get(0, "server", "one", 1), get(0, "server", "two", 1)]);
    check(
        "§5.2.1.5: no-store of a request",
        &twice(MINUTE),
        &[asks(0, ("cache-control", "no-store"), "server", "one", 1), get(0, "server", "two", 1)],
    );
    check("§5.2.2.7: private", &[PRIVATE], &[get(0, "server", "one", 1), get(59, "hit", "one", 0)]);
    check(
        "§5.2.2.4: no-cache",
        &[NO_CACHE, SAME, TWO],
        &[get(0, "server", "one", 1), get(0, "validated", "one", 1), get(0, "server", "two", 1)],
    );
    check(
        "§4.2: the lifetime",
        &twice(MINUTE),
        &[get(0, "server", "one", 1), get(59, "hit", "one", 0), get(1, "server", "two", 1)],
    );
    check(
        "§4.2.3: the age",
        &twice(AGED),
        &[get(0, "server", "one", 1), get(9, "hit", "one", 0), get(1, "server", "two", 1)],
    );
    check(
        "§5.3: Expires",
        &twice(EXPIRES),
        &[get(0, "server", "one", 1), get(59, "hit", "one", 0), get(1, "server", "two", 1)],
    );
    check(
        "§4.2.3: the apparent age",
        &twice(DATED),
        &[get(0, "server", "one", 1), get(9, "hit", "one", 0), get(1, "server", "two", 1)],
    );
    check("nothing is guessed", &twice(SAID_NOTHING), &[get(0, "server", "one", 1), get(0, "server", "two", 1)]);
    check(
        "§5.2.2.2: must-revalidate",
        &[STRICT, IsDown, IsDown, IsDown, SAME],
        &[
            get(0, "server", "one", 1),
            asks(60, max_stale, "connection", "", 0),
            asks(0, max_stale, "validated", "one", 1),
        ],
    );
    check(
        "RFC 9110 §15.1: a 404",
        &twice(GONE),
        &[get(0, "not found", "", 1), get(59, "not found", "", 0), get(1, "server", "two", 1)],
    );
    check("§3.3: a part", &twice(PART), &[get(0, "server", "one", 1), get(0, "server", "two", 1)]);
    check("a status that is not known", &twice(CREATED), &[get(0, "server", "one", 1), get(0, "server", "two", 1)]);
    check("§3.3: what broke off", &[BreaksOff, TWO], &[get(0, "server", "two", 2), get(0, "hit", "two", 0)]);
    check(
        "§2: other URLs",
        &twice(MINUTE),
        &[
            get(0, "server", "one", 1),
            (0, Method::GET, "items?page=2", NONE, "server", "two", 1),
            get(0, "hit", "one", 0),
            (0, Method::GET, "items#top", NONE, "hit", "one", 0),
        ],
    );
}

#[test]
fn rfc_9111_section_5_2_1_what_a_request_may_say() {
    let cc = |value| ("cache-control", value);
    check(
        "§5.2.1.1: max-age",
        &[MINUTE, SAME, SAME],
        &[
            get(0, "server", "one", 1),
            asks(10, cc("max-age=10"), "hit", "one", 0),
            asks(1, cc("max-age=10"), "validated", "one", 1),
            asks(0, cc("max-age=0"), "hit", "one", 0),
            asks(1, cc("max-age=0"), "validated", "one", 1),
        ],
    );
    check(
        "§5.2.1.2: max-stale",
        &[MINUTE, SAME],
        &[
            get(0, "server", "one", 1),
            asks(65, cc("max-stale=5"), "stale, accepted", "one", 0),
            asks(1, cc("max-stale"), "stale, accepted", "one", 0),
            asks(0, cc("max-stale=5"), "validated", "one", 1),
        ],
    );
    check(
        "§5.2.1.3: min-fresh",
        &[MINUTE, SAME],
        &[
            get(0, "server", "one", 1),
            asks(50, cc("min-fresh=10"), "hit", "one", 0),
            asks(0, cc("min-fresh=11"), "validated", "one", 1),
        ],
    );
    check(
        "§5.2.1.4: no-cache",
        &[MINUTE, SAME, TWO],
        &[
            get(0, "server", "one", 1),
            asks(0, cc("no-cache"), "validated", "one", 1),
            asks(0, ("pragma", "no-cache"), "server", "two", 1),
        ],
    );
    check(
        "§5.2.1.7: only-if-cached",
        &[MINUTE],
        &[
            asks(0, cc("only-if-cached"), "not cached", "", 0),
            get(0, "server", "one", 1),
            asks(59, cc("only-if-cached"), "hit", "one", 0),
            asks(1, cc("only-if-cached"), "not cached", "", 0),
            asks(0, cc("only-if-cached, max-stale"), "stale, accepted", "one", 0),
        ],
    );
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = cached(&clock, &script).build().unwrap();
    let error =
        clock.drive(client.get("items?k=s").header("cache-control", "only-if-cached").send()).unwrap().unwrap_err();
    let sentence = "GET https://api.example.com/v1/items after 0 attempts in 0.0ns: not in the cache";
    assert_eq!((&*error.to_string(), error.is_retryable(), error.status()), (sentence, false, None));
}

#[test]
fn rfc_9111_section_4_3_what_is_asked_and_what_a_304_renews() {
    const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT");
    const OLD: Does = Answers(
        200,
        &[
            ("cache-control", "max-age=1"),
            ("etag", "\"a\""),
            MODIFIED,
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-b", "1"),
            ("content-type", "text/plain"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
        ],
        "one",
    );
    const NEW: Does = Answers(
        304,
        &[
            ("cache-control", "max-age=9"),
            ("etag", "\"a\""),
            ("x-a", "3"),
            ("x-c", "1"),
            ("x-c", "2"),
            ("content-type", "text/html"),
            ("content-length", "0"),
        ],
        "",
    );
    let (clock, script) = (ManualClock::new(), Script::new(&[OLD, NEW]));
    let client = cached(&clock, &script).build().unwrap();
    let send = || clock.drive(client.get("items").send()).unwrap().unwrap();
    assert_eq!(send().headers()["x-hop"], "1", "the caller sees all of it");
    clock.advance(ms(1000));
    let validated = send();
    // §4.3.1: both, a MUST and a SHOULD.
    let conditions = &script.seen()[1].headers;
    assert_eq!(
        (&conditions[IF_NONE_MATCH], &conditions[IF_MODIFIED_SINCE]),
        (&"\"a\"".parse().unwrap(), &MODIFIED.1.parse().unwrap())
    );
    clock.advance(ms(8000));
    for response in [validated, send()] {
        let values = |name: &str| {
            response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
        };
        // §3.2: replaced and added by what was told, and never what is about the content.
        assert_eq!((values("x-a"), values("x-b"), values("x-c")), (vec!["3"], vec!["1"], vec!["1", "2"]));
        assert_eq!((values("content-type"), values("content-length")), (vec!["text/plain"], vec![]));
        // §3.1: a MUST NOT.
        assert_eq!((values("x-hop"), values("connection"), values("keep-alive")), (vec![], vec![], vec![]));
        assert_eq!((response.status(), response.bytes().as_ref()), (StatusCode::OK, &b"one"[..]));
    }
    assert_eq!(script.seen().len(), 0, "it was renewed");
}

/// RFC 9111 §5.2.1.5: nothing of the exchange is kept, and so what is kept is as old as it was.
#[test]
fn a_request_that_is_not_to_be_stored_renews_nothing() {
    let no_store = ("cache-control", "no-store");
    check(
        "no-store",
        &[MINUTE, SAME, SAME],
        &[
            get(0, "server", "one", 1),
            asks(100, no_store, "validated", "one", 1),
            get(0, "validated", "one", 1),
            get(0, "hit", "one", 0),
        ],
    );
}

#[test]
fn rfc_9111_section_4_3_4_a_304_for_something_else_renews_nothing() {
    const OTHER: Does = Answers(304, &[("etag", "\"x\"")], "");
    const KEEP_NOT: Does = Answers(304, &[("etag", "\"a\""), ("cache-control", "no-store")], "");
    const DATED: Does = Answers(200, &[("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT")], "one");
    const OTHER_DATE: Does = Answers(304, &[("last-modified", "Sun, 06 Nov 1994 08:00:01 GMT")], "");
    // It is asked for once more, without conditions.
    check(
        "a MUST NOT",
        &[MINUTE, OTHER, TWO],
        &[get(0, "server", "one", 1), get(60, "server", "two", 2), get(0, "hit", "two", 0)],
    );
    check(
        "not to be kept any more",
        &[MINUTE, KEEP_NOT, TWO],
        &[get(0, "server", "one", 1), get(60, "server", "two", 2)],
    );
    check("by its date", &[DATED, OTHER_DATE, TWO], &[get(0, "server", "one", 1), get(0, "server", "two", 2)]);
    check("twice", &[MINUTE, OTHER, OTHER], &[get(0, "server", "one", 1), get(60, "server", "", 2)]);
}

#[test]
fn rfc_9111_section_4_1_what_varies_is_found_by_what_it_varies_by() {
    const ONE: Does = Answers(200, &[("cache-control", "max-age=60"), ("vary", "Accept, accept-language")], "one");
    const TWO: Does = Answers(200, &[("cache-control", "max-age=60"), ("vary", "accept")], "two");
    const ANYTHING: Does = Answers(200, &[("cache-control", "max-age=60"), ("vary", "*")], "one");
    const NONSENSE: Does = Answers(200, &[("cache-control", "max-age=60"), ("vary", "a b")], "one");
    let json = ("accept", "application/json");
    let csv = ("accept", "text/csv");
    check(
        "a MUST NOT",
        &[ONE, TWO],
        &[
            asks(0, json, "server", "one", 1),
            asks(0, csv, "server", "two", 1),
            asks(0, json, "hit", "one", 0),
            asks(0, csv, "hit", "two", 0),
            // Not there is not the same as any.
            get(0, "server", "{}", 1),
        ],
    );
    check("by anything", &[ANYTHING, TWO], &[get(0, "server", "one", 1), get(0, "server", "two", 1)]);
    check("by no name", &[NONSENSE, TWO], &[get(0, "server", "one", 1), get(0, "server", "two", 1)]);
    // What it does not vary by is no matter.
    check("by nothing", &[MINUTE], &[asks(0, json, "server", "one", 1), asks(0, csv, "hit", "one", 0)]);
}

#[test]
fn nobody_has_what_was_kept_for_other_credentials() {
    for field in ["authorization", "cookie", "x-api-key", "x-whatever-the-api-calls-it"] {
        check(
            field,
            &[MINUTE, TWO],
            &[
                asks(0, (field, "ann"), "server", "one", 1),
                asks(0, (field, "bob"), "server", "two", 1),
                asks(0, (field, "ann"), "hit", "one", 0),
                get(0, "server", "{}", 1),
            ],
        );
    }
    // Two clients with one store.
    let store = Arc::new(MemoryStore::new());
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE, TWO]));
    let client = |token| {
        let cache = Cache::with_store(Arc::clone(&store));
        builder(&clock, &script).wall_clock(wall).cache(cache).auth(Auth::bearer(token).unwrap()).build().unwrap()
    };
    let (ann, bob) = (client("ann"), client("bob"));
    for (client, want) in
        [(&ann, ("server", "one")), (&bob, ("server", "two")), (&ann, ("hit", "one")), (&bob, ("hit", "two"))]
    {
        let got = came(clock.drive(client.get("items").send()).unwrap());
        assert_eq!((got.0, &*got.1), want);
    }
    assert_eq!(store.urls(), 2);
}

#[test]
fn what_varies_by_a_signature_is_validated_each_time() {
    const VARIES: Does =
        Answers(200, &[("cache-control", "max-age=60"), ("etag", "\"a\""), ("vary", "Authorization")], "one");
    const BY_CONTENT: Does =
        Answers(200, &[("cache-control", "max-age=60"), ("etag", "\"a\""), ("vary", "Accept")], "one");
    let signer = |head: &mut http::request::Parts, _: Option<&bytes::Bytes>| {
        head.headers.insert("authorization", "of this moment".parse()?);
        Ok(())
    };
    for (auth, does, want) in [
        (Auth::signer(signer), VARIES, "validated"),
        (Auth::signer(signer), BY_CONTENT, "hit"),
        // One and the same for all calls of the client.
        (Auth::bearer("a").unwrap(), VARIES, "hit"),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[does, SAME]));
        let client = cached(&clock, &script).auth(auth).build().unwrap();
        clock.drive(client.get("items").send()).unwrap().unwrap();
        assert_eq!(came(clock.drive(client.get("items").send()).unwrap()).0, want);
    }
}

#[test]
fn what_goes_past_the_cache_leaves_it_as_it_is() {
    let range = ("range", "bytes=0-1");
    let own = ("if-none-match", "\"z\"");
    const PART: Does = Answers(206, &[("cache-control", "max-age=60")], "o");
    check(
        "§14 of RFC 9110: a range",
        &[MINUTE, PART, PART],
        &[
            get(0, "server", "one", 1),
            asks(0, range, "past", "o", 1),
            asks(0, range, "past", "o", 1),
            get(0, "hit", "one", 0),
        ],
    );
    check(
        "conditions of its own",
        &[MINUTE, SAME],
        &[get(0, "server", "one", 1), asks(0, own, "past", "", 1), get(0, "hit", "one", 0)],
    );
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE, TWO, TWO, TWO, TWO]));
    let client = cached(&clock, &script).build().unwrap();
    let send = |request: steadfast_client::RequestBuilder<'_, _, _, _>| came(clock.drive(request.send()).unwrap()).0;
    assert_eq!(send(client.get("items")), "server");
    assert_eq!(send(client.get("items").without_cache()), "past");
    assert_eq!(send(client.get("items").body("what is asked")), "past");
    assert_eq!(send(client.options("items")), "past");
    assert!(clock.drive(client.get("items").send_streaming()).unwrap().is_ok());
    assert_eq!((script.seen().len(), send(client.get("items"))), (5, "hit"));
    // Without a cache, none of this is.
    let client = builder(&clock, &script).build().unwrap();
    assert_eq!(send(client.get("items")), "past");
}

#[test]
fn a_head_is_answered_by_what_a_get_brought_and_renews_or_ends_it() {
    const SAME_HEAD: Does =
        Answers(200, &[("etag", "\"a\""), ("cache-control", "max-age=60"), ("content-length", "3")], "");
    const OTHER_LENGTH: Does = Answers(200, &[("etag", "\"a\""), ("content-length", "4")], "");
    const OTHER_TAG: Does = Answers(200, &[("etag", "\"b\"")], "");
    let head = |after, want, sent| (after, Method::HEAD, "items", NONE, want, "", sent);
    check("RFC 9110 §9.3.2", &[MINUTE], &[get(0, "server", "one", 1), head(59, "hit", 0)]);
    check("it alone is not kept", &[SAME_HEAD, MINUTE], &[head(0, "server", 1), get(0, "server", "one", 1)]);
    check(
        "§4.3.5: renewed",
        &[MINUTE, SAME_HEAD],
        &[get(0, "server", "one", 1), head(60, "server", 1), get(59, "hit", "one", 0)],
    );
    check(
        "§4.3.5: another length",
        &[MINUTE, OTHER_LENGTH, TWO],
        &[
            get(0, "server", "one", 1),
            head(60, "server", 1),
            asks(0, ("cache-control", "max-stale"), "server", "two", 1),
        ],
    );
    check(
        "§4.3.5: another tag",
        &[MINUTE, OTHER_TAG, TWO],
        &[
            get(0, "server", "one", 1),
            head(60, "server", 1),
            asks(0, ("cache-control", "max-stale"), "server", "two", 1),
        ],
    );
}

#[test]
fn without_a_clock_on_the_wall_every_use_is_validated() {
    // RFC 9111 §4: a MUST NOT.
    const FOREVER: Does = Answers(200, &[("cache-control", "max-age=60, stale-if-error=60"), ("etag", "\"a\"")], "one");
    let (clock, script) = (ManualClock::new(), Script::new(&[FOREVER, SAME, IsDown, IsDown, IsDown]));
    let client = cached(&clock, &script).wall_clock(|| None).build().unwrap();
    play(
        "no clock",
        &clock,
        &script,
        &client,
        &[
            get(0, "server", "one", 1),
            get(0, "validated", "one", 1),
            get(0, "connection", "", 0),
            asks(0, ("cache-control", "only-if-cached, max-stale"), "not cached", "", 0),
        ],
    );
}

#[test]
fn a_guess_is_made_where_it_is_allowed() {
    const TEN_MINUTES_OLD: Does = Answers(200, &[("last-modified", "Sun, 06 Nov 1994 08:39:37 GMT")], "one");
    for (longest, fresh) in [(ms(0), 0), (ms(7000), 7), (Duration::MAX, 60)] {
        let (clock, script) = (ManualClock::new(), Script::new(&[TEN_MINUTES_OLD]));
        let cache = Cache::in_memory().heuristic_freshness(longest);
        let client = builder(&clock, &script).wall_clock(wall).cache(cache).build().unwrap();
        clock.drive(client.get("items").send()).unwrap().unwrap();
        let hits = (0..100).take_while(|_| {
            let hit = came(clock.drive(client.get("items").send()).unwrap()).0 == "hit";
            clock.advance(ms(1000));
            hit
        });
        assert_eq!(hits.count(), fresh, "{longest:?}");
    }
}

#[test]
fn what_names_a_call_keeps_nobody_from_its_answer() {
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE]));
    let cache = Cache::in_memory().ignored_field("X-Trace");
    let client = builder(&clock, &script).wall_clock(wall).cache(cache).request_ids("x-request-id").build().unwrap();
    let send = |trace| came(clock.drive(client.get("items").header("x-trace", trace).send()).unwrap()).0;
    assert_eq!((send("a"), send("b"), script.seen().len()), ("server", "hit", 1));
    let error = builder(&clock, &script).cache(Cache::in_memory().ignored_field("a b")).build().unwrap_err();
    assert!(error.to_string().starts_with("invalid request: header is "), "{error}");
}

#[test]
fn redirects_are_not_kept_and_what_they_lead_to_is() {
    const THERE: Does = Answers(302, &[("location", "/v1/there"), ("cache-control", "max-age=60")], "");
    const ELSEWHERE: Does = Answers(302, &[("location", "https://elsewhere.example.com/x")], "");
    let (clock, script) = (ManualClock::new(), Script::new(&[THERE, MINUTE, THERE, ELSEWHERE, TWO, ELSEWHERE, TWO]));
    let client = cached(&clock, &script).redirects(steadfast_client::Redirects::any_origin()).build().unwrap();
    play("at home", &clock, &script, &client, &[get(0, "server", "one", 2), get(0, "hit", "one", 1)]);
    play("elsewhere", &clock, &script, &client, &[get(1, "past", "two", 2), get(1, "past", "two", 2)]);
}

#[test]
fn memory_has_a_bound_in_bytes_and_in_urls() {
    const LONG: Does = Answers(200, &[("cache-control", "max-age=60")], {
        const BYTES: [u8; 1000] = [b'x'; 1000];
        match std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => "",
        }
    });
    for (max_bytes, max_urls, max_response) in
        [(10_000, 1000, 2000), (1_000_000, 7, 2000), (0, 1000, 2000), (1_000_000, 0, 2000), (1_000_000, 1000, 1000)]
    {
        let store = Arc::new(MemoryStore::new().with_max_bytes(max_bytes).with_max_urls(max_urls));
        let (clock, script) = (ManualClock::new(), Script::new(&[LONG; 200]));
        let cache = Cache::with_store(Arc::clone(&store)).max_response(max_response);
        let client = builder(&clock, &script).wall_clock(wall).cache(cache).build().unwrap();
        for page in 0..100 {
            clock.drive(client.get("items").query("page", &page.to_string()).send()).unwrap().unwrap();
            assert!(store.bytes() <= max_bytes && store.urls() <= max_urls, "{store:?}");
            // What is counted is what is there.
            assert!(store.bytes() >= 1000 * store.urls(), "{store:?}");
        }
        let keeps = max_bytes.min(max_urls) > 0 && max_response > 1000;
        assert_eq!(store.urls() > 0, keeps, "{store:?}");
        // The last one is there, if any is.
        script.seen();
        clock.drive(client.get("items").query("page", "99").send()).unwrap().unwrap();
        assert_eq!(script.seen().is_empty(), keeps);
        // One URL that varies without end.
        for number in 0..100 {
            clock.drive(client.get("one").header("x-user", &number.to_string()).send()).unwrap().unwrap();
            assert!(store.bytes() <= max_bytes, "{store:?}");
        }
        assert_eq!(steadfast_client::check_store(&store), Ok(()));
        assert!(store.bytes() <= max_bytes && store.urls() <= max_urls, "{store:?}");
    }
}
