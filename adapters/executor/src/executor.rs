use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use steadfast_core::concurrency;
use steadfast_core::limits::{Counts, Limits};
use steadfast_core::rate_limit::{Quota, RateLimits, Refusal};
use steadfast_core::time::Timer;

use crate::demand::Demand;
use crate::in_flight::{InFlight, ShutDown, Stopped};
use crate::line::Line;
use crate::rate_limit::RateLimit;

/// Runs operations, only so many at once, first come, first served; and can be shut down.
///
/// ```
/// use std::time::Duration;
/// use futures_util::StreamExt;
/// use steadfast_core::concurrency::ConcurrencyLimit;
/// use steadfast_core::time::ManualClock;
/// use steadfast_executor::Executor;
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let executor = Executor::new(ConcurrencyLimit::fixed(8).build()?, &clock);
///
/// clock.drive(async {
///     let lengths: Vec<_> = executor.map(["a", "bb", "ccc"], |word| async move { word.len() }).collect().await;
///     assert_eq!(lengths, [Ok(1), Ok(2), Ok(3)]);
///
///     let stopped = executor.shut_down(Duration::from_secs(5)).await;
///     assert_eq!((stopped.finished, stopped.cancelled), (0, 0), "nothing was running");
///     assert!(executor.execute(async {}).await.is_err());
/// });
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// Operations are run by whoever awaits them: nothing is spawned, no thread is started. Clones share the limits and the
/// shutdown. With rate limits it is a [`RateLimitedExecutor`]: an operation waits for tokens and slot as one.
#[derive(Debug)]
pub struct Executor<T, const K: usize = 0> {
    line: RateLimit<T, K>,
    in_flight: InFlight,
}

/// An [`Executor`] that keeps to rate limits as well.
///
/// ```
/// use steadfast_core::concurrency::ConcurrencyLimit;
/// use steadfast_core::rate_limit::Quota;
/// use steadfast_core::time::{Clock, ManualClock};
/// use steadfast_executor::RateLimitedExecutor;
///
/// let clock = ManualClock::new();
/// let slots = ConcurrencyLimit::fixed(8).build()?;
/// let executor = RateLimitedExecutor::rate_limited(slots, [Quota::per_second(10)?], &clock);
/// clock.drive(async {
///     for _ in 0..3 {
///         executor.execute(async {}).await.expect("it is not shut down");
///     }
/// });
/// assert_eq!(clock.now().as_nanos(), 200_000_000);
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
pub type RateLimitedExecutor<T, const K: usize = 1> = Executor<T, K>;

/// Why an operation has no result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NotExecuted {
    /// It was never started: a limit refused it.
    Refused(Refusal),
    /// It was never started: the executor is shut down.
    ShutDown,
    /// It was started, and cancelled by the shutdown, whose time was over.
    Cancelled,
}

impl fmt::Display for NotExecuted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::ShutDown => f.write_str("executor: it is shut down, the operation was not started"),
            Self::Cancelled => f.write_str("executor: the operation was cancelled by the shutdown"),
        }
    }
}

impl std::error::Error for NotExecuted {}

impl From<ShutDown> for NotExecuted {
    fn from(why: ShutDown) -> Self {
        match why {
            ShutDown::NotStarted => Self::ShutDown,
            ShutDown::Cancelled => Self::Cancelled,
        }
    }
}

impl<T: Clone, const K: usize> Clone for Executor<T, K> {
    fn clone(&self) -> Self {
        Self { line: self.line.clone(), in_flight: self.in_flight.clone() }
    }
}

impl<T: Timer> Executor<T> {
    /// An executor with so many slots. At most 65,536 operations wait for one.
    pub fn new(slots: concurrency::ConcurrencyLimit, timer: T) -> Self {
        Self::with_line(Line::before(Limits::none().with_concurrency_limit(slots)), timer)
    }
}

