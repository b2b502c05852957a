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
//! deadline ─▶ retry and hedge ─▶ circuit breaker ─▶ rate limit and concurrency limit ─▶ attempt timeout ─▶ the operation
//! ```
//!
//! - The **deadline** bounds everything within it: no wait and no retry is begun that would end after it.
//! - **Retry** and **hedge**, paid for by one budget, are outside of breaker and limit, so that these see every *attempt*:
//!   retries are limited too, and an outage trips the breaker however few calls there are.
//! - The **circuit breaker** comes before the rate limit: a refused attempt costs no tokens. It is asked again when the
//!   attempt's turn has come, since a wait in line may outlast its opinion; if it refuses then, the tokens go back. One that
//!   somebody has forced open refuses those in line at once: nobody knows for how long.
//! - The **concurrency limit** is granted together with the rate limit, or neither is: see [`limits`](crate::limits).
//!   The slot comes back when the attempt ends, so no wait between attempts keeps one.
//! - The **attempt timeout** is innermost: waiting in line does not count against it.
//!
//! A [fallback](crate::fallback) is outside of all of them: it sees how the whole call ended.
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `deadline` | 30 s | more than zero, or [`without_deadline`](PipelineBuilder::without_deadline) | longer than people wait for an answer |
//! | `attempt_timeout` | 10 s | more than zero, at most `deadline` | leaves time for two more attempts |
//! | `retry` | [the default](crate::retry) | | |
//! | `budget` | [the default](crate::retry::budget), one for retries and hedges | | what each call may add says nothing about what all of them add |
//! | `hedge` | none | | it adds load, and needs calls that may be made twice and a driver that can run two attempts |
//! | `circuit_breaker` | [the default](crate::circuit_breaker) | | |
//! | `rate_limit`, `rate_limits` | none | | nobody but you knows the server's |
//! | `adaptive_rate` | none | | it has to run into the server's limit to find it |
//! | `concurrency_limit` | none | | how many calls a server bears at once is its own secret too, and most have a rate limit |
//!
//! # Contradictions
//!
//! Settings that can have no effect beside others are refused when the pipeline is built:
//!
//! | Setting | has to be | or else |
//! | --- | --- | --- |
//! | `attempt_timeout` | at most `deadline` | it never comes to that |
//! | `attempt_timeout` | at most the breaker's `probe_lease` | a probe that still runs counts as lost |
//! | `attempt_timeout` | at most the concurrency limit's `lease` | an attempt that still runs loses its slot to another |
//! | the breaker's `slow_call_rate` | slow at `attempt_timeout` or before | no attempt lives to be slow |
//! | the breaker's `window`, if it is one of time and of a rate | at least twice `attempt_timeout` | what is known of one slow attempt is forgotten before the next has ended |
//! | the hedge's `min_delay` | less than `attempt_timeout` | the attempt that it would go beside has ended |
//! | the hedge's `max_hedges` | less than the retry policy's `max_attempts` | hedges are attempts too, and the first attempt is no hedge |
//! | the shortest delay of the retry policy's `backoff` | less than `deadline` | the call has ended before any retry |
//!
//! Without an attempt timeout, `deadline` takes its place, but for the window.
//!
//! # One call
//!
//! ```text
//! Asking, BackingOff ── poll: limits and breaker let it start ─────────────▶ Running
//! Asking, BackingOff ── poll: it has to wait for limits ───────────────────▶ InLine
//! Asking, BackingOff ── poll: it is refused, or the deadline has passed ───▶ Ended
//! InLine  ── poll: its turn has come, and the breaker still admits it ─────▶ Running
//! InLine  ── poll: it is refused, or the deadline has passed ──────────────▶ Ended
//! Running ── finish: success, or a failure and retry says stop ────────────▶ Ended
//! Running ── finish, time_out: failure, nothing beside it, retry says when ▶ BackingOff
//! Asking, InLine, Running, BackingOff ── abandon ──────────────────────────▶ Ended
//! ```
//!
//! A call that is [hedged](crate::hedge) may have a second attempt beside the one that is Running, which comes and goes by
//! itself:
//!
//! ```text
//! Nothing ── an attempt starts, or goes on alone, and a hedge may follow ──▶ Due
//! Due     ── poll: its time has come; budget, limits and breaker agree ────▶ Running
//! Due     ── poll: its time has come, and it has to wait for limits ───────▶ InLine
//! InLine  ── poll: its turn has come, and the breaker still admits it ─────▶ Running
//! Due, InLine ── poll: it is refused, which the call survives ─────────────▶ Nothing
//! Running ── finish, time_out: one of both failed, the other goes on ──────▶ Nothing
//! Running ── the same, and another hedge may follow ───────────────────────▶ Due
//! Due, InLine, Running ── the call has ended, or backs off ────────────────▶ Nothing
//! ```
//!
//! So whichever of two attempts is answered first counts, and nothing is retried while one still runs.
//!
//! [`run`](crate::run) drives a call over a [`Timer`](crate::time::Timer); a blocking loop or a simulator drives the
//! same one.
//!
//! # When not to use it
//!
//! For calls to two dependencies: each wants a pipeline of its own, or the sick one takes tokens, budget and breaker from the other.
//! And not where only one question is asked: a limit alone is a [`TokenBucket`], which says yes or no.

