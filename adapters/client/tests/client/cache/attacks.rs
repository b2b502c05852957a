//! What a hostile server, a careless caller or a bad store may try.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use futures_util::future::join;
use proptest::prelude::*;
use steadfast_client::{CacheKey, MemoryStore, Resource, Store};

use super::*;

/// Promise 6.
#[test]
fn a_get_that_does_something_is_made_each_time_and_once() {
    const OTHER: Does = Answers(304, &[("etag", "\"x\"")], "");
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE, MINUTE, OTHER]));
    let client = cached(&clock, &script).build().unwrap();
    let send = || client.get("visit").idempotency(Idempotency::NotIdempotent).send();
    let (one, two) = clock.drive(join(send(), send())).unwrap();
    assert_eq!((came(one).0, came(two).0, script.seen().len()), ("past", "past", 2));
    assert_eq!(clock.drive(send()).unwrap().unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(script.seen().len(), 1);
}

/// Its request was sent first, and its answer comes last.
#[test]
fn an_answer_that_comes_late_takes_the_place_of_none_that_was_asked_for_later() {
    let clock = clock();
    let script = Script::new(&[Does::Later(clock, 900, &MINUTE), TWO]);
    let client = cached(clock, &script).build().unwrap();
    // In a hurry, it does not wait for the other.
    let calls = join(client.get("items").send(), client.get("items").priority(9).send());
    clock.drive(calls).unwrap().0.unwrap();
    // Both were sent in the same instant, and the first is no older by that.
    let got = came(clock.drive(client.get("items").send()).unwrap());
    assert_eq!(got, ("hit", "one".to_owned()));
    let script = Script::new(&[Does::Later(clock, 900, &MINUTE), TWO]);
    let client = cached(clock, &script).build().unwrap();
    let second = async {
        use steadfast_core::time::{Clock, Timer};
        clock.sleep_until(clock.now() + ms(1)).await;
        client.get("items").priority(9).send().await
    };
    clock.drive(join(client.get("items").send(), second)).unwrap().0.unwrap();
    assert_eq!(came(clock.drive(client.get("items").send()).unwrap()), ("hit", "two".to_owned()));
}

/// Promise 9.
#[test]
fn what_varies_by_very_much_is_not_kept_and_costs_nothing() {
    let many: &'static str =
        Box::leak((0..33).map(|number| format!("x-{number},")).collect::<String>().into_boxed_str());
    let again: &'static str = Box::leak("accept,".repeat(100_000).into_boxed_str());
    for (vary, kept) in [(many, 0), (again, 1)] {
        let store = Arc::new(MemoryStore::new());
        let fields: &'static [(&str, &str)] = &*Box::leak(Box::new([("vary", vary), ("cache-control", "max-age=60")]));
        let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, fields, "one")]));
        let cache = Cache::with_store(Arc::clone(&store));
        let client = builder(&clock, &script).wall_clock(wall).cache(cache).build().unwrap();
        clock.drive(client.get("items").send()).unwrap().unwrap();
        assert_eq!(store.urls(), kept);
    }
}

/// A 304 that adds fields each time.
#[test]
fn what_is_renewed_for_ever_does_not_grow_for_ever() {
    let store = Arc::new(MemoryStore::new());
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[("etag", "\"a\"")], "one")]));
    let cache = Cache::with_store(Arc::clone(&store)).max_response(20_000);
    let client = builder(&clock, &script).wall_clock(wall).cache(cache).build().unwrap();
    for round in 0..200 {
        clock.drive(client.get("items").send()).unwrap().unwrap();
        assert!(store.bytes() <= 20_000 + 1000, "{store:?}");
        clock.advance(ms(1000));
        let name: &'static str = Box::leak(format!("x-{round}").into_boxed_str());
        let value: &'static str = Box::leak("y".repeat(1000).into_boxed_str());
        let fields: &'static [(&str, &str)] = &*Box::leak(Box::new([("etag", "\"a\""), (name, value)]));
        script.then(&[Answers(304, fields, "")]);
    }
}

/// A store that panics whenever it is told to keep or to forget something.
struct Panics(RefCell<u32>);

#[derive(Clone)]
struct Broken(Arc<Mutex<Panics>>);

impl Broken {
    fn panics(&self) {
        let lock = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let left = *lock.0.borrow();
        *lock.0.borrow_mut() = left.saturating_sub(1);
        drop(lock);
        assert!(left == 0, "as it should");
    }
}

