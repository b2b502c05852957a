use std::collections::BinaryHeap;
use std::fmt;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::time::Duration;

use event_listener::Event;
use futures_util::future::{Either, select};
use steadfast_core::time::Timer;

use crate::lock;
use crate::sync::{Arc, Mutex, MutexGuard};

mod job;
mod work;

pub use job::NotAccepted;
use job::Waiting;
pub use work::Worked;

/// How long a queue that stops waits for workers to notice that its patience is over.
const GRACE: Duration = Duration::from_millis(100);

/// A bounded line of jobs, and the workers that do them: pushing waits for room, and nothing that was accepted is lost
/// without being reported.
///
/// ```
/// use std::num::NonZeroUsize;
/// use std::time::Duration;
/// use futures_util::future::join3;
/// use steadfast_core::time::ManualClock;
/// use steadfast_executor::WorkQueue;
///
/// let queue = WorkQueue::new(NonZeroUsize::new(2).expect("not zero"));
/// let produce = async {
///     for job in 1..=5 {
///         queue.push(job).await.expect("the queue is open");
///     }
///     queue.close();
/// };
/// // Two workers; in a program they would be two tasks.
/// let worker = || queue.work(|job| async move { println!("{job}") });
/// let clock = ManualClock::new();
/// let (_, one, other) = clock.drive(join3(produce, worker(), worker())).expect("it ends");
/// assert_eq!(one.done + other.done, 5);
/// ```
///
/// A worker is a future: whoever awaits or spawns it does the work. Nothing is spawned here, and no thread is started.
/// Clones are the same queue.
///
/// | What becomes of a job | How it is known |
/// | --- | --- |
/// | it was done | [`Worked::done`], [`Stats::done`] |
/// | its handler panicked | [`Worked::panicked`], [`Stats::panicked`]; the worker goes on with the next |
/// | its worker was dropped in the middle of it | [`Stats::dropped`] |
/// | nobody has begun it when the queue is stopped | [`WorkQueue::stop`] returns it |
pub struct WorkQueue<J> {
    shared: Arc<Shared<J>>,
}

struct Shared<J> {
    state: Mutex<State<J>>,
    capacity: NonZeroUsize,
    /// When a job was taken out, or the queue closed.
    room: Event,
    /// When a job came in, or the queue closed or stopped.
    work: Event,
    /// When the queue stopped.
    stop: Event,
    /// When the last job was done.
    idle: Event,
}

struct State<J> {
    waiting: BinaryHeap<Waiting<J>>,
    next: u64,
    closed: bool,
    /// Whether workers are to leave what they do.
    stopped: bool,
    running: usize,
    done: usize,
    panicked: usize,
    dropped: usize,
}

/// What became of all jobs so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stats {
    /// How many are in line.
    pub waiting: usize,
    /// How many are being done.
    pub running: usize,
    /// How many are done.
    pub done: usize,
    /// In how many the handler panicked.
    pub panicked: usize,
    /// How many were given up in the middle, because their worker was dropped or the queue stopped.
    pub dropped: usize,
}

/// What was left when a queue was stopped.
#[derive(Debug)]
pub struct Left<J> {
    /// What nobody had begun, the most urgent first.
    pub undone: Vec<J>,
    /// How many were given up in the middle: what became of those, only their handlers know.
    pub dropped: usize,
}

impl<J> WorkQueue<J> {
    /// An empty queue with room for so many jobs that nobody has begun.
    pub fn new(capacity: NonZeroUsize) -> Self {
        let state = State {
            waiting: BinaryHeap::new(),
            next: 0,
            closed: false,
            stopped: false,
            running: 0,
            done: 0,
            panicked: 0,
            dropped: 0,
        };
        let [room, work, stop, idle] = [(); 4].map(|()| Event::new());
        Self { shared: Arc::new(Shared { state: Mutex::new(state), capacity, room, work, stop, idle }) }
    }

    /// Puts a job in line, as soon as there is room.
    ///
    /// Cancel safe: dropped, the job was not accepted, and is dropped too.
    ///
    /// # Errors
    /// If the queue is closed, before or while it waits; the job comes back.
    pub async fn push(&self, job: J) -> Result<(), NotAccepted<J>> {
        self.push_with_priority(job, 0).await
    }

