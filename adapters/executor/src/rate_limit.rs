use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::task::{Context, Poll};
use std::time::Duration;

use steadfast_core::limits::{Counts, Grant, Limiter, Limits};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::rate_limit::{Quota, RateLimits, Refusal};
use steadfast_core::run::wait_for;
use steadfast_core::time::{Instant, Timer};

use crate::demand::Demand;
use crate::line::{Line, Place, Ticket, Turn};
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
    pub async fn acquire(&self, demand: impl Into<Demand<K>>) -> Result<Held<'_, T, K>, Refusal> {
        let mut place = InLine { limit: self, demand: demand.into(), place: None, told: None };
        // Whoever need not wait, as most, does not set up what it takes to.
        if let Some(granted) = poll_fn(|cx| Poll::Ready(place.enter(cx))).await? {
            return Ok(Held::new(place.limit, granted));
        }
        wait_for(&place.limit.timer, |cx| place.ask(cx)).await
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
            match line.enter(now, demand)? {
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
        let mut line = lock(&self.line);
        // Read under the lock, so that time does not step back from one thread to the next.
        let now = self.timer.now();
        let result = f(&mut line, now);
        let (woken, more) = (line.next_woken(), line.has_woken());
        drop(line);
        if let Some(due) = woken {
            due.let_go();
        }
        if more {
            self.let_go_others();
        }
        result
    }

    /// Lets go everybody else who is due, one by one, each after the lock is released.
    #[cold]
    fn let_go_others(&self) {
        let next = || lock(&self.line).next_woken();
        while let Some(due) = next() {
            due.let_go();
        }
    }
}

/// Tokens that were acquired. They are spent, unless it is told otherwise.
///
/// Dropping it leaves them spent: who does not care about true costs need not keep it. Where a slot is part of the limits,
/// dropping it frees the slot.
#[derive(Debug)]
pub struct Held<'a, T: Timer, const K: usize = 1> {
    limit: &'a RateLimit<T, K>,
    /// Not there once it was handed back.
    granted: Option<Grant<K>>,
}

impl<'a, T: Timer, const K: usize> Held<'a, T, K> {
    const fn new(limit: &'a RateLimit<T, K>, granted: Grant<K>) -> Self {
        Self { limit, granted: Some(granted) }
    }

    /// Settles with what was used in truth, which may be known only afterwards: what an answer cost in LLM tokens.
    ///
    /// If it was less, what has not been refilled in the meantime goes back, and those in line move forward. If it was
    /// more, the difference is owed, and those in line wait for it.
    pub fn commit(mut self, used: [u32; K]) {
        if let Some(granted) = self.granted.take() {
            self.limit.with(|line, now| line.commit(now, granted, used));
        }
    }

    /// Tells how the operation ended that had them.
    pub(crate) fn finish(mut self, outcome: OutcomeKind) {
        if let Some(granted) = self.granted.take() {
            self.limit.with(|line, now| line.finish(now, Ticket::granted(granted), outcome));
        }
    }

    /// Gives everything back, because nothing was used.
    pub fn cancel(self) {
        self.commit([0; K]);
    }
}

impl<T: Timer, const K: usize> Drop for Held<'_, T, K> {
    fn drop(&mut self) {
        if let Some(granted) = self.granted.take().filter(Grant::has_slot) {
            self.limit.with(|line, now| line.abandon(now, Ticket::granted(granted)));
        }
    }
}

/// A place in line that is given back when it is dropped.
struct InLine<'a, T: Timer, const K: usize> {
    limit: &'a RateLimit<T, K>,
    demand: Demand<K>,
    /// Not there before it waits, and after.
    place: Option<Place>,
    /// What it was told on joining, and has not acted on yet.
    told: Option<Instant>,
}

impl<'a, T: Timer, const K: usize> InLine<'a, T, K> {
    /// Joins the line, or takes what is there. If it has to wait, whoever moves it forward finds our waker.
    #[inline]
    fn enter(&mut self, cx: &Context<'_>) -> Result<Option<Grant<K>>, Refusal> {
        self.limit.with(|line, now| match line.enter(now, self.demand)? {
            Turn::Granted(granted) => Ok(Some(granted)),
            Turn::Wait(place, until) => {
                (self.place, self.told) = (Some(place), Some(until));
                line.leave_waker(place, cx.waker());
                Ok(None)
            }
            Turn::WaitForSlot(place, at_latest) => {
                (self.place, self.told) = (Some(place), Some(at_latest.min(self.demand.deadline)));
                line.leave_waker(place, cx.waker());
                Ok(None)
            }
        })
    }

    /// How the place stands; if it still has to wait, whoever moves it forward finds our waker.
    fn ask(&mut self, cx: &Context<'_>) -> ControlFlow<Result<Held<'a, T, K>, Refusal>, Instant> {
        if let Some(until) = self.told.take() {
            return ControlFlow::Continue(until);
        }
        let Self { limit, demand, place, .. } = self;
        let Some(known) = place.take() else {
            // Nobody asks before it has joined, nor after it had its answer.
            return ControlFlow::Break(Err(Refusal::not_yet(None)));
        };
        let (turn, now) = limit.with(|line, now| {
            let turn = line.ask(now, known, demand.weights);
            if let Ok(Turn::Wait(..) | Turn::WaitForSlot(..)) = turn {
                line.leave_waker(known, cx.waker());
            }
            (turn, now)
        });
        match turn {
            Ok(Turn::Granted(granted)) => ControlFlow::Break(Ok(Held::new(limit, granted))),
            Ok(Turn::WaitForSlot(known, at_latest)) if now < demand.deadline => {
                *place = Some(known);
                ControlFlow::Continue(at_latest.min(demand.deadline))
            }
            Ok(Turn::Wait(known, until) | Turn::WaitForSlot(known, until)) => {
                *place = Some(known);
                if until < demand.deadline {
                    ControlFlow::Continue(until)
                } else {
                    ControlFlow::Break(Err(Refusal::NotYet { retry_at: until }))
                }
            }
            Err(refusal) => ControlFlow::Break(Err(refusal)),
        }
    }
}

impl<T: Timer, const K: usize> Drop for InLine<'_, T, K> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.limit.with(|line, now| line.leave(now, Ticket::waiting(place, self.demand.weights)));
        }
    }
}
