use std::future::Future;
use std::ops::ControlFlow;
use std::task::Context;
use std::time::Duration;

use steadfast_core::rate_limit::{Admission, Quota, RateLimiter, RateLimits, Refusal, Reservations};
use steadfast_core::run::wait_for;
use steadfast_core::time::{Instant, Timer};

use crate::demand::{Counts, Demand};
use crate::line::{Line, Ticket};
use crate::lock;
use crate::sync::{Arc, Mutex};

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
        Self::with_line(Line::before_several(RateLimits::new(quotas), [Counts::Weight; K]), timer)
    }

    /// A limit with a line that was set up otherwise.
    pub fn with_line(line: Line<K>, timer: T) -> Self {
        Self { line: Arc::new(Mutex::new(line)), timer }
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
    pub async fn acquire(&self, demand: impl Into<Demand<K>>) -> Result<Held<'_, T, K>, Refusal> {
        let demand = demand.into();
        let ticket = self.with(|line, now| line.join(now, demand))?;
        if ticket.is_granted() {
            return Ok(Held { limit: self, granted: ticket.into_granted() });
        }
        let mut place = InLine { limit: self, ticket: Some(ticket) };
        wait_for(&self.timer, |cx| match place.ask(cx) {
            Admission::Granted => ControlFlow::Break(Ok(())),
            Admission::Refused(refusal) => ControlFlow::Break(Err(refusal)),
            Admission::Wait(until) if until < demand.deadline => ControlFlow::Continue(until),
            Admission::Wait(retry_at) => ControlFlow::Break(Err(Refusal::NotYet { retry_at })),
        })
        .await?;
        let granted = place.ticket.take().and_then(Ticket::into_granted);
        Ok(Held { limit: self, granted })
    }

    /// Takes what is demanded without waiting.
    ///
    /// # Errors
    /// If it is not there now, or somebody waits in line for it.
    pub fn try_acquire(&self, demand: impl Into<Demand<K>>) -> Result<Held<'_, T, K>, Refusal> {
        let demand = demand.into();
        let now_or_never = |line: &mut Line<K>, now| {
            let ticket = line.join(now, demand.before(now + Duration::from_nanos(1)))?;
            if !ticket.is_granted() {
                line.leave(now, ticket);
                return Err(Refusal::NotYet { retry_at: now + Duration::from_nanos(1) });
            }
            Ok(ticket.into_granted())
        };
        Ok(Held { limit: self, granted: self.with(now_or_never)? })
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
        self.acquire(demand).await?;
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

    fn with<R>(&self, f: impl FnOnce(&mut Line<K>, Instant) -> R) -> R {
        let (result, mut woken) = {
            let mut line = lock(&self.line);
            // Read under the lock, so that time does not step back from one thread to the next.
            let now = self.timer.now();
            (f(&mut line, now), line.next_woken())
        };
        while let Some(due) = woken {
            due.let_go();
            woken = lock(&self.line).next_woken();
        }
        result
    }
}

/// Tokens that were acquired. They are spent, unless it is told otherwise.
///
/// Dropping it changes nothing: who does not care about true costs need not keep it.
#[derive(Debug)]
pub struct Held<'a, T: Timer, const K: usize = 1> {
    limit: &'a RateLimit<T, K>,
    /// Not there if it was granted to a ticket that has gone, which cannot be; then there is nothing to settle.
    granted: Option<Reservations<K>>,
}

impl<T: Timer, const K: usize> Held<'_, T, K> {
    /// Settles with what was used in truth, which may be known only afterwards: what an answer cost in LLM tokens.
    ///
    /// If it was less, what has not been refilled in the meantime goes back, and those in line move forward. If it was
    /// more, the difference is owed, and those in line wait for it.
    pub fn commit(self, used: [u32; K]) {
        if let Some(granted) = self.granted {
            self.limit.with(|line, now| line.commit(now, granted, used));
        }
    }

    /// Gives everything back, because nothing was used.
    pub fn cancel(self) {
        self.commit([0; K]);
    }
}

/// A place in line that is given back when it is dropped.
struct InLine<'a, T: Timer, const K: usize> {
    limit: &'a RateLimit<T, K>,
    ticket: Option<Ticket<K>>,
}

impl<T: Timer, const K: usize> InLine<'_, T, K> {
    /// How the place stands; if it has to wait, whoever moves it forward finds our waker.
    fn ask(&mut self, cx: &Context<'_>) -> Admission {
        let Some(ticket) = &mut self.ticket else {
            return Admission::Granted;
        };
        self.limit.with(|line, now| {
            let admission = line.poll(now, ticket);
            if let Admission::Wait(_) = admission {
                line.watch(ticket, cx.waker());
            }
            admission
        })
    }
}

impl<T: Timer, const K: usize> Drop for InLine<'_, T, K> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.limit.with(|line, now| line.leave(now, ticket));
        }
    }
}
