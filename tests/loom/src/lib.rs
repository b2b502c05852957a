//! Models of everything that threads share. Each is run under every interleaving that loom can find.
#![cfg(all(test, loom))]

use std::future::{Pending, pending};
use std::sync::Arc;

use loom::future::block_on;
use loom::thread;
use steadfast_core::concurrency;
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::rate_limit::{AtomicTokenBucket, Quota, Refusal};
use steadfast_core::time::{Clock, Instant, Timer};
use steadfast_executor::{ConcurrencyLimit, InFlight, KeyedRateLimit, RateLimit, ShutDown, WorkQueue};

fn hourly(burst: u32) -> Quota {
    Quota::per_hour(1).and_then(|quota| quota.with_burst(burst)).expect("a sound quota")
}

/// Time stands still, and nobody is ever woken by it: who waits depends on somebody else's wake.
#[derive(Clone, Copy, Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::EPOCH
    }
}

impl Timer for Still {
    type Sleep = Pending<()>;

    fn sleep_until(&self, _deadline: Instant) -> Pending<()> {
        pending()
    }
}

#[test]
fn an_atomic_bucket_admits_its_burst_and_not_one_more() {
    loom::model(|| {
        let bucket = Arc::new(AtomicTokenBucket::new(hourly(2)));
        let takers = [1, 1, 1].map(|n| {
            let bucket = Arc::clone(&bucket);
            move || bucket.try_acquire(Instant::EPOCH, n).is_ok()
        });
        let [first, second, third] = takers;
        let (first, second) = (thread::spawn(first), thread::spawn(second));
        let admitted = [third(), first.join().unwrap(), second.join().unwrap()];
        assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 2);
    });
}

#[test]
fn an_atomic_bucket_that_was_blocked_stays_blocked() {
    loom::model(|| {
        let bucket = Arc::new(AtomicTokenBucket::new(hourly(2)));
        let until = Instant::from_nanos(1_000);
        let blocker = thread::spawn({
            let bucket = Arc::clone(&bucket);
            move || bucket.block_until(until)
        });
        let taker = thread::spawn({
            let bucket = Arc::clone(&bucket);
            move || bucket.try_acquire(Instant::EPOCH, 1).is_ok()
        });
        blocker.join().unwrap();
        taker.join().unwrap();
        let early = bucket.try_acquire(Instant::from_nanos(999), 1);
        assert!(matches!(early, Err(Refusal::NotYet { retry_at }) if retry_at >= until), "{early:?}");
    });
}

#[test]
fn who_waits_is_woken_when_tokens_come_back() {
    loom::model(|| {
        let limit = RateLimit::new(hourly(1), Still);
        let waiter = thread::spawn({
            let limit = limit.clone();
            move || block_on(async { limit.acquire(1).await.map(drop) })
        });
        // Whichever of the two is first holds the one token. If it is this one, it gives it back.
        if let Ok(held) = limit.try_acquire(1) {
            held.cancel();
        }
        waiter.join().unwrap().expect("the token came back");
    });
}

#[test]
fn who_waits_behind_somebody_who_leaves_moves_forward() {
    loom::model(|| {
        let limit = RateLimit::new(hourly(2), Still);
        limit.try_acquire(1).expect("it is full");
        // One is left: too few for the first in line, and enough for the one behind.
        let waiter = thread::spawn({
            let limit = limit.clone();
            move || block_on(async { limit.acquire(1).await.map(drop) })
        });
        let mut heavy = Box::pin(limit.acquire(2));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = std::future::Future::poll(heavy.as_mut(), &mut cx);
        drop(heavy);
        waiter.join().unwrap().expect("nobody is before it any more");
    });
}

#[test]
fn everybody_behind_somebody_who_leaves_moves_forward() {
    // Of three threads, every interleaving takes minutes; those in which few are interrupted, seconds.
    let mut few = loom::model::Builder::new();
    few.preemption_bound = Some(2);
    few.check(|| {
        let limit = RateLimit::new(hourly(3), Still);
        limit.try_acquire(1).expect("it is full");
        // Two are left: too few for the first in line, and enough for both behind it. Only the first of these is woken by
        // the one who leaves; it has to pass the word on.
        let mut heavy = Box::pin(limit.acquire(3));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::future::Future::poll(heavy.as_mut(), &mut cx).is_pending());
        let waiters = [(); 2].map(|()| {
            let limit = limit.clone();
            thread::spawn(move || block_on(async { limit.acquire(1).await.map(drop) }))
        });
        drop(heavy);
        for waiter in waiters {
            waiter.join().unwrap().expect("nobody is before it any more");
        }
    });
}

