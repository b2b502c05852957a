//! What to answer instead, when a call was refused or has failed for good.
//!
//! ```
//! use core::cell::RefCell;
//! use core::time::Duration;
//! use steadfast_core::circuit_breaker::{CircuitBreaker, Mode};
//! use steadfast_core::fallback::{Fallback, LastGood};
//! use steadfast_core::outcome::Outcome;
//! use steadfast_core::pipeline::{CallOptions, Pipeline};
//! use steadfast_core::run::Runner;
//! use steadfast_core::time::{Clock, ManualClock};
//!
//! let pipeline = RefCell::new(Pipeline::standard());
//! let clock = ManualClock::new();
//! let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &() };
//! let ask = || runner.call(CallOptions::idempotent(), || 0, |_: &u32| Outcome::success(), |_attempt| async { 20 });
//!
//! let mut price = LastGood::for_at_most(Duration::from_secs(60));
//! let asked = clock.drive(ask()).expect("it ends");
//! price.keep(clock.now(), asked?);
//!
//! // Somebody takes the server out of service. What was the price a moment ago is better than nothing.
//! runner.with_policies(|policies, _now| policies.circuit_breaker_mut().map(|breaker| breaker.set_mode(Mode::ForcedOpen)));
//! let asked = clock.drive(ask()).expect("it ends");
//! assert_eq!(runner.fall_back(Fallback::default(), asked, |_error| price.get(clock.now()).copied()), Ok(20));
//! # Ok::<(), steadfast_core::run::CallError<u32>>(())
//! ```
//!
//! The decision is here: which ends of a call are answered by something else. What that is, the caller says each time: a
//! value, a closure, another operation, or the [last good answer](LastGood). An observer is told by
//! [`Event::FellBack`](crate::event::Event::FellBack), after the [`Event::Rejected`](crate::event::Event::Rejected) of the
//! call itself, so that an answer from here never passes for one of the server's.
//!
//! # Defaults
//!
//! | A call that ended by | is answered by something else | Why |
//! | --- | --- | --- |
//! | `AttemptsSpent`, `BudgetSpent`, `RetryForbidden`, `NoTimeToRetry`, `DeadlineExceeded` | yes | the dependency is not there, or not in time |
//! | `CircuitOpen`, `CircuitForcedOpen`, `Shed` | yes | the dependency is being left alone |
//! | `RateLimited`, `LineFull`, `TooManyInFlight`, `NoSlot` | yes | there is no room for the call now |
//! | `Permanent` | no | the dependency has answered: what was asked is wrong, and stays wrong |
//! | `TooHeavy` | no | it can never be made: the settings are wrong, and somebody has to learn that |
//! | `NotIdempotent` | no | it may have been done, and an answer from elsewhere would hide that nobody knows |
//! | `Abandoned` | no | nobody waits for an answer |
//!
//! [`Fallback::when`] takes any other choice.
//!
//! # When not to use it
//!
//! For what changes something: what was not written is not written, whatever is answered. And not where an old answer does
//! harm that none would not: the price of an order, a permission that was withdrawn.
//!
//! # With other policies
//!
//! It is outside of all of them: it sees how the whole call ended, and costs it no time. What another operation takes,
//! which is asked instead, the call's deadline does not bound: give that operation a pipeline of its own.

use core::time::Duration;

use crate::rejected::Rejected;
use crate::time::Instant;

/// Which ends of a call are answered by something else. See the [module](self) for the default.
#[derive(Clone, Copy, Debug)]
pub struct Fallback {
    covers: fn(&Rejected) -> bool,
}

impl Fallback {
    /// What `covers` says.
    ///
    /// ```
    /// use steadfast_core::fallback::Fallback;
    /// use steadfast_core::rejected::Rejected;
    ///
    /// // Only while the dependency is left alone; what its failures are, the caller wants to know.
    /// let fallback = Fallback::when(|end| matches!(end, Rejected::CircuitOpen { .. } | Rejected::CircuitForcedOpen));
    /// assert!(fallback.covers(&Rejected::CircuitForcedOpen));
    /// assert!(!fallback.covers(&Rejected::AttemptsSpent { max_attempts: 4 }));
    /// ```
    pub const fn when(covers: fn(&Rejected) -> bool) -> Self {
        Self { covers }
    }

