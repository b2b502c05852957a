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
    /// Estimates how many calls wait at the server: limit × (1 − base latency ÷ latency). It keeps that between 3 × *s*
    /// and 6 × *s*, going by steps of *s*, the logarithm of the limit to base 10 (from 1,000 on its square root); where
    /// none wait it goes six steps at a time. Quick to grow, slow to shrink.
    Vegas,
    /// Goes a fifth of the way to limit × (base latency ÷ latency) + room, where the room is the square root of the
    /// limit and at least 4. Quick to shrink, slower to grow.
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

/// The latency of the server while we do not load it, in nanoseconds, and when to measure it again.
#[derive(Debug)]
pub(super) enum Baseline {
    /// The next round measures it.
    Unknown,
    Known {
        latency: u64,
        /// How many rounds until the next probe.
        rounds_left: u8,
    },
    /// A round at half the limit measures it again. One round may err by much, so it counts a quarter.
    Probing { latency: u64 },
}

/// Rounds between probes. Netflix's Vegas probes after 30 times as many calls as the limit.
const PROBE_EVERY: u8 = 30;

impl Control {
    pub(super) const fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Fixed => Self::Fixed,
            Algorithm::Aimd => Self::Aimd,
            Algorithm::Vegas => Self::Vegas(Baseline::Unknown),
            Algorithm::Gradient2 => Self::Gradient2(Baseline::Unknown),
        }
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Fixed => Algorithm::Fixed,
            Self::Aimd => Algorithm::Aimd,
            Self::Vegas(_) => Algorithm::Vegas,
            Self::Gradient2(_) => Algorithm::Gradient2,
        }
    }

    /// What the literature calls it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Fixed => "a fixed limit",
            Self::Aimd => "AIMD",
            Self::Vegas(_) => "Vegas",
            Self::Gradient2(_) => "Gradient2",
        }
    }

    pub(super) const fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed)
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
            Self::Vegas(baseline) => baseline.read(latency).map_or(limit, |gradient| vegas(limit, gradient)),
            Self::Gradient2(baseline) => baseline.read(latency).map_or(limit, |gradient| gradient2(limit, gradient)),
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
    /// How a round's latency compares with that of the unloaded server; none if the round was there to measure that.
    fn read(&mut self, latency: u64) -> Option<Ratio> {
        // The clock is too coarse, or stepped back: nothing was measured.
        if latency == 0 {
            return None;
        }
        match *self {
            Self::Unknown => {
                *self = Self::Known { latency, rounds_left: PROBE_EVERY };
                None
            }
            Self::Probing { latency: base } => {
                *self = Self::Known { latency: base - base / 4 + latency / 4, rounds_left: PROBE_EVERY };
                None
            }
            Self::Known { latency: base, rounds_left } => {
                // After an overload it need not wait for the probes to come down.
                let base = if base / 2 > latency { base - base / 10 } else { base };
                *self = match rounds_left.checked_sub(1) {
                    Some(rounds_left) => Self::Known { latency: base, rounds_left },
                    None => Self::Probing { latency: base },
                };
                Some(Ratio::of(base, latency))
            }
        }
    }
}

fn gradient2(limit: Estimate, gradient: Ratio) -> Estimate {
    let room = cmp::max(4, limit.whole().isqrt());
    limit.a_fifth_towards(limit.times(cmp::max(gradient, Ratio::HALF)).plus(room))
}

fn vegas(limit: Estimate, gradient: Ratio) -> Estimate {
    // By Little's law the server works on as many calls as the limit times base ÷ latency; the others wait.
    let waiting = limit.whole() - limit.times(gradient).whole();
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
