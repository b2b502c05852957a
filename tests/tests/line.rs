//! The line before a rate limit: fair, exact, and without a waiter who depends on another's good manners.

use core::cell::RefCell;
use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::limits::{Admission, Limiter};
use steadfast_core::rate_limit::{Quota, Refusal};
use steadfast_core::time::{Clock, Instant};
use steadfast_executor::{Demand, Line, RateLimit};

use crate::support::{Tasks, World, config, ms, ns, quota, ten_per_second, wait};

/// Waiters with these weights join at once, at zero, before an empty bucket; some of them leave at some time.
/// Returns when each was served, and which of them left in time.
fn serve(quota: Quota, weights: &[u32], leaves: &[Option<u64>]) -> (Vec<Option<Instant>>, Vec<bool>) {
    let world = World::default();
    let limit = RateLimit::new(quota, world.clone());
    limit.try_acquire(quota.burst()).expect("a new bucket is full");
    let order = RefCell::new(Vec::new());
    let mut tasks = Tasks::new(&world);
    for (i, weight) in weights.iter().enumerate() {
        let (limit, order) = (limit.clone(), &order);
        tasks.spawn(async move {
            wait(&limit, *weight).await.expect("no more than the burst");
            order.borrow_mut().push(i);
        });
    }
    let mut leaving: Vec<_> = leaves.iter().enumerate().filter_map(|(i, at)| at.map(|at| (ns(at), i))).collect();
    leaving.sort_unstable();
    let mut left = vec![false; weights.len()];
    for (at, i) in leaving {
        tasks.run_until(at);
        world.set(at);
        tasks.settle();
        left[i] = tasks.done_at(i).is_none();
        tasks.cancel(i);
    }
    tasks.run_until(Instant::MAX);
    assert!(order.borrow().is_sorted(), "not first come, first served: {order:?}");
    assert_eq!(limit.waiting(), 0, "somebody is left in line");
    // Whoever leaves wakes the first in line, also from behind it: see `broken`.
    let bound = 4 + left.iter().map(|left| u32::from(*left)).sum::<u32>();
    let most = tasks.tasks.iter().map(|task| task.polls).max();
    assert!(most <= Some(bound), "polled {most:?} times");
    ((0..weights.len()).map(|i| tasks.done_at(i)).collect(), left)
}

fn lines() -> impl Strategy<Value = (Quota, Vec<(u32, Option<u64>)>)> {
    (1..12_u32, 1..2_000_u32).prop_flat_map(|(burst, interval)| {
        let quota = quota(1, Duration::from_nanos(u64::from(interval) * 1_000), burst);
        let leaves = prop::option::of(0..u64::from(interval) * 20_000);
        (Just(quota), prop::collection::vec((1..=burst, leaves), 1..40))
    })
}

proptest! {
    #![proptest_config(config(300))]

    /// Would catch: a light waiter that overtakes a heavy one, a place that is not given back whole, a waiter that
    /// nobody wakes, and a time that is off by a nanosecond: everybody is served as if those who left had never joined,
    /// or when the last of them before it left.
    #[test]
    fn those_behind_a_leaver_move_forward((quota, waiters) in lines()) {
        let (weights, leaves): (Vec<_>, Vec<_>) = waiters.into_iter().unzip();
        let (served, left) = serve(quota, &weights, &leaves);
        let stayed: Vec<_> = (0..weights.len()).filter(|i| !left[*i]).collect();
        let weights: Vec<_> = stayed.iter().map(|i| weights[*i]).collect();
        let (alone, _) = serve(quota, &weights, &[]);
        for (position, i) in stayed.into_iter().enumerate() {
            let last_left = (0..i).filter(|ahead| left[*ahead]).filter_map(|ahead| leaves[ahead]).max();
            let want = alone[position].max(last_left.map(ns));
            prop_assert_eq!(served[i], want, "waiter {}", i);
        }
    }

    /// Would catch: a time told on joining that is not the time at which the turn comes.
    #[test]
    fn everybody_is_served_when_the_exact_sum_says((quota, waiters) in lines()) {
        let weights: Vec<_> = waiters.into_iter().map(|(weight, _)| weight).collect();
        let (served, _) = serve(quota, &weights, &[]);
        let mut sum = 0;
        for (weight, served) in weights.iter().zip(served) {
            sum += u64::from(*weight);
            prop_assert_eq!(served, Some(Instant::EPOCH + quota.period() * u32::try_from(sum).unwrap()));
        }
    }

    /// Would catch: a deadline that is refused although it can be met, or accepted although it cannot.
    #[test]
    fn a_deadline_is_refused_at_once_exactly_when_it_cannot_be_met(
        ahead in 0..20_u32, burst in 1..5_u32, weight in 1..5_u32, late in -1..2_i64,
    ) {
        let mut line = Line::new(ten_per_second(burst));
        let _used = Limiter::join(&mut line, ms(0), burst, 0, Instant::MAX).unwrap();
        let ahead: Vec<_> = (0..ahead).map(|_| Limiter::join(&mut line, ms(0), 1, 0, Instant::MAX).unwrap()).collect();
        let turn = ms((ahead.len() as u64 + u64::from(weight)) * 100);
        let deadline = ns(turn.as_nanos().saturating_add_signed(late));
        match line.join(ms(0), Demand::of([weight]).before(deadline)) {
            Ok(mut ticket) => {
                prop_assert!(late > 0 && weight <= burst);
                prop_assert_eq!(line.poll(ms(0), &mut ticket), Admission::Wait(turn));
            }
            Err(Refusal::NotYet { retry_at }) => prop_assert!(late <= 0 && retry_at == turn && weight <= burst),
            Err(refusal) => prop_assert_eq!(refusal, Refusal::Never { tokens: weight, burst }),
        }
    }
}

