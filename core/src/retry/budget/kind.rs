use core::fmt;

use super::adaptive::Adaptive;
use super::in_flight::InFlight;
use super::quota::Quota;
use super::ratio::Ratio;
use super::throttle::Throttle;
use super::{Budget, Cause, Charge, Exhausted};
use crate::outcome::OutcomeKind;
use crate::time::Instant;

/// What a budget knows, by its kind.
#[derive(Debug)]
pub(super) enum Kind {
    Unlimited(Unlimited),
    Ratio(Ratio),
    Quota(Quota),
    InFlight(InFlight),
    Throttle(Throttle),
    Adaptive(Adaptive),
}

/// It pays for everything.
#[derive(Debug)]
pub(super) struct Unlimited;

/// What a kind does with an attempt: see [`Spend`].
///
/// A budget finds it through these pointers, which its builder sets. So a program links only the kinds that it builds,
/// which is what a `match` over all of them would prevent, and firmware has no room for six.
pub(super) struct Does {
    pub(super) begin: fn(&mut Kind, Instant, u64) -> Result<Charge, Exhausted>,
    pub(super) withdraw: fn(&mut Kind, Instant, u64, Cause) -> Result<Charge, Exhausted>,
    pub(super) record: fn(&mut Kind, Instant, Charge, OutcomeKind),
    pub(super) abandon: fn(&mut Kind, Instant, Charge),
    pub(super) refund: fn(&mut Kind, Instant, Charge),
}

/// A kind of budget: what [`Budget`]'s methods of the same names do.
pub(super) trait Spend: Sized {
    fn of(kind: &mut Kind) -> Option<&mut Self>;
    fn begin(&mut self, now: Instant, entropy: u64) -> Result<Charge, Exhausted>;
    fn withdraw(&mut self, now: Instant, entropy: u64, cause: Cause) -> Result<Charge, Exhausted>;
    fn record(&mut self, now: Instant, charge: Charge, outcome: OutcomeKind);
    fn abandon(&mut self, now: Instant, charge: Charge);
    fn refund(&mut self, now: Instant, charge: Charge);
}

impl Does {
    pub(super) const fn of<S: Spend>() -> Self {
        Self {
            begin: |kind, now, entropy| S::of(kind).map_or(Ok(Charge::nothing(now)), |kind| kind.begin(now, entropy)),
            withdraw: |kind, now, entropy, cause| {
                S::of(kind).map_or(Ok(Charge::nothing(now)), |kind| kind.withdraw(now, entropy, cause))
            },
            record: |kind, now, charge, outcome| S::of(kind).map_or((), |kind| kind.record(now, charge, outcome)),
            abandon: |kind, now, charge| S::of(kind).map_or((), |kind| kind.abandon(now, charge)),
            refund: |kind, now, charge| S::of(kind).map_or((), |kind| kind.refund(now, charge)),
        }
    }
}

impl Spend for Unlimited {
    fn of(kind: &mut Kind) -> Option<&mut Self> {
        if let Kind::Unlimited(unlimited) = kind { Some(unlimited) } else { None }
    }

    fn begin(&mut self, now: Instant, _entropy: u64) -> Result<Charge, Exhausted> {
        Ok(Charge::nothing(now))
    }

    fn withdraw(&mut self, now: Instant, _entropy: u64, _cause: Cause) -> Result<Charge, Exhausted> {
        Ok(Charge::nothing(now))
    }

    fn record(&mut self, _now: Instant, _charge: Charge, _outcome: OutcomeKind) {}

    fn abandon(&mut self, _now: Instant, _charge: Charge) {}

    fn refund(&mut self, _now: Instant, _charge: Charge) {}
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// The settings in words: "20 % of the successes of 10s, and 2 in reserve, one back each 60s".
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Unlimited(Unlimited) => f.write_str("unlimited"),
            Kind::Ratio(ratio) => ratio.fmt(f),
            Kind::Quota(quota) => quota.fmt(f),
            Kind::InFlight(in_flight) => in_flight.fmt(f),
            Kind::Throttle(throttle) => throttle.fmt(f),
            Kind::Adaptive(adaptive) => adaptive.fmt(f),
        }
    }
}