use core::time::Duration;

use crate::circuit_breaker::{CircuitBreaker, Mode};
use crate::concurrency::ConcurrencyLimit;
use crate::event::{Event, Events};
use crate::hedge::Hedge;
use crate::limits::{Counts, Limiter, Limits};
use crate::rate_limit::{AdaptiveRate, RateLimits, TokenBucket};
use crate::retry::Retry;
use crate::retry::budget::Budget;
use crate::settings::InvalidSetting;
use crate::time::Instant;

mod attempt;
mod call;
mod contradictions;
mod describe;
mod hedging;
mod options;
mod presets;
mod reconfigure;
mod snapshot;
#[cfg(test)]
mod tests;

pub use call::{Attempt, Call, Step};
pub use describe::Description;
pub use hedging::{Hedged, MayHedge, Unhedged};
pub use options::CallOptions;
pub use snapshot::Snapshot;

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

    /// When another attempt goes beside one that takes long, if ever.
    pub const fn hedge(&self) -> Option<&Hedge> {
        self.hedge.as_ref()
    }

    /// The circuit breaker, if there is one.
    pub const fn circuit_breaker_mut(&mut self) -> Option<&mut CircuitBreaker> {
        self.circuit_breaker.as_mut()
    }

    /// Whether somebody has forced the breaker open.
    fn is_forced_open(&self) -> bool {
        self.circuit_breaker.as_ref().is_some_and(|breaker| breaker.mode() == Mode::ForcedOpen)
    }

    /// By when a call with these options has to end that starts now; [`Instant::MAX`] if it need not.
    pub fn deadline_of(&self, now: Instant, options: &CallOptions) -> Instant {
        options.deadline().or(self.deadline).map_or(Instant::MAX, |deadline| now + deadline)
    }

    /// The same pipeline with other limits: how an adapter puts a line of waiters before them.
    pub fn map_limits<M: Limiter>(self, map: impl FnOnce(L) -> M) -> Pipeline<M> {
        let Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits } = self;
        Pipeline { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits: map(limits) }
    }
}

impl<const K: usize> Pipeline<Limits<K>> {
    /// The same pipeline, with nothing but this to limit it. With a [`TokenBucket`] firmware links only what that does, and
    /// in a constant its settings are checked when it is compiled:
    ///
    /// ```
    /// use steadfast_core::pipeline::Pipeline;
    /// use steadfast_core::rate_limit::{Quota, TokenBucket};
    ///
    /// const PIPELINE: Pipeline<TokenBucket> = match (Quota::per_second(2), Pipeline::builder().build()) {
    ///     (Ok(quota), Ok(pipeline)) => pipeline.limited_by(TokenBucket::new(quota)),
    ///     _ => panic!("settings that cannot be"),
    /// };
    /// assert_eq!(PIPELINE.limits().quota().tokens(), 2);
    /// ```
    pub const fn limited_by<L: Limiter>(self, limits: L) -> Pipeline<L> {
        let Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits: _ } = self;
        Pipeline { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits }
    }
}

