use core::cmp;
use core::fmt;

use super::kind::{Does, Kind, Spend};
use super::{Budget, Cause, Charge, Exhausted};
use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, at_least_one, first, within};
use crate::time::Instant;

/// Settings of a [`Budget::throttle`]: gRPC's retry throttling (proposal A6, "Throttling Retry Attempts and Hedged RPCs").
///
/// | Setting | Default | Range | Why |
/// | --- | --- | --- | --- |
/// | `max_tokens` | 10 | 1 to 1,000 | A6's example; the range is A6's too |
/// | `token_ratio_thousandths` | 100 | 1 or more | A6's example of 0.1; A6 takes three decimal places |
///
/// Every attempt that fails takes a token, retry or not, and every one that succeeds brings the ratio of one. While more
/// than half of the tokens are there, anything may be retried; and nothing otherwise. Retries themselves cost nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct ThrottleBuilder {
    max_tokens: u32,
    token_ratio: u32,
}

#[derive(Debug)]
pub(super) struct Throttle {
    /// In thousandths of a token, as are the others.
    max: u32,
    gain: u32,
    tokens: u32,
}

const TOKEN: u32 = 1000;

impl ThrottleBuilder {
    pub(super) const DEFAULT: Self = Self { max_tokens: 10, token_ratio: 100 };

    /// How many tokens there are at most, and at the start.
    pub const fn max_tokens(self, tokens: u32) -> Self {
        Self { max_tokens: tokens, ..self }
    }

    /// What a success brings, in thousandths of a token.
    pub const fn token_ratio_thousandths(self, thousandths: u32) -> Self {
        Self { token_ratio: thousandths, ..self }
    }

    /// The budget.
    ///
    /// # Errors
    /// If `max_tokens` is not from 1 to 1,000, or `token_ratio_thousandths` is zero.
    pub const fn build(self) -> Result<Budget, InvalidSetting> {
        let Self { max_tokens, token_ratio: gain } = self;
        match first([
            within("max_tokens", max_tokens, (1, 1000), "from 1 to 1,000"),
            at_least_one("token_ratio_thousandths", gain),
        ]) {
            Ok(()) => {
                let max = max_tokens * TOKEN;
                let throttle = Throttle { max, gain, tokens: max };
                Ok(Budget { kind: Kind::Throttle(throttle), does: &const { Does::of::<Throttle>() } })
            }
            Err(error) => Err(error),
        }
    }
}

impl Throttle {
    /// All, or none.
    pub(super) const fn left(&self) -> Option<u64> {
        if self.tokens > self.max / 2 { None } else { Some(0) }
    }

    pub(super) const fn reconfigure(&mut self, to: &Self) {
        let lost = self.max - self.tokens;
        (self.max, self.gain) = (to.max, to.gain);
        self.tokens = self.max.saturating_sub(lost);
    }
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, gain) = (self.max / TOKEN, self.gain);
        let (whole, thousandths) = (gain / TOKEN, gain % TOKEN);
        write!(f, "while more than half of {max} tokens are there; a failure takes 1, ")?;
        write!(f, "a success brings {whole}.{thousandths:03}")
    }
}

impl Spend for Throttle {
    fn of(kind: &mut Kind) -> Option<&mut Self> {
        if let Kind::Throttle(throttle) = kind { Some(throttle) } else { None }
    }

    fn begin(&mut self, now: Instant, _entropy: u64) -> Result<Charge, Exhausted> {
        Ok(Charge::nothing(now))
    }

    fn withdraw(&mut self, now: Instant, _entropy: u64, _cause: Cause) -> Result<Charge, Exhausted> {
        if self.tokens > self.max / 2 { Ok(Charge::nothing(now)) } else { Err(Exhausted { retry_at: None }) }
    }

    fn abandon(&mut self, _now: Instant, _charge: Charge) {}

    fn refund(&mut self, _now: Instant, _charge: Charge) {}

    fn record(&mut self, _now: Instant, _charge: Charge, outcome: OutcomeKind) {
        self.tokens = match outcome {
            OutcomeKind::Success => cmp::min(self.max, self.tokens.saturating_add(self.gain)),
            OutcomeKind::Transient | OutcomeKind::Throttled => self.tokens.saturating_sub(TOKEN),
            // A6 counts only what it would retry and what succeeded.
            OutcomeKind::Permanent => self.tokens,
        };
    }
}
