//! Settings that are sound alone and make no sense together.

use core::time::Duration;

use super::Pipeline;
use crate::limits::Limits;
use crate::settings::{InvalidSetting, Value, contradiction, first, is_shorter, positive};

/// A setting, and what it was given if it was.
type Time = (&'static str, Option<Duration>);

impl<const K: usize> Pipeline<Limits<K>> {
    /// Refuses what can have no effect, or another than its name says.
    pub(super) const fn check(&self) -> Result<(), InvalidSetting> {
        let deadline = ("deadline", self.deadline);
        let timeout = ("attempt_timeout", self.attempt_timeout);
        let longest_attempt = if self.attempt_timeout.is_some() { timeout } else { deadline };
        let (probe_lease, slow_at, window) = match &self.circuit_breaker {
            Some(breaker) => (Some(breaker.probe_lease()), breaker.slow_at(), breaker.window_of_time()),
            None => (None, None, None),
        };
        let slot_lease = match self.limits.concurrency_limit() {
            Some(limit) => Some(limit.lease()),
            None => None,
        };
        let hedge_at = match &self.hedge {
            Some(hedge) => Some(hedge.min_delay()),
            None => None,
        };
        let retry_at = if self.retry.max_attempts() > 1 { Some(self.retry.shortest_delay()) } else { None };
        first([
            more_than_zero(deadline),
            more_than_zero(timeout),
            check(timeout, Relation::AtMost, deadline),
            // A probe that is still allowed to run would count as lost, and its answer would be ignored.
            check(longest_attempt, Relation::AtMost, ("probe_lease", probe_lease)),
            // An attempt that is still allowed to run would have lost its slot to another.
            bounded(longest_attempt, ("concurrency_limit.lease", slot_lease)),
            // No attempt lives to be so slow.
            check(("slow_call_rate", slow_at), Relation::AtMost, longest_attempt),
            // What was seen of one attempt would be forgotten before the next has ended, if they come one by one.
            check(("window", window), Relation::AtLeastTwice, timeout),
            // The attempt that it would go beside has ended by then.
            check(("hedge.min_delay", hedge_at), Relation::Less, longest_attempt),
            self.check_attempts(),
            // The call has ended by then.
            check(("retry.backoff", retry_at), Relation::Less, deadline),
        ])
    }

    /// Hedges are attempts too, and the first attempt is none.
    const fn check_attempts(&self) -> Result<(), InvalidSetting> {
        let max_hedges = match &self.hedge {
            Some(hedge) => hedge.max_hedges(),
            None => 0,
        };
        let max_attempts = self.retry.max_attempts();
        if max_hedges < max_attempts {
            return Ok(());
        }
        let hedges = ("hedge.max_hedges", Value::Count(max_hedges as u64));
        Err(contradiction(hedges, "less than", ("retry.max_attempts", Value::Count(max_attempts as u64))))
    }
}

const fn more_than_zero((setting, time): Time) -> Result<(), InvalidSetting> {
    match time {
        Some(time) => positive(setting, time),
        None => Ok(()),
    }
}

/// How a time has to stand to another.
#[derive(Clone, Copy)]
enum Relation {
    AtMost,
    AtLeastTwice,
    Less,
}

impl Relation {
    const fn holds(self, time: Duration, bound: Duration) -> bool {
        match self {
            Self::AtMost => !is_shorter(bound, time),
            Self::AtLeastTwice => !is_shorter(time, bound.saturating_mul(2)),
            Self::Less => is_shorter(time, bound),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::AtMost => "at most as long as",
            Self::AtLeastTwice => "at least twice as long as",
            Self::Less => "less than",
        }
    }
}

/// Refuses a time that stands in a wrong relation to another, where both are set.
const fn check((setting, time): Time, relation: Relation, (other, bound): Time) -> Result<(), InvalidSetting> {
    match (time, bound) {
        (Some(time), Some(bound)) if !relation.holds(time, bound) => {
            Err(contradiction((setting, Value::Time(time)), relation.words(), (other, Value::Time(bound))))
        }
        _ => Ok(()),
    }
}

/// Refuses a time that has to be at most another, and is longer or not set.
const fn bounded(time: Time, bound: Time) -> Result<(), InvalidSetting> {
    match (time.1, bound.1) {
        (None, Some(least)) => {
            Err(contradiction((time.0, Value::None), Relation::AtMost.words(), (bound.0, Value::Time(least))))
        }
        _ => check(time, Relation::AtMost, bound),
    }
}
