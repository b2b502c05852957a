use core::fmt;
use core::time::Duration;

use super::Pipeline;
use crate::circuit_breaker;
use crate::limits::Inspect;
use crate::time::Instant;

/// How every policy of a [`Pipeline`] stands, as a plain value. Printed, it is a line for each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot<S> {
    /// How many more attempts the budget would pay for, of calls whose first failed in a way that may pass. `None` where that
    /// is no number: it pays for all of them, or refuses at random.
    pub budget_left: Option<u64>,
    /// After how long another attempt goes beside one, if any does.
    pub hedge_delay: Option<Duration>,
    /// The circuit breaker, if there is one.
    pub circuit_breaker: Option<circuit_breaker::Snapshot>,
    /// The limits.
    pub limits: S,
}

impl<S> Snapshot<S> {
    /// The same, with another form of what is said of the limits.
    pub fn map_limits<R>(self, change: impl FnOnce(S) -> R) -> Snapshot<R> {
        let Self { budget_left, hedge_delay, circuit_breaker, limits } = self;
        Snapshot { budget_left, hedge_delay, circuit_breaker, limits: change(limits) }
    }
}

impl<L: Inspect> Pipeline<L> {
    /// How every policy stands at `now`, for an operator to read or an adapter to export.
    ///
    /// ```
    /// use steadfast_core::pipeline::Pipeline;
    /// use steadfast_core::rate_limit::{Quota, TokenBucket};
    /// use steadfast_core::time::Instant;
    ///
    /// let quota = Quota::per_second(100)?.with_burst(10)?;
    /// let mut pipeline = Pipeline::builder().rate_limit(TokenBucket::new(quota)).build()?;
    /// assert_eq!(
    ///     pipeline.snapshot(Instant::EPOCH).to_string(),
    ///     "retry budget: 2 left\n\
    ///      hedge: none\n\
    ///      circuit breaker: closed; calls: 0, failed: 0 (0 %), slow: 0 (0 %), failed in a row: 0\n\
    ///      rate limit: 10 of 10 tokens left\n\
    ///      concurrency limit: none"
    /// );
    /// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
    /// ```
    ///
    /// It decides nothing: windows slide and leases end as they would with the next call.
    pub fn snapshot(&mut self, now: Instant) -> Snapshot<L::Snapshot> {
        Snapshot {
            budget_left: self.budget.left(now),
            hedge_delay: self.hedge.as_ref().map(crate::hedge::Hedge::delay),
            circuit_breaker: self.circuit_breaker.as_ref().map(|breaker| breaker.snapshot(now)),
            limits: self.limits.snapshot(now),
        }
    }
}

impl<S: fmt::Display> fmt::Display for Snapshot<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget_left, hedge_delay, circuit_breaker, limits } = self;
        match budget_left {
            Some(left) => writeln!(f, "retry budget: {left} left")?,
            None => f.write_str("retry budget: open\n")?,
        }
        match hedge_delay {
            Some(delay) => writeln!(f, "hedge: after {delay:?}")?,
            None => f.write_str("hedge: none\n")?,
        }
        match circuit_breaker {
            Some(breaker) => writeln!(f, "circuit breaker: {breaker}")?,
            None => f.write_str("circuit breaker: none\n")?,
        }
        write!(f, "{limits}")
    }
}
