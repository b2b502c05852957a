//! Backoff and retry: what comes out of every setting, whatever the dice say.

use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::backoff::{Backoff, Jitter};
use steadfast_core::outcome::{Idempotency, Outcome, OutcomeKind, Processed};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::{Failure, Retry, Verdict};
use steadfast_core::time::Instant;

use crate::support::{config, ns};

fn jitters() -> impl Strategy<Value = Jitter> {
    prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal), any::<u8>().prop_map(Jitter::Proportional)]
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::from_nanos(1)),
        Just(Duration::MAX),
        Just(Duration::from_nanos(u64::MAX)),
        (0..100_000_000_000_u64).prop_map(Duration::from_nanos),
        any::<u64>().prop_map(Duration::from_nanos),
    ]
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..6_u32, 1 => Just(u32::MAX), 1 => any::<u32>()]
}

fn backoffs() -> impl Strategy<Value = Backoff> {
    (durations(), durations(), small(), jitters())
        .prop_filter_map("settings that cannot be", |(base, cap, factor, jitter)| {
            Backoff::builder().base(base).cap(cap).factor(factor).jitter(jitter).build().ok()
        })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let outcome = prop_oneof![Just(Outcome::transient()), Just(Outcome::throttled()), Just(Outcome::permanent())];
    (outcome, any::<bool>(), prop::option::of(durations())).prop_map(|(outcome, processed, hint)| {
        let outcome = if processed { outcome } else { outcome.not_processed() };
        hint.map_or(outcome, |hint| outcome.with_retry_after(hint))
    })
}

proptest! {
    #![proptest_config(config(1_000))]

    /// Would catch: backon's jitter on top of the cap, failsafe's panic under a second, tokio-retry's 50 ms, 2.5 s,
    /// 125 s, and any overflow.
    #[test]
    fn every_delay_is_within_the_bounds_of_its_jitter(
        base in durations(), cap in durations(), factor in small(), jitter in jitters(),
        retry in small(), entropy in numbers(),
    ) {
        let builder = Backoff::builder().base(base).cap(cap).factor(factor);
        let (Ok(plain), Ok(backoff)) = (builder.jitter(Jitter::None).build(), builder.jitter(jitter).build()) else {
            prop_assert!(base.is_zero() || factor == 0 || cap < base);
            return Ok(());
        };
        let (full, got) = (plain.delay(retry, 0), backoff.delay(retry, entropy));
        let growth = u128::from(factor).saturating_pow(retry.saturating_sub(1));
        let exact = base.as_nanos().saturating_mul(growth).min(cap.as_nanos()).min(u64::MAX.into());
        prop_assert_eq!(full.as_nanos(), exact);
        let (low, high) = match jitter {
            Jitter::Full => (0, exact),
            Jitter::Equal => (exact / 2, exact),
            Jitter::Proportional(percent) => {
                let spread = exact * u128::from(percent.min(100)) / 100;
                (exact - spread, (exact + spread).min(cap.as_nanos()))
            }
            _ => (exact, exact),
        };
        prop_assert!((low..=high).contains(&got.as_nanos()), "{got:?} is not from {low} to {high} ns");
    }

    /// Would catch: a delay that shrinks where it should grow.
    #[test]
    fn more_retries_and_higher_dice_never_shorten_the_delay(
        backoff in backoffs(), retry in small(), low in numbers(), high in numbers(),
    ) {
        prop_assert!(backoff.delay(retry, low.max(high)) <= backoff.delay(retry.saturating_add(1), low.max(high)));
        prop_assert!(backoff.delay(retry, low.min(high)) <= backoff.delay(retry, low.max(high)));
    }

    /// Promises 2, 5 and 6 of the design, for every input. Would catch: reqwest's four hits in a millisecond against
    /// `Retry-After: 5`, Polly's sleep past the deadline, octocrab's and reqwest-retry's repeated POST.
    #[test]
    fn a_retry_is_never_early_never_late_and_never_unasked(
        backoff in backoffs(), max_attempts in small(), attempt in small(), now in numbers(), deadline in numbers(),
        outcome in outcomes(), idempotent in any::<bool>(), entropy in numbers(),
    ) {
        let Ok(retry) = Retry::builder().max_attempts(max_attempts).backoff(backoff).build() else {
            prop_assert_eq!(max_attempts, 0);
            return Ok(());
        };
        let idempotency = if idempotent { Idempotency::Idempotent } else { Idempotency::NotIdempotent };
        let failure = Failure { attempt, outcome, idempotency, deadline: ns(deadline) };
        let earliest = ns(now) + outcome.retry_after().unwrap_or_default();
        match retry.decide(ns(now), entropy, &failure) {
            Verdict::Retry { at } => {
                prop_assert!(at >= earliest && at < ns(deadline));
                prop_assert!(at <= earliest + backoff.delay(attempt, u64::MAX));
                prop_assert!(attempt < max_attempts && outcome.kind() != OutcomeKind::Permanent);
                prop_assert!(idempotent || outcome.processed() == Processed::No);
            }
            Verdict::Stop(Rejected::NoTimeToRetry { retry_at, deadline: named }) => {
                prop_assert!(retry_at >= earliest && retry_at >= named && named == ns(deadline));
            }
            Verdict::Stop(Rejected::DeadlineExceeded { deadline }) => prop_assert!(ns(now) >= deadline),
            Verdict::Stop(Rejected::AttemptsSpent { max_attempts: named }) => {
                prop_assert!(attempt >= max_attempts && named == max_attempts);
            }
            Verdict::Stop(Rejected::NotIdempotent) => {
                prop_assert!(!idempotent && outcome.processed() == Processed::Maybe);
            }
            Verdict::Stop(Rejected::Permanent) => prop_assert_eq!(outcome.kind(), OutcomeKind::Permanent),
            other @ Verdict::Stop(_) => panic!("{other:?}"),
        }
    }
}

