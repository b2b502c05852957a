use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use event_listener::{Event, EventListener};
use futures_util::future::{Either, select};
use steadfast_core::time::Timer;

use crate::lock;
use crate::sync::{Arc, Mutex};

/// How long a shutdown waits for what it has cancelled: only a future that nobody polls any more runs into it.
const GRACE: Duration = Duration::from_millis(100);

/// Counts what is in flight, and shuts it down: the piece that whatever has a lifecycle is built on.
///
/// ```
/// use std::time::Duration;
/// use futures_util::future::join;
/// use steadfast_core::time::{Clock, ManualClock, Timer};
/// use steadfast_executor::{InFlight, ShutDown};
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let timer = &clock;
/// let in_flight = InFlight::new();
/// let slow = async {
///     let flight = in_flight.enter();
///     assert!(flight.start(), "nobody has shut it down yet");
///     flight.run(timer.sleep_until(timer.now() + Duration::from_secs(60))).await
/// };
/// let stop = in_flight.shut_down(&timer, Duration::from_secs(5));
/// let (slow, stopped) = clock.drive(join(slow, stop)).expect("it ends");
/// assert_eq!((slow, stopped.finished, stopped.cancelled), (Err(ShutDown::Cancelled), 0, 1));
/// ```
///
/// Clones are the same. Nothing is spawned: an operation is cancelled by whoever polls it, who is woken to do so.
///
/// ```text
///            enter            start                     its end
///   asked for ────▶ waits ───────────▶ runs ──────────────────────────▶ finished
///                     │                  │
///    closed: refused ◀┘   patience over: └▶ cancelled
/// ```
///
/// Invariants, each the name of a test:
/// - *nothing starts once it is shut down*: neither what comes later nor what was waiting.
/// - *a shutdown ends by its patience*: whatever anybody does or leaves undone, a tenth of a second later at most.
/// - *asked again, it says the same*: however many shut down, at once or one after the other.
/// - *every one that ran is counted once*: as finished, if it came to its end, or else as cancelled.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<State>);

#[derive(Debug, Default)]
struct State {
    phase: Mutex<Phase>,
    /// When nothing may start any more, and when what runs is cancelled.
    stops: Event,
    /// When the last one ends.
    idle: Event,
}

#[derive(Clone, Copy, Debug, Default)]
struct Phase {
    running: usize,
    /// Of those that ran when it was closed.
    finished: usize,
    /// Likewise.
    cancelled: usize,
    closed: bool,
    /// Whether what still runs is to be cancelled.
    cancels: bool,
}

/// What became of the operations that were running at a shutdown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stopped {
    /// How many came to their end in time.
    pub finished: usize,
    /// How many were cancelled, or dropped by whoever awaited them.
    pub cancelled: usize,
}

/// What a shutdown did to an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShutDown {
    /// It was not started.
    NotStarted,
    /// It was started, and cancelled, since it took longer than the shutdown had patience.
    Cancelled,
}

impl fmt::Display for ShutDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStarted => "shut down: it was not started",
            Self::Cancelled => "shut down: it was cancelled",
        })
    }
}

impl std::error::Error for ShutDown {}

impl InFlight {
    /// Nothing is in flight yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An operation that has not started yet: it may have to wait for its turn first.
    pub fn enter(&self) -> Flight {
        Flight { state: Arc::clone(&self.0), started: AtomicBool::new(false), finished: AtomicBool::new(false) }
    }

    /// Starts nothing any more, waits for what runs for at most `patience`, and cancels the rest. What waits for its
    /// start is refused at once.
    ///
    /// It may be asked any number of times, also at once: whoever has the least patience cancels for all, and each is told
    /// what became of those that ran when the first one asked.
    ///
    /// Cancel safe: dropped, it stays closed, and what runs goes on.
    pub async fn shut_down<T: Timer>(&self, timer: &T, patience: Duration) -> Stopped {
        let deadline = timer.now() + patience;
        self.stop(|phase| phase.closed = true);
        if let Either::Right(_) = select(pin!(self.idle()), pin!(timer.sleep_until(deadline))).await {
            self.cancel();
            // One that is never polled again is not waited for.
            select(pin!(self.idle()), pin!(timer.sleep_until(timer.now() + GRACE))).await;
        }
        let Phase { running, finished, cancelled, .. } = *lock(&self.0.phase);
        Stopped { finished, cancelled: cancelled + running }
    }

