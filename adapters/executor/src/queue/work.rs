use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures_util::FutureExt;
use futures_util::future::{Either, select};

use super::job::Waiting;
use super::{Shared, WorkQueue};
use crate::lock;

/// What one worker has done by its end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Worked {
    /// How many jobs its handler ended.
    pub done: usize,
    /// In how many its handler panicked.
    pub panicked: usize,
}

/// The side of the workers.
impl<J> WorkQueue<J> {
    /// Does one job after the other, until the queue is closed and empty, or stopped.
    ///
    /// A handler that panics loses its own job, and no other. As many workers as are awaited work at once.
    ///
    /// Cancel safe: dropped between two jobs it leaves them to other workers; dropped in the middle of one, that one is
    /// given up, and counted.
    pub async fn work<F: Future<Output = ()>>(&self, mut handler: impl FnMut(J) -> F) -> Worked {
        let mut worked = Worked::default();
        while let Some(job) = self.next_job().await {
            let mut running = Running { shared: &self.shared, end: End::Dropped };
            // The handler may panic before it has made its future, or in it.
            let doing = AssertUnwindSafe(async { handler(job).await }).catch_unwind();
            running.end = match select(pin!(doing), pin!(self.stopped())).await {
                Either::Left((Ok(()), _)) => End::Done,
                Either::Left((Err(_), _)) => End::Panicked,
                Either::Right(((), _)) => End::Dropped,
            };
            match running.end {
                End::Done => worked.done += 1,
                End::Panicked => worked.panicked += 1,
                End::Dropped => {}
            }
        }
        worked
    }

    /// The next job, as soon as there is one; `None` when there will be none.
    async fn next_job(&self) -> Option<J> {
        loop {
            let work = self.shared.work.listen();
            {
                let mut state = self.state();
                if state.stopped {
                    return None;
                }
                if let Some(Waiting { job, .. }) = state.waiting.pop() {
                    state.running += 1;
                    drop(state);
                    self.shared.room.notify_additional(1);
                    return Some(job);
                }
                if state.closed {
                    return None;
                }
            }
            work.await;
        }
    }

    /// Ends when the queue is stopped.
    async fn stopped(&self) {
        loop {
            let stop = self.shared.stop.listen();
            if self.state().stopped {
                return;
            }
            stop.await;
        }
    }
}

/// How a job ended.
#[derive(Clone, Copy)]
enum End {
    Done,
    Panicked,
    Dropped,
}

/// A job that is being done.
struct Running<'a, J> {
    shared: &'a Shared<J>,
    end: End,
}

impl<J> Drop for Running<'_, J> {
    fn drop(&mut self) {
        let idle = {
            let mut state = lock(&self.shared.state);
            state.running -= 1;
            match self.end {
                End::Done => state.done += 1,
                End::Panicked => state.panicked += 1,
                End::Dropped => state.dropped += 1,
            }
            state.running == 0 && state.waiting.is_empty()
        };
        if idle {
            self.shared.idle.notify(usize::MAX);
        }
    }
}
