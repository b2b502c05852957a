//! Limits that tell how they are set and how they stand, for operators.

use core::fmt;
use core::time::Duration;

use super::{Limiter, Limits};
use crate::rate_limit::{RateLimits, TokenBucket};
use crate::time::Instant;

/// Limits that tell how they are set, and how they stand.
pub trait Inspect: Limiter {
    /// How they stand.
    type Snapshot: fmt::Debug + fmt::Display;

    /// How they stand at `now`.
    fn snapshot(&mut self, now: Instant) -> Self::Snapshot;

    /// How they are set, in words: a line for each limit, which begins with its policy; the last without its end.
    ///
    /// # Errors
    /// If `f` has one.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// How [`Limits`] stand, as a plain value. Printed, it is a line for each, the last without its end.
///
/// `R` is what holds the rate limits: an array, unless [another](Self::map_rates) is needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot<R = [Tokens; 1]> {
    /// Each rate limit; `None` if there are none.
    pub rates: Option<R>,
    /// For how long the server holds everybody back, after it said when to come back; zero if it does not.
    pub held_for: Duration,
    /// The adaptive rate's time from one token to the next; `None` if it limits nothing, or there is none.
    pub interval: Option<Duration>,
    /// The concurrency limit, if there is one.
    pub slots: Option<Slots>,
    /// How many wait in line, if there is a line.
    pub waiting: Option<usize>,
}

/// How a rate limit stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tokens {
    /// How many tokens are there now, which somebody in line may be waiting for.
    pub left: u32,
    /// How many there can be.
    pub burst: u32,
}

/// How a concurrency limit stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slots {
    /// How many attempts are under way.
    pub in_flight: u32,
    /// How many may be.
    pub limit: u32,
}

impl<R> Snapshot<R> {
    /// The same, with what holds the rate limits changed: to one that can hold any number of them, say.
    pub fn map_rates<S>(self, change: impl FnOnce(R) -> S) -> Snapshot<S> {
        let Self { rates, held_for, interval, slots, waiting } = self;
        Snapshot { rates: rates.map(change), held_for, interval, slots, waiting }
    }

    /// The same, of limits with so many callers in line, and held back by the server for at least so long.
    #[must_use]
    pub fn in_line(self, waiting: usize, held_for: Duration) -> Self {
        Self { waiting: Some(waiting), held_for: self.held_for.max(held_for), ..self }
    }
}

impl<const K: usize> Inspect for Limits<K> {
    type Snapshot = Snapshot<[Tokens; K]>;

    fn snapshot(&mut self, now: Instant) -> Self::Snapshot {
        let tokens = |rates: &RateLimits<K>| {
            let mut tokens = rates.available(now).map(|left| Tokens { left, burst: 0 });
            for (tokens, bucket) in tokens.iter_mut().zip(rates.limits()) {
                tokens.burst = bucket.quota().burst();
            }
            tokens
        };
        let blocked = self.rates.as_ref().map_or(self.blocked_until, RateLimits::blocked_until);
        Snapshot {
            rates: self.rates.as_ref().map(tokens),
            held_for: blocked.max(self.blocked_until) - now,
            interval: self.adaptive_rate.as_ref().and_then(crate::rate_limit::AdaptiveRate::interval),
            slots: self.concurrency.as_ref().map(|limit| Slots { in_flight: limit.in_flight(), limit: limit.limit() }),
            waiting: None,
        }
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Inspect for TokenBucket {
    type Snapshot = Snapshot;

    fn snapshot(&mut self, now: Instant) -> Snapshot {
        Snapshot {
            rates: Some([Tokens { left: self.available(now), burst: self.quota().burst() }]),
            held_for: self.blocked_until() - now,
            interval: None,
            slots: None,
            waiting: None,
        }
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rate limit: {self}")
    }
}

impl<R: AsRef<[Tokens]>> fmt::Display for Snapshot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rates, held_for, interval, slots, waiting } = self;
        for Tokens { left, burst } in rates.iter().flat_map(AsRef::as_ref) {
            writeln!(f, "rate limit: {left} of {burst} tokens left")?;
        }
        if rates.is_none() {
            f.write_str("rate limit: none\n")?;
        }
        if !held_for.is_zero() {
            writeln!(f, "server: holds everybody back for another {held_for:?}")?;
        }
        if let Some(interval) = interval {
            writeln!(f, "adaptive rate: one each {interval:?}")?;
        }
        match slots {
            Some(Slots { in_flight, limit }) => write!(f, "concurrency limit: {in_flight} of {limit} in flight")?,
            None => f.write_str("concurrency limit: none")?,
        }
        match waiting {
            Some(waiting) => write!(f, "\nline: {waiting} waiting"),
            None => Ok(()),
        }
    }
}
