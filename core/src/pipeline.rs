//! The whole call: every policy in its order, as one state machine.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::event::Events;
//! use steadfast_core::outcome::Outcome;
//! use steadfast_core::pipeline::{CallOptions, Pipeline, Step};
//! use steadfast_core::rate_limit::{Quota, TokenBucket};
//! use steadfast_core::time::Instant;
//!
//! let mut pipeline = Pipeline::builder()
//!     .deadline(Duration::from_secs(20))
//!     .rate_limit(TokenBucket::new(Quota::per_second(100)?))
//!     .build()?;
//!
//! let (now, entropy, mut events) = (Instant::EPOCH, 0, Events::new());
//! let mut call = pipeline.call(now, CallOptions::idempotent());
//! let Step::Start(attempt) = call.poll(now, entropy, &mut pipeline, &mut events) else { panic!("nothing is in its way") };
//! assert_eq!((attempt.number, attempt.until), (1, now + Duration::from_secs(10)));
//!
//! // The driver makes the attempt and tells how it ended. Here it fails, and the call wants to wait before the next.
//! call.finish(now, entropy, attempt.number, Outcome::transient(), &mut pipeline, &mut events);
//! # let entropy = u64::MAX;
//! assert!(matches!(call.poll(now, entropy, &mut pipeline, &mut events), Step::Wait(_) | Step::Start(_)));
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # The order, outermost first, and why
//!
//! ```text
//! deadline ─▶ retry ─▶ circuit breaker ─▶ rate limit and concurrency limit ─▶ attempt timeout ─▶ the operation
//! ```
//!
//! - The **deadline** bounds everything within it: no wait and no retry is begun that would end after it.
//! - **Retry** is outside of breaker and limit, so that both see every *attempt*: retries are limited too, and an outage
//!   trips the breaker however few calls there are.
//! - The **circuit breaker** comes before the rate limit: a refused attempt costs no tokens. It is asked again when the
//!   attempt's turn has come, since a wait in line may outlast its opinion; if it refuses then, the tokens go back.
//! - The **concurrency limit** is granted together with the rate limit, or neither is: see [`limits`](crate::limits).
//!   The slot comes back when the attempt ends, so no wait between attempts keeps one.
//! - The **attempt timeout** is innermost: waiting in line does not count against it.
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `deadline` | 30 s | more than zero, or [`without_deadline`](PipelineBuilder::without_deadline) | longer than people wait for an answer |
//! | `attempt_timeout` | 10 s | more than zero, at most `deadline` | leaves time for two more attempts |
//! | `retry` | [the default](crate::retry) | | |
//! | `circuit_breaker` | [the default](crate::circuit_breaker) | `probe_lease` at least `attempt_timeout` | |
//! | `rate_limit` | none | | nobody but you knows the server's |
//! | `adaptive_rate` | none | | it has to run into the server's limit to find it |
//! | `concurrency_limit` | none | `lease` at least `attempt_timeout` | |
//!
//! # One call
//!
//! ```text
//!            poll                      poll: granted, admitted               finish: success
//! ┌────────┐ joined ┌────────┐         ┌─────────┐ ───────────────────────────────────────▶ ┌───────┐
//! │ Asking │ ─────▶ │ InLine │ ──────▶ │ Running │ ─────────────────────────────────────────│ Ended │
//! └────────┘        └────────┘         └─────────┘ finish: failure, and retry says stop     └───────┘
//!      ▲                                    │                                                   ▲
//!      │ poll: time has come  ┌────────────┐│ finish: failure, and retry says when              │
//!      └───────────────────── │ BackingOff │◀                                                   │
//!                             └────────────┘      any refusal, a deadline that passes, abandon ─┘
//! ```
//!
//! [`run`](crate::run) drives a call over a [`Timer`](crate::time::Timer); a blocking loop or a simulator drives the
//! same one.

use core::time::Duration;

use crate::circuit_breaker::CircuitBreaker;
use crate::concurrency::ConcurrencyLimit;
use crate::hedge::Hedge;
use crate::limits::{Counts, Limiter, Limits};
use crate::rate_limit::{AdaptiveRate, RateLimits, TokenBucket};
use crate::retry::Retry;
use crate::retry::budget::Budget;
use crate::settings::{InvalidSetting, Value, positive};
use crate::time::Instant;

mod attempt;
mod call;
mod options;
mod presets;
#[cfg(test)]
mod tests;

pub use call::{Attempt, Call, Step};
pub use options::CallOptions;

/// The policies that calls to one dependency share. See the [module](self) for their order and defaults.
#[derive(Debug)]
pub struct Pipeline<L = Limits> {
    deadline: Option<Duration>,
    attempt_timeout: Option<Duration>,
    retry: Retry,
    budget: Budget,
    hedge: Option<Hedge>,
    circuit_breaker: Option<CircuitBreaker>,
    limits: L,
}

impl<L> Pipeline<L> {
    /// The limits that every attempt waits for.
    pub const fn limits(&self) -> &L {
        &self.limits
    }

    /// The limits that every attempt waits for, to change one.
    pub const fn limits_mut(&mut self) -> &mut L {
        &mut self.limits
    }

    /// The circuit breaker, if there is one.
    pub const fn circuit_breaker_mut(&mut self) -> Option<&mut CircuitBreaker> {
        self.circuit_breaker.as_mut()
    }

