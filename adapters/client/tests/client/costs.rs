//! What calls cost in truth, where only the response tells.

use std::future::Future;
use std::num::NonZeroU32;
use std::task::Poll;

use futures_util::future::{join, poll_fn};
use serde::Deserialize;
use steadfast_client::{AnyPipeline, Response};
use steadfast_core::limits::Counts;
use steadfast_core::rate_limit::RateLimits;
use steadfast_core::time::Timer;

use super::*;

#[derive(Deserialize)]
struct Usage {
    used: u32,
}

fn used(response: &Response) -> Option<u32> {
    response.json::<Usage>().ok().map(|usage| usage.used)
}

fn tokens(tokens: u32) -> NonZeroU32 {
    NonZeroU32::new(tokens).unwrap()
}

/// Ten calls and a thousand tokens a second, and as many at once.
fn limits() -> RateLimits<2> {
    RateLimits::new([10, 1_000].map(quota))
}

/// So many a second, and as many at once.
fn quota(tokens: u32) -> Quota {
    Quota::per_second(tokens).and_then(|quota| quota.with_burst(tokens)).unwrap()
}

fn client<'a>(clock: &'a ManualClock, script: &Script) -> Client<'a> {
    let pipeline = pipeline().rate_limits(limits(), [Counts::Calls, Counts::Weight]).build().unwrap();
    ApiClient::builder(BASE, script.clone(), clock).pipeline(pipeline).build().unwrap()
}

/// When a call that weighs a thousand tokens, all there can be, is through.
fn full_at(client: &Client<'_>, clock: &ManualClock) -> Duration {
    clock.drive(client.get("all").weight(tokens(1_000)).send()).unwrap().unwrap();
    elapsed(clock)
}

/// What becomes of a call of 800 tokens, and when all tokens are there again: the later, the more it cost.
fn check(does: &[Does], want: u64) {
    let (clock, script) = (ManualClock::new(), Script::new(does));
    let client = client(&clock, &script);
    let call = client.post("chat").weight(tokens(800)).cost(used).without_retry().send();
    clock.drive(call).unwrap().ok();
    assert_eq!(full_at(&client, &clock), ms(want), "{does:?}");
}

