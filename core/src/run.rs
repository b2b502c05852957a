//! The one async loop: drives a [`Call`](crate::pipeline::Call) over a [`Timer`], without an allocator and on no runtime in particular.
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
//! [`Runner::call`] runs one attempt at a time; [`Runner::call_hedged`] two, if the pipeline has a
//! [`Hedge`](crate::hedge::Hedge); [`Runner::call_blocking`] blocks the thread. All drive the same [`Call`](crate::pipeline::Call), and decide the
//! same. Those are `async` functions: [`Driven`] is the same loop for a future that has to have a name.
//!
//! # Cancel safety
//!
//! The future may be dropped at any await point. Its place in line goes to those behind it, tokens that it was granted
//! and did not use go back, and the breaker's permit is handed in as abandoned. Tokens of an attempt that was under way
//! stay spent, since the server may have seen it.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

use crate::event::Observer;
use crate::limits::Limiter;
use crate::outcome::{Classified, OutcomeKind};
use crate::pipeline::{Attempt, CallOptions, Hedged, MayHedge, Pipeline, Step, Unhedged};
use crate::rejected::Rejected;
use crate::share::Share;
use crate::time::{BlockingTimer, Instant, Timer};

mod around;
mod driven;
mod driver;
mod history;
#[cfg(test)]
mod tests;

pub use driven::Driven;
use driver::Driver;
pub use history::{History, Past};

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
    /// What became of the attempt that ended last.
    pub last: LastAttempt<R>,
    /// How many attempts were started.
    pub attempts: u32,
    /// How long the call took, with all its waits.
    pub elapsed: Duration,
    /// What became of each attempt that ended.
    pub history: History,
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

impl<S, T, O> Clone for Runner<'_, S, T, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, T, O> Copy for Runner<'_, S, T, O> {}

impl<S, T, O, L> Runner<'_, S, T, O>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: Limiter,
{
    /// Makes one call: runs `attempt` as often as the pipeline allows, until `classify` calls its result a success.
    ///
    /// `entropy` gives a uniformly random number each time; seed it once for each client, or clients that failed
    /// together come back together.
    ///
    /// # Errors
    /// When no further attempt is made, with the reason and what the last attempt returned.
    pub async fn call<R, F, V>(
        self,
        options: CallOptions,
        entropy: impl FnMut() -> u64,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<R, CallError<R>>
    where
        F: Future<Output = R>,
        V: Classified,
    {
        let (sleep, only) = (pin!(None), pin!(None));
        let mut driver = Driver::<_, _, _, L, Unhedged>::new(self.pipeline, self.timer, self.observer, options);
        let lanes = &mut [Lane::new(only)];
        drive(&mut driver, Lanes(lanes), sleep, entropy, classify, attempt, |_| ()).await
    }

    /// The same, and the ticket of the attempt that succeeded is left in `ticket`: for whoever learns later what it weighed in
    /// truth, and [commits](Limiter::commit) that. See [`CallOptions::with_weight`].
    ///
    /// # Errors
    /// As [`call`](Self::call). What failed attempts were said to weigh stays spent.
    pub async fn call_unsettled<R, F, V>(
        self,
        options: CallOptions,
        entropy: impl FnMut() -> u64,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
        ticket: &mut Option<L::Ticket>,
    ) -> Result<R, CallError<R>>
    where
        F: Future<Output = R>,
        V: Classified,
    {
        let (sleep, only) = (pin!(None), pin!(None));
        let mut driver = Driver::<_, _, _, L, Unhedged>::new(self.pipeline, self.timer, self.observer, options);
        let lanes = &mut [Lane::new(only)];
        drive(&mut driver, Lanes(lanes), sleep, entropy, classify, attempt, |won| *ticket = won).await
    }

    /// The same, and while an attempt takes long, the pipeline's hedge may send another beside it. Whichever is answered
    /// first counts; the other is dropped.
    ///
    /// The future is larger by one attempt, and `attempt` is called while what it returned before still runs.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_hedged<R, F, V>(
        self,
        options: CallOptions,
        entropy: impl FnMut() -> u64,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<R, CallError<R>>
    where
        F: Future<Output = R>,
        V: Classified,
    {
        let (sleep, one, other) = (pin!(None), pin!(None), pin!(None));
        let mut driver = Driver::<_, _, _, L, Hedged>::new(self.pipeline, self.timer, self.observer, options);
        let lanes = &mut [Lane::new(one), Lane::new(other)];
        drive(&mut driver, Lanes(lanes), sleep, entropy, classify, attempt, |_| ()).await
    }

    /// The same, and the ticket of the attempt that was answered first is left in `ticket`, as by
    /// [`call_unsettled`](Self::call_unsettled).
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_hedged_unsettled<R, F, V>(
        self,
        options: CallOptions,
        entropy: impl FnMut() -> u64,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
        ticket: &mut Option<L::Ticket>,
    ) -> Result<R, CallError<R>>
    where
        F: Future<Output = R>,
        V: Classified,
    {
        let (sleep, one, other) = (pin!(None), pin!(None), pin!(None));
        let mut driver = Driver::<_, _, _, L, Hedged>::new(self.pipeline, self.timer, self.observer, options);
        let lanes = &mut [Lane::new(one), Lane::new(other)];
        drive(&mut driver, Lanes(lanes), sleep, entropy, classify, attempt, |won| *ticket = won).await
    }
}

/// Moves a call on whenever it is polled, until it has ended. The lanes are dropped before the driver: a slot is not free
/// while its attempt runs.
///
/// It is no `async` function, so that nothing is moved from the future of one into that of another.
fn drive<S, T, O, L, H, R, F, V>(
    driver: &mut Driver<S, T, O, L, H>,
    lanes: Lanes<'_, '_, F>,
    mut sleep: Pin<&mut Option<T::Sleep>>,
    mut entropy: impl FnMut() -> u64,
    classify: impl Fn(&R) -> V,
    mut attempt: impl FnMut(Attempt) -> F,
    mut keep: impl FnMut(Option<L::Ticket>),
) -> impl Future<Output = Result<R, CallError<R>>>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: Limiter,
    H: MayHedge,
    F: Future<Output = R>,
    V: Classified,
{
    let mut progress = Progress::NONE;
    poll_fn(move |cx| {
        let lanes = &mut *lanes.0;
        progress.poll(driver, lanes, sleep.as_mut(), &mut entropy, &classify, &mut attempt, &mut keep, cx)
    })
}

/// What the loop keeps from one poll to the next.
#[derive(Debug)]
struct Progress<R> {
    last: LastAttempt<R>,
    sleeps_until: Option<Instant>,
}

impl<R> Progress<R> {
    const NONE: Self = Self { last: LastAttempt::NotMade, sleeps_until: None };

