//! The loop on the clock for tests. Dropping it after every poll is tried in the package `steadfast-tests`.

use core::cell::{Cell, RefCell};
use core::future::pending;
use core::task::Waker;

use super::*;
use crate::backoff::{Backoff, Jitter};
use crate::circuit_breaker::{CircuitBreaker, Reason};
use crate::event::Event;
use crate::pipeline::PipelineBuilder;
use crate::rate_limit::{Quota, TokenBucket};
use crate::retry::Retry;
use crate::time::{Clock, ManualClock};

extern crate std;
use std::vec::Vec;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Attempts of 1 s within 10 s, three of them, backoffs of 100 and 200 ms, ten a second one by one.
fn builder() -> PipelineBuilder {
    let backoff = Backoff::builder().jitter(Jitter::None).build().unwrap();
    Pipeline::builder()
        .deadline(ms(10_000))
        .attempt_timeout(ms(1000))
        .retry(Retry::builder().max_attempts(3).backoff(backoff).build().unwrap())
        .rate_limit(TokenBucket::new(Quota::per_second(10).unwrap()))
}

/// What an attempt does: how long it takes, and what it returns then.
#[derive(Clone, Copy)]
enum Does {
    Returns(u16, u64),
    Hangs,
}

fn classify(status: &u16) -> Outcome {
    match *status {
        200 => Outcome::success(),
        429 => Outcome::throttled().with_retry_after(ms(2000)),
        400 => Outcome::permanent(),
        _ => Outcome::transient(),
    }
}

/// Makes one call whose attempts do as the script says, and compares its result and when it came.
fn check(script: &[Does], want: Result<u16, (Rejected, LastAttempt<u16>)>, want_ms: u64) {
    let clock = ManualClock::new();
    let timer = &clock;
    let pipeline = RefCell::new(builder().build().unwrap());
    let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
    let made = Cell::new(0);
    let call = runner.call(
        CallOptions::idempotent(),
        || 0,
        classify,
        |attempt| {
            assert_eq!(attempt.number as usize, made.get() + 1);
            let does = script[made.get()];
            made.set(made.get() + 1);
            async move {
                match does {
                    Does::Hangs => pending().await,
                    Does::Returns(status, millis) => {
                        timer.sleep_until(timer.now() + ms(millis)).await;
                        status
                    }
                }
            }
        },
    );
    let got = clock.drive(call).expect("every call ends");
    assert_eq!(clock.now() - Instant::EPOCH, ms(want_ms));
    assert_eq!(made.get(), script.len());
    if let Err(error) = &got {
        assert_eq!((error.attempts as usize, error.elapsed), (script.len(), ms(want_ms)));
    }
    assert_eq!(got.map_err(|error| (error.rejected, error.last)), want);
}

#[test]
fn a_call_ends_with_the_first_success() {
    use Does::{Hangs, Returns};
    check(&[Returns(200, 0)], Ok(200), 0);
    check(&[Returns(503, 50), Returns(200, 10)], Ok(200), 50 + 100 + 10);
    check(&[Hangs, Hangs, Returns(200, 0)], Ok(200), 1000 + 100 + 1000 + 200);
    check(&[Returns(429, 0), Returns(200, 0)], Ok(200), 2000 + 100);
}

#[test]
fn a_call_that_fails_says_why_and_what_came_last() {
    use Does::{Hangs, Returns};
    check(&[Returns(400, 7)], Err((Rejected::Permanent, LastAttempt::Returned(400))), 7);
    let spent = Rejected::AttemptsSpent { max_attempts: 3 };
    check(&[Returns(503, 0), Returns(503, 0), Returns(502, 0)], Err((spent, LastAttempt::Returned(502))), 300);
    check(&[Returns(503, 0), Returns(503, 0), Hangs], Err((spent, LastAttempt::TimedOut)), 1300);
}

#[test]
fn a_call_that_is_refused_makes_no_attempt() {
    let clock = ManualClock::new();
    let breaker = CircuitBreaker::builder().failure_threshold(1).build().unwrap();
    let pipeline = RefCell::new(builder().circuit_breaker(breaker).build().unwrap());
    pipeline.with(|pipeline| {
        let breaker = pipeline.circuit_breaker_mut().unwrap();
        let permit = breaker.try_admit(Instant::EPOCH).unwrap();
        breaker.record(Instant::EPOCH, 0, permit, crate::outcome::OutcomeKind::Transient);
    });
    let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &() };
    let call = runner.call(CallOptions::idempotent(), || 0, classify, |_| async { 200 });
    let retry_at = Instant::EPOCH + ms(5000);
    let want = CallError {
        rejected: Rejected::CircuitOpen { retry_at, reason: Reason::ConsecutiveFailures },
        last: LastAttempt::NotMade,
        attempts: 0,
        elapsed: Duration::ZERO,
    };
    assert_eq!(clock.drive(call), Some(Err(want)));
}

#[test]
fn an_observer_hears_it_after_the_lock_is_released() {
    struct Heard<'a>(&'a RefCell<Pipeline>, RefCell<Vec<Event>>);
    impl Observer for Heard<'_> {
        fn observe(&self, _now: Instant, event: &Event) {
            assert!(self.0.try_borrow_mut().is_ok(), "the lock is held while {event:?} is reported");
            self.1.borrow_mut().push(*event);
        }
    }
    let clock = ManualClock::new();
    let pipeline = RefCell::new(builder().build().unwrap());
    let observer = Heard(&pipeline, RefCell::default());
    let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &observer };
    let call = runner.call(
        CallOptions::idempotent(),
        || 0,
        classify,
        |attempt| async move { if attempt.number == 1 { 503 } else { 200 } },
    );
    assert_eq!(clock.drive(call), Some(Ok(200)));
    let heard: Vec<_> = observer.1.borrow().iter().map(core::mem::discriminant).collect();
    let want = [
        Event::AttemptStarted { attempt: 1, until: Instant::EPOCH },
        Event::AttemptEnded { attempt: 1, outcome: crate::outcome::OutcomeKind::Transient },
        Event::RetryScheduled { attempt: 2, at: Instant::EPOCH },
        Event::AttemptStarted { attempt: 2, until: Instant::EPOCH },
        Event::AttemptEnded { attempt: 2, outcome: crate::outcome::OutcomeKind::Success },
        Event::Succeeded { attempts: 2 },
    ];
    assert_eq!(heard, want.map(|event| core::mem::discriminant(&event)));
}

/// A timer that rings at once, whatever was asked: as a broken one would.
struct RingsAtOnce<'a>(&'a ManualClock);

impl Clock for RingsAtOnce<'_> {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl Timer for RingsAtOnce<'_> {
    type Sleep = core::future::Ready<()>;

    fn sleep_until(&self, _deadline: Instant) -> Self::Sleep {
        core::future::ready(())
    }
}

#[test]
fn a_timer_that_rings_early_makes_nothing_early_and_lets_others_run() {
    let clock = ManualClock::new();
    let timer = RingsAtOnce(&clock);
    let mut asked = 0;
    let mut waiting = pin!(wait_for(&timer, |_| {
        asked += 1;
        if clock.now() < Instant::EPOCH + ms(5) {
            ControlFlow::Continue(Instant::EPOCH + ms(5))
        } else {
            ControlFlow::Break(asked)
        }
    }));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    clock.advance(ms(5));
    assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(5));
}
