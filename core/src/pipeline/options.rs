use core::num::NonZeroU32;
use core::time::Duration;

use crate::outcome::Idempotency;

/// What is said about one call, beside its pipeline.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::pipeline::CallOptions;
///
/// // Somebody waits for this one: soon, once, and before the others in line.
/// let options = CallOptions::idempotent()
///     .with_deadline(Duration::from_secs(2))
///     .with_max_attempts(1)
///     .with_priority(9);
/// # let _ = options;
/// ```
///
/// | Option | Default | Range |
/// | --- | --- | --- |
/// | weight | 1 token | at least 1 |
/// | priority | 0, the lowest | 0 to 255 |
/// | deadline | the pipeline's | zero is over at once |
/// | attempt timeout | the pipeline's | cut to the deadline |
/// | max attempts | the retry policy's | at most the retry policy's; 0 counts as 1 |
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallOptions {
    idempotency: Idempotency,
    weight: NonZeroU32,
    priority: u8,
    deadline: Option<Duration>,
    attempt_timeout: Option<Duration>,
    max_attempts: Option<u32>,
}

impl CallOptions {
    /// A call that may be repeated whatever happened to the attempt before.
    pub const fn idempotent() -> Self {
        Self::new(Idempotency::Idempotent)
    }

    /// A call that is repeated only if the attempt before was provably not acted on.
    pub const fn not_idempotent() -> Self {
        Self::new(Idempotency::NotIdempotent)
    }

    /// A call of the given kind.
    pub const fn new(idempotency: Idempotency) -> Self {
        Self {
            idempotency,
            weight: NonZeroU32::MIN,
            priority: 0,
            deadline: None,
            attempt_timeout: None,
            max_attempts: None,
        }
    }

    /// The same call, with so many tokens for each attempt.
    #[must_use]
    pub const fn with_weight(self, tokens: NonZeroU32) -> Self {
        Self { weight: tokens, ..self }
    }

    /// The same call, before all in line with a lower priority. Limits without a line do not read it.
    #[must_use]
    pub const fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// The same call, to end within this time from its start, instead of the pipeline's deadline.
    #[must_use]
    pub const fn with_deadline(self, time: Duration) -> Self {
        Self { deadline: Some(time), ..self }
    }

    /// The same call, with this time for each attempt instead of the pipeline's.
    ///
    /// A time above the breaker's `probe_lease` or the concurrency limit's `lease` lets an attempt outlive its place: its
    /// answer still counts for the caller, but late for the policy.
    #[must_use]
    pub const fn with_attempt_timeout(self, time: Duration) -> Self {
        Self { attempt_timeout: Some(time), ..self }
    }

    /// The same call, with at most so many attempts, the first included, if the retry policy allows as many.
    #[must_use]
    pub const fn with_max_attempts(self, attempts: u32) -> Self {
        Self { max_attempts: Some(attempts), ..self }
    }

    /// Whether it may be repeated.
    pub const fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    pub(super) const fn weight(&self) -> NonZeroU32 {
        self.weight
    }

    pub(super) const fn priority(&self) -> u8 {
        self.priority
    }

    pub(super) const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(super) const fn attempt_timeout(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    pub(super) const fn max_attempts(&self) -> Option<u32> {
        self.max_attempts
    }
}
