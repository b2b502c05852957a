//! A second attempt beside the first, from when it is due to its end.

use core::cmp;
use core::fmt;
use core::mem;

use super::attempt::{Place, Progress, Run};
use super::call::Stage;
use super::{Attempt, Call, Pipeline, Step};
use crate::event::{Event, Events};
use crate::limits::Limiter;
use crate::outcome::{Outcome, OutcomeKind};
use crate::rejected::Rejected;
use crate::retry::budget::Cause;
use crate::time::Instant;

/// Whether a [`Call`]'s driver can run two attempts at once: [`Hedged`], or not: [`Unhedged`].
///
/// It is a type, so that a call without hedges carries nothing for them, neither in memory nor in code.
pub trait MayHedge: fmt::Debug + sealed::Sealed {
    /// What a call keeps for them.
    #[doc(hidden)]
    type Hedging<T>;
    #[doc(hidden)]
    fn none<T>() -> Self::Hedging<T>;
    #[doc(hidden)]
    fn of<T>(hedging: &Self::Hedging<T>) -> Option<&Hedging<T>>;
    #[doc(hidden)]
    fn of_mut<T>(hedging: &mut Self::Hedging<T>) -> Option<&mut Hedging<T>>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Hedged {}
    impl Sealed for super::Unhedged {}
}

/// By a driver that can run two attempts at once: so the pipeline's [`Hedge`](crate::hedge::Hedge) may send one beside
/// another, if the operation may be done twice, and learns from the answers.
#[derive(Debug)]
pub enum Hedged {}

/// By a driver that runs one attempt at a time.
#[derive(Debug)]
pub enum Unhedged {}

impl MayHedge for Hedged {
    type Hedging<T> = Hedging<T>;

    fn none<T>() -> Hedging<T> {
        Hedging::NONE
    }

    fn of<T>(hedging: &Hedging<T>) -> Option<&Hedging<T>> {
        Some(hedging)
    }

    fn of_mut<T>(hedging: &mut Hedging<T>) -> Option<&mut Hedging<T>> {
        Some(hedging)
    }
}

impl MayHedge for Unhedged {
    type Hedging<T> = ();

    fn none<T>() {}

    fn of<T>((): &()) -> Option<&Hedging<T>> {
        None
    }

    fn of_mut<T>((): &mut ()) -> Option<&mut Hedging<T>> {
        None
    }
}

/// What there is beside an attempt that is under way.
#[derive(Debug)]
pub(super) enum Beside<T> {
    Nothing,
    /// A hedge, at this time.
    Due(Instant),
    /// A hedge that waits for limits.
    InLine(Place<T>),
    /// Another attempt.
    Running(Run<T>),
}

/// What goes on beside an attempt that is under way; beside anything else, nothing does.
///
/// It is not a part of that stage, since stages are moved about, and nearly no call is hedged.
#[derive(Debug)]
pub struct Hedging<T> {
    pub(super) beside: Beside<T>,
    /// How many were sent beside the attempt under way.
    pub(super) sent: u32,
    pub(super) pushback: Pushback,
}

impl<T> Hedging<T> {
    pub(super) const NONE: Self = Self { beside: Beside::Nothing, sent: 0, pushback: Pushback::NONE };

    /// Whether it is time for a hedge.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(&self.beside, Beside::Due(at) if now >= *at)
    }

    /// The attempt beside, if it has this number.
    pub(super) const fn run(&self, number: u32) -> Option<&Run<T>> {
        match &self.beside {
            Beside::Running(run) if run.attempt.number == number => Some(run),
            Beside::Running(_) | Beside::Nothing | Beside::Due(_) | Beside::InLine(_) => None,
        }
    }

    /// Whether the attempt beside has this number.
    pub(super) const fn runs(&self, number: u32) -> bool {
        self.run(number).is_some()
    }

    /// Takes out the attempt beside, if one is under way.
    pub(super) fn take_run(&mut self) -> Option<Run<T>> {
        match &self.beside {
            Beside::Running(_) => match mem::replace(&mut self.beside, Beside::Nothing) {
                Beside::Running(run) => Some(run),
                Beside::Nothing | Beside::Due(_) | Beside::InLine(_) => None,
            },
            Beside::Nothing | Beside::Due(_) | Beside::InLine(_) => None,
        }
    }
}

/// What the server has said about another attempt, in answer to one that has ended while another still runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pushback {
    pub(super) held_until: Instant,
    pub(super) is_final: bool,
}

impl Pushback {
    pub(super) const NONE: Self = Self { held_until: Instant::EPOCH, is_final: false };

    /// The last outcome, with what was said before.
    pub(super) fn added_to(self, now: Instant, outcome: Outcome) -> Outcome {
        let hint = cmp::max(self.held_until - now, outcome.retry_after().unwrap_or_default());
        match (self.is_final || outcome.forbids_retry(), hint.is_zero()) {
            (true, _) => outcome.without_retry(),
            (false, true) => outcome,
            (false, false) => outcome.with_retry_after(hint),
        }
    }
}

