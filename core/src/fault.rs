//! Faults on purpose: which one an attempt meets, drawn from a random number.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::fault::{Fault, Faults};
//!
//! let faults = Faults::builder()
//!     .latency(50, Duration::from_millis(10), Duration::from_millis(200))
//!     .error_before(5)
//!     .error_after(5)
//!     .throttle(10, Duration::from_secs(1))
//!     .build()?;
//!
//! // Whoever makes the attempt carries it out. From the same number, it is the same.
//! let drawn = faults.draw(0x0123_4567_89AB_CDEF);
//! assert_eq!(drawn, faults.draw(0x0123_4567_89AB_CDEF));
//! assert_eq!(drawn.fault, Some(Fault::ErrorBefore));
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! A pipeline is proven by what it does when something goes wrong. This decides what does, for tests, drills and
//! demonstrations; adapters carry it out: `steadfast-executor` around any operation, `steadfast-client` around a transport.
//!
//! # Settings
//!
//! | Setting | Default | Range | What an attempt meets |
//! | --- | --- | --- | --- |
//! | `latency` | 0 % | 0 to 100 %, the most at least as long as the least | it takes longer, by a time that is drawn between the two |
//! | `error_before` | 0 % | 0 to 100 % | it fails, and the other side has seen nothing of it |
//! | `error_after` | 0 % | 0 to 100 % | it fails, after the other side has acted on it |
//! | `reset` | 0 % | 0 to 100 % | its answer breaks off in the middle |
//! | `throttle` | 0 % | 0 to 100 % | the other side refuses it, and says when to come back |
//!
//! By default nothing happens: faults are asked for, one by one. An attempt meets one of the last four at most, so these are at most
//! 100 % together; latency comes by itself, and goes before.
//!
//! # When not to use it
//!
//! In production, but for a drill that somebody has announced.

use core::fmt;
use core::time::Duration;

use crate::settings::{InvalidSetting, at_least_as_long, first, within};
use crate::time::saturating_nanos;

/// Decides which fault an attempt meets. See the [module](self) for the settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Faults {
    settings: FaultsBuilder,
}

/// What an attempt meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drawn {
    /// How long it is held up before anything else.
    pub latency: Duration,
    /// How it fails, if it does.
    pub fault: Option<Fault>,
}

/// How an attempt fails on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Before it was sent.
    ErrorBefore,
    /// After the other side has acted on it.
    ErrorAfter,
    /// In the middle of its answer.
    Reset,
    /// Refused, because there are too many.
    Throttled {
        /// How long the other side asks to wait.
        retry_after: Duration,
    },
}

impl Faults {
    /// No faults, to be changed.
    pub const fn builder() -> FaultsBuilder {
        FaultsBuilder {
            latency: (0, Duration::ZERO, Duration::ZERO),
            error_before: 0,
            error_after: 0,
            reset: 0,
            throttle: (0, Duration::ZERO),
        }
    }

    /// What an attempt meets. `entropy` is a uniformly random number: its upper half decides how it fails, and its lower half
    /// how long it is held up, so that a change of one setting leaves the others' draws as they were.
    pub fn draw(&self, entropy: u64) -> Drawn {
        let FaultsBuilder { latency: (percent, least, most), error_before, error_after, reset, throttle } =
            self.settings;
        let [fault, _, held_up, how_long] = quarters(entropy);
        let latency = if hundredth(held_up) < percent { between(least, most, how_long) } else { Duration::ZERO };
        let mut left = hundredth(fault);
        let faults = [
            (error_before, Fault::ErrorBefore),
            (error_after, Fault::ErrorAfter),
            (reset, Fault::Reset),
            (throttle.0, Fault::Throttled { retry_after: throttle.1 }),
        ];
        let fault = faults.into_iter().find_map(|(percent, fault)| match left.checked_sub(percent) {
            None => Some(fault),
            Some(rest) => {
                left = rest;
                None
            }
        });
        Drawn { latency, fault }
    }
}

/// Sixteen bits each, the highest first.
const fn quarters(entropy: u64) -> [u16; 4] {
    let [a, b, c, d, e, f, g, h] = entropy.to_be_bytes();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), u16::from_be_bytes([e, f]), u16::from_be_bytes([g, h])]
}

/// From 0 to 99, each as often as the next to within one in 65,536.
const fn hundredth(draw: u16) -> u32 {
    (draw as u32 * 100) >> 16
}

/// Both ends included.
fn between(least: Duration, most: Duration, draw: u16) -> Duration {
    let (span, draw, all) = (saturating_nanos(most.saturating_sub(least)), u64::from(draw), u64::from(u16::MAX));
    // Divided before it is multiplied, and the rest apart: no product is more than the span.
    least.saturating_add(Duration::from_nanos(span / all * draw + span % all * draw / all))
}

/// Settings of [`Faults`]; ranges and defaults are in the [module](self).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct FaultsBuilder {
    latency: (u32, Duration, Duration),
    error_before: u32,
    error_after: u32,
    reset: u32,
    throttle: (u32, Duration),
}

impl FaultsBuilder {
    /// Holds up so many of a hundred attempts, by a time between the two.
    pub const fn latency(self, percent: u32, least: Duration, most: Duration) -> Self {
        Self { latency: (percent, least, most), ..self }
    }

