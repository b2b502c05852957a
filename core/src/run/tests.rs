//! The loop on the clock for tests. Dropping it after every poll is tried in the package `steadfast-tests`.

use core::cell::{Cell, RefCell};
use core::future::pending;
use core::task::Waker;

use super::*;
use crate::backoff::{Backoff, Jitter};
use crate::circuit_breaker::{CircuitBreaker, Reason};
use crate::event::Event;
use crate::fallback::Fallback;
use crate::hedge::Hedge;
use crate::outcome::{Outcome, OutcomeKind};
use crate::pipeline::PipelineBuilder;
use crate::rate_limit::{Quota, TokenBucket};
use crate::retry::Retry;
use crate::retry::budget::Cause;
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
        assert!(error.history.iter().map(|past| past.attempt as usize).eq(1..=script.len()));
        for (past, does) in error.history.iter().zip(script) {
            let want = match *does {
                Does::Returns(status, millis) => (ms(millis), classify(&status).kind(), false),
                Does::Hangs => (ms(1000), OutcomeKind::Transient, true),
            };
            assert_eq!((past.took, past.outcome, past.timed_out), want);
        }
    }
    assert_eq!(got.map_err(|error| (error.rejected, error.last)), want);
    check_blocking(script, want, want_ms);
}

/// The same call in a loop that blocks: a clock of its own, an attempt that hangs returns a code when its time is over.
fn check_blocking(script: &[Does], want: Result<u16, (Rejected, LastAttempt<u16>)>, want_ms: u64) {
    const GAVE_UP: u16 = 0;
    let clock = ManualClock::new();
    let pipeline = RefCell::new(builder().build().unwrap());
    let runner = Runner { pipeline: &pipeline, timer: &clock, observer: &() };
    let got = runner.call_blocking(
        CallOptions::idempotent(),
        || 0,
        classify,
        |attempt| match script[attempt.number as usize - 1] {
            Does::Hangs => {
                clock.wait_until(attempt.until);
                GAVE_UP
            }
            Does::Returns(status, millis) => {
                clock.advance(ms(millis));
                status
            }
        },
    );
    assert_eq!(clock.now() - Instant::EPOCH, ms(want_ms), "blocking");
    let last = |last| if last == LastAttempt::Returned(GAVE_UP) { LastAttempt::TimedOut } else { last };
    assert_eq!(got.map_err(|error| (error.rejected, last(error.last))), want, "blocking");
}

/// Counts how many of it are alive.
struct Alive<'a>(&'a Cell<u32>);

