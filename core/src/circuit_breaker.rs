//! Leaves a failing dependency alone until it has had time to recover.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::circuit_breaker::{CircuitBreaker, State};
//! use steadfast_core::outcome::OutcomeKind;
//! use steadfast_core::time::Instant;
//!
//! let mut breaker = CircuitBreaker::builder().failure_threshold(2).open_for(Duration::from_secs(5)).build()?;
//! let now = Instant::EPOCH;
//! for _ in 0..2 {
//!     let permit = breaker.try_admit(now).expect("a closed breaker admits");
//!     breaker.record(now, permit, OutcomeKind::Transient);
//! }
//! assert_eq!(breaker.state(), State::Open);
//! let refusal = breaker.try_admit(now).unwrap_err();
//! assert_eq!(refusal.retry_at, now + Duration::from_secs(5));
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `failure_threshold` | 10 | at least 1 | a server that fails every fourth request trips it once in a million requests, a dead one after ten |
//! | `open_for` | 5 s | more than zero | long enough for a restart, short enough that nobody notices the end of an outage late |
//! | `success_threshold` | 1 | at least 1 | one answer shows that the dependency is back; the rate limit guards it from the rush |
//! | `probe_lease` | 30 s | more than zero | longer than any sensible attempt: only a probe that vanished runs into it |
//!
//! # States
//!
//! ```text
//!                 failure_threshold failures in a row
//!      ┌────────┐ ─────────────────────────────────▶ ┌──────┐
//!      │ Closed │                                    │ Open │◀──────────┐
//!      └────────┘                                    └──────┘           │
//!           ▲                                            │ open_for     │ the probe fails
//!           │  success_threshold probes succeed          ▼ passed       │
//!           └──────────────────────────────────── ┌──────────┐ ─────────┘
//!                                                 │ HalfOpen │
//!                                                 └──────────┘ one probe at a time; a lost one is
//!                                                              replaced when its lease ends
//! ```
//!
//! Invariants, each the name of a test:
//! - *only the current epoch counts*: a result that was admitted before the last change of state changes nothing.
//! - *one probe at a time*: while half-open and the probe is out, everybody else is refused.
//! - *a lost probe is replaced*: a probe that never reports cannot keep the breaker half-open.
//! - *a refusal is honest*: `retry_at` is later than `now`, and coming back then works if nobody else took the place.
//!
//! # What counts
//!
//! [`OutcomeKind::Transient`] is a failure. [`OutcomeKind::Success`] and [`OutcomeKind::Permanent`] are successes: the
//! dependency answered. [`OutcomeKind::Throttled`] and a dropped call are neither: they say nothing about its health.
//!
//! # When not to use it
//!
//! For one that is merely slow or merely limited: a [rate limit](crate::rate_limit) or a shorter attempt timeout helps,
//! an open breaker does not. And share one breaker per dependency: one for two lets the sick one take the other down.

use core::fmt;
use core::time::Duration;

use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, at_least_one, positive};
use crate::time::Instant;

#[cfg(test)]
mod tests;

/// Refuses calls to a dependency that keeps failing. See the [module](self) for states and defaults.
#[derive(Debug)]
pub struct CircuitBreaker {
    settings: CircuitBreakerBuilder,
    phase: Phase,
    /// Changes with every change of phase and every probe, so that late results are recognised.
    epoch: u32,
}

/// What the breaker does with callers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// Everybody is admitted.
    Closed,
    /// Nobody is, until the cool-down has passed.
    Open,
    /// One probe at a time is.
    HalfOpen,
}

#[derive(Debug)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { successes: u32, probe: Probe },
}

#[derive(Debug)]
enum Probe {
    Awaited,
    Out { expires: Instant },
}

/// Leave to make one call. Hand it back with [`CircuitBreaker::record`] or [`CircuitBreaker::abandon`].
#[derive(Debug)]
#[must_use = "an unrecorded permit teaches the breaker nothing, and a probe's keeps the place until its lease ends"]
pub struct Permit {
    epoch: u32,
    granted_in: State,
}

impl Permit {
    /// Whether the answer to this call decides if the breaker closes.
    pub fn is_probe(&self) -> bool {
        self.granted_in == State::HalfOpen
    }
}

/// Why the breaker admitted nothing: the dependency is being left alone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Refusal {
    /// When to come back. Later than `now`; sooner may work too, if the probe that is out returns well.
    pub retry_at: Instant,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker: open until {}", self.retry_at)
    }
}

impl core::error::Error for Refusal {}

/// What a result did to the breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recorded {
    /// It was noted, and the state stays.
    Noted,
    /// It changed the state from `from` to `to`.
    Changed {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
    },
    /// It belongs to an earlier state and changed nothing.
    Late,
}

impl CircuitBreaker {
    /// A breaker with the defaults of the [module](self), to be changed.
    pub const fn builder() -> CircuitBreakerBuilder {
        CircuitBreakerBuilder {
            failure_threshold: 10,
            open_for: Duration::from_secs(5),
            success_threshold: 1,
            probe_lease: Duration::from_secs(30),
        }
    }

    const fn with_settings(settings: CircuitBreakerBuilder) -> Self {
        Self { settings, phase: Phase::Closed { failures: 0 }, epoch: 0 }
    }

    /// What it does with callers. An open breaker becomes half-open when somebody asks after its cool-down.
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// How long a probe may be out before it counts as lost.
    pub const fn probe_lease(&self) -> Duration {
        self.settings.probe_lease
    }

