use core::cell::Cell;

use steadfast_core::circuit_breaker::State;
use steadfast_core::event::{Event, Observer};
use steadfast_core::time::Instant;

use crate::Log;

/// How often each thing happened that the firmware is to show.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    pub delivered: u32,
    pub lost: u32,
    pub retries: u32,
    pub timeouts: u32,
    pub waits_for_tokens: u32,
    pub holds_by_server: u32,
    pub breaker_opened: u32,
    pub breaker_closed: u32,
}

impl Tally {
    /// Whether all of it happened, and most readings got through.
    pub fn is_complete(&self) -> bool {
        self.has_everything() && self.delivered > 2 * self.lost
    }

    /// Whether all of it happened.
    pub fn has_everything(&self) -> bool {
        let Self { delivered, lost, retries, timeouts, waits_for_tokens, holds_by_server, .. } = *self;
        let waits = [retries, timeouts, waits_for_tokens, holds_by_server];
        [delivered, lost, self.breaker_opened, self.breaker_closed].iter().chain(&waits).all(|times| *times > 0)
    }
}

/// Prints every decision, and counts.
pub struct Witness<'a, L> {
    log: &'a L,
    tally: Cell<Tally>,
}

impl<'a, L> Witness<'a, L> {
    /// It has seen nothing yet.
    pub fn new(log: &'a L) -> Self {
        Self { log, tally: Cell::default() }
    }

    /// How often it has seen what.
    pub fn tally(&self) -> Tally {
        self.tally.get()
    }

    fn count(&self, of: impl FnOnce(&mut Tally) -> &mut u32) {
        let mut tally = self.tally.get();
        *of(&mut tally) += 1;
        self.tally.set(tally);
    }
}

impl<L: Log> Observer for Witness<'_, L> {
    type Call = ();

    fn observe(&self, now: Instant, event: &Event) {
        self.log.line(now, format_args!("{event:?}"));
        match event {
            Event::Succeeded { .. } => self.count(|tally| &mut tally.delivered),
            Event::Rejected(_) => self.count(|tally| &mut tally.lost),
            Event::RetryScheduled { .. } => self.count(|tally| &mut tally.retries),
            Event::AttemptTimedOut { .. } => self.count(|tally| &mut tally.timeouts),
            Event::WaitingForLimits { .. } => self.count(|tally| &mut tally.waits_for_tokens),
            Event::RateLimitBlocked { .. } => self.count(|tally| &mut tally.holds_by_server),
            Event::CircuitBreakerChanged { to: State::Open, .. } => self.count(|tally| &mut tally.breaker_opened),
            Event::CircuitBreakerChanged { to: State::Closed, .. } => self.count(|tally| &mut tally.breaker_closed),
            _ => {}
        }
    }
}