impl Store for Broken {
    fn get(&self, _: &CacheKey) -> Option<Arc<Resource>> {
        None
    }

    fn put(&self, _: &CacheKey, _: Arc<Resource>) {
        self.panics();
    }

    fn remove(&self, _: &CacheKey) {
        self.panics();
    }
}

/// Promises 3 and 4.
#[test]
fn a_store_that_panics_wedges_nobody() {
    let (clock, script) = (ManualClock::new(), Script::new(&[MINUTE, TWO]));
    let cache = Cache::with_store(Broken(Arc::new(Mutex::new(Panics(RefCell::new(1))))));
    let client = builder(&clock, &script).wall_clock(wall).cache(cache).build().unwrap();
    let mut follower = Box::pin(client.get("items").send());
    {
        let mut leader = Box::pin(client.get("items").send());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(catch_unwind(AssertUnwindSafe(|| leader.as_mut().poll(&mut cx))).is_err());
    }
    let answer = clock.drive(follower.as_mut()).unwrap();
    assert_eq!((came(answer).1, elapsed(&clock)), ("two".to_owned(), ms(0)));
    assert_eq!((client.running(), client.waiting(), script.open()), (0, 0, 0));
}

/// Tells what keys and resources it is given.
#[derive(Default)]
struct Tells(Mutex<String>, MemoryStore);

impl Store for Tells {
    fn get(&self, key: &CacheKey) -> Option<Arc<Resource>> {
        *self.0.lock().unwrap() += &format!("{key:?} {key:#?} ");
        self.1.get(key)
    }

    fn put(&self, key: &CacheKey, resource: Arc<Resource>) {
        *self.0.lock().unwrap() += &format!("{key:?} {resource:?} {resource:#?} ");
        self.1.put(key, resource);
    }

    fn remove(&self, key: &CacheKey) {
        self.1.remove(key);
    }
}

#[test]
fn no_secret_is_printed_of_what_is_kept() {
    const SECRET: Does = Answers(
        200,
        &[("cache-control", "max-age=60"), ("etag", "\"s3cret\""), ("set-cookie", "s3cret"), ("vary", "x-user")],
        "s3cret",
    );
    let store = Arc::new(Tells::default());
    let cache = Cache::with_store(Arc::clone(&store)).ignored_field("x-trace");
    let mut printed = format!("{cache:?} {cache:#?}");
    let (clock, script) = (ManualClock::new(), Script::new(&[SECRET, SECRET, SECRET]));
    let client = cached(&clock, &script).cache(cache).auth(Auth::api_key_in_query("key", "s3cret")).build().unwrap();
    let request = || client.get("items?s3cret=s3cret").header("authorization", "s3cret").header("x-user", "s3cret");
    for after in [0, 1000, 60_000] {
        clock.advance(ms(after));
        let response = clock.drive(request().send()).unwrap().unwrap();
        printed += &format!("{response:?} {response:#?} {:?}", response.cache_status());
    }
    let error =
        clock.drive(request().header("cache-control", "only-if-cached, min-fresh=90").send()).unwrap().unwrap_err();
    printed += &format!("{error} {error:?} {client:?} {:?} {:?}", request(), store.1);
    printed += &store.0.lock().unwrap();
    assert!(printed.contains("api.example.com") && printed.contains("Resource"), "{printed}");
    assert_eq!(printed.find("s3cret"), None, "{printed}");
    // The key is in no URL that is kept, though it is in every one that is sent.
    assert!(script.seen().iter().all(|seen| seen.uri.ends_with("&key=s3cret")));
}

