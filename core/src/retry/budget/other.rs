use core::fmt;

use super::adaptive::Adaptive;
use super::in_flight::InFlight;
use super::quota::Quota;
use super::throttle::Throttle;
use super::{Budget, Cause, Charge, Exhausted, Kind};
use crate::outcome::OutcomeKind;
use crate::time::Instant;

/// A budget of any kind but the default: what it knows, and what it does with that.
///
/// What it does is found through pointers that its builder sets. So a program links only the kinds that it builds, which
/// is what a `match` over all of them would prevent, and firmware has no room for five.
pub(super) struct Other {
    pub(super) kind: OtherKind,
    pub(super) does: &'static Does,
}

#[derive(Debug)]
pub(super) enum OtherKind {
    Quota(Quota),
    InFlight(InFlight),
    Throttle(Throttle),
    Adaptive(Adaptive),
}

/// What a kind does with an attempt: see [`Spend`].
pub(super) struct Does {
    pub(super) begin: fn(&mut OtherKind, Instant, u64) -> Result<Charge, Exhausted>,
    pub(super) withdraw: fn(&mut OtherKind, Instant, u64, Cause) -> Result<Charge, Exhausted>,
    pub(super) record: fn(&mut OtherKind, Instant, Charge, OutcomeKind),
    pub(super) abandon: fn(&mut OtherKind, Instant, Charge),
    pub(super) refund: fn(&mut OtherKind, Instant, Charge),
}

/// A kind of budget: what [`Budget`]'s methods of the same names do.
pub(super) trait Spend: Sized {
    fn of(kind: &mut OtherKind) -> Option<&mut Self>;
    fn begin(&mut self, now: Instant, entropy: u64) -> Result<Charge, Exhausted>;
    fn withdraw(&mut self, now: Instant, entropy: u64, cause: Cause) -> Result<Charge, Exhausted>;
    fn record(&mut self, now: Instant, charge: Charge, outcome: OutcomeKind);
    fn abandon(&mut self, now: Instant, charge: Charge);
    fn refund(&mut self, now: Instant, charge: Charge);
}

impl Does {
    pub(super) const fn what<S: Spend>() -> Self {
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

impl Budget {
    pub(super) const fn other(kind: OtherKind, does: &'static Does) -> Self {
        Self { kind: Kind::Other(Other { kind, does }) }
    }
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OtherKind::Quota(quota) => quota.fmt(f),
            OtherKind::InFlight(in_flight) => in_flight.fmt(f),
            OtherKind::Throttle(throttle) => throttle.fmt(f),
            OtherKind::Adaptive(adaptive) => adaptive.fmt(f),
        }
    }
}
