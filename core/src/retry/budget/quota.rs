use core::cmp;
use core::fmt;

use super::kind::{Does, Kind, Spend};
use super::{Budget, Cause, Charge, Exhausted, Paid, is_answer};
use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, at_least_one, at_most, first};
use crate::time::Instant;

/// Settings of a [`Budget::quota`]: the retry quota of the AWS SDKs' standard mode.
///
/// | Setting | Default (2.1) | 2.0 | Range | Why |
/// | --- | --- | --- | --- | --- |
/// | `capacity` | 500 | 500 | at least 1 | what the SDKs of AWS ship with |
/// | `transient_cost` | 14 | 5 | 1 to `capacity` | 35 retries without a success; 2.0's 100 kept an overload going |
/// | `throttled_cost` | 5 | 5 | 1 to `capacity` | a server that throttles is well and has asked for later |
/// | `timeout_cost` | 14 | 10 | 1 to `capacity` | 2.1 no longer tells a timeout from another failure |
/// | `hedge_cost` | 14 | 5 | 1 to `capacity` | ours: as much as a retry after a failure that nobody explained |
/// | `success_gain` | 1 | 1 | 0 or more | a call that succeeds at once gives back a little of what others spent |
///
/// The bucket starts full. A retry that succeeds gives back what it cost, so that a server that answers the second time
/// may be retried without end: what it limits is retries *in vain*.
///
/// Sources: *AWS SDKs and Tools Reference Guide*, "Retry behavior"; the constants 14 and 5 are those of the revision of
/// 2026 ("2.1"), and 5, 10 and 1 those of the one before it ("2.0").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct QuotaBuilder {
    capacity: u32,
    transient_cost: u32,
    throttled_cost: u32,
    timeout_cost: u32,
    hedge_cost: u32,
    success_gain: u32,
}

#[derive(Debug)]
pub(super) struct Quota {
    settings: QuotaBuilder,
    tokens: u32,
}

impl QuotaBuilder {
    pub(super) const AWS_2_0: Self =
        Self { capacity: 500, transient_cost: 5, throttled_cost: 5, timeout_cost: 10, hedge_cost: 5, success_gain: 1 };

    pub(super) const AWS_2_1: Self = Self { transient_cost: 14, timeout_cost: 14, hedge_cost: 14, ..Self::AWS_2_0 };

    /// How many tokens there are at most, and at the start.
    pub const fn capacity(self, tokens: u32) -> Self {
        Self { capacity: tokens, ..self }
    }

    /// What a retry after a transient failure costs.
    pub const fn transient_cost(self, tokens: u32) -> Self {
        Self { transient_cost: tokens, ..self }
    }

    /// What a retry after a throttled attempt costs.
    pub const fn throttled_cost(self, tokens: u32) -> Self {
        Self { throttled_cost: tokens, ..self }
    }

    /// What a retry after a timeout costs.
    pub const fn timeout_cost(self, tokens: u32) -> Self {
        Self { timeout_cost: tokens, ..self }
    }

    /// What a hedge costs.
    pub const fn hedge_cost(self, tokens: u32) -> Self {
        Self { hedge_cost: tokens, ..self }
    }

    /// What a first attempt that succeeds brings.
    pub const fn success_gain(self, tokens: u32) -> Self {
        Self { success_gain: tokens, ..self }
    }

    /// The budget.
    ///
    /// # Errors
    /// If `capacity` or a cost is zero, or a cost is more than `capacity`.
    pub const fn build(self) -> Result<Budget, InvalidSetting> {
        let capacity = ("capacity", self.capacity);
        let [transient, throttled, timeout, hedge] = [
            ("transient_cost", self.transient_cost),
            ("throttled_cost", self.throttled_cost),
            ("timeout_cost", self.timeout_cost),
            ("hedge_cost", self.hedge_cost),
        ];
        match first([
            at_least_one(capacity.0, capacity.1),
            at_least_one(transient.0, transient.1),
            at_most(transient, capacity),
            at_least_one(throttled.0, throttled.1),
            at_most(throttled, capacity),
            at_least_one(timeout.0, timeout.1),
            at_most(timeout, capacity),
            at_least_one(hedge.0, hedge.1),
            at_most(hedge, capacity),
        ]) {
            Ok(()) => Ok(self.unchecked()),
            Err(error) => Err(error),
        }
    }

    pub(super) const fn unchecked(self) -> Budget {
        let quota = Quota { settings: self, tokens: self.capacity };
        Budget { kind: Kind::Quota(quota), does: &const { Does::of::<Quota>() } }
    }

    const fn cost(&self, cause: Cause) -> u32 {
        match cause {
            Cause::Transient => self.transient_cost,
            Cause::Throttled | Cause::ToldWhen => self.throttled_cost,
            Cause::TimedOut => self.timeout_cost,
            Cause::Hedge => self.hedge_cost,
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuotaBuilder { capacity, transient_cost, throttled_cost, timeout_cost, hedge_cost, success_gain } =
            self.settings;
        write!(f, "{capacity} tokens; a retry costs {transient_cost}, {throttled_cost} if throttled, ")?;
        write!(f, "{timeout_cost} after a timeout; a hedge {hedge_cost}; a success brings {success_gain}")
    }
}

impl Spend for Quota {
    fn of(kind: &mut Kind) -> Option<&mut Self> {
        if let Kind::Quota(quota) = kind { Some(quota) } else { None }
    }

    fn begin(&mut self, now: Instant, _entropy: u64) -> Result<Charge, Exhausted> {
        Ok(Charge::nothing(now))
    }

    fn withdraw(&mut self, now: Instant, _entropy: u64, cause: Cause) -> Result<Charge, Exhausted> {
        let cost = self.settings.cost(cause);
        match self.tokens.checked_sub(cost) {
            Some(left) => {
                self.tokens = left;
                Ok(Charge { at: now, paid: Paid::Tokens(cost) })
            }
            None => Err(Exhausted { retry_at: None }),
        }
    }

    fn record(&mut self, _now: Instant, charge: Charge, outcome: OutcomeKind) {
        match charge.paid {
            _ if !is_answer(outcome) => {}
            Paid::Tokens(cost) => self.add(cost),
            Paid::Nothing | Paid::BySuccesses | Paid::ByReserve => self.add(self.settings.success_gain),
        }
    }

    fn abandon(&mut self, _now: Instant, _charge: Charge) {}

    fn refund(&mut self, _now: Instant, charge: Charge) {
        match charge.paid {
            Paid::Tokens(cost) => self.add(cost),
            Paid::Nothing | Paid::BySuccesses | Paid::ByReserve => {}
        }
    }
}

impl Quota {
    pub(super) fn left(&self) -> Option<u64> {
        self.tokens.checked_div(self.settings.transient_cost).map(u64::from)
    }

    pub(super) fn reconfigure(&mut self, to: &Self) {
        let spent = self.settings.capacity - self.tokens;
        self.settings = to.settings;
        self.tokens = self.settings.capacity.saturating_sub(spent);
    }

    fn add(&mut self, tokens: u32) {
        self.tokens = cmp::min(self.settings.capacity, self.tokens.saturating_add(tokens));
    }
}