    /// Whether a call would be admitted at `now`. Changes nothing.
    ///
    /// # Errors
    /// As [`try_admit`](Self::try_admit).
    pub fn check(&self, now: Instant) -> Result<(), Refusal> {
        match self.phase {
            Phase::Open { until: retry_at } | Phase::HalfOpen { probe: Probe::Out { expires: retry_at }, .. }
                if now < retry_at =>
            {
                Err(Refusal { retry_at })
            }
            Phase::Closed { .. } | Phase::Open { .. } | Phase::HalfOpen { .. } => Ok(()),
        }
    }

    /// Admits a call, or refuses it and says when to come back.
    ///
    /// # Errors
    /// While open, and while half-open with the probe out.
    pub fn try_admit(&mut self, now: Instant) -> Result<Permit, Refusal> {
        self.check(now)?;
        let successes = match self.phase {
            Phase::Closed { .. } => {
                return Ok(Permit { epoch: self.epoch, granted_in: State::Closed });
            }
            Phase::Open { .. } => 0,
            Phase::HalfOpen { successes, .. } => successes,
        };
        let expires = now + self.settings.probe_lease;
        self.enter(Phase::HalfOpen { successes, probe: Probe::Out { expires } });
        Ok(Permit { epoch: self.epoch, granted_in: State::HalfOpen })
    }

    /// Tells how an admitted call ended.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a call ends once.
    pub fn record(&mut self, now: Instant, permit: Permit, outcome: OutcomeKind) -> Recorded {
        if permit.epoch != self.epoch {
            return Recorded::Late;
        }
        match outcome {
            OutcomeKind::Success | OutcomeKind::Permanent => self.succeeded(),
            OutcomeKind::Transient => self.failed(now),
            OutcomeKind::Throttled => self.told_nothing(),
        }
    }

    /// Tells that an admitted call was dropped before it ended. It counts as neither success nor failure.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a call ends once.
    pub fn abandon(&mut self, permit: Permit) -> Recorded {
        if permit.epoch != self.epoch {
            return Recorded::Late;
        }
        self.told_nothing()
    }

    fn succeeded(&mut self) -> Recorded {
        match self.phase {
            Phase::Closed { .. } => {
                self.phase = Phase::Closed { failures: 0 };
                Recorded::Noted
            }
            Phase::HalfOpen { successes, .. } => {
                let successes = successes.saturating_add(1);
                if successes >= self.settings.success_threshold {
                    self.enter(Phase::Closed { failures: 0 })
                } else {
                    self.enter(Phase::HalfOpen { successes, probe: Probe::Awaited })
                }
            }
            Phase::Open { .. } => Recorded::Late,
        }
    }

    fn failed(&mut self, now: Instant) -> Recorded {
        let open = Phase::Open { until: now + self.settings.open_for };
        match self.phase {
            Phase::Closed { failures } => {
                let failures = failures.saturating_add(1);
                if failures >= self.settings.failure_threshold {
                    return self.enter(open);
                }
                self.phase = Phase::Closed { failures };
                Recorded::Noted
            }
            Phase::HalfOpen { .. } => self.enter(open),
            Phase::Open { .. } => Recorded::Late,
        }
    }

    fn told_nothing(&mut self) -> Recorded {
        match self.phase {
            Phase::HalfOpen { successes, .. } => self.enter(Phase::HalfOpen { successes, probe: Probe::Awaited }),
            Phase::Closed { .. } => Recorded::Noted,
            Phase::Open { .. } => Recorded::Late,
        }
    }

    /// The one way from phase to phase: whoever was admitted before it is late from now on.
    fn enter(&mut self, phase: Phase) -> Recorded {
        let from = self.state();
        self.phase = phase;
        self.epoch = self.epoch.wrapping_add(1);
        let to = self.state();
        if from == to { Recorded::Noted } else { Recorded::Changed { from, to } }
    }
}

/// A closed breaker with the defaults of the [module](self).
impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::with_settings(Self::builder())
    }
}

/// Settings of a [`CircuitBreaker`]; ranges and defaults are in the [module](self).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct CircuitBreakerBuilder {
    failure_threshold: u32,
    open_for: Duration,
    success_threshold: u32,
    probe_lease: Duration,
}

impl CircuitBreakerBuilder {
    /// How many failures in a row open it.
    pub const fn failure_threshold(self, failures: u32) -> Self {
        Self { failure_threshold: failures, ..self }
    }

    /// How long it stays open before the first probe.
    pub const fn open_for(self, time: Duration) -> Self {
        Self { open_for: time, ..self }
    }

    /// How many probes in a row must succeed to close it.
    pub const fn success_threshold(self, successes: u32) -> Self {
        Self { success_threshold: successes, ..self }
    }

    /// How long a probe may be out before it counts as lost and another is admitted.
    pub const fn probe_lease(self, time: Duration) -> Self {
        Self { probe_lease: time, ..self }
    }

    /// A closed breaker.
    ///
    /// # Errors
    /// If a setting is zero.
    pub fn build(self) -> Result<CircuitBreaker, InvalidSetting> {
        at_least_one("failure_threshold", self.failure_threshold)?;
        positive("open_for", self.open_for)?;
        at_least_one("success_threshold", self.success_threshold)?;
        positive("probe_lease", self.probe_lease)?;
        Ok(CircuitBreaker::with_settings(self))
    }
}
