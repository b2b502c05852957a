//! Every `Timer` runs the suite, in every way in which it will be used.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use steadfast::TokioTimer;
use steadfast_core::time::{Clock, ManualClock};
use steadfast_embassy::EmbassyTimer;
use steadfast_executor::ThreadTimer;
use steadfast_smol::SmolTimer;
use steadfast_tests::conformance::timer::{check, check_blocking, check_wakes, half_slept};
use tokio::runtime;

use crate::support::embassy;

/// A timer that forgets to wake leaves its suite hanging; this says so.
fn within_a_minute(suite: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        suite();
        done.send(())
    });
    match is_done.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs: somebody was not woken"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            let ended = thread.join();
            assert!(matches!(ended, Ok(Ok(()))), "the suite has failed, see above");
        }
    }
}

#[test]
fn manual_clock() {
    let clock = ManualClock::new();
    clock.drive(check(&&clock)).expect("it is never stuck");
}

#[tokio::test(start_paused = true)]
async fn tokio_paused() {
    check(&TokioTimer::new()).await;
}

/// On the wall clock, because only there a tick can round the wrong way.
#[test]
fn tokio_on_one_thread() {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
    within_a_minute(move || runtime.block_on(async { check(&TokioTimer::new()).await }));
}

#[test]
fn tokio_on_two_threads() {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    // Several at a time, each in a task that may be moved between the threads at any await point.
    within_a_minute(move || {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(async { check(&TokioTimer::new()).await })).collect();
            for task in tasks {
                task.await.expect("nobody panics");
            }
        });
    });
}

#[test]
fn smol_on_one_thread() {
    within_a_minute(|| smol::block_on(check(&SmolTimer::new())));
}

#[test]
fn smol_on_two_threads() {
    within_a_minute(|| {
        let executor = smol::Executor::new();
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| smol::block_on(executor.run(stopped.recv())));
            }
            let tasks: Vec<_> = (0..4).map(|_| executor.spawn(async { check(&SmolTimer::new()).await })).collect();
            smol::block_on(async {
                for task in tasks {
                    task.await;
                }
            });
            drop(stop);
        });
    });
}

/// It needs no executor in particular.
#[test]
fn smol_timer_on_tokio() {
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    within_a_minute(move || runtime.block_on(async { check(&SmolTimer::new()).await }));
}

#[test]
fn embassy_with_more_sleepers_than_its_queue_has_places() {
    embassy::drive(|timer| async move { check(&timer).await });
}

/// A deadline between two ticks is the later of them.
#[test]
fn embassy_rounds_up_to_its_tick() {
    embassy::drive(|timer| async move {
        use steadfast_core::time::{Instant, Timer};
        for (nanos, want) in [(1, 1_000), (1_000, 1_000), (1_001, 2_000), (2_999, 3_000)] {
            timer.sleep_until(Instant::from_nanos(nanos)).await;
            assert_eq!(EmbassyTimer.now(), Instant::from_nanos(want), "{nanos}");
        }
    });
}

#[test]
fn a_clock_that_is_moved_by_hand_blocks_too() {
    check_blocking(&ManualClock::new());
}

#[test]
fn thread_timer() {
    within_a_minute(|| {
        let timer = ThreadTimer::new();
        check_blocking(&timer);
        check_wakes(&timer);
    });
}

#[test]
fn a_sleep_that_was_begun_on_one_thread_ends_on_another() {
    let timer = SmolTimer::new();
    let (deadline, sleep) = half_slept(&timer);
    let ended = thread::spawn(move || {
        smol::block_on(sleep);
        timer.now()
    });
    assert!(ended.join().expect("nobody panics") >= deadline);

    let one = runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let (told, ended) = mpsc::channel();
    one.block_on(async {
        let timer = TokioTimer::new();
        let (deadline, sleep) = half_slept(&timer);
        tokio::spawn(async move {
            sleep.await;
            told.send(timer.now() >= deadline)
        });
    });
    assert_eq!(ended.recv(), Ok(true));
}
