//! Scripts for one breaker. Random scripts against a model that remembers everything are in the package
//! `steadfast-tests`.

extern crate std;

use core::time::Duration;
use std::collections::BTreeSet;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::{
    CircuitBreaker, CircuitBreakerBuilder, DroppedCall, Mode, Permit, Reason, Recorded, Refusal, Samples, Snapshot,
    State, Tally, Window,
};
use crate::outcome::OutcomeKind;
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
    Refused(u64, Reason),
}

const fn s(secs: u64) -> Instant {
    Instant::from_nanos(secs * 1_000_000_000)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Opens at the second failure for 5 s; a probe's lease is 3 s.
const fn builder() -> CircuitBreakerBuilder {
    CircuitBreaker::builder().failure_threshold(2).open_for(secs(5)).probe_lease(secs(3))
}

const fn not_yet(secs: u64, reason: Reason) -> Refusal {
    Refusal::NotYet { retry_at: s(secs), reason }
}

const OPENED: Recorded = Recorded::Changed { from: State::Closed, to: State::Open };

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
            Lose | What::Abandon | Refused(..) => OutcomeKind::Success, // Not recorded below.
        };
        match (what, admitted) {
            (Refused(until, reason), Err(refusal)) => assert_eq!(refusal, not_yet(*until, *reason), "line {line}"),
            (Lose, Ok(_permit)) => {}
            (What::Abandon, Ok(permit)) => assert_ne!(breaker.abandon(now, permit), Recorded::Late, "line {line}"),
            (Succeed | Fail | Throttle | Permanently, Ok(permit)) => {
                assert_ne!(breaker.record(now, 0, permit, kind), Recorded::Late, "line {line}");
            }
            (what, admitted) => panic!("line {line}: {what:?} expected, got {admitted:?}"),
        }
        assert_eq!(breaker.state(), *want, "line {line}: {what:?} at {now}");
    }
}

/// Has one call begin at one second and end at another.
fn call(breaker: &mut CircuitBreaker, began: u64, ended: u64, kind: OutcomeKind) -> Recorded {
    let permit = breaker.try_admit(s(began)).unwrap();
    breaker.record(s(ended), 0, permit, kind)
}

fn fail(breaker: &mut CircuitBreaker, at: u64) -> Recorded {
    call(breaker, at, at, OutcomeKind::Transient)
}

fn succeed(breaker: &mut CircuitBreaker, at: u64) -> Recorded {
    call(breaker, at, at, OutcomeKind::Success)
}

