//! Zero, one and the largest of everything, everywhere: an answer, not a crash. (Overflow panics in a test build.)

use core::num::NonZeroU32;
use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::backoff::{Backoff, Growth, Jitter};
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::event::Events;
use steadfast_core::limits::Limiter;
use steadfast_core::outcome::{Outcome, OutcomeKind};
use steadfast_core::pipeline::{CallOptions, Pipeline, Step};
use steadfast_core::rate_limit::{Quota, Refusal, TokenBucket};
use steadfast_core::retry::Retry;
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
use steadfast_executor::Line;

use crate::support::{config, ns};

fn counts() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(2), Just(u32::MAX - 1), Just(u32::MAX), any::<u32>(), 1..100_u32]
}

fn times() -> impl Strategy<Value = Instant> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 62), any::<u64>()].prop_map(ns)
}

fn spans() -> impl Strategy<Value = Duration> {
    let nanos = prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>(), 1..10_000_000_000_u64];
    prop_oneof![
        Just(Duration::MAX),
        Just(Duration::from_secs(u64::MAX)),
        Just(Duration::new(18_446_744_073, 709_551_616)),
        nanos.prop_map(Duration::from_nanos),
    ]
}

fn jitters() -> impl Strategy<Value = Jitter> {
    prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal), any::<u8>().prop_map(Jitter::Proportional)]
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let outcome = prop_oneof![
        Just(Outcome::success()),
        Just(Outcome::transient()),
        Just(Outcome::throttled()),
        Just(Outcome::permanent())
    ];
    (outcome, prop::option::of(spans()))
        .prop_map(|(outcome, hint)| hint.map_or(outcome, |hint| outcome.with_retry_after(hint)))
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn instants(a in times(), b in times(), span in spans()) {
        let mut sum = a;
        sum += span;
        prop_assert!(sum == a + span && sum >= a && a - b <= Duration::from_nanos(u64::MAX));
        prop_assert_eq!(b + (a - b), a.max(b));
        let _ = (format!("{a} {a:?}"), a.as_nanos());
    }

    #[test]
    fn every_quota_and_every_bucket(
        tokens in counts(), period in spans(), burst in counts(),
        script in prop::collection::vec((0..6_u8, times(), counts(), times(), any::<u64>()), 1..30),
    ) {
        let quotas = [
            Quota::new(tokens, period), Quota::per_second(tokens), Quota::per_minute(tokens), Quota::per_hour(tokens),
            Quota::per_day(tokens),
        ];
        for quota in quotas.into_iter().filter_map(|quota| quota.and_then(|quota| quota.with_burst(burst)).ok()) {
            let (mut bucket, mut line) = (TokenBucket::new(quota), Line::new(quota).with_max_waiters(3));
            let (mut reservations, mut tickets) = (Vec::new(), Vec::new());
            for (what, now, n, other, big) in &script {
                match what {
                    0 => drop(bucket.try_acquire(*now, *n)),
                    1 => reservations.extend(bucket.reserve(*now, *n, *other)),
                    2 => bucket.block_until(*other),
                    3 => drop(reservations.pop().map(|reservation| bucket.cancel(*now, reservation))),
                    4 => drop((bucket.ready_at_after(*now, *big), bucket.ready_at(*now, *n))),
                    _ => prop_assert!(bucket.available(*now) <= quota.burst()),
                }
                match what {
                    0 | 1 => tickets.extend(Limiter::join(&mut line, *now, *n, 0, *other)),
                    2 => line.block_until(*other),
                    3 => drop(tickets.pop().map(|ticket| line.leave(*now, ticket))),
                    4 => tickets.iter_mut().for_each(|ticket| { line.poll(*now, ticket); }),
                    _ => prop_assert!(line.available(*now)[0] <= quota.burst() && line.len() <= 3),
                }
                std::iter::from_fn(|| line.next_woken()).for_each(drop);
            }
        }
    }

    #[test]
    fn every_breaker(
        failures in counts(), open_for in spans(), successes in counts(), lease in spans(),
        script in prop::collection::vec((0..5_u8, times()), 1..40),
    ) {
        let builder = CircuitBreaker::builder()
            .failure_threshold(failures).open_for(open_for).success_threshold(successes).probe_lease(lease);
        let Ok(mut breaker) = builder.build() else {
            prop_assert!(failures == 0 || successes == 0 || open_for.is_zero() || lease.is_zero());
            return Ok(());
        };
        for (what, now) in script {
            let kind = [OutcomeKind::Success, OutcomeKind::Transient, OutcomeKind::Throttled, OutcomeKind::Permanent];
            match (breaker.try_admit(now), kind.get(usize::from(what))) {
                (Ok(permit), Some(kind)) => { breaker.record(now, u64::from(what) << 61, permit, *kind); },
                (Ok(permit), None) => { breaker.abandon(now, permit); },
                (Err(refusal), _) => prop_assert!(refusal.retry_at().is_some_and(|retry_at| retry_at > now)),
            }
        }
    }

    #[test]
    fn every_call(
        deadline in spans(), timeout in spans(), base in spans(), cap in spans(), factor in counts(),
        jitter in jitters(), attempts in counts(), weight in counts(), tokens in counts(), burst in counts(),
        script in prop::collection::vec((times(), outcomes(), any::<u64>()), 1..30),
    ) {
        let growth = Growth::Exponential { factor };
        let backoff = Backoff::builder().base(base).cap(cap).growth(growth).jitter(jitter).build().unwrap_or_default();
        let retry = Retry::builder().max_attempts(attempts).backoff(backoff).build().unwrap_or_default();
        let builder = Pipeline::builder().deadline(deadline).attempt_timeout(timeout).retry(retry);
        let quota = Quota::per_second(tokens).and_then(|quota| quota.with_burst(burst));
        let builder = builder.rate_limit(TokenBucket::new(quota.unwrap_or(Quota::per_day(1).unwrap())));
        let mut pipeline = match builder.build() {
            Ok(pipeline) => pipeline,
            Err(error) => { prop_assert!(!error.to_string().is_empty()); return Ok(()); }
        };
        let options = CallOptions::idempotent().with_weight(NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN));
        let (mut call, mut events) = (pipeline.call(script[0].0, options), Events::new());
        for (i, (now, outcome, entropy)) in script.into_iter().enumerate() {
            match call.poll(now, entropy, &mut pipeline, &mut events) {
                Step::Start(attempt) => prop_assert!(attempt.until <= call.deadline() && attempt.number <= retry.max_attempts()),
                Step::Wait(_) => {}
                Step::Done(_) => break,
            }
            match i % 7 {
                6 => call.abandon(now, &mut pipeline, &mut events),
                5 => call.time_out(now, entropy, call.attempts(), &mut pipeline, &mut events),
                _ => drop(call.finish(now, entropy, call.attempts(), outcome, &mut pipeline, &mut events)),
            }
            events.report(now, &());
        }
    }

    #[test]
    fn every_sleep(start in times(), deadline in times(), step in spans(), back in times()) {
        let clock = ManualClock::at(start);
        let end = clock.drive((&clock).sleep_until(deadline));
        prop_assert_eq!(end.is_some(), deadline <= start || deadline < Instant::MAX);
        clock.advance(step);
        clock.set(back);
        prop_assert_eq!((clock.now(), clock.next_wake()), (back, None));
    }
}

