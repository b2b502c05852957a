//! Scripts for one breaker. Random scripts against its invariants are in the package `steadfast-tests`.

use core::time::Duration;

use super::{CircuitBreaker, CircuitBreakerBuilder, Permit, Recorded, Refusal, State};
use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, Value};
use crate::time::Instant;
use What::{Fail, Lose, Permanently, Refused, Succeed, Throttle};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Succeed,
    Fail,
    Throttle,
    Permanently,
    /// Its future is forgotten: nothing is ever recorded.
    Lose,
    /// Its future is dropped.
    Abandon,
    /// It is not admitted, until this second.
    Refused(u64),
}

const fn s(secs: u64) -> Instant {
    Instant::from_nanos(secs * 1_000_000_000)
}

/// Opens at the second failure for 5 s; a probe's lease is 3 s.
const fn builder() -> CircuitBreakerBuilder {
    CircuitBreaker::builder().failure_threshold(2).open_for(Duration::from_secs(5)).probe_lease(Duration::from_secs(3))
}

/// Makes one call at each second, lets it end as the script says, and compares the state after it.
fn check(builder: CircuitBreakerBuilder, script: &[(u64, What, State)]) {
    let mut breaker = builder.build().unwrap();
    for (line, (secs, what, want)) in script.iter().enumerate() {
        let now = s(*secs);
        let admitted = breaker.try_admit(now);
        let kind = match what {
            Succeed => OutcomeKind::Success,
            Fail => OutcomeKind::Transient,
            Throttle => OutcomeKind::Throttled,
            Permanently => OutcomeKind::Permanent,
            Lose | What::Abandon | Refused(_) => OutcomeKind::Success, // Not recorded below.
        };
        match (what, admitted) {
            (Refused(until), Err(refusal)) => assert_eq!(refusal, Refusal { retry_at: s(*until) }, "line {line}"),
            (Lose, Ok(_permit)) => {}
            (What::Abandon, Ok(permit)) => assert_ne!(breaker.abandon(permit), Recorded::Late, "line {line}"),
            (Succeed | Fail | Throttle | Permanently, Ok(permit)) => {
                assert_ne!(breaker.record(now, permit, kind), Recorded::Late, "line {line}");
            }
            (what, admitted) => panic!("line {line}: {what:?} expected, got {admitted:?}"),
        }
        assert_eq!(breaker.state(), *want, "line {line}: {what:?} at {now}");
    }
}

#[test]
fn ut_14_the_breaker_starts_closed() {
    let mut breaker = CircuitBreaker::builder().build().unwrap();
    assert_eq!(breaker.state(), State::Closed);
    assert!(breaker.try_admit(s(0)).is_ok_and(|permit| !permit.is_probe()));
}

#[test]
fn ut_15_the_breaker_opens_at_the_threshold() {
    check(builder(), &[(0, Fail, State::Closed), (1, Fail, State::Open)]);
    check(builder().failure_threshold(1), &[(0, Fail, State::Open)]);
}

#[test]
fn ut_16_an_open_breaker_refuses_and_says_until_when() {
    check(
        builder(),
        &[(0, Fail, State::Closed), (1, Fail, State::Open), (1, Refused(6), State::Open), (5, Refused(6), State::Open)],
    );
}

#[test]
fn ut_17_the_breaker_is_half_open_after_the_recovery_time() {
    check(builder(), &[(0, Fail, State::Closed), (1, Fail, State::Open), (6, Lose, State::HalfOpen)]);
}

#[test]
fn ut_18_the_breaker_closes_after_enough_successes() {
    let opened = [(0, Fail, State::Closed), (0, Fail, State::Open)];
    check(builder(), &[opened[0], opened[1], (5, Succeed, State::Closed), (5, Fail, State::Closed)]);
    check(
        builder().success_threshold(2),
        &[opened[0], opened[1], (5, Succeed, State::HalfOpen), (5, Succeed, State::Closed)],
    );
}

#[test]
fn ut_18_a_failed_probe_opens_it_again() {
    check(
        builder().success_threshold(2),
        &[
            (0, Fail, State::Closed),
            (0, Fail, State::Open),
            (5, Succeed, State::HalfOpen),
            (6, Fail, State::Open),
            (10, Refused(11), State::Open),
            (11, Succeed, State::HalfOpen), // The successes before the failure are forgotten.
            (11, Succeed, State::Closed),
        ],
    );
}