    /// Fails so many of a hundred attempts before they are sent.
    pub const fn error_before(self, percent: u32) -> Self {
        Self { error_before: percent, ..self }
    }

    /// Fails so many of a hundred attempts after the other side has acted on them.
    pub const fn error_after(self, percent: u32) -> Self {
        Self { error_after: percent, ..self }
    }

    /// Breaks off the answer of so many of a hundred attempts in the middle.
    pub const fn reset(self, percent: u32) -> Self {
        Self { reset: percent, ..self }
    }

    /// Refuses so many of a hundred attempts, and asks to wait for so long.
    pub const fn throttle(self, percent: u32, retry_after: Duration) -> Self {
        Self { throttle: (percent, retry_after), ..self }
    }

    /// The faults.
    ///
    /// # Errors
    /// If a percentage is above 100, those of failures are together, or the most latency is less than the least.
    pub const fn build(self) -> Result<Faults, InvalidSetting> {
        let Self { latency: (latency, least, most), error_before, error_after, reset, throttle: (throttle, _) } = self;
        match first([
            within("latency", latency, (0, 100), "from 0 to 100 %"),
            within("error_before", error_before, (0, 100), "from 0 to 100 %"),
            within("error_after", error_after, (0, 100), "from 0 to 100 %"),
            within("reset", reset, (0, 100), "from 0 to 100 %"),
            within("throttle", throttle, (0, 100), "from 0 to 100 %"),
            at_least_as_long(("the most latency", most), ("the least", least)),
        ]) {
            Err(error) => Err(error),
            // None is above 100, so the sum is no more than 400.
            Ok(()) => match within(
                "the sum of error_before, error_after, reset and throttle",
                error_before + error_after + reset + throttle,
                (0, 100),
                "from 0 to 100 %",
            ) {
                Ok(()) => Ok(Faults { settings: self }),
                Err(error) => Err(error),
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorBefore => f.write_str("a fault on purpose: it was never sent"),
            Self::ErrorAfter => f.write_str("a fault on purpose: it was acted on, and the answer is lost"),
            Self::Reset => f.write_str("a fault on purpose: the answer broke off"),
            Self::Throttled { retry_after } => write!(f, "a fault on purpose: refused for {retry_after:?}"),
        }
    }
}

impl core::error::Error for Fault {}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn all() -> FaultsBuilder {
        Faults::builder().latency(50, MS(10), MS(20)).error_before(10).error_after(20).reset(5).throttle(15, MS(1500))
    }

    #[test]
    fn every_fault_comes_as_often_as_was_asked() {
        let faults = all().build().unwrap();
        let throttled = Fault::Throttled { retry_after: MS(1500) };
        // Every value of the quarter that decides, once.
        let met = |fault| (0..=u64::from(u16::MAX)).filter(|draw| faults.draw(draw << 48).fault == fault).count();
        for (fault, percent) in [
            (Some(Fault::ErrorBefore), 10),
            (Some(Fault::ErrorAfter), 20),
            (Some(Fault::Reset), 5),
            (Some(throttled), 15),
            (None, 50),
        ] {
            assert!(met(fault).abs_diff(65_536 * percent / 100) <= 1, "{fault:?}");
        }
        let held_up = (0..=u64::from(u16::MAX)).filter(|draw| !faults.draw(draw << 16).latency.is_zero()).count();
        assert_eq!(held_up, 65_536 / 2);
    }

    #[test]
    fn latency_is_between_its_ends() {
        let faults = all().build().unwrap();
        for (entropy, want) in [(0, MS(10)), (0x7FFF, MS(15)), (0xFFFF, MS(20)), (0xFFFF_0000, Duration::ZERO)] {
            let latency = faults.draw(entropy).latency;
            assert!(latency.abs_diff(want) <= Duration::from_micros(1), "{entropy:x} {latency:?}");
        }
        let endless = Faults::builder().latency(100, Duration::ZERO, Duration::MAX).build().unwrap();
        assert!(endless.draw(u64::MAX).latency <= Duration::MAX);
    }

    #[test]
    fn none_or_all_of_them() {
        let (never, always) = (Faults::builder().build().unwrap(), Faults::builder().reset(100).build().unwrap());
        for entropy in [0, 1, u64::MAX / 2, u64::MAX] {
            assert_eq!(never.draw(entropy), Drawn { latency: Duration::ZERO, fault: None });
            assert_eq!(always.draw(entropy).fault, Some(Fault::Reset));
        }
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        for (settings, want) in [
            (all().latency(101, MS(1), MS(2)), "latency is 101, which is not from 0 to 100 %"),
            (
                all().latency(1, MS(2), MS(1)),
                "the most latency is 1ms: it must be at least as long as the least, which is 2ms",
            ),
            (all().error_before(u32::MAX), "error_before is 4294967295, which is not from 0 to 100 %"),
            (all().error_after(101), "error_after is 101, which is not from 0 to 100 %"),
            (all().reset(101), "reset is 101, which is not from 0 to 100 %"),
            (all().throttle(101, MS(1)), "throttle is 101, which is not from 0 to 100 %"),
            (
                all().error_after(71),
                "the sum of error_before, error_after, reset and throttle is 101, which is not from 0 to 100 %",
            ),
        ] {
            assert_eq!(settings.build().unwrap_err().to_string(), want);
        }
    }
}
