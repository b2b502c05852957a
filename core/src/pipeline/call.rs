use core::cmp;
use core::mem;
use core::num::NonZeroU32;
use core::task::Waker;
use core::time::Duration;

use super::Pipeline;
use crate::circuit_breaker::{self, Permit, Recorded};
use crate::event::{Event, Events};
use crate::outcome::{Idempotency, Outcome, OutcomeKind};
use crate::rate_limit::{Admission, RateLimiter, Refusal};
use crate::rejected::Rejected;
use crate::retry::budget::Budget;
use crate::retry::{Failure, Verdict};
use crate::time::Instant;

/// What is said about one call, beside its pipeline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallOptions {
    idempotency: Idempotency,
    weight: NonZeroU32,
}

impl CallOptions {
    /// A call that may be repeated whatever happened to the attempt before. It weighs one token.
    pub const fn idempotent() -> Self {
        Self::new(Idempotency::Idempotent)
    }

    /// A call that is repeated only if the attempt before was provably not acted on. It weighs one token.
    pub const fn not_idempotent() -> Self {
        Self::new(Idempotency::NotIdempotent)
    }

    /// A call of the given kind. It weighs one token.
    pub const fn new(idempotency: Idempotency) -> Self {
        Self { idempotency, weight: NonZeroU32::MIN }
    }

    /// The same call, with so many tokens for each attempt.
    pub const fn with_weight(self, tokens: NonZeroU32) -> Self {
        Self { weight: tokens, ..self }
    }
}

/// One call on its way through a [`Pipeline`]. See the [module](super) for its states.
///
/// The driver asks [`poll`](Self::poll) what to do next, does it, and asks again. `T` is the rate limit's ticket.
///
/// A call that is given up has to be told so with [`abandon`](Self::abandon), or its place in line and its breaker's
/// permit stay taken until their times run out.
#[derive(Debug)]
#[must_use = "a call does nothing unless it is polled"]
pub struct Call<T> {
    options: CallOptions,
    deadline: Instant,
    attempts: u32,
    /// What the backoff said last.
    last_delay: Duration,
    stage: Stage<T>,
}

#[derive(Debug)]
enum Stage<T> {
    Asking,
    InLine { ticket: T },
    Running { permit: Option<Permit>, until: Instant },
    BackingOff { until: Instant },
    Ended(Result<(), Rejected>),
}

/// What the driver of a [`Call`] has to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Wait until then, and ask again. Asking earlier does no harm.
    Wait(Instant),
    /// Make an attempt, and tell how it ended with [`Call::finish`] or [`Call::time_out`].
    Start(Attempt),
    /// Nothing: the call has ended.
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

impl<T> Call<T> {
    pub(super) const fn new(options: CallOptions, deadline: Instant) -> Self {
        Self { options, deadline, attempts: 0, last_delay: Duration::ZERO, stage: Stage::Asking }
    }

    /// How many attempts were started.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// By when the call has to end; [`Instant::MAX`] if it may take as long as it takes.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What to do next.
    pub fn poll<L>(&mut self, now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events) -> Step
    where
        L: RateLimiter<Ticket = T>,
    {
        match mem::replace(&mut self.stage, Stage::Asking) {
            Stage::Asking => self.ask(now, pipeline, events),
            Stage::InLine { ticket } => self.stand_in_line(now, ticket, pipeline, events),
            Stage::BackingOff { until } if now >= until => self.ask(now, pipeline, events),
            Stage::BackingOff { until } => {
                self.stage = Stage::BackingOff { until };
                Step::Wait(until)
            }
            Stage::Running { permit, until } => {
                self.stage = Stage::Running { permit, until };
                Step::Wait(until)
            }
            Stage::Ended(result) => {
                self.stage = Stage::Ended(result);
                Step::Done(result)
            }
        }
    }

    /// Tells how the attempt that was started ended. `entropy` is a uniformly random number.
    ///
    /// Ignored unless an attempt is under way.
    pub fn finish<L>(
        &mut self,
        now: Instant,
        entropy: u64,
        outcome: Outcome,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) where
        L: RateLimiter<Ticket = T>,
    {
        if let Some(permit) = self.stop_running() {
            events.push(Event::AttemptEnded { attempt: self.attempts, outcome: outcome.kind() });
            self.conclude(now, entropy, permit, outcome, pipeline, events);
        }
    }

