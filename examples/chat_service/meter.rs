//! How a server counts what an account uses.

use std::time::{Duration, Instant};

/// Has so much, takes from it, and fills up all the time, from empty to full in a minute.
#[derive(Debug)]
pub(crate) struct Meter {
    capacity: u32,
    /// How long it takes until one more is there.
    each: Duration,
    full_at: Instant,
}

impl Meter {
    pub(crate) fn full(capacity: u32, per: Duration, now: Instant) -> Self {
        Self { capacity, each: per / capacity.max(1), full_at: now }
    }

    pub(crate) const fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(crate) fn left(&self, now: Instant) -> u32 {
        let missing = self.full_in(now).as_nanos().div_ceil(self.each.as_nanos().max(1));
        self.capacity.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    /// How long until it is full.
    pub(crate) fn full_in(&self, now: Instant) -> Duration {
        self.full_at.saturating_duration_since(now)
    }

    /// How long until so many are there.
    pub(crate) fn ready_in(&self, now: Instant, wanted: u32) -> Duration {
        self.full_in(now).saturating_sub(self.each * self.capacity.saturating_sub(wanted))
    }

    pub(crate) fn take(&mut self, now: Instant, taken: u32) {
        self.full_at = self.full_at.max(now) + self.each * taken;
    }

    pub(crate) fn give_back(&mut self, unused: u32) {
        self.full_at = self.full_at.checked_sub(self.each * unused).unwrap_or(self.full_at);
    }
}
