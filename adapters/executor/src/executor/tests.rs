//! On the fake clock: everything that an executor promises, and what is left when it is dropped half-way.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;

use futures_util::future::{join, join_all};
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::time::{Clock, Instant, ManualClock};

use super::*;

fn slots(slots: u32) -> ConcurrencyLimit {
    ConcurrencyLimit::fixed(slots).build().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Instant {
    Instant::EPOCH + ms(millis)
}

async fn sleep(clock: &ManualClock, millis: u64) {
    clock.sleep_until(clock.now() + ms(millis)).await;
}

#[test]
fn ut_10_the_executor_starts_with_what_it_was_given() {
    let clock = ManualClock::new();
    let executor = Executor::new(slots(3), &clock);
    assert_eq!((executor.running(), executor.waiting(), executor.is_shut_down()), (0, 0, false));
    let limit = executor.rate_limit().with(|line, _| line.limits().concurrency_limit().unwrap().limit());
    assert_eq!(limit, 3);
}

#[test]
fn ut_11_never_more_than_so_many_run_at_once() {
    let clock = ManualClock::new();
    let executor = Executor::new(slots(3), &clock);
    let most = Cell::new(0);
    let operation = |_| {
        executor.execute(async {
            most.set(most.get().max(executor.running()));
            sleep(&clock, 10).await;
        })
    };
    let results = clock.drive(join_all((0..10).map(operation))).unwrap();
    assert!(results.iter().all(Result::is_ok));
    assert_eq!((most.get(), executor.running(), clock.now()), (3, 0, at(40)));
}

#[test]
fn ut_12_a_shutdown_waits_for_what_runs() {
    let clock = ManualClock::new();
    let executor = Executor::new(slots(2), &clock);
    let operation = |millis| executor.execute(sleep(&clock, millis));
    let all = join_all([operation(30), operation(70), operation(10)]);
    let stop = async {
        sleep(&clock, 20).await;
        executor.shut_down(ms(1_000)).await
    };
    let (results, stopped) = clock.drive(join(all, stop)).unwrap();
    assert_eq!(results, [Ok(()), Ok(()), Err(NotExecuted::ShutDown)], "the third was still in line");
    assert_eq!((stopped, clock.now()), (Stopped { finished: 2, cancelled: 0 }, at(70)));
    assert_eq!(clock.drive(executor.execute(async {})), Some(Err(NotExecuted::ShutDown)));
    assert_eq!(clock.drive(executor.shut_down(ms(0))), Some(stopped), "asked again, it says the same");
}

#[test]
fn ut_13_a_shutdown_whose_time_is_over_cancels_the_rest_and_says_how_many() {
    let clock = ManualClock::new();
    let executor = Executor::new(slots(5), &clock);
    let dropped = Cell::new(0);
    struct Noted<'a>(&'a Cell<u32>);
    impl Drop for Noted<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let hangs = || {
        executor.execute(async {
            let _noted = Noted(&dropped);
            pending::<()>().await;
        })
    };
    let ends = executor.execute(sleep(&clock, 40));
    let all = join(join_all([hangs(), hangs()]), ends);
    let ((hung, ended), stopped) = clock.drive(join(all, executor.shut_down(ms(50)))).unwrap();
    assert_eq!((hung, ended), (vec![Err(NotExecuted::Cancelled); 2], Ok(())));
    assert_eq!((stopped, clock.now(), dropped.get()), (Stopped { finished: 1, cancelled: 2 }, at(50), 2));
    assert_eq!(executor.running(), 0);
}

#[test]
fn results_come_in_the_order_of_the_items_however_long_each_takes() {
    let clock = ManualClock::new();
    let executor = Executor::new(slots(4), &clock);
    let started = RefCell::new(Vec::new());
    let results = executor.map([50, 10, 30, 10, 10, 20], |millis| {
        started.borrow_mut().push(millis);
        let clock = &clock;
        async move {
            sleep(clock, millis).await;
            millis
        }
    });
    let results: Vec<_> = clock.drive(results.collect()).unwrap();
    assert_eq!(results, [50, 10, 30, 10, 10, 20].map(Ok));
    assert_eq!(clock.now(), at(50), "the others run while the first takes long");
}

#[test]
fn no_more_is_taken_than_is_needed() {
    let clock = ManualClock::new();
    let executor = Executor::new(slots(2), &clock);
    let taken = Cell::new(0);
    let endless = std::iter::from_fn(|| {
        taken.set(taken.get() + 1);
        Some(taken.get())
    });
    let first: Vec<_> = clock.drive(executor.map(endless, |i| async move { i }).take(10).collect()).unwrap();
    assert_eq!(first, Vec::from_iter((1..=10).map(Ok)));
    assert!(taken.get() <= 10 + 4, "{}", taken.get());
}

#[test]
fn an_operation_waits_for_tokens_and_slot_as_one() {
    let clock = ManualClock::new();
    let executor = RateLimitedExecutor::rate_limited(slots(1), [Quota::per_second(10).unwrap()], &clock);
    let starts = RefCell::new(Vec::new());
    let operation = |millis| {
        let (executor, starts, clock) = (&executor, &starts, &clock);
        executor.execute(async move {
            starts.borrow_mut().push(clock.now());
            sleep(clock, millis).await;
        })
    };
    // The slot is what the second waits for, the token the third; and the fourth asks for more than there ever is.
    clock.drive(join_all([operation(150), operation(20), operation(0)])).unwrap();
    assert_eq!(*starts.borrow(), [at(0), at(150), at(250)]);
    let never = clock.drive(executor.execute_for(Demand::of([2]), async {})).unwrap();
    assert_eq!(never, Err(NotExecuted::Refused(Refusal::Never { tokens: 2, burst: 1 })));
}

#[test]
fn an_operation_that_is_dropped_or_panics_frees_its_slot() {
    let clock = ManualClock::new();
    let executor = Executor::new(slots(1), &clock);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    {
        let mut dropped = pin!(executor.execute(pending::<()>()));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
        assert_eq!(executor.running(), 1);
    }
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        clock.drive(executor.execute(async { panic!("as it should") }))
    }));
    assert!(panics.is_err());
    assert_eq!((executor.running(), clock.drive(executor.execute(async { 7 }))), (0, Some(Ok(7))));
}
