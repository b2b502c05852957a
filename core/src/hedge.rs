//! When to send another attempt beside one that takes long.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::hedge::Hedge;
//! use steadfast_core::outcome::Idempotency;
//! use steadfast_core::time::Instant;
//!
//! let mut hedge = Hedge::builder().percentile(95).build()?;
//! for _ in 0..200 {
//!     hedge.record(Duration::from_millis(40));
//! }
//! let started = Instant::EPOCH;
//! let at = hedge.next_at(started, 0, Idempotency::Idempotent).expect("none was sent yet");
//! // Later than 95 of 100 answers came, by a quarter at most.
//! assert!(at >= started + Duration::from_millis(40) && at <= started + Duration::from_millis(50));
//! assert_eq!(hedge.next_at(started, 1, Idempotency::Idempotent), None);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! Most answers come quickly, and a few take many times as long for no reason of their own: a slow disk, a pause, a lost
//! packet. Asking once more, elsewhere or just later, and taking the first answer, cuts those off. To do so only after the
//! 95th percentile adds a twentieth of the load (J. Dean and L. Barroso, *The Tail at Scale*, 2013).
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `percentile` | 95 | 50 to 99 | the paper's: one call in twenty is hedged, and most of the tail is gone |
//! | `min_delay` | 10 ms | more than zero | where answers come faster, a hedge saves less than anybody notices |
//! | `max_delay` | 5 s | at least `min_delay` | half of the default attempt timeout: what takes so long hangs |
//! | `max_hedges` | 1 | at least 1 | a second rarely helps where the first did not |
//!
//! Until 100 latencies are known it waits for `max_delay`. [`HedgeBuilder::after`] sets a fixed delay instead.
//!
//! # Who says what
//!
//! This decides *when*, and only for what may be done twice. Whether it may be sent then is the
//! [budget](crate::retry::budget)'s to say, with [`Cause::Hedge`](crate::retry::budget::Cause::Hedge), and at that time:
//! most calls have ended before. The driver cancels the losers.
//!
//! It learns from [`record`](Hedge::record) how long an attempt took that was answered, and from
//! [`record_loser`](Hedge::record_loser) how long one had taken when it was cancelled because another was faster.
//! Failures are not latencies: a server that refuses quickly would seem fast.
//!
//! # What it remembers
//!
//! Latencies are counted in 64 boxes, four to each doubling, from 1 ms to a minute, in 128 bytes; the answer is the upper
//! end of a box, so that it is never early, and late by a quarter at most. When 1,024 are counted, each count is halved:
//! the last thousand or so weigh as much as all before them.
//!
//! # When not to use it
//!
//! Against a server that is slow because it has too much to do: it gets more. The budget bounds that, and shows it.

use core::fmt;
use core::time::Duration;

use crate::outcome::Idempotency;
use crate::settings::{InvalidSetting, Value, at_least_one, positive};
use crate::time::Instant;

mod latencies;
#[cfg(test)]
mod tests;

use latencies::Latencies;

/// Decides when another attempt is sent beside one that takes long. See the [module](self) for the defaults.
#[derive(Debug)]
pub struct Hedge {
    settings: HedgeBuilder,
    latencies: Latencies,
}

impl Hedge {
    /// A hedge with the defaults of the [module](self), to be changed.
    pub const fn builder() -> HedgeBuilder {
        HedgeBuilder {
            percentile: 95,
            min_delay: Duration::from_millis(10),
            max_delay: Duration::from_secs(5),
            max_hedges: 1,
        }
    }

    const fn with_settings(settings: HedgeBuilder) -> Self {
        Self { settings, latencies: Latencies::new() }
    }

    /// Goes over to the settings of another. What was learned stays.
    pub(crate) const fn reconfigure(&mut self, to: &Self) {
        self.settings = to.settings;
    }

    /// When to send the next attempt, if the one that started last at `started` has not ended by then. `sent` is how many
    /// of the call's attempts were hedges of this one already.
    ///
    /// `None` if no other is to be sent: there were enough, or the operation must not be done twice.
    pub fn next_at(&self, started: Instant, sent: u32, idempotency: Idempotency) -> Option<Instant> {
        match idempotency {
            Idempotency::Idempotent if sent < self.settings.max_hedges => Some(started + self.delay()),
            Idempotency::Idempotent | Idempotency::NotIdempotent => None,
        }
    }

