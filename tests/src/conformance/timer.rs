//! What every [`Timer`] and every [`BlockingTimer`] has to do.
//!
//! The scripts run on the timer's own clock and under its own executor, since those are what is tried. On a clock that
//! jumps they take no time; on a real one they only say what must not have happened *by* a time, never how soon something
//! has to, so a slow machine changes nothing.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use steadfast_core::time::{BlockingTimer, Instant, Timer};

const MS: Duration = Duration::from_millis(1);

/// To the nanosecond, on both sides of any tick.
const DELAYS: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_nanos(999),
    Duration::from_nanos(999_999),
    MS,
    Duration::from_nanos(1_000_001),
    Duration::from_nanos(10_333_333),
];

/// How many sleep at once.
const CROWD: u32 = 2_000;

/// Every script of an async timer.
///
/// # Panics
/// At the first thing that a timer must not do. One that forgets to wake hangs, or is reported stuck by a clock that
/// notices.
pub async fn check<T: Timer>(timer: &T) {
    never_early(timer).await;
    what_has_passed_is_over(timer).await;
    never_is_never(timer).await;
    what_is_dropped_disturbs_nobody(timer).await;
    needless_polls_change_nothing(timer).await;
    the_last_waker_is_woken(timer).await;
    a_crowd_wakes(timer).await;
}

/// Whatever the timer's tick, and wherever in it the wait begins.
pub async fn never_early<T: Timer>(timer: &T) {
    for delay in DELAYS {
        let deadline = timer.now() + delay;
        timer.sleep_until(deadline).await;
        assert!(timer.now() >= deadline, "{delay:?}: woken at {} for {deadline}", timer.now());
    }
}

/// The epoch, the nanosecond before, and now: at once or soon after.
pub async fn what_has_passed_is_over<T: Timer>(timer: &T) {
    timer.sleep_until(Instant::EPOCH).await;
    timer.sleep_until(timer.now()).await;
    let before = Instant::from_nanos(timer.now().as_nanos().saturating_sub(1));
    timer.sleep_until(before).await;
}

/// Nor does it end what lies beyond any machine's life, or keep others from ending.
pub async fn never_is_never<T: Timer>(timer: &T) {
    let never = [Instant::MAX, Instant::from_nanos(u64::MAX - 1), Instant::from_nanos(u64::MAX / 2)];
    let mut sleeps = never.map(|deadline| Box::pin(timer.sleep_until(deadline)));
    for _ in 0..3 {
        poll_fn(|cx| {
            assert!(sleeps.iter_mut().all(|sleep| sleep.as_mut().poll(cx).is_pending()));
            Poll::Ready(())
        })
        .await;
        timer.sleep_until(timer.now() + 2 * MS).await;
    }
}

/// Polled or not. The waker of one that was dropped may be woken once more, since some timers cannot strike out.
pub async fn what_is_dropped_disturbs_nobody<T: Timer>(timer: &T) {
    let count = Arc::new(Count::default());
    drop(timer.sleep_until(timer.now() + MS));
    for deadline in [timer.now() + MS, timer.now() + 1000 * MS, Instant::MAX] {
        assert!(poll_with(&Waker::from(Arc::clone(&count)), pin!(timer.sleep_until(deadline))).is_pending());
    }
    let deadline = timer.now() + 5 * MS;
    timer.sleep_until(deadline).await;
    assert!(timer.now() >= deadline);
    assert!(count.0.load(Ordering::Relaxed) <= 3, "woken again and again for what nobody waits for");
}

