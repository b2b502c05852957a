//! Calls that want the same at once: who asks, who waits, and for how long.

use futures_util::future::{join, join_all};
use steadfast_core::time::{Clock, Timer};

use super::*;

const ALONE: Does = Answers(200, &[("cache-control", "no-store")], "one");

/// The answers to so many equal calls, made at once, and how many requests were sent.
fn at_once(calls: usize, script: &[Does], clock: &'static ManualClock) -> (Vec<&'static str>, usize) {
    let script = Script::new(script);
    let client = cached(clock, &script).build().unwrap();
    let all = clock.drive(join_all((0..calls).map(|_| client.get("items").send()))).unwrap();
    assert_eq!((script.open(), clock.next_wake(), client.running()), (0, None, 0));
    (all.into_iter().map(|result| came(result).0).collect(), script.seen().len())
}

#[test]
fn equal_calls_at_once_are_one_request() {
    let clock = clock();
    let (froms, sent) = at_once(30, &[Does::Later(clock, 500, &MINUTE)], clock);
    assert_eq!((froms[0], sent, elapsed(clock)), ("server", 1, ms(500)));
    assert!(froms[1..].iter().all(|from| *from == "collapsed"), "{froms:?}");
}

#[test]
fn an_answer_that_may_not_be_shared_is_not() {
    // Five tokens, and then one each 100 ms: the others go at once, and not one after the other.
    let clock = clock();
    let late = Does::Later(clock, 500, &ALONE);
    let (froms, sent) = at_once(5, &[late; 5], clock);
    assert_eq!((froms, sent, elapsed(clock)), (vec!["server"; 5], 5, ms(1000)));
    // Of use only once: each asks whether it still holds.
    const ONCE: Does = Answers(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], "one");
    let (froms, _) = at_once(3, &[ONCE, SAME, SAME], clock);
    assert_eq!(froms, ["server", "validated", "validated"]);
    // It varies by what they have in common, and so it is shared.
    const VARIES: Does = Answers(200, &[("cache-control", "max-age=60"), ("vary", "accept")], "one");
    assert_eq!(at_once(3, &[VARIES], clock).1, 1);
}

#[test]
fn calls_that_differ_do_not_wait_for_each_other() {
    type Differs = for<'a> fn(
        steadfast_client::RequestBuilder<'a, Script, &'static ManualClock, ()>,
    ) -> steadfast_client::RequestBuilder<'a, Script, &'static ManualClock, ()>;
    let others: [Differs; 8] = [
        |request| request.header("authorization", "bob"),
        |request| request.header("accept", "text/csv"),
        |request| request.query("page", "2"),
        |request| request.header("cache-control", "no-cache"),
        |request| request.header("cache-control", "no-store"),
        |request| request.header("cache-control", "max-age=9"),
        |request| request.without_cache(),
        |request| request.priority(1),
    ];
    for (number, differs) in others.into_iter().enumerate() {
        let clock = clock();
        let script = Script::new(&[Does::Later(clock, 500, &MINUTE), TWO]);
        let client = cached(clock, &script).build().unwrap();
        let other = async {
            let other = came(differs(client.get("items")).send().await);
            (elapsed(clock), other.1)
        };
        let (_, other) = clock.drive(join(client.get("items").send(), other)).unwrap();
        assert_eq!(other, (ms(0), "two".to_owned()), "{number}");
    }
}

#[test]
fn when_the_one_who_asks_fails_the_others_ask_for_themselves_or_have_what_is_stale() {
    const IF_ERROR: Does = Answers(200, &[("cache-control", "max-age=1, stale-if-error=600")], "one");
    let clock = clock();
    let (froms, sent) = at_once(3, &[Answers(501, &[("cache-control", "no-store")], "")], clock);
    assert_eq!((froms, sent), (vec!["server failed", "server", "server"], 3));
    let script = Script::new(&[IF_ERROR, Resets, Resets, Resets]);
    let client = cached(clock, &script).build().unwrap();
    clock.drive(client.get("items").send()).unwrap().unwrap();
    clock.advance(ms(1000));
    let all = clock.drive(join_all((0..30).map(|_| client.get("items").send()))).unwrap();
    assert!(all.into_iter().all(|result| came(result).0 == "stale, failed"));
    assert_eq!(script.seen().len(), 4, "nobody else asked a server that is down");
}

#[test]
fn each_has_its_own_deadline_and_goes_alone_at_half_of_it() {
    let clock = clock();
    let hangs = Does::Later(clock, 60_000, &MINUTE);
    let script = Script::new(&[hangs, TWO, TWO]);
    let slow = pipeline().deadline(ms(100_000)).attempt_timeout(ms(90_000)).build().unwrap();
    let client = cached(clock, &script).pipeline(slow).build().unwrap();
    let follower = |deadline| {
        let call = client.get("items").deadline(ms(deadline)).send();
        async move { (came(call.await).1, elapsed(clock)) }
    };
    let leader = client.get("items").send();
    let (_, (short, long)) = clock.drive(join(leader, join(follower(2000), follower(90_000)))).unwrap();
    assert_eq!(short, ("two".to_owned(), ms(1000)));
    assert_eq!(long.1, ms(30_000), "nobody waits longer for another");
}

