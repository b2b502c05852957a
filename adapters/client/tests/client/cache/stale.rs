//! RFC 5861: stale answers while somebody asks, and in place of errors.

use std::cell::RefCell;

use futures_util::future::{join, join_all, select};
use steadfast_client::{ClientCredentials, Stopped};
use steadfast_core::event::{Event, Observer};
use steadfast_core::time::{Clock, Timer};

use super::*;

const IF_ERROR: Does = Answers(200, &[("cache-control", "max-age=60, stale-if-error=600"), ("etag", "\"a\"")], "one");
const REVALIDATE: Does =
    Answers(200, &[("cache-control", "max-age=60, stale-while-revalidate=30"), ("etag", "\"a\"")], "one");

#[derive(Clone, Default)]
struct FellBack(std::rc::Rc<RefCell<Vec<Rejected>>>);

impl Observer for FellBack {
    type Call = ();

    fn observe(&self, _: Instant, event: &Event) {
        if let Event::FellBack(rejected) = event {
            self.0.borrow_mut().push(*rejected);
        }
    }
}

#[test]
fn a_stale_answer_stands_in_for_errors_that_may_pass() {
    let stale = |after, sent| get(after, "stale, failed", "one", sent);
    for (rule, does, sent) in [
        ("the server is down", [IsDown; 3], 0),
        ("it breaks off", [BreaksOff; 3], 3),
        ("it says nothing", [Hangs; 3], 3),
        ("500", [Answers(500, &[], ""); 3], 3),
        ("503", [Answers(503, &[], ""); 3], 3),
        ("504", [Answers(504, &[], ""); 3], 3),
    ] {
        let script = [&[IF_ERROR][..], &does, &[SAME]].concat();
        check(rule, &script, &[get(0, "server", "one", 1), stale(100, sent), get(0, "validated", "one", 1)]);
    }
    for (rule, does, want) in [
        ("404", vec![Answers(404, &[], "")], "not found"),
        ("429", vec![Answers(429, &[], ""); 3], "rate limited"),
        ("501", vec![Answers(501, &[], "")], "server failed"),
    ] {
        let script = [&[IF_ERROR][..], &does].concat();
        check(rule, &script, &[get(0, "server", "one", 1), get(100, want, "", does.len())]);
    }
    let down = [IF_ERROR, IsDown, IsDown, IsDown, IsDown, IsDown, IsDown];
    // The retries take 300 ms, after which it is a little staler.
    check("as stale as it may be", &down, &[get(0, "server", "one", 1), stale(659, 0), get(1, "connection", "", 0)]);
    check(
        "the request says so",
        &[MINUTE, Answers(429, &[], ""), Answers(429, &[], ""), Answers(429, &[], "")],
        &[get(0, "server", "one", 1), asks(100, ("cache-control", "stale-if-error=100"), "stale, failed", "one", 3)],
    );
    check(
        "an error of before is no better",
        &[Answers(404, &[("cache-control", "max-age=1, stale-if-error=600")], ""), IsDown, IsDown, IsDown],
        &[get(0, "not found", "", 1), get(1, "connection", "", 0)],
    );
}

