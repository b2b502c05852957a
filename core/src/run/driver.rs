use core::task::Waker;

use super::history::History;
use super::{CallError, LastAttempt, Made};
use crate::event::{Event, Events, Observer};
use crate::limits::Limiter;
use crate::outcome::{Classified, Outcome};
use crate::pipeline::{Attempt, Call, CallOptions, MayHedge, Pipeline, Step};
use crate::rejected::Rejected;
use crate::share::Share;
use crate::time::{Clock, Instant};

/// A call, and what it takes to move it on. Dropping it abandons the call.
pub(super) struct Driver<S, C, O, L, H>
where
    S: Share<State = Pipeline<L>>,
    C: Clock,
    O: Observer,
    L: Limiter,
    H: MayHedge,
{
    pipeline: S,
    pub(super) clock: C,
    observer: O,
    /// What the observer keeps of the call.
    observed: O::Call,
    started: Instant,
    /// When the call was asked last.
    asked: Option<Instant>,
    call: Call<L::Ticket, H>,
    history: History,
}

impl<S, C, O, L, H> Driver<S, C, O, L, H>
where
    S: Share<State = Pipeline<L>>,
    C: Clock,
    O: Observer,
    L: Limiter,
    H: MayHedge,
{
    pub(super) fn new(pipeline: S, clock: C, observer: O, options: CallOptions) -> Self {
        let started = clock.now();
        Self {
            pipeline,
            clock,
            observer,
            observed: O::Call::default(),
            started,
            asked: None,
            // It belongs to the pipeline from when it is first asked, so that the lock is not taken for that alone.
            call: Call::new(options, Instant::MAX),
            history: History::new(),
        }
    }

    /// Asks the call for its next step, and leaves the waker in the same breath: whoever moves us forward from now on
    /// finds it.
    ///
    /// A random number is drawn only where it is read: while an attempt runs, it is asked whenever the task is woken.
    #[inline]
    pub(super) fn ask(&mut self, entropy: &mut impl FnMut() -> u64, waker: &Waker) -> Step {
        let Self { started, asked, call, observer, observed, .. } = self;
        let mut events = Events::new();
        let is_first = asked.is_none();
        // Nothing lies between the start and the first question: what reads the clock once for both saves the time.
        let now = if is_first { *started } else { self.clock.now() };
        *asked = Some(now);
        let entropy = if call.draws(now) { entropy() } else { 0 };
        let step = with_wakes(&self.pipeline, |pipeline| {
            if is_first {
                call.start_clock(now, pipeline);
            }
            let step = call.poll(now, entropy, pipeline, &mut events);
            if let Step::Wait(_) = step {
                call.watch(pipeline, waker);
            }
            step
        });
        if is_first {
            observer.observe_call(now, observed, &Event::CallStarted { deadline: call.deadline() });
        }
        events.report_call(now, &*observer, observed);
        step
    }

    /// Runs a piece of an attempt, in whatever the observer makes of that.
    #[inline]
    pub(super) fn within<R>(&mut self, attempt: u32, piece: impl FnOnce() -> R) -> R {
        self.observer.within(&mut self.observed, attempt, piece)
    }

    /// How many attempts were started.
    pub(super) const fn attempts(&self) -> u32 {
        self.call.attempts()
    }

    /// The attempt that the call was given leave to make when it was asked last.
    pub(super) fn made(&self, attempt: Attempt) -> Made {
        Made { attempt, started: self.asked.unwrap_or(self.started) }
    }

    /// Tells how an attempt ended. Returns its ticket if that is the call's success.
    pub(super) fn finish(&mut self, entropy: u64, made: Made, classified: &impl Classified) -> Option<L::Ticket> {
        let (number, outcome) = (made.attempt.number, classified.outcome());
        classified.details(&mut |name, value| self.observer.detail(&mut self.observed, number, name, value));
        if let Some(told) = classified.told() {
            self.tell(|call, now, pipeline, events| call.tell(now, number, told, pipeline, events));
        }
        let (now, ticket) =
            self.tell(|call, now, pipeline, events| call.finish(now, entropy, number, outcome, pipeline, events));
        if !outcome.is_success() {
            self.history.push(number, now - made.started, outcome);
        }
        ticket
    }

    pub(super) fn time_out(&mut self, entropy: u64, made: Made) {
        let number = made.attempt.number;
        let (now, ()) = self.tell(|call, now, pipeline, events| call.time_out(now, entropy, number, pipeline, events));
        self.history.push(number, now - made.started, Outcome::timed_out());
    }

    /// Why the call has ended without success.
    pub(super) fn error<R>(&self, result: Result<(), Rejected>, last: LastAttempt<R>) -> CallError<R> {
        CallError {
            // A call that succeeded has returned; nobody asks it again.
            rejected: result.err().unwrap_or(Rejected::Abandoned),
            last,
            attempts: self.call.attempts(),
            // It ended when it was asked last, and said so.
            elapsed: self.asked.unwrap_or(self.started) - self.started,
            history: self.history,
        }
    }

    /// Tells the call something, and then the observer what came of it. Returns when that was, and what the call says.
    fn tell<R>(
        &mut self,
        tell: impl FnOnce(&mut Call<L::Ticket, H>, Instant, &mut Pipeline<L>, &mut Events) -> R,
    ) -> (Instant, R) {
        let (now, mut events) = (self.clock.now(), Events::new());
        let said = with_wakes(&self.pipeline, |pipeline| tell(&mut self.call, now, pipeline, &mut events));
        events.report_call(now, &self.observer, &mut self.observed);
        (now, said)
    }
}

impl<S, C, O, L, H> Drop for Driver<S, C, O, L, H>
where
    S: Share<State = Pipeline<L>>,
    C: Clock,
    O: Observer,
    L: Limiter,
    H: MayHedge,
{
    fn drop(&mut self) {
        // One that was never asked has not begun: it holds nothing, and nobody has heard of it.
        if self.asked.is_some() && !self.call.has_ended() {
            self.tell(Call::abandon);
        }
    }
}

/// Lends out the pipeline, and then, with the lock released, wakes whomever that moved forward in line.
pub(super) fn with_wakes<S, L, R>(pipeline: &S, f: impl FnOnce(&mut Pipeline<L>) -> R) -> R
where
    S: Share<State = Pipeline<L>>,
    L: Limiter,
{
    let next = |pipeline: &mut Pipeline<L>| pipeline.limits_mut().next_woken();
    let (result, mut woken) = pipeline.with(|pipeline| (f(pipeline), next(pipeline)));
    while let Some(due) = woken {
        due.let_go();
        woken = pipeline.with(next);
    }
    result
}
