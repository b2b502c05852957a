//! On the fake clock: what goes in comes out, in its order, or is reported.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::task::Poll;

use futures_util::future::{join, join_all, join3};
use steadfast_core::time::{Clock, Instant, ManualClock};

use super::*;

fn queue<J>(capacity: usize) -> WorkQueue<J> {
    WorkQueue::new(NonZeroUsize::new(capacity).unwrap())
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn sleep(clock: &ManualClock, millis: u64) {
    clock.sleep_until(clock.now() + ms(millis)).await;
}

/// Lets everybody else run once.
async fn step() {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn jobs_are_done_in_their_order_the_urgent_first() {
    let (queue, done) = (queue(10), RefCell::new(Vec::new()));
    for (job, priority) in [('a', 0), ('b', 0), ('c', 5), ('d', 0), ('e', 5)] {
        queue.try_push_with_priority(job, priority).unwrap();
    }
    queue.close();
    let worked = ManualClock::new().drive(queue.work(|job| {
        done.borrow_mut().push(job);
        async {}
    }));
    assert_eq!(worked, Some(Worked { done: 5, panicked: 0 }));
    assert_eq!(*done.borrow(), ['c', 'e', 'a', 'b', 'd']);
}

#[test]
fn pushing_waits_for_room() {
    let (queue, clock) = (queue(2), ManualClock::new());
    let most = Cell::new(0);
    let produce = async {
        for job in 0..20 {
            queue.push(job).await.unwrap();
            most.set(most.get().max(queue.stats().waiting));
        }
        queue.close();
    };
    let worker = || queue.work(|_| sleep(&clock, 10));
    let (_, one, other) = clock.drive(join3(produce, worker(), worker())).unwrap();
    assert_eq!((one.done + other.done, most.get()), (20, 2));
    assert_eq!(clock.now(), Instant::EPOCH + ms(100), "two at a time");
}

#[test]
fn what_is_not_accepted_comes_back() {
    let queue = queue(1);
    assert_eq!(queue.try_push("a"), Ok(()));
    assert_eq!(queue.try_push("b"), Err(NotAccepted::Full("b")));
    let clock = ManualClock::new();
    // Whoever waits for room learns that there will be none.
    let close = async {
        step().await;
        queue.close();
    };
    let (pushed, ()) = clock.drive(join(queue.push("c"), close)).unwrap();
    assert_eq!(pushed.map_err(NotAccepted::into_job), Err("c"));
    assert_eq!(queue.try_push("d"), Err(NotAccepted::Closed("d")));
    assert_eq!(queue.stats().waiting, 1, "and what was accepted stays");
}

#[test]
fn a_push_that_is_dropped_while_it_waits_takes_no_room_from_others() {
    let (queue, clock) = (queue(1), ManualClock::new());
    queue.try_push(0).unwrap();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut leaver = Box::pin(queue.push(1));
    assert!(leaver.as_mut().poll(&mut cx).is_pending());
    let mut stays = Box::pin(queue.push(2));
    assert!(stays.as_mut().poll(&mut cx).is_pending());
    // The room is told to the leaver, who goes.
    let done = RefCell::new(Vec::new());
    let worker = queue.work(|job| {
        done.borrow_mut().push(job);
        async {}
    });
    let mut worker = Box::pin(worker);
    assert!(worker.as_mut().poll(&mut cx).is_pending());
    drop(leaver);
    clock.drive(async {
        stays.await.unwrap();
        queue.close();
    });
    clock.drive(worker).unwrap();
    assert_eq!(*done.borrow(), [0, 2]);
}

#[test]
fn a_panic_costs_its_own_job_and_no_other() {
    let (queue, clock) = (queue(10), ManualClock::new());
    (0..6).for_each(|job| queue.try_push(job).unwrap());
    queue.close();
    let worked = clock.drive(queue.work(|job| {
        assert_ne!(job, 1, "as it should, before the future");
        async move { assert_ne!(job, 3, "as it should, in the future") }
    }));
    assert_eq!(worked, Some(Worked { done: 4, panicked: 2 }));
    assert_eq!(queue.stats(), Stats { waiting: 0, running: 0, done: 4, panicked: 2, dropped: 0 });
}

#[test]
fn a_worker_that_is_dropped_loses_its_job_and_says_so() {
    let (queue, clock) = (queue(10), ManualClock::new());
    (0..3).for_each(|job| queue.try_push(job).unwrap());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    {
        let mut worker = Box::pin(queue.work(|_| pending()));
        assert!(worker.as_mut().poll(&mut cx).is_pending());
        assert_eq!(queue.stats().running, 1);
    }
    let joined = async {
        queue.join().await;
        queue.close();
    };
    let ((), worked) = clock.drive(join(joined, queue.work(|_| async {}))).unwrap();
    assert_eq!((worked.done, queue.stats().dropped), (2, 1));
}

#[test]
fn joining_waits_for_what_is_done_as_well_as_for_what_waits() {
    let (queue, clock) = (queue(10), ManualClock::new());
    clock.drive(queue.join()).expect("nothing is there");
    (0..4).for_each(|job| queue.try_push(job).unwrap());
    let joined = async {
        queue.join().await;
        let at = clock.now();
        queue.close();
        at
    };
    let workers = join_all((0..2).map(|_| queue.work(|_| sleep(&clock, 15))));
    let (at, _) = clock.drive(join(joined, workers)).unwrap();
    assert_eq!(at, Instant::EPOCH + ms(30));
}

#[test]
fn a_queue_that_is_stopped_in_time_has_nothing_left() {
    let (queue, clock) = (queue(10), ManualClock::new());
    (0..4).for_each(|job| queue.try_push(job).unwrap());
    let (left, worked) = clock.drive(join(queue.stop(&&clock, ms(100)), queue.work(|_| sleep(&clock, 10)))).unwrap();
    assert!(left.undone.is_empty() && left.dropped == 0, "{left:?}");
    assert_eq!((worked.done, clock.now()), (4, Instant::EPOCH + ms(40)));
}

#[test]
fn a_queue_that_is_stopped_too_early_returns_what_was_not_begun_and_counts_the_rest() {
    let (queue, clock) = (queue(10), ManualClock::new());
    (0..6).for_each(|job| queue.try_push_with_priority(job, job).unwrap());
    let workers = join_all((0..2).map(|_| queue.work(|_| sleep(&clock, 30))));
    let (left, worked) = clock.drive(join(queue.stop(&&clock, ms(50)), workers)).unwrap();
    // Two were done, two were in the middle, and of the others the most urgent comes first.
    assert_eq!((left.undone, left.dropped), (vec![1, 0], 2));
    assert_eq!(worked.iter().map(|worked| worked.done).sum::<usize>(), 2);
    assert_eq!((clock.now(), queue.stats().dropped), (Instant::EPOCH + ms(50), 2));
    // A worker that nobody polls is not waited for.
    let queue = self::queue(2);
    queue.try_push(0).unwrap();
    let mut idle = Box::pin(queue.work(|_| pending::<()>()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(idle.as_mut().poll(&mut cx).is_pending());
    let left = clock.drive(queue.stop(&&clock, ms(0))).unwrap();
    assert_eq!((left.undone.len(), left.dropped), (0, 1));
}

#[test]
fn every_job_is_accounted_for_whatever_happens() {
    for seed in 0..200 {
        let (mut rng, clock) = (fastrand::Rng::with_seed(seed), ManualClock::new());
        let queue = queue(rng.usize(1..5));
        let accepted = Cell::new(0);
        let produce = async {
            for _ in 0..20 {
                accepted.set(accepted.get() + usize::from(queue.push(()).await.is_ok()));
            }
        };
        let times: Vec<_> = (0..20).map(|_| rng.u64(0..20)).collect();
        let patience = rng.u64(0..120);
        let workers = join_all((0..3).map(|worker| {
            let (mut next, times, clock) = (worker, &times, &clock);
            queue.work(move |()| {
                next += 1;
                let time = times[next % 20];
                async move {
                    sleep(clock, time).await;
                    assert_ne!(time, 7, "as it should");
                }
            })
        }));
        let stop = async {
            sleep(&clock, patience / 2).await;
            queue.stop(&&clock, ms(patience)).await
        };
        let (_, left, worked) = clock.drive(join3(produce, stop, workers)).unwrap();
        let ended: usize = worked.iter().map(|worked| worked.done + worked.panicked).sum();
        assert_eq!(ended + left.undone.len() + left.dropped, accepted.get(), "seed {seed}: {left:?}");
    }
}
