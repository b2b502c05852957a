//! Every decision about a call to an unreliable, rate-limited service, as state machines that do no I/O.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::rate_limit::{Quota, TokenBucket};
//! use steadfast_core::time::Instant;
//!
//! let mut limit = TokenBucket::new(Quota::per_second(10)?);
//! let now = Instant::EPOCH; // Wherever you get it from.
//! assert!(limit.try_acquire(now, 1).is_ok());
//! assert!(limit.try_acquire(now, 1).is_err());
//! assert!(limit.try_acquire(now + Duration::from_millis(100), 1).is_ok());
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! Nothing here reads a clock, sleeps, spawns, locks, allocates, logs or rolls dice. The time comes in as the first
//! argument of every call that depends on it, randomness as a `u64`, outcomes as words; verdicts go out. So the same
//! machine runs under any executor, in a blocking loop, in a simulator and on a microcontroller, and decides the same.
//!
//! | Module | Decides |
//! | --- | --- |
//! | [`rate_limit`] | how many calls per time |
//! | [`concurrency`] | how many calls at once |
//! | [`limits`] | both, all or nothing |
//! | [`circuit_breaker`] | whether to leave a failing dependency alone |
//! | [`retry`] | whether to try again, and when |
//! | [`retry::budget`] | how much may be repeated, by all calls together |
//! | [`backoff`] | how long to wait before that |
//! | [`hedge`] | when to send another attempt beside one that takes long |
//! | [`pipeline`] | the whole call, with all of the above in their order |
//! | [`fallback`] | whether something else is answered, when the call has failed for good |
//! | [`fault`] | what goes wrong on purpose |
//! | [`run`] | nothing: it drives a call over a timer, as the one `async` loop |
//!
//! [`time`] and [`share`] are the ports that adapters implement; [`outcome`], [`rejected`], [`event`] and [`settings`]
//! are the words that the others speak.
//!
//! No public function panics, whatever it is given: times saturate, settings are checked when they are built, and every
//! table has a bound.
#![no_std]

pub mod backoff;
pub mod circuit_breaker;
pub mod concurrency;
pub mod event;
pub mod fallback;
pub mod fault;
pub mod hedge;
pub mod limits;
pub mod outcome;
pub mod pipeline;
pub mod rate_limit;
pub mod rejected;
pub mod retry;
pub mod run;
pub mod settings;
pub mod share;
pub mod time;
