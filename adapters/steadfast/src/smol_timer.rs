use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::time;

use steadfast_core::time::{Clock, Instant, Timer};

/// Time by the operating system's monotonic clock, counted from when it was made; waits are async-io's.
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
        let at = self.epoch.checked_add(deadline - Instant::EPOCH);
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
