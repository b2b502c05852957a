//! Every decision about a call to an unreliable, rate-limited service, as state machines that do no I/O.
#![no_std]

pub mod outcome;
pub mod rate_limit;
pub mod settings;
pub mod time;
