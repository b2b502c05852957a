//! How long to wait before the next attempt.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::backoff::{Backoff, Jitter};
//!
//! let backoff = Backoff::builder().base(Duration::from_millis(100)).jitter(Jitter::None).build()?;
//! let (previous, entropy) = (Duration::ZERO, 0);
//! assert_eq!([1, 2, 3].map(|retry| backoff.delay(retry, previous, entropy).as_millis()), [100, 200, 400]);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `base` | 100 ms | more than zero | a blip is over by then, and nobody notices the wait |
//! | `growth` | [`Growth::Exponential`] by 2 | a factor of at least 1 | doubling halves the load of an outage with every round |
//! | `cap` | 10 s | at least `base` | no caller waits longer for a server that has long since come back |
//! | `jitter` | [`Jitter::Full`] | | spreads callers best and adds least load (M. Brooker, *Exponential Backoff And Jitter*, 2015) |
//!
//! The delay before retry *n* is what the growth makes of the base, at most the cap, and jitter is drawn from it. The
//! cap holds for what comes out, not for what goes in.
//!
//! | Growth | Delay before retry 1, 2, 3, 4, 5 |
//! | --- | --- |
//! | [`Growth::Constant`] | base × 1, 1, 1, 1, 1 |
//! | [`Growth::Linear`] | base × 1, 2, 3, 4, 5 |
//! | [`Growth::Fibonacci`] | base × 1, 1, 2, 3, 5 |
//! | [`Growth::Exponential`] by 2 | base × 1, 2, 4, 8, 16 |
//! | [`Backoff::decorrelated`] | anywhere from the base to three times the delay before; it has no other jitter |
//!
//! # One session
//!
//! A backoff has settings and no state, so that one serves all calls. What belongs to one call, its caller carries: how
//! many retries there were, and how long the last delay was. Randomness comes in as a `u64`, uniformly distributed, from
//! a generator that the caller seeds: once for each client, and never the same twice, or clients that failed together
//! come back together.
//!
//! # When not to use it
//!
//! Where the server says when to come back: [`Retry`](crate::retry::Retry) obeys that, and uses the backoff to spread
//! callers behind it.

use core::cmp;
use core::fmt;
use core::time::Duration;

use crate::settings::{InvalidSetting, at_least_as_long, at_least_one, first, positive};
use crate::time::{grown, saturating_nanos};

#[cfg(test)]
mod tests;

/// Delays that grow with each retry, up to a cap. See the [module](self) for the defaults.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// In nanoseconds, as is the cap.
    base: u64,
    cap: u64,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    Formula { growth: Growth, jitter: Jitter },
    Decorrelated,
}

/// How delays grow from one retry to the next, before jitter.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Growth {
    /// Not at all: each is the base. For polling, not for an outage.
    Constant,
    /// By the base each time.
    Linear,
    /// Each is the sum of the two before: slower than doubling, by a factor that nears 1.618.
    Fibonacci,
    /// Each is `factor` times the one before.
    Exponential {
        /// At least 1, which is as good as [`Growth::Constant`].
        factor: u32,
    },
}

/// How delays are spread, so that callers who failed together do not come back together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// Not at all: the delay is what the formula says. For tests, and for a single caller.
    None,
    /// Anywhere from zero to the delay.
    Full,
    /// Anywhere from half of the delay to all of it.
    Equal,
    /// Up to this many percent below or above the delay, as far as the cap allows; 20 means ±20 %. Above 100 counts as 100.
    Proportional(u8),
}

impl Backoff {
    /// A backoff with the defaults of the [module](self), to be changed.
    pub const fn builder() -> BackoffBuilder {
        BackoffBuilder {
            base: Duration::from_millis(100),
            growth: Growth::Exponential { factor: 2 },
            cap: Duration::from_secs(10),
            jitter: Jitter::Full,
        }
    }

    /// Delays that are drawn from `base` to three times the delay before, and never above `cap`: the "decorrelated
    /// jitter" of M. Brooker, *Exponential Backoff And Jitter* (2015).
    ///
    /// Each session grows at its own pace, so that callers drift apart even if their first delays were close. It grows by
    /// its own draws, and so there is neither a growth nor a jitter to be chosen.
    ///
    /// # Errors
    /// If `base` is zero, or `cap` is less than `base`.
    pub const fn decorrelated(base: Duration, cap: Duration) -> Result<Self, InvalidSetting> {
        Self::with_shape(base, cap, Shape::Decorrelated)
    }

    const fn with_shape(base: Duration, cap: Duration, shape: Shape) -> Result<Self, InvalidSetting> {
        match first([positive("base", base), at_least_as_long(("cap", cap), ("base", base))]) {
            Ok(()) => Ok(Self { base: saturating_nanos(base), cap: saturating_nanos(cap), shape }),
            Err(error) => Err(error),
        }
    }

    /// The shortest time after which a call may be repeated for the first time.
    pub(crate) const fn shortest(&self) -> Duration {
        Duration::from_nanos(match self.shape {
            Shape::Formula { jitter, .. } => jitter.range(self.base, self.cap).0,
            Shape::Decorrelated => self.base,
        })
    }

