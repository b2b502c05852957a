//! The one async loop: drives a [`Call`] over a [`Timer`], without an allocator and on no runtime in particular.
//!
//! ```
//! use core::cell::{Cell, RefCell};
//! use core::time::Duration;
//! use steadfast_core::outcome::Outcome;
//! use steadfast_core::pipeline::{CallOptions, Pipeline};
//! use steadfast_core::run::Runner;
//! use steadfast_core::time::{Clock, ManualClock};
//!
//! let pipeline = RefCell::new(Pipeline::builder().build()?);
//! let clock = ManualClock::new();
//! let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &() };
//!
//! let asked = Cell::new(0);
//! let classify = |answer: &u16| if *answer < 500 { Outcome::success() } else { Outcome::transient() };
//! let call = runner.call(CallOptions::idempotent(), || u64::MAX, classify, |_attempt| async {
//!     asked.set(asked.get() + 1);
//!     if asked.get() < 3 { 503 } else { 200 }
//! });
//! let answer = clock.drive(call).expect("nobody waits for ever");
//! assert_eq!((answer, asked.get()), (Ok(200), 3));
//!
//! // Two backoffs lie behind us, of 100 and 200 ms. It took no time at all.
//! assert_eq!(clock.now().as_nanos(), 300_000_000);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # Cancel safety
//!
//! The future may be dropped at any await point. Its place in line goes to those behind it, tokens that it was granted
//! and did not use go back, and the breaker's permit is handed in as abandoned. Tokens of an attempt that was under way
//! stay spent, since the server may have seen it.

use core::future::{Future, poll_fn};
use core::ops::ControlFlow;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

use crate::event::{Events, Observer};
use crate::outcome::Outcome;
use crate::pipeline::{Attempt, Call, CallOptions, Pipeline, Step};
use crate::rate_limit::RateLimiter;
use crate::rejected::Rejected;
use crate::share::Share;
use crate::time::{Instant, Timer};

/// What drives calls through one shared pipeline: where it is kept, how to wait, whom to tell.
#[derive(Debug)]
pub struct Runner<'a, S, T, O = ()> {
    /// The policies that all calls share.
    pub pipeline: &'a S,
    /// How to wait.
    pub timer: &'a T,
    /// Whom to tell what happens; `&()` for nobody.
    pub observer: &'a O,
}

/// Why a call ended without success, and what its last attempt returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallError<R> {
    /// Why no further attempt is made.
    pub rejected: Rejected,
    /// What became of the last attempt.
    pub last: LastAttempt<R>,
    /// How many attempts were started.
    pub attempts: u32,
    /// How long the call took, with all its waits.
    pub elapsed: Duration,
}

/// What became of the last attempt of a call that did not succeed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LastAttempt<R> {
    /// There was none: the call was refused before its first.
    NotMade,
    /// It returned this, which the classifier did not call a success.
    Returned(R),
    /// It did not end in time.
    TimedOut,
}

impl<S, T, O, L> Runner<'_, S, T, O>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: RateLimiter,
{
    /// Makes one call: runs `attempt` as often as the pipeline allows, until `classify` calls its result a success.
    ///
    /// `entropy` gives a uniformly random number each time; seed it once for each client, or clients that failed
    /// together come back together.
    ///
    /// # Errors
    /// When no further attempt is made, with the reason and what the last attempt returned.
    pub async fn call<R, F>(
        &self,
        options: CallOptions,
        mut entropy: impl FnMut() -> u64,
        classify: impl Fn(&R) -> Outcome,
        mut attempt: impl FnMut(Attempt) -> F,
    ) -> Result<R, CallError<R>>
    where
        F: Future<Output = R>,
    {
        let started = self.timer.now();
        let mut driver = Driver {
            pipeline: self.pipeline,
            timer: self.timer,
            observer: self.observer,
            call: self.pipeline.with(|pipeline| pipeline.call(started, options)),
            events: Events::new(),
        };
        let mut last = LastAttempt::NotMade;
        loop {
            let leave = match driver.next_attempt().await {
                Ok(leave) => leave,
                Err(rejected) => {
                    let elapsed = self.timer.now() - started;
                    return Err(CallError { rejected, last, attempts: driver.call.attempts(), elapsed });
                }
            };
            last = match within(self.timer, leave.until, attempt(leave)).await {
                Some(returned) => {
                    let outcome = classify(&returned);
                    driver.finish(entropy(), outcome);
                    if outcome.is_success() {
                        return Ok(returned);
                    }
                    LastAttempt::Returned(returned)
                }
                None => {
                    driver.time_out(entropy());
                    LastAttempt::TimedOut
                }
            };
        }
    }
}

