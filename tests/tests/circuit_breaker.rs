//! The circuit breaker under random scripts, against what its page says.

use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::circuit_breaker::{CircuitBreaker, Permit, Recorded, State};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::time::Instant;

use crate::support::config;

const OPEN_FOR: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(3);
const FAILURES: u32 = 3;
const SUCCESSES: u32 = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    Admit,
    /// The permit at this index of those that are out ends like this.
    Record(usize, OutcomeKind),
    Abandon(usize),
    Forget(usize),
    /// Milliseconds, forward or back.
    Move(i64),
}

fn ops() -> impl Strategy<Value = Op> {
    use OutcomeKind::{Permanent, Success, Throttled, Transient};
    let kind = prop_oneof![3 => Just(Transient), 2 => Just(Success), 1 => Just(Permanent), 1 => Just(Throttled)];
    prop_oneof![
        4 => Just(Op::Admit),
        4 => (0..4_usize, kind).prop_map(|(index, kind)| Op::Record(index, kind)),
        1 => (0..4_usize).prop_map(Op::Abandon),
        1 => (0..4_usize).prop_map(Op::Forget),
        2 => prop_oneof![Just(5_000), Just(3_000), Just(1), -2_000..6_000_i64].prop_map(Op::Move),
    ]
}

/// A breaker, and a log from which it can be told what it should do.
struct Observed {
    breaker: CircuitBreaker,
    now: Instant,
    /// The latest time at which anything happened.
    latest: Instant,
    /// Permits that are out, each with the generation that it was granted in.
    out: Vec<(Permit, u32)>,
    /// Changes with each state, and with each probe that is granted or returns.
    generation: u32,
    failures: u32,
    successes: u32,
    probe_until: Option<Instant>,
    open_until: Option<Instant>,
}

impl Observed {
    fn new(start: u64) -> Self {
        let breaker = CircuitBreaker::builder()
            .failure_threshold(FAILURES)
            .success_threshold(SUCCESSES)
            .open_for(OPEN_FOR)
            .probe_lease(LEASE)
            .build()
            .expect("settings that can be");
        let now = Instant::from_nanos(start);
        Self {
            breaker,
            now,
            latest: now,
            out: Vec::new(),
            generation: 0,
            failures: 0,
            successes: 0,
            probe_until: None,
            open_until: None,
        }
    }

    fn admit(&mut self) {
        let state = self.breaker.state();
        assert_eq!(self.breaker.check(self.now).is_ok(), self.is_welcome(), "{state:?}");
        match self.breaker.try_admit(self.now) {
            Ok(permit) => {
                assert!(self.is_welcome());
                assert_eq!(permit.is_probe(), state != State::Closed);
                if permit.is_probe() {
                    self.generation += 1;
                    self.open_until = None;
                    self.probe_until = Some(self.now + LEASE);
                }
                self.out.push((permit, self.generation));
            }
            Err(refusal) => {
                assert!(!self.is_welcome());
                let retry_at = refusal.retry_at;
                assert!(retry_at > self.now, "{retry_at} is not later than {}", self.now);
                assert_eq!(self.breaker.check(retry_at), Ok(()), "coming back then works");
                let before = Instant::from_nanos(retry_at.as_nanos() - 1);
                assert_eq!(self.breaker.check(before), Err(refusal), "and not a moment earlier");
            }
        }
    }

    fn is_welcome(&self) -> bool {
        self.open_until.or(self.probe_until).is_none_or(|until| until <= self.now)
    }

    fn end(&mut self, index: usize, kind: Option<OutcomeKind>) {
        if self.out.is_empty() {
            return;
        }
        let (permit, generation) = self.out.remove(index % self.out.len());
        let (before, probe) = (self.breaker.state(), permit.is_probe());
        let welcome = self.breaker.check(self.now);
        let recorded = match kind {
            Some(kind) => self.breaker.record(self.now, permit, kind),
            None => self.breaker.abandon(permit),
        };
        if generation != self.generation {
            assert_eq!((recorded, self.breaker.state()), (Recorded::Late, before));
            assert_eq!(self.breaker.check(self.now), welcome, "a late result changes nothing");
            return;
        }
        match kind {
            Some(OutcomeKind::Success | OutcomeKind::Permanent) => {
                self.failures = 0;
                self.successes += u32::from(probe);
            }
            Some(OutcomeKind::Transient) => self.failures += 1,
            Some(OutcomeKind::Throttled) | None => {}
        }
        let want = if self.failures >= FAILURES || (probe && self.failures > 0) {
            self.open_until = Some(self.now + OPEN_FOR);
            State::Open
        } else if !probe || self.successes >= SUCCESSES {
            State::Closed
        } else {
            State::HalfOpen
        };
        if probe {
            self.probe_until = None;
            self.generation += 1;
        }
        if want != before {
            self.generation += u32::from(!probe);
            (self.failures, self.successes) = (0, 0);
        }
        let change = if want == before { Recorded::Noted } else { Recorded::Changed { from: before, to: want } };
        assert_eq!((recorded, self.breaker.state()), (change, want));
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Admit => self.admit(),
            Op::Record(index, kind) => self.end(index, Some(kind)),
            Op::Abandon(index) => self.end(index, None),
            Op::Forget(index) if !self.out.is_empty() => {
                let index = index % self.out.len();
                let _lost = self.out.remove(index);
            }
            Op::Forget(_) => {}
            Op::Move(millis) => {
                let step = Duration::from_millis(millis.unsigned_abs());
                let back = Instant::EPOCH + ((self.now - Instant::EPOCH).saturating_sub(step));
                self.now = if millis < 0 { back } else { self.now + step };
                self.latest = self.latest.max(self.now);
            }
        }
    }
}

