//! Time on tokio.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::time::{Clock, Timer};
//! use steadfast_tokio::TokioTimer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let timer = TokioTimer::new();
//! let deadline = timer.now() + Duration::from_millis(2);
//! timer.sleep_until(deadline).await;
//! assert!(timer.now() >= deadline);
//! # }
//! ```
//!
//! It follows tokio's clock, so `#[tokio::test(start_paused = true)]` makes every wait of this project take no time.
//!
//! tokio's timers tick once a millisecond, and round up: a sleep is up to a tick late, and never early.

use core::time::Duration;

use steadfast_core::time::{Clock, Instant, Timer};

/// Time on tokio, counted from when it was made.
///
/// # Panics
///
/// tokio's sleeps panic outside of a tokio runtime, and in one that was built without `enable_time`. Elsewhere, use the
/// timer of the runtime that is there.
#[derive(Clone, Copy, Debug)]
pub struct TokioTimer {
    epoch: tokio::time::Instant,
}

impl TokioTimer {
    /// A clock that starts at [`Instant::EPOCH`] now.
    pub fn new() -> Self {
        Self { epoch: tokio::time::Instant::now() }
    }
}

impl Default for TokioTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioTimer {
    #[inline]
    fn now(&self) -> Instant {
        Instant::EPOCH + tokio::time::Instant::now().duration_since(self.epoch)
    }
}

impl Timer for TokioTimer {
    type Sleep = tokio::time::Sleep;

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        let since_epoch = deadline - Instant::EPOCH;
        match self.epoch.checked_add(since_epoch) {
            Some(deadline) => tokio::time::sleep_until(deadline),
            // Where the operating system's clock does not reach as far as ours; tokio takes this as never.
            None => tokio::time::sleep(Duration::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The conformance suite of the package `steadfast-tests` has the rest.
    #[tokio::test(start_paused = true)]
    async fn it_follows_tokios_clock() {
        let timer = TokioTimer::new();
        assert_eq!(timer.now(), Instant::EPOCH);
        timer.sleep_until(Instant::EPOCH + Duration::from_secs(3600)).await;
        assert_eq!(timer.now(), Instant::EPOCH + Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn never_is_never() {
        let timer = TokioTimer::new();
        let never = timer.sleep_until(Instant::MAX);
        assert!(tokio::time::timeout(Duration::from_secs(86_400 * 365), never).await.is_err());
    }
}