    /// Tells that the attempt did not end in time and was cancelled. `entropy` is a uniformly random number.
    ///
    /// It counts as transient, and as one that may have been acted on. Ignored unless an attempt is under way.
    pub fn time_out<L>(&mut self, now: Instant, entropy: u64, pipeline: &mut Pipeline<L>, events: &mut Events)
    where
        L: RateLimiter<Ticket = T>,
    {
        if let Some(permit) = self.stop_running() {
            events.push(Event::AttemptTimedOut { attempt: self.attempts });
            self.conclude(now, entropy, permit, Outcome::timed_out(), pipeline, events);
        }
    }

    /// Gives back what the call holds, because nobody will ask it again: its place in line, the tokens it was granted
    /// and has not used, the breaker's permit. Does nothing to a call that has ended.
    ///
    /// Tokens of an attempt that was started stay spent: the server may have seen it.
    pub fn abandon<L>(&mut self, now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events)
    where
        L: RateLimiter<Ticket = T>,
    {
        match mem::replace(&mut self.stage, Stage::Ended(Err(Rejected::Abandoned))) {
            Stage::Ended(result) => {
                self.stage = Stage::Ended(result);
                return;
            }
            Stage::InLine { ticket } => {
                if let Some(limit) = pipeline.rate_limit.as_mut() {
                    limit.leave(now, ticket);
                }
            }
            Stage::Running { permit, .. } => {
                if let (Some(permit), Some(breaker)) = (permit, pipeline.circuit_breaker.as_mut()) {
                    breaker.abandon(now, permit);
                }
            }
            Stage::Asking | Stage::BackingOff { .. } => {}
        }
        events.push(Event::Abandoned);
    }

    /// Asks to be woken when the last [`Step::Wait`] turns out to be too late, because somebody ahead in line left.
    pub fn watch<L>(&self, pipeline: &mut Pipeline<L>, waker: &Waker)
    where
        L: RateLimiter<Ticket = T>,
    {
        if let (Stage::InLine { ticket }, Some(limit)) = (&self.stage, pipeline.rate_limit.as_mut()) {
            limit.watch(ticket, waker);
        }
    }