impl<'a> Alive<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Makes one call with a hedge after 300 ms, and compares its result, when it came, and how many attempts were made.
fn check_hedged(script: &[Does], want: Result<u16, Rejected>, want_ms: u64) {
    let clock = ManualClock::new();
    let timer = &clock;
    let hedge = Hedge::builder().after(ms(300)).build().unwrap();
    let pipeline = RefCell::new(builder().without_circuit_breaker().hedge(hedge).build().unwrap());
    let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
    let (made, alive, most) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let call = runner.call_hedged(
        CallOptions::idempotent(),
        || 0,
        classify,
        |attempt| {
            made.set(made.get() + 1);
            let does = script[attempt.number as usize - 1];
            let living = Alive::new(&alive);
            most.set(most.get().max(alive.get()));
            async move {
                let _living = living;
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
    assert_eq!((got.map_err(|error| error.rejected), clock.now() - Instant::EPOCH), (want, ms(want_ms)));
    assert_eq!((made.get(), alive.get()), (script.len(), 0));
    assert!(most.get() <= 2);
}

#[test]
fn the_first_answer_of_two_ends_the_call_and_drops_the_other() {
    use Does::{Hangs, Returns};
    check_hedged(&[Returns(200, 299)], Ok(200), 299);
    check_hedged(&[Hangs, Returns(200, 10)], Ok(200), 310);
    check_hedged(&[Returns(200, 400), Returns(503, 50)], Ok(200), 400);
    check_hedged(&[Returns(200, 400), Returns(503, 500)], Ok(200), 400);
    check_hedged(&[Returns(503, 400), Returns(200, 500)], Ok(200), 800);
    // Both fail; the retry waits for 200 ms after the second, and gets no hedge since it is the last.
    check_hedged(&[Returns(503, 350), Returns(503, 60), Returns(200, 500)], Ok(200), 360 + 200 + 500);
    check_hedged(&[Hangs, Returns(400, 10)], Err(Rejected::Permanent), 310);
    // The first times out at 1,000 ms, its hedge at 1,300.
    check_hedged(&[Hangs, Hangs, Returns(200, 0)], Ok(200), 1300 + 200);
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
fn the_deadline_counts_from_the_start_of_the_call() {
    let clock = ManualClock::new();
    clock.advance(ms(7000));
    let deadlines = [(CallOptions::idempotent(), 10_000), (CallOptions::idempotent().with_deadline(ms(500)), 500)];
    for (options, want) in deadlines {
        let started = clock.now();
        let pipeline = RefCell::new(builder().without_attempt_timeout().build().unwrap());
        let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &() };
        let call = runner.call(options, || 0, classify, |_| pending());
        let deadline = started + ms(want);
        let rejected = clock.drive(call).unwrap().unwrap_err().rejected;
        assert_eq!((rejected, clock.now()), (Rejected::DeadlineExceeded { deadline }, deadline));
    }
}

#[test]
fn a_call_that_is_refused_makes_no_attempt() {
    let clock = ManualClock::new();
    let breaker = CircuitBreaker::builder().failure_threshold(1).build().unwrap();
    let pipeline = RefCell::new(builder().circuit_breaker(breaker).build().unwrap());
    pipeline.with(|pipeline| {
        let breaker = pipeline.circuit_breaker_mut().unwrap();
        let permit = breaker.try_admit(Instant::EPOCH).unwrap();
        breaker.record(Instant::EPOCH, 0, permit, OutcomeKind::Transient);
    });
    let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &() };
    let call = runner.call(CallOptions::idempotent(), || 0, classify, |_| async { 200 });
    let retry_at = Instant::EPOCH + ms(5000);
    let want = CallError {
        rejected: Rejected::CircuitOpen { retry_at, reason: Reason::ConsecutiveFailures },
        last: LastAttempt::NotMade,
        attempts: 0,
        elapsed: Duration::ZERO,
        history: History::default(),
    };
    assert_eq!(clock.drive(call), Some(Err(want)));
}

/// Remembers events, and makes sure that none comes while the lock is held.
struct Heard<'a>(&'a RefCell<Pipeline>, RefCell<Vec<Event>>);

impl Observer for Heard<'_> {
    type Call = ();

    fn observe(&self, _now: Instant, event: &Event) {
        assert!(self.0.try_borrow_mut().is_ok(), "the lock is held while {event:?} is reported");
        self.1.borrow_mut().push(*event);
    }
}

#[test]
fn a_change_of_the_breakers_mode_is_observed() {
    use crate::circuit_breaker::{Mode, State};
    let moved = |from, to| Event::CircuitBreakerChanged { from, to };
    let changed = |from, to| Event::CircuitBreakerModeChanged { from, to };
    let clock = ManualClock::new();
    let pipeline = RefCell::new(builder().build().unwrap());
    let observer = Heard(&pipeline, RefCell::default());
    let runner = Runner { pipeline: &pipeline, timer: &clock, observer: &observer };
    for (mode, want) in [
        (Mode::Automatic, &[][..]),
        (Mode::MetricsOnly, &[changed(Mode::Automatic, Mode::MetricsOnly)]),
        (Mode::ForcedOpen, &[moved(State::Closed, State::ForcedOpen), changed(Mode::MetricsOnly, Mode::ForcedOpen)]),
        (Mode::ForcedOpen, &[]),
        (
            Mode::ForcedClosed,
            &[moved(State::ForcedOpen, State::ForcedClosed), changed(Mode::ForcedOpen, Mode::ForcedClosed)],
        ),
        (Mode::Automatic, &[moved(State::ForcedClosed, State::Closed), changed(Mode::ForcedClosed, Mode::Automatic)]),
    ] {
        let now = runner.with_policies(|pipeline, now| {
            pipeline.circuit_breaker_mut().unwrap().set_mode(mode);
            now
        });
        assert_eq!((now, observer.1.take()), (clock.now(), want.to_vec()), "{mode:?}");
    }
    let without = RefCell::new(builder().without_circuit_breaker().build().unwrap());
    let observer = Heard(&without, RefCell::default());
    let runner = Runner { pipeline: &without, timer: &clock, observer: &observer };
    assert!(runner.with_policies(|pipeline, _| pipeline.circuit_breaker_mut().is_none()));
    assert_eq!(observer.1.take(), []);
}

