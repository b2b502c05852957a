//! How long to wait before the next attempt.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::backoff::{Backoff, Jitter};
//!
//! let backoff = Backoff::builder().base(Duration::from_millis(100)).jitter(Jitter::None).build()?;
//! assert_eq!([1, 2, 3].map(|retry| backoff.delay(retry, 0).as_millis()), [100, 200, 400]);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `base` | 100 ms | more than zero | a blip is over by then, and nobody notices the wait |
//! | `factor` | 2 | at least 1 | doubling halves the load of an outage with every round; 1 waits the same each time |
//! | `cap` | 10 s | at least `base` | no caller waits longer for a server that has long since come back |
//! | `jitter` | [`Jitter::Full`] | | spreads callers best and adds least load (M. Brooker, *Exponential Backoff And Jitter*, 2015) |
//!
//! The delay before retry *n* is `min(cap, base × factorⁿ⁻¹)`, and jitter is drawn from it. The cap holds for what comes
//! out, not for what goes in.
//!
//! Randomness comes in as a `u64`, uniformly distributed, from a generator that the caller seeds: once for each client,
//! or clients that failed together come back together.
//!
//! # When not to use it
//!
//! Where the server says when to come back: [`Retry`](crate::retry::Retry) obeys that, and uses the backoff to spread
//! callers behind it.

use core::cmp;
use core::time::Duration;

use crate::settings::{InvalidSetting, Value, at_least_one, positive};
use crate::time::saturating_nanos;

/// Delays that grow with each retry, up to a cap. See the [module](self) for the defaults.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    settings: BackoffBuilder,
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
            factor: 2,
            cap: Duration::from_secs(10),
            jitter: Jitter::Full,
        }
    }

    /// How long to wait before the given retry; the first is 1. `entropy` is a uniformly random number.
    ///
    /// At most the cap, whatever the jitter.
    pub fn delay(&self, retry: u32, entropy: u64) -> Duration {
        let BackoffBuilder { base, factor, cap, jitter } = self.settings;
        let growth = u64::from(factor).saturating_pow(retry.saturating_sub(1));
        let cap = saturating_nanos(cap);
        let delay = cmp::min(cap, saturating_nanos(base).saturating_mul(growth));
        let delay = match jitter {
            Jitter::None => delay,
            Jitter::Full => draw(delay, entropy),
            Jitter::Equal => delay - delay / 2 + draw(delay / 2, entropy),
            Jitter::Proportional(percent) => {
                // Drawn from what the cap leaves, and not cut to it: half of all delays there would be the same.
                let spread = percent_of(cmp::min(percent, 100), delay);
                let (shortest, longest) = (delay - spread, cmp::min(cap, delay.saturating_add(spread)));
                shortest + draw(longest - shortest, entropy)
            }
        };
        Duration::from_nanos(cmp::min(cap, delay))
    }
}

/// The default backoff of the [module](self).
impl Default for Backoff {
    fn default() -> Self {
        Self { settings: Self::builder() }
    }
}

/// A number from 0 to `limit`, both included, each as likely as the next.
fn draw(limit: u64, entropy: u64) -> u64 {
    let product = u128::from(entropy) * (u128::from(limit) + 1);
    #[allow(clippy::cast_possible_truncation)] // Below `limit + 1`, since `entropy` is below 2^64.
    let drawn = (product >> 64) as u64;
    drawn
}

fn percent_of(percent: u8, whole: u64) -> u64 {
    #[allow(clippy::cast_possible_truncation)] // At most `whole`, since `percent` is at most 100.
    let part = (u128::from(whole) * u128::from(percent) / 100) as u64;
    part
}

/// Settings of a [`Backoff`]; ranges and defaults are in the [module](self).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct BackoffBuilder {
    base: Duration,
    factor: u32,
    cap: Duration,
    jitter: Jitter,
}

impl BackoffBuilder {
    /// The delay before the first retry.
    pub const fn base(self, delay: Duration) -> Self {
        Self { base: delay, ..self }
    }

