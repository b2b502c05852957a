//! Backoff and retry: what comes out of every setting, whatever the dice say.

use core::time::Duration;
use std::collections::BTreeSet;

use proptest::prelude::*;
use steadfast_core::backoff::{Backoff, Growth, Jitter};
use steadfast_core::outcome::{Idempotency, Outcome, OutcomeKind, Processed};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::budget::{Budget, Cause};
use steadfast_core::retry::{Failure, Retry, Verdict};
use steadfast_core::time::Instant;

use crate::support::{config, millis, ms, ns};

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

fn growths() -> impl Strategy<Value = Growth> {
    prop_oneof![
        Just(Growth::Constant),
        Just(Growth::Linear),
        Just(Growth::Fibonacci),
        small().prop_map(|factor| Growth::Exponential { factor }),
    ]
}

fn backoffs() -> impl Strategy<Value = Backoff> {
    let formula = (durations(), durations(), growths(), jitters())
        .prop_filter_map("settings that cannot be", |(base, cap, growth, jitter)| {
            Backoff::builder().base(base).cap(cap).growth(growth).jitter(jitter).build().ok()
        });
    let decorrelated = (durations(), durations())
        .prop_filter_map("settings that cannot be", |(base, cap)| Backoff::decorrelated(base, cap).ok());
    prop_oneof![3 => formula, 1 => decorrelated]
}