/// A call, and what it takes to move it on. Dropping it abandons the call.
struct Driver<'a, S, T, O, L>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: RateLimiter,
{
    pipeline: &'a S,
    timer: &'a T,
    observer: &'a O,
    call: Call<L::Ticket>,
    events: Events,
}

impl<S, T, O, L> Driver<'_, S, T, O, L>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: RateLimiter,
{
    /// Waits until the call wants its next attempt made, or says why there is none.
    async fn next_attempt(&mut self) -> Result<Attempt, Rejected> {
        let timer = self.timer;
        wait_for(timer, |cx| match self.ask(cx) {
            Step::Wait(until) => ControlFlow::Continue(until),
            Step::Start(leave) => ControlFlow::Break(Ok(leave)),
            // A call that succeeded has returned; nobody asks it again.
            Step::Done(result) => ControlFlow::Break(Err(result.err().unwrap_or(Rejected::Abandoned))),
        })
        .await
    }

    /// Asks the call for its next step, and leaves our waker in the same breath: whoever moves us forward from now on
    /// finds it.
    fn ask(&mut self, cx: &Context<'_>) -> Step {
        let Self { call, events, .. } = self;
        let now = self.timer.now();
        let step = with_wakes(self.pipeline, |pipeline| {
            let step = call.poll(now, pipeline, events);
            if let Step::Wait(_) = step {
                call.watch(pipeline, cx.waker());
            }
            step
        });
        self.events.report(now, self.observer);
        step
    }

    fn finish(&mut self, entropy: u64, outcome: Outcome) {
        self.tell(|call, now, pipeline, events| call.finish(now, entropy, outcome, pipeline, events));
    }

    fn time_out(&mut self, entropy: u64) {
        self.tell(|call, now, pipeline, events| call.time_out(now, entropy, pipeline, events));
    }

    /// Tells the call something, and then the observer what came of it.
    fn tell(&mut self, tell: impl FnOnce(&mut Call<L::Ticket>, Instant, &mut Pipeline<L>, &mut Events)) {
        let Self { call, events, .. } = self;
        let now = self.timer.now();
        with_wakes(self.pipeline, |pipeline| tell(call, now, pipeline, events));
        self.events.report(now, self.observer);
    }
}

impl<S, T, O, L> Drop for Driver<'_, S, T, O, L>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: RateLimiter,
{
    fn drop(&mut self) {
        self.tell(Call::abandon);
    }
}

/// Lends out the pipeline, and then, with the lock released, wakes whomever that moved forward in line.
fn with_wakes<S, L, R>(pipeline: &S, f: impl FnOnce(&mut Pipeline<L>) -> R) -> R
where
    S: Share<State = Pipeline<L>>,
    L: RateLimiter,
{
    let next = |pipeline: &mut Pipeline<L>| pipeline.rate_limit_mut().and_then(L::next_woken);
    let (result, mut woken) = pipeline.with(|pipeline| (f(pipeline), next(pipeline)));
    while let Some(due) = woken {
        due.let_go();
        woken = pipeline.with(next);
    }
    result
}

/// Asks until the answer is something else than to wait until some time, and sleeps meanwhile.
///
/// `ask` is called at the end of each sleep and whenever the task is woken; to be woken earlier it leaves the waker
/// where it will be found.
pub async fn wait_for<T: Timer, R>(timer: &T, mut ask: impl FnMut(&mut Context<'_>) -> ControlFlow<R, Instant>) -> R {
    let mut sleep = pin!(None);
    // Tells something only while there is a sleep.
    let mut sleeps_until = Instant::EPOCH;
    // Moved into it, everything is stored once: futures of this are in every task that waits.
    poll_fn(move |cx| {
        // At most twice: once as woken, and once more if that brought the sleep to its end.
        for _ in 0..2 {
            let until = match ask(cx) {
                ControlFlow::Break(answer) => return Poll::Ready(answer),
                ControlFlow::Continue(until) => until,
            };
            if sleep.is_none() || sleeps_until != until {
                sleeps_until = until;
                sleep.set(Some(timer.sleep_until(until)));
            }
            let asleep: Option<Pin<&mut T::Sleep>> = sleep.as_mut().as_pin_mut();
            if asleep.is_some_and(|sleep| sleep.poll(cx).is_pending()) {
                return Poll::Pending;
            }
            sleep.set(None);
        }
        // The timer says that the time has come, and the clock that it has not. Let others run meanwhile.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// What `future` returns, if that is before `until`.
async fn within<T: Timer, F: Future>(timer: &T, until: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut sleep = pin!(timer.sleep_until(until));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(returned) => Poll::Ready(Some(returned)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests;