    /// The first step of every attempt: fails fast, or joins the line, or starts where there is none.
    fn ask<L>(&mut self, now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events) -> Step
    where
        L: RateLimiter<Ticket = T>,
    {
        if now >= self.deadline {
            return self.reject(Rejected::DeadlineExceeded { deadline: self.deadline }, events);
        }
        if let Some(Err(refusal)) = pipeline.circuit_breaker.as_mut().map(|breaker| breaker.pre_admit(now)) {
            return self.reject(refused_by_breaker(refusal), events);
        }
        let Some(limit) = pipeline.rate_limit.as_mut() else {
            return match admit(now, pipeline, events) {
                Ok(permit) => self.start(now, permit, pipeline, events),
                Err(rejected) => self.reject(rejected, events),
            };
        };
        let ticket = match limit.join(now, self.options.weight.get(), self.deadline) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.reject(self.refused_by_limit(refusal), events),
        };
        let step = self.stand_in_line(now, ticket, pipeline, events);
        if let Step::Wait(until) = step {
            events.push(Event::WaitingForRateLimit { until });
        }
        step
    }

    fn stand_in_line<L>(&mut self, now: Instant, mut ticket: T, pipeline: &mut Pipeline<L>, events: &mut Events) -> Step
    where
        L: RateLimiter<Ticket = T>,
    {
        // A pipeline whose limit was taken away since lets everybody in line go.
        let admission = pipeline.rate_limit.as_mut().map_or(Admission::Granted, |limit| limit.poll(now, &mut ticket));
        let rejected = match admission {
            _ if now >= self.deadline => Rejected::DeadlineExceeded { deadline: self.deadline },
            Admission::Wait(until) if until < self.deadline => {
                self.stage = Stage::InLine { ticket };
                return Step::Wait(until);
            }
            Admission::Wait(retry_at) => Rejected::RateLimited { retry_at, deadline: self.deadline },
            Admission::Refused(refusal) => self.refused_by_limit(refusal),
            Admission::Granted => match admit(now, pipeline, events) {
                Ok(permit) => return self.start(now, permit, pipeline, events),
                Err(rejected) => rejected,
            },
        };
        if let Some(limit) = pipeline.rate_limit.as_mut() {
            limit.leave(now, ticket);
        }
        self.reject(rejected, events)
    }

    const fn refused_by_limit(&self, refusal: Refusal) -> Rejected {
        match refusal {
            Refusal::NotYet { retry_at } | Refusal::TableFull { retry_at } => {
                Rejected::RateLimited { retry_at, deadline: self.deadline }
            }
            Refusal::Never { tokens, burst } => Rejected::TooHeavy { tokens, burst },
            Refusal::LineFull { waiting } => Rejected::LineFull { waiting },
        }
    }

    fn start<L>(&mut self, now: Instant, permit: Option<Permit>, pipeline: &Pipeline<L>, events: &mut Events) -> Step {
        self.attempts = self.attempts.saturating_add(1);
        let timeout = pipeline.attempt_timeout.map_or(Instant::MAX, |timeout| now + timeout);
        let until = cmp::min(timeout, self.deadline);
        events.push(Event::AttemptStarted { attempt: self.attempts, until });
        self.stage = Stage::Running { permit, until };
        Step::Start(Attempt { number: self.attempts, until })
    }

    fn reject(&mut self, rejected: Rejected, events: &mut Events) -> Step {
        events.push(Event::Rejected(rejected));
        self.stage = Stage::Ended(Err(rejected));
        Step::Done(Err(rejected))
    }

    /// The breaker's permit of the attempt under way, if one is; the outer `None` if none is.
    fn stop_running(&mut self) -> Option<Option<Permit>> {
        match mem::replace(&mut self.stage, Stage::Asking) {
            Stage::Running { permit, .. } => Some(permit),
            other @ (Stage::Asking | Stage::InLine { .. } | Stage::BackingOff { .. } | Stage::Ended(_)) => {
                self.stage = other;
                None
            }
        }
    }

    /// Tells every policy how the attempt ended, and decides what follows.
    fn conclude<L>(
        &mut self,
        now: Instant,
        entropy: u64,
        permit: Option<Permit>,
        outcome: Outcome,
        pipeline: &mut Pipeline<L>,
        events: &mut Events,
    ) where
        L: RateLimiter<Ticket = T>,
    {
        if let (Some(permit), Some(breaker)) = (permit, pipeline.circuit_breaker.as_mut()) {
            match breaker.record(now, entropy, permit, outcome.kind()) {
                Recorded::Noted | Recorded::Unjudged => {}
                Recorded::Changed { from, to } => events.push(Event::CircuitBreakerChanged { from, to }),
                Recorded::Late => events.push(Event::LateResult { outcome: outcome.kind() }),
            }
        }
        if let (Some(delay), OutcomeKind::Transient | OutcomeKind::Throttled, Some(limit)) =
            (outcome.retry_after(), outcome.kind(), pipeline.rate_limit.as_mut())
        {
            let until = now + delay;
            limit.block_until(until);
            events.push(Event::RateLimitBlocked { until });
        }
        if outcome.is_success() {
            events.push(Event::Succeeded { attempts: self.attempts });
            self.stage = Stage::Ended(Ok(()));
            return;
        }
        let failure = Failure {
            attempt: self.attempts,
            outcome,
            idempotency: self.options.idempotency,
            previous_delay: self.last_delay,
            deadline: self.deadline,
        };
        match pipeline.retry.decide(now, entropy, &failure, &mut Budget::unlimited()) {
            Verdict::Retry { at, delay, .. } => {
                self.last_delay = delay;
                events.push(Event::RetryScheduled { attempt: self.attempts.saturating_add(1), at });
                self.stage = Stage::BackingOff { until: at };
            }
            Verdict::Stop(rejected) => {
                self.reject(rejected, events);
            }
        }
    }
}

/// Asks the breaker, if there is one, for leave to start now.
fn admit<L>(now: Instant, pipeline: &mut Pipeline<L>, events: &mut Events) -> Result<Option<Permit>, Rejected> {
    let Some(breaker) = pipeline.circuit_breaker.as_mut() else {
        return Ok(None);
    };
    let from = breaker.state();
    let permit = breaker.try_admit(now).map_err(refused_by_breaker)?;
    let to = breaker.state();
    if from != to {
        events.push(Event::CircuitBreakerChanged { from, to });
    }
    if let Some(refusal) = permit.would_refuse() {
        events.push(Event::CircuitBreakerWouldRefuse(refusal));
    }
    Ok(Some(permit))
}

const fn refused_by_breaker(refusal: circuit_breaker::Refusal) -> Rejected {
    match refusal {
        circuit_breaker::Refusal::NotYet { retry_at, reason } => Rejected::CircuitOpen { retry_at, reason },
        circuit_breaker::Refusal::ForcedOpen => Rejected::CircuitForcedOpen,
    }
}
