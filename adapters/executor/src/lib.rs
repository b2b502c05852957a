//! Shares the policies of `steadfast-core` between tasks, and lets them wait in line, on no runtime in particular.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::rate_limit::Quota;
//! use steadfast_core::time::{Clock, ManualClock};
//! use steadfast_executor::RateLimit;
//!
//! let clock = ManualClock::new(); // Or the timer of your runtime.
//! let limit = RateLimit::new(Quota::per_second(10)?, &clock);
//!
//! clock.drive(async {
//!     for _ in 0..3 {
//!         limit.acquire(1).await.expect("a token is never too much to ask");
//!     }
//! });
//! assert_eq!(clock.now().as_nanos(), Duration::from_millis(200).as_nanos() as u64);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! - [`RateLimit`] is a rate limit that tasks await.
//! - [`ConcurrencyLimit`] is a limit on how many operations run at once.
//! - [`Executor`] runs operations under both, in order, and can be shut down; [`WorkQueue`] hands jobs to workers.
//! - [`InFlight`] counts what is in flight, and shuts it down: for whatever has a lifecycle.
//! - [`KeyedRateLimit`] is a quota for each of many keys, shared by threads.
//! - [`SharedPipeline`] makes whole calls through one [`Pipeline`](steadfast_core::pipeline::Pipeline) from many tasks,
//!   or from threads that block: [`ThreadTimer`] is the timer for those. Where a call has failed for good, it
//!   [falls back](SharedPipeline::fall_back) to something else. An [`OwnedCall`] is such a call as a future with a name.
//! - [`KeyedPipeline`] is one pipeline for many keys, each with limits of its own.
//! - [`FaultInjector`] lets operations fail on purpose, from a seed.
//! - [`Line`] is the line in which both wait: first come, first served, as a state machine.
//!
//! Futures are driven by whoever polls them: nothing spawns a task, starts a thread, or needs a runtime. They are `Send`
//! when the timer and the operation are, and work as well when they are not.
//!
//! # Cancel safety
//!
//! Every future here may be dropped at any await point. A waiter that is dropped leaves the line, and those behind it
//! move forward; tokens that it was granted and did not use go back.

use std::sync::PoisonError;

mod concurrency;
mod demand;
mod executor;
mod fallback;
mod fault;
mod in_flight;
mod keyed;
mod keyed_pipeline;
mod line;
mod owned_call;
mod pipeline;
mod queue;
mod rate_limit;
mod run;
mod spent;
mod thread;

pub use concurrency::{ConcurrencyLimit, NoSlot, Slot};
pub use demand::Demand;
pub use executor::{Executor, NotExecuted, RateLimitedExecutor};
pub use fault::FaultInjector;
pub use in_flight::{Flight, InFlight, ShutDown, Stopped};
pub use keyed::KeyedRateLimit;
pub use keyed_pipeline::KeyedPipeline;
pub use line::{Line, Ticket};
pub use owned_call::{Operation, OwnedCall};
pub use pipeline::SharedPipeline;
pub use queue::{Left, NotAccepted, Stats, WorkQueue, Worked};
pub use rate_limit::{Held, RateLimit};
pub use run::Retryable;
pub use spent::Spent;
pub use thread::ThreadTimer;

/// What threads share is tried under every interleaving by the models in `tests/loom`, with loom's locks for these.
mod sync {
    #[cfg(loom)]
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
    #[cfg(not(loom))]
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
}

/// Locks, also after another thread has panicked with the lock in hand: what runs under our locks of the user's is at
/// most how a key is hashed and compared, and the state machines under them are whole between any two calls.
fn lock<T>(mutex: &sync::Mutex<T>) -> sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
