//! The line, while what is before it changes.

use core::cell::RefCell;
use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::limits::{Admission, Limiter};
use steadfast_core::rate_limit::Refusal;
use steadfast_core::time::{Clock, Instant};
use steadfast_executor::{Demand, Line, RateLimit};

use crate::support::{Tasks, World, config, millis, ms, ns, quota, ten_per_second, wait};
use crate::token_bucket::Model;

/// Promise 1: an urgent `try_acquire` is told yes, and holds nothing that could be settled.
#[test]
fn who_tries_urgently_before_a_heavy_waiter_holds_what_it_took() {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(5), world.clone());
    limit.try_acquire(2).unwrap();
    let mut tasks = Tasks::new(&world);
    tasks.spawn(wait(&limit, 5));
    let held = limit.try_acquire(Demand::of([1]).with_priority(9)).expect("three are there");
    assert_eq!(limit.waiting(), 1, "only the heavy one waits");
    held.commit([1_001]);
    tasks.run_until(Instant::MAX);
    assert!(tasks.done_at(0) >= Some(ms(100_000)), "the debt of a thousand is owed: {:?}", tasks.done_at(0));
}

/// A waiter for three of ten is granted them by somebody else's call at 1 s, and asks at 1.001 s.
fn granted_and_late(between: impl FnOnce(&RateLimit<World>)) -> Option<Instant> {
    let world = World::default();
    let limit = RateLimit::new(ten_per_second(10), world.clone());
    limit.try_acquire(10).unwrap();
    let mut tasks = Tasks::new(&world);
    tasks.spawn(wait(&limit, 3));
    world.set(ms(1_000));
    between(&limit);
    world.set(ms(1_001));
    let _ = limit.available(); // Anybody's call.
    tasks.run_until(Instant::MAX);
    tasks.done_at(0)
}

/// "Nothing is spent twice or lost": what is granted outlives the debt of another.
#[test]
fn a_debt_goes_before_what_was_granted_and_not_used_yet() {
    let done = granted_and_late(|limit| {
        let held = limit.try_acquire(1).unwrap(); // This grants the waiter its three.
        held.commit([1_001]);
        let _ = limit.available();
    });
    // A millisecond late, and the bucket owes a thousand tokens: it waits in its place, before all others.
    assert_eq!(done, Some(ms(100_700)));
}

/// The same, where another quota is set.
#[test]
fn another_quota_takes_away_what_was_granted() {
    let mut line = Line::new(ten_per_second(3));
    let _used = Limiter::join(&mut line, ms(0), 3, 0, Instant::MAX).unwrap();
    let mut waits = Limiter::join(&mut line, ms(0), 3, 0, Instant::MAX).unwrap();
    assert_eq!(line.available(ms(300)), [0]); // This grants it.
    line.set_quota(ms(301), 0, quota(1, Duration::from_secs(1), 3));
    assert_eq!(line.poll(ms(301), &mut waits), Admission::Granted);
}

/// The same, where somebody gives back what was granted after it: it pays twice.
#[test]
fn what_others_give_back_leaves_what_was_granted() {
    let mut line = Line::new(ten_per_second(10));
    let _used = Limiter::join(&mut line, ms(0), 10, 0, Instant::MAX).unwrap();
    let mut waits = Limiter::join(&mut line, ms(0), 3, 0, Instant::MAX).unwrap();
    let [later, _last] = [0; 2].map(|_| Limiter::join(&mut line, ms(1_000), 3, 0, Instant::MAX).unwrap());
    line.leave(ms(1_000), later);
    assert_eq!(line.available(ms(1_000)), [4]);
    assert_eq!(line.poll(ms(1_001), &mut waits), Admission::Granted);
    // In doubt less comes back: those that were given back might have lain before it.
    assert_eq!(line.available(ms(1_001)), [1]);
}

/// "Whoever can never be served is told so", and holds up nobody's estimate.
#[test]
fn who_can_never_be_served_counts_against_those_behind() {
    let mut line = Line::new(ten_per_second(100));
    let _used = Limiter::join(&mut line, ms(0), 100, 0, Instant::MAX).unwrap();
    let _first = Limiter::join(&mut line, ms(0), 5, 0, Instant::MAX).unwrap();
    let mut never = Limiter::join(&mut line, ms(0), 100, 0, Instant::MAX).unwrap();
    line.set_quota(ms(0), 0, ten_per_second(10));
    let behind = Limiter::join(&mut line, ms(0), 1, 0, ms(5_000)).map(drop);
    let told = line.poll(ms(0), &mut never);
    assert_eq!((behind, told), (Ok(()), Admission::Refused(Refusal::Never { tokens: 100, burst: 10 }.into())));
}

/// The same with a quota that has changed after a grant has expired: it is told at once.
#[test]
fn whose_grant_has_expired_is_told_never_at_once() {
    let mut line = Line::new(ten_per_second(5));
    let _used = Limiter::join(&mut line, ms(0), 5, 0, Instant::MAX).unwrap();
    let mut waits = Limiter::join(&mut line, ms(0), 5, 0, Instant::MAX).unwrap();
    assert_eq!(line.available(ms(500)), [0]); // Granted.
    assert_eq!(line.available(ms(60_000)), [5]); // Expired.
    line.set_quota(ms(60_000), 0, ten_per_second(1));
    assert_eq!(line.poll(ms(60_000), &mut waits), Admission::Refused(Refusal::Never { tokens: 5, burst: 1 }.into()));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Join([u32; 2], u8, Option<u64>),
    Leave(usize),
    Settle([u32; 2]),
    Block(u64),
    Quota(usize, u32, u32),
    Try([u32; 2]),
    Move(u64),
}