/// An observer that counts calls by their first event and their last would go wrong by one for ever.
#[test]
fn a_call_that_never_began_is_not_said_to_have_ended() {
    let clock = ManualClock::new();
    let pipeline = RefCell::new(builder().build().unwrap());
    let observer = Heard(&pipeline, RefCell::default());
    drop(Driven::<_, _, _, _, u16>::new(&pipeline, &clock, &observer, CallOptions::idempotent()));
    assert_eq!(observer.1.take(), []);
}

#[test]
fn an_answer_from_elsewhere_is_observed_after_the_end_of_the_call() {
    let clock = ManualClock::new();
    let pipeline = RefCell::new(builder().build().unwrap());
    let observer = Heard(&pipeline, RefCell::default());
    let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &observer };
    let call = || runner.call(CallOptions::idempotent().with_max_attempts(1), || 0, classify, |_| async { 503 });
    #[allow(clippy::result_large_err)] // As it is.
    let fails = || clock.drive(call()).unwrap();
    let rejected = Rejected::AttemptsSpent { max_attempts: 1 };
    let answered = [Event::Rejected(rejected), Event::FellBack(rejected)];
    let last_two = || observer.1.borrow().iter().rev().take(2).rev().copied().collect::<Vec<_>>();

    assert_eq!(runner.fall_back(Fallback::default(), fails(), |_| Some(9)), Ok(9));
    assert_eq!(last_two(), answered);
    assert_eq!(clock.drive(runner.fall_back_to(Fallback::default(), fails(), |_| async { Ok(9) })), Some(Ok(9)));
    assert_eq!(last_two(), answered);

    // Neither what is not covered nor what has no answer is said to have one.
    let never = Fallback::when(|_| false);
    assert!(runner.fall_back(never, fails(), |_| Some(9)).is_err());
    assert!(clock.drive(runner.fall_back_to(never, fails(), |_| async { Ok(9) })).unwrap().is_err());
    assert!(runner.fall_back(Fallback::default(), fails(), |_| None).is_err());
    assert!(
        clock
            .drive(runner.fall_back_to(Fallback::default(), fails(), |e| core::future::ready(Err(e))))
            .unwrap()
            .is_err()
    );
    assert_eq!(observer.1.borrow().iter().filter(|event| matches!(event, Event::FellBack(_))).count(), 2);
}

#[test]
fn an_observer_hears_it_after_the_lock_is_released() {
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
        Event::CallStarted { deadline: Instant::EPOCH },
        Event::AttemptStarted { attempt: 1, until: Instant::EPOCH },
        Event::AttemptEnded { attempt: 1, outcome: OutcomeKind::Transient },
        Event::RetryScheduled { attempt: 2, at: Instant::EPOCH, cause: Cause::Transient },
        Event::AttemptStarted { attempt: 2, until: Instant::EPOCH },
        Event::AttemptEnded { attempt: 2, outcome: OutcomeKind::Success },
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
fn a_call_whose_timer_rings_early_asks_once_more_and_then_lets_others_run() {
    let (clock, slept) = (ManualClock::new(), Cell::new(0));
    let timer = CountsAndRings(RingsAtOnce(&clock), &slept);
    let pipeline = RefCell::new(builder().build().unwrap());
    pipeline.with(|pipeline| pipeline.limits_mut().rate_limits_mut().unwrap().block_until(Instant::EPOCH + ms(5)));
    let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
    let mut call = pin!(runner.call(CallOptions::idempotent(), || 0, classify, |_| async { 200 }));
    let mut cx = Context::from_waker(Waker::noop());
    for want in [2, 4] {
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert_eq!(slept.get(), want);
    }
    clock.advance(ms(5));
    assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(200)));
}

/// The same, and how often it was asked to.
struct CountsAndRings<'a>(RingsAtOnce<'a>, &'a Cell<u32>);

impl Clock for CountsAndRings<'_> {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl Timer for CountsAndRings<'_> {
    type Sleep = core::future::Ready<()>;

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        self.1.set(self.1.get() + 1);
        self.0.sleep_until(deadline)
    }
}

