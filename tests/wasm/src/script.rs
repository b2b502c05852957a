//! Calls of many callers, drawn from a seed, through everything that decides: limits and the line before them, retries and
//! their budget, hedges, the breaker, and a concurrency limit that computes in fractions.

use std::cell::RefCell;
use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::concurrency::{Algorithm, ConcurrencyLimit};
use steadfast_core::event::{Event, Observer};
use steadfast_core::hedge::Hedge;
use steadfast_core::limits::Limits;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
use steadfast_executor::SharedPipeline;

const CALLS: usize = 60;

/// Small numbers, so that every policy has its say.
fn pipeline() -> Result<Pipeline<Limits<1>>, InvalidSetting> {
    Pipeline::builder()
        .deadline(Duration::from_secs(8))
        .attempt_timeout(Duration::from_secs(1))
        .hedge(Hedge::builder().after(Duration::from_millis(300)).build()?)
        .circuit_breaker(CircuitBreaker::builder().failure_threshold(4).open_for(Duration::from_millis(900)).build()?)
        .concurrency_limit(ConcurrencyLimit::builder().algorithm(Algorithm::Gradient2).initial(4).min(2).build()?)
        .rate_limit(TokenBucket::new(Quota::per_second(7)?.with_burst(3)?))
        .build()
}

/// Writes down every decision, and when it was made.
struct Log(RefCell<String>);

impl Observer for Log {
    type Call = ();

    fn observe(&self, now: Instant, event: &Event) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0.borrow_mut(), "{} {event:?}", now.as_nanos());
    }
}

/// How long an attempt takes, and how it ends.
fn answer(dice: &mut Rng) -> (Duration, Outcome) {
    let outcome = match dice.u8(0..10) {
        0..5 => Outcome::success(),
        5..8 => Outcome::transient(),
        8 => Outcome::throttled().with_retry_after(Duration::from_millis(dice.u64(0..2_000))),
        _ => Outcome::permanent(),
    };
    (Duration::from_micros(dice.u64(0..1_500_000)), outcome)
}

/// The decisions of one seed.
///
/// # Panics
/// If a setting is out of range, or a call never ends.
pub(crate) fn played(seed: u64) -> String {
    let (clock, log) = (ManualClock::new(), Log(RefCell::default()));
    let policies = pipeline().expect("all settings are in range");
    let pipeline = SharedPipeline::with_seed(policies, &clock, seed).with_observer(&log);
    let dice = RefCell::new(Rng::with_seed(seed));
    let calls = (0..CALLS).map(|_| {
        let begin = Instant::EPOCH + Duration::from_micros(dice.borrow_mut().u64(0..20_000_000));
        let (pipeline, clock, dice) = (&pipeline, &clock, &dice);
        async move {
            clock.sleep_until(begin).await;
            let attempt = |_| async {
                let (takes, outcome) = answer(&mut dice.borrow_mut());
                clock.sleep_until(clock.now() + takes).await;
                outcome
            };
            // How it ended is in the log.
            let _ = pipeline.call_hedged(CallOptions::idempotent(), |outcome: &Outcome| *outcome, attempt).await;
        }
    });
    clock.drive(all(calls)).expect("every call ends");
    log.0.into_inner()
}

/// Polls them all, in their order, until none is left.
async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut running: Vec<_> = futures.map(Box::pin).collect();
    poll_fn(|cx| {
        running.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script in which nothing happens proves nothing.
    #[test]
    fn the_scripts_lead_to_everything() {
        let said: String = crate::SEEDS.map(played).collect();
        for event in [
            "WaitingForLimits",
            "AttemptTimedOut",
            "Hedged",
            "AttemptCancelled",
            "RetryScheduled",
            "RateLimitBlocked",
            "ConcurrencyLimitChanged",
            "HalfOpen",
            "CircuitOpen",
            "Succeeded",
        ] {
            assert!(said.contains(event), "no {event}");
        }
    }

    #[test]
    fn equal_seeds_decide_alike_and_others_do_not() {
        assert_eq!(played(1), played(1));
        assert_ne!(played(1), played(2));
    }
}
