//! What a call makes of each answer of its limits, whoever gives it.

use core::task::Waker;

use super::*;
use crate::limits::{Admission, Learned, Limiter, Refusal};

/// Limits that always say the same, and how often they were asked to wake somebody.
struct Says(Admission, u32);

impl Limiter for Says {
    type Ticket = ();

    fn join(&mut self, _now: Instant, _n: u32, _priority: u8, _deadline: Instant) -> Result<(), Refusal> {
        Ok(())
    }

    fn poll(&mut self, _now: Instant, _ticket: &mut ()) -> Admission {
        self.0
    }

    fn leave(&mut self, _now: Instant, _ticket: ()) {}

    fn finish(&mut self, _now: Instant, _ticket: (), _outcome: OutcomeKind) -> Learned {
        Learned::NOTHING
    }

    fn abandon(&mut self, _now: Instant, _ticket: ()) {}

    fn block_until(&mut self, _until: Instant) {}

    fn watch(&mut self, _ticket: &(), _waker: &Waker) {
        self.1 += 1;
    }
}

/// A call that starts at 0 and has to end by 60, asked at each second.
fn check(says: Admission, script: &[(u64, Step)]) {
    let mut pipeline = builder().build().unwrap().map_limits(|_| Says(says, 0));
    let mut call = pipeline.call(s(0), CallOptions::idempotent());
    for (secs, want) in script {
        assert!(!call.has_ended());
        let step = call.poll(s(*secs), 0, &mut pipeline, &mut Events::new());
        assert_eq!(step, *want, "{says:?} at {secs}");
        assert_eq!(call.has_ended(), matches!(step, Step::Done(_)));
    }
}

#[test]
fn a_wait_ends_at_the_deadline_and_one_beyond_it_does_not_begin() {
    let deadline = s(60);
    let late = |retry_at| stopped(Rejected::RateLimited { retry_at, deadline });
    check(Admission::Granted, &[(0, start(1, 10)), (0, Step::Wait(s(10)))]);
    check(
        Admission::Wait(s(59)),
        &[(0, Step::Wait(s(59))), (59, Step::Wait(s(59))), (60, stopped(Rejected::DeadlineExceeded { deadline }))],
    );
    check(Admission::Wait(s(60)), &[(0, late(s(60)))]);
    check(Admission::Wait(s(61)), &[(0, late(s(61)))]);
    check(Admission::WaitForSlot(s(30)), &[(0, Step::Wait(s(30)))]);
    check(
        Admission::WaitForSlot(s(90)),
        &[(0, Step::Wait(s(60))), (59, Step::Wait(s(60))), (60, stopped(Rejected::NoSlot { deadline }))],
    );
}

#[test]
fn only_who_stands_in_line_asks_to_be_woken() {
    for (says, want) in [(Admission::Wait(s(9)), 1), (Admission::WaitForSlot(s(9)), 1), (Admission::Granted, 0)] {
        let mut pipeline = builder().build().unwrap().map_limits(|_| Says(says, 0));
        let mut call = pipeline.call(s(0), CallOptions::idempotent());
        call.watch(&mut pipeline, Waker::noop());
        call.poll(s(0), 0, &mut pipeline, &mut Events::new());
        call.watch(&mut pipeline, Waker::noop());
        assert_eq!(pipeline.limits().1, want, "{says:?}");
    }
}