    /// How long an attempt is waited for, as far as is known now.
    pub fn delay(&self) -> Duration {
        let HedgeBuilder { percentile, min_delay, max_delay, max_hedges: _ } = self.settings;
        self.latencies.percentile(percentile).unwrap_or(max_delay).clamp(min_delay, max_delay)
    }

    /// The least that [`delay`](Self::delay) may ever be.
    pub(crate) const fn min_delay(&self) -> Duration {
        self.settings.min_delay
    }

    /// How many more attempts may be sent beside the first.
    pub(crate) const fn max_hedges(&self) -> u32 {
        self.settings.max_hedges
    }

    /// How long an attempt took that was answered.
    pub fn record(&mut self, latency: Duration) {
        self.latencies.record(latency);
    }

    /// How long an attempt had taken when it was cancelled, because another was faster. It would have taken longer still;
    /// that it took longer than the delay is all that a percentile asks. One that had hardly begun says nothing.
    pub fn record_loser(&mut self, elapsed: Duration) {
        if elapsed >= self.delay() {
            self.latencies.record(elapsed);
        }
    }
}

/// The settings in words: "after percentile 95, from 10ms to 5s, 1 at most".
impl fmt::Display for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HedgeBuilder { percentile, min_delay, max_delay, max_hedges } = self.settings;
        if min_delay == max_delay {
            write!(f, "after {min_delay:?}, {max_hedges} at most")
        } else {
            write!(f, "after percentile {percentile}, from {min_delay:?} to {max_delay:?}, {max_hedges} at most")
        }
    }
}

/// The default hedge of the [module](self).
impl Default for Hedge {
    fn default() -> Self {
        Self::with_settings(Self::builder())
    }
}

/// Settings of a [`Hedge`]; ranges and defaults are in the [module](self).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct HedgeBuilder {
    percentile: u32,
    min_delay: Duration,
    max_delay: Duration,
    max_hedges: u32,
}

impl HedgeBuilder {
    /// How many of a hundred attempts are answered before another is sent.
    pub const fn percentile(self, percentile: u32) -> Self {
        Self { percentile, ..self }
    }

    /// The shortest wait before another is sent, however fast answers come.
    pub const fn min_delay(self, delay: Duration) -> Self {
        Self { min_delay: delay, ..self }
    }

    /// The longest wait before another is sent, however slowly answers come, and while nothing is known.
    pub const fn max_delay(self, delay: Duration) -> Self {
        Self { max_delay: delay, ..self }
    }

    /// Exactly this wait, whatever was learned: the shortest and the longest at once.
    pub const fn after(self, delay: Duration) -> Self {
        Self { min_delay: delay, max_delay: delay, ..self }
    }

    /// How many more attempts a call sends beside others. Never more than two run at once: another is sent when one of two
    /// has failed and the other takes long.
    pub const fn max_hedges(self, hedges: u32) -> Self {
        Self { max_hedges: hedges, ..self }
    }

    /// The policy.
    ///
    /// # Errors
    /// If `percentile` is not from 50 to 99, `min_delay` or `max_hedges` is zero, or `max_delay` is less than `min_delay`.
    pub fn build(self) -> Result<Hedge, InvalidSetting> {
        if !(50..=99).contains(&self.percentile) {
            return Err(InvalidSetting::count("percentile", self.percentile.into(), "from 50 to 99"));
        }
        positive("min_delay", self.min_delay)?;
        if self.max_delay < self.min_delay {
            return Err(InvalidSetting::Contradiction {
                setting: "max_delay",
                value: Value::Time(self.max_delay),
                must_be: "at least as long as",
                other: "min_delay",
                other_value: Value::Time(self.min_delay),
            });
        }
        at_least_one("max_hedges", self.max_hedges)?;
        Ok(Hedge::with_settings(self))
    }
}