impl<L: Limiter> Pipeline<L> {
    /// Lets somebody change the policies, and reports what that did to the breaker.
    pub(crate) fn change<R>(
        &mut self,
        now: Instant,
        change: impl FnOnce(&mut Self, Instant) -> R,
        events: &mut Events,
    ) -> R {
        let stance =
            |pipeline: &Self| pipeline.circuit_breaker.as_ref().map(|breaker| (breaker.state(), breaker.mode()));
        let before = stance(self);
        let result = change(self, now);
        if let (Some((state_before, mode_before)), Some((state, mode))) = (before, stance(self)) {
            if state_before != state {
                events.push(Event::CircuitBreakerChanged { from: state_before, to: state });
            }
            if mode_before != mode {
                events.push(Event::CircuitBreakerModeChanged { from: mode_before, to: mode });
                if mode == Mode::ForcedOpen {
                    self.limits.wake_everybody();
                }
            }
        }
        result
    }

    /// A call that starts now. Its deadline counts from here.
    pub fn call(&self, now: Instant, options: CallOptions) -> Call<L::Ticket> {
        Call::new(options, self.deadline_of(now, &options))
    }

    /// The same, by a driver that can run two attempts at once: the pipeline's hedge may send one beside another.
    pub fn hedged_call(&self, now: Instant, options: CallOptions) -> Call<L::Ticket, Hedged> {
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
    pub const fn deadline(self, time: Duration) -> Self {
        Self { deadline: Some(time), ..self }
    }

    /// Lets a call take as long as it takes. Retries end it at some time; a rate limit or a hanging attempt may not.
    pub const fn without_deadline(self) -> Self {
        Self { deadline: None, ..self }
    }

    /// How long one attempt may take before it is cancelled.
    pub const fn attempt_timeout(self, time: Duration) -> Self {
        Self { attempt_timeout: Some(time), ..self }
    }

    /// Lets an attempt take whatever remains until the deadline.
    pub const fn without_attempt_timeout(self) -> Self {
        Self { attempt_timeout: None, ..self }
    }

    /// Whether and when failed attempts are repeated.
    pub const fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// How much may be repeated by all calls together, retries and hedges.
    pub const fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// When to send another attempt beside one that takes long, in calls whose driver can run two at once.
    pub const fn hedge(self, hedge: Hedge) -> Self {
        Self { hedge: Some(hedge), ..self }
    }

    /// The breaker that watches over the dependency.
    pub const fn circuit_breaker(self, breaker: CircuitBreaker) -> Self {
        Self { circuit_breaker: Some(breaker), ..self }
    }

    /// No breaker: every attempt is made, also against a dependency that is down.
    pub const fn without_circuit_breaker(self) -> Self {
        Self { circuit_breaker: None, ..self }
    }

    /// The rate limit that every attempt waits for. It counts what [`CallOptions`] say that a call weighs.
    pub const fn rate_limit(self, limit: TokenBucket) -> PipelineBuilder {
        self.rate_limits(RateLimits::of([limit]), [Counts::Weight])
    }

    /// Several rate limits, all of which every attempt waits for: requests and LLM tokens, per second and per day. Each
    /// counts calls, or what [`CallOptions`] say that a call weighs.
    pub const fn rate_limits<const N: usize>(self, limits: RateLimits<N>, counts: [Counts; N]) -> PipelineBuilder<N> {
        let Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits: others } = self;
        let limits = others.with_rate_limits(limits, counts);
        PipelineBuilder { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits }
    }

    /// No rate limit, which is the default; for code that builds pipelines with any number of them.
    pub const fn without_rate_limits<const N: usize>(self) -> PipelineBuilder<N> {
        let Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits } = self;
        let limits = limits.without_rate_limits();
        PipelineBuilder { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits }
    }

    /// A rate that follows what the server bears, beside the rate limits or instead of them.
    pub const fn adaptive_rate(self, rate: AdaptiveRate) -> Self {
        Self { limits: self.limits.with_adaptive_rate(rate), ..self }
    }

    /// How many attempts may be under way at once.
    pub const fn concurrency_limit(self, limit: ConcurrencyLimit) -> Self {
        Self { limits: self.limits.with_concurrency_limit(limit), ..self }
    }

    /// The pipeline.
    ///
    /// # Errors
    /// If a time is zero, or two settings [contradict each other](self#contradictions); the error names both.
    pub const fn build(self) -> Result<Pipeline<Limits<K>>, InvalidSetting> {
        let Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits } = self;
        let pipeline = Pipeline { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits };
        match pipeline.check() {
            Ok(()) => Ok(pipeline),
            Err(error) => Err(error),
        }
    }
}
