use std::future::Future;
use std::time::Duration;

use steadfast_core::limits::{Counts, Limiter, Limits};
use steadfast_core::rate_limit::{Quota, RateLimits, Refusal};
use steadfast_core::time::{Instant, Timer};

use crate::demand::Demand;
use crate::line::{Line, Ticket, Turn};
use crate::lock;
use crate::sync::{Arc, Mutex, MutexGuard};

mod acquire;
mod held;

use acquire::Acquire;
pub use held::Held;

/// A rate limit that tasks await: first come, first served, however heavy.
///
/// ```
/// use steadfast_core::rate_limit::Quota;
/// use steadfast_core::time::ManualClock;
/// use steadfast_executor::RateLimit;
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let requests = Quota::per_minute(600)?;
/// let tokens = Quota::per_minute(90_000)?.with_burst(3_000)?;
/// let limit = RateLimit::several([requests, tokens], &clock);
/// let (light, heavy) = (limit.clone(), limit.clone()); // All share the limits.
///
/// let elapsed = clock.drive(async {
///     let held = heavy.acquire([1, 3_000]).await?;
///     held.commit([1, 1_800]); // It was less in truth; the rest goes back.
///     light.acquire([1, 1_500]).await?;
///     Ok::<_, steadfast_core::rate_limit::Refusal>(())
/// });
/// use steadfast_core::time::Clock;
/// assert_eq!(clock.now().as_nanos(), 200_000_000, "of the 1,500 tokens, 300 had to come in");
/// # elapsed.expect("it ends").expect("none is more than its burst");
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// Clones share the limit. It needs a timer and no runtime; see [`Line`] for how it works.
#[derive(Debug)]
pub struct RateLimit<T, const K: usize = 1> {
    line: Arc<Mutex<Line<K>>>,
    timer: T,
}

impl<T: Clone, const K: usize> Clone for RateLimit<T, K> {
    fn clone(&self) -> Self {
        Self { line: Arc::clone(&self.line), timer: self.timer.clone() }
    }
}

impl<T: Timer> RateLimit<T> {
    /// A limit whose bucket is full.
    pub fn new(quota: Quota, timer: T) -> Self {
        Self::with_line(Line::new(quota), timer)
    }
}

impl<T: Timer, const K: usize> RateLimit<T, K> {
    /// Several limits at once, all or nothing, with these quotas in this order.
    pub fn several(quotas: [Quota; K], timer: T) -> Self {
        let limits = Limits::<K>::none().with_rate_limits(RateLimits::new(quotas), [Counts::Weight; K]);
        Self::with_line(Line::before(limits), timer)
    }

    /// A limit with a line that was set up otherwise.
    pub fn with_line(line: Line<K>, timer: T) -> Self {
        Self { line: Arc::new(Mutex::new(line)), timer }
    }

    /// The timer that callers wait on.
    pub const fn timer(&self) -> &T {
        &self.timer
    }

    /// Waits in line for what is demanded: a number of tokens, an array with one for each limit, or a [`Demand`] with
    /// a deadline or a priority.
    ///
    /// The tokens are spent when this returns. What it returns can be dropped, or kept to settle their true cost.
    ///
    /// Cancel safe: dropped while waiting, it leaves the line, and those behind it move forward.
    ///
    /// # Errors
    /// At once, if it can never be had, not before its deadline, or the line is full. Later, if a server's block or
    /// another quota makes it so.
    pub fn acquire(&self, demand: impl Into<Demand<K>>) -> impl Future<Output = Result<Held<'_, T, K>, Refusal>> {
        Acquire::new(self, demand.into())
    }

    /// Takes what is demanded without waiting.
    ///
    /// # Errors
    /// If it is not there now, or somebody waits in line for it.
    pub fn try_acquire(&self, demand: impl Into<Demand<K>>) -> Result<Held<'_, T, K>, Refusal> {
        let demand = demand.into();
        self.with(|line, now| {
            let later = now + Duration::from_nanos(1);
            let demand = demand.before(demand.deadline.min(later));
            if let Some(granted) = line.take_at_once(now, &demand) {
                return Ok(Held::new(self, granted));
            }
            match line.enter(now, demand, None)? {
                Turn::Granted(granted) => Ok(Held::new(self, granted)),
                Turn::Wait(place, retry_at) | Turn::WaitForSlot(place, retry_at) => {
                    line.leave(now, Ticket::waiting(place, demand.weights));
                    Err(Refusal::NotYet { retry_at: retry_at.max(later) })
                }
            }
        })
    }

    /// Runs `operation` once what is demanded is there.
    ///
    /// Cancel safe, as [`acquire`](Self::acquire) is; once the operation runs, its tokens are spent.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire); then the operation was not started.
    pub async fn execute<R>(
        &self,
        demand: impl Into<Demand<K>>,
        operation: impl Future<Output = R>,
    ) -> Result<R, Refusal> {
        // A slot, if one is part of the limits, is held until the operation has ended.
        let _held = self.acquire(demand).await?;
        Ok(operation.await)
    }

    /// Keeps another quota for one of the limits (from 0, in their order) from now on. Those who wait go by it at once.
    ///
    /// The tokens that are there stay, as far as the new burst has room, and debts are still owed. No limit with this
    /// number: nothing changes.
    pub fn set_quota(&self, limit: usize, quota: Quota) {
        self.with(|line, now| line.set_quota(now, limit, quota));
    }

    /// How many tokens of each limit somebody who asks now would get at once.
    pub fn available(&self) -> [u32; K] {
        self.with(Line::available)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.with(|line, _| line.len())
    }

    /// Grants nothing before `until`, to anybody: the server said so.
    pub fn block_until(&self, until: Instant) {
        self.with(|line, _| line.block_until(until));
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Line<K>, Instant) -> R) -> R {
        let (mut line, now) = self.lock();
        let result = f(&mut line, now);
        self.unlock(line);
        result
    }

    /// The line, and what time it is. Whatever puts somebody to wake into the line goes through [`unlock`](Self::unlock).
    #[inline]
    fn lock(&self) -> (MutexGuard<'_, Line<K>>, Instant) {
        let line = lock(&self.line);
        // Read under the lock, so that time does not step back from one thread to the next.
        let now = self.timer.now();
        (line, now)
    }

    /// Releases the lock, and then lets go everybody who is due.
    #[inline]
    fn unlock<'a>(&'a self, line: MutexGuard<'a, Line<K>>) {
        if line.has_woken() {
            self.let_go(line);
        }
    }

    /// Lets go everybody who is due, one by one, each after the lock is released.
    fn let_go<'a>(&'a self, mut line: MutexGuard<'a, Line<K>>) {
        loop {
            let (due, more) = (line.next_woken(), line.has_woken());
            drop(line);
            if let Some(due) = due {
                due.let_go();
            }
            if !more {
                return;
            }
            line = lock(&self.line);
        }
    }
}

#[cfg(test)]
mod tests;
