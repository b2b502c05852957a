use std::fmt;
use std::task::Waker;

use steadfast_core::limits::{self, Admission, Inspect, Learned, Limiter, ServerLimits, Tokens, Told, Woken};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::time::Instant;

use super::ticket::{Standing, Turn};
use super::{Line, Ticket};
use crate::demand::Demand;

impl<const K: usize> Inspect for Line<K> {
    type Snapshot = limits::Snapshot<[Tokens; K]>;

    fn snapshot(&mut self, now: Instant) -> limits::Snapshot<[Tokens; K]> {
        let held_until = self.server_limits().and_then(ServerLimits::held_until).unwrap_or(Instant::EPOCH);
        let waiting = self.len();
        self.gate.own.snapshot(now).in_line(waiting, held_until - now)
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const K: usize> Limiter for Line<K> {
    type Ticket = Ticket<K>;

    fn join(&mut self, now: Instant, n: u32, priority: u8, deadline: Instant) -> Result<Ticket<K>, limits::Refusal> {
        let demand = Demand::of(self.gate.own.weights(n)).with_priority(priority).before(deadline);
        Ok(Self::join(self, now, demand)?)
    }

    fn poll(&mut self, now: Instant, ticket: &mut Ticket<K>) -> Admission {
        let turn = match &ticket.0 {
            Standing::Granted(_) => return Admission::Granted,
            Standing::Refused(refusal) => return Admission::Refused((*refusal).into()),
            Standing::Waiting(place, weights) => self.ask(now, *place, *weights),
        };
        match turn {
            Ok(Turn::Wait(_, until)) => Admission::Wait(until),
            Ok(Turn::WaitForSlot(_, at_latest)) => Admission::WaitForSlot(at_latest),
            Ok(Turn::Granted(grant)) => {
                ticket.0 = Standing::Granted(grant);
                Admission::Granted
            }
            Err(refusal) => {
                ticket.0 = Standing::Refused(refusal);
                Admission::Refused(refusal.into())
            }
        }
    }

    fn end(&mut self, now: Instant, ticket: &mut Ticket<K>, outcome: OutcomeKind) -> Learned {
        let Standing::Granted(grant) = &mut ticket.0 else {
            return Learned::NOTHING;
        };
        let freed = self.gate.is_freed_by(grant);
        let learned = self.gate.finish(now, grant, outcome);
        if freed || learned.pace.is_some() {
            self.go_on(now);
        }
        learned
    }

    fn commit(&mut self, now: Instant, ticket: Ticket<K>, used: u32) {
        if let Standing::Granted(grant) = ticket.0 {
            let used = self.gate.own.weights(used);
            Self::commit(self, now, grant, used);
        }
    }

    fn abandon(&mut self, now: Instant, ticket: Ticket<K>) {
        if let Standing::Granted(grant) = ticket.0 {
            let freed = self.gate.is_freed_by(&grant);
            self.gate.abandon(grant);
            if freed {
                self.go_on(now);
            }
        }
    }

    fn leave(&mut self, now: Instant, ticket: Ticket<K>) {
        let first = self.waiting.first().map(|first| first.place);
        let granted = match ticket.0 {
            Standing::Granted(grant) => Some(grant),
            Standing::Refused(_) => None,
            Standing::Waiting(place, _) => match self.waiting.remove(place) {
                Some(waiter) => {
                    self.woken.extend(waiter.waker.map(Woken::Forget));
                    // Those behind it are served earlier now; but the first in line is not, unless it was this.
                    self.outdated_before = self.next;
                    if first == Some(place) {
                        self.wake_first_if_outdated();
                    }
                    None
                }
                None => self.granted.remove(&place).map(|kept| kept.grant),
            },
        };
        if let Some(grant) = granted {
            let freed = self.gate.is_freed_by(&grant);
            self.gate.give_back(now, grant);
            if freed {
                self.go_on(now);
            } else {
                self.outdate_and_wake_first();
            }
        }
    }

    fn tell(&mut self, now: Instant, ticket: &Ticket<K>, told: &Told) -> Option<Instant> {
        let Standing::Granted(grant) = &ticket.0 else {
            return None;
        };
        let held_until = self.gate.tell(now, grant, told);
        match held_until {
            Some(until) => self.take_back(until),
            // There may be more left than was known.
            None => self.go_on(now),
        }
        held_until
    }

    fn block_until(&mut self, until: Instant) {
        self.take_back(until);
        self.gate.own.block_until(until);
    }

    fn watch(&mut self, ticket: &Ticket<K>, waker: &Waker) {
        if let Standing::Waiting(place, _) = ticket.0 {
            self.leave_waker(place, waker);
        }
    }

    fn wake_everybody(&mut self) {
        self.woken.extend(self.waiting.take_wakers().into_iter().map(Woken::Wake));
    }

    fn next_woken(&mut self) -> Option<Woken> {
        self.woken.pop_front()
    }
}
