use super::{Admission, Learned, Limiter, Refusal};
use crate::outcome::OutcomeKind;
use crate::rate_limit::{self, Reservation, TokenBucket};
use crate::time::Instant;

/// One rate limit, which counts weight, and nothing else: what [`Limits`](super::Limits) made from it do, in less memory,
/// and with none of their code linked. For firmware, by [`Pipeline::limited_by`](crate::pipeline::Pipeline::limited_by).
impl Limiter for TokenBucket {
    type Ticket = Reservation;

    fn join(&mut self, now: Instant, n: u32, _priority: u8, deadline: Instant) -> Result<Reservation, Refusal> {
        Ok(self.reserve(now, n, deadline)?)
    }

    fn poll(&mut self, now: Instant, ticket: &mut Reservation) -> Admission {
        if ticket.ready_at() < self.blocked_until() {
            // The server has blocked everybody since: it waits anew, from when the block ends.
            match self.reserve(now, ticket.tokens(), Instant::MAX) {
                Ok(anew) => *ticket = anew,
                Err(rate_limit::Refusal::NotYet { retry_at }) => return Admission::Wait(retry_at),
                Err(never) => return Admission::Refused(never.into()),
            }
        }
        if now < ticket.ready_at() { Admission::Wait(ticket.ready_at()) } else { Admission::Granted }
    }

    fn leave(&mut self, now: Instant, ticket: Reservation) {
        self.cancel(now, ticket);
    }

    fn end(&mut self, _now: Instant, _spent: &mut Reservation, _outcome: OutcomeKind) -> Learned {
        Learned::NOTHING
    }

    fn commit(&mut self, now: Instant, ticket: Reservation, used: u32) {
        self.commit(now, ticket, used);
    }

    fn abandon(&mut self, _now: Instant, _spent: Reservation) {}

    fn block_until(&mut self, until: Instant) {
        self.block_until(until);
    }
}