    /// Moves a call on, as far as it goes now.
    #[inline]
    #[allow(clippy::too_many_arguments)] // All that a call is made of, held in different ways by those who poll it.
    fn poll<S, T, O, L, H, F, V>(
        &mut self,
        driver: &mut Driver<S, T, O, L, H>,
        lanes: &mut [Lane<'_, F>],
        mut sleep: Pin<&mut Option<T::Sleep>>,
        entropy: &mut impl FnMut() -> u64,
        classify: &impl Fn(&R) -> V,
        attempt: &mut impl FnMut(Attempt) -> F,
        keep: &mut impl FnMut(Option<L::Ticket>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<R, CallError<R>>>
    where
        S: Share<State = Pipeline<L>>,
        T: Timer,
        O: Observer,
        L: Limiter,
        H: MayHedge,
        F: Future<Output = R>,
        V: Classified,
    {
        // The timer may say that the time has come, and the clock that it has not. Once is a matter of rounding.
        let mut early = 0;
        loop {
            // Answers before anything else: one that has come counts, however late it is seen.
            while let Some((made, returned)) = lanes.iter_mut().find_map(|lane| lane.poll(cx, driver)) {
                let classified = classify(&returned);
                let outcome = classified.outcome();
                if matches!(outcome.kind(), OutcomeKind::Success | OutcomeKind::Permanent) {
                    // The losers go first: their slots are not free while they run.
                    lanes.iter_mut().for_each(Lane::clear);
                }
                let ticket = driver.finish(entropy(), made, &classified);
                if outcome.is_success() {
                    keep(ticket);
                    return Poll::Ready(Ok(returned));
                }
                self.last = LastAttempt::Returned(returned);
            }
            let until = match driver.ask(entropy, cx.waker()) {
                Step::Wait(until) => until,
                Step::Start(leave) => {
                    if let Some(lane) = lanes.iter_mut().find(|lane| lane.made.is_none()) {
                        lane.start(driver.made(leave), driver.within(leave.number, || attempt(leave)));
                    }
                    continue;
                }
                Step::Done(result) => {
                    lanes.iter_mut().for_each(Lane::clear);
                    let last = core::mem::replace(&mut self.last, LastAttempt::NotMade);
                    return Poll::Ready(Err(driver.error(result, last)));
                }
            };
            if self.sleeps_until != Some(until) {
                self.sleeps_until = Some(until);
                sleep.set(Some(driver.clock.sleep_until(until)));
            }
            let asleep: Option<Pin<&mut T::Sleep>> = sleep.as_mut().as_pin_mut();
            if asleep.is_some_and(|sleep| sleep.poll(cx).is_pending()) {
                return Poll::Pending;
            }
            self.sleeps_until = None;
            let now = driver.clock.now();
            while let Some(made) = lanes.iter_mut().find_map(|lane| lane.take_late(now)) {
                driver.time_out(entropy(), made);
                self.last = LastAttempt::TimedOut;
            }
            if now < until {
                early += 1;
                if early > 1 {
                    // Let others run meanwhile.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<S, T, O, L> Runner<'_, S, T, O>
where
    S: Share<State = Pipeline<L>>,
    T: BlockingTimer,
    O: Observer,
    L: Limiter,
{
    /// Makes one call, and blocks the thread until it has ended.
    ///
    /// An attempt that blocks cannot be cancelled: `attempt` has to return by [`Attempt::until`] of its own accord, as with
    /// a socket's timeout. One that returns late still counts.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    #[allow(clippy::result_large_err)] // There is no allocator to box it with, and it comes once for a call that failed.
    pub fn call_blocking<R, V: Classified>(
        self,
        options: CallOptions,
        mut entropy: impl FnMut() -> u64,
        classify: impl Fn(&R) -> V,
        mut attempt: impl FnMut(Attempt) -> R,
    ) -> Result<R, CallError<R>> {
        let waker = self.timer.waker();
        let mut driver = Driver::<_, _, _, L, Unhedged>::new(self.pipeline, self.timer, self.observer, options);
        let mut last = LastAttempt::NotMade;
        loop {
            match driver.ask(&mut entropy, &waker) {
                Step::Wait(until) => self.timer.wait_until(until),
                Step::Start(leave) => {
                    let made = driver.made(leave);
                    let returned = driver.within(leave.number, || attempt(leave));
                    let classified = classify(&returned);
                    driver.finish(entropy(), made, &classified);
                    if classified.outcome().is_success() {
                        return Ok(returned);
                    }
                    last = LastAttempt::Returned(returned);
                }
                Step::Done(result) => return Err(driver.error(result, last)),
            }
        }
    }
}

/// An attempt that was started.
#[derive(Clone, Copy, Debug)]
struct Made {
    attempt: Attempt,
    started: Instant,
}

/// Where all attempts of a call run. Dropping it drops them.
struct Lanes<'a, 'b, F: Future>(&'a mut [Lane<'b, F>]);

impl<F: Future> Drop for Lanes<'_, '_, F> {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Lane::clear);
    }
}

/// Where an attempt runs.
struct Lane<'a, F> {
    made: Option<Made>,
    future: Pin<&'a mut Option<F>>,
}

impl<'a, F: Future> Lane<'a, F> {
    const fn new(future: Pin<&'a mut Option<F>>) -> Self {
        Self { made: None, future }
    }

    fn start(&mut self, made: Made, future: F) {
        self.made = Some(made);
        self.future.set(Some(future));
    }

    fn clear(&mut self) {
        self.made = None;
        self.future.set(None);
    }

    /// What the attempt returned, once. It is dropped then.
    fn poll<S, T, O, L, H>(
        &mut self,
        cx: &mut Context<'_>,
        driver: &mut Driver<S, T, O, L, H>,
    ) -> Option<(Made, F::Output)>
    where
        S: Share<State = Pipeline<L>>,
        T: Timer,
        O: Observer,
        L: Limiter,
        H: MayHedge,
    {
        let made = self.made?;
        let future = self.future.as_mut().as_pin_mut()?;
        match driver.within(made.attempt.number, || future.poll(cx)) {
            Poll::Ready(returned) => {
                self.clear();
                Some((made, returned))
            }
            Poll::Pending => None,
        }
    }

    /// Drops the attempt if its time is over.
    fn take_late(&mut self, now: Instant) -> Option<Made> {
        let late = self.made.filter(|made| now >= made.attempt.until)?;
        self.clear();
        Some(late)
    }
}
