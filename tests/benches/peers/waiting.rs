//! Futures: an acquire that need not wait, and a line of a thousand that must.
//!
//! Where both sides mostly run something else, the clock or tokio's tasks and timers, a row has that alone as one more
//! peer, its floor: the same loop with an acquire that does nothing else. No ratio to the floor can be below 1, and none to a
//! peer below the floor's own ratio to that peer.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use leaky_bucket::RateLimiter as Leaky;
use steadfast::{Clock, ManualClock, RateLimit, TokioTimer};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bucket::{WHOLE, quota};
use crate::harness::{BATCH, Bench, Work};

pub(crate) fn rows(bench: &mut Bench) {
    uncontended(bench);
    line(bench, "line of 1,000, one a ms, per waiter", 1);
    line(bench, "line of 1,000, a hundred a ms, per waiter", 100);
}

/// More than any loop asks for.
pub(crate) const ENDLESS: u32 = u32::MAX;

/// An acquire that is admitted at its first poll, by everything that a task awaits.
///
/// Equal work: each loop awaits one acquire after the other on a tokio runtime of one thread, without tokio's budget,
/// which would have a semaphore yield every so often and the others never. Ours and leaky-bucket read tokio's clock each
/// time: that is 0.7 of what leaky-bucket takes in all. A semaphore knows no time: it is compared with ours on a clock that costs nothing to read as well; and since
/// somebody has to refill it, its permit is given back after each acquire, where time refills the buckets.
fn uncontended(bench: &mut Bench) {
    let runtime = runtime(Builder::new_current_thread().enable_time());

    let limit = RateLimit::new(quota(1_000_000_000, ENDLESS), TokioTimer::new());
    let mut ours = |batches| {
        runtime.block_on(unconstrained(async {
            let mut admitted = 0;
            for _ in 0..batches * BATCH {
                admitted += u64::from(black_box(black_box(&limit).acquire(black_box(1_u32)).await.is_ok()));
            }
            admitted
        }))
    };

    let clock = ManualClock::new();
    let timeless = RateLimit::new(quota(WHOLE, ENDLESS), &clock);
    let mut ours_timeless = |batches| {
        runtime.block_on(unconstrained(async {
            let mut admitted = 0;
            for _ in 0..batches * BATCH {
                admitted += u64::from(black_box(black_box(&timeless).acquire(black_box(1_u32)).await.is_ok()));
            }
            admitted
        }))
    };

    let limiter = Leaky::builder().fair(true).initial(1 << 48).build();
    let mut leaky = |batches| {
        runtime.block_on(unconstrained(async {
            for _ in 0..batches * BATCH {
                black_box(&limiter).acquire(black_box(1)).await;
            }
            batches * BATCH
        }))
    };

    let permits = Semaphore::new(1);
    let mut semaphore = |batches| {
        runtime.block_on(unconstrained(async {
            let mut admitted = 0;
            for _ in 0..batches * BATCH {
                admitted += u64::from(black_box(black_box(&permits).acquire().await.is_ok()));
            }
            admitted
        }))
    };

    let timer = TokioTimer::new();
    let mut clock_alone = |batches| {
        runtime.block_on(unconstrained(async {
            let mut read = 0;
            for _ in 0..batches * BATCH {
                read += u64::from(black_box(black_box(&timer).now()) >= steadfast::Instant::EPOCH);
            }
            read
        }))
    };

    let real = Work::AllocationFree("async acquire at once, tokio's clock");
    bench.compare(real, "leaky-bucket", &mut ours, &mut leaky);
    bench.compare(real, "floor: its clock", &mut ours, &mut clock_alone);
    let timeless = Work::AllocationFree("async acquire at once, clock for free");
    bench.compare(timeless, "tokio Semaphore", &mut ours_timeless, &mut semaphore);
}

