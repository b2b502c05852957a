//! One attempt, from the line to its end.

use core::cmp;

use super::{Attempt, Call, MayHedge, Pipeline};
use crate::circuit_breaker::{self, CircuitBreaker};
use crate::concurrency;
use crate::event::{Event, Events};
use crate::limits::{Admission, Limiter, Refusal, Told};
use crate::outcome::{Outcome, OutcomeKind};
use crate::rate_limit;
use crate::rejected::Rejected;
use crate::retry::budget::Charge;
use crate::time::Instant;

/// What an attempt holds that waits for limits.
#[derive(Debug)]
pub(super) struct Place<T> {
    pub(super) ticket: T,
    pub(super) charge: Charge,
}

/// What an attempt holds that is under way.
#[derive(Debug)]
pub(super) struct Run<T> {
    pub(super) attempt: Attempt,
    pub(super) started: Instant,
    permit: Option<circuit_breaker::Permit>,
    ticket: T,
    charge: Charge,
}

/// How far an attempt has got.
#[derive(Debug)]
pub(super) enum Progress<T> {
    Waits {
        place: Place<T>,
        until: Instant,
    },
    Starts(Run<T>),
    /// It is not made, and holds nothing any more.
    Refused(Rejected),
}

impl<T> Place<T> {
    /// Gives back what an attempt holds that is not made.
    pub(super) fn leave<L: Limiter<Ticket = T>>(self, now: Instant, pipeline: &mut Pipeline<L>) {
        pipeline.limits.leave(now, self.ticket);
        pipeline.budget.refund(now, self.charge);
    }
}

impl<T> Run<T> {
    /// Tells the limits what its response said of the server's, and returns until when that holds everybody back now.
    pub(super) fn tell<L: Limiter<Ticket = T>>(
        &self,
        now: Instant,
        told: &Told,
        pipeline: &mut Pipeline<L>,
    ) -> Option<Instant> {
        pipeline.limits.tell(now, &self.ticket, told)
    }

    /// Tells every policy how the attempt ended. Returns until when the server wants to be left alone, and the ticket, whose
    /// tokens are spent.
    pub(super) fn conclude<L: Limiter<Ticket = T>>(
        mut self,
        now: Instant,
        entropy: u64,
        outcome: &Outcome,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) -> (Instant, T) {
        let kind = outcome.kind();
        if let (Some(permit), Some(breaker)) = (self.permit, &mut pipeline.circuit_breaker) {
            report(breaker.record(now, entropy, permit, kind), Some(kind), events);
        }
        pipeline.budget.record(now, self.charge, kind);
        let learned = pipeline.limits.end(now, &mut self.ticket, kind);
        if let concurrency::Recorded::Changed { from, to } = learned.concurrency {
            events.push(Event::ConcurrencyLimitChanged { from, to });
        }
        if let Some(change) = learned.pace {
            events.push(Event::AdaptiveRateChanged(change));
        }
        let held_until = match (outcome.retry_after(), kind) {
            (Some(delay), OutcomeKind::Transient | OutcomeKind::Throttled) => {
                let until = now + delay;
                pipeline.limits.block_until(until);
                events.push(Event::RateLimitBlocked { until });
                until
            }
            _ => Instant::EPOCH,
        };
        (held_until, self.ticket)
    }

    /// Gives back what an attempt holds that is cancelled. Its tokens stay spent: the server may have seen it.
    pub(super) fn cancel<L: Limiter<Ticket = T>>(self, now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events) {
        if let (Some(permit), Some(breaker)) = (self.permit, &mut pipeline.circuit_breaker) {
            report(breaker.abandon(now, permit), None, events);
        }
        pipeline.budget.abandon(now, self.charge);
        pipeline.limits.abandon(now, self.ticket);
        events.push(Event::AttemptCancelled { attempt: self.attempt.number });
    }
}

impl<T, H: MayHedge> Call<T, H> {
    /// The first step of an attempt: it fails fast, or joins the line, or starts where there is none.
    pub(super) fn join_line<L: Limiter<Ticket = T>>(
        &mut self,
        now: Instant,
        charge: Charge,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) -> Progress<T> {
        let options = self.options();
        let joined = if now >= self.deadline() {
            Err(Rejected::DeadlineExceeded { deadline: self.deadline() })
        } else if let Some(Err(refusal)) = pipeline.circuit_breaker.as_mut().map(|breaker| breaker.pre_admit(now)) {
            Err(refused_by_breaker(refusal))
        } else {
            let (weight, priority) = (options.weight().get(), options.priority());
            let joined = pipeline.limits.join(now, weight, priority, self.deadline());
            joined.map_err(|refusal| self.refused_by_limits(refusal))
        };
        let ticket = match joined {
            Ok(ticket) => ticket,
            Err(rejected) => {
                pipeline.budget.refund(now, charge);
                return Progress::Refused(rejected);
            }
        };
        let progress = self.stand_in_line(now, Place { ticket, charge }, pipeline, events);
        if let Progress::Waits { until, .. } = progress {
            events.push(Event::WaitingForLimits { until });
        }
        progress
    }