/// Who may not have an answer any more is not given what is kept of it; nor is the server to blame for what we could not ask.
#[test]
fn a_stale_answer_stands_in_for_nobody_whose_token_is_refused() {
    const TOKEN: Does = Answers(200, &[], r#"{"access_token":"t0ken","expires_in":100000}"#);
    const REFUSED: Does = Answers(401, &[("cache-control", "stale-if-error=600")], "");
    let oauth = || Auth::oauth2(ClientCredentials::new("https://login.example.com/token", "app", "s3cret").unwrap());
    const NO_TOKEN: Does = Answers(400, &[], "");
    for (rule, second) in [
        ("the token is refused", vec![REFUSED, TOKEN, REFUSED, REFUSED, REFUSED]),
        ("no new one is to be had", vec![REFUSED, NO_TOKEN, NO_TOKEN, NO_TOKEN]),
    ] {
        let script = [&[TOKEN, IF_ERROR][..], &second].concat();
        let (clock, script) = (ManualClock::new(), Script::new(&script));
        let client = cached(&clock, &script).auth(oauth()).build().unwrap();
        assert_eq!(came(clock.drive(client.get("items").send()).unwrap()).0, "server", "{rule}");
        assert_eq!(script.seen().len(), 2, "{rule}");
        clock.advance(ms(100_000));
        // Nor is one who waits for the same answer.
        let (one, two) = clock.drive(join(client.get("items").send(), client.get("items").send())).unwrap();
        for error in [one, two].map(Result::unwrap_err) {
            assert!(matches!(error, Error::Authentication(_) | Error::Token { .. }), "{rule}: {error}");
        }
    }
}

#[test]
fn a_stale_answer_stands_in_when_no_attempt_is_made() {
    let breaker = || CircuitBreaker::builder().failure_threshold(2).build().unwrap();
    let one_a_minute = || TokenBucket::new(Quota::per_minute(1).unwrap());
    for (rule, pipeline, deadline, want) in [
        ("the breaker is open", pipeline().circuit_breaker(breaker()), 10_000, "circuit open"),
        ("no token in time", pipeline().rate_limit(one_a_minute()), 500, "rate limited"),
        ("no time at all", pipeline(), 0, "deadline"),
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[IF_ERROR]));
        let told = FellBack::default();
        let client =
            cached(&clock, &script).pipeline(pipeline.build().unwrap()).observer(told.clone()).build().unwrap();
        clock.drive(client.get("items").send()).unwrap().unwrap();
        clock.advance(ms(60_000));
        script.then(&[IsDown; 9]);
        clock.drive(client.get("others").send()).unwrap().unwrap_err();
        script.seen();
        let send = |path: &'static str| clock.drive(client.get(path).deadline(ms(deadline)).send()).unwrap();
        assert_eq!(came(send("others")).0, want, "{rule}");
        let before = elapsed(&clock);
        let stale = send("items").unwrap();
        assert_eq!((from(&stale), stale.attempts(), elapsed(&clock)), ("stale, failed", 0, before), "{rule}");
        assert!(stale.headers()[AGE].to_str().unwrap().parse::<u64>().unwrap() >= 60, "{rule}: visibly stale");
        // It never passes for an answer of the server's.
        assert_eq!(told.0.borrow().len(), 1, "{rule}");
    }
}

#[test]
fn without_anybody_to_revalidate_a_stale_answer_is_validated_first() {
    check("nobody", &[REVALIDATE, SAME], &[get(0, "server", "one", 1), get(60, "validated", "one", 1)]);
}

async fn sleep(clock: &ManualClock, millis: u64) {
    clock.sleep_until(clock.now() + ms(millis)).await;
}

#[test]
fn a_stale_answer_is_given_at_once_while_somebody_revalidates() {
    let clock = clock();
    let slowly = Does::Later(clock, 500, &TWO);
    let script = Script::new(&[REVALIDATE, slowly]);
    let client = cached(clock, &script).build().unwrap();
    let calls = async {
        client.get("items").send().await.unwrap();
        sleep(clock, 60_000).await;
        let began = elapsed(clock);
        // As many as there are: one request is made for all.
        for _ in 0..20 {
            assert_eq!(came(client.get("items").send().await), ("stale, revalidating", "one".to_owned()));
        }
        assert_eq!(elapsed(clock), began);
        sleep(clock, 400).await;
        assert_eq!(came(client.get("items").send().await).0, "stale, revalidating");
        assert_eq!(client.running(), 1, "it counts as a call");
        sleep(clock, 101).await;
        assert_eq!(came(client.get("items").send().await), ("hit", "two".to_owned()));
        assert_eq!((script.seen().len(), client.running()), (2, 0));
    };
    clock.drive(select(pin!(calls), pin!(client.revalidations()))).unwrap();
}

#[test]
fn a_revalidation_that_fails_leaves_the_answer_as_long_as_it_may_be_given() {
    let (clock, script) = (ManualClock::new(), Script::new(&[REVALIDATE, IsDown, IsDown]));
    let once = pipeline().retry(Retry::builder().max_attempts(1).build().unwrap()).build().unwrap();
    let client = cached(&clock, &script).pipeline(once).build().unwrap();
    let calls = async {
        client.get("items").send().await.unwrap();
        sleep(&clock, 60_000).await;
        for _ in 0..2 {
            assert_eq!(came(client.get("items").send().await).0, "stale, revalidating");
            sleep(&clock, 10_000).await;
        }
        sleep(&clock, 10_000).await;
        assert_eq!(came(client.get("items").send().await), ("server", "{}".to_owned()), "its time is over");
    };
    clock.drive(select(pin!(calls), pin!(client.revalidations()))).unwrap();
}

