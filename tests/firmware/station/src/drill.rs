//! Calls against a service that fails as a script says, on a clock that is a number: the policies, and nothing beside them.
//!
//! It runs as firmware of its own, to show what the policies take of flash, and on the host, to show that they decide
//! there what they decide here. What is decided goes into one number, since to print it would take more than to decide it.

use core::time::Duration;

use steadfast_core::event::{Events, Observer};
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline, Step};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::time::Instant;

/// What all decisions amount to.
pub const DECIDED: u64 = 0x7bbe_ef54_6614_6549;

/// How many calls are made. In the middle third, the service is down.
const CALLS: u32 = 150;

/// Makes the calls, and returns what all decisions amount to.
pub fn drill(pipeline: &mut Pipeline<TokenBucket>, observer: &impl Observer) -> u64 {
    let (mut now, mut decided, mut events) = (Instant::EPOCH, 1_u64, Events::new());
    for number in 0..CALLS {
        let is_down = (CALLS / 3..CALLS / 3 * 2).contains(&number);
        let mut call = pipeline.call(now, CallOptions::idempotent());
        loop {
            // (Knuth's generator, from what was decided so far.)
            decided = (decided ^ now.as_nanos()).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let entropy = decided;
            match call.poll(now, entropy, pipeline, &mut events) {
                Step::Wait(until) => now = until,
                Step::Start(attempt) => {
                    let answered = now + Duration::from_millis(50);
                    let outcome = match entropy >> 60 {
                        _ if is_down => Some(Outcome::transient()),
                        0..=2 => Some(Outcome::transient()),
                        3 => Some(Outcome::throttled().with_retry_after(Duration::from_secs(3))),
                        4 => None,
                        5 => Some(Outcome::permanent()),
                        _ => Some(Outcome::success()),
                    };
                    match outcome {
                        Some(outcome) => {
                            now = answered;
                            call.finish(now, entropy, attempt.number, outcome, pipeline, &mut events);
                        }
                        None => {
                            now = attempt.until;
                            call.time_out(now, entropy, attempt.number, pipeline, &mut events);
                        }
                    }
                }
                Step::Done(result) => {
                    // Who was refused comes back later, and so the breaker closes again in the end.
                    now += Duration::from_millis(if result.is_ok() { 100 } else { 2_000 });
                    break;
                }
            }
            events.report(now, observer);
        }
        events.report(now, observer);
    }
    decided
}
