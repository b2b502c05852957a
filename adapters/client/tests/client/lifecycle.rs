//! The end of a client: what becomes of calls that run, wait and come, and that nothing is left of them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::future::{join, join_all};
use steadfast_client::Stopped;
use steadfast_core::time::{Clock, Timer};

use super::*;

const OK: Does = Answers(200, &[], "{}");

fn stopped(finished: usize, cancelled: usize) -> Option<Stopped> {
    Some(Stopped { finished, cancelled })
}

async fn sleep(clock: &ManualClock, millis: u64) {
    clock.sleep_until(clock.now() + ms(millis)).await;
}

/// What a call came to, in a word.
fn word(result: &Result<steadfast_client::Response, Error>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Error::ShutDown(_)) => "shut down",
        Err(Error::Cancelled(_)) => "cancelled",
        Err(Error::AttemptTimeout(_)) => "timeout",
        Err(_) => "another",
    }
}

/// Shuts down at 50 ms with this patience while calls are made, to each of which the server does this. What becomes of
/// them, when the shutdown ends with what counts, and how many requests were sent.
fn check(script: &[Does], patience: u64, words: &[&str], ended: u64, finished: usize, cancelled: usize, sent: usize) {
    let (clock, script) = (ManualClock::new(), Script::new(script));
    let client = builder(&clock, &script).build().unwrap();
    let calls = join_all(words.iter().map(|_| client.get("items").send()));
    let stop = async {
        sleep(&clock, 50).await;
        let stopped = client.shut_down(ms(patience)).await;
        assert_eq!(script.open(), 0, "nothing is under way any more");
        (elapsed(&clock), Some(stopped))
    };
    let (results, got) = clock.drive(join(calls, stop)).unwrap();
    assert_eq!(results.iter().map(word).collect::<Vec<_>>(), words);
    assert_eq!((got, script.seen().len()), ((ms(ended), stopped(finished, cancelled)), sent), "{words:?}");
    assert_eq!((client.running(), clock.next_wake()), (0, None));
    for error in results.into_iter().filter_map(Result::err) {
        let attempts = error.failure().unwrap().attempts();
        assert_eq!(attempts == 0, matches!(error, Error::ShutDown(_)), "{error}");
        assert!(!error.is_retryable() || matches!(error, Error::AttemptTimeout(_)), "{error}");
    }
}

#[test]
fn a_shutdown_drains_what_runs_refuses_what_waits_and_cancels_the_rest() {
    const BUSY: Does = Answers(503, &[], "");
    let hangs = [Hangs; 9];
    check(&[OK, OK], 1000, &["ok", "ok"], 50, 0, 0, 2);
    // Retried after 100 ms, and waited for.
    check(&[BUSY, OK], 1000, &["ok"], 100, 1, 0, 2);
    check(&[BUSY, OK], 20, &["cancelled"], 70, 0, 1, 1);
    check(&[Hangs, OK], 500, &["cancelled", "ok"], 550, 0, 1, 2);
    check(&hangs, 10_000, &["timeout"], 3300, 1, 0, 3);
    // Five go at once, and two have to wait for their turn, at 100 and 200 ms. Nobody waits for those.
    check(&[], 1000, &["ok", "ok", "ok", "ok", "ok", "shut down", "shut down"], 50, 0, 0, 5);
    let words = ["cancelled", "cancelled", "cancelled", "cancelled", "cancelled", "shut down"];
    check(&hangs, 0, &words, 50, 0, 5, 5);
}

#[test]
fn calls_after_a_shutdown_have_their_own_error_on_every_clone() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = builder(&clock, &script).build().unwrap();
    let clone = client.clone();
    let request = client.get("early");
    assert_eq!(clock.drive(client.shut_down(ms(0))), stopped(0, 0));
    for request in [request, client.get("a"), clone.post("b"), clone.clone().get("c")] {
        let error = clock.drive(request.send()).unwrap().unwrap_err();
        assert!(matches!(error, Error::ShutDown(_)) && !error.is_retryable() && error.retry_at().is_none(), "{error}");
        assert!(error.to_string().ends_with("after 0 attempts in 0.0ns: not sent, the client is shut down"), "{error}");
    }
    assert!(script.seen().is_empty() && client.is_shut_down() && clone.is_shut_down());
    // An invalid request is still told so.
    assert!(matches!(clock.drive(client.get("a").header("a b", "").send()), Some(Err(Error::InvalidRequest { .. }))));
}

#[test]
fn shutdowns_at_once_are_one() {
    let (clock, script) = (ManualClock::new(), Script::new(&[OK, Hangs]));
    let client = builder(&clock, &script).build().unwrap();
    let calls = join_all([client.get("a").send(), client.get("b").send()]);
    let clone = client.clone();
    let stops = join_all([client.shut_down(ms(900)), clone.shut_down(ms(300)), client.shut_down(Duration::MAX)]);
    let (calls, stops) = clock.drive(join(calls, stops)).unwrap();
    assert_eq!(calls.iter().map(word).collect::<Vec<_>>(), ["ok", "cancelled"]);
    // The first call had ended before anybody asked.
    assert_eq!(stops.into_iter().map(Some).collect::<Vec<_>>(), vec![stopped(0, 1); 3]);
    assert_eq!((elapsed(&clock), script.open()), (ms(300), 0));
    assert_eq!(clock.drive(client.shut_down(ms(300))), stopped(0, 1));
}

