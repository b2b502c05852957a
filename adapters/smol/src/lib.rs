//! Time on smol, and on any other executor that brings no timer of its own.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::time::{Clock, Timer};
//! use steadfast_smol::SmolTimer;
//!
//! async_io::block_on(async {
//!     let timer = SmolTimer::new();
//!     let deadline = timer.now() + Duration::from_millis(2);
//!     timer.sleep_until(deadline).await;
//!     assert!(timer.now() >= deadline);
//! });
//! ```
//!
//! The timers are those of `async-io`, which is smol's: they work under every executor, since whoever polls them is
//! woken. A sleep ends as soon after its deadline as the operating system can tell, and never before.
//!
//! # When not to use it
//!
//! Where another runtime has timers already. `async-io` keeps a thread of its own, which it starts with its first timer or
//! socket: on smol that is the one that is there anyhow, on tokio it is one more.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::time;

use steadfast_core::time::{Clock, Instant, Timer};

/// Time by the operating system's monotonic clock, counted from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct SmolTimer {
    epoch: time::Instant,
}

impl SmolTimer {
    /// A clock that starts at [`Instant::EPOCH`] now.
    pub fn new() -> Self {
        Self { epoch: time::Instant::now() }
    }
}

impl Default for SmolTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SmolTimer {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.epoch.elapsed()
    }
}

impl Timer for SmolTimer {
    type Sleep = SmolSleep;

    fn sleep_until(&self, deadline: Instant) -> SmolSleep {
        // `never` costs nothing. It also stands for what lies where the operating system's clock does not reach.
        let at = self.epoch.checked_add(deadline - Instant::EPOCH).filter(|_| deadline < Instant::MAX);
        SmolSleep(at.map_or_else(async_io::Timer::never, async_io::Timer::at))
    }
}

/// A wait on a [`SmolTimer`]. Dropping it cancels it.
#[derive(Debug)]
#[must_use = "a sleep that is not awaited waits for nothing"]
pub struct SmolSleep(async_io::Timer);

impl Future for SmolSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::Waker;

    use super::*;

    // The conformance suite of the package `steadfast-tests` has the rest.
    #[test]
    fn never_is_never_and_the_past_is_over() {
        let timer = SmolTimer::new();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(timer.sleep_until(Instant::MAX)).poll(&mut cx).is_pending());
        assert!(pin!(timer.sleep_until(Instant::EPOCH)).poll(&mut cx).is_ready());
    }
}
