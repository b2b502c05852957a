//! Leaves a failing dependency alone until it has had time to recover (M. Nygard, *Release It!*, 2007).
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::circuit_breaker::{CircuitBreaker, Reason, Refusal, State};
//! use steadfast_core::outcome::OutcomeKind;
//! use steadfast_core::time::Instant;
//!
//! let mut breaker = CircuitBreaker::builder().failure_threshold(2).open_for(Duration::from_secs(5)).build()?;
//! let (now, entropy) = (Instant::EPOCH, 0); // A random number: it spreads those who open together by up to 20 %.
//! for _ in 0..2 {
//!     let permit = breaker.try_admit(now).expect("a closed breaker admits");
//!     breaker.record(now, entropy, permit, OutcomeKind::Transient);
//! }
//! assert_eq!(breaker.state(), State::Open);
//! let (retry_at, reason) = (now + Duration::from_secs(5), Reason::ConsecutiveFailures);
//! assert_eq!(breaker.try_admit(now).unwrap_err(), Refusal::NotYet { retry_at, reason });
//!
//! let probe = breaker.try_admit(retry_at).expect("one may see whether it is back");
//! breaker.record(retry_at, entropy, probe, OutcomeKind::Success);
//! assert_eq!(breaker.state(), State::Closed);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # Defaults
//!
//! | Setting | Default | Range | Why |
//! | --- | --- | --- | --- |
//! | `failure_threshold` | 10 in a row | at least 1, or none | a server that fails every fourth request trips it once in a million requests, a dead one after ten |
//! | `failure_rate` | 50 % | 1 to 100 %, or none | a dependency that fails every other call is down for its users, who need several of them; one that fails every fourth is not |
//! | `slow_call_rate` | none | 1 to 100 %, slow at more than zero and at most `probe_lease` | nobody but you knows what is slow |
//! | `window` | 30 s | 1 to 128 calls, or more than zero | an outage shows within seconds; what was a minute ago says little about now |
//! | `minimum_calls` | 100 | 1 to 32,767, at most the calls in `window` | of 100 calls to a server that fails every fourth, half fail once in fifteen million times; of 20, once in seventy |
//! | `open_for` | 5 s | more than zero | long enough for a restart, short enough that nobody notices the end of an outage late |
//! | `open_growth` | none | factor at least 1, cap at least `open_for` | one probe in 5 s burdens nobody; a longer wait is a longer outage for the callers. Have it grow where probes cost |
//! | `open_jitter` | up to 20 % longer | 0 to 100 % | a thousand clients whose breakers opened together do not probe together |
//! | `probes` | 1 | 1 to 8 | what one finds out need not be found out twice |
//! | `probe_lease` | 30 s | more than zero | longer than any sensible attempt: only a probe that vanished runs into it |
//! | `success_threshold` | 1 | at least 1 | one answer shows that the dependency is back; the rate limit guards it from the rush |
//! | `recover_over` | none | more than zero | a dependency that has to warm up needs it, others would be slowed down by it |
//! | `dropped_call` | [`Neutral`](DroppedCall::Neutral) | | who loses interest says nothing about the dependency; a timeout is recorded as one |
//! | `mode` | [`Automatic`](Mode::Automatic) | | |
//!
//! It opens by whichever of failures in a row, failure rate and slow-call rate comes first, and stays closed for ever
//! with none of them. Where the window holds fewer calls than `minimum_calls`, failures in a row are what still opens it.
//!
//! All of it, settings and windows and probes, is 200 bytes on a processor of 64 bits.
//!
//! # States
//!
//! ```text
//! Closed      ── too many failures in a row, failures or slow calls ──▶ Open
//! Open        ── open time has passed, and somebody asks ─────────────▶ HalfOpen
//! HalfOpen    ── a probe fails or is slow ────────────────────────────▶ Open
//! HalfOpen    ── success_threshold probes succeed ────────────────────▶ Closed
//! HalfOpen    ── the same, and recover_over is set ───────────────────▶ Recovering
//! Recovering  ── as from Closed ──────────────────────────────────────▶ Open
//! Recovering  ── recover_over has passed, and somebody asks ──────────▶ Closed
//! any other   ── set_mode(ForcedOpen) ────────────────────────────────▶ ForcedOpen
//! any other   ── set_mode(ForcedClosed) ──────────────────────────────▶ ForcedClosed
//! ForcedOpen, ForcedClosed ── set_mode(Automatic or MetricsOnly) ─────▶ Closed
//! ```
//!
//! Invariants, each the name of a test:
//! - *only the current epoch counts*: a result that was admitted before the last change of state changes nothing. (The
//!   end of a recovery begins no epoch: what was learnt in it stays known.)
//! - *no more probes than allowed*: while half-open and all probes are out, everybody else is refused.
//! - *a lost probe is replaced*: a probe that never reports cannot keep the breaker half-open. Until it is replaced, its
//!   answer still counts.
//! - *a refusal is honest*: `retry_at` is later than `now`, and coming back then works if nobody else took the place.
//! - *windows slide*: with each call, or with each tenth of the time, only what is too old is forgotten.
//! - *recovery admits a growing share*: no more calls than their share, and one at once.
//! - *metrics only refuses nobody*: it goes from state to state as if it did, and judges only what it would have admitted.
//!
//! # What counts
//!
//! [`Transient`] is a failure. [`Success`] and [`Permanent`] are successes: the dependency answered. [`Throttled`] is
//! neither: it says nothing about its health. Each but the last may be slow, if slow calls are judged; the latency is from
//! [`try_admit`](CircuitBreaker::try_admit) to [`record`](CircuitBreaker::record).
//!
//! [`Transient`]: crate::outcome::OutcomeKind::Transient
//! [`Success`]: crate::outcome::OutcomeKind::Success
//! [`Permanent`]: crate::outcome::OutcomeKind::Permanent
//! [`Throttled`]: crate::outcome::OutcomeKind::Throttled
//!
//! Counts are exact up to 65,535 calls in a tenth of a window of time. In a tenth that has more, they are halved whenever
//! they reach that, so that its rates stay as they are.
//!
//! # When not to use it
//!
//! For one that is merely limited: a [rate limit](crate::rate_limit) helps, an open breaker does not. And share one
//! breaker per dependency: one for two lets the sick one take the other down.
//!
//! # With other policies
//!
//! In a [pipeline](crate::pipeline) it sees every attempt, not every call, and is asked before the rate limit, so that
//! a refusal costs no tokens. An attempt timeout longer than `probe_lease` would have probes counted as lost that still
//! run: the pipeline refuses to be built.

