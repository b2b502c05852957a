use std::future::Future;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use steadfast_core::rate_limit::{Admission, Quota, RateLimiter, Refusal};
use steadfast_core::run::wait_for;
use steadfast_core::time::{Instant, Timer};

use crate::line::{Line, Ticket};
use crate::lock;

/// A rate limit that tasks await: first come, first served, however heavy.
///
/// ```
/// use core::num::NonZeroU32;
/// use steadfast_core::rate_limit::Quota;
/// use steadfast_core::time::{Clock, ManualClock};
/// use steadfast_executor::RateLimit;
///
/// let clock = ManualClock::new();
/// let limit = RateLimit::new(Quota::per_minute(90_000)?.with_burst(3_000)?, &clock);
/// let (light, heavy) = (limit.clone(), limit.clone()); // Both share the one limit.
///
/// clock.drive(async {
///     heavy.acquire(3_000).await.expect("not more than the burst");
///     light.acquire(1_500).await.expect("not more than the burst");
/// });
/// assert_eq!(clock.now().as_nanos(), 1_000_000_000);
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// Clones share the limit. It needs a timer and no runtime; see [`Line`] for how it works.
#[derive(Debug)]
pub struct RateLimit<T> {
    line: Arc<Mutex<Line>>,
    timer: T,
}

impl<T: Clone> Clone for RateLimit<T> {
    fn clone(&self) -> Self {
        Self { line: Arc::clone(&self.line), timer: self.timer.clone() }
    }
}

impl<T: Timer> RateLimit<T> {
    /// A limit whose bucket is full.
    pub fn new(quota: Quota, timer: T) -> Self {
        Self::with_line(Line::new(quota), timer)
    }

    /// A limit with a line that was set up otherwise.
    pub fn with_line(line: Line, timer: T) -> Self {
        Self { line: Arc::new(Mutex::new(line)), timer }
    }

    /// Waits for `tokens`, in line.
    ///
    /// Cancel safe: dropped while waiting, it leaves the line, and those behind it move forward.
    ///
    /// # Errors
    /// At once, if `tokens` is more than the burst or the line is full.
    pub async fn acquire(&self, tokens: u32) -> Result<(), Refusal> {
        self.acquire_before(tokens, Instant::MAX).await
    }

    /// Waits for `tokens`, in line, if they can be had before `deadline`.
    ///
    /// Cancel safe, as [`acquire`](Self::acquire) is.
    ///
    /// # Errors
    /// At once, if its turn would come only at `deadline` or later, and later, if a server's block makes it so. At
    /// once, if `tokens` is more than the burst or the line is full.
    pub async fn acquire_before(&self, tokens: u32, deadline: Instant) -> Result<(), Refusal> {
        let ticket = self.with(|line, now| line.join(now, tokens, deadline))?;
        let mut place = Place { limit: self, ticket: Some(ticket) };
        wait_for(&self.timer, |cx| match place.ask(cx) {
            Admission::Granted => {
                place.ticket = None; // Dropped without leaving: the tokens are spent.
                ControlFlow::Break(Ok(()))
            }
            Admission::Wait(until) if until < deadline => ControlFlow::Continue(until),
            Admission::Wait(retry_at) => ControlFlow::Break(Err(Refusal::NotYet { retry_at })),
        })
        .await
    }

    /// Takes `tokens` without waiting.
    ///
    /// # Errors
    /// If they are not there now, or somebody waits in line for them.
    pub fn try_acquire(&self, tokens: u32) -> Result<(), Refusal> {
        self.with(|line, now| line.join(now, tokens, now + Duration::from_nanos(1))).map(drop)
    }

    /// Runs `operation` once `tokens` are there.
    ///
    /// Cancel safe, as [`acquire`](Self::acquire) is; once the operation runs, its tokens are spent.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire); then the operation was not started.
    pub async fn execute<R>(&self, tokens: u32, operation: impl Future<Output = R>) -> Result<R, Refusal> {
        self.acquire(tokens).await?;
        Ok(operation.await)
    }

    /// How many tokens somebody who asks now would get at once.
    pub fn available(&self) -> u32 {
        self.with(|line, now| line.available(now))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.with(|line, _| line.len())
    }

    /// Grants nothing before `until`, to anybody: the server said so.
    pub fn block_until(&self, until: Instant) {
        self.with(|line, _| line.block_until(until));
    }

    fn with<R>(&self, f: impl FnOnce(&mut Line, Instant) -> R) -> R {
        let now = self.timer.now();
        let (result, woken) = {
            let mut line = lock(&self.line);
            (f(&mut line, now), line.take_woken())
        };
        woken.into_iter().for_each(Waker::wake);
        result
    }
}

/// A place in line that is given back when it is dropped.
struct Place<'a, T: Timer> {
    limit: &'a RateLimit<T>,
    ticket: Option<Ticket>,
}

impl<T: Timer> Place<'_, T> {
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

impl<T: Timer> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.limit.with(|line, now| line.leave(now, ticket));
        }
    }
}