/// `SplitMix64`, as a caller would seed it: one for each session.
fn session(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The first five delays of a session.
fn delays(backoff: Backoff, mut entropy: impl FnMut() -> u64) -> [Duration; 5] {
    let mut previous = Duration::ZERO;
    [1, 2, 3, 4, 5].map(|retry| {
        previous = backoff.delay(retry, previous, entropy());
        previous
    })
}

/// Every growth with every jitter that draws, on the default base and cap.
fn drawing() -> Vec<Backoff> {
    let growths = [Growth::Constant, Growth::Linear, Growth::Fibonacci, Growth::Exponential { factor: 2 }];
    let jitters = [Jitter::Full, Jitter::Equal, Jitter::Proportional(20)];
    let mut all = vec![Backoff::decorrelated(millis(100), millis(10_000)).unwrap()];
    for growth in growths {
        all.extend(jitters.map(|jitter| Backoff::builder().growth(growth).jitter(jitter).build().unwrap()));
    }
    all
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let outcome = prop_oneof![
        Just(Outcome::transient()),
        Just(Outcome::timed_out()),
        Just(Outcome::throttled()),
        Just(Outcome::permanent())
    ];
    (outcome, any::<bool>(), prop::option::of(durations()), 0..10_u8).prop_map(|(outcome, processed, hint, stop)| {
        let outcome = if processed { outcome } else { outcome.not_processed() };
        let outcome = hint.map_or(outcome, |hint| outcome.with_retry_after(hint));
        if stop == 0 { outcome.without_retry() } else { outcome }
    })
}

proptest! {
    #![proptest_config(config(1_000))]

    /// Would catch: backon's jitter on top of the cap, failsafe's panic under a second, tokio-retry's 50 ms, 2.5 s,
    /// 125 s, and any overflow.
    #[test]
    fn every_delay_is_within_the_bounds_of_its_jitter(
        base in durations(), cap in durations(), growth in growths(), jitter in jitters(),
        retry in small(), previous in durations(), entropy in numbers(),
    ) {
        let builder = Backoff::builder().base(base).cap(cap).growth(growth);
        let (Ok(plain), Ok(backoff)) = (builder.jitter(Jitter::None).build(), builder.jitter(jitter).build()) else {
            let no_growth = growth == Growth::Exponential { factor: 0 };
            prop_assert!(base.is_zero() || no_growth || cap < base);
            return Ok(());
        };
        let (full, got) = (plain.delay(retry, previous, 0), backoff.delay(retry, previous, entropy));
        let times = match growth {
            Growth::Constant => 1,
            Growth::Linear => u128::from(retry.max(1)),
            // Beyond the 150th no `u64` of nanoseconds has been enough for long.
            Growth::Fibonacci => (1..retry.clamp(1, 150)).fold((1, 1), |(a, b): (u128, u128), _| (b, a + b)).0,
            Growth::Exponential { factor } => u128::from(factor).saturating_pow(retry.saturating_sub(1)),
            other => panic!("{other:?} is new"),
        };
        let exact = base.as_nanos().saturating_mul(times).min(cap.as_nanos()).min(u64::MAX.into());
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

    /// Brooker's formula, but that the draw ends at the cap where his is cut to it.
    #[test]
    fn a_decorrelated_delay_is_between_the_base_and_three_times_the_one_before(
        base in durations(), cap in durations(), previous in durations(), retry in small(), entropy in numbers(),
    ) {
        let Ok(backoff) = Backoff::decorrelated(base, cap) else {
            prop_assert!(base.is_zero() || cap < base);
            return Ok(());
        };
        let got = backoff.delay(retry, previous, entropy).as_nanos();
        let most = base.max(previous).as_nanos().min(u64::MAX.into()) * 3;
        let (low, high) = (base.as_nanos().min(u64::MAX.into()), most.min(cap.as_nanos()).min(u64::MAX.into()));
        prop_assert!((low..=high).contains(&got), "{got} is not from {low} to {high} ns");
    }

    /// Would catch: a delay that shrinks where it should grow.
    #[test]
    fn more_retries_and_higher_dice_never_shorten_the_delay(
        backoff in backoffs(), retry in small(), previous in durations(), low in numbers(), high in numbers(),
    ) {
        let delay = |retry, entropy| backoff.delay(retry, previous, entropy);
        prop_assert!(delay(retry, low.max(high)) <= delay(retry.saturating_add(1), low.max(high)));
        prop_assert!(delay(retry, low.min(high)) <= delay(retry, low.max(high)));
    }

    /// Promises 2, 5 and 6 of the design, for every input. Would catch: reqwest's four hits in a millisecond against
    /// `Retry-After: 5`, Polly's sleep past the deadline, octocrab's and reqwest-retry's repeated POST.
    #[test]
    fn a_retry_is_never_early_never_late_and_never_unasked(
        backoff in backoffs(), max_attempts in small(), attempt in small(), now in numbers(), deadline in numbers(),
        outcome in outcomes(), idempotent in any::<bool>(), entropy in numbers(), previous_delay in durations(),
        paid in any::<bool>(),
    ) {
        let Ok(retry) = Retry::builder().max_attempts(max_attempts).backoff(backoff).build() else {
            prop_assert_eq!(max_attempts, 0);
            return Ok(());
        };
        let idempotency = if idempotent { Idempotency::Idempotent } else { Idempotency::NotIdempotent };
        let failure = Failure { attempt, outcome, idempotency, max_attempts: u32::MAX, previous_delay, deadline: ns(deadline) };
        let mut budget = one_retry();
        let charge = budget.withdraw(ns(0), 0, Cause::Hedge).expect("there is one");
        if paid {
            budget.refund(ns(0), charge);
        }
        let earliest = ns(now) + outcome.retry_after().unwrap_or_default();
        match retry.decide(ns(now), entropy, &failure, &mut budget) {
            Verdict::Retry { at, delay, .. } => {
                prop_assert!(paid && at == earliest + delay && !outcome.forbids_retry());
                prop_assert!(at >= earliest && at < ns(deadline));
                prop_assert!(at <= earliest + backoff.delay(attempt, previous_delay, u64::MAX));
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
            Verdict::Stop(Rejected::RetryForbidden) => prop_assert!(outcome.forbids_retry()),
            Verdict::Stop(Rejected::BudgetSpent { retry_at: None }) => prop_assert!(!paid),
            other @ Verdict::Stop(_) => panic!("{other:?}"),
        }
        // Whatever was refused has cost nothing.
        if budget.withdraw(ns(now), 0, Cause::Hedge).is_err() && paid {
            let again = retry.decide(ns(now), entropy, &failure, &mut one_retry());
            prop_assert!(matches!(again, Verdict::Retry { .. }), "{again:?} was paid for");
        }
    }

    /// backon 1.6: a total delay of 10 s ran 247 s. A whole session, attempt after attempt, each as long as it likes:
    /// nothing starts at the deadline or later, and it ends.
    #[test]
    fn a_session_never_outlives_its_deadline(
        backoff in backoffs(), max_attempts in 1..20_u32, deadline in numbers(), seed in any::<u64>(),
        attempts in prop::collection::vec((durations(), outcomes()), 20),
    ) {
        let retry = Retry::builder().max_attempts(max_attempts).backoff(backoff).build().unwrap();
        let (mut entropy, mut budget) = (session(seed), Budget::unlimited());
        let (mut now, mut previous_delay, deadline) = (ns(0), Duration::ZERO, ns(deadline));
        for (attempt, (takes, outcome)) in (1..).zip(attempts) {
            let ended = now + takes;
            let idempotency = Idempotency::Idempotent;
            let failure = Failure { attempt, outcome, idempotency, max_attempts: u32::MAX, previous_delay, deadline };
            match retry.decide(ended, entropy(), &failure, &mut budget) {
                Verdict::Retry { at, delay, .. } => {
                    prop_assert!(at >= ended && at < deadline && attempt < max_attempts);
                    (now, previous_delay) = (at, delay);
                }
                Verdict::Stop(_) => return Ok(()),
            }
        }
        prop_assert!(false, "twenty attempts where {max_attempts} are allowed");
    }
}

/// A budget that pays for one retry, whatever happens.
fn one_retry() -> Budget {
    let quota = Budget::quota().capacity(1).success_gain(0);
    quota.transient_cost(1).throttled_cost(1).timeout_cost(1).hedge_cost(1).build().unwrap()
}

/// tower 0.5.3: every retry session in a process draws the same jitter. backon 1.6: so does every start of a firmware.
#[test]
fn two_sessions_with_different_seeds_never_share_their_jitter() {
    for backoff in drawing() {
        let sequences: BTreeSet<_> = (0..10_000).map(|seed| delays(backoff, session(seed))).collect();
        assert_eq!(sequences.len(), 10_000, "{backoff:?}");
    }
}

/// tokio-retry2 0.9: jitter is drawn once. Here each delay of a session is a draw of its own.
#[test]
fn each_retry_of_a_session_draws_anew() {
    let backoff = Backoff::builder().growth(Growth::Constant).build().unwrap();
    for seed in 0..1_000 {
        let drawn = delays(backoff, session(seed)).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(drawn.len(), 5);
    }
}

/// Promise 7: a thousand clients that fail in the same instant do not come back together, whatever draws. Would catch: a
/// cap that gathers them, and a generator that all of them share.
#[test]
fn a_thousand_clients_that_failed_together_do_not_come_back_together() {
    for backoff in drawing() {
        let sessions: Vec<_> = (0..1_000).map(|seed| delays(backoff, session(seed))).collect();
        for retry in 0..5 {
            let mut times: Vec<_> = sessions.iter().map(|delays| delays[retry]).collect();
            times.sort_unstable();
            assert!(
                times.windows(2).filter(|pair| pair[0] == pair[1]).count() <= 1,
                "{backoff:?}: they share an instant"
            );
            // The narrowest jitter at the shortest delay spreads them over 40 ms, and two hundred over 8 ms.
            let crowd = times.windows(200).map(|crowd| crowd[199] - crowd[0]).min().unwrap();
            assert!(crowd >= millis(6), "{backoff:?}: two hundred of them within {crowd:?}");
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
            let millis = backoff.delay(1, Duration::ZERO, i * (u64::MAX / 100_000)).as_millis();
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
    let most = [1, 2, 3, 6, 7, 100].map(|retry| backoff.delay(retry, Duration::ZERO, u64::MAX).as_millis());
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
                max_attempts: u32::MAX,
                previous_delay: Duration::ZERO,
                deadline,
            };
            let want = Rejected::NoTimeToRetry { retry_at: Instant::MAX, deadline };
            assert_eq!(Retry::default().decide(ns(1), 0, &failure, &mut Budget::default()), Verdict::Stop(want));
        }
    }
}

/// tokio-retry2 0.9: `retry_after` is dropped. reqwest 0.13: four hits in a millisecond against `Retry-After: 5`.
#[test]
fn four_attempts_against_a_hint_of_five_seconds_take_fifteen() {
    let retry = Retry::default();
    let (mut now, mut entropy, mut budget) = (ms(0), session(1), Budget::unlimited());
    for attempt in 1..=4 {
        let failure = Failure {
            attempt,
            outcome: Outcome::throttled().with_retry_after(millis(5_000)),
            idempotency: Idempotency::Idempotent,
            max_attempts: u32::MAX,
            previous_delay: Duration::ZERO,
            deadline: Instant::MAX,
        };
        match retry.decide(now, entropy(), &failure, &mut budget) {
            Verdict::Retry { at, .. } => now = at,
            stop @ Verdict::Stop(_) => {
                assert_eq!(stop, Verdict::Stop(Rejected::AttemptsSpent { max_attempts: 4 }));
                assert_eq!(attempt, 4);
            }
        }
    }
    assert!(now >= ms(15_000), "{now}");
}
