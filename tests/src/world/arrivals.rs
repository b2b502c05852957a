use std::time::Duration;

use fastrand::Rng;
use steadfast_core::time::Instant;

/// When each client makes its calls, whatever became of those before: users do not wait for each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Arrivals {
    /// One each period, and the clients evenly spread over it: the first one's first call is at zero.
    Every(Duration),
    /// One each period, and where in it each client stands is drawn from the seed.
    RandomPhase(Duration),
    /// A Poisson process: the pauses between calls are exponentially distributed, with this mean.
    Poisson(Duration),
    /// Exactly then, in this order, each client.
    At(Vec<Instant>),
}

impl Arrivals {
    /// How long it is on average between two calls of a client, if that can be said.
    pub(super) fn period(&self) -> Option<Duration> {
        match self {
            Self::Every(period) | Self::RandomPhase(period) | Self::Poisson(period) => Some(*period),
            Self::At(_) => None,
        }
    }

    /// When a client makes its first call.
    pub(super) fn first(&self, client: usize, clients: usize, dice: &mut Rng) -> Option<Instant> {
        let offset = match self {
            Self::Every(period) => period.mul_f64(client as f64 / clients as f64),
            Self::RandomPhase(period) => period.mul_f64(dice.f64()),
            Self::Poisson(mean) => exponential(*mean, dice),
            Self::At(times) => return times.first().copied(),
        };
        Some(Instant::EPOCH + offset)
    }

    /// When the client makes its next call, after it made so many, the last of them at `last`.
    pub(super) fn next(&self, last: Instant, made: usize, dice: &mut Rng) -> Option<Instant> {
        let pause = match self {
            Self::Every(period) | Self::RandomPhase(period) => *period,
            Self::Poisson(mean) => exponential(*mean, dice),
            Self::At(times) => return times.get(made).copied(),
        };
        // Time passes between two calls, or a period of nothing would be a world without end.
        Some(last + pause.max(Duration::from_nanos(1)))
    }
}

/// A time that is as likely to end now as it was at any moment before.
pub(super) fn exponential(mean: Duration, dice: &mut Rng) -> Duration {
    // `f64` is below 1, so the logarithm is that of a number above zero.
    mean.mul_f64(-(1.0 - dice.f64()).ln())
}
