//! Every decision about a call to an unreliable, rate-limited service, as state machines that do no I/O.
#![no_std]

pub mod backoff;
pub mod circuit_breaker;
pub mod event;
pub mod outcome;
pub mod pipeline;
pub mod rate_limit;
pub mod rejected;
pub mod retry;
pub mod run;
pub mod settings;
pub mod share;
pub mod time;
