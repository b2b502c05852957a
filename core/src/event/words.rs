//! Events in words, for logs.

use core::fmt;

use super::Event;
use crate::time::Instant;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallStarted { deadline: Instant::MAX } => f.write_str("started"),
            Self::CallStarted { deadline } => write!(f, "started, to end by {deadline}"),
            Self::WaitingForLimits { until } => write!(f, "waits for limits, until {until} as far as is known"),
            Self::AttemptStarted { attempt, until: Instant::MAX } => write!(f, "attempt {attempt} started"),
            Self::AttemptStarted { attempt, until } => write!(f, "attempt {attempt} started, to end by {until}"),
            Self::AttemptEnded { attempt, outcome } => write!(f, "attempt {attempt} ended: {}", outcome.as_str()),
            Self::AttemptTimedOut { attempt } => write!(f, "attempt {attempt} timed out"),
            Self::Hedged { attempt, beside } => write!(f, "attempt {attempt} goes beside attempt {beside}"),
            Self::HedgeRefused(rejected) => write!(f, "no attempt goes beside: {rejected}"),
            Self::AttemptCancelled { attempt } => write!(f, "attempt {attempt} cancelled"),
            Self::RetryScheduled { attempt, at, cause } => {
                write!(f, "attempt {attempt} to follow at {at}, cause: {}", cause.as_str())
            }
            Self::RateLimitBlocked { until } => write!(f, "the server holds everybody back until {until}"),
            Self::ConcurrencyLimitChanged { from, to } => write!(f, "concurrency limit: from {from} to {to}"),
            Self::AdaptiveRateChanged(change) => match change.from {
                Some(from) => write!(f, "adaptive rate: from one each {from:?} to one each {:?}", change.to),
                None => write!(f, "adaptive rate: from unlimited to one each {:?}", change.to),
            },
            Self::CircuitBreakerChanged { from, to } => write!(f, "circuit breaker: from {from} to {to}"),
            Self::CircuitBreakerModeChanged { from, to } => {
                write!(f, "circuit breaker: mode from {} to {}", from.as_str(), to.as_str())
            }
            Self::CircuitBreakerWouldRefuse(refusal) => write!(f, "would have been refused by the {refusal}"),
            Self::LateResult { outcome: Some(outcome) } => {
                write!(f, "circuit breaker: a result came too late to count: {}", outcome.as_str())
            }
            Self::LateResult { outcome: None } => f.write_str("circuit breaker: a result came too late to count"),
            Self::Rejected(rejected) => write!(f, "failed by the {rejected}"),
            Self::FellBack(rejected) => {
                write!(f, "something else is answered, for a call that failed by the {rejected}")
            }
            Self::Succeeded { attempts } => write!(f, "succeeded, attempts: {attempts}"),
            Self::Abandoned => f.write_str("dropped by its caller"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::time::Duration;
    use std::string::ToString;

    use super::*;
    use crate::circuit_breaker::{Mode, Reason, Refusal, State};
    use crate::outcome::OutcomeKind;
    use crate::rate_limit::PaceChange;
    use crate::rejected::Rejected;
    use crate::retry::budget::Cause;

    #[test]
    fn every_event_is_a_few_words() {
        let at = Instant::from_nanos(2_500_000_000);
        let ms = Duration::from_millis;
        let rejected = Rejected::CircuitForcedOpen;
        let refusal = Refusal::NotYet { retry_at: at, reason: Reason::FailureRate };
        for (event, words) in [
            (Event::CallStarted { deadline: at }, "started, to end by 2.5s"),
            (Event::CallStarted { deadline: Instant::MAX }, "started"),
            (Event::WaitingForLimits { until: at }, "waits for limits, until 2.5s as far as is known"),
            (Event::AttemptStarted { attempt: 1, until: at }, "attempt 1 started, to end by 2.5s"),
            (Event::AttemptStarted { attempt: 1, until: Instant::MAX }, "attempt 1 started"),
            (Event::AttemptEnded { attempt: 1, outcome: OutcomeKind::Transient }, "attempt 1 ended: transient"),
            (Event::AttemptTimedOut { attempt: 3 }, "attempt 3 timed out"),
            (Event::Hedged { attempt: 2, beside: 1 }, "attempt 2 goes beside attempt 1"),
            (Event::AttemptCancelled { attempt: 2 }, "attempt 2 cancelled"),
            (
                Event::RetryScheduled { attempt: 2, at, cause: Cause::ToldWhen },
                "attempt 2 to follow at 2.5s, cause: told_when",
            ),
            (Event::RateLimitBlocked { until: at }, "the server holds everybody back until 2.5s"),
            (Event::ConcurrencyLimitChanged { from: 20, to: 18 }, "concurrency limit: from 20 to 18"),
            (
                Event::AdaptiveRateChanged(PaceChange { from: None, to: ms(20) }),
                "adaptive rate: from unlimited to one each 20ms",
            ),
            (
                Event::AdaptiveRateChanged(PaceChange { from: Some(ms(20)), to: ms(10) }),
                "adaptive rate: from one each 20ms to one each 10ms",
            ),
            (
                Event::CircuitBreakerChanged { from: State::Open, to: State::HalfOpen },
                "circuit breaker: from open to half-open",
            ),
            (
                Event::CircuitBreakerModeChanged { from: Mode::Automatic, to: Mode::ForcedOpen },
                "circuit breaker: mode from automatic to forced_open",
            ),
            (
                Event::CircuitBreakerWouldRefuse(refusal),
                "would have been refused by the circuit breaker: too many of the latest calls failed; come back at 2.5s",
            ),
            (
                Event::LateResult { outcome: Some(OutcomeKind::Success) },
                "circuit breaker: a result came too late to count: success",
            ),
            (Event::LateResult { outcome: None }, "circuit breaker: a result came too late to count"),
            (Event::Succeeded { attempts: 2 }, "succeeded, attempts: 2"),
            (Event::Abandoned, "dropped by its caller"),
        ] {
            assert_eq!(event.to_string(), words, "{event:?}");
        }
        for (event, lead) in [
            (Event::HedgeRefused(rejected), "no attempt goes beside: "),
            (Event::Rejected(rejected), "failed by the "),
            (Event::FellBack(rejected), "something else is answered, for a call that failed by the "),
        ] {
            assert_eq!(event.to_string(), std::format!("{lead}{rejected}"));
        }
    }
}
