use super::{Admission, Grant, Learned, Limiter, Limits, Refusal};
use crate::outcome::OutcomeKind;
use crate::rate_limit::{self, RefusedBy};
use crate::time::Instant;

/// A place in [`Limits`], and then what was granted.
#[derive(Debug)]
#[must_use = "hand it to `leave`, or its tokens are spent"]
pub struct Ticket<const K: usize = 1> {
    weights: [u32; K],
    /// Reserved, and the permit comes when they are ready.
    grant: Grant<K>,
    is_granted: bool,
}

impl<const K: usize> Limiter for Limits<K> {
    type Ticket = Ticket<K>;

    fn join(&mut self, now: Instant, n: u32, _priority: u8, deadline: Instant) -> Result<Ticket<K>, Refusal> {
        let weights = self.weights(n);
        let reservations = match &mut self.rates {
            Some(rates) => Some(rates.reserve(now, weights, deadline)?),
            None => None,
        };
        Ok(Ticket { weights, grant: Grant { reservations, permit: None, paced: false }, is_granted: false })
    }

    fn poll(&mut self, now: Instant, ticket: &mut Ticket<K>) -> Admission {
        if let (Some(reservations), Some(rates)) = (&mut ticket.grant.reservations, &mut self.rates) {
            if reservations.ready_at() < rates.blocked_until() {
                // The server has blocked everybody since: it waits anew, from when the block ends.
                match rates.reserve(now, ticket.weights, Instant::MAX) {
                    Ok(anew) => *reservations = anew,
                    Err(RefusedBy { refusal: rate_limit::Refusal::NotYet { retry_at }, .. }) => {
                        return Admission::Wait(retry_at);
                    }
                    Err(never) => return Admission::Refused(never.into()),
                }
            }
            if now < reservations.ready_at() {
                return Admission::Wait(reservations.ready_at());
            }
        }
        if now < self.blocked_until {
            return Admission::Wait(self.blocked_until);
        }
        if ticket.is_granted {
            return Admission::Granted;
        }
        if let Err(refusal) = self.look_for_slot(now) {
            return Admission::Refused(refusal.into());
        }
        if let Err(missing) = self.try_take_pace(now, &mut ticket.grant) {
            return missing.into();
        }
        self.take_slot(now, &mut ticket.grant);
        ticket.is_granted = true;
        Admission::Granted
    }

    fn leave(&mut self, now: Instant, ticket: Ticket<K>) {
        self.give_back(now, ticket.grant);
    }

    fn end(&mut self, now: Instant, ticket: &mut Ticket<K>, outcome: OutcomeKind) -> Learned {
        self.finish_grant(now, &mut ticket.grant, outcome)
    }

    fn commit(&mut self, now: Instant, ticket: Ticket<K>, used: u32) {
        self.settle(now, ticket.grant, self.weights(used));
    }

    fn abandon(&mut self, _now: Instant, ticket: Ticket<K>) {
        self.abandon_grant(ticket.grant);
    }

    fn block_until(&mut self, until: Instant) {
        self.blocked_until = self.blocked_until.max(until);
        if let Some(rates) = &mut self.rates {
            rates.block_until(until);
        }
    }
}