#[test]
fn a_revalidation_goes_through_the_limits_and_the_breaker() {
    let clock = clock();
    let script = Script::new(&[REVALIDATE]);
    let one = TokenBucket::new(Quota::per_minute(1).unwrap());
    let client = cached(clock, &script).pipeline(pipeline().rate_limit(one).build().unwrap()).build().unwrap();
    let calls = async {
        client.get("items").send().await.unwrap();
        sleep(clock, 60_000).await;
        client.get("others").send().await.unwrap();
        script.then(&[SAME]);
        // The token is gone, and the next is too late for its deadline.
        assert_eq!(came(client.get("items").send().await).0, "stale, revalidating");
        sleep(clock, 1).await;
        assert_eq!(script.seen().len(), 2);
    };
    clock.drive(select(pin!(calls), pin!(client.revalidations()))).unwrap();
}

#[test]
fn a_shutdown_counts_drains_and_cancels_revalidations() {
    for (takes, patience, finished, cancelled) in [(100, 1000, 1, 0), (5000, 200, 0, 1)] {
        let clock = clock();
        let same: &'static Does = &SAME;
        let script = Script::new(&[REVALIDATE, Does::Later(clock, takes, same)]);
        let client =
            cached(clock, &script).pipeline(pipeline().attempt_timeout(ms(9000)).build().unwrap()).build().unwrap();
        let calls = async {
            client.get("items").send().await.unwrap();
            sleep(clock, 60_000).await;
            assert_eq!(came(client.get("items").send().await).0, "stale, revalidating");
            sleep(clock, 10).await;
            assert_eq!((client.running(), script.open()), (1, 1));
            let stopped = client.shut_down(ms(patience)).await;
            assert_eq!(stopped, Stopped { finished, cancelled });
            assert_eq!(came(client.get("items").send().await).0, "shut down");
        };
        // It ends of itself, since the client is shut down.
        clock.drive(join(calls, client.revalidations())).unwrap();
        assert_eq!((script.open(), client.running(), clock.next_wake()), (0, 0, None));
        clock.drive(client.revalidations()).expect("it ends at once");
    }
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    clock.drive(client.revalidations()).expect("without a cache there are none");
}

#[test]
fn no_more_than_64_revalidations_are_left_and_16_made_at_once() {
    let clock = clock();
    let script = Script::new(&[REVALIDATE; 100]);
    let most = Pipeline::builder().without_circuit_breaker().build().unwrap();
    let client = cached(clock, &script).pipeline(most).build().unwrap();
    let pages = || (0..100).map(|page| client.get("items").query("page", &page.to_string()).send());
    let calls = async {
        for page in pages() {
            page.await.unwrap();
        }
        sleep(clock, 60_000).await;
        script.seen();
        script.then(&[Hangs; 100]);
        // All ask before the driver is polled again.
        let all = join_all(pages()).await.into_iter().map(came);
        let (left, asked): (Vec<_>, Vec<_>) = all.partition(|(from, _)| *from == "stale, revalidating");
        (left.len(), asked.len())
    };
    let (mut calls, mut driver) = (pin!(calls), pin!(client.revalidations()));
    let counted = std::future::poll_fn(|cx| {
        let _ = driver.as_mut().poll(cx).is_ready();
        calls.as_mut().poll(cx)
    });
    assert_eq!(clock.drive(counted).unwrap(), (64, 36));
}

#[test]
fn what_was_left_to_somebody_who_leaves_is_asked_for_by_the_next() {
    let (clock, script) = (ManualClock::new(), Script::new(&[REVALIDATE]));
    let client = cached(&clock, &script).build().unwrap();
    clock.drive(client.get("items").send()).unwrap().unwrap();
    clock.advance(ms(60_000));
    for polls in 0..2 {
        let mut driver = Box::pin(client.revalidations());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(driver.as_mut().poll(&mut cx).is_pending());
        assert_eq!(came(clock.drive(client.get("items").send()).unwrap()).0, "stale, revalidating");
        for _ in 0..polls {
            script.then(&[Hangs]);
            assert!(driver.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!((script.open(), client.running()), (polls, usize::try_from(polls).unwrap()));
        drop(driver);
        assert_eq!((script.open(), client.running()), (0, 0));
    }
    script.seen();
    let next = clock.drive(client.get("items").send()).unwrap();
    assert_eq!((came(next).0, script.seen().len()), ("server", 1), "it asked for itself");
}
