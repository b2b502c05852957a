//! Many threads on one limit. On the wall clock: what is to be shown is that no interleaving of real threads admits a
//! token too many or loses a wake, and threads cannot be had on a clock that somebody has to move.

use core::cell::Cell;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Wake;
use std::thread::{self, Thread};

use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::time::{Clock, Instant, Timer};
use steadfast_executor::{RateLimit, SharedPipeline};

use crate::support::{ns, quota, wait};

std::thread_local! {
    /// When the future that this thread runs wants to be polled again, if nobody wakes it.
    static ALARM: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Real time, and sleeps for [`block_on`].
#[derive(Clone, Copy, Debug)]
struct WallClock(std::time::Instant);

impl Clock for WallClock {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }
}

impl Timer for WallClock {
    type Sleep = Nap;

    fn sleep_until(&self, deadline: Instant) -> Nap {
        Nap { clock: *self, deadline }
    }
}

struct Nap {
    clock: WallClock,
    deadline: Instant,
}

impl Future for Nap {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.deadline {
            return Poll::Ready(());
        }
        ALARM.set(Some(ALARM.get().map_or(self.deadline, |alarm| alarm.min(self.deadline))));
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `future` on this thread, which is parked until a wake or the next alarm. Counts the polls.
fn block_on<R>(clock: WallClock, polls: &AtomicU64, future: impl Future<Output = R>) -> R {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        ALARM.set(None);
        polls.fetch_add(1, Ordering::Relaxed);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        match ALARM.get() {
            Some(alarm) => thread::park_timeout(alarm - clock.now()),
            None => thread::park(),
        }
    }
}

const THREADS: u32 = 8;
const ROUNDS: u32 = 250;

/// Runs `work` so many times on so many threads. Would catch: a lost wake (it never ends), a spin (too many polls), a
/// token too many (checked against the time that passed, which is longer than the window of all admissions).
fn hammer(burst: u32, rate: u32, clock: WallClock, work: impl Fn(u32, &AtomicU64) -> u32 + Sync) {
    let (polls, admitted) = (AtomicU64::new(0), AtomicU64::new(0));
    let before = clock.now();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (work, polls, admitted) = (&work, &polls, &admitted);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let tokens = work(thread * 31 + round, polls);
                    admitted.fetch_add(tokens.into(), Ordering::Relaxed);
                }
            });
        }
    });
    let elapsed = (clock.now() - before).as_nanos();
    let (polls, admitted) = (polls.into_inner(), u128::from(admitted.into_inner()));
    assert!(admitted * 1_000_000_000 <= u128::from(burst) * 1_000_000_000 + u128::from(rate) * elapsed, "{admitted}");
    assert!(polls <= u64::from(THREADS * ROUNDS) * 20, "{polls} polls");
}

#[test]
fn many_threads_never_exceed_one_limit() {
    let (burst, rate) = (100, 10_000);
    let clock = WallClock(std::time::Instant::now());
    let limit = RateLimit::new(quota(rate, Duration::from_secs(1), burst), clock);
    hammer(burst, rate, clock, |i, polls| {
        let tokens = 1 + i % 4;
        if i % 5 == 0 {
            // Joins the line, is polled once, and leaves it again.
            let mut given_up = Box::pin(wait(&limit, tokens));
            if given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                return tokens;
            }
            return 0;
        }
        block_on(clock, polls, wait(&limit, tokens)).expect("no more than the burst");
        tokens
    });
    assert_eq!(limit.waiting(), 0);
}

#[test]
fn many_threads_make_calls_through_one_pipeline() {
    let (burst, rate) = (100, 10_000);
    let clock = WallClock(std::time::Instant::now());
    let limit = TokenBucket::new(quota(rate, Duration::from_secs(1), burst));
    let pipeline = SharedPipeline::new(Pipeline::builder().rate_limit(limit).build().unwrap(), clock);
    hammer(burst, rate, clock, |_, polls| {
        let call = pipeline.call(CallOptions::idempotent(), |()| Outcome::success(), |_| async {});
        block_on(clock, polls, call).expect("nothing is in its way");
        1
    });
}

/// Real time is only as good as its clock: two threads that read it at once may come in either order, and the one that
/// comes second is told a time that lies in the past.
#[test]
fn threads_whose_clocks_disagree_take_nothing_twice() {
    let limit = std::sync::Mutex::new(TokenBucket::new(quota(1, Duration::from_nanos(10), 5)));
    let admitted = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (limit, admitted) = (&limit, &admitted);
            scope.spawn(move || {
                for now in 0..10_000_u64 {
                    let ok = limit.lock().unwrap().try_acquire(ns(now.saturating_sub(thread * 7)), 1).is_ok();
                    admitted.fetch_add(ok.into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert!(admitted.into_inner() <= 5 + 1_000);
}
