//! What a call makes of each answer of its limits, whoever gives it.

use core::task::Waker;
use std::format;

use super::*;
use crate::hedge::Hedge;
use crate::limits::{Admission, Learned, Limiter, Refusal, Told};

/// Limits that always say the same, and a number: how often they were asked to wake somebody, or who came last.
struct Says(Admission, u32);

impl Limiter for Says {
    type Ticket = ();

    fn join(&mut self, _now: Instant, n: u32, priority: u8, _deadline: Instant) -> Result<(), Refusal> {
        self.1 = n * 1000 + u32::from(priority);
        Ok(())
    }

    fn poll(&mut self, _now: Instant, _ticket: &mut ()) -> Admission {
        self.0
    }

    fn leave(&mut self, _now: Instant, _ticket: ()) {}

    fn end(&mut self, _now: Instant, _ticket: &mut (), _outcome: OutcomeKind) -> Learned {
        Learned::NOTHING
    }

    fn abandon(&mut self, _now: Instant, _ticket: ()) {}

    fn tell(&mut self, now: Instant, _ticket: &(), _told: &Told) -> Option<Instant> {
        self.1 += 1;
        Some(now + seconds(7))
    }

    fn block_until(&mut self, _until: Instant) {}

    fn watch(&mut self, _ticket: &(), _waker: &Waker) {
        self.1 += 1;
    }

    fn wake_everybody(&mut self) {
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
        pipeline.limits_mut().1 = 0;
        call.watch(&mut pipeline, Waker::noop());
        assert_eq!(pipeline.limits().1, want, "{says:?}");
    }
}

#[test]
fn what_a_response_told_reaches_the_limits_while_its_attempt_is_under_way() {
    let hedge = Hedge::builder().after(seconds(2)).build().unwrap();
    let mut pipeline = builder().hedge(hedge).build().unwrap().map_limits(|_| Says(Admission::Granted, 0));
    let mut call = pipeline.hedged_call(s(0), CallOptions::idempotent());
    for (secs, ends, told) in [
        (0, None, [false; 3]), // Before the first step.
        (2, None, [true, false, false]),
        (3, None, [true, true, false]),
        (4, Some(1), [false, true, false]),
        (5, Some(2), [false; 3]), // It backs off.
    ] {
        if let Some(attempt) = ends {
            call.finish(s(secs), 0, attempt, Outcome::transient(), &mut pipeline, &mut Events::new());
        }
        for (attempt, told) in (1..).zip(told) {
            let (mut events, heard) = (Events::new(), RefCell::new(Vec::new()));
            pipeline.limits_mut().1 = 0;
            call.tell(s(secs), attempt, &Told::NOTHING, &mut pipeline, &mut events);
            events.report(s(secs), &heard);
            let blocked = told.then_some(Event::RateLimitBlocked { until: s(secs + 7) });
            assert_eq!(
                (pipeline.limits().1, heard.take()),
                (told.into(), Vec::from_iter(blocked)),
                "{attempt} at {secs}"
            );
        }
        call.poll(s(secs), 0, &mut pipeline, &mut Events::new());
    }
}

#[test]
fn everybody_is_woken_by_a_breaker_that_is_forced_open_and_by_nothing_else() {
    let mut pipeline = builder().build().unwrap().map_limits(|_| Says(Admission::Granted, 0));
    let mut events = Events::new();
    for (mode, want) in [
        (Mode::MetricsOnly, 0),
        (Mode::ForcedOpen, 1),
        (Mode::ForcedOpen, 1),
        (Mode::ForcedClosed, 1),
        (Mode::Automatic, 1),
        (Mode::ForcedOpen, 2),
    ] {
        let set = |pipeline: &mut Pipeline<Says>, _| pipeline.circuit_breaker_mut().unwrap().set_mode(mode);
        pipeline.change(s(0), set, &mut events);
        assert_eq!(pipeline.limits().1, want, "{mode:?}");
    }
}

#[test]
fn a_call_joins_with_its_weight_and_its_priority() {
    let three = NonZeroU32::new(3).unwrap();
    let options = CallOptions::idempotent();
    for (options, want) in [(options, 1000), (options.with_priority(9), 1009), (options.with_weight(three), 3000)] {
        let mut pipeline = builder().build().unwrap().map_limits(|_| Says(Admission::Granted, 0));
        pipeline.call(s(0), options).poll(s(0), 0, &mut pipeline, &mut Events::new());
        assert_eq!(pipeline.limits().1, want, "{options:?}");
    }
}

#[test]
fn what_is_told_of_an_attempt_that_is_not_there_is_ignored_beside_two_that_are() {
    let hedge = Hedge::builder().after(seconds(2)).build().unwrap();
    let mut bench = Bench::new(builder().hedge(hedge));
    let mut call = bench.pipeline.hedged_call(s(0), CallOptions::idempotent());
    assert_eq!([0, 2].map(|secs| bench.poll(secs, &mut call)), [start(1, 10), start(2, 12)]);
    call.finish(s(3), 0, 7, Outcome::success(), &mut bench.pipeline, &mut bench.events);
    assert_eq!(bench.poll(3, &mut call), Step::Wait(s(10)));
}

#[test]
fn presets_are_those_of_their_tables() {
    let built = Pipeline::builder().build().unwrap();
    assert_eq!(format!("{:?}", Pipeline::standard()), format!("{built:?}"));
    let quota = Quota::per_minute(500).unwrap();
    let pipeline = Pipeline::for_llm_api(quota, quota).unwrap().build().unwrap();
    let times = [pipeline.deadline, pipeline.attempt_timeout].map(Option::unwrap);
    let leases =
        [pipeline.circuit_breaker.unwrap().probe_lease(), pipeline.limits.concurrency_limit().unwrap().lease()];
    assert_eq!((times, leases), ([seconds(600), seconds(240)], [seconds(300); 2]));
}