#[test]
fn a_call_costs_what_its_response_says() {
    let says = |body| [Answers(200, &[], body)];
    check(&says(r#"{"used": 300}"#), 300);
    check(&says(r#"{"used": 0}"#), 0);
    check(&says(r#"{"used": 800}"#), 800);
    // More than there can be at once: it is owed.
    check(&says(r#"{"used": 2500}"#), 2_500);
    check(&says(r#"{"used": -1}"#), 800);
    check(&says("no word of it"), 800);
}

#[test]
fn what_failed_costs_its_weight() {
    check(&[Answers(400, &[], r#"{"used": 1}"#)], 800);
    check(&[Answers(500, &[], r#"{"used": 1}"#)], 800);
    check(&[Resets], 800);
    // The second until it is given up has brought the tokens back.
    check(&[Hangs], 1_000);
}

#[test]
fn retries_cost_their_weight_and_the_response_what_it_says() {
    let says = Answers(200, &[], r#"{"used": 50}"#);
    let (clock, script) = (ManualClock::new(), Script::new(&[Answers(503, &[], ""), says]));
    let client = client(&clock, &script);
    let call = client.get("chat").weight(tokens(300)).cost(used).send();
    assert_eq!(clock.drive(call).unwrap().unwrap().attempts(), 2);
    // 350 of a thousand are gone, of which the backoff of 100 ms has brought back 100.
    assert_eq!(full_at(&client, &clock), ms(350));
}

#[test]
fn whoever_waits_goes_as_soon_as_another_has_cost_less() {
    let clock: &'static ManualClock = Box::leak(Box::default());
    let script = Script::new(&[Slowly(clock, 100, &[r#"{"used": 200}"#])]);
    let client = client(clock, &script);
    let first = client.post("chat").weight(tokens(1_000)).cost(used).send();
    let second = async {
        client.get("next").weight(tokens(700)).send().await.unwrap();
        elapsed(clock)
    };
    let (first, through_at) = clock.drive(join(first, second)).unwrap();
    first.unwrap();
    // Not at 700 ms, when as many had come in.
    assert_eq!(through_at, ms(200));
}

#[test]
fn a_call_that_is_dropped_costs_nothing_in_line_and_its_weight_once_it_was_sent() {
    for (sent, want) in [(false, 1_000), (true, 1_000 + 600)] {
        let (clock, script) = (ManualClock::new(), Script::new(&[Answers(200, &[], r#"{"used": 1000}"#)]));
        let client = client(&clock, &script);
        if sent {
            script.then(&[Hangs]);
        }
        // All tokens are gone: the second waits, and with the clock ahead it is sent.
        clock.drive(client.get("first").weight(tokens(1_000)).send()).unwrap().unwrap();
        let mut second = Box::pin(client.post("chat").weight(tokens(600)).cost(used).send());
        let mut poll = || {
            let poll = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending()));
            assert_eq!(clock.drive(poll), Some(true), "it has not ended");
        };
        poll();
        if sent {
            clock.advance(ms(600));
            poll();
        }
        drop(second);
        assert_eq!(script.seen().len(), if sent { 2 } else { 1 });
        assert_eq!(full_at(&client, &clock), ms(want), "sent: {sent}");
    }
}

#[test]
fn a_limit_that_counts_calls_counts_them_whatever_they_cost() {
    let (clock, script) = (ManualClock::new(), Script::default());
    let client = client(&clock, &script);
    for _ in 0..10 {
        clock.drive(client.get("chat").cost(|_| Some(0)).send()).unwrap().unwrap();
    }
    assert_eq!(elapsed(&clock), ms(0));
    clock.drive(client.get("chat").send()).unwrap().unwrap();
    assert_eq!(elapsed(&clock), ms(100), "the eleventh waits for a call to come in");
}

#[test]
fn what_is_refilled_already_does_not_come_back_twice() {
    let clock: &'static ManualClock = Box::leak(Box::default());
    let script = Script::new(&[Slowly(clock, 450, &[r#"{"used": 0}"#])]);
    let client = client(clock, &script);
    let call = client.post("chat").weight(tokens(500)).cost(used).send();
    let meanwhile = async {
        // At 700 ms all is there again, and is taken.
        clock.sleep_until(Instant::EPOCH + ms(700)).await;
        client.get("all").weight(tokens(1_000)).send().await.unwrap();
    };
    let (call, ()) = clock.drive(join(call, meanwhile)).unwrap();
    call.unwrap();
    assert_eq!(elapsed(clock), ms(900));
    assert_eq!(full_at(&client, clock), ms(1_700), "a second after all was taken, and not before");
}

#[test]
fn every_page_costs_what_it_says() {
    let first = Answers(200, &[("link", "<?page=2>; rel=\"next\"")], r#"{"used": 100}"#);
    let (clock, script) = (ManualClock::new(), Script::new(&[first, Answers(200, &[], r#"{"used": 150}"#)]));
    let client = client(&clock, &script);
    let mut pages = client.get("list").weight(tokens(500)).cost(used).pages();
    let read = async {
        let mut count = 0;
        while let Some(page) = pages.next().await {
            page.unwrap();
            count += 1;
        }
        count
    };
    assert_eq!(clock.drive(read), Some(2));
    drop(pages);
    assert_eq!(full_at(&client, &clock), ms(250));
}

#[test]
fn a_stream_is_settled_when_it_has_said_what_it_costs() {
    for settled in [true, false] {
        let (clock, script) = (ManualClock::new(), Script::new(&[Streams(&["a", "b"])]));
        let client = client(&clock, &script);
        let read = async {
            let mut response = client.get("chat").weight(tokens(800)).send_streaming().await.unwrap();
            while response.chunk().await.unwrap().is_some() {}
            if settled {
                response.settle(100);
                response.settle(900);
            }
        };
        clock.drive(read).unwrap();
        assert_eq!(full_at(&client, &clock), ms(if settled { 100 } else { 800 }));
    }
}

#[test]
fn a_stream_of_events_is_settled_within_or_at_its_end() {
    const EVENTS: &str = "data: 300\n\ndata: [DONE]\n\n";
    for at_its_end in [true, false] {
        let events = Answers(200, &[("content-type", "text/event-stream")], EVENTS);
        let (clock, script) = (ManualClock::new(), Script::new(&[events]));
        let client = client(&clock, &script);
        let read = async {
            let mut events = client.post("chat").json(&1).weight(tokens(800)).events();
            let mut cost = None;
            while let Some(event) = events.next().await {
                cost = cost.or(event.unwrap().data.parse().ok());
                if !at_its_end {
                    events.settle(cost.unwrap());
                }
            }
            events.settle(cost.unwrap());
        };
        clock.drive(read).unwrap();
        assert_eq!(full_at(&client, &clock), ms(300));
    }
}

#[test]
fn a_pipeline_has_up_to_four_rate_limits() {
    let [calls, weight] = [Counts::Calls, Counts::Weight];
    for (client, want) in [
        (pipeline().rate_limits(RateLimits::new([quota(10)]), [weight]).build().map(AnyPipeline::from), 400),
        (
            pipeline().rate_limits(RateLimits::new([quota(100), quota(10)]), [calls, weight]).build().map(Into::into),
            400,
        ),
        (
            pipeline()
                .rate_limits(RateLimits::new([quota(2), quota(10), quota(20)]), [calls, weight, weight])
                .build()
                .map(Into::into),
            1_000,
        ),
        (
            pipeline()
                .rate_limits(
                    RateLimits::new([quota(20), quota(10), quota(20), quota(4)]),
                    [calls, weight, weight, calls],
                )
                .build()
                .map(Into::into),
            400,
        ),
    ]
    .map(|(pipeline, want)| (pipeline.unwrap(), want))
    {
        let (clock, script) = (ManualClock::new(), Script::default());
        let client = ApiClient::builder(BASE, script.clone(), &clock).pipeline(client).build().unwrap();
        let mut calls = 0;
        for weight in [4, 4, 4, 2] {
            clock.drive(client.get("a").weight(tokens(weight)).send()).unwrap().unwrap();
            calls += 1;
        }
        assert_eq!((calls, elapsed(&clock)), (4, ms(want)));
    }
}
