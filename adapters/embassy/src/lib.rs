//! Time on embassy, and one state machine for several tasks and interrupts: `no_std`, without an allocator.
//!
//! ```
//! use core::time::Duration;
//! use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
//! use steadfast_core::outcome::Outcome;
//! use steadfast_core::pipeline::{CallOptions, Pipeline};
//! use steadfast_core::run::Runner;
//! use steadfast_core::time::{Clock, Instant};
//! use steadfast_embassy::{EmbassyTimer, Shared};
//!
//! let pipeline = Shared::<CriticalSectionRawMutex, _>::new(Pipeline::builder().build()?);
//! let runner = Runner { pipeline: &pipeline, timer: &EmbassyTimer, observer: &() };
//!
//! // In a task of the firmware, where `send` talks to the modem:
//! # let send = |_attempt| async { 200_u16 };
//! let classify = |status: &u16| if *status < 300 { Outcome::success() } else { Outcome::transient() };
//! let call = runner.call(CallOptions::idempotent(), || u64::MAX, classify, send);
//! # let mut call = core::pin::pin!(call);
//! # let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
//! # assert!(core::future::Future::poll(call.as_mut(), &mut cx).is_ready());
//! # assert_eq!(EmbassyTimer.now(), Instant::EPOCH + Duration::ZERO);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! # What the firmware chooses
//!
//! This crate turns on no feature of `embassy-time`: the driver, the rate of its ticks and its queue come from the firmware's
//! own `Cargo.toml`, as for any library on embassy.
//!
//! - The tick: deadlines are rounded up to it. At 1 MHz nobody will notice; at 32,768 Hz a wait is up to 31 µs longer.
//! - The queue: without one of the features `generic-queue-…`, timers live in the tasks of `embassy-executor`, and panic under
//!   any other executor. With one, and with more tasks asleep than it has places, the surplus is polled busily; it still
//!   wakes in time.
//!
//! # In little flash
//!
//! Make the pipeline a constant, and have [a token bucket alone](steadfast_core::pipeline::Pipeline::limited_by) limit it:
//!
//! ```
//! use core::time::Duration;
//! use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
//! use steadfast_core::pipeline::Pipeline;
//! use steadfast_core::rate_limit::{Quota, TokenBucket};
//! use steadfast_embassy::Shared;
//!
//! const POLICIES: Pipeline<TokenBucket> =
//!     match (Quota::per_second(2), Pipeline::builder().deadline(Duration::from_secs(15)).build()) {
//!         (Ok(quota), Ok(pipeline)) => pipeline.limited_by(TokenBucket::new(quota)),
//!         _ => panic!("settings that cannot be"),
//!     };
//! static PIPELINE: Shared<CriticalSectionRawMutex, Pipeline<TokenBucket>> = Shared::new(POLICIES);
//! # let _ = &PIPELINE;
//! ```
//!
//! The compiler checks the settings then, and links neither the checks nor the other limits: a third of what they take all
//! together. Build with `opt-level = "z"`, `lto = "fat"`, `codegen-units = 1` and `panic = "abort"`.
//!
//! # When not to use it
//!
//! On a computer with an operating system, where the runtime has a timer of its own.

#![no_std]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use embassy_time::TICK_HZ;
use steadfast_core::time::{Clock, Instant, Timer};

mod rate;
mod shared;

use rate::Rate;
pub use shared::Shared;

/// The rate of embassy's clock in this build.
const RATE: Rate = Rate::of(TICK_HZ);

/// Embassy's time, counted from when its driver starts to count: on most chips, from boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyTimer;

impl Clock for EmbassyTimer {
    fn now(&self) -> Instant {
        Instant::from_nanos(RATE.nanos(embassy_time::Instant::now().as_ticks()))
    }
}

impl Timer for EmbassyTimer {
    type Sleep = EmbassySleep;

    fn sleep_until(&self, deadline: Instant) -> EmbassySleep {
        let at = || embassy_time::Instant::from_ticks(RATE.ticks(deadline.as_nanos()));
        // What never ends takes no place in the queue.
        EmbassySleep((deadline < Instant::MAX).then(|| embassy_time::Timer::at(at())))
    }
}

/// A wait on an [`EmbassyTimer`].
///
/// Dropped, it is forgotten; its place in embassy's queue is free when its time has come, and whoever dropped it is woken
/// once more then.
#[derive(Debug)]
#[must_use = "a sleep that is not awaited waits for nothing"]
pub struct EmbassySleep(Option<embassy_time::Timer>);

impl Future for EmbassySleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |timer| Pin::new(timer).poll(cx))
    }
}
