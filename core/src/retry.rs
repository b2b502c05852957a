//! Whether to try again, and when.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::outcome::{Idempotency, Outcome};
//! use steadfast_core::retry::{Failure, Retry, Verdict};
//! use steadfast_core::time::Instant;
//!
//! let retry = Retry::builder().max_attempts(3).build()?;
//! let now = Instant::EPOCH;
//! let failure = Failure {
//!     attempt: 1,
//!     outcome: Outcome::throttled().with_retry_after(Duration::from_secs(2)),
//!     idempotency: Idempotency::Idempotent,
//!     deadline: now + Duration::from_secs(30),
//! };
//! let entropy = 0; // A random number; zero draws the shortest delay.
//! assert_eq!(retry.decide(now, entropy, &failure), Verdict::Retry { at: now + Duration::from_secs(2) });
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `max_attempts` | 4 | at least 1 | carries 255 of 256 calls through a server that fails every fourth request; more only adds load |
//! | `backoff` | [the default](crate::backoff) | | |
//!
//! # The decision
//!
//! In this order, and the first that applies is the answer:
//! 1. a permanent failure is not repeated;
//! 2. an operation that is not idempotent is not repeated, unless the attempt was provably not acted on;
//! 3. no more attempts than `max_attempts` are made;
//! 4. the next one waits for what the server asked, if it did, plus the backoff's delay: never a moment less, and not
//!    at the same moment as everybody else;
//! 5. if that is at the deadline or later, the call fails now and says so.
//!
//! # When not to use it
//!
//! At more than one layer: three layers with four attempts each are 64 attempts.

use crate::backoff::Backoff;
use crate::outcome::{Idempotency, Outcome, OutcomeKind, Processed};
use crate::rejected::Rejected;
use crate::settings::{InvalidSetting, at_least_one};
use crate::time::Instant;

use core::time::Duration;

/// Decides whether a failed attempt is followed by another. See the [module](self) for defaults and order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    max_attempts: u32,
    backoff: Backoff,
}

/// An attempt that did not succeed, and what bounds the next.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// Which attempt it was; the first is 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the operation may be done twice.
    pub idempotency: Idempotency,
    /// By when the whole call has to end.
    pub deadline: Instant,
}

/// What [`Retry::decide`] says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Try again at this time, not before.
    Retry {
        /// Before the deadline, and never before now.
        at: Instant,
    },
    /// Stop, for this reason.
    Stop(Rejected),
}

impl Retry {
    /// A retry policy with the defaults of the [module](self), to be changed.
    pub fn builder() -> RetryBuilder {
        RetryBuilder { max_attempts: 4, backoff: Backoff::default() }
    }

    /// How many attempts are made at most, the first included.
    pub const fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// What follows a failed attempt. `entropy` is a uniformly random number; see [`Backoff::delay`].
    pub fn decide(&self, now: Instant, entropy: u64, failure: &Failure) -> Verdict {
        let Failure { attempt, outcome, idempotency, deadline } = *failure;
        if outcome.kind() == OutcomeKind::Permanent {
            return Verdict::Stop(Rejected::Permanent);
        }
        if idempotency == Idempotency::NotIdempotent && outcome.processed() == Processed::Maybe {
            return Verdict::Stop(Rejected::NotIdempotent);
        }
        if attempt >= self.max_attempts {
            return Verdict::Stop(Rejected::AttemptsSpent { max_attempts: self.max_attempts });
        }
        if now >= deadline {
            return Verdict::Stop(Rejected::DeadlineExceeded { deadline });
        }
        let hint = outcome.retry_after().unwrap_or(Duration::ZERO);
        let at = now + hint + self.backoff.delay(attempt, entropy);
        if at >= deadline {
            return Verdict::Stop(Rejected::NoTimeToRetry { retry_at: at, deadline });
        }
        Verdict::Retry { at }
    }
}

/// The default policy of the [module](self).
impl Default for Retry {
    fn default() -> Self {
        let RetryBuilder { max_attempts, backoff } = Self::builder();
        Self { max_attempts, backoff }
    }
}

/// Settings of a [`Retry`]; ranges and defaults are in the [module](self).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct RetryBuilder {
    max_attempts: u32,
    backoff: Backoff,
}

impl RetryBuilder {
    /// How many attempts are made at most, the first included: 1 never retries.
    pub const fn max_attempts(self, attempts: u32) -> Self {
        Self { max_attempts: attempts, ..self }
    }