proptest! {
    #![proptest_config(config(600))]

    /// Would catch: a second probe within the lease of the first, a late result that counts, a wrong threshold, a
    /// dishonest refusal, and any script after which nobody is ever admitted again.
    #[test]
    fn the_breaker_does_what_its_page_says(
        start in prop_oneof![Just(0), Just(3_600_000_000_000), any::<u32>().prop_map(u64::from)],
        script in prop::collection::vec(ops(), 1..80),
    ) {
        let mut observed = Observed::new(start);
        script.into_iter().for_each(|op| observed.step(op));
        let rested = observed.latest + OPEN_FOR.max(LEASE);
        prop_assert!(observed.breaker.check(rested).is_ok(), "wedged: {:?}", observed.breaker);
    }
}

/// A breaker that opened at 0 and is due for a probe at 5 s.
fn opened() -> CircuitBreaker {
    let mut breaker =
        CircuitBreaker::builder().failure_threshold(1).open_for(OPEN_FOR).probe_lease(LEASE).build().unwrap();
    let permit = breaker.try_admit(Instant::EPOCH).unwrap();
    breaker.record(Instant::EPOCH, permit, OutcomeKind::Transient);
    breaker
}

const DUE: Instant = Instant::from_nanos(5_000_000_000);

/// failsafe 1.3 admits 1,000 of 1,000 callers while half-open; recloser 1.4 admits 200 where two were allowed.
#[test]
fn a_thousand_callers_while_half_open_are_one_probe() {
    let mut breaker = opened();
    assert_eq!((0..1_000).filter(|_| breaker.try_admit(DUE).is_ok()).count(), 1);
}

/// tower-resilience 0.14 and failsafe 1.3: a success admitted while closed closes the half-open breaker.
#[test]
fn a_stragglers_success_closes_nothing() {
    let mut breaker = CircuitBreaker::builder().failure_threshold(1).open_for(OPEN_FOR).build().unwrap();
    let [straggler, failing] = [0; 2].map(|_| breaker.try_admit(Instant::EPOCH).unwrap());
    breaker.record(Instant::EPOCH, failing, OutcomeKind::Transient);
    let _probe = breaker.try_admit(DUE).unwrap();
    assert_eq!(breaker.record(DUE, straggler, OutcomeKind::Success), Recorded::Late);
    assert_eq!(breaker.state(), State::HalfOpen);
}

/// recloser 1.4 opens one call late, tower-resilience 0.14 up to 990 calls late after many successes.
#[test]
fn it_opens_at_the_threshold_however_many_successes_came_before() {
    let mut breaker = CircuitBreaker::builder().failure_threshold(10).build().unwrap();
    for kind in [[OutcomeKind::Success; 1_000].as_slice(), &[OutcomeKind::Transient; 10]].concat() {
        assert_eq!(breaker.state(), State::Closed);
        let permit = breaker.try_admit(Instant::EPOCH).unwrap();
        breaker.record(Instant::EPOCH, permit, kind);
    }
    assert_eq!(breaker.state(), State::Open);
}

/// Polly: a cancelled probe closes the circuit, and one that hangs blocks it for ever.
#[test]
fn a_cancelled_probe_closes_nothing_and_a_hanging_one_blocks_nothing() {
    let mut breaker = opened();
    let cancelled = breaker.try_admit(DUE).unwrap();
    assert_eq!((breaker.abandon(cancelled), breaker.state()), (Recorded::Noted, State::HalfOpen));
    let _hangs = breaker.try_admit(DUE).expect("its place is free at once");
    assert!(breaker.try_admit(DUE + LEASE).is_ok_and(|permit| permit.is_probe()));
}

/// failsafe 1.3 records nothing for a dropped future; ours makes room, and counts neither way.
#[test]
fn a_dropped_call_counts_neither_way() {
    let mut breaker = CircuitBreaker::builder().failure_threshold(2).build().unwrap();
    for _ in 0..100 {
        let permit = breaker.try_admit(Instant::EPOCH).unwrap();
        assert_eq!(breaker.abandon(permit), Recorded::Noted);
    }
    assert_eq!(breaker.state(), State::Closed);
}