/// governor 0.10: 1/day with a large burst admits 121,186 and then nothing, because nanoseconds wrap.
#[test]
fn governor_wraps_at_a_large_burst() {
    let mut bucket = TokenBucket::new(Quota::per_day(1).unwrap().with_burst(u32::MAX).unwrap());
    assert_eq!((0..121_187 * 2).filter(|_| bucket.try_acquire(ns(0), 1).is_ok()).count(), 121_187 * 2);
    assert_eq!(bucket.try_acquire(ns(0), u32::MAX - 121_187 * 2), Ok(()));
    assert_eq!((0..10_000).filter(|_| bucket.try_acquire(ns(0), 1).is_ok()).count(), 0);
}

/// governor 0.10: 600 M/s becomes 1 G/s. (What a burst of one becomes here, instead: see `broken`.)
#[test]
fn governor_rounds_six_hundred_million_up() {
    let mut bucket = TokenBucket::new(Quota::per_second(600_000_000).unwrap().with_burst(2).unwrap());
    let admitted = (0..1_000_000).filter(|now| bucket.try_acquire(ns(*now), 1).is_ok()).count();
    assert!((600_000..=600_002).contains(&admitted), "{admitted}");
}

/// How many calls pass in `span` when somebody tries every `step`.
fn passed(quota: Quota, span: Duration, step: Duration) -> usize {
    let (mut bucket, mut now, mut passed) = (TokenBucket::new(quota), Instant::EPOCH, 0);
    while now - Instant::EPOCH < span {
        passed += usize::from(bucket.try_acquire(now, 1).is_ok());
        now += step;
    }
    passed
}

/// governor 0.10: 60/min admits 119 in the first minute. tower 0.5.3: 10/s lets 19 calls pass within 10 ms at the edge
/// of a window. With a burst of one, no period ever sees more than the quota says.
#[test]
fn a_quota_is_what_it_says_in_its_first_period_and_at_every_edge() {
    let minute = Quota::per_minute(60).unwrap();
    assert_eq!(passed(minute, Duration::from_secs(60), Duration::from_millis(1)), 60);
    let mut bucket = TokenBucket::new(Quota::per_second(10).unwrap());
    let tried = (990_000_000..1_000_000_000).step_by(100_000).filter(|now| bucket.try_acquire(ns(*now), 1).is_ok());
    assert_eq!(tried.count(), 1);
}

/// tower 0.5.3 keeps a permit when `poll_ready` is not followed by `call`: here a refusal takes nothing, ever.
#[test]
fn asking_takes_nothing() {
    let mut bucket = TokenBucket::new(Quota::per_second(10).unwrap().with_burst(5).unwrap());
    assert_eq!(bucket.try_acquire(ns(0), 4), Ok(()));
    for n in [2, 5] {
        assert!(matches!(bucket.try_acquire(ns(0), n), Err(Refusal::NotYet { .. })));
        assert!(bucket.reserve(ns(0), n, ns(1)).is_err());
    }
    assert_eq!(bucket.available(ns(0)), 1);
}