/// Polled a hundred times before its time, it is not over before, and ends all the same.
pub async fn needless_polls_change_nothing<T: Timer>(timer: &T) {
    let deadline = timer.now() + 5 * MS;
    let mut sleep = pin!(timer.sleep_until(deadline));
    let mut needless = 100;
    poll_fn(|cx| {
        let polled = sleep.as_mut().poll(cx);
        if polled.is_pending() && needless > 0 {
            needless -= 1;
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await;
    assert!(timer.now() >= deadline);
}

/// A sleep that was polled by one task and then by another wakes the other.
pub async fn the_last_waker_is_woken<T: Timer>(timer: &T) {
    let deadline = timer.now() + 5 * MS;
    let mut sleep = pin!(timer.sleep_until(deadline));
    for _ in 0..3 {
        if poll_with(&Waker::from(Arc::<Count>::default()), sleep.as_mut()).is_ready() {
            assert!(timer.now() >= deadline);
            return;
        }
    }
    sleep.await;
    assert!(timer.now() >= deadline);
}

/// Two thousand at once, in no order, each with a waker of its own and polled only when that was woken.
pub async fn a_crowd_wakes<T: Timer>(timer: &T) {
    let task = Arc::new(Mutex::new(Waker::noop().clone()));
    let start = timer.now();
    let member = |i: u32| {
        let deadline = start + MS * (i * 7 % 10);
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Arc::clone(&task) });
        (deadline, bell, Some(Box::pin(timer.sleep_until(deadline))))
    };
    let mut crowd: Vec<_> = (0..CROWD).map(member).collect();
    poll_fn(|cx| {
        task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        for (deadline, bell, asleep) in &mut crowd {
            let Some(sleep) = asleep.as_mut().filter(|_| bell.rung.swap(false, Ordering::AcqRel)) else { continue };
            if poll_with(&Waker::from(Arc::clone(bell)), sleep.as_mut()).is_ready() {
                assert!(timer.now() >= *deadline, "woken at {} for {deadline}", timer.now());
                *asleep = None;
            }
        }
        if crowd.iter().all(|(_, _, asleep)| asleep.is_none()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// A sleep that was polled here, to be awaited on another thread, and when it may end.
pub fn half_slept<T: Timer>(timer: &T) -> (Instant, Pin<Box<T::Sleep>>) {
    let deadline = timer.now() + 5 * MS;
    let mut sleep = Box::pin(timer.sleep_until(deadline));
    assert!(poll_with(&Waker::from(Arc::<Count>::default()), sleep.as_mut()).is_pending() || timer.now() >= deadline);
    (deadline, sleep)
}

/// Every script of a timer that blocks, but for those that need a second thread.
///
/// # Panics
/// At the first thing that such a timer must not do.
pub fn check_blocking<T: BlockingTimer>(timer: &T) {
    for delay in DELAYS {
        let deadline = timer.now() + delay;
        timer.wait_until(deadline);
        assert!(timer.now() >= deadline, "{delay:?}: back at {} for {deadline}", timer.now());
    }
    timer.wait_until(Instant::EPOCH);
    timer.wait_until(timer.now());
}

/// What ends the wait of a thread, and what does not.
///
/// # Panics
/// At the first thing that such a timer must not do. One that misses a wake hangs.
pub fn check_wakes<T: BlockingTimer>(timer: &T) {
    // Woken by another thread, at whatever point; otherwise this would take for ever.
    for _ in 0..100 {
        let waker = timer.waker();
        let other = thread::spawn(move || waker.wake());
        timer.wait_until(Instant::MAX);
        assert!(other.join().is_ok());
    }
    // Woken before it began to wait, by which it must not be missed.
    timer.waker().wake();
    timer.wait_until(Instant::MAX);
    // That was used up, and what somebody else does with the thread's token is nothing to us.
    for unparked in [false, true] {
        if unparked {
            thread::current().unpark();
        }
        let deadline = timer.now() + 5 * MS;
        timer.wait_until(deadline);
        assert!(timer.now() >= deadline);
    }
}

fn poll_with<F: Future + ?Sized>(waker: &Waker, future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Wakes the task, and says whom of the crowd it was for. It does not read the clock: some drivers wake with theirs in
/// hand.
struct Bell {
    rung: AtomicBool,
    task: Arc<Mutex<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}
