//! The generic cell rate algorithm (ITU-T I.371, Annex A) as pure functions over the one word of a bucket's state:
//! when it will be full again, in units of its quota. Every form of the bucket is a place to keep that word.

use core::cmp;

use super::{Quota, Refusal, Reservation};
use crate::time::Instant;

/// What taking tokens leads to.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) full_at: u64,
    pub(super) ready_at: Instant,
}

impl Quota {
    /// Takes `n` tokens, which are ready when it says, or tells when they could be; `None` beyond the end of the clock.
    pub(super) fn take(&self, full_at: u64, now: Instant, n: u32) -> Result<Option<Taken>, Refusal> {
        let burst = self.burst();
        if n > burst {
            return Err(Refusal::Never { tokens: n, burst });
        }
        // None at all are admitted when one would be, and leave it there.
        let asked = self.look(full_at, now, n.max(1).into());
        let free = if n == 0 { self.unit_cost() } else { 0 };
        Ok(asked.map(|taken| Taken { full_at: taken.full_at - free, ..taken }))
    }

    /// What taking so many tokens would lead to, burst or no burst.
    pub(super) fn look(&self, full_at: u64, now: Instant, tokens: u64) -> Option<Taken> {
        let cost = self.cost(tokens)?;
        let passed = self.units_passed(now);
        let (missing, start) = match full_at.checked_sub(passed) {
            Some(missing @ 1..) => (missing, full_at),
            // Full: what is taken now counts from the end of the unit under way, but the whole burst is there.
            _ => (0, self.units_begun(now)),
        };
        let full_at = start.checked_add(cost)?;
        if missing + cost <= self.capacity() {
            return Some(Taken { full_at, ready_at: now });
        }
        let ready_at = self.instant_at(full_at - self.capacity())?;
        Some(Taken { full_at, ready_at })
    }

    /// How many whole tokens are there.
    pub(super) fn available(&self, full_at: u64, now: Instant) -> u32 {
        let missing = full_at.saturating_sub(self.units_passed(now));
        let tokens = self.capacity().saturating_sub(missing) / self.unit_cost();
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// How much of a reservation can be given back at `now`, if `unused` of its tokens were not used.
    ///
    /// What the bucket has refilled in the meantime cannot: it may have been full, and then what was to be given back
    /// was never missing. All of it is left until the reservation is ready, and less and less afterwards.
    pub(super) fn refund(&self, reservation: &Reservation, now: Instant, unused: u32) -> u64 {
        let not_refilled = reservation.full_at.saturating_sub(self.units_begun(now));
        cmp::min(self.unit_cost().saturating_mul(unused.into()), not_refilled)
    }

    /// When a bucket is full that gives its first token at `until` and none before.
    pub(super) fn blocked(&self, until: Instant) -> u64 {
        self.units_begun(until).saturating_add(self.capacity() - self.unit_cost())
    }

    /// The state that `full_at` under this quota amounts to under another.
    ///
    /// The tokens that are there stay, as far as the other's burst has room, and so does a debt. Fractions of a unit
    /// are rounded against the caller.
    pub(super) fn convert(&self, full_at: u64, now: Instant, to: &Self) -> u64 {
        let missing = full_at.saturating_sub(self.units_passed(now));
        let there = i128::from(self.capacity()) - i128::from(missing);
        let there = (there * i128::from(to.unit_cost())).div_euclid(i128::from(self.unit_cost()));
        let missing = u64::try_from(i128::from(to.capacity()) - there).unwrap_or(if there > 0 { 0 } else { u64::MAX });
        if missing == 0 { 0 } else { to.units_begun(now).saturating_add(missing) }
    }
}
