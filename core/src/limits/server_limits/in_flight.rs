use core::cmp;
use core::time::Duration;

use crate::limits::Counts;
use crate::time::Instant;

/// What attempts use of a limit that counts them, and of one that counts their weight.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Uses {
    calls: u64,
    weight: u64,
}

impl Uses {
    const NONE: Self = Self { calls: 0, weight: 0 };

    /// Of one attempt. None weighs nothing: the server counts what it likes.
    pub(super) const fn of(weight: u32) -> Self {
        Self { calls: 1, weight: if weight == 0 { 1 } else { weight as u64 } }
    }

    /// What a limit sees of it that counts that.
    pub(super) const fn that(self, counts: Counts) -> u64 {
        match counts {
            Counts::Calls => self.calls,
            Counts::Weight => self.weight,
        }
    }

    const fn and(self, other: Self) -> Self {
        Self { calls: self.calls.saturating_add(other.calls), weight: self.weight.saturating_add(other.weight) }
    }

    pub(super) const fn less(self, other: Self) -> Self {
        Self { calls: self.calls.saturating_sub(other.calls), weight: self.weight.saturating_sub(other.weight) }
    }
}

/// What was sent and not answered, and how much was answered ever.
///
/// A list of all that is under way would need memory for each. Instead they are counted by generation, as long as the
/// lease: when the generation before the last is over, whatever is left of it is at least a lease old, and counts as
/// answered. So whoever never says what became of an attempt is waited for between one lease and two.
#[derive(Debug)]
pub(super) struct InFlight {
    lease: Duration,
    generation: u32,
    began: Instant,
    current: Generation,
    previous: Generation,
    /// Wraps: only differences mean anything.
    ended: Uses,
}

#[derive(Clone, Copy, Debug)]
struct Generation {
    flying: Uses,
    /// Sent, and given up or without an answer: it may still arrive.
    lost: Uses,
}

impl Generation {
    const NONE: Self = Self { flying: Uses::NONE, lost: Uses::NONE };
}

impl InFlight {
    pub(super) const fn new(lease: Duration) -> Self {
        let (current, previous) = (Generation::NONE, Generation::NONE);
        Self { lease, generation: 0, began: Instant::EPOCH, current, previous, ended: Uses::NONE }
    }

    /// How much was answered so far.
    pub(super) const fn ended(&self) -> Uses {
        self.ended
    }

    /// Begins the generation that `now` belongs to.
    pub(super) fn advance(&mut self, now: Instant) {
        // A clock that steps back lengthens leases by no more than the lease.
        self.began = cmp::min(self.began, now);
        let age = now - self.began;
        if age < self.lease {
            return;
        }
        self.note_ended(self.previous.flying.and(self.previous.lost));
        (self.previous, self.current) = (self.current, Generation::NONE);
        self.began += self.lease;
        self.generation = self.generation.wrapping_add(1);
        if age - self.lease >= self.lease {
            self.note_ended(self.previous.flying.and(self.previous.lost));
            (self.previous, self.began) = (Generation::NONE, now);
            self.generation = self.generation.wrapping_add(1);
        }
    }

    /// Counts what is sent now, and returns its generation.
    #[inline]
    pub(super) fn start(&mut self, now: Instant, uses: Uses) -> u32 {
        self.advance(now);
        self.current.flying = self.current.flying.and(uses);
        self.generation
    }

    /// It was answered.
    pub(super) fn end(&mut self, generation: u32, uses: Uses) {
        if self.take_back(generation, uses) {
            self.note_ended(uses);
        }
    }

    /// It will not be answered, and may still arrive.
    pub(super) fn lose(&mut self, generation: u32, uses: Uses) {
        if let Some(generation) = self.generation_mut(generation) {
            generation.flying = generation.flying.less(uses);
            generation.lost = generation.lost.and(uses);
        }
    }

    /// It was not sent. Returns whether it still counted.
    pub(super) fn take_back(&mut self, generation: u32, uses: Uses) -> bool {
        self.generation_mut(generation).map(|generation| generation.flying = generation.flying.less(uses)).is_some()
    }

    /// Counts what was lost so far as answered: an answer came whose request set out after it, or beside it.
    pub(super) fn forget_lost(&mut self) {
        self.note_ended(self.current.lost.and(self.previous.lost));
        (self.current.lost, self.previous.lost) = (Uses::NONE, Uses::NONE);
    }

    /// What was sent and may not have been counted when a request was answered that set out when so much had been.
    pub(super) const fn since(&self, ended: Uses) -> Uses {
        let answered = Uses {
            calls: self.ended.calls.wrapping_sub(ended.calls),
            weight: self.ended.weight.wrapping_sub(ended.weight),
        };
        let (current, previous) = (self.current, self.previous);
        answered.and(current.flying).and(current.lost).and(previous.flying).and(previous.lost)
    }

    /// Whether something is under way that may be answered.
    pub(super) const fn is_any_flying(&self) -> bool {
        self.current.flying.calls > 0 || self.previous.flying.calls > 0
    }

    /// When nothing is under way any more, even if nobody ever says what became of it.
    pub(super) fn over_at_latest(&self) -> Instant {
        let previous_ends = self.began + self.lease;
        if self.current.flying.calls == 0 { previous_ends } else { previous_ends + self.lease }
    }

    const fn generation_mut(&mut self, generation: u32) -> Option<&mut Generation> {
        match self.generation.wrapping_sub(generation) {
            0 => Some(&mut self.current),
            1 => Some(&mut self.previous),
            _ => None,
        }
    }

    const fn note_ended(&mut self, uses: Uses) {
        self.ended.calls = self.ended.calls.wrapping_add(uses.calls);
        self.ended.weight = self.ended.weight.wrapping_add(uses.weight);
    }
}