fn opened(builder: CircuitBreakerBuilder, at: u64) -> CircuitBreaker {
    let mut breaker = builder.failure_threshold(1).build().unwrap();
    assert_eq!(fail(&mut breaker, at), OPENED);
    breaker
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
    let refused = Refused(6, Reason::ConsecutiveFailures);
    check(
        builder(),
        &[(0, Fail, State::Closed), (1, Fail, State::Open), (1, refused, State::Open), (5, refused, State::Open)],
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
            (10, Refused(11, Reason::ProbeFailed), State::Open),
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
fn no_more_probes_than_allowed() {
    let refused = Refused(8, Reason::ProbesOut);
    let out = [(0, Fail, State::Closed), (0, Fail, State::Open), (5, Lose, State::HalfOpen)];
    check(builder(), &[out.as_slice(), &[(5, refused, State::HalfOpen)]].concat());
    for probes in [2, 8] {
        let rest = vec![(5, Lose, State::HalfOpen); probes as usize - 1];
        let refused = [(6, refused, State::HalfOpen), (7, refused, State::HalfOpen)];
        check(builder().probes(probes), &[out.as_slice(), &rest, &refused].concat());
    }
}

#[test]
fn a_lost_probe_is_replaced() {
    check(
        builder(),
        &[
            (0, Fail, State::Closed),
            (0, Fail, State::Open),
            (5, Lose, State::HalfOpen),
            (7, Refused(8, Reason::ProbesOut), State::HalfOpen),
            (8, Lose, State::HalfOpen),
            (11, Succeed, State::Closed),
        ],
    );
    // Each has a lease of its own.
    check(
        builder().probes(2),
        &[
            (0, Fail, State::Closed),
            (0, Fail, State::Open),
            (5, Lose, State::HalfOpen),
            (6, Lose, State::HalfOpen),
            (7, Refused(8, Reason::ProbesOut), State::HalfOpen),
            (8, Lose, State::HalfOpen),
            (8, Refused(9, Reason::ProbesOut), State::HalfOpen),
            (9, Lose, State::HalfOpen),
            (10, Refused(11, Reason::ProbesOut), State::HalfOpen),
            (11, Succeed, State::Closed),
        ],
    );
    // Until somebody else has its place, its answer counts.
    let mut breaker = opened(builder(), 0);
    let closed = Recorded::Changed { from: State::HalfOpen, to: State::Closed };
    assert_eq!(call(&mut breaker, 5, 99, OutcomeKind::Success), closed);
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

#[test]
fn a_probe_that_returns_makes_room_for_one_more() {
    let mut breaker = opened(builder().probes(2).success_threshold(3), 0);
    let [first, _second] = [0; 2].map(|_| breaker.try_admit(s(5)).unwrap());
    assert_eq!(breaker.record(s(6), 0, first, OutcomeKind::Success), Recorded::Noted);
    let third = breaker.try_admit(s(6)).unwrap();
    assert_eq!(breaker.check(s(6)), Err(not_yet(8, Reason::ProbesOut)));
    let snapshot = breaker.snapshot(s(6));
    assert_eq!((snapshot.probes_out, snapshot.successes), (2, 1));
    assert_eq!(breaker.snapshot(s(8)).probes_out, 1, "the second is lost");
    assert_eq!(breaker.record(s(6), 0, third, OutcomeKind::Success), Recorded::Noted);
    assert_eq!(breaker.state(), State::HalfOpen);
}

/// A breaker that opened at 0 and is half-open since 5, with a permit from each state.
fn with_permits() -> (CircuitBreaker, Permit, Permit) {
    let mut breaker = builder().build().unwrap();
    let [straggler, first, second] = [0; 3].map(|_| breaker.try_admit(s(0)).unwrap());
    assert_eq!(breaker.record(s(0), 0, first, OutcomeKind::Transient), Recorded::Noted);
    assert_eq!(breaker.record(s(0), 0, second, OutcomeKind::Transient), OPENED);
    let probe = breaker.try_admit(s(5)).unwrap();
    assert!(probe.is_probe());
    (breaker, straggler, probe)
}

#[test]
fn only_the_current_epoch_counts() {
    for outcome in [OutcomeKind::Success, OutcomeKind::Transient, OutcomeKind::Throttled, OutcomeKind::Permanent] {
        let (mut breaker, straggler, probe) = with_permits();
        assert_eq!(breaker.record(s(5), 0, straggler, outcome), Recorded::Late);
        assert_eq!(breaker.state(), State::HalfOpen);
        assert_eq!(breaker.check(s(5)), Err(not_yet(8, Reason::ProbesOut)), "the probe is still out");
        // The same holds for a probe whose lease has ended: its successor decides.
        let successor = breaker.try_admit(s(8)).unwrap();
        assert_eq!(breaker.record(s(8), 0, probe, outcome), Recorded::Late);
        let closed = Recorded::Changed { from: State::HalfOpen, to: State::Closed };
        assert_eq!(breaker.record(s(8), 0, successor, OutcomeKind::Success), closed);
    }
    let (mut breaker, straggler, _probe) = with_permits();
    assert_eq!(breaker.abandon(s(5), straggler), Recorded::Late);
    // While open, while forced, and once closed again.
    for mode in [None, Some(Mode::ForcedOpen), Some(Mode::ForcedClosed)] {
        for outcome in [OutcomeKind::Success, OutcomeKind::Transient, OutcomeKind::Throttled] {
            let mut breaker = builder().failure_threshold(1).build().unwrap();
            let [before, opens] = [0; 2].map(|_| breaker.try_admit(s(0)).unwrap());
            match mode {
                None => assert_eq!(breaker.record(s(0), 0, opens, OutcomeKind::Transient), OPENED),
                Some(mode) => assert!(matches!(breaker.set_mode(mode), Recorded::Changed { .. })),
            }
            let snapshot = breaker.snapshot(s(0));
            assert_eq!(breaker.record(s(0), 0, before, outcome), Recorded::Late);
            assert_eq!(breaker.snapshot(s(0)), snapshot, "nothing has changed");
        }
    }
    for after in [builder(), builder().recover_over(secs(10))] {
        for outcome in [OutcomeKind::Success, OutcomeKind::Transient, OutcomeKind::Throttled, OutcomeKind::Permanent] {
            let mut breaker = after.failure_threshold(1).build().unwrap();
            let [before, opens] = [0; 2].map(|_| breaker.try_admit(s(0)).unwrap());
            assert_eq!(breaker.record(s(0), 0, opens, OutcomeKind::Transient), OPENED);
            assert!(matches!(succeed(&mut breaker, 5), Recorded::Changed { .. }));
            let snapshot = breaker.snapshot(s(5));
            assert_eq!(breaker.record(s(5), 0, before, outcome), Recorded::Late, "{}", snapshot.state);
            assert_eq!(breaker.snapshot(s(5)), snapshot, "nothing has changed");
        }
    }
}

/// Either probe of two may decide, and the other is late then.
#[test]
fn the_first_probe_to_decide_decides() {
    for (kind, to) in [(OutcomeKind::Success, State::Closed), (OutcomeKind::Transient, State::Open)] {
        for decides in 0..2 {
            let mut breaker = opened(builder().probes(2), 0);
            let mut probes = vec![breaker.try_admit(s(5)).unwrap(), breaker.try_admit(s(5)).unwrap()];
            let decisive = breaker.record(s(6), 0, probes.remove(decides), kind);
            assert_eq!(decisive, Recorded::Changed { from: State::HalfOpen, to });
            assert_eq!(breaker.record(s(6), 0, probes.remove(0), OutcomeKind::Transient), Recorded::Late);
            assert_eq!(breaker.state(), to);
        }
    }
}

const THREE_OF_FOUR: CircuitBreakerBuilder = CircuitBreaker::builder()
    .without_failure_threshold()
    .failure_rate(75)
    .window(Window::Calls(4))
    .minimum_calls(4)
    .open_for(Duration::from_secs(5));

#[test]
fn a_failure_rate_opens_it() {
    let closed = |what| (0, what, State::Closed);
    let opens = |what| (0, what, State::Open);
    check(THREE_OF_FOUR, &[closed(Fail), closed(Succeed), closed(Fail), opens(Fail)]);
    // Also if it is a success that completes the minimum, and if it takes a window to get there.
    check(THREE_OF_FOUR, &[closed(Fail), closed(Fail), closed(Fail), opens(Succeed)]);
    let one_by_one = [Succeed, Succeed, Fail, Succeed, Fail].map(closed);
    check(THREE_OF_FOUR, &[one_by_one.as_slice(), &[opens(Fail), opens(Refused(5, Reason::FailureRate))]].concat());
    // What says nothing takes no place.
    check(THREE_OF_FOUR, &[closed(Fail), closed(Fail), closed(Throttle), closed(What::Abandon), closed(Fail)]);
    check(THREE_OF_FOUR.minimum_calls(1), &[opens(Fail)]);
    check(THREE_OF_FOUR.without_failure_rate(), &[Fail; 9].map(closed));
    check(THREE_OF_FOUR.failure_rate(100), &[closed(Succeed), closed(Fail), closed(Fail), closed(Fail), opens(Fail)]);
}

#[test]
fn windows_slide() {
    // Of calls: each pushes out the oldest, after whatever came before, in rings of one word and of two.
    for size in [1, 2, 63, 64, 65, 127, 128] {
        let builder = THREE_OF_FOUR.window(Window::Calls(size)).failure_rate(100).minimum_calls(size);
        let mut breaker = builder.build().unwrap();
        for _ in 0..size * 2 {
            succeed(&mut breaker, 0);
        }
        for failures in 1..size {
            assert_eq!(fail(&mut breaker, 0), Recorded::Noted, "{failures} of {size}");
            assert_eq!(breaker.snapshot(s(0)).window, Tally { calls: size, failures, slow: 0 });
        }
        assert_eq!(fail(&mut breaker, 0), OPENED);
    }
    // Of time: each second pushes out a second, and a clock that stands still or steps back pushes out nothing.
    let mut breaker = THREE_OF_FOUR.window(Window::Time(secs(10))).failure_rate(100).build().unwrap();
    for at in [100, 101, 101, 105, 109] {
        fail(&mut breaker, at);
        succeed(&mut breaker, at);
    }
    for (at, calls) in [(109, 10), (50, 10), (110, 8), (111, 4), (114, 4), (115, 2), (118, 2), (119, 0), (999, 0)] {
        assert_eq!(breaker.snapshot(s(at)).window, Tally { calls, failures: calls / 2, slow: 0 }, "{at}");
    }
    fail(&mut breaker, 50);
    assert_eq!(breaker.snapshot(s(109)).window.calls, 11, "counted as of the latest time that was told");
    fail(&mut breaker, 118);
    assert_eq!(breaker.snapshot(s(118)).window.calls, 4, "105 was too old, and those of 109 remain");
    // Round and round.
    for at in 200..250 {
        succeed(&mut breaker, at);
        assert_eq!(u64::from(breaker.snapshot(s(at)).window.calls), core::cmp::min(at - 199, 10));
    }
}

/// Would catch: tenths that begin with the first call in them, so that a slow trickle stretches the window.
#[test]
fn tenths_begin_on_time() {
    let mut breaker = THREE_OF_FOUR.window(Window::Time(secs(10))).build().unwrap();
    for (ms, calls) in [(100_000, 1), (101_900, 2), (103_800, 3), (105_700, 4), (109_999, 5), (110_000, 5)] {
        let now = Instant::from_nanos(ms * 1_000_000);
        let permit = breaker.try_admit(now).unwrap();
        breaker.record(now, 0, permit, OutcomeKind::Success);
        assert_eq!(breaker.snapshot(now).window.calls, calls, "{ms} ms");
    }
    // A window that cannot be cut into ten is rounded up to one that can.
    for (window, lasts) in [(1, 10), (9, 10), (10, 10), (11, 20), (20, 20)] {
        let mut breaker = THREE_OF_FOUR.window(Window::Time(Duration::from_nanos(window))).build().unwrap();
        succeed(&mut breaker, 0);
        let calls_at = |nanos| breaker.snapshot(Instant::from_nanos(nanos)).window.calls;
        assert_eq!((calls_at(lasts - 1), calls_at(lasts)), (1, 0), "{window} ns");
    }
}

#[test]
fn a_tenth_that_is_full_keeps_its_rates() {
    let builder = THREE_OF_FOUR.window(Window::Time(secs(10))).minimum_calls(32_767).slow_call_rate(60, secs(1));
    let mut breaker = builder.build().unwrap();
    for i in 0..400_000_u32 {
        let kind = if i % 4 == 0 { OutcomeKind::Transient } else { OutcomeKind::Success };
        assert_eq!(call(&mut breaker, if i % 2 == 0 { 2 } else { 3 }, 3, kind), Recorded::Noted);
    }
    let full = breaker.snapshot(s(3)).window;
    assert!((32_767..=65_535).contains(&full.calls), "{full:?}");
    assert_eq!([full.failures * 4, full.slow * 2].map(|rate| rate.abs_diff(full.calls) < 10), [true; 2], "{full:?}");
    succeed(&mut breaker, 4);
    assert_eq!(breaker.snapshot(s(4)).window.calls, full.calls + 1);
    let rest = Tally { calls: 1, failures: 0, slow: 0 };
    assert_eq!(breaker.snapshot(s(13)).window, rest, "what was halved leaves as it came");
}

#[test]
fn slow_calls_open_it() {
    let slow = THREE_OF_FOUR.without_failure_rate().slow_call_rate(50, secs(2)).probe_lease(secs(9));
    let (well, badly) = (OutcomeKind::Success, OutcomeKind::Transient);
    for (calls, opens) in [
        ([(0, 2, well), (0, 1, well), (0, 1, well), (0, 2, well)], true),
        ([(0, 2, OutcomeKind::Permanent), (0, 1, well), (0, 1, well), (0, 9, badly)], true),
        ([(0, 2, well), (0, 1, badly), (0, 1, badly), (0, 1, badly)], false),
        ([(0, 2, well), (5, 3, well), (5, 0, well), (5, 5, well)], false), // The clock steps back: no time passes.
        ([(0, 2, well), (0, 9, OutcomeKind::Throttled), (0, 1, well), (0, 3, well)], false),
    ] {
        let mut breaker = slow.build().unwrap();
        let last = calls.map(|(began, ended, kind)| call(&mut breaker, began, ended, kind))[3];
        assert_eq!(last == OPENED, opens, "{calls:?}");
        if opens {
            let until = calls[3].1 + 5;
            assert_eq!(breaker.check(s(calls[3].1)), Err(not_yet(until, Reason::SlowCallRate)));
            // What answers, but slowly, is not back.
            call(&mut breaker, until, until + 2, well);
            assert_eq!(breaker.check(s(until + 2)), Err(not_yet(until + 7, Reason::ProbeFailed)));
            call(&mut breaker, until + 7, until + 8, well);
            assert_eq!(breaker.state(), State::Closed);
        }
    }
    // Where nobody asked, no call is slow.
    let mut breaker = opened(builder().slow_call_rate(50, secs(2)).without_slow_call_rate(), 0);
    call(&mut breaker, 5, 5_000_000_000, well);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn all_three_watch_at_once_and_the_first_to_trip_is_named() {
    let all = THREE_OF_FOUR.failure_threshold(3).slow_call_rate(50, secs(2));
    let (well, badly) = (OutcomeKind::Success, OutcomeKind::Transient);
    for (calls, reason) in [
        ([(0, well), (0, badly), (0, badly), (0, badly)], Reason::ConsecutiveFailures),
        ([(0, badly), (0, badly), (2, well), (0, badly)], Reason::FailureRate),
        ([(0, badly), (2, badly), (2, well), (0, well)], Reason::SlowCallRate),
    ] {
        let mut breaker = all.build().unwrap();
        for (took, kind) in calls {
            call(&mut breaker, 0, took, kind);
        }
        assert_eq!(breaker.snapshot(s(0)).reason, Some(reason), "{calls:?}");
    }
}

#[test]
fn the_open_time_grows_to_its_cap_and_jitter_stays_in_its_range() {
    /// How long it is open, each time that it opens in a row, in seconds.
    fn open_times(builder: CircuitBreakerBuilder, entropy: u64) -> Vec<u64> {
        let (mut breaker, mut now) = (builder.failure_threshold(1).build().unwrap(), s(0));
        let mut times = Vec::new();
        for _ in 0..5 {
            let permit = breaker.try_admit(now).unwrap();
            breaker.record(now, entropy, permit, OutcomeKind::Transient);
            let until = breaker.check(now).unwrap_err().retry_at().unwrap();
            times.push((until - now).as_secs());
            now = until;
        }
        times
    }
    let (constant, grows) = (builder().open_for(secs(100)), builder().open_for(secs(100)).open_growth(2, secs(500)));
    for (builder, entropy, want) in [
        (constant, 0, [100; 5]),
        (constant, u64::MAX / 2 + 1, [110; 5]),
        (constant, u64::MAX, [119; 5]),
        (constant.open_jitter(0), u64::MAX, [100; 5]),
        (constant.open_jitter(100), u64::MAX / 2 + 1, [150; 5]),
        (grows, 0, [100, 200, 400, 400, 400]),
        (grows, u64::MAX / 2 + 1, [110, 220, 440, 450, 450]),
        (grows, u64::MAX, [119, 239, 479, 499, 499]),
        (grows.open_jitter(0), u64::MAX, [100, 200, 400, 500, 500]),
        (grows.open_jitter(100), 0, [100, 200, 400, 500, 500].map(|time: u64| if time == 400 { 100 } else { time })),
        (grows.without_open_growth(), 0, [100; 5]),
        (constant.open_growth(7, secs(100)), u64::MAX, [100; 5]),
    ] {
        let got = open_times(builder, entropy);
        if builder == grows.open_jitter(100) {
            assert!(got.iter().all(|time| (100..=500).contains(time)), "{got:?}");
        } else {
            assert_eq!(got, want, "{builder:?} {entropy}");
        }
    }
}

/// Would catch: a part of the jitter that is lost in rounding.
#[test]
fn jitter_is_drawn_to_the_nanosecond() {
    for (nanos, percent, longest) in [(199, 100, 397), (150, 33, 198), (1, 100, 1), (1_000_000_099, 1, 1_010_000_098)] {
        let builder = builder().failure_threshold(1).open_for(Duration::from_nanos(nanos)).open_jitter(percent);
        let mut breaker = builder.build().unwrap();
        let permit = breaker.try_admit(s(0)).unwrap();
        breaker.record(s(0), u64::MAX, permit, OutcomeKind::Transient);
        assert_eq!(breaker.snapshot(s(0)).remaining, Duration::from_nanos(longest));
    }
}

#[test]
fn growth_starts_anew_once_it_has_closed() {
    let mut breaker = builder().failure_threshold(1).open_growth(2, secs(60)).build().unwrap();
    fail(&mut breaker, 0);
    fail(&mut breaker, 5);
    assert_eq!((breaker.check(s(5)), breaker.snapshot(s(5)).openings), (Err(not_yet(15, Reason::ProbeFailed)), 2));
    succeed(&mut breaker, 15);
    assert_eq!(breaker.snapshot(s(15)).openings, 0);
    fail(&mut breaker, 15);
    assert_eq!(breaker.check(s(15)), Err(not_yet(20, Reason::ConsecutiveFailures)));
}

#[test]
fn what_a_dropped_call_counts_as_is_a_setting() {
    for (counts_as, want) in [(DroppedCall::Neutral, State::Closed), (DroppedCall::Failure, State::Open)] {
        let mut breaker = builder().failure_threshold(2).dropped_call(counts_as).build().unwrap();
        for _ in 0..2 {
            let permit = breaker.try_admit(s(0)).unwrap();
            breaker.abandon(s(0), permit);
        }
        assert_eq!(breaker.state(), want);
        // A dropped probe fails by the same rule.
        let mut breaker = opened(builder().dropped_call(counts_as), 0);
        let probe = breaker.try_admit(s(5)).unwrap();
        breaker.abandon(s(5), probe);
        assert_eq!(breaker.state() == State::Open, want == State::Open);
    }
}

/// Would catch: a fleet whose calls are all dropped, and that comes back in step.
#[test]
fn dropped_calls_open_breakers_for_different_times() {
    let until = |entropy, at| {
        let mut breaker = builder().failure_threshold(1).dropped_call(DroppedCall::Failure).build().unwrap();
        let permit = breaker.try_admit(at).unwrap();
        breaker.record(at, entropy, permit, OutcomeKind::Success);
        let permit = breaker.try_admit(at).unwrap();
        assert_eq!(breaker.abandon(at, permit), OPENED);
        breaker.snapshot(at).remaining
    };
    let of_many: BTreeSet<Duration> = (1..=100_u64).map(|i| until(i << 40, s(7))).collect();
    assert!(of_many.len() == 100 && *of_many.first().unwrap() >= secs(5) && *of_many.last().unwrap() <= secs(6));
    assert!(
        *of_many.last().unwrap() - *of_many.first().unwrap() > Duration::from_millis(800),
        "over most of the range"
    );
    let at_many: BTreeSet<Duration> = (0..100).map(|ms| until(0, Instant::from_nanos(ms * 1_000_000))).collect();
    assert_eq!(at_many.len(), 100);
}

/// How many of `callers` that come at each tenth of the ramp are admitted.
fn admitted_per_tenth(callers: u32) -> Vec<u32> {
    let mut breaker = opened(builder().recover_over(secs(10)), 0);
    assert_eq!(succeed(&mut breaker, 5), Recorded::Changed { from: State::HalfOpen, to: State::Recovering });
    let count = |at| (0..callers).map(|_| u32::from(breaker.try_admit(s(at)).is_ok())).sum();
    (5..=16).map(count).collect()
}

#[test]
fn recovery_admits_a_growing_share() {
    let (few, some, many) = (admitted_per_tenth(1), admitted_per_tenth(10), admitted_per_tenth(1_000));
    assert_eq!(few, [1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1]);
    for (callers, admitted) in [(10, some), (1_000, many)] {
        for (tenth, admitted) in (0..).zip(admitted) {
            let share = callers * core::cmp::min(tenth, 10) / 10;
            assert!(admitted.abs_diff(share) <= 1, "{admitted} of {callers} after {tenth} tenths");
        }
    }
}

#[test]
fn a_recovering_breaker_judges_as_a_closed_one_does() {
    let recovering = |over| {
        let mut breaker = opened(builder().recover_over(secs(over)), 0);
        succeed(&mut breaker, 5);
        breaker
    };
    let mut breaker = recovering(10);
    assert_eq!(fail(&mut breaker, 5), Recorded::Changed { from: State::Recovering, to: State::Open });
    assert_eq!(
        (breaker.check(s(5)), breaker.snapshot(s(5)).openings),
        (Err(not_yet(10, Reason::ConsecutiveFailures)), 2)
    );
    // Its end is no new epoch: who was admitted before it counts after it.
    let mut breaker = recovering(10);
    let before = breaker.try_admit(s(5)).unwrap();
    assert_eq!((breaker.state(), breaker.snapshot(s(6)).remaining), (State::Recovering, secs(9)));
    let _first = breaker.try_admit(s(15)).unwrap();
    assert_eq!((breaker.state(), breaker.snapshot(s(15)).openings), (State::Closed, 0));
    assert_eq!(breaker.record(s(15), 0, before, OutcomeKind::Transient), OPENED);
    // Who waits for something else counts as having come when refused, and takes nothing when not.
    let mut breaker = recovering(4);
    assert_eq!([5, 5, 5].map(|at| breaker.pre_admit(s(at)).is_ok()), [true; 3]);
    assert_eq!([5, 5].map(|at| breaker.try_admit(s(at)).is_ok()), [true, false]);
    assert_eq!([6, 6, 6, 6, 6].map(|at| breaker.check(s(at)).is_ok()), [false; 5], "these do not count");
    assert_eq!([6, 6, 6, 6, 6].map(|at| breaker.pre_admit(s(at)).is_ok()), [false, false, false, true, true]);
}

#[test]
fn a_refusal_is_honest() {
    // At the end of the clock.
    let breaker = opened(builder().open_for(Duration::MAX), 0);
    let refusal = breaker.check(s(1)).unwrap_err();
    assert_eq!((refusal.retry_at(), breaker.check(Instant::MAX)), (Some(Instant::MAX), Ok(())));
    // While recovering, where the time depends on who came before.
    for over in [1, 2, 7, 999, 1 << 32, (1 << 32) + 1, 3_600_000_000_000, u64::MAX] {
        let mut breaker = opened(builder().recover_over(Duration::from_nanos(over)), 0);
        succeed(&mut breaker, 5);
        let mut seen = BTreeSet::new();
        for i in 0..200_u64 {
            let now = Instant::from_nanos(s(5).as_nanos() + over / 200 * i);
            for _ in 0..5 {
                let Err(refusal) = breaker.try_admit(now) else { continue };
                let retry_at = refusal.retry_at().unwrap();
                assert!(retry_at > now, "{over} {i}");
                assert_eq!(breaker.check(retry_at), Ok(()), "{over} {i}");
                seen.insert(retry_at);
            }
        }
        assert!(over < 1_000 || seen.len() > 100, "{over}: sent to {} times only", seen.len());
        // On a clock that has stepped back since, too.
        if let Err(refusal) = breaker.check(s(4)) {
            assert_eq!(
                refusal.retry_at().map(|retry_at| (retry_at > s(4), breaker.check(retry_at))),
                Some((true, Ok(())))
            );
        }
    }
    // Where nobody knows when, none is named.
    let mut breaker = CircuitBreaker::default();
    breaker.set_mode(Mode::ForcedOpen);
    assert_eq!(breaker.try_admit(Instant::MAX).unwrap_err().retry_at(), None);
}

#[test]
fn a_forced_breaker_does_what_it_is_told_until_it_is_told_otherwise() {
    let mut breaker = builder().failure_threshold(1).build().unwrap();
    let changed = |from, to| Recorded::Changed { from, to };
    assert_eq!(breaker.set_mode(Mode::ForcedOpen), changed(State::Closed, State::ForcedOpen));
    assert_eq!((breaker.set_mode(Mode::ForcedOpen), breaker.mode()), (Recorded::Noted, Mode::ForcedOpen));
    for at in [s(0), s(1_000_000_000), Instant::MAX] {
        assert_eq!(breaker.try_admit(at).unwrap_err(), Refusal::ForcedOpen);
    }
    assert_eq!(breaker.set_mode(Mode::ForcedClosed), changed(State::ForcedOpen, State::ForcedClosed));
    assert_eq!((breaker.set_mode(Mode::ForcedClosed), breaker.mode()), (Recorded::Noted, Mode::ForcedClosed));
    for kind in [OutcomeKind::Transient, OutcomeKind::Throttled, OutcomeKind::Success] {
        assert_eq!(call(&mut breaker, 0, 9, kind), Recorded::Unjudged);
    }
    assert_eq!(breaker.set_mode(Mode::Automatic), changed(State::ForcedClosed, State::Closed));
    assert_eq!((breaker.set_mode(Mode::Automatic), breaker.mode()), (Recorded::Noted, Mode::Automatic));
    assert_eq!(breaker.snapshot(s(9)).window, Tally::default());
    assert_eq!(fail(&mut breaker, 9), OPENED);
    assert_eq!(breaker.set_mode(Mode::ForcedClosed), changed(State::Open, State::ForcedClosed));
    assert_eq!(breaker.set_mode(Mode::MetricsOnly), changed(State::ForcedClosed, State::Closed));
    assert_eq!((breaker.snapshot(s(9)).openings, breaker.mode()), (0, Mode::MetricsOnly));
    let forced = builder().mode(Mode::ForcedOpen).build().unwrap();
    assert_eq!((forced.state(), forced.mode()), (State::ForcedOpen, Mode::ForcedOpen));
}

#[test]
fn metrics_only_refuses_nobody() {
    let mut breaker = builder().failure_threshold(1).mode(Mode::MetricsOnly).build().unwrap();
    assert_eq!(fail(&mut breaker, 0), OPENED);
    // It is open, would have refused, and is taught nothing by calls that would not have been made.
    let refusal = not_yet(5, Reason::ConsecutiveFailures);
    for kind in [OutcomeKind::Success, OutcomeKind::Transient, OutcomeKind::Throttled] {
        assert_eq!((breaker.check(s(1)), breaker.pre_admit(s(1))), (Ok(()), Ok(())));
        let permit = breaker.try_admit(s(1)).unwrap();
        assert_eq!((permit.would_refuse(), permit.is_probe()), (Some(refusal), false));
        assert_eq!(breaker.record(s(1), 0, permit, kind), Recorded::Unjudged);
    }
    let permit = breaker.try_admit(s(4)).unwrap();
    assert_eq!((breaker.abandon(s(4), permit), breaker.state()), (Recorded::Unjudged, State::Open));
    // The probe is a probe, and whoever comes beside it is not one.
    let probe = breaker.try_admit(s(5)).unwrap();
    let beside = breaker.try_admit(s(5)).unwrap();
    assert_eq!((probe.would_refuse(), probe.is_probe()), (None, true));
    assert_eq!(beside.would_refuse(), Some(not_yet(8, Reason::ProbesOut)));
    assert_eq!(breaker.record(s(5), 0, beside, OutcomeKind::Success), Recorded::Unjudged);
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(breaker.set_mode(Mode::Automatic), Recorded::Noted, "it stays where it is");
    assert_eq!(breaker.check(s(5)), Err(not_yet(8, Reason::ProbesOut)), "and acts on it");
    assert_eq!(
        breaker.record(s(5), 0, probe, OutcomeKind::Success),
        Recorded::Changed { from: State::HalfOpen, to: State::Closed }
    );
}

#[test]
fn a_snapshot_tells_an_operator_what_is_going_on() {
    let text = |breaker: &CircuitBreaker, at| breaker.snapshot(s(at)).to_string();
    let mut breaker = builder().slow_call_rate(90, secs(2)).recover_over(secs(10)).build().unwrap();
    call(&mut breaker, 0, 2, OutcomeKind::Success);
    succeed(&mut breaker, 2);
    fail(&mut breaker, 2);
    let window = Tally { calls: 3, failures: 1, slow: 1 };
    assert_eq!((breaker.snapshot(s(2)).window, window.failure_rate(), window.slow_call_rate()), (window, 33, 33));
    assert_eq!(text(&breaker, 2), "closed; calls: 3, failed: 1 (33 %), slow: 1 (33 %), failed in a row: 1");
    fail(&mut breaker, 2);
    assert_eq!(text(&breaker, 3), "open for another 4s, since too many calls in a row failed");
    let probe = breaker.try_admit(s(7)).unwrap();
    assert_eq!(text(&breaker, 7), "half-open; probes out: 1, succeeded: 0");
    breaker.record(s(7), 0, probe, OutcomeKind::Success);
    let empty = "calls: 0, failed: 0 (0 %), slow: 0 (0 %), failed in a row: 0";
    assert_eq!(text(&breaker, 8), format!("recovering for another 9s; {empty}"));
    breaker.set_mode(Mode::ForcedOpen);
    assert_eq!(text(&breaker, 8), "forced open");
    breaker.set_mode(Mode::ForcedClosed);
    assert_eq!(text(&breaker, 8), "forced closed");
    breaker.set_mode(Mode::MetricsOnly);
    assert_eq!(text(&breaker, 8), format!("metrics only: would be closed; {empty}"));
    let refusals = [not_yet(8, Reason::FailureRate), Refusal::ForcedOpen].map(|refusal| refusal.to_string());
    assert_eq!(
        refusals,
        [
            "circuit breaker: too many of the latest calls failed; come back at 8s",
            "circuit breaker: forced open, until somebody says otherwise"
        ]
    );
}

/// A breaker in each state, at 100 s, with a little history.
fn one_of_each(builder: CircuitBreakerBuilder) -> Vec<CircuitBreaker> {
    let fresh = || {
        let mut breaker = builder.build().unwrap();
        for i in 0..9 {
            let kind = if i == 5 { OutcomeKind::Transient } else { OutcomeKind::Success };
            call(&mut breaker, 91 + i - i % 2 * 3, 91 + i, kind);
        }
        fail(&mut breaker, 100);
        breaker
    };
    let closed = fresh();
    let mut open = fresh();
    fail(&mut open, 97);
    let mut half_open = fresh();
    fail(&mut half_open, 94);
    succeed(&mut half_open, 99);
    let _out = half_open.try_admit(s(100)).unwrap();
    let mut recovering = fresh();
    fail(&mut recovering, 92);
    assert_eq!([97, 98].map(|at| succeed(&mut recovering, at))[0], Recorded::Noted);
    fail(&mut recovering, 99);
    let [mut forced_open, mut forced_closed] = [fresh(), fresh()];
    forced_open.set_mode(Mode::ForcedOpen);
    forced_closed.set_mode(Mode::ForcedClosed);
    let mut watching = fresh();
    watching.set_mode(Mode::MetricsOnly);
    let all = vec![closed, open, half_open, recovering, forced_open, forced_closed, watching];
    let want = [
        State::Closed,
        State::Open,
        State::HalfOpen,
        State::Recovering,
        State::ForcedOpen,
        State::ForcedClosed,
        State::Closed,
    ];
    assert!(all.iter().map(CircuitBreaker::state).eq(want));
    all
}

#[test]
fn a_snapshot_restored_on_another_clock_goes_on_as_before() {
    for window in [Window::Calls(7), Window::Calls(128), Window::Time(secs(20))] {
        let rates = THREE_OF_FOUR.failure_threshold(2).success_threshold(2).slow_call_rate(100, secs(3));
        let builder = rates.window(window).recover_over(secs(10));
        for mut breaker in one_of_each(builder) {
            let snapshot = breaker.snapshot(s(100));
            for clock in [20, 100, 1_000_000] {
                let mut restored = builder.restore(s(clock), &snapshot).unwrap();
                let again = Snapshot { epoch: snapshot.epoch, ..restored.snapshot(s(clock)) };
                assert_eq!(again, Snapshot { probes_out: 0, ..snapshot }, "at {clock}");
                // As time passes, it forgets as the other does.
                for later in [1, 5, 9, 15, 19, 99] {
                    let (was, is) = (breaker.snapshot(s(100 + later)), restored.snapshot(s(clock + later)));
                    assert_eq!((was.remaining, was.window), (is.remaining, is.window), "{later} s later");
                }
                assert!(
                    restored.try_admit(s(clock)).is_ok_and(|permit| {
                        assert_eq!(permit.is_probe(), snapshot.state == State::HalfOpen);
                        restored.record(s(clock), 0, permit, OutcomeKind::Throttled) != Recorded::Late
                    }) || matches!(snapshot.state, State::Open | State::ForcedOpen | State::Recovering)
                );
            }
            // Permits of before are late.
            if let Ok(permit) = breaker.try_admit(s(1_000)) {
                let mut restored = builder.restore(s(1_000), &breaker.snapshot(s(1_000))).unwrap();
                assert_eq!(restored.record(s(1_000), 0, permit, OutcomeKind::Transient), Recorded::Late);
            }
        }
    }
}

#[test]
fn what_other_settings_do_not_know_is_not_restored() {
    let old = THREE_OF_FOUR.failure_threshold(2).success_threshold(2).recover_over(secs(10)).slow_call_rate(9, secs(3));
    let old = old.open_growth(2, secs(1_000)).minimum_calls(4);
    let snapshots: Vec<Snapshot> =
        one_of_each(old.slow_call_rate(100, secs(3))).iter().map(|breaker| breaker.snapshot(s(100))).collect();
    // Another kind of window, no recovery, and no more than 1 s open.
    let new = builder().open_for(secs(1)).open_jitter(0);
    for snapshot in &snapshots {
        let restored = new.restore(s(100), snapshot).unwrap();
        let want = if snapshot.state == State::Recovering { State::Closed } else { snapshot.state };
        assert_eq!((restored.state(), restored.snapshot(s(100)).window), (want, Tally::default()));
        assert!(restored.snapshot(s(100)).remaining <= secs(1));
    }
    // One success is enough by now: the next will do.
    let mut restored = new.restore(s(100), &snapshots[2]).unwrap();
    succeed(&mut restored, 100);
    assert_eq!(restored.state(), State::Closed);
    // A snapshot that no breaker ever gave.
    let absurd = Tally { calls: 3, failures: u32::MAX, slow: u32::MAX };
    for samples in [
        Samples::Calls { calls: u32::MAX, failed: u128::MAX, slow: u128::MAX },
        Samples::Time { tenths: [absurd; 10], newest_began: Duration::ZERO },
        Samples::Time { tenths: [absurd; 10], newest_began: Duration::MAX },
    ] {
        for state in [State::Closed, State::Open, State::HalfOpen, State::Recovering] {
            let made_up = Snapshot {
                state,
                samples,
                remaining: Duration::MAX,
                consecutive_failures: u32::MAX,
                openings: u16::MAX,
                successes: u32::MAX,
                epoch: u32::MAX,
                ..snapshots[0]
            };
            for settings in [old, new] {
                let mut restored = settings.restore(s(100), &made_up).unwrap();
                let window = restored.snapshot(s(100)).window;
                assert!(window.failures <= window.calls && window.slow <= window.calls, "{window:?}");
                if let Ok(permit) = restored.try_admit(s(10_000)) {
                    restored.record(s(10_000), u64::MAX, permit, OutcomeKind::Transient);
                }
                assert!(restored.snapshot(s(10_000)).remaining <= secs(1_000));
            }
        }
    }
    assert!(new.open_for(Duration::ZERO).restore(s(0), &snapshots[0]).is_err());
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let zero = Duration::ZERO;
    for (builder, want) in [
        (builder().failure_threshold(0), "failure_threshold is 0, which is not at least 1"),
        (builder().failure_rate(0), "failure_rate is 0, which is not 1 to 100 percent"),
        (builder().failure_rate(101), "failure_rate is 101, which is not 1 to 100 percent"),
        (builder().slow_call_rate(0, secs(1)), "slow_call_rate is 0, which is not 1 to 100 percent"),
        (builder().slow_call_rate(357, secs(1)), "slow_call_rate is 357, which is not 1 to 100 percent"),
        (builder().slow_call_rate(50, zero), "slow_call_rate is 0ns, which is not more than zero"),
        (builder().window(Window::Calls(0)).minimum_calls(0), "window is 0, which is not 1 to 128 calls"),
        (builder().window(Window::Calls(129)), "window is 129, which is not 1 to 128 calls"),
        (builder().window(Window::Time(zero)), "window is 0ns, which is not more than zero"),
        (builder().minimum_calls(0), "minimum_calls is 0, which is not 1 to 32,767"),
        (builder().minimum_calls(32_768), "minimum_calls is 32768, which is not 1 to 32,767"),
        (builder().open_for(zero), "open_for is 0ns, which is not more than zero"),
        (builder().open_growth(0, secs(60)), "open_growth is 0, which is not at least 1"),
        (builder().open_jitter(101), "open_jitter is 101, which is not 0 to 100 percent"),
        (builder().probes(0), "probes is 0, which is not 1 to 8"),
        (builder().probes(9), "probes is 9, which is not 1 to 8"),
        (builder().probe_lease(zero), "probe_lease is 0ns, which is not more than zero"),
        (builder().success_threshold(0), "success_threshold is 0, which is not at least 1"),
        (builder().recover_over(zero), "recover_over is 0ns, which is not more than zero"),
        (builder().window(Window::Calls(99)), "minimum_calls is 100: it must be at most window, which is 99"),
        (builder().open_growth(2, secs(4)), "open_growth is 4s: it must be at least as long as open_for, which is 5s"),
        (
            builder().slow_call_rate(50, secs(4)),
            "slow_call_rate is 4s: it must be at most as long as probe_lease, which is 3s",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), want);
    }
    // The ends of each range are in it.
    for builder in [
        builder().failure_threshold(1).failure_rate(1).slow_call_rate(1, secs(3)).success_threshold(1),
        builder().failure_threshold(u32::MAX).failure_rate(100).slow_call_rate(100, Duration::from_nanos(1)),
        builder().window(Window::Calls(1)).minimum_calls(1).probes(1).open_jitter(0),
        builder().window(Window::Calls(128)).minimum_calls(128).probes(8).open_jitter(100),
        builder().window(Window::Time(Duration::from_nanos(1))).minimum_calls(32_767).open_growth(1, secs(5)),
        builder().window(Window::Time(Duration::MAX)).open_growth(u32::MAX, Duration::MAX),
        builder().recover_over(Duration::from_nanos(1)).without_failure_threshold().without_failure_rate(),
        builder().recover_over(Duration::MAX).probe_lease(Duration::MAX).open_for(Duration::MAX),
        builder().recover_over(secs(1)).without_recovery(),
    ] {
        assert!(builder.build().is_ok(), "{builder:?}");
    }
}

#[test]
fn the_defaults_are_those_of_the_page() {
    let page = include_str!("../circuit_breaker.rs");
    let defaults = CircuitBreaker::builder();
    let as_on_page = defaults
        .failure_threshold(10)
        .failure_rate(50)
        .without_slow_call_rate()
        .window(Window::Time(secs(30)))
        .minimum_calls(100)
        .open_for(secs(5))
        .without_open_growth()
        .open_jitter(20)
        .probes(1)
        .probe_lease(secs(30))
        .success_threshold(1)
        .without_recovery()
        .dropped_call(DroppedCall::Neutral)
        .mode(Mode::Automatic);
    assert_eq!(defaults, as_on_page);
    let back = defaults.recover_over(secs(1)).slow_call_rate(9, secs(1)).open_growth(2, secs(9));
    assert_eq!(back.without_recovery().without_slow_call_rate().without_open_growth(), defaults);
    for row in [
        "| `failure_threshold` | 10 in a row |",
        "| `failure_rate` | 50 % |",
        "| `slow_call_rate` | none |",
        "| `window` | 30 s |",
        "| `minimum_calls` | 100 |",
        "| `open_for` | 5 s |",
        "| `open_growth` | none |",
        "| `open_jitter` | up to 20 % longer |",
        "| `probes` | 1 |",
        "| `probe_lease` | 30 s |",
        "| `success_threshold` | 1 |",
        "| `recover_over` | none |",
    ] {
        assert!(page.contains(row), "{row}");
    }
    assert_eq!(format!("{:?}", CircuitBreaker::default()), format!("{:?}", defaults.build().unwrap()));
    assert_eq!(CircuitBreaker::default().probe_lease(), secs(30));
    // No shorter than was asked for, whatever it is kept as.
    assert_eq!(builder().probe_lease(Duration::MAX).build().unwrap().probe_lease(), Duration::MAX);
}

/// Every arrow of the diagram in the module's page, as pairs of names.
fn arrows_on_page() -> BTreeSet<(String, String)> {
    const STATES: [&str; 6] = ["Closed", "Open", "HalfOpen", "Recovering", "ForcedOpen", "ForcedClosed"];
    let lines = include_str!("../circuit_breaker.rs").lines().filter(|line| line.contains('▶'));
    let mut arrows = BTreeSet::new();
    for line in lines {
        let (from, rest) = line.trim_start_matches("//!").split_once("──").unwrap();
        let to = rest.split_once('▶').unwrap().1.trim();
        assert!(STATES.contains(&to), "{to} is no state");
        let from: Vec<&str> = match from.trim() {
            "any other" => STATES.iter().copied().filter(|state| *state != to).collect(),
            named => named.split(", ").collect(),
        };
        for from in from {
            assert!(STATES.contains(&from), "{from} is no state");
            arrows.insert((from.to_string(), to.to_string()));
        }
    }
    arrows
}

#[test]
fn the_diagram_and_the_code_agree() {
    let mut seen = BTreeSet::new();
    let mut random = 1_u64;
    let mut draw = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((random >> 33) % limit).unwrap()
    };
    for recovers in [false, true] {
        let builder = builder().success_threshold(2).probes(2);
        let builder = if recovers { builder.recover_over(secs(4)) } else { builder };
        let (mut breaker, mut now, mut out) = (builder.build().unwrap(), s(1), Vec::new());
        for _ in 0..20_000 {
            let from = breaker.state();
            let told = match draw(16) {
                0..=5 => {
                    out.extend(breaker.try_admit(now));
                    None
                }
                6..=11 if !out.is_empty() => {
                    let permit = out.swap_remove(draw(out.len() as u64));
                    let kind = [OutcomeKind::Transient, OutcomeKind::Success, OutcomeKind::Throttled][draw(3)];
                    Some(breaker.record(now, (draw(1 << 31) as u64) << 33, permit, kind))
                }
                12 if draw(4) == 0 => {
                    let modes = [Mode::Automatic, Mode::MetricsOnly, Mode::ForcedOpen, Mode::ForcedClosed];
                    Some(breaker.set_mode(modes[draw(4)]))
                }
                _ => {
                    now += secs(draw(3) as u64);
                    None
                }
            };
            let to = breaker.state();
            if let Some(told) = told {
                assert_eq!(matches!(told, Recorded::Changed { .. }), from != to, "{from:?} {to:?}");
            }
            if from != to {
                seen.insert((format!("{from:?}"), format!("{to:?}")));
            }
        }
    }
    assert_eq!(seen, arrows_on_page());
}

/// What the page says. A firmware that has no more to spare can rely on it.
#[cfg(target_pointer_width = "64")]
#[test]
fn sizes_are_those_of_the_page() {
    let sizes = [size_of::<CircuitBreaker>(), size_of::<super::settings::Settings>(), size_of::<Permit>()];
    assert_eq!(sizes, [200, 72, 16]);
}

/// The breaker under other settings from this second on.
fn reconfigured(breaker: &mut CircuitBreaker, at: u64, to: CircuitBreakerBuilder) {
    breaker.reconfigure(s(at), &to.build().unwrap());
}

#[test]
fn under_other_settings_permits_stay_good_and_the_window_stays_known() {
    for (from, to) in [
        (Window::Time(secs(30)), Window::Time(secs(30))),
        (Window::Time(secs(30)), Window::Time(secs(300))),
        (Window::Calls(20), Window::Calls(20)),
        (Window::Calls(20), Window::Calls(4)),
    ] {
        let rated = |window| builder().without_failure_threshold().minimum_calls(4).window(window);
        let mut breaker = rated(from).minimum_calls(10).build().unwrap();
        for _ in 0..3 {
            assert_eq!(fail(&mut breaker, 1), Recorded::Noted);
        }
        let permit = breaker.try_admit(s(1)).unwrap();
        reconfigured(&mut breaker, 2, rated(to));
        assert_eq!(breaker.snapshot(s(2)).window, Tally { calls: 3, failures: 3, slow: 0 }, "{from:?} to {to:?}");
        assert_eq!(breaker.record(s(2), 0, permit, OutcomeKind::Transient), OPENED, "{from:?} to {to:?}");
    }
    let mut breaker = builder().window(Window::Calls(20)).minimum_calls(20).build().unwrap();
    assert_eq!(fail(&mut breaker, 1), Recorded::Noted);
    reconfigured(&mut breaker, 1, builder());
    assert_eq!(breaker.snapshot(s(1)).window, Tally::NONE, "of another kind, it begins empty");
    assert_eq!(fail(&mut breaker, 1), OPENED, "and failures in a row are still in a row");
}

#[test]
fn under_fewer_probes_nobody_joins_those_beyond_before_they_are_back() {
    let settings = |probes| builder().probes(probes).success_threshold(9);
    let mut breaker = opened(settings(3), 0);
    let first = breaker.try_admit(s(5)).unwrap();
    let second = breaker.try_admit(s(6)).unwrap();
    reconfigured(&mut breaker, 6, settings(1));
    assert_eq!(breaker.check(s(6)), Err(not_yet(9, Reason::ProbesOut)), "when all are back at the latest");
    assert_eq!(breaker.record(s(7), 0, first, OutcomeKind::Success), Recorded::Noted, "its permit stays good");
    assert_eq!(breaker.check(s(7)), Err(not_yet(9, Reason::ProbesOut)));
    assert_eq!(breaker.record(s(7), 0, second, OutcomeKind::Success), Recorded::Noted);
    let third = breaker.try_admit(s(7)).unwrap();
    assert_eq!(breaker.check(s(7)), Err(not_yet(10, Reason::ProbesOut)));
    reconfigured(&mut breaker, 7, settings(2));
    assert!(breaker.try_admit(s(7)).is_ok(), "one more, at once");
    assert_eq!(breaker.record(s(7), 0, third, OutcomeKind::Success), Recorded::Noted);
    assert_eq!(breaker.snapshot(s(7)).successes, 3);
}

#[test]
fn states_and_modes_keep_their_names() {
    let states = ["closed", "open", "half_open", "recovering", "forced_open", "forced_closed"];
    assert_eq!(State::ALL.map(State::as_str), states);
    let modes = [Mode::Automatic, Mode::MetricsOnly, Mode::ForcedOpen, Mode::ForcedClosed];
    assert_eq!(modes.map(Mode::as_str), ["automatic", "metrics_only", "forced_open", "forced_closed"]);
}