    /// Starts nothing any more, and cancels what runs, without waiting until it has gone.
    pub fn cancel(&self) {
        self.stop(|phase| (phase.closed, phase.cancels) = (true, true));
    }

    /// Whether it was shut down: nothing starts any more.
    pub fn is_shut_down(&self) -> bool {
        lock(&self.0.phase).closed
    }

    /// How many run.
    pub fn running(&self) -> usize {
        lock(&self.0.phase).running
    }

    fn stop(&self, change: impl FnOnce(&mut Phase)) {
        change(&mut lock(&self.0.phase));
        self.0.stops.notify(usize::MAX);
    }

    /// Ends when nothing runs.
    async fn idle(&self) {
        loop {
            let idle = self.0.idle.listen();
            if self.running() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One operation, from when it is asked for to its end. Dropping it is its end.
#[derive(Debug)]
#[must_use = "it is over when it is dropped"]
pub struct Flight {
    state: Arc<State>,
    started: AtomicBool,
    finished: AtomicBool,
}

impl Flight {
    /// Its turn has come: from now on a shutdown waits for it. `false` if there was one already; then it must not run.
    #[must_use = "if it was refused, it must not run"]
    pub fn start(&self) -> bool {
        // Only whoever runs it asks; what others see of it is under the lock.
        if self.started.load(Ordering::Relaxed) {
            return true;
        }
        let mut phase = lock(&self.state.phase);
        if !phase.closed {
            phase.running += 1;
            self.started.store(true, Ordering::Relaxed);
        }
        !phase.closed
    }

    /// What `operation` returns, unless a shutdown stops it: before it has [started](Self::start) at once, and after that
    /// when the shutdown has no patience any more.
    ///
    /// Cancel safe: dropped, so is the operation.
    ///
    /// # Errors
    /// If a shutdown has stopped it. The operation is dropped by then.
    pub async fn run<R>(&self, operation: impl Future<Output = R>) -> Result<R, ShutDown> {
        let mut operation = pin!(operation);
        // One that goes on after an earlier part of it has ended.
        self.finished.store(false, Ordering::Relaxed);
        // There is none before it waits for the first time: what does not wait pays nothing for it.
        let mut stops = None;
        poll_fn(|cx| {
            if let Some(why) = self.stopped() {
                return Poll::Ready(Err(why));
            }
            if let Poll::Ready(result) = operation.as_mut().poll(cx) {
                // What ended before its start was no more than the wait for it.
                self.finished.store(self.started.load(Ordering::Relaxed), Ordering::Relaxed);
                return Poll::Ready(Ok(result));
            }
            self.poll_stopped(&mut stops, cx).map(Err)
        })
        .await
    }

    /// Waits until a shutdown stops it, as [`run`](Self::run) would: for what is no future, such as a stream.
    ///
    /// Cancel safe.
    pub async fn until_stopped(&self) -> ShutDown {
        self.run(pending::<std::convert::Infallible>()).await.map_or_else(|why| why, |never| match never {})
    }

    fn poll_stopped(&self, stops: &mut Option<EventListener>, cx: &mut Context<'_>) -> Poll<ShutDown> {
        loop {
            if let Some(listener) = stops {
                if Pin::new(listener).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            // Listening first and asking then, so that nothing is missed between the two.
            *stops = Some(self.state.stops.listen());
            if let Some(why) = self.stopped() {
                return Poll::Ready(why);
            }
        }
    }

    fn stopped(&self) -> Option<ShutDown> {
        let Phase { closed, cancels, .. } = *lock(&self.state.phase);
        match self.started.load(Ordering::Relaxed) {
            true => cancels.then_some(ShutDown::Cancelled),
            false => closed.then_some(ShutDown::NotStarted),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !*self.started.get_mut() {
            return;
        }
        let finished = *self.finished.get_mut();
        let idle = {
            let mut phase = lock(&self.state.phase);
            phase.running -= 1;
            phase.finished += usize::from(phase.closed && finished);
            phase.cancelled += usize::from(phase.closed && !finished);
            phase.running == 0
        };
        if idle {
            self.state.idle.notify(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests;