    /// Whether a call that ended so is answered by something else.
    pub fn covers(&self, rejected: &Rejected) -> bool {
        (self.covers)(rejected)
    }
}

/// The choice of the [module](self).
impl Default for Fallback {
    fn default() -> Self {
        Self::when(hides_nothing)
    }
}

/// Whether an answer from elsewhere keeps nothing from the caller that it has to know.
const fn hides_nothing(rejected: &Rejected) -> bool {
    match rejected {
        Rejected::AttemptsSpent { .. }
        | Rejected::BudgetSpent { .. }
        | Rejected::RetryForbidden
        | Rejected::NoTimeToRetry { .. }
        | Rejected::DeadlineExceeded { .. }
        | Rejected::CircuitOpen { .. }
        | Rejected::CircuitForcedOpen
        | Rejected::Shed
        | Rejected::RateLimited { .. }
        | Rejected::LineFull { .. }
        | Rejected::TooManyInFlight { .. }
        | Rejected::NoSlot { .. } => true,
        Rejected::Permanent | Rejected::TooHeavy { .. } | Rejected::NotIdempotent | Rejected::Abandoned => false,
    }
}

/// The last good answer of an operation, for as long as it is worth giving again. See the [module](self) for an example.
///
/// There is no default for how long that is: only you know.
#[derive(Clone, Debug)]
pub struct LastGood<R> {
    max_age: Duration,
    kept: Option<(Instant, R)>,
}

impl<R> LastGood<R> {
    /// None yet; each is given for at most so long after it came. Zero gives it only in the same instant.
    pub const fn for_at_most(max_age: Duration) -> Self {
        Self { max_age, kept: None }
    }

    /// Keeps an answer that came at `now`, in place of the one before.
    pub fn keep(&mut self, now: Instant, answer: R) {
        self.kept = Some((now, answer));
    }

    /// The answer, if there is one and it is not too old at `now`.
    pub fn get(&self, now: Instant) -> Option<&R> {
        let (since, answer) = self.kept.as_ref()?;
        (now - *since <= self.max_age).then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit_breaker::Reason;

    #[test]
    fn the_default_hides_nothing_that_the_caller_has_to_know() {
        let (retry_at, deadline) = (Instant::MAX, Instant::MAX);
        for (rejected, covered) in [
            (Rejected::AttemptsSpent { max_attempts: 4 }, true),
            (Rejected::BudgetSpent { retry_at: None }, true),
            (Rejected::RetryForbidden, true),
            (Rejected::NoTimeToRetry { retry_at, deadline }, true),
            (Rejected::DeadlineExceeded { deadline }, true),
            (Rejected::CircuitOpen { retry_at, reason: Reason::FailureRate }, true),
            (Rejected::CircuitForcedOpen, true),
            (Rejected::Shed, true),
            (Rejected::RateLimited { retry_at, deadline }, true),
            (Rejected::LineFull { waiting: 9 }, true),
            (Rejected::TooManyInFlight { in_flight: 9, limit: 8, retry_at }, true),
            (Rejected::NoSlot { deadline }, true),
            (Rejected::Permanent, false),
            (Rejected::TooHeavy { tokens: 9, burst: 5 }, false),
            (Rejected::NotIdempotent, false),
            (Rejected::Abandoned, false),
        ] {
            assert_eq!(Fallback::default().covers(&rejected), covered, "{rejected:?}");
            assert!(Fallback::when(|_| true).covers(&rejected) && !Fallback::when(|_| false).covers(&rejected));
        }
    }

    #[test]
    fn the_last_good_answer_is_given_until_it_is_too_old() {
        let at = |seconds| Instant::EPOCH + Duration::from_secs(seconds);
        let mut last = LastGood::for_at_most(Duration::from_secs(60));
        assert_eq!(last.get(at(0)), None);
        last.keep(at(10), 'a');
        // Where the clock has stepped back, it is as good as new.
        for (now, want) in [(9, Some(&'a')), (10, Some(&'a')), (70, Some(&'a')), (71, None)] {
            assert_eq!(last.get(at(now)), want, "{now}");
        }
        last.keep(at(71), 'b');
        assert_eq!((last.get(at(131)), last.get(at(132))), (Some(&'b'), None));
    }
}