/// Would catch: a jitter that prefers a corner. A hundred thousand evenly spaced numbers, ten equal boxes.
#[test]
fn jitter_is_spread_evenly() {
    let second = Duration::from_secs(1);
    for (jitter, low, high) in
        [(Jitter::Full, 0, 1000), (Jitter::Equal, 500, 1000), (Jitter::Proportional(20), 800, 1200)]
    {
        let backoff = Backoff::builder().base(second).cap(second * 10).jitter(jitter).build().unwrap();
        let mut boxes = [0_u32; 10];
        for i in 0..100_000_u64 {
            let millis = backoff.delay(1, i * (u64::MAX / 100_000)).as_millis();
            boxes[usize::try_from((millis - low) * 10 / (high - low)).unwrap().min(9)] += 1;
        }
        assert!(boxes.iter().all(|n| (9_700..=10_300).contains(n)), "{jitter:?}: {boxes:?}");
    }
}

/// tokio-retry 0.3: 50 ms means 50 ms, 2.5 s, 125 s. failsafe 1.3: a backoff under a second panics. backon 1.6: jitter
/// exceeds the cap, 2 s gives 3.56 s.
#[test]
fn fifty_milliseconds_double_and_the_cap_holds() {
    let backoff = Backoff::builder().base(Duration::from_millis(50)).cap(Duration::from_secs(2)).build().unwrap();
    let most = [1, 2, 3, 6, 7, 100].map(|retry| backoff.delay(retry, u64::MAX).as_millis());
    assert_eq!(most, [50, 100, 200, 1_600, 2_000, 2_000]);
}

/// octocrab, kube: a `Retry-After` that is hostile panics or sleeps for ever. Ours is an answer.
#[test]
fn a_hostile_hint_is_an_answer() {
    for hint in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_nanos(u64::MAX)] {
        for deadline in [ns(1_000), Instant::MAX] {
            let failure = Failure {
                attempt: 1,
                outcome: Outcome::throttled().with_retry_after(hint),
                idempotency: Idempotency::Idempotent,
                deadline,
            };
            let want = Rejected::NoTimeToRetry { retry_at: Instant::MAX, deadline };
            assert_eq!(Retry::default().decide(ns(1), 0, &failure), Verdict::Stop(want));
        }
    }
}
