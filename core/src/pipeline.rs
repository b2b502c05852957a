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
//! let Step::Start(attempt) = call.poll(now, &mut pipeline, &mut events) else { panic!("nothing is in its way") };
//! assert_eq!((attempt.number, attempt.until), (1, now + Duration::from_secs(10)));
//!
//! // The driver makes the attempt and tells how it ended. Here it fails, and the call wants to wait before the next.
//! call.finish(now, entropy, Outcome::transient(), &mut pipeline, &mut events);
//! # let entropy = u64::MAX;
//! assert!(matches!(call.poll(now, &mut pipeline, &mut events), Step::Wait(_) | Step::Start(_)));
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # The order, outermost first, and why
//!
//! ```text
//! deadline ─▶ retry ─▶ circuit breaker ─▶ rate limit ─▶ attempt timeout ─▶ the operation
//! ```
//!
//! - The **deadline** bounds everything within it: no wait and no retry is begun that would end after it.
//! - **Retry** is outside of breaker and limit, so that both see every *attempt*: retries are limited too, and an outage
//!   trips the breaker however few calls there are.
//! - The **circuit breaker** comes before the rate limit: a refused attempt costs no tokens. It is asked again when the
//!   attempt's turn has come, since a wait in line may outlast its opinion; if it refuses then, the tokens go back.
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
use crate::rate_limit::{RateLimiter, TokenBucket};
use crate::retry::Retry;
use crate::settings::{InvalidSetting, Value, positive};
use crate::time::Instant;

mod call;
#[cfg(test)]
mod tests;

pub use call::{Attempt, Call, CallOptions, Step};

/// The policies that calls to one dependency share. See the [module](self) for their order and defaults.
#[derive(Debug)]
pub struct Pipeline<L = TokenBucket> {
    deadline: Option<Duration>,
    attempt_timeout: Option<Duration>,
    retry: Retry,
    circuit_breaker: Option<CircuitBreaker>,
    rate_limit: Option<L>,
}

impl Pipeline {
    /// A pipeline with the defaults of the [module](self), to be changed.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder {
            deadline: Some(Duration::from_secs(30)),
            attempt_timeout: Some(Duration::from_secs(10)),
            retry: Retry::default(),
            circuit_breaker: Some(CircuitBreaker::default()),
            rate_limit: None,
        }
    }
}

/// The defaults of the [module](self).
impl Default for Pipeline {
    fn default() -> Self {
        let PipelineBuilder { deadline, attempt_timeout, retry, circuit_breaker, rate_limit } = Self::builder();
        Self { deadline, attempt_timeout, retry, circuit_breaker, rate_limit }
    }
}

impl<L> Pipeline<L> {
    /// The rate limit, if there is one.
    pub fn rate_limit_mut(&mut self) -> Option<&mut L> {
        self.rate_limit.as_mut()
    }

    /// The circuit breaker, if there is one.
    pub fn circuit_breaker_mut(&mut self) -> Option<&mut CircuitBreaker> {
        self.circuit_breaker.as_mut()
    }

    /// The same pipeline with another kind of rate limit: how an adapter puts a line of waiters before the bucket.
    pub fn map_rate_limit<M>(self, map: impl FnOnce(L) -> M) -> Pipeline<M> {
        let Self { deadline, attempt_timeout, retry, circuit_breaker, rate_limit } = self;
        Pipeline { deadline, attempt_timeout, retry, circuit_breaker, rate_limit: rate_limit.map(map) }
    }
}

impl<L: RateLimiter> Pipeline<L> {
    /// A call that starts now. Its deadline counts from here.
    pub fn call(&self, now: Instant, options: CallOptions) -> Call<L::Ticket> {
        let deadline = self.deadline.map_or(Instant::MAX, |deadline| now + deadline);
        Call::new(options, deadline)
    }
}

/// Settings of a [`Pipeline`]; ranges and defaults are in the [module](self).
#[derive(Debug)]
#[must_use = "call `build`"]
pub struct PipelineBuilder<L = TokenBucket> {
    deadline: Option<Duration>,
    attempt_timeout: Option<Duration>,
    retry: Retry,
    circuit_breaker: Option<CircuitBreaker>,
    rate_limit: Option<L>,
}

impl<L> PipelineBuilder<L> {
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

    /// The breaker that watches over the dependency.
    pub fn circuit_breaker(self, breaker: CircuitBreaker) -> Self {
        Self { circuit_breaker: Some(breaker), ..self }
    }

    /// No breaker: every attempt is made, also against a dependency that is down.
    pub fn without_circuit_breaker(self) -> Self {
        Self { circuit_breaker: None, ..self }
    }

    /// The limit that every attempt waits for.
    pub fn rate_limit<M: RateLimiter>(self, limit: M) -> PipelineBuilder<M> {
        let Self { deadline, attempt_timeout, retry, circuit_breaker, rate_limit: _ } = self;
        PipelineBuilder { deadline, attempt_timeout, retry, circuit_breaker, rate_limit: Some(limit) }
    }

    /// The pipeline.
    ///
    /// # Errors
    /// If a time is zero, or two settings contradict each other; the error names both.
    pub fn build(self) -> Result<Pipeline<L>, InvalidSetting> {
        let Self { deadline, attempt_timeout, retry, circuit_breaker, rate_limit } = self;
        if let Some(deadline) = deadline {
            positive("deadline", deadline)?;
        }
        if let Some(timeout) = attempt_timeout {
            positive("attempt_timeout", timeout)?;
        }
        at_most(("attempt_timeout", attempt_timeout), ("deadline", deadline))?;
        let probe_lease = circuit_breaker.as_ref().map(CircuitBreaker::probe_lease);
        // A probe that is still allowed to run would count as lost, and its answer would be ignored.
        let longest_attempt = match attempt_timeout {
            Some(timeout) => ("attempt_timeout", Some(timeout)),
            None => ("deadline", deadline),
        };
        at_most(longest_attempt, ("probe_lease", probe_lease))?;
        Ok(Pipeline { deadline, attempt_timeout, retry, circuit_breaker, rate_limit })
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
