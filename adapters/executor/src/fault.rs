use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use steadfast_core::fault::{Drawn, Fault, Faults};
use steadfast_core::time::Timer;

use crate::sync::Arc;

/// Lets operations meet [`Faults`], on purpose: for tests, drills and demonstrations.
///
/// ```
/// use std::io;
/// use steadfast_core::fault::Faults;
/// use steadfast_core::pipeline::{CallOptions, Pipeline};
/// use steadfast_core::time::ManualClock;
/// use steadfast_executor::{FaultInjector, SharedPipeline};
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let faults = FaultInjector::new(Faults::builder().error_before(30).build()?, &clock, 7);
/// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
///
/// // Within the pipeline, so that each attempt meets a fault of its own.
/// let ask = || async { Ok::<_, io::Error>("hello") };
/// let call = pipeline.run(CallOptions::idempotent(), |_attempt| faults.wrap(ask(), io::Error::other));
/// assert_eq!(clock.drive(call).expect("it ends").ok(), Some("hello"));
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// Clones share what was drawn so far. From the same seed, the first attempt meets the same each time, the second, and so on, in
/// the order in which they begin.
pub struct FaultInjector<T> {
    faults: Faults,
    timer: T,
    seed: u64,
    drawn: Arc<AtomicU64>,
}

impl<T> FaultInjector<T> {
    /// Faults from this seed, on this timer.
    pub fn new(faults: Faults, timer: T, seed: u64) -> Self {
        Self { faults, timer, seed, drawn: Arc::new(AtomicU64::new(0)) }
    }

    /// What the next attempt meets.
    ///
    /// The seeds of neighbours lie apart by the golden ratio, as those of `SplitMix64` do (Steele, Lea and Flood, 2014).
    pub fn draw(&self) -> Drawn {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let seed = self.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        self.faults.draw(fastrand::Rng::with_seed(seed).u64(..))
    }

    /// The timer that attempts are held up on.
    pub const fn timer(&self) -> &T {
        &self.timer
    }
}

impl<T: Timer> FaultInjector<T> {
    /// An operation that meets a fault, or none: `error` makes the operation's error of it.
    ///
    /// What fails [before](Fault::ErrorBefore) or is [throttled](Fault::Throttled) never runs. What fails
    /// [after](Fault::ErrorAfter), or breaks off in its [answer](Fault::Reset), runs to its end, and its result is dropped.
    ///
    /// Cancel safe, if the operation is. What it meets is drawn when this is first polled.
    ///
    /// # Errors
    /// As the operation's, or what `error` makes of the fault.
    pub async fn wrap<R, E>(
        &self,
        operation: impl Future<Output = Result<R, E>>,
        error: impl FnOnce(Fault) -> E,
    ) -> Result<R, E> {
        let Drawn { latency, fault } = self.draw();
        self.hold_up(latency).await;
        match fault {
            None => operation.await,
            Some(fault @ (Fault::ErrorAfter | Fault::Reset)) => operation.await.and_then(|_lost| Err(error(fault))),
            Some(fault) => Err(error(fault)),
        }
    }

    /// Waits until so much time has passed.
    async fn hold_up(&self, latency: std::time::Duration) {
        if latency.is_zero() {
            return;
        }
        let until = self.timer.now() + latency;
        while self.timer.now() < until {
            self.timer.sleep_until(until).await;
        }
    }
}

impl<T: Clone> Clone for FaultInjector<T> {
    fn clone(&self) -> Self {
        Self { timer: self.timer.clone(), drawn: Arc::clone(&self.drawn), ..*self }
    }
}

impl<T> fmt::Debug for FaultInjector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultInjector").field("faults", &self.faults).field("seed", &self.seed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use steadfast_core::fault::FaultsBuilder;
    use steadfast_core::time::{Clock, Instant, ManualClock};

    use super::*;

    #[derive(Debug, Eq, PartialEq)]
    enum Failed {
        Injected(Fault),
        ByItself,
    }

    /// Runs one operation, and compares what came of it, whether it ran, and when it ended.
    #[track_caller]
    fn check(
        faults: FaultsBuilder,
        result: Result<u8, Failed>,
        want: Result<u8, Failed>,
        want_run: bool,
        want_ms: u64,
    ) {
        let (clock, has_run) = (ManualClock::new(), Cell::new(false));
        let faults = FaultInjector::new(faults.build().unwrap(), &clock, 7);
        let operation = async {
            has_run.set(true);
            result
        };
        assert_eq!(clock.drive(faults.wrap(operation, Failed::Injected)), Some(want));
        assert_eq!((has_run.get(), clock.now()), (want_run, Instant::EPOCH + Duration::from_millis(want_ms)));
    }

    #[test]
    fn a_fault_before_keeps_the_operation_from_running_and_one_after_loses_its_result() {
        let (faults, second) = (Faults::builder(), Duration::from_secs(1));
        let throttled = Fault::Throttled { retry_after: second };
        check(faults, Ok(1), Ok(1), true, 0);
        check(faults.latency(100, second, second), Ok(1), Ok(1), true, 1000);
        check(faults.error_before(100), Ok(1), Err(Failed::Injected(Fault::ErrorBefore)), false, 0);
        check(faults.throttle(100, second), Ok(1), Err(Failed::Injected(throttled)), false, 0);
        check(faults.error_after(100), Ok(1), Err(Failed::Injected(Fault::ErrorAfter)), true, 0);
        check(faults.reset(100).latency(100, second, second), Ok(1), Err(Failed::Injected(Fault::Reset)), true, 1000);
        check(faults.error_after(100), Err(Failed::ByItself), Err(Failed::ByItself), true, 0);
    }

    #[test]
    fn the_same_seed_draws_the_same_faults_and_another_others() {
        let faults = Faults::builder().error_before(20).reset(20).latency(50, Duration::ZERO, Duration::from_secs(1));
        let faults = faults.build().unwrap();
        let draw = |seed| {
            let injector = FaultInjector::new(faults, (), seed);
            let clone = injector.clone();
            (0..100).map(|number| if number % 2 == 0 { injector.draw() } else { clone.draw() }).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