impl<T: Timer, const K: usize> Executor<T, K> {
    /// An executor with so many slots, and these rate limits, of which every operation takes one token each, or what
    /// [`execute_for`](Self::execute_for) is told.
    pub fn rate_limited(slots: concurrency::ConcurrencyLimit, quotas: [Quota; K], timer: T) -> Self {
        let rates = RateLimits::new(quotas);
        let limits = Limits::<0>::none().with_concurrency_limit(slots).with_rate_limits(rates, [Counts::Weight; K]);
        Self::with_line(Line::before(limits), timer)
    }

    /// An executor with a line that was set up otherwise.
    pub fn with_line(line: Line<K>, timer: T) -> Self {
        Self { line: RateLimit::with_line(line, timer), in_flight: InFlight::new() }
    }

    /// The line that operations wait in: to change a quota, or block until a server says.
    pub fn rate_limit(&self) -> &RateLimit<T, K> {
        &self.line
    }

    /// Runs an operation once there is a slot for it, and a token of each rate limit.
    ///
    /// Cancel safe: dropped, it leaves the line or frees its slot.
    ///
    /// # Errors
    /// If it was not run, or not to its end.
    pub async fn execute<R>(&self, operation: impl Future<Output = R>) -> Result<R, NotExecuted> {
        self.execute_for(Demand::of([1; K]), operation).await
    }

    /// The same for an operation that weighs otherwise, is urgent, or has a deadline for its start.
    ///
    /// Cancel safe, as [`execute`](Self::execute) is.
    ///
    /// # Errors
    /// If it was not run, or not to its end.
    pub async fn execute_for<R>(
        &self,
        demand: Demand<K>,
        operation: impl Future<Output = R>,
    ) -> Result<R, NotExecuted> {
        let flight = self.in_flight.enter();
        let held = flight.run(self.line.acquire(demand)).await?.map_err(NotExecuted::Refused)?;
        // Whoever has begun to shut down meanwhile must not find another one running.
        if !flight.start() {
            held.cancel();
            return Err(NotExecuted::ShutDown);
        }
        let result = flight.run(operation).await?;
        // The slot goes first: whoever is told that nothing runs any more finds it free.
        drop(held);
        Ok(result)
    }

    /// Runs one operation for each item, and gives their results in the order of the items.
    ///
    /// As many run at once as the limits allow. What comes next is taken from `items` only as results are taken from the
    /// stream, so that either may be endless: at most twice as many results as there are slots are kept for one that
    /// takes long.
    ///
    /// Cancel safe: dropped, it cancels what it runs.
    pub fn map<'a, I, F, R>(
        &'a self,
        items: impl IntoIterator<Item = I, IntoIter: 'a> + 'a,
        mut operation: impl FnMut(I) -> F + 'a,
    ) -> impl Stream<Item = Result<R, NotExecuted>> + 'a
    where
        I: 'a,
        F: Future<Output = R> + 'a,
        R: 'a,
    {
        let slots = self.line.with(|line, _| line.limits().concurrency_limit().map_or(64, |limit| limit.bounds().1));
        let ahead = usize::try_from(slots).unwrap_or(usize::MAX).saturating_mul(2);
        stream::iter(items).map(move |item| self.execute(operation(item))).buffered(ahead)
    }

    /// Starts nothing any more, waits for what runs for at most `patience`, and cancels the rest. Those who wait for
    /// their start are told at once.
    ///
    /// It may be asked again, and says the same: see [`InFlight::shut_down`].
    ///
    /// Cancel safe: dropped, the executor stays closed, and what runs goes on. Asked again, it waits again.
    pub async fn shut_down(&self, patience: Duration) -> Stopped {
        self.in_flight.shut_down(self.line.timer(), patience).await
    }

    /// Whether it was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.in_flight.is_shut_down()
    }

    /// How many operations run.
    pub fn running(&self) -> usize {
        self.in_flight.running()
    }

    /// How many wait for their start.
    pub fn waiting(&self) -> usize {
        self.line.waiting()
    }
}

#[cfg(test)]
mod tests;