    /// Every further step of an attempt until it starts.
    pub(super) fn stand_in_line<L: Limiter<Ticket = T>>(
        &mut self,
        now: Instant,
        mut place: Place<T>,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) -> Progress<T> {
        let deadline = self.deadline();
        let rejected = match pipeline.limits.poll(now, &mut place.ticket) {
            Admission::WaitForSlot(_) if now >= deadline => Rejected::NoSlot { deadline },
            _ if now >= deadline => Rejected::DeadlineExceeded { deadline },
            // Nobody knows for how long, so there is nothing to wait for.
            Admission::Wait(_) | Admission::WaitForSlot(_) if pipeline.is_forced_open() => Rejected::CircuitForcedOpen,
            Admission::Wait(until) if until < deadline => return Progress::Waits { place, until },
            Admission::Wait(retry_at) => Rejected::RateLimited { retry_at, deadline },
            Admission::WaitForSlot(at_latest) => {
                return Progress::Waits { place, until: cmp::min(at_latest, deadline) };
            }
            Admission::Refused(refusal) => self.refused_by_limits(refusal),
            Admission::Granted => match admit(now, pipeline, events) {
                Ok(permit) => return Progress::Starts(self.start(now, permit, place, pipeline, events)),
                Err(rejected) => rejected,
            },
        };
        place.leave(now, pipeline);
        Progress::Refused(rejected)
    }

    fn start<L>(
        &mut self,
        now: Instant,
        permit: Option<circuit_breaker::Permit>,
        place: Place<T>,
        pipeline: &Pipeline<L>,
        events: &mut Events,
    ) -> Run<T> {
        let number = self.count_attempt();
        let timeout = self.options().attempt_timeout().or(pipeline.attempt_timeout);
        let until = cmp::min(timeout.map_or(Instant::MAX, |timeout| now + timeout), self.deadline());
        events.push(Event::AttemptStarted { attempt: number, until });
        let Place { ticket, charge } = place;
        Run { attempt: Attempt { number, until }, started: now, permit, ticket, charge }
    }

    const fn refused_by_limits(&self, refusal: Refusal) -> Rejected {
        use rate_limit::Refusal::{LineFull, Never, NotYet, TableFull};
        match refusal {
            Refusal::RateLimit(NotYet { retry_at } | TableFull { retry_at }) => {
                Rejected::RateLimited { retry_at, deadline: self.deadline() }
            }
            Refusal::RateLimit(Never { tokens, burst }) => Rejected::TooHeavy { tokens, burst },
            Refusal::RateLimit(LineFull { waiting }) => Rejected::LineFull { waiting },
            Refusal::ConcurrencyLimit(refusal) => {
                let concurrency::Refusal { in_flight, limit, at_latest } = refusal;
                Rejected::TooManyInFlight { in_flight, limit, retry_at: at_latest }
            }
        }
    }
}

/// Asks the breaker, if there is one, for leave to start now.
fn admit<L>(
    now: Instant,
    pipeline: &mut Pipeline<L>,
    events: &mut Events,
) -> Result<Option<circuit_breaker::Permit>, Rejected> {
    let Some(breaker) = pipeline.circuit_breaker.as_mut() else {
        return Ok(None);
    };
    let from = breaker.state();
    let permit = breaker.try_admit(now).map_err(refused_by_breaker)?;
    report(changed(from, breaker), None, events);
    if let Some(refusal) = permit.would_refuse() {
        events.push(Event::CircuitBreakerWouldRefuse(refusal));
    }
    Ok(Some(permit))
}

fn changed(from: circuit_breaker::State, breaker: &CircuitBreaker) -> circuit_breaker::Recorded {
    let to = breaker.state();
    if from == to { circuit_breaker::Recorded::Noted } else { circuit_breaker::Recorded::Changed { from, to } }
}

/// Reports what the breaker made of a result; of an attempt that was dropped, there is no outcome.
fn report(recorded: circuit_breaker::Recorded, outcome: Option<OutcomeKind>, events: &mut Events) {
    use circuit_breaker::Recorded::{Changed, Late, Noted, Unjudged};
    match recorded {
        Noted | Unjudged => {}
        Changed { from, to } => events.push(Event::CircuitBreakerChanged { from, to }),
        Late => events.push(Event::LateResult { outcome }),
    }
}

const fn refused_by_breaker(refusal: circuit_breaker::Refusal) -> Rejected {
    match refusal {
        circuit_breaker::Refusal::NotYet { retry_at, reason } => Rejected::CircuitOpen { retry_at, reason },
        circuit_breaker::Refusal::ForcedOpen => Rejected::CircuitForcedOpen,
    }
}