use crate::time::Instant;

mod answer;
mod evidence;
mod machine;
mod probes;
mod ramp;
mod reconfigure;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod window;
mod words;

pub use answer::{Permit, Reason, Recorded, Refusal};
pub use machine::CircuitBreaker;
pub use settings::{CircuitBreakerBuilder, DroppedCall, Window};
pub use snapshot::{Samples, Snapshot};
pub use window::Tally;

/// What the breaker does with callers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// Everybody is admitted.
    Closed,
    /// Nobody is, until the open time has passed.
    Open,
    /// A few probes are.
    HalfOpen,
    /// A growing share is.
    Recovering,
    /// Nobody is, until the mode changes.
    ForcedOpen,
    /// Everybody is, and nothing is judged, until the mode changes.
    ForcedClosed,
}

/// Whether the breaker judges, and whether it refuses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// It judges the dependency, and acts on it.
    Automatic,
    /// It judges, tells what it would have done, and refuses nobody. For trying out settings.
    MetricsOnly,
    /// It refuses everybody, and judges nothing. For maintenance.
    ForcedOpen,
    /// It admits everybody, and judges nothing. For when it is the breaker that is wrong.
    ForcedClosed,
}

/// So many nanoseconds after `now`.
const fn after(now: Instant, nanos: u64) -> Instant {
    Instant::from_nanos(now.as_nanos().saturating_add(nanos))
}
