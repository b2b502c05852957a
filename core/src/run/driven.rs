use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::{CallError, Driver, Lane, Made, Progress};
use crate::event::Observer;
use crate::limits::Limiter;
use crate::outcome::Classified;
use crate::pipeline::{Attempt, CallOptions, Hedged, Pipeline};
use crate::share::Share;
use crate::time::Timer;

/// A call that is moved on by whoever polls it: the loop of [`Runner::call_hedged`](super::Runner::call_hedged), for
/// futures that have to have a name, as those of services have.
///
/// The future of an `async` function has none, and to put it in a box costs an allocation for each call and decides for
/// everybody whether it is `Send`. This is what such a future keeps, without what has to be pinned: that is lent to
/// [`poll`](Self::poll) each time, since only its owner can pin it.
///
/// ```
/// use core::cell::RefCell;
/// use core::future::{Ready, poll_fn, ready};
/// use core::pin::pin;
/// use steadfast_core::outcome::Outcome;
/// use steadfast_core::pipeline::{CallOptions, Pipeline};
/// use steadfast_core::run::Driven;
/// use steadfast_core::time::ManualClock;
///
/// let (pipeline, clock) = (RefCell::new(Pipeline::standard()), ManualClock::new());
/// let mut driven = Driven::new(&pipeline, &clock, (), CallOptions::idempotent());
/// let (mut sleep, mut one, mut other) = (pin!(None), pin!(None::<Ready<u16>>), pin!(None));
/// let call = poll_fn(|cx| {
///     let attempts = [one.as_mut(), other.as_mut()];
///     let classify = |status: &u16| if *status < 500 { Outcome::success() } else { Outcome::transient() };
///     driven.poll(cx, sleep.as_mut(), attempts, || 7, classify, |attempt| ready(if attempt.number < 3 { 503 } else { 200 }))
/// });
/// assert_eq!(clock.drive(call), Some(Ok(200)));
/// ```
///
/// Dropped before its end, it abandons the call. Its attempts are to be dropped before it: a slot is not free while its
/// attempt runs.
#[must_use = "a call does nothing unless it is polled"]
pub struct Driven<S, T, O, L, R>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: Limiter,
{
    driver: Driver<S, T, O, L, Hedged>,
    progress: Progress<R>,
    made: [Option<Made>; 2],
}

impl<S, T, O, L, R> Driven<S, T, O, L, R>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: Limiter,
{
    /// A call that starts now: to be made when it is first polled, since its deadline counts from here.
    pub fn new(pipeline: S, timer: T, observer: O, options: CallOptions) -> Self {
        Self { driver: Driver::new(pipeline, timer, observer, options), progress: Progress::NONE, made: [None; 2] }
    }

    /// Moves the call on. It takes the same `sleep` and `attempts` each time, pinned, and empty at first; the other
    /// arguments are those of [`Runner::call_hedged`](super::Runner::call_hedged).
    ///
    /// What is polled again after its end has ended, with the reason as far as it is still known.
    #[allow(clippy::too_many_arguments)] // As many as a call has, and what has to be pinned.
    pub fn poll<F, V>(
        &mut self,
        cx: &mut Context<'_>,
        sleep: Pin<&mut Option<T::Sleep>>,
        attempts: [Pin<&mut Option<F>>; 2],
        mut entropy: impl FnMut() -> u64,
        classify: impl Fn(&R) -> V,
        mut attempt: impl FnMut(Attempt) -> F,
    ) -> Poll<Result<R, CallError<R>>>
    where
        F: Future<Output = R>,
        V: Classified,
    {
        let Self { driver, progress, made } = self;
        let [one, other] = attempts;
        let mut lanes = [Lane { made: made[0], future: one }, Lane { made: made[1], future: other }];
        let polled = progress.poll(driver, &mut lanes, sleep, &mut entropy, &classify, &mut attempt, &mut |_| (), cx);
        *made = lanes.map(|lane| lane.made);
        polled
    }
}

impl<S, T, O, L, R> fmt::Debug for Driven<S, T, O, L, R>
where
    S: Share<State = Pipeline<L>>,
    T: Timer,
    O: Observer,
    L: Limiter,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driven").field("attempts", &self.driver.attempts()).finish_non_exhaustive()
    }
}
