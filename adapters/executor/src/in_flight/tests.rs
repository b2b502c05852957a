//! On the fake clock: what becomes of operations that end, hang, wait or are let go, when somebody shuts down.

use std::cell::Cell;
use std::task::Waker;

use futures_util::future::{join, join_all};
use steadfast_core::time::{Clock, Instant, ManualClock};

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Instant {
    Instant::EPOCH + ms(millis)
}

async fn sleep(clock: &ManualClock, millis: u64) {
    clock.sleep_until(clock.now() + ms(millis)).await;
}

/// Waits so many milliseconds for its turn, and runs for so many.
async fn operation(clock: &ManualClock, in_flight: &InFlight, waits: u64, runs: u64) -> Result<(), ShutDown> {
    let flight = in_flight.enter();
    let whole = async {
        sleep(clock, waits).await;
        if !flight.start() {
            pending::<()>().await;
        }
        sleep(clock, runs).await;
    };
    flight.run(whole).await
}

/// How long an operation waits and runs, in milliseconds, and what becomes of it.
type Row = ((u64, u64), Result<(), ShutDown>);

/// Shuts down at 20 ms with this patience, while operations wait and run for so long; what becomes of each, and when the
/// shutdown ends with what counts.
fn check(patience: u64, operations: &[Row], want: (u64, usize, usize)) {
    let clock = ManualClock::new();
    let in_flight = InFlight::new();
    let all = join_all(operations.iter().map(|((waits, runs), _)| operation(&clock, &in_flight, *waits, *runs)));
    let stop = async {
        sleep(&clock, 20).await;
        let stopped = in_flight.shut_down(&&clock, ms(patience)).await;
        (clock.now(), stopped)
    };
    let (results, (ended, stopped)) = clock.drive(join(all, stop)).unwrap();
    assert_eq!(results, Vec::from_iter(operations.iter().map(|(_, want)| *want)));
    let (until, finished, cancelled) = want;
    assert_eq!((ended, stopped), (at(until), Stopped { finished, cancelled }), "{patience} {operations:?}");
    assert_eq!(in_flight.running(), 0);
}

#[test]
fn every_one_that_ran_is_counted_once() {
    let (not_started, cancelled) = (Err(ShutDown::NotStarted), Err(ShutDown::Cancelled));
    check(100, &[], (20, 0, 0));
    check(100, &[((0, 10), Ok(()))], (20, 0, 0)); // It had ended before.
    check(100, &[((0, 30), Ok(())), ((10, 60), Ok(()))], (70, 2, 0));
    check(100, &[((30, 0), not_started), ((1000, 0), not_started)], (20, 0, 0));
    check(100, &[((0, 500), cancelled), ((0, 50), Ok(())), ((25, 5), not_started)], (120, 1, 1));
    check(0, &[((0, 500), cancelled), ((19, 2), cancelled)], (20, 0, 2));
    check(u64::MAX, &[((0, 3_600_000), Ok(()))], (3_600_000, 1, 0));
}

#[test]
fn nothing_starts_once_it_is_shut_down() {
    let clock = ManualClock::new();
    let in_flight = InFlight::new();
    let clone = in_flight.clone();
    let early = in_flight.enter();
    in_flight.cancel();
    assert!(in_flight.is_shut_down() && clone.is_shut_down());
    for flight in [early, in_flight.enter(), clone.enter()] {
        assert!(!flight.start());
        let touched = Cell::new(false);
        let result = clock.drive(flight.run(async { touched.set(true) }));
        assert_eq!((result, touched.get()), (Some(Err(ShutDown::NotStarted)), false));
    }
    assert_eq!(in_flight.running(), 0);
}

#[test]
fn asked_again_it_says_the_same() {
    let clock = ManualClock::new();
    let in_flight = InFlight::new();
    let all = join_all([30, 300].map(|runs| operation(&clock, &in_flight, 0, runs)));
    // Whoever has the least patience cancels for all.
    let timer = &clock;
    let stops = join_all([1000, 100, 500].map(|patience| in_flight.shut_down(&timer, ms(patience))));
    let (_, stopped) = clock.drive(join(all, stops)).unwrap();
    let same = Stopped { finished: 1, cancelled: 1 };
    assert_eq!((stopped, clock.now()), (vec![same; 3], at(100)));
    assert_eq!(clock.drive(in_flight.shut_down(&&clock, ms(1000))), Some(same));
    assert_eq!(clock.now(), at(100), "there is nothing to wait for");
}

#[test]
fn a_shutdown_ends_by_its_patience() {
    let clock = ManualClock::new();
    let in_flight = InFlight::new();
    let mut cx = Context::from_waker(Waker::noop());
    // One that is never polled again, as when its task awaits the shutdown.
    let mut forgotten = Box::pin(operation(&clock, &in_flight, 0, 10));
    assert!(forgotten.as_mut().poll(&mut cx).is_pending());
    let stopped = clock.drive(in_flight.shut_down(&&clock, ms(50)));
    assert_eq!((stopped, clock.now()), (Some(Stopped { finished: 0, cancelled: 1 }), at(150)));
    assert_eq!(forgotten.as_mut().poll(&mut cx), Poll::Ready(Err(ShutDown::Cancelled)), "its time has come, too late");
    drop(forgotten);
    assert_eq!(clock.drive(in_flight.shut_down(&&clock, ms(50))), stopped);
}

#[test]
fn a_shutdown_that_is_dropped_leaves_it_closed_and_what_runs_alone() {
    let clock = ManualClock::new();
    let in_flight = InFlight::new();
    let mut cx = Context::from_waker(Waker::noop());
    let mut runs = pin!(operation(&clock, &in_flight, 0, 100));
    assert!(runs.as_mut().poll(&mut cx).is_pending());
    {
        let timer = &clock;
        let mut dropped = pin!(in_flight.shut_down(&timer, ms(10)));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!((in_flight.is_shut_down(), clock.drive(runs.as_mut())), (true, Some(Ok(()))));
    assert_eq!(clock.now(), at(100));
    assert_eq!(clock.drive(in_flight.shut_down(&&clock, ms(10))), Some(Stopped { finished: 1, cancelled: 0 }));
}

#[test]
fn what_is_dropped_or_panics_counts_as_cancelled() {
    let clock = ManualClock::new();
    let in_flight = InFlight::new();
    let mut cx = Context::from_waker(Waker::noop());
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let flight = in_flight.enter();
        assert!(flight.start());
        clock.drive(flight.run(async { panic!("as it should") }))
    }));
    assert!(panics.is_err() && in_flight.running() == 0);
    let mut dropped = Box::pin(operation(&clock, &in_flight, 0, 10));
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    let stop = async {
        let timer = &clock;
        let stop = in_flight.shut_down(&timer, ms(50));
        let drop_it = async { drop(dropped) };
        join(stop, drop_it).await.0
    };
    assert_eq!(clock.drive(stop), Some(Stopped { finished: 0, cancelled: 1 }));
    assert_eq!(clock.now(), at(0));
}

#[test]
fn a_stream_learns_that_it_is_stopped() {
    let clock = ManualClock::new();
    let in_flight = InFlight::new();
    let flight = in_flight.enter();
    assert!(flight.start() && flight.start(), "starting twice is starting once");
    assert_eq!(in_flight.running(), 1);
    let stream = async {
        let why = flight.until_stopped().await;
        drop(flight);
        why
    };
    let (why, stopped) = clock.drive(join(stream, in_flight.shut_down(&&clock, ms(10)))).unwrap();
    assert_eq!((why, stopped), (ShutDown::Cancelled, Stopped { finished: 0, cancelled: 1 }));
}
