use std::task::Waker;
use std::time::Duration;

use steadfast_core::limits::Missing;
use steadfast_core::rate_limit::Refusal;
use steadfast_core::time::Instant;

use super::Line;
use super::gate::Granted;
use super::queue::Waiter;
use super::ticket::{Place, Turn};
use crate::demand::Demand;

/// Taking what is there, or a place in line.
impl<const K: usize> Line<K> {
    /// What is demanded, if it is only tokens, they are there, and nobody waits or was passed. Otherwise nothing has
    /// changed, and [`enter`](Self::enter) has the answer.
    #[allow(clippy::inline_always)] // Passing what is granted through memory would take longer than the decision.
    #[inline(always)]
    pub(crate) fn take_at_once(&mut self, now: Instant, demand: &Demand<K>) -> Option<Granted<K>> {
        let is_idle = self.waiting.is_empty() && self.granted.is_empty();
        if is_idle && now < demand.deadline { self.gate.try_take_tokens(now, demand.weights) } else { None }
    }

    /// Takes what is there, or a place in line, for somebody who may leave a waker there.
    pub(crate) fn enter(&mut self, now: Instant, demand: Demand<K>, waker: Option<&Waker>) -> Result<Turn<K>, Refusal> {
        self.serve(now);
        let place = Place::new(demand.priority, self.next);
        let (mut not_before, mut slot) = (now, None);
        if now < demand.deadline && self.waiting.first().is_none_or(|first| place < first.place) {
            match self.gate.try_take(now, demand.weights) {
                Ok(grant) => return Ok(Turn::Granted(grant)),
                Err(Missing::Slot(at_latest)) => slot = Some(at_latest),
                Err(Missing::Tokens(ready_at)) => not_before = ready_at,
                Err(Missing::Never(_)) => {}
            }
        }
        let turn = self.turn_of_newcomer(now, place, demand, not_before)?;
        self.next += 1;
        let (until, for_slot) = (slot.unwrap_or(turn), slot.is_some());
        let mut waiter = Waiter::new(place, demand.weights, until);
        (waiter.for_slot, waiter.waker) = (for_slot, waker.cloned());
        self.waiting.insert(waiter);
        Ok(if for_slot { Turn::WaitForSlot(place, until) } else { Turn::Wait(place, until) })
    }

    /// When it will be the turn of somebody who would join at this place, if there is room and it comes in time.
    fn turn_of_newcomer(
        &self,
        now: Instant,
        place: Place,
        demand: Demand<K>,
        not_before: Instant,
    ) -> Result<Instant, Refusal> {
        let Demand { weights, deadline, .. } = demand;
        let buckets = self.gate.own.rate_limits().map_or(&[][..], |limits| limits.limits());
        if buckets.iter().zip(weights).any(|(bucket, weight)| weight > bucket.quota().burst()) {
            // Never, and the limits say so in their words.
            self.gate.own.ready_at(now, weights)?;
        }
        let turn = self.turn(now, place, weights).map(|turn| turn.max(not_before));
        let Some(turn) = turn.filter(|turn| *turn < deadline) else {
            // Where it is the deadline that has passed, the tokens may be there; later than now is soon enough.
            return Err(Refusal::not_yet(turn.map(|turn| turn.max(now + Duration::from_nanos(1)))));
        };
        if self.waiting.len() >= self.max_waiters {
            return Err(Refusal::LineFull { waiting: self.waiting.len() });
        }
        Ok(turn)
    }
}