/// A future that was begun, and that nobody polls any more and nobody drops.
#[test]
fn nobody_waits_for_ever_for_one_who_does_nothing() {
    let clock = clock();
    let script = Script::new(&[Hangs, TWO]);
    let client = cached(clock, &script).build().unwrap();
    let mut forgotten = Box::pin(client.get("items").send());
    assert!(forgotten.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(came(clock.drive(client.get("items").send()).unwrap()).1, "two");
    assert_eq!(elapsed(clock), ms(5000));
    // And whoever comes now has it at once.
    assert_eq!(came(clock.drive(client.get("items").send()).unwrap()).0, "hit");
    drop(forgotten);
    assert_eq!((script.open(), client.running()), (0, 0));
}

async fn sleep(clock: &ManualClock, millis: u64) {
    clock.sleep_until(clock.now() + ms(millis)).await;
}

#[test]
fn ut_05_wherever_the_one_who_asks_is_dropped_another_one_does() {
    for does in [IsDown, Resets, BreaksOff, Hangs, Answers(503, &[], ""), Does::Later(clock(), 1, &MINUTE), SAME] {
        for has_stale in [false, true] {
            for polls in 0.. {
                let clock = clock();
                let script = Script::new(&[]);
                let client = cached(clock, &script).build().unwrap();
                if has_stale {
                    script.then(&[MINUTE]);
                    clock.drive(client.get("items").send()).unwrap().unwrap();
                    clock.advance(ms(60_000));
                }
                // All tokens but one are gone, so that the leader waits in line too.
                for _ in 0..4 {
                    clock.drive(client.get("x").send()).unwrap().unwrap();
                }
                script.then(&[if let Does::Later(_, millis, does) = does {
                    Does::Later(clock, millis, does)
                } else {
                    does
                }]);
                let (mut leader, mut followers) = (
                    Box::pin(client.get("items").send()),
                    Vec::from_iter((0..3).map(|_| Box::pin(client.get("items").send()))),
                );
                let mut cx = Context::from_waker(Waker::noop());
                let mut ended = false;
                for _ in 0..polls {
                    ended = ended || leader.as_mut().poll(&mut cx).is_ready();
                    if !ended {
                        followers.iter_mut().for_each(|follower| assert!(follower.as_mut().poll(&mut cx).is_pending()));
                        clock.next_wake().into_iter().for_each(|next| clock.set(next.min(clock.now() + ms(500))));
                    }
                }
                drop(leader);
                let before = elapsed(clock);
                let answers = clock.drive(join_all(followers)).unwrap();
                let context = format!("{does:?} dropped after {polls} polls");
                assert!(answers.iter().all(Result::is_ok), "{context}: {answers:?}");
                // Nobody waited for one who had left: a token each, at most, and the backoffs.
                assert!(elapsed(clock) - before <= ms(3000), "{context}: {:?}", elapsed(clock) - before);
                assert_eq!((script.open(), client.running(), client.waiting()), (0, 0, 0), "{context}");
                assert_eq!(clock.next_wake(), None, "{context}: somebody still sleeps");
                // Nothing of it is left that the next one would wait for.
                clock.advance(ms(10_000));
                let before = elapsed(clock);
                clock.drive(client.get("items").send()).unwrap().unwrap();
                assert_eq!(elapsed(clock), before, "{context}");
                drop(client);
                assert_eq!(script.holders(), 1, "{context}");
                if ended {
                    break;
                }
            }
        }
    }
}

#[test]
fn ut_05_wherever_one_who_waits_is_dropped_the_others_have_their_answer() {
    for polls in 0..6 {
        let clock = clock();
        let script = Script::new(&[Does::Later(clock, 300, &ALONE), Does::Later(clock, 300, &MINUTE)]);
        let client = cached(clock, &script).build().unwrap();
        let leader = client.get("items").send();
        let leaves = async {
            let mut call = Box::pin(client.get("items").send());
            for _ in 0..polls {
                let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_ready()));
                if polled.await {
                    return;
                }
                sleep(clock, 100).await;
            }
        };
        let other = client.get("items").send();
        let (led, (_, other)) = clock.drive(join(leader, join(leaves, other))).unwrap();
        assert_eq!((led.is_ok(), other.is_ok()), (true, true), "{polls}");
        assert_eq!((script.open(), client.running(), client.waiting(), clock.next_wake()), (0, 0, 0, None), "{polls}");
    }
}

#[test]
fn a_shutdown_refuses_who_waits_and_drains_who_asks() {
    let clock = clock();
    let script = Script::new(&[Does::Later(clock, 300, &MINUTE)]);
    let client = cached(clock, &script).build().unwrap();
    let calls = join_all((0..3).map(|_| client.get("items").send()));
    let stop = async {
        sleep(clock, 50).await;
        client.shut_down(ms(1000)).await
    };
    let (calls, stopped) = clock.drive(join(calls, stop)).unwrap();
    assert_eq!(calls.into_iter().map(|call| came(call).0).collect::<Vec<_>>(), ["server", "shut down", "shut down"]);
    assert_eq!((stopped.finished, stopped.cancelled, script.seen().len()), (1, 0, 1));
}
