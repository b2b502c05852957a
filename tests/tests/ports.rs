//! Whatever stands behind a port passes the one suite of that port.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::future::{join, join_all};
use steadfast::core::concurrency::ConcurrencyLimit;
use steadfast::core::limits::{Counts, Limits};
use steadfast::core::rate_limit::RateLimits;
use steadfast::{Executor, ManualClock, Quota, SmolTimer, Timer, TokenBucket, TokioTimer};
use steadfast_executor::{Line, NotExecuted};
use steadfast_tests::conformance::limiter;
use steadfast_tests::conformance::transport::on_tokio;

/// Limits that callers wait for by reservation, and the line in which they wait in order; one limit, and several.
#[test]
fn ac_08_every_limiter_keeps_to_the_port() {
    let several = |quota: Quota| {
        let loose = Quota::per_minute(100_000).and_then(|loose| loose.with_burst(1_000)).unwrap();
        Limits::<0>::none().with_rate_limits(RateLimits::new([quota, loose]), [Counts::Weight, Counts::Calls])
    };
    limiter::check(|quota| Limits::from(TokenBucket::new(quota)));
    limiter::check(several);
    limiter::check(|quota| Line::before(Limits::from(TokenBucket::new(quota))));
    limiter::check(|quota| Line::before(several(quota)));
}

/// What every executor promises, on this timer: so many at once, and to the end or told so. Returns in which order operations
/// began: on a real clock, whom the machine keeps from running when it is their turn begins later.
async fn executor<T: Timer, const K: usize>(executor: &Executor<T, K>, timer: &T) -> Vec<u32> {
    let ms = Duration::from_millis;
    let (running, most, begun) = (Cell::new(0), Cell::new(0), RefCell::new(Vec::new()));
    let operation = |index: u32, takes: u64| {
        let (running, most, begun) = (&running, &most, &begun);
        executor.execute(async move {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            begun.borrow_mut().push(index);
            timer.sleep_until(timer.now() + ms(takes)).await;
            running.set(running.get() - 1);
            index
        })
    };
    let results = join_all((0..9).map(|index| operation(index, u64::from(index % 3)))).await;
    assert_eq!(results, Vec::from_iter((0..9).map(Ok)));
    let order = begun.take();
    assert_eq!((most.get(), order.len()), (3, 9), "three at once, and each of them once");

    // A shutdown waits for what ends in time, cancels what does not, and refuses what waits and what comes.
    let operations = join_all([operation(0, 0), operation(1, 600_000), operation(2, 600_000), operation(3, 0)]);
    let stop = async {
        timer.sleep_until(timer.now() + ms(20)).await;
        assert_eq!((executor.running(), executor.waiting()), (2, 0));
        executor.shut_down(ms(20)).await
    };
    let (results, stopped) = join(operations, stop).await;
    let cancelled = Err(NotExecuted::Cancelled);
    assert_eq!(results, [Ok(0), cancelled, cancelled, Ok(3)]);
    assert_eq!((stopped.finished, stopped.cancelled, executor.running()), (0, 2, 0));
    assert_eq!(operation(4, 0).await, Err(NotExecuted::ShutDown));
    order
}

/// With and without rate limits, on the clock for tests, on tokio and on smol.
#[test]
fn ac_09_every_executor_keeps_its_promises_on_every_runtime() {
    let slots = || ConcurrencyLimit::fixed(3).build().unwrap();
    let quotas = || [Quota::per_second(10_000).and_then(|quota| quota.with_burst(100)).unwrap()];
    let clock = ManualClock::new();
    let timer = &clock;
    let free = clock.drive(executor(&Executor::new(slots(), timer), &timer));
    let limited = clock.drive(executor(&Executor::rate_limited(slots(), quotas(), timer), &timer));
    assert_eq!([free, limited], [const { Some([0, 1, 2, 3, 4, 5, 6, 7, 8]) }; 2].map(|order| order.map(Vec::from)));
    on_tokio::run(async {
        let timer = TokioTimer::new();
        executor(&Executor::new(slots(), timer), &timer).await;
        executor(&Executor::rate_limited(slots(), quotas(), timer), &timer).await;
    });
    smol::block_on(async {
        let timer = SmolTimer::new();
        executor(&Executor::new(slots(), timer), &timer).await;
        executor(&Executor::rate_limited(slots(), quotas(), timer), &timer).await;
    });
}
