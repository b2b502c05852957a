use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time;

use steadfast_core::time::{BlockingTimer, Clock, Instant};

/// Time for programs without async: waiting parks the thread.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::time::{BlockingTimer, Clock};
/// use steadfast_executor::ThreadTimer;
///
/// let timer = ThreadTimer::new();
/// let deadline = timer.now() + Duration::from_millis(2);
/// timer.wait_until(deadline);
/// assert!(timer.now() >= deadline);
/// ```
///
/// It is what [`SharedPipeline::call_blocking`](crate::SharedPipeline::call_blocking) waits on. Whoever moves up in line meanwhile is woken through the
/// thread's token, the one of [`Thread::unpark`]. Somebody else's `unpark` ends no wait, and is used up by one.
///
/// # When not to use it
///
/// In a task: it would block the executor's thread. And not on `wasm32-unknown-unknown`, where the standard library has
/// neither a clock nor threads to park.
#[derive(Clone, Copy, Debug)]
pub struct ThreadTimer {
    epoch: time::Instant,
}

impl ThreadTimer {
    /// A clock that starts at [`Instant::EPOCH`] now.
    pub fn new() -> Self {
        Self { epoch: time::Instant::now() }
    }
}

impl Default for ThreadTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ThreadTimer {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.epoch.elapsed()
    }
}

impl BlockingTimer for ThreadTimer {
    fn wait_until(&self, deadline: Instant) {
        let bell = Bell::of_this_thread();
        // A thread may be unparked for no reason, or for somebody else's. Only the bell and the clock count.
        while !bell.rung.swap(false, Ordering::Acquire) {
            let now = self.now();
            if now >= deadline {
                return;
            }
            thread::park_timeout(deadline - now);
        }
    }

    fn waker(&self) -> Waker {
        Waker::from(Bell::of_this_thread())
    }
}

/// Wakes the thread that it was made on, and says that it was this that did.
struct Bell {
    thread: Thread,
    rung: AtomicBool,
}

impl Bell {
    /// One for each thread, so that waiting allocates nothing. A wake that comes after its call has ended cuts the next
    /// wait short, and to ask too early does a call no harm.
    fn of_this_thread() -> Arc<Self> {
        thread_local!(static BELL: Arc<Bell> = Bell::new());
        // A thread that is about to end may have no bell any more. It waits for as long as it was told, then.
        BELL.try_with(Arc::clone).unwrap_or_else(|_| Self::new())
    }

    fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), rung: AtomicBool::new(false) })
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
