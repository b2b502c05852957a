//! How an attempt ended, in words that belong to no protocol.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::outcome::Outcome;
//!
//! // "503, come back in two seconds", in the words of this crate.
//! let outcome = Outcome::throttled().with_retry_after(Duration::from_secs(2));
//! assert!(!outcome.is_success());
//! ```
//!
//! A classifier turns what the operation returned into an [`Outcome`]; every policy reads the same one. Adapters bring
//! classifiers: `steadfast-http` knows what a status code means.

use core::time::Duration;

use crate::event::Detail;
use crate::limits::Told;

/// What a classifier says of an answer: an [`Outcome`], alone or with what the server [told](Told) of its limits.
pub trait Classified {
    /// How the attempt ended.
    fn outcome(&self) -> Outcome;

    /// What the server told of its limits, if it told anything.
    fn told(&self) -> Option<&Told> {
        None
    }

    /// Tells `note` what else is known of the answer, for observers: see [`Observer::detail`](crate::event::Observer::detail).
    ///
    /// By default, nothing is.
    fn details(&self, note: &mut dyn FnMut(&'static str, Detail<'_>)) {
        let _ = note;
    }
}

impl Classified for Outcome {
    fn outcome(&self) -> Outcome {
        *self
    }
}

impl Classified for (Outcome, Told) {
    fn outcome(&self) -> Outcome {
        self.0
    }

    fn told(&self) -> Option<&Told> {
        Some(&self.1).filter(|told| !told.is_nothing())
    }
}

/// How an attempt ended, as every policy reads it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    pub(crate) kind: OutcomeKind,
    pub(crate) processed: Processed,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) forbids_retry: bool,
    pub(crate) timed_out: bool,
}

/// The four ways in which an attempt ends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OutcomeKind {
    /// It did what was asked. The breaker counts a success.
    Success,
    /// It failed in a way that may pass: no answer, a broken connection, an overloaded server. Worth another attempt;
    /// the breaker counts a failure.
    Transient,
    /// The server is well and asks for fewer calls. Worth another attempt, later; the breaker counts nothing.
    Throttled,
    /// It failed in a way that another attempt would repeat: a malformed request, a missing right. Never retried; the
    /// breaker counts a success, since the dependency answered.
    Permanent,
}

impl OutcomeKind {
    /// Its name, for labels: in snake case, and the same in every version.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Permanent => "permanent",
        }
    }
}

/// Whether the other side may have acted on an attempt that failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Processed {
    /// Provably not: the connection was never made, or the server refused the request unread.
    No,
    /// It may have: the request was sent and the answer was lost, or the answer does not say.
    Maybe,
}

/// Whether doing the operation twice is the same as doing it once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Idempotency {
    /// Once or twice, the effect is the same: it may be repeated whatever happened to the attempt before.
    Idempotent,
    /// Twice may be one too many: repeated only if the attempt before was [`Processed::No`].
    NotIdempotent,
}

impl Outcome {
    /// It did what was asked.
    pub const fn success() -> Self {
        Self::new(OutcomeKind::Success)
    }

    /// It failed in a way that may pass. See [`OutcomeKind::Transient`].
    pub const fn transient() -> Self {
        Self::new(OutcomeKind::Transient)
    }

    /// It did not end in time: transient, and it may have been acted on. Some budgets charge more to repeat it.
    pub const fn timed_out() -> Self {
        Self { timed_out: true, ..Self::transient() }
    }

    /// The server asks for fewer calls. See [`OutcomeKind::Throttled`].
    pub const fn throttled() -> Self {
        Self::new(OutcomeKind::Throttled)
    }

    /// It failed in a way that another attempt would repeat. See [`OutcomeKind::Permanent`].
    pub const fn permanent() -> Self {
        Self::new(OutcomeKind::Permanent)
    }

    const fn new(kind: OutcomeKind) -> Self {
        Self { kind, processed: Processed::Maybe, retry_after: None, forbids_retry: false, timed_out: false }
    }

    /// The same outcome, of an attempt that the other side provably did not act on. By default it may have.
    pub const fn not_processed(self) -> Self {
        Self { processed: Processed::No, ..self }
    }

    /// The same outcome, of an attempt that the other side may have acted on after all: it was passed on, and who spoke last did not.
    pub const fn maybe_processed(self) -> Self {
        Self { processed: Processed::Maybe, ..self }
    }

    /// The same outcome, with the server's word on how long to wait. It is kept exactly or exceeded, never undercut.
    ///
    /// A hint given with [`OutcomeKind::Success`] or [`OutcomeKind::Permanent`] changes nothing.
    pub const fn with_retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    /// The same outcome, with the word that this call is not to be tried again: the server's, as by gRPC's negative pushback
    /// (proposal A6), or that of a caller who has nothing left to send.
    ///
    /// An earlier word of the server on how long to wait still holds for the calls that share its limit.
    pub const fn without_retry(self) -> Self {
        Self { forbids_retry: true, ..self }
    }

    /// Which of the four ways it was.
    pub const fn kind(&self) -> OutcomeKind {
        self.kind
    }

    /// Whether the other side may have acted on it.
    pub const fn processed(&self) -> Processed {
        self.processed
    }

    /// How long the server asked to wait, if it did.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether somebody said that it is not to be tried again.
    pub const fn forbids_retry(&self) -> bool {
        self.forbids_retry
    }

    /// Whether it ended because its time was over.
    pub const fn is_timeout(&self) -> bool {
        self.timed_out
    }

    /// Whether it did what was asked.
    pub const fn is_success(&self) -> bool {
        matches!(self.kind, OutcomeKind::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Counts, Remaining};

    #[test]
    fn an_answer_that_told_nothing_is_one_that_did_not_tell() {
        let left = Remaining { which: 0, counts: Counts::Calls, left: 1, reset_in: Duration::ZERO };
        let told = Told::from_iter([left]);
        assert_eq!((Outcome::success(), told).told(), Some(&told));
        assert_eq!((Outcome::success(), Told::NOTHING).told(), None);
        assert_eq!(Outcome::success().told(), None);
    }
}