fn fields() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = prop::sample::select(vec![
        "cache-control",
        "cache-control",
        "cache-control",
        "expires",
        "date",
        "age",
        "last-modified",
        "vary",
        "etag",
        "connection",
        "content-length",
        "location",
        "content-location",
        "pragma",
    ]);
    let word = prop::sample::select(vec![
        "no-store",
        "no-cache",
        "max-age=60",
        "max-age=",
        "must-revalidate",
        "max-stale",
        "min-fresh=5",
        "immutable",
        "stale-while-revalidate=60",
        "stale-if-error=600",
        "only-if-cached",
        "18446744073709551615",
        "-1",
        ", ",
        ",",
        "\"a\"",
        "W/\"a\"",
        "\"b\"",
        "accept",
        "*",
        "etag",
        "\"",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Sun, 06 Nov 0000 00:00:00 GMT",
        "/v1/a",
        "http://[",
    ]);
    let value = prop::collection::vec(word, 0..5).prop_map(|words| words.concat());
    prop::collection::vec((name, value), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Promise 9: whatever is said by whom, and however time goes, there is an answer and a bound, and what is said not to be
    /// kept is not.
    #[test]
    fn whatever_is_said_there_is_an_answer_and_a_bound(
        answers in prop::collection::vec((prop::sample::select(vec![200_u16, 204, 206, 304, 404, 500, 503]), fields()), 1..12),
        asks in prop::collection::vec((fields(), 0..4_u8, prop_oneof![Just(0), 0..200_000_u64, Just(u64::MAX / 2_000_000)]), 1..12),
        wall in prop::sample::select(vec![None, Some(i64::MIN), Some(i64::MAX), Some(0), Some(784_111_777)]),
    ) {
        let walls: fn() -> Option<UnixTime> = match wall {
            None => || None,
            Some(i64::MIN) => || Some(UnixTime::from_secs(i64::MIN)),
            Some(i64::MAX) => || Some(UnixTime::from_secs(i64::MAX)),
            Some(0) => || Some(UnixTime::EPOCH),
            Some(_) => super::wall,
        };
        let does = answers.iter().map(|(status, fields)| {
            let fields = fields.iter().map(|(name, value)| (*name, &*Box::leak(value.clone().into_boxed_str())));
            Answers(*status, Box::leak(Vec::from_iter(fields).into_boxed_slice()), "body")
        });
        let does = Vec::from_iter(does);
        let (clock, script) = (ManualClock::new(), Script::new(&does));
        let store = Arc::new(MemoryStore::new().with_max_bytes(20_000));
        let cache = Cache::with_store(Arc::clone(&store)).heuristic_freshness(Duration::MAX);
        let client = builder(&clock, &script).wall_clock(walls).cache(cache).build().unwrap();
        let mut answered = 0;
        for (fields, method, after) in &asks {
            clock.advance(ms(*after));
            let method = [Method::GET, Method::GET, Method::HEAD, Method::PUT][usize::from(*method)].clone();
            let is_get = method == Method::GET;
            let mut request = client.request(method, "a");
            for (name, value) in fields {
                request = request.header(name, value);
            }
            let ended = clock.drive(request.send_raw());
            prop_assert!(ended.is_some(), "it hangs");
            let before = answered;
            answered += script.seen().len();
            if let (Some(Ok(response)), None) = (&ended, wall) {
                let is_used = matches!(response.cache_status(), CacheStatus::Hit { .. } | CacheStatus::Stale { .. });
                prop_assert!(!is_used, "nobody knows the time");
            }
            // What came last, and was not to be kept, is not what the next one has.
            let last = answered.checked_sub(1).filter(|_| answered > before && is_get);
            if let Some((_, fields)) = last.and_then(|last| answers.get(last)) {
                if fields.contains(&("cache-control", "no-store".to_owned())) {
                    let kept = clock.drive(client.get("a").header("cache-control", "only-if-cached, max-stale").send());
                    let by = kept.unwrap().ok().map(|response| response.headers().clone());
                    let told = by.is_some_and(|fields| fields.get_all("cache-control").iter().any(|value| value == "no-store"));
                    prop_assert!(!told, "it was not to be kept");
                }
            }
            prop_assert!(store.bytes() <= 20_000);
            prop_assert_eq!((script.open(), client.running(), client.waiting(), clock.next_wake()), (0, 0, 0, None));
        }
    }
}

#[test]
fn one_who_is_held_back_by_his_own_limit_keeps_nobody_with_another_key_waiting() {
    let clock = clock();
    let script = Script::new(&[]);
    let one = Quota::per_minute(12).unwrap();
    let client =
        cached(clock, &script).per_key(10, Pipeline::standard(), move || TokenBucket::new(one).into()).build().unwrap();
    clock.drive(client.get("x").limit_key("ann").send()).unwrap().unwrap();
    script.then(&[MINUTE, MINUTE]);
    // The next token of hers comes in five seconds.
    let ann = client.get("items").limit_key("ann").send();
    let bob = async {
        client.get("items").limit_key("bob").send().await.unwrap();
        elapsed(clock)
    };
    let (ann, bob) = clock.drive(join(ann, bob)).unwrap();
    assert_eq!((ann.is_ok(), bob), (true, ms(0)));
}
