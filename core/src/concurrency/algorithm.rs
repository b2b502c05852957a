use core::cmp;

use super::estimate::{Estimate, Ratio};

/// How the limit follows what the calls show. See the [module](super) for which to choose.
///
/// The formulas of AIMD, Vegas and Gradient2 are those of Netflix's *concurrency-limits* library (2018) with its
/// constants; the [module](super) says where they differ and why.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Algorithm {
    /// The limit stays what it is.
    Fixed,
    /// One more after each round without a failure, a tenth less after a failure: additive increase, multiplicative
    /// decrease. It looks at failures only, not at latency.
    Aimd,
    /// Estimates how many calls wait at the server, from the fastest round and the latest, and keeps that between
    /// 3 × *s* and 6 × *s*, with *s* the logarithm of the limit to base 10 (from 1,000 on its square root).
    Vegas,
    /// Shrinks with the gradient of latency, from that at half the load to the latest, and leaves room for as many
    /// waiting calls as the square root of the limit, at least 4.
    Gradient2,
}

/// An [`Algorithm`], with what it has learned.
#[derive(Debug)]
pub(super) enum Control {
    Fixed,
    Aimd,
    Vegas(Baseline),
    Gradient2(Baseline),
}

/// The latency of the server when we do not load it, in nanoseconds, and when to measure it again.
#[derive(Debug)]
pub(super) enum Baseline {
    /// The next round measures it.
    Unknown,
    Known {
        latency: u64,
        /// How many rounds until the next probe.
        rounds_left: u8,
    },
    /// A round at half the limit is measuring it.
    Probing {
        latency: u64,
    },
}

/// Rounds between probes. Netflix's Vegas probes after 30 times as many calls as the limit.
const PROBE_EVERY: u8 = 30;

/// What a round says about the base latency.
enum Reading {
    /// The base latency was measured; it says nothing about the limit.
    Measured,
    /// The base latency against which to hold the round's.
    Base(u64),
}

impl Control {
    pub(super) const fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Fixed => Self::Fixed,
            Algorithm::Aimd => Self::Aimd,
            Algorithm::Vegas => Self::Vegas(Baseline::Unknown),
            Algorithm::Gradient2 => Self::Gradient2(Baseline::Unknown),
        }
    }

    pub(super) const fn is_probing(&self) -> bool {
        match self {
            Self::Fixed | Self::Aimd => false,
            Self::Vegas(base) | Self::Gradient2(base) => matches!(base, Baseline::Probing { .. }),
        }
    }

    /// The limit after a round whose calls took `latency` on average.
    pub(super) fn after_round(&mut self, limit: Estimate, latency: u64) -> Estimate {
        match self {
            Self::Fixed => limit,
            Self::Aimd => limit.plus(1),
            Self::Vegas(baseline) => match baseline.read(latency, cmp::min) {
                Reading::Measured => limit,
                Reading::Base(base) => vegas(limit, base, latency),
            },
            Self::Gradient2(baseline) => match baseline.read(latency, falling) {
                Reading::Measured => limit,
                Reading::Base(base) => gradient2(limit, Ratio::of(base, latency)),
            },
        }
    }

    /// The limit after a call that failed.
    pub(super) fn after_failure(&self, limit: Estimate) -> Estimate {
        match self {
            Self::Fixed => limit,
            Self::Aimd => cmp::min(limit.minus(1), limit.times(Ratio::NINE_TENTHS)),
            Self::Vegas(_) => limit.minus(step(limit.whole())),
            // As if the gradient were the steepest there is, and without room for waiting calls.
            Self::Gradient2(_) => limit.a_fifth_towards(limit.times(Ratio::HALF)),
        }
    }
}

impl Baseline {
    /// Takes the latency of a round: measures with it, or follows it with `follow(base, latency)`.
    fn read(&mut self, latency: u64, follow: fn(u64, u64) -> u64) -> Reading {
        match *self {
            Self::Unknown | Self::Probing { .. } => {
                *self = Self::Known { latency, rounds_left: PROBE_EVERY };
                Reading::Measured
            }
            Self::Known { latency: base, rounds_left } => {
                let base = follow(base, latency);
                *self = match rounds_left.checked_sub(1) {
                    Some(rounds_left) => Self::Known { latency: base, rounds_left },
                    None => Self::Probing { latency: base },
                };
                Reading::Base(base)
            }
        }
    }
}

/// Gradient2's base latency where the round is much faster than it: after an overload it need not wait for a probe.
fn falling(base: u64, latency: u64) -> u64 {
    if base / 2 > latency { base - base / 10 } else { base }
}

fn gradient2(limit: Estimate, gradient: Ratio) -> Estimate {
    let room = cmp::max(4, limit.whole().isqrt());
    limit.a_fifth_towards(limit.times(cmp::max(gradient, Ratio::HALF)).plus(room))
}

fn vegas(limit: Estimate, base: u64, latency: u64) -> Estimate {
    // By Little's law, as many slots are busy at the server as the limit times base ÷ latency; the others wait.
    let waiting = limit.whole() - limit.times(Ratio::of(base, latency)).whole();
    let step = step(limit.whole());
    if waiting <= step {
        limit.plus(step.saturating_mul(6))
    } else if waiting < step.saturating_mul(3) {
        limit.plus(step)
    } else if waiting > step.saturating_mul(6) {
        limit.minus(step)
    } else {
        limit
    }
}

/// How far Vegas goes at a time.
fn step(limit: u32) -> u32 {
    if limit < 1000 { limit.checked_ilog10().unwrap_or(0).max(1) } else { limit.isqrt() }
}
