use core::fmt;
use core::time::Duration;

use super::kind::{Does, Kind, Spend};
use super::window::Window;
use super::{Budget, Cause, Charge, Exhausted, Paid, is_answer};
use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, first, positive, within};
use crate::time::{Instant, saturating_nanos};

/// Settings of a [`Budget::ratio`], the default budget.
///
/// | Setting | Default | Range | Why |
/// | --- | --- | --- | --- |
/// | `percent` | 20 | 1 to 1,000 | Finagle's and Linkerd's; enough to repeat every sixth call, and an overload stays an overload of a fifth |
/// | `window` | 10 s | at least 1 µs | Finagle's; what a client that has just lost its server may spend is a fifth of ten seconds of calls |
/// | `reserve` | 2 retries, one back each 60 s | 0 (none) or more; more than zero | a client that calls seldom has no successes to pay with, and its calls are worth a retry; two are a fifth of a minute's calls if there is one every six seconds |
///
/// A retry is paid for by the successes of the window, as far as `percent` of them reach; and where they do not, by the
/// reserve. Finagle's budget (`RetryBudget`, 2016) counts calls where this one counts successes: in an outage it would earn
/// what the next round of retries spends. Its reserve is 10 retries a second, which for most clients is no limit at all.
///
/// A retry after a throttled attempt whose server has said when to come back costs nothing: it is no sign of an outage,
/// and comes at a time that the server has chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct RatioBuilder {
    percent: u32,
    window: Duration,
    reserve: u32,
    every: Duration,
}

#[derive(Debug)]
pub(super) struct Ratio {
    percent: u32,
    /// Successes, and the retries that they paid for.
    pub(super) window: Window,
    reserve: Reserve,
}

impl RatioBuilder {
    pub(super) const DEFAULT: Self =
        Self { percent: 20, window: Duration::from_secs(10), reserve: 2, every: Duration::from_secs(60) };

    /// How many retries a hundred successes pay for.
    pub const fn percent(self, percent: u32) -> Self {
        Self { percent, ..self }
    }

    /// For how long a success counts, less up to a tenth of it. What was spent is forgotten after the same time.
    pub const fn window(self, length: Duration) -> Self {
        Self { window: length, ..self }
    }

    /// So many retries beside those that successes pay for; each that is spent comes back after `every`, one at a time.
    pub const fn reserve(self, retries: u32, every: Duration) -> Self {
        Self { reserve: retries, every, ..self }
    }

    /// The budget.
    ///
    /// # Errors
    /// If `percent` is not from 1 to 1,000, `window` less than a microsecond, or `every` of the reserve zero.
    pub const fn build(self) -> Result<Budget, InvalidSetting> {
        match first([
            within("percent", self.percent, (1, 1000), "from 1 to 1,000"),
            super::long_enough("window", self.window),
            positive("every", self.every),
        ]) {
            Ok(()) => Ok(self.unchecked()),
            Err(error) => Err(error),
        }
    }

    pub(crate) const fn unchecked(self) -> Budget {
        let Self { percent, window, reserve, every } = self;
        let reserve = Reserve { size: reserve, every, spent: 0, since: Instant::EPOCH };
        let ratio = Ratio { percent, window: Window::new(window), reserve };
        Budget { kind: Kind::Ratio(ratio), does: &const { Does::of::<Ratio>() } }
    }
}

impl Ratio {
    pub(super) fn left(&mut self, now: Instant) -> u64 {
        let (successes, spent) = self.window.sums(now);
        self.reserve.refill(now);
        let reserve = self.reserve.size.saturating_sub(self.reserve.spent);
        (successes * u64::from(self.percent) / 100).saturating_sub(spent) + u64::from(reserve)
    }

    pub(super) fn reconfigure(&mut self, now: Instant, to: &Self) {
        self.percent = to.percent;
        // What has come back until now has done so at the old pace.
        self.reserve.refill(now);
        (self.reserve.size, self.reserve.every) = (to.reserve.size, to.reserve.every);
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} % of the successes of {:?}", self.percent, self.window.length())?;
        let Reserve { size, every, .. } = self.reserve;
        if size == 0 { Ok(()) } else { write!(f, ", and {size} in reserve, one back each {every:?}") }
    }
}

impl Spend for Ratio {
    fn of(kind: &mut Kind) -> Option<&mut Self> {
        if let Kind::Ratio(ratio) = kind { Some(ratio) } else { None }
    }

    fn begin(&mut self, now: Instant, _entropy: u64) -> Result<Charge, Exhausted> {
        Ok(Charge::nothing(now))
    }

    fn withdraw(&mut self, now: Instant, _entropy: u64, cause: Cause) -> Result<Charge, Exhausted> {
        if cause == Cause::ToldWhen {
            // The server is well, and the limits hold everybody until when it said.
            return Ok(Charge::nothing(now));
        }
        let (successes, spent) = self.window.sums(now);
        if (spent + 1) * 100 <= successes * u64::from(self.percent) {
            let paid = &mut self.window.now(now).part;
            *paid = paid.saturating_add(1);
            return Ok(Charge { at: self.window.time_of(now), paid: Paid::BySuccesses });
        }
        self.reserve.take(now)?;
        Ok(Charge { at: now, paid: Paid::ByReserve })
    }

    fn record(&mut self, now: Instant, _charge: Charge, outcome: OutcomeKind) {
        if is_answer(outcome) {
            let successes = &mut self.window.now(now).whole;
            *successes = successes.saturating_add(1);
        }
    }

    fn abandon(&mut self, _now: Instant, _charge: Charge) {}

    fn refund(&mut self, now: Instant, Charge { at, paid }: Charge) {
        match paid {
            Paid::BySuccesses => {
                if let Some(tally) = self.window.then(now, at) {
                    tally.part = tally.part.saturating_sub(1);
                }
            }
            Paid::ByReserve => self.reserve.give_back(now, at),
            Paid::Nothing | Paid::Tokens(_) => {}
        }
    }
}

/// A few retries that come back with time alone.
#[derive(Debug)]
struct Reserve {
    size: u32,
    every: Duration,
    spent: u32,
    /// While any are spent: when the last one came back, or the first was spent.
    since: Instant,
}

impl Reserve {
    fn take(&mut self, now: Instant) -> Result<(), Exhausted> {
        self.refill(now);
        if self.size == 0 {
            return Err(Exhausted { retry_at: None });
        }
        if self.spent >= self.size {
            let retry_at = self.since + self.every;
            return Err(Exhausted { retry_at: Some(retry_at).filter(|at| *at > now) });
        }
        if self.spent == 0 {
            self.since = now;
        }
        self.spent += 1;
        Ok(())
    }

    /// Later than `every` after it was taken it may have come back by itself, and would come back twice. What is still
    /// spent comes back from now on: it may have been spent just now, and the time that has passed was the other's.
    fn give_back(&mut self, now: Instant, taken: Instant) {
        if now - taken < self.every {
            self.refill(now);
            self.spent = self.spent.saturating_sub(1);
            self.since = now;
        }
    }

    fn refill(&mut self, now: Instant) {
        let (passed, every) = (saturating_nanos(now - self.since), saturating_nanos(self.every));
        let back = u32::try_from(passed / every).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_sub(back);
        self.since += self.every.saturating_mul(back);
    }
}
