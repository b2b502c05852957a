use core::cmp;
use core::mem;
use core::task::Waker;
use core::time::Duration;

use super::Pipeline;
use super::attempt::{Place, Progress, Run};
use super::hedging::{Beside, Hedging, MayHedge, Unhedged};
use super::options::CallOptions;
use crate::event::{Event, Events};
use crate::limits::{Limiter, Told};
use crate::outcome::Outcome;
use crate::rejected::Rejected;
use crate::retry::budget::Charge;
use crate::retry::{Failure, Verdict};
use crate::time::Instant;

/// One call on its way through a [`Pipeline`]. See the [module](super) for its states.
///
/// The driver asks [`poll`](Self::poll) what to do next, does it, and asks again. `T` is the limits' ticket, and `H` whether
/// the driver can run two attempts at once: [`Hedged`](super::Hedged) or [`Unhedged`].
///
/// A call that is given up has to be told so with [`abandon`](Self::abandon), or its place in line, its slot and its
/// breaker's permit stay taken until their times run out.
#[derive(Debug)]
#[must_use = "a call does nothing unless it is polled"]
pub struct Call<T, H: MayHedge = Unhedged> {
    options: CallOptions,
    deadline: Instant,
    attempts: u32,
    /// What the backoff said last.
    previous_delay: Duration,
    pub(super) stage: Stage<T>,
    pub(super) hedging: H::Hedging<T>,
}

#[derive(Debug)]
pub(super) enum Stage<T> {
    /// With what the budget has paid for the attempt, if it is a retry.
    Asking {
        charge: Option<Charge>,
    },
    InLine(Place<T>),
    Running(Run<T>),
    BackingOff {
        until: Instant,
        charge: Charge,
    },
    Ended(Result<(), Rejected>),
}

/// What the driver of a [`Call`] has to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Wait until then, and ask again. Asking earlier does no harm.
    Wait(Instant),
    /// Make an attempt, and tell how it ended with [`Call::finish`] or [`Call::time_out`]. Another may be under way
    /// already if the call is [hedged](super::Hedged), and goes on.
    Start(Attempt),
    /// Nothing: the call has ended. Attempts that are under way are to be cancelled.
    Done(Result<(), Rejected>),
}

/// Leave to make one attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Which; the first is 1.
    pub number: u32,
    /// By when it has to end: its own timeout or the call's deadline, whichever comes first.
    pub until: Instant,
}

impl<T, H: MayHedge> Call<T, H> {
    pub(crate) fn new(options: CallOptions, deadline: Instant) -> Self {
        let stage = Stage::Asking { charge: None };
        Self { options, deadline, attempts: 0, previous_delay: Duration::ZERO, stage, hedging: H::none() }
    }

    /// How many attempts were started.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether it has succeeded, failed or been given up. It holds nothing any more.
    pub const fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// By when the call has to end; [`Instant::MAX`] if it may take as long as it takes.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    #[cfg(test)]
    pub(super) fn stages(&self) -> (&impl core::fmt::Debug, &impl core::fmt::Debug)
    where
        T: core::fmt::Debug,
    {
        (&self.stage, H::of(&self.hedging).map_or(&Beside::Nothing, |hedging| &hedging.beside))
    }

    pub(super) const fn options(&self) -> &CallOptions {
        &self.options
    }

    /// Counts an attempt that starts, and returns its number.
    pub(super) const fn count_attempt(&mut self) -> u32 {
        self.attempts = self.attempts.saturating_add(1);
        self.attempts
    }

    /// Counts the deadline from `now`, by what the pipeline says unless the call's options do.
    pub(crate) fn start_clock<L>(&mut self, now: Instant, pipeline: &Pipeline<L>) {
        self.deadline = pipeline.deadline_of(now, &self.options);
    }

    /// Whether [`poll`](Self::poll) reads its random number at `now`.
    pub(crate) fn draws(&self, now: Instant) -> bool {
        match &self.stage {
            Stage::Asking { charge: None } => true,
            Stage::Running(_) => H::of(&self.hedging).is_some_and(|hedging| hedging.is_due(now)),
            Stage::Asking { charge: Some(_) } | Stage::InLine(_) | Stage::BackingOff { .. } | Stage::Ended(_) => false,
        }
    }