#[test]
fn only_failures_in_a_row_count() {
    for between in [Succeed, Permanently] {
        check(builder(), &[(0, Fail, State::Closed), (0, between, State::Closed), (0, Fail, State::Closed)]);
    }
    for between in [Throttle, Lose, What::Abandon] {
        check(builder(), &[(0, Fail, State::Closed), (0, between, State::Closed), (0, Fail, State::Open)]);
    }
}

#[test]
fn one_probe_at_a_time() {
    check(
        builder(),
        &[
            (0, Fail, State::Closed),
            (0, Fail, State::Open),
            (5, Lose, State::HalfOpen),
            (5, Refused(8), State::HalfOpen),
        ],
    );
}

#[test]
fn a_lost_probe_is_replaced() {
    check(
        builder(),
        &[
            (0, Fail, State::Closed),
            (0, Fail, State::Open),
            (5, Lose, State::HalfOpen),
            (7, Refused(8), State::HalfOpen),
            (8, Lose, State::HalfOpen),
            (11, Succeed, State::Closed),
        ],
    );
}

#[test]
fn a_dropped_or_throttled_probe_makes_room_at_once() {
    for made_room in [What::Abandon, Throttle] {
        check(
            builder(),
            &[
                (0, Fail, State::Closed),
                (0, Fail, State::Open),
                (5, made_room, State::HalfOpen),
                (5, Succeed, State::Closed),
            ],
        );
    }
}

/// A breaker that opened at 0 and is half-open since 5, with a permit from each state.
fn with_permits() -> (CircuitBreaker, Permit, Permit) {
    let mut breaker = builder().build().unwrap();
    let [straggler, first, second] = [0; 3].map(|_| breaker.try_admit(s(0)).unwrap());
    assert_eq!(breaker.record(s(0), first, OutcomeKind::Transient), Recorded::Noted);
    let opened = Recorded::Changed { from: State::Closed, to: State::Open };
    assert_eq!(breaker.record(s(0), second, OutcomeKind::Transient), opened);
    let probe = breaker.try_admit(s(5)).unwrap();
    assert!(probe.is_probe());
    (breaker, straggler, probe)
}

#[test]
fn only_the_current_epoch_counts() {
    for outcome in [OutcomeKind::Success, OutcomeKind::Transient, OutcomeKind::Throttled, OutcomeKind::Permanent] {
        let (mut breaker, straggler, probe) = with_permits();
        assert_eq!(breaker.record(s(5), straggler, outcome), Recorded::Late);
        assert_eq!(breaker.state(), State::HalfOpen);
        assert_eq!(breaker.check(s(5)), Err(Refusal { retry_at: s(8) }), "the probe is still out");
        // The same holds for a probe whose lease has ended: its successor decides.
        let successor = breaker.try_admit(s(8)).unwrap();
        assert_eq!(breaker.record(s(8), probe, outcome), Recorded::Late);
        let closed = Recorded::Changed { from: State::HalfOpen, to: State::Closed };
        assert_eq!(breaker.record(s(8), successor, OutcomeKind::Success), closed);
    }
    let (mut breaker, straggler, _probe) = with_permits();
    assert_eq!(breaker.abandon(straggler), Recorded::Late);
}

#[test]
fn a_refusal_is_honest_at_the_end_of_the_clock_too() {
    let mut breaker = builder().open_for(Duration::MAX).build().unwrap();
    for _ in 0..2 {
        let permit = breaker.try_admit(s(0)).unwrap();
        breaker.record(s(0), permit, OutcomeKind::Transient);
    }
    assert_eq!(breaker.check(s(1)), Err(Refusal { retry_at: Instant::MAX }));
}

#[test]
fn a_setting_of_zero_is_refused_by_name() {
    for (builder, want) in [
        (builder().failure_threshold(0), ("failure_threshold", Value::Count(0))),
        (builder().success_threshold(0), ("success_threshold", Value::Count(0))),
        (builder().open_for(Duration::ZERO), ("open_for", Value::Time(Duration::ZERO))),
        (builder().probe_lease(Duration::ZERO), ("probe_lease", Value::Time(Duration::ZERO))),
    ] {
        match builder.build().unwrap_err() {
            InvalidSetting::OutOfRange { setting, value, .. } => assert_eq!((setting, value), want),
            other @ InvalidSetting::Contradiction { .. } => panic!("{other}"),
        }
    }
}
