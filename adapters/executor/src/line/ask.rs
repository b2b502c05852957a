use std::task::Waker;

use steadfast_core::limits::{Missing, Woken};
use steadfast_core::rate_limit::Refusal;
use steadfast_core::time::Instant;

use super::gate::Granted;
use super::queue::{Waiter, add};
use super::ticket::{Place, Turn};
use super::{Kept, Line};

/// What those in line are told.
impl<const K: usize> Line<K> {
    /// When it is the turn of somebody at this place, with these weights, as far as is known.
    pub(super) fn turn(&self, now: Instant, place: Place, weights: [u32; K]) -> Option<Instant> {
        let mut ahead = self.waiting.ahead_of(place);
        // Who asks for none at all waits until one is there.
        add(&mut ahead, weights.map(|weight| weight.max(1)));
        self.gate.own.ready_at_after(now, ahead)
    }

    /// What the first in line waits for, if it is only tokens and they are there: most ask when their turn has come. With
    /// its waker, to be dropped once no lock is held. Otherwise nothing has changed, and [`ask`](Self::ask) has the answer.
    #[allow(clippy::inline_always)] // See `take_at_once`.
    #[inline(always)]
    pub(crate) fn take_as_first(
        &mut self,
        now: Instant,
        place: Place,
        weights: [u32; K],
    ) -> Option<(Granted<K>, Option<Waker>)> {
        if !self.is_first(place) || now >= self.next_expiry {
            return None;
        }
        let grant = self.gate.try_take_tokens(now, weights)?;
        let waker = self.waiting.pop_first().and_then(|own| own.waker);
        self.wake_first_if_outdated();
        Some((grant, waker))
    }

    /// What somebody is told who had to wait so far.
    pub(crate) fn ask(&mut self, now: Instant, place: Place, weights: [u32; K]) -> Result<Turn<K>, Refusal> {
        // Most ask when they are the first: those before them have had their turn.
        let next_misses = if self.is_first(place) { None } else { self.serve_before(now, place) };
        if self.is_first(place) {
            return self.ask_as_first(now, place, weights);
        }
        let is_overdue = self.waiting.first().is_some_and(|first| first.until <= now);
        let Some(own) = self.waiting.get(place) else {
            return self.ask_from_outside(now, place, weights);
        };
        if own.until > now {
            // They keep the time they were told, as long as it has not passed.
            return Ok(if own.for_slot { Turn::WaitForSlot(place, own.until) } else { Turn::Wait(place, own.until) });
        }
        let turn = match next_misses {
            // The first waits for a slot, and with it all the others.
            Some(Missing::Slot(at_latest)) => Turn::WaitForSlot(place, at_latest),
            // Who should have asked by now and has not may never do so: this one asks in its stead when it is due.
            Some(Missing::Tokens(ready_at)) if is_overdue => Turn::Wait(place, ready_at),
            // Somebody came late, or was more urgent, or a server has blocked everybody.
            Some(Missing::Tokens(ready_at)) => {
                let turn = self.turn(now, place, weights).unwrap_or(Instant::MAX);
                Turn::Wait(place, turn.max(ready_at))
            }
            // Who can never be served has left the line, or is about to be told so.
            Some(Missing::Never(_)) | None => Turn::Wait(place, self.turn(now, place, weights).unwrap_or(Instant::MAX)),
        };
        self.note_turn(&turn);
        Ok(turn)
    }

    fn is_first(&self, place: Place) -> bool {
        self.waiting.first().is_some_and(|first| first.place == place)
    }

    /// Notes what somebody who waits was told.
    fn note_turn(&mut self, turn: &Turn<K>) {
        match *turn {
            Turn::Wait(place, until) => self.note(place, until, false),
            Turn::WaitForSlot(place, until) => self.note(place, until, true),
            Turn::Granted(_) => {}
        }
    }

    /// Notes when somebody who waits was told to ask again.
    fn note(&mut self, place: Place, until: Instant, for_slot: bool) {
        if let Some(own) = self.waiting.get_mut(place) {
            (own.until, own.for_slot) = (until, for_slot);
        }
    }

    /// The same for the first in line, who can have an exact time for nothing.
    fn ask_as_first(&mut self, now: Instant, place: Place, weights: [u32; K]) -> Result<Turn<K>, Refusal> {
        self.forget_expired(now);
        let turn = match self.gate.try_take(now, weights) {
            Err(Missing::Tokens(until)) => Turn::Wait(place, until),
            Err(Missing::Slot(at_latest)) => Turn::WaitForSlot(place, at_latest),
            decided @ (Ok(_) | Err(Missing::Never(_))) => {
                if let Some(waker) = self.waiting.pop_first().and_then(|own| own.waker) {
                    self.woken.push_back(Woken::Forget(waker));
                }
                self.wake_first_if_outdated();
                return match decided {
                    Err(Missing::Never(refusal)) => Err(refusal),
                    Err(Missing::Tokens(retry_at) | Missing::Slot(retry_at)) => Err(Refusal::NotYet { retry_at }),
                    Ok(grant) => Ok(Turn::Granted(grant)),
                };
            }
        };
        self.note_turn(&turn);
        Ok(turn)
    }

    /// The same for somebody who is no longer in line: others had it granted, or took it out.
    fn ask_from_outside(&mut self, now: Instant, place: Place, weights: [u32; K]) -> Result<Turn<K>, Refusal> {
        if let Some(Kept { mut grant, .. }) = self.granted.remove(&place) {
            // It is used now, and so it counts as of now: as of when it was granted, it would go beside what has come in
            // since.
            if self.gate.renew(now, &mut grant) {
                return Ok(Turn::Granted(grant));
            }
            self.gate.give_back(now, grant);
        }
        // It can never be served any more, or what was granted has gone to others: then it waits again, in its place.
        self.gate.own.ready_at(now, weights)?;
        self.waiting.insert(Waiter::new(place, weights, now));
        self.ask(now, place, weights)
    }
}