    /// What to do next. `entropy` is a uniformly random number.
    pub fn poll<L>(&mut self, now: Instant, entropy: u64, pipeline: &mut Pipeline<L>, events: &mut Events) -> Step
    where
        L: Limiter<Ticket = T>,
    {
        match &self.stage {
            Stage::BackingOff { until, .. } if now < *until => return Step::Wait(*until),
            Stage::Running(run) => {
                let attempt = run.attempt;
                return self.watch_over(now, entropy, attempt, pipeline, events);
            }
            Stage::Ended(result) => return Step::Done(*result),
            Stage::Asking { .. } | Stage::InLine(_) | Stage::BackingOff { .. } => {}
        }
        let progress = match mem::replace(&mut self.stage, Stage::Asking { charge: None }) {
            Stage::InLine(place) => self.stand_in_line(now, place, pipeline, events),
            Stage::BackingOff { charge, .. } | Stage::Asking { charge: Some(charge) } => {
                self.join_line(now, charge, pipeline, events)
            }
            // A call before its first attempt: those that run and those that have ended were answered above.
            Stage::Asking { charge: None } | Stage::Running(_) | Stage::Ended(_) => {
                match pipeline.budget.begin(now, entropy) {
                    Ok(charge) => self.join_line(now, charge, pipeline, events),
                    Err(_) => Progress::Refused(Rejected::Shed),
                }
            }
        };
        match progress {
            Progress::Waits { place, until } => {
                self.stage = Stage::InLine(place);
                Step::Wait(until)
            }
            Progress::Starts(run) => {
                let attempt = run.attempt;
                self.hedging = H::none();
                self.plan_hedge(run.started, pipeline);
                self.stage = Stage::Running(run);
                Step::Start(attempt)
            }
            Progress::Refused(rejected) => self.reject(rejected, events),
        }
    }

    /// Tells how an attempt that was started ended, by its number. `entropy` is a uniformly random number.
    ///
    /// Ignored unless that attempt is under way.
    ///
    /// Returns the attempt's ticket if the call has succeeded with it: for whoever learns later what it weighed in truth, and
    /// [commits](Limiter::commit) that. Dropped, what it was said to weigh stays spent.
    pub fn finish<L>(
        &mut self,
        now: Instant,
        entropy: u64,
        attempt: u32,
        outcome: Outcome,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) -> Option<T>
    where
        L: Limiter<Ticket = T>,
    {
        self.end_attempt(
            now,
            entropy,
            attempt,
            outcome,
            Event::AttemptEnded { attempt, outcome: outcome.kind() },
            pipeline,
            events,
        )
    }

    /// Tells what the response to an attempt said of the server's limits, before it is [finished](Self::finish).
    ///
    /// Ignored unless that attempt is under way, and by limits that do not keep it in mind.
    pub fn tell<L>(&self, now: Instant, attempt: u32, told: &Told, pipeline: &mut Pipeline<L>, events: &mut Events)
    where
        L: Limiter<Ticket = T>,
    {
        let run = match &self.stage {
            Stage::Running(run) if run.attempt.number == attempt => Some(run),
            Stage::Running(_) => H::of(&self.hedging).and_then(|hedging| hedging.run(attempt)),
            Stage::Asking { .. } | Stage::InLine(_) | Stage::BackingOff { .. } | Stage::Ended(_) => None,
        };
        if let Some(until) = run.and_then(|run| run.tell(now, told, pipeline)) {
            events.push(Event::RateLimitBlocked { until });
        }
    }

    /// Tells that an attempt did not end in time and was cancelled. `entropy` is a uniformly random number.
    ///
    /// It counts as transient, and as one that may have been acted on. Ignored unless that attempt is under way.
    pub fn time_out<L>(
        &mut self,
        now: Instant,
        entropy: u64,
        attempt: u32,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) where
        L: Limiter<Ticket = T>,
    {
        self.end_attempt(
            now,
            entropy,
            attempt,
            Outcome::timed_out(),
            Event::AttemptTimedOut { attempt },
            pipeline,
            events,
        );
    }

    /// Gives back what the call holds, because nobody will ask it again: its place in line, the tokens it was granted
    /// and has not used, its slots, the breaker's permits, what the budget paid. Does nothing to a call that has ended.
    ///
    /// Tokens of attempts that were started stay spent: the server may have seen them.
    pub fn abandon<L>(&mut self, now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events)
    where
        L: Limiter<Ticket = T>,
    {
        match mem::replace(&mut self.stage, Stage::Ended(Err(Rejected::Abandoned))) {
            Stage::Ended(result) => {
                self.stage = Stage::Ended(result);
                return;
            }
            Stage::InLine(place) => place.leave(now, pipeline),
            Stage::Running(run) => {
                run.cancel(now, pipeline, events);
                self.cancel_hedge(now, pipeline, events);
            }
            Stage::BackingOff { charge, .. } | Stage::Asking { charge: Some(charge) } => {
                pipeline.budget.refund(now, charge);
            }
            Stage::Asking { charge: None } => {}
        }
        events.push(Event::Abandoned);
    }