    /// How much longer each delay is than the one before.
    pub const fn factor(self, factor: u32) -> Self {
        Self { factor, ..self }
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
    /// If `base` or `factor` is zero, or `cap` is less than `base`.
    pub fn build(self) -> Result<Backoff, InvalidSetting> {
        positive("base", self.base)?;
        at_least_one("factor", self.factor)?;
        if self.cap < self.base {
            return Err(InvalidSetting::Contradiction {
                setting: "cap",
                value: Value::Time(self.cap),
                must_be: "at least as long as",
                other: "base",
                other_value: Value::Time(self.base),
            });
        }
        Ok(Backoff { settings: self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn backoff(jitter: Jitter) -> Backoff {
        Backoff::builder().base(100 * MS).cap(1000 * MS).jitter(jitter).build().unwrap()
    }

    /// The first six delays, in milliseconds, when the die shows `entropy`.
    fn check(jitter: Jitter, entropy: u64, want: [u128; 6]) {
        let got = [1, 2, 3, 4, 5, 6].map(|retry| backoff(jitter).delay(retry, entropy).as_millis());
        assert_eq!(got, want, "{jitter:?} {entropy}");
    }

    #[test]
    fn delays_grow_to_the_cap_and_jitter_stays_in_its_range() {
        let middle = u64::MAX / 2 + 1;
        check(Jitter::None, 7, [100, 200, 400, 800, 1000, 1000]);
        check(Jitter::Full, 0, [0; 6]);
        check(Jitter::Full, middle, [50, 100, 200, 400, 500, 500]);
        check(Jitter::Full, u64::MAX, [100, 200, 400, 800, 1000, 1000]);
        check(Jitter::Equal, 0, [50, 100, 200, 400, 500, 500]);
        check(Jitter::Equal, u64::MAX, [100, 200, 400, 800, 1000, 1000]);
        check(Jitter::Proportional(20), 0, [80, 160, 320, 640, 800, 800]);
        check(Jitter::Proportional(20), middle, [100, 200, 400, 800, 900, 900]);
        check(Jitter::Proportional(20), u64::MAX, [120, 240, 480, 960, 1000, 1000]);
        check(Jitter::Proportional(255), 0, [0; 6]);
        check(Jitter::Proportional(255), u64::MAX, [200, 400, 800, 1000, 1000, 1000]);
    }

    #[test]
    fn the_specified_delays_are_the_specified_delays() {
        let doubling = Backoff::builder().base(50 * MS).jitter(Jitter::None).build().unwrap();
        assert_eq!([1, 2, 3, 4].map(|retry| doubling.delay(retry, 0).as_millis()), [50, 100, 200, 400]);
    }

    #[test]
    fn a_factor_of_one_waits_the_same_each_time() {
        let constant = Backoff::builder().factor(1).jitter(Jitter::None).build().unwrap();
        assert_eq!([1, 2, u32::MAX].map(|retry| constant.delay(retry, 0).as_millis()), [100; 3]);
    }

    #[test]
    fn extremes_of_every_number_stay_under_the_cap() {
        for (base, cap) in [(MS, Duration::MAX), (Duration::MAX, Duration::MAX), (MS, MS)] {
            for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Proportional(100)] {
                let backoff = Backoff::builder().base(base).cap(cap).factor(u32::MAX).jitter(jitter).build().unwrap();
                for retry in [0, 1, 2, 3, 64, u32::MAX] {
                    for entropy in [0, 1, u64::MAX] {
                        assert!(backoff.delay(retry, entropy) <= cap);
                    }
                }
            }
        }
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        for (builder, want) in [
            (Backoff::builder().base(Duration::ZERO), "base is 0ns, which is not more than zero"),
            (Backoff::builder().factor(0), "factor is 0, which is not at least 1"),
            (Backoff::builder().cap(MS), "cap is 1ms: it must be at least as long as base, which is 100ms"),
        ] {
            extern crate std;
            assert_eq!(std::string::ToString::to_string(&builder.build().unwrap_err()), want);
        }
    }
}
