use steadfast_core::limits::Limiter;
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::time::Timer;

use super::RateLimit;
use crate::line::{Granted, Ticket};

/// Tokens that were acquired. They are spent, unless it is told otherwise.
///
/// Dropping it leaves them spent: who does not care about true costs need not keep it. Where a slot is part of the limits,
/// dropping it frees the slot.
#[derive(Debug)]
pub struct Held<'a, T: Timer, const K: usize = 1> {
    limit: &'a RateLimit<T, K>,
    /// Not there once it was handed back.
    granted: Option<Granted<K>>,
}

impl<'a, T: Timer, const K: usize> Held<'a, T, K> {
    pub(super) const fn new(limit: &'a RateLimit<T, K>, granted: Granted<K>) -> Self {
        Self { limit, granted: Some(granted) }
    }

    /// Settles with what was used in truth, which may be known only afterwards: what an answer cost in LLM tokens.
    ///
    /// If it was less, what has not been refilled in the meantime goes back, and those in line move forward. If it was
    /// more, the difference is owed, and those in line wait for it.
    pub fn commit(mut self, used: [u32; K]) {
        if let Some(granted) = self.granted.take() {
            self.limit.with(|line, now| line.commit(now, granted, used));
        }
    }

    /// Tells how the operation ended that had them.
    pub(crate) fn finish(mut self, outcome: OutcomeKind) {
        if let Some(granted) = self.granted.take() {
            self.limit.with(|line, now| line.finish(now, Ticket::granted(granted), outcome));
        }
    }

    /// Gives everything back, because nothing was used.
    pub fn cancel(self) {
        self.commit([0; K]);
    }

    #[inline(never)] // So that dropping one without costs nothing.
    fn free_slot(&mut self) {
        if let Some(granted) = self.granted.take() {
            self.limit.with(|line, now| line.abandon(now, Ticket::granted(granted)));
        }
    }
}

impl<T: Timer, const K: usize> Drop for Held<'_, T, K> {
    #[inline]
    fn drop(&mut self) {
        // Looked at before it is moved: most have no slot, and are dropped at once.
        if self.granted.as_ref().is_some_and(Granted::is_waited_for) {
            self.free_slot();
        }
    }
}