    /// How long to wait between them.
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// The policy.
    ///
    /// # Errors
    /// If `max_attempts` is zero.
    pub fn build(self) -> Result<Retry, InvalidSetting> {
        at_least_one("max_attempts", self.max_attempts)?;
        Ok(Retry { max_attempts: self.max_attempts, backoff: self.backoff })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Jitter;

    const fn s(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    const SECOND: Duration = Duration::from_secs(1);
    const DEADLINE: Instant = s(10);

    /// At second 2: three attempts at most, delays of one and two seconds, deadline at second 10.
    fn check(attempt: u32, idempotency: Idempotency, outcome: Outcome, want: Verdict) {
        let backoff = Backoff::builder().base(SECOND).jitter(Jitter::None).build().unwrap();
        let retry = Retry::builder().max_attempts(3).backoff(backoff).build().unwrap();
        let failure = Failure { attempt, outcome, idempotency, deadline: DEADLINE };
        assert_eq!(retry.decide(s(2), 0, &failure), want, "{failure:?}");
    }

    fn at(secs: u64) -> Verdict {
        Verdict::Retry { at: s(secs) }
    }

    fn no_time(secs: u64) -> Verdict {
        Verdict::Stop(Rejected::NoTimeToRetry { retry_at: s(secs), deadline: DEADLINE })
    }

    #[test]
    fn the_first_reason_that_applies_is_the_answer() {
        use Idempotency::{Idempotent, NotIdempotent};
        let spent = Verdict::Stop(Rejected::AttemptsSpent { max_attempts: 3 });
        let hint = |secs| Outcome::throttled().with_retry_after(SECOND * secs);
        for (attempt, idempotency, outcome, want) in [
            (1, Idempotent, Outcome::transient(), at(3)),
            (2, Idempotent, Outcome::transient(), at(4)),
            (2, Idempotent, Outcome::throttled(), at(4)),
            (3, Idempotent, Outcome::transient(), spent),
            (u32::MAX, Idempotent, Outcome::transient(), spent),
            (1, Idempotent, Outcome::permanent(), Verdict::Stop(Rejected::Permanent)),
            (3, NotIdempotent, Outcome::permanent(), Verdict::Stop(Rejected::Permanent)),
            (1, NotIdempotent, Outcome::transient(), Verdict::Stop(Rejected::NotIdempotent)),
            (3, NotIdempotent, Outcome::transient(), Verdict::Stop(Rejected::NotIdempotent)),
            (1, NotIdempotent, Outcome::transient().not_processed(), at(3)),
            (3, NotIdempotent, Outcome::transient().not_processed(), spent),
            // The server's hint, and then the backoff; at the deadline it is too late.
            (1, Idempotent, hint(6), at(9)),
            (1, Idempotent, hint(7), no_time(10)),
            (1, Idempotent, hint(3600), no_time(3603)),
        ] {
            check(attempt, idempotency, outcome, want);
        }
        let never = Outcome::throttled().with_retry_after(Duration::MAX);
        let beyond = Rejected::NoTimeToRetry { retry_at: Instant::MAX, deadline: DEADLINE };
        check(1, Idempotent, never, Verdict::Stop(beyond));
    }

    #[test]
    fn a_deadline_that_has_passed_is_named() {
        let failure = Failure {
            attempt: 1,
            outcome: Outcome::transient(),
            idempotency: Idempotency::Idempotent,
            deadline: DEADLINE,
        };
        for now in [DEADLINE, s(11), Instant::MAX] {
            let want = Verdict::Stop(Rejected::DeadlineExceeded { deadline: DEADLINE });
            assert_eq!(Retry::default().decide(now, 0, &failure), want);
        }
    }

    #[test]
    fn a_hint_is_never_undercut_whatever_the_dice_say() {
        for entropy in [0, 1, u64::MAX / 2, u64::MAX] {
            let failure = Failure {
                attempt: 1,
                outcome: Outcome::throttled().with_retry_after(SECOND),
                idempotency: Idempotency::Idempotent,
                deadline: Instant::MAX,
            };
            match Retry::default().decide(s(2), entropy, &failure) {
                Verdict::Retry { at } => assert!(at >= s(3), "{at}"),
                stop @ Verdict::Stop(_) => panic!("{stop:?}"),
            }
        }
    }

    #[test]
    fn no_attempts_at_all_are_refused_by_name() {
        let error = Retry::builder().max_attempts(0).build().unwrap_err();
        assert_eq!(error, InvalidSetting::count("max_attempts", 0, "at least 1"));
    }
}
