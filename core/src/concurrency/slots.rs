use core::cmp;
use core::time::Duration;

use crate::time::{Instant, saturating_nanos};

/// Counts the slots that are taken, and frees those whose permits were lost.
///
/// A lease per slot would cost memory per slot. Instead slots are counted by generation, and a generation is as long as
/// the lease: when the one before the last is over, each of its permits is at least a lease old, and all go at once.
///
/// ```text
///                 began        began + lease
///   ──┬─────────────┬────────────────┬─────▶
///     │  previous   │     current    └ previous is dropped, current becomes previous
/// ```
///
/// So a slot is free again between one lease and two after its permit was lost, and the memory is two counters.
#[derive(Debug)]
pub(super) struct Slots {
    /// In nanoseconds, since every call reads it.
    lease: u64,
    generation: u32,
    began: Instant,
    current: u32,
    previous: u32,
}

impl Slots {
    pub(super) const fn new(lease: Duration) -> Self {
        Self { lease: saturating_nanos(lease), generation: 0, began: Instant::EPOCH, current: 0, previous: 0 }
    }

    pub(super) const fn lease(&self) -> Duration {
        match self.lease {
            u64::MAX => Duration::MAX, // As much as an instant can tell, and so for ever.
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// Lets leases be longer from now on, those under way included. A shorter one would take slots from under who has them.
    pub(super) fn set_lease(&mut self, lease: Duration) {
        self.lease = cmp::max(self.lease, saturating_nanos(lease));
    }

    pub(super) const fn taken(&self) -> u32 {
        self.current.saturating_add(self.previous)
    }

    /// Begins the generation that `now` belongs to, and drops those whose leases are over.
    #[inline]
    pub(super) fn advance(&mut self, now: Instant) {
        // A clock that steps back lengthens leases by no more than the lease: nothing waits for it to catch up.
        self.began = cmp::min(self.began, now);
        let age = now.as_nanos() - self.began.as_nanos();
        if age < self.lease {
            return;
        }
        let both_are_over = age - self.lease >= self.lease;
        (self.previous, self.began) = if both_are_over { (0, now) } else { (self.current, self.began + self.lease()) };
        self.current = 0;
        self.generation = self.generation.wrapping_add(if both_are_over { 2 } else { 1 });
    }

    /// Takes a slot of the current generation, and returns which that is.
    pub(super) fn take(&mut self) -> u32 {
        self.current = self.current.saturating_add(1);
        self.generation
    }

    /// Gives a slot back, if it was not given away already.
    pub(super) fn give_back(&mut self, generation: u32) -> bool {
        let count = match self.generation.wrapping_sub(generation) {
            0 => &mut self.current,
            1 => &mut self.previous,
            _ => return false,
        };
        *count = count.saturating_sub(1);
        true
    }

    /// When fewer than `limit` slots are taken at the latest, although no permit ever comes back.
    pub(super) fn free_at_latest(&self, limit: u32) -> Instant {
        let previous_ends = self.began + self.lease();
        if self.current < limit { previous_ends } else { previous_ends + self.lease() }
    }
}
