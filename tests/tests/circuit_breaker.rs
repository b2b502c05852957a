//! The circuit breaker under random scripts, beside a model that remembers everything; and the faults of its peers.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use steadfast_core::circuit_breaker::{
    CircuitBreaker, CircuitBreakerBuilder, DroppedCall, Mode, Reason, Recorded, Refusal, State, Window,
};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::time::Instant;

use crate::support::config;
use model::{Observed, Op, Settings};

mod model;

const OPEN_FOR: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(3);

/// Longer than anything that [`settings`] lets a breaker wait for.
const LONGEST: Duration = Duration::from_secs(60);

fn window() -> impl Strategy<Value = Window> {
    let time = prop_oneof![1..20_u64, 1_u64 << 10..1 << 32].prop_map(Duration::from_nanos);
    prop_oneof![
        2 => (1..12_u32).prop_map(Window::Calls),
        1 => (60..=128_u32).prop_map(Window::Calls),
        3 => (1..20_u64).prop_map(|secs| Window::Time(Duration::from_secs(secs))),
        1 => time.prop_map(Window::Time),
    ]
}

fn secs(range: core::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

fn settings() -> impl Strategy<Value = Settings> {
    let trips = (
        prop::option::of(1..5_u32),
        prop::option::of(1..=100_u32),
        prop::option::of((1..=100_u32, secs(1..3))),
        window(),
        1..8_u32,
    );
    let opens = (prop::option::of((1..4_u32, secs(5..40))), prop_oneof![Just(0), Just(20), Just(100)]);
    let recovers = (1..=4_u32, 1..4_u32, prop::option::of(secs(1..20)));
    let dropped_call = prop_oneof![Just(DroppedCall::Neutral), Just(DroppedCall::Failure)];
    (trips, opens, recovers, dropped_call).prop_map(|(trips, opens, recovers, dropped_call)| {
        let (failure_threshold, failure_rate, slow_calls, window, minimum_calls) = trips;
        let minimum_calls = match window {
            Window::Calls(calls) => minimum_calls.min(calls),
            Window::Time(_) => minimum_calls,
        };
        let (open_growth, open_jitter) = opens;
        let (probes, success_threshold, recover_over) = recovers;
        Settings {
            failure_threshold,
            failure_rate,
            slow_calls,
            window,
            minimum_calls,
            open_for: OPEN_FOR,
            open_growth,
            open_jitter,
            probes,
            probe_lease: LEASE,
            success_threshold,
            recover_over,
            dropped_call,
        }
    })
}

fn ops() -> impl Strategy<Value = Op> {
    use OutcomeKind::{Permanent, Success, Throttled, Transient};
    let kind = prop_oneof![3 => Just(Transient), 4 => Just(Success), 1 => Just(Permanent), 1 => Just(Throttled)];
    let mode = prop_oneof![
        3 => Just(Mode::Automatic),
        1 => Just(Mode::MetricsOnly),
        1 => Just(Mode::ForcedOpen),
        1 => Just(Mode::ForcedClosed)
    ];
    prop_oneof![
        12 => Just(Op::Admit),
        2 => Just(Op::PreAdmit),
        12 => (0..4_usize, kind, any::<u64>()).prop_map(|(index, kind, entropy)| Op::Record(index, kind, entropy)),
        2 => (0..4_usize).prop_map(Op::Abandon),
        2 => (0..4_usize).prop_map(Op::Forget),
        8 => prop_oneof![Just(5_000), Just(3_000), Just(1), -2_000..6_000_i64, 0..1_000_i64].prop_map(Op::Move),
        1 => mode.prop_map(Op::SetMode),
        1 => Just(Op::Restore),
    ]
}

/// Would catch: a window that is reset where it should slide, or that forgets too early or too late; a threshold or
/// a minimum that is off by one; one probe more than allowed, or one that keeps its place; a late result that
/// counts; a refusal that is not honest; a share that is not kept to; a mode that judges where it should not; a
/// snapshot that loses something; and any script after which nobody is ever admitted again.
#[test]
fn the_breaker_does_what_its_page_says() {
    let start = prop_oneof![Just(0), Just(3_600_000_000_000), any::<u32>().prop_map(u64::from)];
    let scripts = (settings(), start, prop::collection::vec(ops(), 1..150));
    let seen = RefCell::new(BTreeSet::new());
    let result = TestRunner::new(config(400)).run(&scripts, |(settings, start, script)| {
        let mut observed = Observed::new(settings, start);
        script.into_iter().for_each(|op| observed.step(op));
        if observed.breaker.mode() != Mode::ForcedOpen {
            let rested = observed.latest + LONGEST;
            prop_assert!(observed.breaker.check(rested).is_ok(), "wedged: {:?}", observed.breaker);
        }
        seen.borrow_mut().append(&mut observed.seen);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    // That they say so of every state and every reason is not left to chance.
    let states = ["Closed", "Open", "HalfOpen", "Recovering", "ForcedOpen", "ForcedClosed"];
    let reasons = ["ConsecutiveFailures", "FailureRate", "SlowCallRate", "ProbeFailed", "ProbesOut", "Recovering"];
    let answers = ["Noted", "Late", "Unjudged"];
    for word in states.iter().chain(&reasons).chain(&answers) {
        assert!(seen.borrow().contains(*word), "no script has led to {word}");
    }
}

proptest! {
    #![proptest_config(config(400))]

    /// Would catch: a sum of times that wraps, a division by zero, a refusal that is not honest, and a count that
    /// overflows, at any setting and any time.
    #[test]
    fn no_number_is_too_much_for_it(
        spans in prop::array::uniform6(extreme()),
        counts in prop::array::uniform4(prop_oneof![Just(1_u32), Just(100), Just(u32::MAX), any::<u32>()]),
        window in prop_oneof![extreme().prop_map(Window::Time), (0..130_u32).prop_map(Window::Calls)],
        small in (1..=100_u32, 1..=8_u32, 0..=100_u32),
        script in prop::collection::vec((0..9_u8, any_time(), any_time(), any::<u64>()), 1..60),
    ) {
        let [open_for, cap, lease, slow_at, over, _] = spans;
        let [failures, factor, successes, minimum] = counts;
        let (percent, probes, jitter) = small;
        let builder = CircuitBreaker::builder()
            .failure_threshold(failures).failure_rate(percent).slow_call_rate(percent, slow_at).window(window)
            .minimum_calls(minimum).open_for(open_for).open_growth(factor, cap).open_jitter(jitter).probes(probes)
            .probe_lease(lease).success_threshold(successes).recover_over(over).dropped_call(DroppedCall::Failure);
        // Most of these contradict each other. What is left of them then is tried, too.
        let tame = builder.window(Window::Time(spans[5].max(Duration::from_nanos(1)))).minimum_calls(1)
            .open_growth(factor.max(1), Duration::MAX).open_for(open_for.max(Duration::from_nanos(1)))
            .slow_call_rate(percent, slow_at.clamp(Duration::from_nanos(1), lease.max(Duration::from_nanos(1))))
            .probe_lease(lease.max(Duration::from_nanos(1))).recover_over(over.max(Duration::from_nanos(1)));
        for builder in [builder, tame] {
            match builder.build() {
                Ok(breaker) => drive(builder, breaker, &script)?,
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
        prop_assert!(tame.build().is_ok());
    }
}

fn extreme() -> impl Strategy<Value = Duration> {
    let nanos = prop_oneof![Just(0_u64), 1..20_u64, Just(u64::MAX), Just(1 << 32), any::<u64>()];
    prop_oneof![4 => nanos.prop_map(Duration::from_nanos), 1 => Just(Duration::MAX)]
}

fn any_time() -> impl Strategy<Value = Instant> {
    prop_oneof![Just(0), Just(u64::MAX), u64::MAX - 20..=u64::MAX, 0..20_u64, any::<u64>()]
        .prop_map(Instant::from_nanos)
}

fn drive(
    builder: CircuitBreakerBuilder,
    mut breaker: CircuitBreaker,
    script: &[(u8, Instant, Instant, u64)],
) -> Result<(), TestCaseError> {
    const KINDS: [OutcomeKind; 4] =
        [OutcomeKind::Success, OutcomeKind::Transient, OutcomeKind::Transient, OutcomeKind::Permanent];
    for (what, now, ended, entropy) in script {
        match (breaker.try_admit(*now), KINDS.get(usize::from(*what))) {
            (Ok(permit), Some(kind)) => drop(format!("{:?}", breaker.record(*ended, *entropy, permit, *kind))),
            (Ok(permit), None) if *what < 6 => drop(format!("{:?}", breaker.abandon(*ended, permit))),
            (Ok(_lost), None) => {}
            (Err(refusal), _) => {
                let retry_at = refusal.retry_at().expect("nobody forces it");
                prop_assert!(retry_at > *now && breaker.check(retry_at).is_ok());
            }
        }
        let snapshot = breaker.snapshot(*now);
        prop_assert!(
            snapshot.window.failures <= snapshot.window.calls && snapshot.window.slow <= snapshot.window.calls
        );
        prop_assert!(!snapshot.to_string().is_empty());
        if *what == 8 {
            breaker = builder.restore(*ended, &snapshot).expect("it was built once");
        }
    }
    Ok(())
}

/// A breaker that opened at 0 and is due for a probe at 5 s.
fn opened(builder: CircuitBreakerBuilder) -> CircuitBreaker {
    let mut breaker = builder.failure_threshold(1).open_for(OPEN_FOR).probe_lease(LEASE).build().unwrap();
    let permit = breaker.try_admit(Instant::EPOCH).unwrap();
    breaker.record(Instant::EPOCH, 0, permit, OutcomeKind::Transient);
    breaker
}

const DUE: Instant = Instant::from_nanos(5_000_000_000);

/// failsafe 1.3 admits 1,000 of 1,000 callers while half-open; recloser 1.4 admits 200 where two were allowed.
#[test]
fn a_thousand_callers_while_half_open_are_as_many_probes_as_allowed() {
    for probes in 1..=8 {
        let mut breaker = opened(CircuitBreaker::builder().probes(probes));
        assert_eq!((0..1_000).filter(|_| breaker.try_admit(DUE).is_ok()).count(), probes as usize);
    }
}

/// tower-resilience 0.14 and failsafe 1.3: a success admitted while closed closes the half-open breaker.
#[test]
fn a_stragglers_success_closes_nothing() {
    let mut breaker = CircuitBreaker::builder().failure_threshold(1).open_for(OPEN_FOR).build().unwrap();
    let [straggler, failing] = [0; 2].map(|_| breaker.try_admit(Instant::EPOCH).unwrap());
    breaker.record(Instant::EPOCH, 0, failing, OutcomeKind::Transient);
    let _probe = breaker.try_admit(DUE).unwrap();
    assert_eq!(breaker.record(DUE, 0, straggler, OutcomeKind::Success), Recorded::Late);
    assert_eq!(breaker.state(), State::HalfOpen);
}

/// resilience4j, failsafe-go and Polly count late results after a state change: here, failures of the last outage
/// that come in when it has just closed again.
#[test]
fn failures_of_the_last_outage_do_not_open_it_anew() {
    let mut breaker = CircuitBreaker::builder().failure_threshold(2).open_for(OPEN_FOR).build().unwrap();
    let mut permits: Vec<_> = (0..100).map(|_| breaker.try_admit(Instant::EPOCH).unwrap()).collect();
    for permit in permits.drain(..2) {
        breaker.record(Instant::EPOCH, 0, permit, OutcomeKind::Transient);
    }
    let probe = breaker.try_admit(DUE).unwrap();
    breaker.record(DUE, 0, probe, OutcomeKind::Success);
    for permit in permits {
        assert_eq!(breaker.record(DUE, 0, permit, OutcomeKind::Transient), Recorded::Late);
    }
    assert_eq!(breaker.state(), State::Closed);
}

/// tower-resilience 0.14: after 1,000 successes, a window of 10 at 50 % needs 1,000 failures to open.
/// recloser 1.4: opens one call after the window is full.
#[test]
fn it_opens_at_the_threshold_however_many_successes_came_before() {
    let (window, none) = (Window::Calls(10), CircuitBreaker::builder());
    let half_of_10 = none.without_failure_threshold().window(window).minimum_calls(10).failure_rate(50);
    let all_of_10 = half_of_10.failure_rate(100);
    for (builder, successes, failures) in [
        (half_of_10, 1_000, 5),
        (half_of_10, 5, 5),
        (all_of_10, 1_000, 10),
        (all_of_10, 0, 10),
        (none.failure_threshold(10), 1_000, 10),
        (none.failure_threshold(10), 0, 10),
    ] {
        let mut breaker = builder.build().unwrap();
        let kinds = [vec![OutcomeKind::Success; successes], vec![OutcomeKind::Transient; failures]].concat();
        for kind in kinds {
            assert_eq!(breaker.state(), State::Closed);
            let permit = breaker.try_admit(Instant::EPOCH).unwrap();
            breaker.record(Instant::EPOCH, 0, permit, kind);
        }
        assert_eq!(breaker.state(), State::Open, "{builder:?}");
    }
}

/// recloser 1.4: a window of 0 panics. failsafe 1.3: a backoff under a second panics.
#[test]
fn small_settings_are_refused_or_work() {
    assert!(CircuitBreaker::builder().window(Window::Calls(0)).build().is_err());
    assert!(CircuitBreaker::builder().window(Window::Time(Duration::ZERO)).build().is_err());
    let brief = CircuitBreaker::builder().failure_threshold(1).open_for(Duration::from_millis(5)).open_jitter(0);
    for builder in [brief, brief.open_growth(2, Duration::from_millis(9))] {
        let mut breaker = builder.build().unwrap();
        let permit = breaker.try_admit(Instant::EPOCH).unwrap();
        breaker.record(Instant::EPOCH, 0, permit, OutcomeKind::Transient);
        let (retry_at, reason) = (Instant::EPOCH + Duration::from_millis(5), Reason::ConsecutiveFailures);
        assert_eq!(breaker.check(Instant::EPOCH), Err(Refusal::NotYet { retry_at, reason }));
    }
}

/// Polly: a cancelled probe closes the circuit, and one that hangs blocks it for ever.
#[test]
fn a_cancelled_probe_closes_nothing_and_a_hanging_one_blocks_nothing() {
    let mut breaker = opened(CircuitBreaker::builder());
    let cancelled = breaker.try_admit(DUE).unwrap();
    assert_eq!((breaker.abandon(DUE, cancelled), breaker.state()), (Recorded::Noted, State::HalfOpen));
    let _hangs = breaker.try_admit(DUE).expect("its place is free at once");
    assert!(breaker.try_admit(DUE + LEASE).is_ok_and(|permit| permit.is_probe()));
}

/// failsafe 1.3 records nothing for a dropped future; ours makes room, and counts as it is told to.
#[test]
fn a_dropped_call_counts_neither_way_unless_it_should() {
    for (counts_as, want) in [(DroppedCall::Neutral, State::Closed), (DroppedCall::Failure, State::Open)] {
        let mut breaker = CircuitBreaker::builder().failure_threshold(100).dropped_call(counts_as).build().unwrap();
        for _ in 0..100 {
            assert_eq!(breaker.state(), State::Closed);
            let permit = breaker.try_admit(Instant::EPOCH).unwrap();
            breaker.abandon(Instant::EPOCH, permit);
        }
        assert_eq!(breaker.state(), want);
    }
}

/// With the defaults, a server that fails every fourth request, as the quickstart's does, is not left alone, and one
/// that fails three of four is.
#[test]
fn the_defaults_bear_a_server_that_fails_every_fourth_request() {
    let openings = |percent: u64, per_second: u64| {
        let mut state = percent + per_second;
        let mut random = || {
            // SplitMix64 (Steele, Lea and Flood, 2014).
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ mixed >> 31
        };
        let mut breaker = CircuitBreaker::default();
        let opened = (0..20_000_u64).filter(|call| {
            let now = Instant::from_nanos(call * 1_000_000_000 / per_second);
            let Ok(permit) = breaker.try_admit(now) else { return false };
            let kind = if random() % 100 < percent { OutcomeKind::Transient } else { OutcomeKind::Success };
            matches!(breaker.record(now, random(), permit, kind), Recorded::Changed { to: State::Open, .. })
        });
        opened.count()
    };
    for per_second in [1, 10, 100, 10_000] {
        assert_eq!(openings(25, per_second), 0, "{per_second} per second");
    }
    assert!(openings(75, 100) > 0);
}
