//! A second attempt beside the first, from when it is due to its end.

use core::cmp;
use core::mem;

use super::attempt::{Place, Progress, Run};
use super::{Attempt, Call, Pipeline, Step};
use crate::event::{Event, Events};
use crate::limits::Limiter;
use crate::outcome::Outcome;
use crate::rejected::Rejected;
use crate::retry::budget::Cause;
use crate::time::Instant;

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
pub(super) struct Hedging<T> {
    pub(super) beside: Beside<T>,
    /// How many were sent beside the attempt under way.
    pub(super) sent: u32,
    pub(super) pushback: Pushback,
}

impl<T> Hedging<T> {
    pub(super) const NONE: Self = Self { beside: Beside::Nothing, sent: 0, pushback: Pushback::NONE };

    /// Whether the attempt beside has this number.
    pub(super) fn runs(&self, number: u32) -> bool {
        matches!(&self.beside, Beside::Running(run) if run.attempt.number == number)
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

impl<T> Call<T> {
    /// When the next hedge goes beside an attempt that started then, if one does.
    pub(super) fn next_hedge<L>(&self, started: Instant, sent: u32, pipeline: &Pipeline<L>) -> Beside<T> {
        let may_hedge = self.options().hedging() && self.attempts() < self.max_attempts(pipeline);
        let hedge = pipeline.hedge.as_ref().filter(|_| may_hedge);
        let at = hedge.and_then(|hedge| hedge.next_at(started, sent, self.options().idempotency()));
        at.map_or(Beside::Nothing, Beside::Due)
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
        match &self.hedging.beside {
            Beside::Nothing => return Step::Wait(run.until),
            Beside::Due(at) if now < *at => return wait(*at),
            Beside::Running(other) => return wait(other.attempt.until),
            Beside::Due(_) | Beside::InLine(_) => {}
        }
        let progress = match mem::replace(&mut self.hedging.beside, Beside::Nothing) {
            Beside::InLine(place) => self.stand_in_line(now, place, pipeline, events),
            // It is due: the others were answered above.
            Beside::Due(_) | Beside::Nothing | Beside::Running(_) => {
                match pipeline.budget.withdraw(now, entropy, Cause::Hedge) {
                    Ok(charge) => self.join_line(now, charge, pipeline, events),
                    Err(exhausted) => Progress::Refused(Rejected::BudgetSpent { retry_at: exhausted.retry_at }),
                }
            }
        };
        match progress {
            Progress::Waits { place, until } => {
                self.hedging.beside = Beside::InLine(place);
                wait(until)
            }
            Progress::Starts(hedge) => {
                let attempt = hedge.attempt;
                events.push(Event::Hedged { attempt: attempt.number, beside: run.number });
                self.hedging.beside = Beside::Running(hedge);
                self.hedging.sent = self.hedging.sent.saturating_add(1);
                Step::Start(attempt)
            }
            // The call does not need it.
            Progress::Refused(rejected) => {
                events.push(Event::HedgeRefused(rejected));
                Step::Wait(run.until)
            }
        }
    }

    /// Cancels what goes on beside the attempt.
    pub(super) fn cancel_hedge<L>(&mut self, now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events)
    where
        L: Limiter<Ticket = T>,
    {
        if let Beside::Nothing = self.hedging.beside {
            return; // As nearly always, and moving it about would take longer than all of this.
        }
        match mem::replace(&mut self.hedging.beside, Beside::Nothing) {
            Beside::Nothing | Beside::Due(_) => {}
            Beside::InLine(place) => place.leave(now, pipeline),
            Beside::Running(run) => run.cancel(now, pipeline, events),
        }
    }
}
