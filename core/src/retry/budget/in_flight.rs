use core::cmp;
use core::fmt;
use core::time::Duration;

use super::kind::{Does, Kind, Spend};
use super::window::Window;
use super::{Budget, Cause, Charge, Exhausted, Paid};
use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, first, within};
use crate::time::Instant;

/// Settings of a [`Budget::in_flight`]: Envoy's retry budget.
///
/// | Setting | Default | Range | Why |
/// | --- | --- | --- | --- |
/// | `percent` | 20 | 1 to 100 | Envoy's `budget_percent` |
/// | `min_retries` | 3 | 0 or more | Envoy's `min_retry_concurrency`: a fifth of a few calls is nothing |
/// | `lease` | 2 min | at least 1 µs | longer than an attempt and the wait before it; what never reports is forgotten then |
///
/// Of all attempts under way so many percent may be retries, counting those that wait for their time. As Envoy does, it
/// counts attempts at once and not per time: a server that fails fast is asked more often than one that hangs.
///
/// Source: Envoy, `config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct InFlightBuilder {
    percent: u32,
    min_retries: u32,
    lease: Duration,
}

#[derive(Debug)]
pub(super) struct InFlight {
    percent: u32,
    min_retries: u32,
    /// Attempts under way, and how many of them are retries, by when they were begun.
    pub(super) window: Window,
}

impl InFlightBuilder {
    pub(super) const DEFAULT: Self = Self { percent: 20, min_retries: 3, lease: Duration::from_secs(120) };

    /// How many of a hundred attempts under way may be retries.
    pub const fn percent(self, percent: u32) -> Self {
        Self { percent, ..self }
    }

    /// How many retries may be under way however few attempts there are.
    pub const fn min_retries(self, retries: u32) -> Self {
        Self { min_retries: retries, ..self }
    }

    /// When an attempt that was begun and never reported is forgotten, at the latest; at nine tenths of it at the earliest.
    pub const fn lease(self, time: Duration) -> Self {
        Self { lease: time, ..self }
    }

    /// The budget.
    ///
    /// # Errors
    /// If `percent` is not from 1 to 100, or `lease` is less than a microsecond.
    pub const fn build(self) -> Result<Budget, InvalidSetting> {
        let Self { percent, min_retries, lease } = self;
        match first([within("percent", percent, (1, 100), "from 1 to 100"), super::long_enough("lease", lease)]) {
            Ok(()) => {
                let in_flight = InFlight { percent, min_retries, window: Window::new(lease) };
                Ok(Budget { kind: Kind::InFlight(in_flight), does: &const { Does::of::<InFlight>() } })
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { percent, min_retries, window } = self;
        write!(
            f,
            "{percent} % of the attempts under way, at least {min_retries}, forgotten after {:?}",
            window.length()
        )
    }
}

impl Spend for InFlight {
    fn of(kind: &mut Kind) -> Option<&mut Self> {
        if let Kind::InFlight(in_flight) = kind { Some(in_flight) } else { None }
    }

    fn begin(&mut self, now: Instant, _entropy: u64) -> Result<Charge, Exhausted> {
        let tally = self.window.now(now);
        tally.whole = tally.whole.saturating_add(1);
        Ok(Charge { at: self.window.time_of(now), paid: Paid::Nothing })
    }

    fn withdraw(&mut self, now: Instant, entropy: u64, _cause: Cause) -> Result<Charge, Exhausted> {
        let (attempts, retries) = self.window.sums(now);
        if retries >= cmp::max(u64::from(self.min_retries), attempts * u64::from(self.percent) / 100) {
            return Err(Exhausted { retry_at: None });
        }
        let tally = self.window.now(now);
        tally.part = tally.part.saturating_add(1);
        Ok(Charge { paid: Paid::Tokens(1), ..self.begin(now, entropy)? })
    }

    fn record(&mut self, now: Instant, charge: Charge, _outcome: OutcomeKind) {
        self.end(now, charge);
    }

    fn abandon(&mut self, now: Instant, charge: Charge) {
        self.end(now, charge);
    }

    fn refund(&mut self, now: Instant, charge: Charge) {
        self.end(now, charge);
    }
}

impl InFlight {
    pub(super) fn left(&mut self, now: Instant) -> u64 {
        // A retry counts as an attempt too, and makes room for others: that is not counted here.
        let (attempts, retries) = self.window.sums(now);
        cmp::max(u64::from(self.min_retries), attempts * u64::from(self.percent) / 100).saturating_sub(retries)
    }

    pub(super) const fn reconfigure(&mut self, to: &Self) {
        (self.percent, self.min_retries) = (to.percent, to.min_retries);
    }

    /// An attempt is no longer under way, however that came.
    fn end(&mut self, now: Instant, Charge { at, paid }: Charge) {
        if let Some(tally) = self.window.then(now, at) {
            tally.whole = tally.whole.saturating_sub(1);
            if paid != Paid::Nothing {
                tally.part = tally.part.saturating_sub(1);
            }
        }
    }
}