fn ops(with_changes: bool) -> impl Strategy<Value = Vec<Op>> {
    let rare = if with_changes { 1 } else { 0 };
    let op = prop_oneof![
        8 => ([0..=5_u32, 0..=5_u32], 0..3_u8, prop::option::weighted(0.3, 0..3_000_u64)).prop_map(|(w, p, d)| Op::Join(w, p, d)),
        2 => any::<usize>().prop_map(Op::Leave),
        2 => [0..=5_u32, 0..=5_u32].prop_map(Op::Settle),
        2 => [0..=5_u32, 0..=5_u32].prop_map(Op::Try),
        6 => (0..400_u64).prop_map(Op::Move),
        rare => (0..1_000_u64).prop_map(Op::Block),
        rare => (0..2_usize, 1..1_000_u32, 1..8_u32).prop_map(|(i, rate, burst)| Op::Quota(i, rate, burst)),
    ];
    prop::collection::vec(op, 1..60)
}

/// Runs a script on a line before two limits; each who is served waits for nothing and keeps what it holds, and those
/// who settle give back. Returns the admissions: when, and how many of each.
fn run(script: &[Op]) -> Vec<(Instant, [u32; 2])> {
    let world = World::default();
    let quotas = [quota(1, millis(100), 5), quota(1, millis(37), 5)];
    let limit = RateLimit::several(quotas, world.clone());
    let log = RefCell::new(Vec::new());
    let order = RefCell::new(Vec::new());
    let mut held = Vec::new();
    let mut tasks = Tasks::new(&world);
    let (mut joined, mut events) = (Vec::new(), 0);
    for op in script {
        let now = world.now();
        events += u32::from(!matches!(op, Op::Move(_)));
        match *op {
            Op::Join(weights, priority, deadline) => {
                let demand = Demand::of(weights).with_priority(priority);
                let demand = deadline.map_or(demand, |after| demand.before(now + millis(after)));
                let (limit, log, order, i) = (&limit, &log, &order, joined.len());
                joined.push(priority);
                let (limit, world) = (limit.clone(), world.clone());
                tasks.spawn(async move {
                    let served = limit.acquire(demand).await.is_ok();
                    if served {
                        log.borrow_mut().push((world.now(), weights));
                        order.borrow_mut().push((priority, i, world.now()));
                    }
                    assert!(!served || deadline.is_none_or(|after| world.now() < now + millis(after)), "late");
                });
            }
            Op::Leave(i) if !joined.is_empty() => tasks.cancel(i % joined.len()),
            Op::Leave(_) => {}
            Op::Try(weights) => {
                if let Ok(taken) = limit.try_acquire(weights) {
                    held.push((world.now(), weights, taken));
                }
            }
            Op::Settle(used) => {
                if let Some((at, weights, taken)) = held.pop() {
                    let used = [used[0].min(weights[0]), used[1].min(weights[1])];
                    log.borrow_mut().push((at, used));
                    taken.commit(used);
                }
            }
            Op::Block(after) => limit.block_until(now + millis(after)),
            Op::Quota(i, rate, burst) => limit.set_quota(i, quota(rate, Duration::from_secs(1), burst)),
            Op::Move(step) => {
                let end = now + millis(step);
                tasks.run_until(end);
                world.set(end);
            }
        }
        tasks.settle();
    }
    tasks.run_until(ns(u64::MAX - 1));
    log.borrow_mut().extend(held.into_iter().map(|(at, weights, _)| (at, weights)));
    assert_eq!(limit.waiting(), 0, "somebody is left in line");
    assert!(tasks.tasks.iter().all(|task| task.done.is_some() || task.polls > 0));
    for priority in 0..3 {
        let mut served: Vec<_> =
            order.borrow().iter().filter(|(p, ..)| *p == priority).map(|(_, i, at)| (*i, *at)).collect();
        served.sort_unstable();
        assert!(served.is_sorted_by_key(|(_, at)| *at), "not first come, first served within {priority}: {served:?}");
    }
    let most = tasks.tasks.iter().map(|task| task.polls).max().unwrap_or(0);
    assert!(most <= 4 + 2 * events, "polled {most} times in {events} events");
    world.set(world.now() + Duration::from_secs(100_000));
    assert!(limit.available().iter().all(|there| *there > 0));
    log.take()
}

proptest! {
    #![proptest_config(config(1_500))]

    /// Would catch: one too many of either limit in any window, whoever leaves, settles, tries or is more urgent; light
    /// ones that overtake; anybody who is left in line, served late, or polled without end.
    #[test]
    fn two_limits_in_one_line_are_kept_in_every_window(script in ops(false)) {
        let log = run(&script);
        for (limit, quota) in [quota(1, millis(100), 5), quota(1, millis(37), 5)].iter().enumerate() {
            let mut model = Model::new(quota);
            model.admitted.extend(log.iter().map(|(at, n)| (at.as_nanos(), n[limit].into(), false)));
            model.check_all_windows();
        }
    }

    /// Would catch: anybody who is stuck, spins, or is overtaken while quotas change and servers block.
    #[test]
    fn nobody_is_stuck_while_quotas_change_and_servers_block(script in ops(true)) {
        run(&script);
    }
}