    /// The same, before all in line with a lower priority. [`push`](Self::push) gives the lowest, 0.
    ///
    /// Cancel safe: dropped, the job was not accepted, and is dropped too.
    ///
    /// # Errors
    /// If the queue is closed, before or while it waits; the job comes back.
    pub async fn push_with_priority(&self, job: J, priority: u8) -> Result<(), NotAccepted<J>> {
        let mut job = job;
        loop {
            let room = self.shared.room.listen();
            match self.try_push_with_priority(job, priority) {
                Err(NotAccepted::Full(back)) => job = back,
                accepted_or_closed => return accepted_or_closed,
            }
            room.await;
        }
    }

    /// Puts a job in line if there is room now.
    ///
    /// # Errors
    /// If there is none, or the queue is closed; the job comes back.
    pub fn try_push(&self, job: J) -> Result<(), NotAccepted<J>> {
        self.try_push_with_priority(job, 0)
    }

    /// The same, before all in line with a lower priority.
    ///
    /// # Errors
    /// If there is no room, or the queue is closed; the job comes back.
    pub fn try_push_with_priority(&self, job: J, priority: u8) -> Result<(), NotAccepted<J>> {
        let mut state = self.state();
        if state.closed {
            return Err(NotAccepted::Closed(job));
        }
        if state.waiting.len() >= self.shared.capacity.get() {
            return Err(NotAccepted::Full(job));
        }
        let number = state.next;
        state.next += 1;
        state.waiting.push(Waiting { priority, number, job });
        let has_room = state.waiting.len() < self.shared.capacity.get();
        drop(state);
        self.shared.work.notify_additional(1);
        if has_room {
            // Whoever was told of this room may have been somebody who has gone.
            self.shared.room.notify(1);
        }
        Ok(())
    }

    /// Accepts nothing any more. Workers do what is in line, and then end.
    pub fn close(&self) {
        self.state().closed = true;
        self.shared.room.notify(usize::MAX);
        self.shared.work.notify(usize::MAX);
    }

    /// Waits until everything that was accepted is done. The queue stays open.
    ///
    /// Cancel safe.
    pub async fn join(&self) {
        loop {
            let idle = self.shared.idle.listen();
            {
                let state = self.state();
                if state.waiting.is_empty() && state.running == 0 {
                    return;
                }
            }
            idle.await;
        }
    }

    /// Closes the queue, lets workers go on for at most `patience`, and returns what was not begun by then. What is in the
    /// middle is given up, and counted.
    ///
    /// Cancel safe: dropped, the queue stays closed, and workers go on.
    pub async fn stop<T: Timer>(&self, timer: &T, patience: Duration) -> Left<J> {
        let before = self.stats().dropped;
        let deadline = timer.now() + patience;
        self.close();
        let too_late = matches!(select(pin!(self.join()), pin!(timer.sleep_until(deadline))).await, Either::Right(_));
        if too_late {
            self.state().stopped = true;
            self.shared.work.notify(usize::MAX);
            self.shared.stop.notify(usize::MAX);
        }
        let undone = {
            let mut state = self.state();
            let mut undone = std::mem::take(&mut state.waiting).into_sorted_vec();
            undone.reverse();
            undone.into_iter().map(|waiting| waiting.job).collect()
        };
        if too_late {
            // Nothing is in line any more, which is all that some wait for.
            self.shared.idle.notify(usize::MAX);
            // Workers leave what they do as soon as they are polled; one that is never polled again is not waited for.
            select(pin!(self.join()), pin!(timer.sleep_until(timer.now() + GRACE))).await;
        }
        let Stats { running, dropped, .. } = self.stats();
        Left { undone, dropped: dropped - before + running }
    }

    /// What became of all jobs so far.
    pub fn stats(&self) -> Stats {
        let State { waiting, running, done, panicked, dropped, .. } = &*self.state();
        let (running, done, panicked, dropped) = (*running, *done, *panicked, *dropped);
        Stats { waiting: waiting.len(), running, done, panicked, dropped }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        lock(&self.shared.state)
    }
}

impl<J> Clone for WorkQueue<J> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// Shows no job: they may hold secrets, and be many.
impl<J> fmt::Debug for WorkQueue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").field("capacity", &self.shared.capacity).field("stats", &self.stats()).finish()
    }
}

#[cfg(test)]
mod tests;