#[test]
fn a_random_number_is_drawn_only_where_one_is_read() {
    for (hedges, want) in [(false, 2), (true, 3)] {
        let clock = ManualClock::new();
        let timer = &clock;
        let hedge = Hedge::builder().after(ms(300)).build().unwrap();
        let pipeline = RefCell::new(builder().hedge(hedge).build().unwrap());
        let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
        let drawn = Cell::new(0);
        let draw = || {
            drawn.set(drawn.get() + 1);
            0
        };
        let attempt = |_| async move {
            timer.sleep_until(timer.now() + ms(500)).await;
            200
        };
        let options = CallOptions::idempotent();
        let mut once = pin!(runner.call(options, draw, classify, attempt));
        let mut hedged = pin!(runner.call_hedged(options, draw, classify, attempt));
        let mut cx = Context::from_waker(Waker::noop());
        // Whoever shares its task is polled whenever that is woken.
        let mut answered = false;
        for _ in 0..6 {
            let polled = if hedges { hedged.as_mut().poll(&mut cx) } else { once.as_mut().poll(&mut cx) };
            answered = polled.is_ready();
            clock.advance(ms(100));
        }
        assert_eq!((answered, drawn.get()), (true, want), "to begin, for a hedge, and at the end");
    }
}

/// A timer on which no time is spent: asked to sleep, it moves the clock to the end of that, and rings on time.
struct SleepsAtOnce<'a>(&'a ManualClock);

impl Clock for SleepsAtOnce<'_> {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl Timer for SleepsAtOnce<'_> {
    type Sleep = core::future::Ready<()>;

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        self.0.advance(deadline - self.0.now());
        core::future::ready(())
    }
}

#[test]
fn a_timer_that_is_on_time_is_not_early_however_often_it_rings() {
    let clock = ManualClock::new();
    let timer = SleepsAtOnce(&clock);
    let pipeline = RefCell::new(builder().build().unwrap());
    let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
    let attempt = |attempt: Attempt| async move { if attempt.number < 3 { 503 } else { 200 } };
    let mut call = pin!(runner.call(CallOptions::idempotent(), || 0, classify, attempt));
    // Two backoffs, and no pause in which others could run.
    assert_eq!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(200)));
    assert_eq!(clock.now() - Instant::EPOCH, ms(300));
}

#[test]
fn a_sleep_is_made_once_however_often_a_call_is_woken() {
    let (clock, slept) = (ManualClock::new(), Cell::new(0));
    let timer = CountsSleeps(&clock, &slept);
    let pipeline = RefCell::new(builder().build().unwrap());
    pipeline.with(|pipeline| pipeline.limits_mut().rate_limits_mut().unwrap().block_until(Instant::EPOCH + ms(5)));
    let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
    let mut call = pin!(runner.call(CallOptions::idempotent(), || 0, classify, |_| async { 200 }));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert_eq!(slept.get(), 1, "it sleeps already");
    }
    clock.advance(ms(5));
    assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(200)));
}

/// The clock for tests, and how often somebody was put to sleep on it.
struct CountsSleeps<'a>(&'a ManualClock, &'a Cell<u32>);

impl Clock for CountsSleeps<'_> {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl<'a> Timer for CountsSleeps<'a> {
    type Sleep = <&'a ManualClock as Timer>::Sleep;

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        self.1.set(self.1.get() + 1);
        self.0.sleep_until(deadline)
    }
}

#[test]
fn a_call_that_is_dropped_gives_everything_back_and_says_so_and_one_that_has_ended_does_not() {
    let clock = ManualClock::new();
    let slots = crate::concurrency::ConcurrencyLimit::fixed(1).build().unwrap();
    let pipeline = RefCell::new(builder().concurrency_limit(slots).build().unwrap());
    let observer = Heard(&pipeline, RefCell::default());
    let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &observer };
    let in_flight = || pipeline.with(|pipeline| pipeline.limits().concurrency_limit().unwrap().in_flight());
    let abandoned = || observer.1.borrow().iter().filter(|event| **event == Event::Abandoned).count();
    let at_its_end = Cell::new(None);
    {
        let attempt = |_| {
            let ending = AtItsEnd(|| at_its_end.set(Some(in_flight())));
            async move {
                let _ending = ending;
                pending().await
            }
        };
        let mut call = pin!(runner.call(CallOptions::idempotent(), || 0, classify, attempt));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!((in_flight(), abandoned()), (1, 0));
    }
    assert_eq!(at_its_end.get(), Some(1), "the slot is not free while the attempt is there");
    assert_eq!((in_flight(), abandoned()), (0, 1));
    assert_eq!(clock.drive(runner.call(CallOptions::idempotent(), || 0, classify, |_| async { 200 })), Some(Ok(200)));
    assert_eq!((in_flight(), abandoned()), (0, 1));
}

/// Does something when it is dropped.
struct AtItsEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtItsEnd<F> {
    fn drop(&mut self) {
        self.0();
    }
}
