//! Settings that are sound alone and make no sense together.

use core::time::Duration;

use super::Pipeline;
use crate::circuit_breaker::CircuitBreaker;
use crate::concurrency::ConcurrencyLimit;
use crate::hedge::Hedge;
use crate::limits::Limits;
use crate::settings::{InvalidSetting, Value, positive};

/// A setting, and what it was given if it was.
type Time = (&'static str, Option<Duration>);

impl<const K: usize> Pipeline<Limits<K>> {
    /// Refuses what can have no effect, or another than its name says.
    pub(super) fn check(&self) -> Result<(), InvalidSetting> {
        let (breaker, hedge) = (self.circuit_breaker.as_ref(), self.hedge.as_ref());
        let deadline = ("deadline", self.deadline);
        let timeout = ("attempt_timeout", self.attempt_timeout);
        for (setting, time) in [deadline, timeout] {
            time.map_or(Ok(()), |time| positive(setting, time))?;
        }
        at_most(timeout, deadline)?;
        let longest_attempt = if self.attempt_timeout.is_some() { timeout } else { deadline };
        // A probe that is still allowed to run would count as lost, and its answer would be ignored.
        at_most(longest_attempt, ("probe_lease", breaker.map(CircuitBreaker::probe_lease)))?;
        // An attempt that is still allowed to run would have lost its slot to another.
        let slot_lease = self.limits.concurrency_limit().map(ConcurrencyLimit::lease);
        at_most(longest_attempt, ("concurrency_limit.lease", slot_lease))?;
        if let ((setting, None), Some(lease)) = (longest_attempt, slot_lease) {
            return Err(InvalidSetting::Contradiction {
                setting,
                value: Value::None,
                must_be: "at most as long as",
                other: "concurrency_limit.lease",
                other_value: Value::Time(lease),
            });
        }
        // No attempt lives to be so slow.
        at_most(("slow_call_rate", breaker.and_then(CircuitBreaker::slow_at)), longest_attempt)?;
        // What was seen of one attempt would be forgotten before the next has ended, if they come one by one.
        let window = ("window", breaker.and_then(CircuitBreaker::window_of_time));
        let two_attempts = (timeout.0, self.attempt_timeout.map(|time| time.saturating_mul(2)));
        refuse(window, two_attempts, |window, two| window < two, "at least twice as long as", timeout)?;
        // The attempt that it would go beside has ended by then.
        let hedge_at = ("hedge.min_delay", hedge.map(Hedge::min_delay));
        refuse(hedge_at, longest_attempt, |at, end| at >= end, "less than", longest_attempt)?;
        self.check_attempts(hedge)?;
        // The call has ended by then.
        let retries = self.retry.max_attempts() > 1;
        let retry_at = ("retry.backoff", retries.then(|| self.retry.shortest_delay()));
        refuse(retry_at, deadline, |at, end| at >= end, "less than", deadline)
    }

    /// Hedges are attempts too, and the first attempt is none.
    fn check_attempts(&self, hedge: Option<&Hedge>) -> Result<(), InvalidSetting> {
        let max_attempts = self.retry.max_attempts();
        match hedge.map(Hedge::max_hedges) {
            Some(max_hedges) if max_hedges >= max_attempts => Err(InvalidSetting::Contradiction {
                setting: "hedge.max_hedges",
                value: Value::Count(max_hedges.into()),
                must_be: "less than",
                other: "retry.max_attempts",
                other_value: Value::Count(max_attempts.into()),
            }),
            _ => Ok(()),
        }
    }
}

/// Refuses a time that is longer than another, where both are set.
fn at_most(time: Time, other: Time) -> Result<(), InvalidSetting> {
    refuse(time, other, |time, other| time > other, "at most as long as", other)
}

/// Refuses a time that stands in a wrong relation to a bound, where both are set. The bound is named after a setting.
fn refuse(
    (setting, time): Time,
    (_, bound): Time,
    is_wrong: fn(Duration, Duration) -> bool,
    must_be: &'static str,
    (other, other_value): Time,
) -> Result<(), InvalidSetting> {
    match (time, bound, other_value) {
        (Some(time), Some(bound), Some(other_value)) if is_wrong(time, bound) => Err(InvalidSetting::Contradiction {
            setting,
            value: Value::Time(time),
            must_be,
            other,
            other_value: Value::Time(other_value),
        }),
        _ => Ok(()),
    }
}