    /// By when a call has to end that starts now.
    fn deadline_of(&self, now: Instant, options: &CallOptions) -> Instant {
        options.deadline().or(self.deadline).map_or(Instant::MAX, |deadline| now + deadline)
    }

    /// The same pipeline with other limits: how an adapter puts a line of waiters before them.
    pub fn map_limits<M: Limiter>(self, map: impl FnOnce(L) -> M) -> Pipeline<M> {
        let Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits } = self;
        Pipeline { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits: map(limits) }
    }
}

impl<L: Limiter> Pipeline<L> {
    /// A call that starts now. Its deadline counts from here.
    pub fn call(&self, now: Instant, options: CallOptions) -> Call<L::Ticket> {
        Call::new(options, self.deadline_of(now, &options))
    }
}

/// Settings of a [`Pipeline`]; ranges and defaults are in the [module](self).
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct PipelineBuilder<const K: usize = 1> {
    deadline: Option<Duration>,
    attempt_timeout: Option<Duration>,
    retry: Retry,
    budget: Budget,
    hedge: Option<Hedge>,
    circuit_breaker: Option<CircuitBreaker>,
    limits: Limits<K>,
}

impl<const K: usize> PipelineBuilder<K> {
    /// By when a call has to end, from its start, with all its waits and retries.
    pub fn deadline(self, time: Duration) -> Self {
        Self { deadline: Some(time), ..self }
    }

    /// Lets a call take as long as it takes. Retries end it at some time; a rate limit or a hanging attempt may not.
    pub fn without_deadline(self) -> Self {
        Self { deadline: None, ..self }
    }

    /// How long one attempt may take before it is cancelled.
    pub fn attempt_timeout(self, time: Duration) -> Self {
        Self { attempt_timeout: Some(time), ..self }
    }

    /// Lets an attempt take whatever remains until the deadline.
    pub fn without_attempt_timeout(self) -> Self {
        Self { attempt_timeout: None, ..self }
    }

    /// Whether and when failed attempts are repeated.
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// How much may be repeated by all calls together, retries and hedges.
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// When to send another attempt beside one that takes long, in calls whose driver can run two at once.
    pub fn hedge(self, hedge: Hedge) -> Self {
        Self { hedge: Some(hedge), ..self }
    }

    /// The breaker that watches over the dependency.
    pub fn circuit_breaker(self, breaker: CircuitBreaker) -> Self {
        Self { circuit_breaker: Some(breaker), ..self }
    }

    /// No breaker: every attempt is made, also against a dependency that is down.
    pub fn without_circuit_breaker(self) -> Self {
        Self { circuit_breaker: None, ..self }
    }

    /// The rate limit that every attempt waits for. It counts what [`CallOptions`] say that a call weighs.
    pub fn rate_limit(self, limit: TokenBucket) -> PipelineBuilder {
        self.rate_limits(RateLimits::of([limit]), [Counts::Weight])
    }

    /// Several rate limits, all of which every attempt waits for: requests and LLM tokens, per second and per day. Each
    /// counts calls, or what [`CallOptions`] say that a call weighs.
    pub fn rate_limits<const N: usize>(self, limits: RateLimits<N>, counts: [Counts; N]) -> PipelineBuilder<N> {
        let Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits: others } = self;
        let limits = others.with_rate_limits(limits, counts);
        PipelineBuilder { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits }
    }

    /// A rate that follows what the server bears, beside the rate limits or instead of them.
    pub fn adaptive_rate(self, rate: AdaptiveRate) -> Self {
        Self { limits: self.limits.with_adaptive_rate(rate), ..self }
    }

    /// How many attempts may be under way at once.
    pub fn concurrency_limit(self, limit: ConcurrencyLimit) -> Self {
        Self { limits: self.limits.with_concurrency_limit(limit), ..self }
    }

    /// The pipeline.
    ///
    /// # Errors
    /// If a time is zero, or two settings contradict each other; the error names both.
    pub fn build(self) -> Result<Pipeline<Limits<K>>, InvalidSetting> {
        let Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits } = self;
        if let Some(deadline) = deadline {
            positive("deadline", deadline)?;
        }
        if let Some(timeout) = attempt_timeout {
            positive("attempt_timeout", timeout)?;
        }
        at_most(("attempt_timeout", attempt_timeout), ("deadline", deadline))?;
        let longest_attempt = match attempt_timeout {
            Some(timeout) => ("attempt_timeout", Some(timeout)),
            None => ("deadline", deadline),
        };
        // A probe that is still allowed to run would count as lost, and its answer would be ignored.
        let probe_lease = circuit_breaker.as_ref().map(CircuitBreaker::probe_lease);
        at_most(longest_attempt, ("probe_lease", probe_lease))?;
        // An attempt that is still allowed to run would have lost its slot to another.
        let slot_lease = limits.concurrency_limit().map(ConcurrencyLimit::lease);
        at_most(longest_attempt, ("concurrency_limit.lease", slot_lease))?;
        Ok(Pipeline { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits })
    }
}

/// Refuses a time that is longer than another, where both are set.
fn at_most(
    (setting, value): (&'static str, Option<Duration>),
    (other, other_value): (&'static str, Option<Duration>),
) -> Result<(), InvalidSetting> {
    match (value, other_value) {
        (Some(value), Some(other_value)) if value > other_value => Err(InvalidSetting::Contradiction {
            setting,
            value: Value::Time(value),
            must_be: "at most as long as",
            other,
            other_value: Value::Time(other_value),
        }),
        _ => Ok(()),
    }
}