    /// How long to wait before the given retry; the first is 1.
    ///
    /// `previous` is what this said before the last retry of the same call, and zero before the first; only
    /// [`Backoff::decorrelated`] reads it. `entropy` is a uniformly random number. The answer is at most the cap, whatever
    /// the jitter.
    pub fn delay(&self, retry: u32, previous: Duration, entropy: u64) -> Duration {
        let (shortest, longest) = match self.shape {
            Shape::Formula { growth, jitter } => jitter.range(self.grown(growth, retry), self.cap),
            Shape::Decorrelated => {
                // Drawn from what the cap leaves. Cut to it instead, as first published, two of three delays at the cap
                // would be the cap itself, and callers would meet there.
                let previous = cmp::max(self.base, saturating_nanos(previous));
                (self.base, cmp::min(self.cap, previous.saturating_mul(3)))
            }
        };
        Duration::from_nanos(shortest + draw(longest - shortest, entropy))
    }

    fn grown(&self, growth: Growth, retry: u32) -> u64 {
        let times = match growth {
            Growth::Constant => 1,
            Growth::Linear => u64::from(cmp::max(retry, 1)),
            Growth::Fibonacci => fibonacci(retry),
            Growth::Exponential { factor } => return grown(self.base, factor, retry.saturating_sub(1), self.cap),
        };
        cmp::min(self.cap, self.base.saturating_mul(times))
    }
}

/// The settings in words: "exponential backoff from 100ms by 2 up to 10s, full jitter".
impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [base, cap] = [self.base, self.cap].map(Duration::from_nanos);
        let (growth, jitter) = match self.shape {
            Shape::Decorrelated => return write!(f, "decorrelated backoff from {base:?} up to {cap:?}"),
            Shape::Formula { growth, jitter } => (growth, jitter),
        };
        match growth {
            Growth::Constant => write!(f, "constant backoff of {base:?} up to {cap:?}")?,
            Growth::Linear => write!(f, "linear backoff from {base:?} up to {cap:?}")?,
            Growth::Fibonacci => write!(f, "fibonacci backoff from {base:?} up to {cap:?}")?,
            Growth::Exponential { factor } => write!(f, "exponential backoff from {base:?} by {factor} up to {cap:?}")?,
        }
        match jitter {
            Jitter::None => f.write_str(", no jitter"),
            Jitter::Full => f.write_str(", full jitter"),
            Jitter::Equal => f.write_str(", equal jitter"),
            Jitter::Proportional(percent) => write!(f, ", jitter of ±{} %", cmp::min(percent, 100)),
        }
    }
}

/// The default backoff of the [module](self).
impl Default for Backoff {
    fn default() -> Self {
        Self::builder().unchecked()
    }
}

impl Jitter {
    /// The shortest and the longest delay that it makes of `delay`, which is at most `cap`.
    const fn range(self, delay: u64, cap: u64) -> (u64, u64) {
        match self {
            Self::None => (delay, delay),
            Self::Full => (0, delay),
            Self::Equal => (delay - delay / 2, delay),
            Self::Proportional(percent) => {
                // Drawn from what the cap leaves, and not cut to it: half of all delays there would be the same.
                let spread = percent_of(if percent < 100 { percent } else { 100 }, delay);
                let longest = delay.saturating_add(spread);
                (delay - spread, if longest < cap { longest } else { cap })
            }
        }
    }
}

/// A number from 0 to `limit`, both included, each as likely as the next.
fn draw(limit: u64, entropy: u64) -> u64 {
    let product = u128::from(entropy) * (u128::from(limit) + 1);
    #[allow(clippy::cast_possible_truncation)] // Below `limit + 1`, since `entropy` is below 2^64.
    let drawn = (product >> 64) as u64;
    drawn
}

const fn percent_of(percent: u8, whole: u64) -> u64 {
    let percent = percent as u64;
    // By hundreds and the rest: exact, and without the wide division that a microcontroller would need for it.
    whole / 100 * percent + whole % 100 * percent / 100
}

/// 1, 1, 2, 3, 5 and so on; the 94th is the first that no `u64` holds.
fn fibonacci(n: u32) -> u64 {
    let (mut this, mut next) = (1_u64, 1_u64);
    for _ in 1..cmp::min(n, 94) {
        (this, next) = (next, this.saturating_add(next));
    }
    this
}

/// Settings of a [`Backoff`]; ranges and defaults are in the [module](self).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct BackoffBuilder {
    base: Duration,
    growth: Growth,
    cap: Duration,
    jitter: Jitter,
}

impl BackoffBuilder {
    /// The delay before the first retry.
    pub const fn base(self, delay: Duration) -> Self {
        Self { base: delay, ..self }
    }

    /// How much longer each delay is than the one before.
    pub const fn growth(self, growth: Growth) -> Self {
        Self { growth, ..self }
    }

    /// The longest delay, jitter included.
    pub const fn cap(self, delay: Duration) -> Self {
        Self { cap: delay, ..self }
    }

    /// How delays are spread.
    pub const fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// The backoff.
    ///
    /// # Errors
    /// If `base` or the factor of an exponential growth is zero, or `cap` is less than `base`.
    pub const fn build(self) -> Result<Backoff, InvalidSetting> {
        let Self { base, growth, cap, jitter } = self;
        let factor = match growth {
            Growth::Exponential { factor } => factor,
            Growth::Constant | Growth::Linear | Growth::Fibonacci => 1,
        };
        match at_least_one("factor", factor) {
            Ok(()) => Backoff::with_shape(base, cap, Shape::Formula { growth, jitter }),
            Err(error) => Err(error),
        }
    }

    /// The backoff, of settings that are known to be sound.
    pub(crate) const fn unchecked(self) -> Backoff {
        let Self { base, growth, cap, jitter } = self;
        let shape = Shape::Formula { growth, jitter };
        Backoff { base: saturating_nanos(base), cap: saturating_nanos(cap), shape }
    }
}