impl<T, H: MayHedge> Call<T, H> {
    /// Sees to it that the next hedge goes beside an attempt that started then, if one does.
    pub(super) fn plan_hedge<L>(&mut self, started: Instant, pipeline: &Pipeline<L>) {
        let may_hedge = self.attempts() < self.max_attempts(pipeline);
        let idempotency = self.options().idempotency();
        if let (Some(hedging), Some(hedge), true) = (H::of_mut(&mut self.hedging), &pipeline.hedge, may_hedge) {
            if let Some(at) = hedge.next_at(started, hedging.sent, idempotency) {
                hedging.beside = Beside::Due(at);
            }
        }
    }

    /// Learns how long an attempt took, if it was answered.
    pub(super) fn learn_from<L>(&self, run: &Run<T>, now: Instant, outcome: &Outcome, pipeline: &mut Pipeline<L>) {
        if let (Some(_), OutcomeKind::Success | OutcomeKind::Permanent, Some(hedge)) =
            (H::of(&self.hedging), outcome.kind(), &mut pipeline.hedge)
        {
            hedge.record(now - run.started);
        }
    }

    /// Learns from the attempt that was slower, if there were two.
    pub(super) fn learn_from_loser<L>(&self, now: Instant, pipeline: &mut Pipeline<L>) {
        if let (Some(_), Stage::Running(loser), Some(hedge)) = (H::of(&self.hedging), &self.stage, &mut pipeline.hedge)
        {
            hedge.record_loser(now - loser.started);
        }
    }

    /// Whether there is another attempt that goes on where one has failed: unless it could only fail in the same way.
    pub(super) fn other_goes_on<L>(&mut self, failed: Outcome, held_until: Instant, pipeline: &Pipeline<L>) -> bool {
        let (Some(hedging), Stage::Running(run)) = (H::of_mut(&mut self.hedging), &self.stage) else {
            return false;
        };
        if failed.kind() == OutcomeKind::Permanent {
            return false;
        }
        let (started, before) = (run.started, hedging.pushback);
        hedging.pushback = Pushback {
            held_until: cmp::max(before.held_until, held_until),
            is_final: before.is_final || failed.forbids_retry(),
        };
        if hedging.pushback == Pushback::NONE && failed.kind() != OutcomeKind::Throttled {
            self.plan_hedge(started, pipeline);
        }
        true
    }

    /// What to do while an attempt is under way: wait, or start another beside it.
    pub(super) fn watch_over<L>(
        &mut self,
        now: Instant,
        entropy: u64,
        run: Attempt,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) -> Step
    where
        L: Limiter<Ticket = T>,
    {
        let wait = |until| Step::Wait(cmp::min(until, run.until));
        let Some(hedging) = H::of_mut(&mut self.hedging) else {
            return Step::Wait(run.until);
        };
        match &hedging.beside {
            Beside::Nothing => return Step::Wait(run.until),
            Beside::Due(at) if now < *at => return wait(*at),
            Beside::Running(other) => return wait(other.attempt.until),
            Beside::Due(_) | Beside::InLine(_) => {}
        }
        let progress = match mem::replace(&mut hedging.beside, Beside::Nothing) {
            Beside::InLine(place) => self.stand_in_line(now, place, pipeline, events),
            // It is due: the others were answered above.
            Beside::Due(_) | Beside::Nothing | Beside::Running(_) => {
                match pipeline.budget.withdraw(now, entropy, Cause::Hedge) {
                    Ok(charge) => self.join_line(now, charge, pipeline, events),
                    Err(exhausted) => Progress::Refused(Rejected::BudgetSpent { retry_at: exhausted.retry_at }),
                }
            }
        };
        match (progress, H::of_mut(&mut self.hedging)) {
            (Progress::Waits { place, until }, Some(hedging)) => {
                hedging.beside = Beside::InLine(place);
                wait(until)
            }
            (Progress::Starts(hedge), Some(hedging)) => {
                let attempt = hedge.attempt;
                events.push(Event::Hedged { attempt: attempt.number, beside: run.number });
                hedging.beside = Beside::Running(hedge);
                hedging.sent = hedging.sent.saturating_add(1);
                Step::Start(attempt)
            }
            // The call does not need it.
            (Progress::Refused(rejected), _) => {
                events.push(Event::HedgeRefused(rejected));
                Step::Wait(run.until)
            }
            // Answered above.
            (Progress::Waits { .. } | Progress::Starts(_), None) => Step::Wait(run.until),
        }
    }

    /// Cancels what goes on beside the attempt.
    pub(super) fn cancel_hedge<L>(&mut self, now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events)
    where
        L: Limiter<Ticket = T>,
    {
        let Some(hedging) = H::of_mut(&mut self.hedging) else {
            return;
        };
        if let Beside::Nothing = hedging.beside {
            return; // As nearly always, and moving it about would take longer than all of this.
        }
        match mem::replace(&mut hedging.beside, Beside::Nothing) {
            Beside::Nothing | Beside::Due(_) => {}
            Beside::InLine(place) => place.leave(now, pipeline),
            Beside::Running(run) => run.cancel(now, pipeline, events),
        }
    }
}