#[test]
fn who_can_never_be_served_any_more_is_told_so() {
    loom::model(|| {
        let limit = RateLimit::new(hourly(2), Still);
        limit.try_acquire(2).expect("it is full");
        let waiter = thread::spawn({
            let limit = limit.clone();
            move || block_on(async { limit.acquire(2).await.map(drop) })
        });
        limit.set_quota(0, hourly(1));
        assert_eq!(waiter.join().unwrap(), Err(Refusal::Never { tokens: 2, burst: 1 }));
    });
}

#[test]
fn a_slot_goes_round() {
    loom::model(|| {
        let slots = concurrency::ConcurrencyLimit::fixed(1).build().expect("a sound limit");
        let limit = ConcurrencyLimit::new(slots, Still);
        let other = thread::spawn({
            let limit = limit.clone();
            move || block_on(async { limit.acquire().await.map(|slot| slot.record(OutcomeKind::Success)) })
        });
        block_on(async { limit.acquire().await.map(drop) }).expect("the other gives it back");
        other.join().unwrap().expect("this one gave it back");
        assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
    });
}

#[test]
fn a_slot_that_is_given_up_in_line_is_not_lost() {
    loom::model(|| {
        let slots = concurrency::ConcurrencyLimit::fixed(1).build().expect("a sound limit");
        let limit = ConcurrencyLimit::new(slots, Still);
        let slot = limit.try_acquire().expect("it is free");
        // In line before the other, or behind it; and gone again, with the slot or without.
        let mut leaver = Box::pin(limit.acquire());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = std::future::Future::poll(leaver.as_mut(), &mut cx);
        let other = thread::spawn({
            let limit = limit.clone();
            move || block_on(async { limit.acquire().await.map(drop) })
        });
        drop(slot);
        drop(leaver);
        other.join().unwrap().expect("it is the other's turn");
    });
}

#[test]
fn a_worker_finds_the_job_or_the_end() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let queue = WorkQueue::new(std::num::NonZeroUsize::MIN);
        let worker = thread::spawn({
            let queue = queue.clone();
            move || block_on(queue.work(|()| async {}))
        });
        queue.try_push(()).expect("there is room");
        queue.close();
        assert_eq!(worker.join().unwrap().done, 1);
    });
}

#[test]
fn keys_are_admitted_as_often_as_they_may_be() {
    loom::model(|| {
        let limit = Arc::new(KeyedRateLimit::new(hourly(1), 100, Still));
        let other = thread::spawn({
            let limit = Arc::clone(&limit);
            move || limit.try_acquire('a', 1).is_ok()
        });
        let admitted = [limit.try_acquire('a', 1).is_ok(), other.join().unwrap()];
        assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 1);
    });
}

#[test]
fn what_hangs_is_told_that_it_is_cancelled() {
    loom::model(|| {
        let in_flight = InFlight::new();
        let hangs = thread::spawn({
            let in_flight = in_flight.clone();
            move || {
                let flight = in_flight.enter();
                let started = flight.start();
                (started, block_on(flight.run(pending::<()>())))
            }
        });
        in_flight.cancel();
        let (started, told) = hangs.join().unwrap();
        assert_eq!(told, Err(if started { ShutDown::Cancelled } else { ShutDown::NotStarted }));
        assert_eq!(in_flight.running(), 0);
    });
}

#[test]
fn a_shutdown_ends_with_the_last_that_runs_and_nothing_starts_after_it() {
    loom::model(|| {
        let in_flight = InFlight::new();
        let runs = thread::spawn({
            let in_flight = in_flight.clone();
            move || {
                let flight = in_flight.enter();
                block_on(flight.run(async { flight.start() }))
            }
        });
        let stopped = block_on(in_flight.shut_down(&Still, std::time::Duration::MAX));
        assert_eq!(in_flight.running(), 0);
        assert!(!in_flight.enter().start());
        let ran = runs.join().unwrap() == Ok(true);
        // It had ended before, was waited for, or was refused.
        assert!(stopped.finished <= usize::from(ran) && stopped.cancelled == 0, "{stopped:?}");
    });
}
