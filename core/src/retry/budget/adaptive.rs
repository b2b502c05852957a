use core::fmt;
use core::time::Duration;

use super::kind::{Does, Kind, Spend};
use super::window::Window;
use super::{Budget, Cause, Charge, Exhausted, Paid, is_answer};
use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, first, within};
use crate::time::Instant;

/// Settings of a [`Budget::adaptive`]: the client-side throttling of *Site Reliability Engineering* (Google, 2016),
/// chapter "Handling Overload".
///
/// | Setting | Default | Range | Why |
/// | --- | --- | --- | --- |
/// | `multiplier_percent` | 200 | at least 100 | the book's K = 2: the server sees at most about one call in vain for each that it accepts, and the client sees soon that it is well again |
/// | `window` | 2 min | at least 1 µs | the book's |
///
/// An attempt is refused with a probability of (requests − K × accepts) ÷ (requests + 1), where requests are all that were
/// asked for, sent or not, and accepts are those that the server answered. Once it has seen a failure it refuses first
/// attempts as well as retries and hedges, at random: it is no limit on retries but on calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct AdaptiveBuilder {
    multiplier_percent: u32,
    window: Duration,
}

#[derive(Debug)]
pub(super) struct Adaptive {
    multiplier_percent: u32,
    /// Requests, and how many of them were accepted: both by when they were asked for, so that they leave together.
    pub(super) window: Window,
}

impl AdaptiveBuilder {
    pub(super) const DEFAULT: Self = Self { multiplier_percent: 200, window: Duration::from_secs(120) };

    /// K, in percent: how many calls are sent for each that is accepted.
    pub const fn multiplier_percent(self, percent: u32) -> Self {
        Self { multiplier_percent: percent, ..self }
    }

    /// For how long a call counts, less up to a tenth of it.
    pub const fn window(self, length: Duration) -> Self {
        Self { window: length, ..self }
    }

    /// The budget.
    ///
    /// # Errors
    /// If `multiplier_percent` is less than 100, or `window` less than a microsecond.
    pub const fn build(self) -> Result<Budget, InvalidSetting> {
        let Self { multiplier_percent, window } = self;
        match first([
            within("multiplier_percent", multiplier_percent, (100, u32::MAX), "at least 100"),
            super::long_enough("window", window),
        ]) {
            Ok(()) => {
                let adaptive = Adaptive { multiplier_percent, window: Window::new(window) };
                Ok(Budget { kind: Kind::Adaptive(adaptive), does: &const { Does::of::<Adaptive>() } })
            }
            Err(error) => Err(error),
        }
    }
}

impl Adaptive {
    pub(super) const fn reconfigure(&mut self, to: &Self) {
        self.multiplier_percent = to.multiplier_percent;
    }
}

impl fmt::Display for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.multiplier_percent;
        write!(f, "calls up to {percent} % of those accepted in {:?}, first attempts too", self.window.length())
    }
}

impl Spend for Adaptive {
    fn of(kind: &mut Kind) -> Option<&mut Self> {
        if let Kind::Adaptive(adaptive) = kind { Some(adaptive) } else { None }
    }

    fn begin(&mut self, now: Instant, entropy: u64) -> Result<Charge, Exhausted> {
        let (requests, accepts) = self.window.sums(now);
        let asked = &mut self.window.now(now).whole;
        *asked = asked.saturating_add(1);
        // In hundredths of a request. The sums are below 2^36, so that nothing wraps.
        let in_vain = (100 * requests).saturating_sub(accepts.saturating_mul(self.multiplier_percent.into()));
        let refused = u128::from(entropy) * u128::from(100 * (requests + 1)) < u128::from(in_vain) << 64;
        if refused {
            return Err(Exhausted { retry_at: None });
        }
        Ok(Charge { at: self.window.time_of(now), paid: Paid::Nothing })
    }

    fn withdraw(&mut self, now: Instant, entropy: u64, _cause: Cause) -> Result<Charge, Exhausted> {
        self.begin(now, entropy)
    }

    fn record(&mut self, now: Instant, charge: Charge, outcome: OutcomeKind) {
        if !is_answer(outcome) {
            return;
        }
        if let Some(tally) = self.window.then(now, charge.at) {
            tally.part = tally.part.saturating_add(1);
        }
    }

    fn abandon(&mut self, now: Instant, charge: Charge) {
        self.refund(now, charge);
    }

    /// It was never made, or given up: it says nothing about the server.
    fn refund(&mut self, now: Instant, charge: Charge) {
        if let Some(tally) = self.window.then(now, charge.at) {
            tally.whole = tally.whole.saturating_sub(1);
        }
    }
}
