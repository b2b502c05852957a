//! One suite that every `Timer` passes.
//!
//! It runs on the timer's own clock, since that is what is tried; tokio's stands still and jumps, so it takes no time.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use steadfast_core::time::{Instant, ManualClock, Timer};

const MS: Duration = Duration::from_millis(1);

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn check(timer: impl Timer) {
    // Never early, to the nanosecond, whatever the timer's tick.
    for delay in [Duration::ZERO, Duration::from_nanos(1), MS - Duration::from_nanos(1), MS, 10 * MS + MS / 3] {
        let deadline = timer.now() + delay;
        timer.sleep_until(deadline).await;
        assert!(timer.now() >= deadline, "{delay:?}: woken at {} for {deadline}", timer.now());
    }
    // A time in the past, the epoch itself, and now: over at once or soon after.
    timer.sleep_until(Instant::EPOCH).await;
    timer.sleep_until(timer.now()).await;
    // Never is never, and so is what lies beyond any machine's life.
    for never in [Instant::MAX, Instant::from_nanos(u64::MAX - 1), Instant::from_nanos(u64::MAX / 2)] {
        assert!(poll_once(timer.sleep_until(never)).is_pending());
    }
    // Dropped at any point, it is gone.
    drop(timer.sleep_until(timer.now() + MS));
    assert!(poll_once(timer.sleep_until(timer.now() + 1000 * MS)).is_pending());
    // Polled more often than it has to be, it still ends, and not before its time.
    let deadline = timer.now() + 5 * MS;
    let mut sleep = pin!(timer.sleep_until(deadline));
    for _ in 0..100 {
        if sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            assert!(timer.now() >= deadline);
            return;
        }
    }
    sleep.await;
    assert!(timer.now() >= deadline);
}

#[test]
fn manual_clock() {
    let clock = ManualClock::new();
    clock.drive(check(&clock)).expect("it is never stuck");
}

#[tokio::test(start_paused = true)]
async fn tokio_paused() {
    check(steadfast::TokioTimer::new()).await;
}

/// On the wall clock, because only there a tick can round the wrong way.
#[tokio::test]
async fn tokio_running() {
    check(steadfast::TokioTimer::new()).await;
}
