//! How many calls per time.
//!
//! ```
//! use steadfast_core::rate_limit::{Quota, TokenBucket};
//! use steadfast_core::time::Instant;
//!
//! let mut limit = TokenBucket::new(Quota::per_second(100)?.with_burst(10)?);
//! let now = Instant::EPOCH;
//! assert_eq!((0..50).filter(|_| limit.try_acquire(now, 1).is_ok()).count(), 10);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! | You want to limit | Take | State |
//! | --- | --- | --- |
//! | calls per time, evenly or with a burst | [`TokenBucket`] | 48 bytes: 8, and what else it promises |
//! | the same, from many threads without a lock | [`AtomicTokenBucket`] | 8 bytes |
//! | calls in any window, strictly | [`SlidingWindow`] | 8 bytes for each call in a window |
//! | several things at once | [`RateLimits`] | that of each |
//! | calls to a server that does not say its limit | [`AdaptiveRate`] | |
//! | each customer, host or key | [`KeyedRateLimit`], or a table of your own of [`Level`]s | 8 bytes and the key |
//!
//! A limit admits a call, or refuses it and says when to come back. Whoever drives it decides what to do with that:
//! give up, or wait.
//!
//! # Defaults
//!
//! There are none but the burst, which is 1: how many calls the other side allows, nobody else knows. [`Quota`] has the ranges
//! and the reasons; [`AdaptiveRate`] is for who cannot know.
//!
//! # States
//!
//! A limit is full, or refilling towards that, or blocked until the time that a server named. Each type's page says what it keeps for
//! that, and where the algorithm is from.
//!
//! # When not to use it
//!
//! Where the other side is full rather than counted, and it matters how many calls run at a time: that is a
//! [concurrency limit](crate::concurrency). Nor for a server that is down: to send fewer calls there is no help, and a
//! [circuit breaker](crate::circuit_breaker) sends none.
//!
//! # With other policies
//!
//! In a [pipeline](crate::pipeline) every attempt takes its tokens, retries and hedges too, after the breaker has admitted it and
//! together with its slot. [`Limits`](crate::limits::Limits) has all that a [`Call`](crate::pipeline::Call) waits for.

use core::fmt;

use crate::time::Instant;

mod adaptive;
#[cfg(target_has_atomic = "64")]
mod atomic;
mod gcra;
mod keyed;
mod level;
mod quota;
mod reservation;
mod several;
mod sliding_window;
#[cfg(test)]
mod tests;
mod token_bucket;

pub use adaptive::{AdaptiveRate, PaceChange};
#[cfg(target_has_atomic = "64")]
pub use atomic::AtomicTokenBucket;
pub use keyed::KeyedRateLimit;
pub use level::Level;
pub use quota::Quota;
pub use reservation::Reservation;
pub use several::{RateLimits, RefusedBy, Reservations};
pub use sliding_window::SlidingWindow;
pub use token_bucket::{Snapshot, TokenBucket};

/// Why a limit admitted nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// Come back at `retry_at`: it is later than `now`, and the same request works then if nobody else took its place.
    NotYet {
        /// When to come back. [`Instant::MAX`] if that is beyond the end of the clock.
        retry_at: Instant,
    },
    /// More tokens than can ever be there at once: waiting does not help, asking for less does.
    Never {
        /// What was asked for.
        tokens: u32,
        /// The most that the quota gives at once.
        burst: u32,
    },
    /// As many wait in line as may: the sooner one gives up, the less is lost.
    LineFull {
        /// How many that is.
        waiting: usize,
    },
    /// A table of keys has no place for another: each of them has spent something that has not come back.
    TableFull {
        /// When the first of them will be as good as new, and its place free. [`Instant::MAX`] if that is beyond the
        /// end of the clock.
        retry_at: Instant,
    },
}

impl Refusal {
    /// The refusal of what is ready at `ready_at`; `None` is beyond the end of the clock.
    #[inline]
    pub fn not_yet(ready_at: Option<Instant>) -> Self {
        Self::NotYet { retry_at: ready_at.unwrap_or(Instant::MAX) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { retry_at } => write!(f, "rate limit: nothing left until {retry_at}"),
            Self::Never { tokens, burst } => {
                write!(f, "rate limit: {tokens} tokens at once is more than the burst of {burst}, ever")
            }
            Self::LineFull { waiting } => write!(f, "rate limit: {waiting} wait in line already, as many as may"),
            Self::TableFull { retry_at } => write!(f, "rate limit: no place for another key until {retry_at}"),
        }
    }
}

impl core::error::Error for Refusal {}