/// Ten thousand wait and half of them leave, in an order of its own. Would catch: a wake that does not come, a spin,
/// and work that grows with the square of the line (this would then take minutes).
#[test]
fn ten_thousand_wait_and_half_of_them_leave() {
    const WAITERS: usize = 10_000;
    let world = World::default();
    let limit = RateLimit::new(quota(1, Duration::from_millis(1), 1), world.clone());
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..WAITERS {
        tasks.spawn(wait(&limit, 1));
    }
    assert_eq!((limit.waiting(), limit.available()[0]), (WAITERS, 0));
    // A step that shares no factor with 10,000 visits everybody once, in no order that the line could know.
    (0..WAITERS).map(|i| i * 7_919 % WAITERS).filter(|i| i % 2 == 0).for_each(|leaver| tasks.cancel(leaver));
    assert_eq!(limit.waiting(), WAITERS / 2);
    tasks.run_until(Instant::MAX);
    for (turn, i) in (1..WAITERS).step_by(2).enumerate() {
        assert_eq!(tasks.done_at(i), Some(ms(turn as u64 + 1)), "waiter {i}");
        assert!(tasks.tasks[i].polls <= 4, "waiter {i} was polled {} times", tasks.tasks[i].polls);
    }
    assert_eq!(limit.waiting(), 0);
}

/// leaky-bucket: leaking the task in whose hand the core is stalls everybody. Here the last of the line leaks, and
/// whoever comes afterwards comes when it would have come behind it. (Leaks ahead of others: `broken`.)
#[test]
fn a_leaked_waiter_costs_its_own_tokens_only() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(2), world.clone());
    limit.try_acquire(2).unwrap();
    let mut tasks = Tasks::new(&world);
    tasks.spawn(wait(&limit, 1));
    let leaked = tasks.spawn(wait(&limit, 1));
    let behind = tasks.spawn(wait(&limit, 1));
    tasks.leak(leaked);
    tasks.run_until(ms(10_000));
    assert_eq!(tasks.done_at(behind), Some(ms(300)));
    world.set(ms(10_000));
    assert_eq!((limit.waiting(), limit.available()[0]), (0, 2));
}

#[test]
fn a_full_line_refuses_and_has_room_again_when_somebody_leaves() {
    let world = World::default();
    let limit = RateLimit::with_line(Line::new(ten_per_second(1)).with_max_waiters(2), world.clone());
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..3 {
        tasks.spawn(wait(&limit, 1));
    }
    assert_eq!(tasks.tasks[2].done, Some((ms(0), Err(Refusal::LineFull { waiting: 2 }))));
    tasks.cancel(0);
    tasks.spawn(wait(&limit, 1));
    tasks.run_until(ms(1_000));
    assert_eq!([1, 3].map(|i| tasks.done_at(i)), [100, 200].map(|at| Some(ms(at))));
}

/// Would catch: a block that those who wait already do not feel, one that wakes everybody at its end, and one that a
/// later and shorter one undoes.
#[test]
fn a_block_holds_everybody_in_line_and_keeps_their_order() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(1), world.clone());
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..5 {
        tasks.spawn(wait(&limit, Demand::of([1]).before(Instant::MAX)));
    }
    let hurried = tasks.spawn(wait(&limit, Demand::of([1]).before(ms(700))));
    limit.block_until(ms(1_000));
    limit.block_until(ms(500));
    tasks.run_until(ms(60_000));
    for i in 0..5 {
        assert_eq!(tasks.done_at(i), Some(ms(1_000 + 100 * i as u64)));
        assert!(tasks.tasks[i].polls <= 5, "{}", tasks.tasks[i].polls);
    }
    assert!(matches!(tasks.tasks[hurried].done, Some((_, Err(Refusal::NotYet { retry_at }))) if retry_at >= ms(700)));
}

/// Would catch: somebody who walks past the line because a token happens to be there.
#[test]
fn nobody_overtakes_a_heavy_waiter() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(5), world.clone());
    limit.try_acquire(5).unwrap();
    let mut tasks = Tasks::new(&world);
    let heavy = tasks.spawn(wait(&limit, 5));
    for at in (0..500).step_by(50) {
        world.set(ms(at));
        tasks.settle();
        assert!(limit.try_acquire(1).is_err(), "at {at} ms");
        tasks.spawn(wait(&limit, 1));
    }
    tasks.run_until(ms(60_000));
    assert_eq!(tasks.done_at(heavy), Some(ms(500)));
    assert!((1..=10).all(|i| tasks.done_at(i) == Some(ms(500 + 100 * i as u64))));
}

/// A clock that steps back makes waits longer by the step, and loses nobody.
#[test]
fn a_clock_that_steps_back_loses_nobody() {
    let world = World::default();
    world.set(ms(1_000));
    let limit = RateLimit::new(ten_per_second(1), world.clone());
    limit.try_acquire(1).unwrap();
    let mut tasks = Tasks::new(&world);
    for _ in 0..3 {
        tasks.spawn(wait(&limit, 1));
    }
    world.set(ms(1_100));
    tasks.settle();
    world.set(ms(0));
    tasks.run_until(ms(60_000));
    assert_eq!([0, 1, 2].map(|i| tasks.done_at(i)), [1_100, 1_200, 1_300].map(|at| Some(ms(at))));
    assert!(world.now() >= ms(1_300));
}