#[test]
fn tokens_of_a_call_that_was_refused_in_line_go_back() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let limit = TokenBucket::new(Quota::per_second(1).unwrap());
    let client = builder(&clock, &script).pipeline(pipeline().rate_limit(limit).build().unwrap()).build().unwrap();
    let calls = join_all((0..3).map(|_| client.get("x").send()));
    let (calls, _) = clock.drive(join(calls, client.shut_down(ms(0)))).unwrap();
    assert_eq!(calls.iter().map(word).collect::<Vec<_>>(), ["ok", "shut down", "shut down"]);
    assert_eq!(client.waiting(), 0);
}

#[test]
fn ut_02_a_scope_closes_the_client_with_success_error_and_panic() {
    let (clock, script) = (ManualClock::new(), Script::new(&[OK, Answers(404, &[], ""), OK]));
    for how in ["success", "error", "panic"] {
        let client = builder(&clock, &script).build().unwrap();
        let outside = client.clone();
        let scope = client.scope(ms(1000), |client| async move {
            let response = client.get("items").send().await?;
            assert!(how != "panic", "as it should");
            Ok::<_, Error>(response.status())
        });
        let ended = catch_unwind(AssertUnwindSafe(|| clock.drive(scope).unwrap()));
        match (how, ended) {
            ("success", Ok(Ok(StatusCode::OK))) | ("error", Ok(Err(Error::NotFound(_)))) => {}
            ("panic", Err(panic)) => assert_eq!(panic.downcast_ref::<&str>(), Some(&"as it should")),
            (how, ended) => panic!("{how}: {ended:?}"),
        }
        assert!(outside.is_shut_down(), "{how}");
        drop(outside);
        assert_eq!((script.holders(), script.open()), (1, 0), "{how}");
    }
    // A body that panics before it is a future at all.
    let client = builder(&clock, &script).build().unwrap();
    let outside = client.clone();
    let scope = client.scope::<(), std::future::Ready<()>>(ms(0), |_| panic!("at once"));
    assert!(catch_unwind(AssertUnwindSafe(|| clock.drive(scope))).is_err() && outside.is_shut_down());
}

#[test]
fn ut_02_a_scope_waits_for_what_others_still_do() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(503, &[], ""), OK, Hangs]));
    let client = builder(&clock, &script).build().unwrap();
    let clone = client.clone();
    let others = clone.get("a").send();
    let scope = client.scope(ms(1000), |_| std::future::ready(7));
    let (a, seven) = clock.drive(join(others, scope)).unwrap();
    assert_eq!((word(&a), seven), ("ok", 7));
}

#[test]
fn ut_02_a_scope_that_is_dropped_cancels_what_is_in_flight() {
    let (clock, script) = (ManualClock::new(), Script::new(&[Hangs]));
    let client = builder(&clock, &script).build().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut hangs = pin!(client.get("a").send());
    assert!(hangs.as_mut().poll(&mut cx).is_pending());
    let mut scope = Box::pin(client.clone().scope(ms(1000), |_| std::future::pending::<()>()));
    assert!(scope.as_mut().poll(&mut cx).is_pending() && !client.is_shut_down());
    drop(scope);
    assert_eq!(word(&clock.drive(hangs.as_mut()).unwrap()), "cancelled");
    assert_eq!((script.open(), elapsed(&clock)), (0, ms(0)));
}

#[test]
fn ut_05_nothing_leaks_wherever_a_call_stands_at_the_shutdown() {
    for does in [IsDown, Resets, BreaksOff, Hangs, Answers(503, &[], ""), OK] {
        for polls in 0.. {
            let (clock, script) = (ManualClock::new(), Script::new(&[OK, OK, OK, OK, does, does]));
            let client = builder(&clock, &script).build().unwrap();
            // Four of the five tokens are gone, so that the second attempt has to wait in line too.
            for _ in 0..4 {
                clock.drive(client.get("x").send()).unwrap().ok();
            }
            let ended = Cell::new(false);
            {
                let mut call = pin!(client.get("items/7").send());
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..polls {
                    if call.as_mut().poll(&mut cx).is_ready() {
                        ended.set(true);
                        break;
                    }
                    clock.next_wake().into_iter().for_each(|next| clock.set(next));
                }
                let running = client.running();
                if ended.get() {
                    assert_eq!(running, 0);
                } else {
                    let (got, result) = clock.drive(join(client.shut_down(ms(0)), call.as_mut())).unwrap();
                    // Each is counted once, if it had begun, and says whether it had.
                    assert_eq!(got.finished + got.cancelled, running, "{does:?} after {polls} polls");
                    assert_eq!(word(&result) == "shut down", running == 0, "{does:?} after {polls} polls");
                }
            }
            assert_eq!((script.open(), client.running(), client.waiting()), (0, 0, 0), "{does:?} after {polls} polls");
            assert_eq!(clock.next_wake(), None, "{does:?} after {polls} polls: somebody still sleeps");
            drop(client);
            assert_eq!(script.holders(), 1, "{does:?} after {polls} polls");
            if ended.get() {
                break;
            }
        }
    }
}

#[test]
fn ut_05_nothing_leaks_wherever_a_shutdown_is_dropped() {
    for polls in 0..4 {
        let (clock, script) = (ManualClock::new(), Script::new(&[Hangs]));
        let client = builder(&clock, &script).build().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut call = pin!(client.get("items").send());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        {
            let mut stop = pin!(client.shut_down(ms(300)));
            for _ in 0..polls {
                assert!(stop.as_mut().poll(&mut cx).is_pending());
                clock.advance(ms(150));
            }
        }
        // It had begun: dropped before its patience was over, the shutdown leaves it alone.
        let cancelled = polls == 3;
        assert_eq!(client.is_shut_down(), polls > 0);
        assert_eq!(word(&clock.drive(call.as_mut()).unwrap()) == "cancelled", cancelled, "{polls}");
        assert_eq!((script.open(), client.running(), clock.next_wake()), (0, 0, None), "{polls}");
    }
}