    /// Asks to be woken when the last [`Step::Wait`] turns out to be too late, because somebody ahead in line left, or a
    /// slot came free.
    pub fn watch<L>(&self, pipeline: &mut Pipeline<L>, waker: &Waker)
    where
        L: Limiter<Ticket = T>,
    {
        let beside = H::of(&self.hedging).map_or(&Beside::Nothing, |hedging| &hedging.beside);
        if let (Stage::InLine(place), _) | (_, Beside::InLine(place)) = (&self.stage, beside) {
            pipeline.limits.watch(&place.ticket, waker);
        }
    }

    /// Cancels what still goes on, because the call ends or all of its attempts have.
    fn cancel_others<L>(&mut self, now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events)
    where
        L: Limiter<Ticket = T>,
    {
        if H::of(&self.hedging).is_none() {
            return; // There are no others.
        }
        if let Stage::Running(_) = self.stage {
            if let Stage::Running(run) = mem::replace(&mut self.stage, Stage::Ended(Ok(()))) {
                run.cancel(now, pipeline, events);
            }
        }
        self.cancel_hedge(now, pipeline, events);
    }

    /// Takes out the attempt with this number, if it is under way. If there is another, that one is the stage from now on;
    /// else the call has succeeded until something else is said.
    fn take_run(&mut self, number: u32) -> Option<Run<T>> {
        match &self.stage {
            Stage::Running(run) if run.attempt.number == number => {
                let ended = mem::replace(&mut self.stage, Stage::Ended(Ok(())));
                if let Some(other) = H::of_mut(&mut self.hedging).and_then(Hedging::take_run) {
                    self.stage = Stage::Running(other);
                }
                match ended {
                    Stage::Running(run) => Some(run),
                    Stage::Asking { .. } | Stage::InLine(_) | Stage::BackingOff { .. } | Stage::Ended(_) => None,
                }
            }
            Stage::Running(_) => H::of_mut(&mut self.hedging).filter(|hedging| hedging.runs(number))?.take_run(),
            Stage::Asking { .. } | Stage::InLine(_) | Stage::BackingOff { .. } | Stage::Ended(_) => None,
        }
    }

    /// How many attempts there may be, hedges included.
    pub(super) fn max_attempts<L>(&self, pipeline: &Pipeline<L>) -> u32 {
        cmp::min(self.options.max_attempts().unwrap_or(u32::MAX), pipeline.retry.max_attempts())
    }

    fn reject(&mut self, rejected: Rejected, events: &mut Events) -> Step {
        events.push(Event::Rejected(rejected));
        self.stage = Stage::Ended(Err(rejected));
        Step::Done(Err(rejected))
    }

    /// Tells every policy how an attempt ended, and decides what follows. Returns its ticket if that is the call's success.
    #[allow(clippy::too_many_arguments)] // What happened, to what, and where to say so.
    fn end_attempt<L>(
        &mut self,
        now: Instant,
        entropy: u64,
        attempt: u32,
        outcome: Outcome,
        event: Event,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) -> Option<T>
    where
        L: Limiter<Ticket = T>,
    {
        let run = self.take_run(attempt)?;
        events.push(event);
        self.learn_from(&run, now, &outcome, pipeline);
        let (held_until, ticket) = run.conclude(now, entropy, &outcome, pipeline, events);
        if outcome.is_success() {
            self.learn_from_loser(now, pipeline);
            self.cancel_others(now, pipeline, events);
            events.push(Event::Succeeded { attempts: self.attempts });
            self.stage = Stage::Ended(Ok(()));
            return Some(ticket);
        }
        if self.other_goes_on(outcome, held_until, pipeline) {
            return None;
        }
        self.cancel_others(now, pipeline, events);
        let said = H::of(&self.hedging).map(|hedging| hedging.pushback);
        let outcome = said.map_or(outcome, |said| said.added_to(now, outcome));
        self.retry(now, entropy, outcome, pipeline, events);
        None
    }

    /// Decides whether another attempt follows, now that none is under way.
    fn retry<L>(
        &mut self,
        now: Instant,
        entropy: u64,
        outcome: Outcome,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) {
        let failure = Failure {
            attempt: self.attempts,
            outcome,
            idempotency: self.options.idempotency(),
            max_attempts: self.max_attempts(pipeline),
            previous_delay: self.previous_delay,
            deadline: self.deadline,
        };
        match pipeline.retry.decide(now, entropy, &failure, &mut pipeline.budget) {
            Verdict::Retry { at, delay, charge, cause } => {
                self.previous_delay = delay;
                let attempt = self.attempts.saturating_add(1);
                events.push(Event::RetryScheduled { attempt, at, cause });
                self.stage = Stage::BackingOff { until: at, charge };
            }
            Verdict::Stop(rejected) => {
                self.reject(rejected, events);
            }
        }
    }
}