/// A thousand tasks that all ask at once and are served so many a millisecond, on tokio's paused clock.
///
/// Equal work: every side starts with the tokens of a millisecond and gets as many each millisecond from there, so that
/// equal time passes in each, and the order is that of asking. Ours knows from its quota when whose turn comes and has
/// every task sleep until its own, leaky-bucket's first in line sleeps from one millisecond to the next for all, and the
/// semaphore has a task of its own that does so and adds the permits. What tokio takes to run the tasks, and to let time
/// pass, is in all of them, and most of it: tasks that do nothing but sleep until their turn, with no limit at all, take
/// 0.8 to 1.1 of what the peers do.
///
/// A sleep for each is what it costs that nobody depends on anybody else being polled. With one for all, whoever has it
/// holds up everybody behind it when it is forgotten, or sits in a stream that nobody polls: leaky-bucket does then.
fn line(bench: &mut Bench, name: &'static str, per_ms: u32) {
    let runtime = runtime(Builder::new_current_thread().enable_time().start_paused(true));
    let tokens = usize::try_from(per_ms).expect("few");
    let tick = Duration::from_millis(1);

    let mut ours = |lines| {
        all_served(&runtime, lines, per_ms, || {
            let limit = RateLimit::new(quota(1_000 * per_ms, per_ms), TokioTimer::new());
            move || {
                let limit = limit.clone();
                async move { limit.acquire(black_box(1_u32)).await.is_ok() }
            }
        })
    };

    let mut leaky = |lines| {
        all_served(&runtime, lines, per_ms, || {
            let limiter = Leaky::builder().fair(true).initial(tokens).max(tokens).refill(tokens).interval(tick).build();
            let limiter = Arc::new(limiter);
            move || {
                let limiter = Arc::clone(&limiter);
                async move {
                    limiter.acquire(black_box(1)).await;
                    true
                }
            }
        })
    };

    let mut semaphore = |lines| {
        all_served(&runtime, lines, per_ms, || {
            let permits = Arc::new(Semaphore::new(tokens));
            let refilled = Arc::clone(&permits);
            tokio::spawn(async move {
                for _ in 1..BATCH / u64::from(per_ms) {
                    sleep(tick).await;
                    refilled.add_permits(tokens);
                }
            });
            move || {
                let permits = Arc::clone(&permits);
                async move { permits.acquire().await.map(SemaphorePermit::forget).is_ok() }
            }
        })
    };

    let mut sleep_each = |lines| {
        all_served(&runtime, lines, per_ms, || {
            let begin = Instant::now();
            let mut asked = 0;
            move || {
                let turn = begin + tick * (asked / per_ms);
                asked += 1;
                async move {
                    if turn > begin {
                        sleep_until(turn).await;
                    }
                    true
                }
            }
        })
    };

    bench.compare(Work::Allocating(name), "leaky-bucket", &mut ours, &mut leaky);
    bench.compare(Work::Allocating(name), "tokio Semaphore", &mut ours, &mut semaphore);
    bench.compare(Work::Allocating(name), "floor: a sleep each", &mut ours, &mut sleep_each);
}

/// Makes a limit for each line, has a thousand tasks acquire from it, and counts those that were served.
///
/// # Panics
/// If a line does not take the time that it should, on the paused clock.
fn all_served<A, F>(runtime: &Runtime, lines: u64, per_ms: u32, limit: impl Fn() -> A) -> u64
where
    A: FnMut() -> F,
    F: Future<Output = bool> + Send + 'static,
{
    // The first are served at once; a timer may be late by a tick.
    let expected = u128::from(BATCH / u64::from(per_ms)) - 1;
    runtime.block_on(async {
        let mut served = 0;
        for _ in 0..lines {
            let begin = Instant::now();
            let mut acquire = limit();
            let waiters: Vec<_> = (0..BATCH).map(|_| tokio::spawn(acquire())).collect();
            for waiter in waiters {
                served += u64::from(waiter.await.unwrap_or(false));
            }
            let took = begin.elapsed().as_millis();
            assert!((expected..=expected + 2).contains(&took), "the line took {took} ms");
        }
        served
    })
}

fn runtime(builder: &mut Builder) -> Runtime {
    builder.build().expect("a runtime of one thread needs nothing")
}
