//! What happened, as values: decisions report themselves, and adapters carry the reports to logs and metrics.
//!
//! ```
//! use core::cell::Cell;
//! use steadfast_core::event::{Event, Observer};
//! use steadfast_core::time::Instant;
//!
//! #[derive(Default)]
//! struct CountRetries(Cell<u32>);
//!
//! impl Observer for CountRetries {
//!     type Call = ();
//!
//!     fn observe(&self, _now: Instant, event: &Event) {
//!         if let Event::RetryScheduled { .. } = event {
//!             self.0.set(self.0.get() + 1);
//!         }
//!     }
//! }
//! # use steadfast_core::retry::budget::Cause;
//! # let observer = CountRetries::default();
//! # observer.observe(Instant::EPOCH, &Event::RetryScheduled { attempt: 2, at: Instant::EPOCH, cause: Cause::Transient });
//! # assert_eq!(observer.0.get(), 1);
//! ```
//!
//! An [`Observer`] also learns which call an event belongs to. [`Recent`] keeps the latest events in memory, for whoever
//! looks for a fault; `steadfast-tracing` and `steadfast-metrics` carry them elsewhere.
//!
//! Printed, an event is a few words, and names its policy if it is a refusal.

use core::mem;

use crate::circuit_breaker;
use crate::outcome::OutcomeKind;
use crate::rate_limit::PaceChange;
use crate::rejected::Rejected;
use crate::retry::budget::Cause;
use crate::time::Instant;

mod observer;
mod recent;
mod words;

pub use observer::{Detail, Observer};
pub use recent::{Entry, Recent, RecentObserver};

/// Something that a call decided, or that happened to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// It starts. Whoever drives the call says so.
    CallStarted {
        /// By when it has to end; [`Instant::MAX`] if it may take as long as it takes.
        deadline: Instant,
    },
    /// It joined the line at the limits.
    WaitingForLimits {
        /// When its turn comes, as far as is known; where it waits for a slot, at the latest.
        until: Instant,
    },
    /// An attempt starts.
    AttemptStarted {
        /// Which; the first is 1.
        attempt: u32,
        /// By when it has to end.
        until: Instant,
    },
    /// An attempt ended.
    AttemptEnded {
        /// Which; the first is 1.
        attempt: u32,
        /// How.
        outcome: OutcomeKind,
    },
    /// An attempt did not end in time and was cancelled.
    AttemptTimedOut {
        /// Which; the first is 1.
        attempt: u32,
    },
    /// An attempt started beside another that takes long.
    Hedged {
        /// Which.
        attempt: u32,
        /// Beside which.
        beside: u32,
    },
    /// No attempt is sent beside one that takes long, for this reason. The call goes on.
    HedgeRefused(Rejected),
    /// An attempt was cancelled, because another was faster or the call was dropped.
    AttemptCancelled {
        /// Which; the first is 1.
        attempt: u32,
    },
    /// Another attempt will be made.
    RetryScheduled {
        /// Which it will be; the first retry is 2.
        attempt: u32,
        /// When, at the earliest.
        at: Instant,
        /// Why: how the attempt before had ended. The budget has paid for it.
        cause: Cause,
    },
    /// The server said when to come back, and the rate limit holds everybody until then.
    RateLimitBlocked {
        /// Until when.
        until: Instant,
    },
    /// The concurrency limit was corrected.
    ConcurrencyLimitChanged {
        /// How many attempts could be in flight before.
        from: u32,
        /// How many may be after.
        to: u32,
    },
    /// The adaptive rate was corrected.
    AdaptiveRateChanged(PaceChange),
    /// The circuit breaker changed its state.
    CircuitBreakerChanged {
        /// The state before.
        from: circuit_breaker::State,
        /// The state after.
        to: circuit_breaker::State,
    },
    /// Somebody has the circuit breaker judge or refuse in another way from now on. If that changes its state,
    /// [`CircuitBreakerChanged`](Self::CircuitBreakerChanged) goes before.
    CircuitBreakerModeChanged {
        /// The mode before.
        from: circuit_breaker::Mode,
        /// The mode after.
        to: circuit_breaker::Mode,
    },
    /// The circuit breaker would have refused the attempt, but only [watches](circuit_breaker::Mode::MetricsOnly).
    CircuitBreakerWouldRefuse(circuit_breaker::Refusal),
    /// The circuit breaker was told of a result that belongs to an earlier state, and ignored it.
    LateResult {
        /// How the attempt ended; `None` if it was cancelled.
        outcome: Option<OutcomeKind>,
    },
    /// The call ended without success.
    Rejected(Rejected),
    /// The call had ended so, and something else was answered: see [`fallback`](crate::fallback).
    FellBack(Rejected),
    /// The call succeeded.
    Succeeded {
        /// How many attempts it took.
        attempts: u32,
    },
    /// The call was dropped before it ended.
    Abandoned,
}

/// The events of one step of a call, on their way to an [`Observer`].
///
/// A step causes eight at most; there is room for no more, and a driver empties it with [`report`](Self::report) before
/// the next.
#[derive(Debug, Default)]
pub struct Events {
    events: [Option<Event>; 8],
    count: usize,
}

impl Events {
    /// None yet.
    pub const fn new() -> Self {
        Self { events: [None; 8], count: 0 }
    }

    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))] // Events are large to pass.
    pub(crate) fn push(&mut self, event: Event) {
        if let Some(free) = self.events.get_mut(self.count) {
            *free = Some(event);
            self.count += 1;
        }
    }

    /// Hands every event to `observer`, in order, and forgets it. They belong to no call.
    #[inline]
    pub fn report(&mut self, now: Instant, observer: &impl Observer) {
        for event in self.events.iter().take(mem::take(&mut self.count)).flatten() {
            observer.observe(now, event);
        }
    }

    /// The same with events of a call, of which `observer` keeps `call`.
    #[inline]
    pub fn report_call<O: Observer>(&mut self, now: Instant, observer: &O, call: &mut O::Call) {
        for event in self.events.iter().take(mem::take(&mut self.count)).flatten() {
            observer.observe_call(now, call, event);
        }
    }
}
