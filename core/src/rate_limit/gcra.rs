//! The generic cell rate algorithm (ITU-T I.371, Annex A) as pure functions over the one word of a bucket's state:
//! when it will be full again, in units of its quota. Every form of the bucket is a place to keep that word.

use core::cmp;

use super::{Quota, Refusal};
use crate::time::Instant;

/// What taking tokens leads to.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) full_at: u64,
    pub(super) ready_at: Instant,
}

impl Quota {
    /// The state after taking `n` tokens that are there now; `None` if they are not, which [`refusal`](Self::refusal)
    /// explains.
    ///
    /// Everything that admits or refuses without more ado goes through here.
    #[inline]
    pub(super) fn take_now(&self, full_at: u64, now: Instant, n: u32) -> Option<u64> {
        if n.wrapping_sub(1) >= self.burst() {
            return self.take_none(full_at, now, n);
        }
        // Not more than the capacity, so it does not wrap.
        let cost = self.unit_cost() * u64::from(n);
        let passed = self.units_passed(now);
        if full_at <= passed {
            // Full: what is taken now counts from the end of the unit under way, but the whole burst is there.
            return self.units_begun(now).checked_add(cost);
        }
        let full_at = full_at.checked_add(cost)?;
        if full_at - passed <= self.capacity() { Some(full_at) } else { None }
    }

    /// Nothing changes where one token could be taken and none is; more than the burst are never there.
    #[cold]
    fn take_none(&self, full_at: u64, now: Instant, n: u32) -> Option<u64> {
        if n == 0 { self.take_now(full_at, now, 1).map(|_| full_at) } else { None }
    }

    /// Why `n` tokens cannot be taken now.
    #[inline(never)] // So that what is inlined stays small.
    pub(super) fn refusal(&self, full_at: u64, now: Instant, n: u32) -> Refusal {
        match self.take(full_at, now, n) {
            Ok(taken) => Refusal::not_yet(taken.map(|taken| taken.ready_at)),
            Err(refusal) => refusal,
        }
    }

    /// Takes `n` tokens, which are ready when it says, or tells when they could be; `None` beyond the end of the clock.
    #[inline]
    pub(super) fn take(&self, full_at: u64, now: Instant, n: u32) -> Result<Option<Taken>, Refusal> {
        let burst = self.burst();
        if n > burst {
            return Err(Refusal::Never { tokens: n, burst });
        }
        let taken = self.look(full_at, now, n.max(1).into());
        // None at all are admitted when one would be, and leave it there.
        Ok(if n == 0 { taken.map(|taken| Taken { full_at, ..taken }) } else { taken })
    }

    /// What taking so many tokens would lead to, burst or no burst.
    #[inline]
    pub(super) fn look(&self, full_at: u64, now: Instant, tokens: u64) -> Option<Taken> {
        self.look_units(full_at, now, self.cost(tokens)?)
    }

    /// The same of so many units.
    #[inline]
    pub(super) fn look_units(&self, full_at: u64, now: Instant, cost: u64) -> Option<Taken> {
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

    /// When a bucket is full that gives its first token at `until` and none before. The epoch is never to come.
    pub(super) fn blocked(&self, until: Instant) -> u64 {
        if until == Instant::EPOCH {
            return 0;
        }
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
        let missing = u64::try_from(cmp::max(0, i128::from(to.capacity()) - there)).unwrap_or(u64::MAX);
        if missing == 0 { 0 } else { to.units_begun(now).saturating_add(missing) }
    }
}
