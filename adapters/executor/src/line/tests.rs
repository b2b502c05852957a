//! Scripts for the line as a state machine. Its futures, mass and threads are tried in the package `steadfast-tests`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;

use super::*;

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Ten tokens a second, with the bucket empty.
fn empty(burst: u32) -> Line {
    let quota = Quota::per_second(10).and_then(|quota| quota.with_burst(burst)).unwrap();
    let mut line = Line::new(quota);
    let _ = join(&mut line, burst);
    line
}

fn join(line: &mut Line, tokens: u32) -> Ticket {
    line.join(ms(0), tokens.into()).unwrap()
}

/// How each ticket stands at `now`, asked in the order of the slice: `None` for granted, or the milliseconds to wait for.
fn ask<const K: usize>(line: &mut Line<K>, now: Instant, tickets: &mut [&mut Ticket<K>]) -> Vec<Option<u64>> {
    let stand = |ticket: &mut &mut Ticket<K>| match line.poll(now, ticket) {
        Admission::Granted => None,
        Admission::Wait(until) => Some(until.as_nanos() / 1_000_000),
        Admission::Refused(refusal) => panic!("{refusal}"),
    };
    tickets.iter_mut().map(stand).collect()
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn first_come_first_served() {
    let mut line = empty(3);
    let (mut heavy, mut light) = (join(&mut line, 3), join(&mut line, 1));
    // There would be one for the light one at 100, and it is not its turn. Asking out of turn changes nothing.
    assert_eq!(ask(&mut line, ms(0), &mut [&mut light, &mut heavy]), [Some(400), Some(300)]);
    assert_eq!(ask(&mut line, ms(299), &mut [&mut light, &mut heavy]), [Some(400), Some(300)]);
    assert_eq!(ask(&mut line, ms(300), &mut [&mut light, &mut heavy]), [Some(400), None]);
    assert_eq!(ask(&mut line, ms(400), &mut [&mut light]), [None]);
}

#[test]
fn who_comes_later_does_not_overtake_the_line() {
    let mut line = empty(3);
    let mut heavy = join(&mut line, 3);
    assert_eq!(line.available(ms(200)), [0]);
    let refused = line.join(ms(200), Demand::of([1]).before(ms(200) + Duration::from_nanos(1))).unwrap_err();
    assert_eq!(refused, Refusal::NotYet { retry_at: ms(400) });
    assert_eq!(ask(&mut line, ms(300), &mut [&mut heavy]), [None]);
}

#[test]
fn whoever_asks_grants_those_before_it_and_then_itself() {
    let mut line = empty(3);
    let [mut first, mut second, mut third] = [(); 3].map(|()| join(&mut line, 1));
    assert_eq!(ask(&mut line, ms(300), &mut [&mut second]), [None]);
    assert_eq!((line.len(), line.granted.len()), (1, 1), "the third is due as well, and asks for itself");
    assert_eq!(ask(&mut line, ms(300), &mut [&mut third, &mut first]), [None, None]);
    assert_eq!((line.len(), line.granted.len(), line.available(ms(300))), (0, 0, [0]));
}

#[test]
fn a_waker_is_kept_until_another_takes_its_place_or_its_turn_has_come() {
    let mut line = empty(1);
    let mut waits = join(&mut line, 1);
    let [one, other] = [(); 2].map(|()| Waker::from(Arc::new(Wakes::default())));
    for (waker, forgotten) in [(&one, None), (&one, None), (&other, Some(&one))] {
        assert_eq!(ask(&mut line, ms(0), &mut [&mut waits]), [Some(100)]);
        line.watch(&waits, waker);
        match (line.next_woken(), forgotten) {
            (Some(Woken::Forget(known)), Some(forgotten)) => assert!(known.will_wake(forgotten)),
            (woken, forgotten) => assert!(woken.is_none() && forgotten.is_none(), "{woken:?}"),
        }
    }
    assert_eq!(ask(&mut line, ms(100), &mut [&mut waits]), [None]);
    assert!(matches!(line.next_woken(), Some(Woken::Forget(known)) if known.will_wake(&other)), "who asks is awake");
}

#[test]
fn a_forgotten_waiter_is_passed() {
    let mut line = empty(1);
    let _forgotten = [(); 5].map(|()| join(&mut line, 1));
    let mut behind = join(&mut line, 1);
    assert_eq!(ask(&mut line, ms(0), &mut [&mut behind]), [Some(600)]);
    // By now five should have asked. It asks in their stead, and each costs what it asked for, once.
    for now in [600, 700, 800, 900, 1000] {
        assert_eq!(ask(&mut line, ms(now), &mut [&mut behind]), [Some(now + 100)]);
    }
    assert_eq!(ask(&mut line, ms(1100), &mut [&mut behind]), [None]);
    // Nor do they take up room for ever.
    line.serve(ms(10_000));
    assert!(line.granted.is_empty() && line.waiting.is_empty());
}

#[test]
fn a_grant_that_nobody_asked_for_expires_and_its_holder_waits_again_in_its_place() {
    let mut line = empty(1);
    let [mut late, mut behind, mut last] = [(); 3].map(|()| join(&mut line, 1));
    assert_eq!(ask(&mut line, ms(100), &mut [&mut behind]), [Some(200)], "this grants the late one");
    assert_eq!(ask(&mut line, ms(250), &mut [&mut behind]), [None]);
    assert_eq!(ask(&mut line, ms(250), &mut [&mut late, &mut last]), [Some(350), Some(300)]);
    assert_eq!(ask(&mut line, ms(350), &mut [&mut late, &mut last]), [None, Some(450)]);
}

#[test]
fn those_behind_a_leaver_move_forward_and_are_woken_to_learn_it() {
    let mut line = empty(3);
    let [mut first, leaver, mut third, mut fourth] = [1, 2, 1, 1].map(|tokens| join(&mut line, tokens));
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let woken = |line: &mut Line| {
        std::iter::from_fn(|| line.next_woken()).for_each(Woken::let_go);
        wakes.each_ref().map(|woken| woken.0.load(Ordering::Relaxed))
    };
    assert_eq!(ask(&mut line, ms(0), &mut [&mut first, &mut third, &mut fourth]), [Some(100), Some(400), Some(500)]);
    for (ticket, woken) in [&first, &third, &fourth].into_iter().zip(&wakes) {
        line.watch(ticket, &Waker::from(Arc::clone(woken)));
    }

    line.leave(ms(0), leaver);
    assert_eq!(woken(&mut line), [0, 0, 0], "the first in line keeps its time, and the others learn theirs later");
    assert_eq!(ask(&mut line, ms(100), &mut [&mut first]), [None]);
    assert_eq!(woken(&mut line), [0, 1, 0], "the next, as it becomes the first");
    assert_eq!(ask(&mut line, ms(100), &mut [&mut third]), [Some(200)]);
    assert_eq!(ask(&mut line, ms(200), &mut [&mut third]), [None]);
    assert_eq!(woken(&mut line), [0, 1, 1]);
    assert_eq!(ask(&mut line, ms(300), &mut [&mut fourth]), [None]);
}

#[test]
fn nothing_is_spent_twice_or_lost() {
    let mut line = empty(2);
    let (mut used, mut unused, mut waiting) = (join(&mut line, 1), join(&mut line, 1), join(&mut line, 2));
    // Granted by its own asking, by somebody else's, and not at all.
    assert_eq!(ask(&mut line, ms(200), &mut [&mut used]), [None]);
    line.leave(ms(200), unused);
    assert_eq!(ask(&mut line, ms(200), &mut [&mut waiting]), [Some(300)], "one came back, and one is to come");
    line.leave(ms(200), waiting);
    assert_eq!(line.available(ms(200)), [1]);
    unused = join(&mut line, 1);
    assert_eq!(ask(&mut line, ms(200), &mut [&mut unused]), [None]);
    assert_eq!(line.available(ms(200)), [0]);
}

#[test]
fn what_cannot_be_is_refused_at_once() {
    let mut line = empty(2).with_max_waiters(2);
    assert_eq!(line.join(ms(0), 3.into()).unwrap_err(), Refusal::Never { tokens: 3, burst: 2 });
    let _first = join(&mut line, 1);
    assert_eq!(line.join(ms(0), 3.into()).unwrap_err(), Refusal::Never { tokens: 3, burst: 2 });
    assert_eq!(line.join(ms(0), Demand::of([2]).before(ms(300))).unwrap_err(), Refusal::NotYet { retry_at: ms(300) });
    let _second = line.join(ms(0), Demand::of([2]).before(ms(301))).unwrap();
    assert_eq!(line.join(ms(0), 1.into()).unwrap_err(), Refusal::LineFull { waiting: 2 });
    assert_eq!((line.len(), line.waiting.ahead_of(Place::LAST)), (2, [3]));
}

#[test]
fn a_block_holds_the_line_and_then_it_goes_on_in_order() {
    let mut line = empty(2);
    let (mut first, mut second) = (join(&mut line, 1), join(&mut line, 1));
    line.block_until(ms(1000));
    // Their times have passed. The second, who is the first to ask, asks again when the first is due.
    assert_eq!(ask(&mut line, ms(250), &mut [&mut second, &mut first]), [Some(1000), Some(1000)]);
    assert_eq!(ask(&mut line, ms(1000), &mut [&mut second, &mut first]), [Some(1100), None]);
    assert_eq!(ask(&mut line, ms(1100), &mut [&mut second]), [None]);
}

#[test]
fn who_is_more_urgent_goes_first_and_keeps_the_order_among_its_like() {
    let mut line = empty(1);
    let mut joins = |priority| line.join(ms(0), Demand::of([1]).with_priority(priority)).unwrap();
    let [mut first, mut urgent, mut second, mut urgent_too] = [0, 9, 0, 9].map(&mut joins);
    let mut tickets = [&mut first, &mut urgent, &mut second, &mut urgent_too];
    assert_eq!(ask(&mut line, ms(0), &mut tickets), [Some(100), Some(100), Some(300), Some(200)]);
    assert_eq!(ask(&mut line, ms(100), &mut tickets), [Some(300), None, Some(300), Some(200)], "and it learns so");
    assert_eq!(
        ask(&mut line, ms(400), &mut tickets),
        [Some(500), None, Some(600), None],
        "one by one, for want of a burst"
    );
}

#[test]
fn another_quota_reaches_those_who_wait() {
    let mut line = empty(2);
    let (mut light, mut heavy, mut last) = (join(&mut line, 1), join(&mut line, 2), join(&mut line, 1));
    let woken = Arc::new(Wakes::default());
    assert_eq!(ask(&mut line, ms(0), &mut [&mut light, &mut heavy, &mut last]), [Some(100), Some(300), Some(400)]);
    line.watch(&light, &Waker::from(Arc::clone(&woken)));

    // Ten times as fast: the first is woken to learn it, the others as they become first.
    line.set_quota(ms(0), 0, Quota::per_second(100).and_then(|quota| quota.with_burst(2)).unwrap());
    std::iter::from_fn(|| line.next_woken()).for_each(Woken::let_go);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(ask(&mut line, ms(0), &mut [&mut light]), [Some(10)]);
    assert_eq!(ask(&mut line, ms(10), &mut [&mut light, &mut heavy]), [None, Some(30)]);

    // No room for two at once any more: whoever asked for as many is told so, and those behind go on.
    line.set_quota(ms(10), 0, Quota::per_second(10).unwrap());
    assert_eq!(line.poll(ms(10), &mut heavy), Admission::Refused(Refusal::Never { tokens: 2, burst: 1 }));
    assert_eq!(ask(&mut line, ms(10), &mut [&mut last]), [Some(110)]);
    line.leave(ms(10), heavy);
    assert_eq!(ask(&mut line, ms(110), &mut [&mut last]), [None]);
    assert!(line.is_empty());
    line.set_quota(ms(110), 7, Quota::per_second(1).unwrap()); // There is no such limit.
}

#[test]
fn several_limits_are_waited_for_together() {
    let quota = |tokens, burst| Quota::per_second(tokens).and_then(|quota| quota.with_burst(burst)).unwrap();
    let limits = || RateLimits::new([quota(10, 1), quota(100, 50)]);
    let mut line = Line::before_several(limits(), [Counts::Calls, Counts::Weight]);
    let mut join = |tokens| RateLimiter::join(&mut line, ms(0), tokens, Instant::MAX).unwrap();
    let [mut first, mut second, mut third] = [50, 20, 10].map(&mut join);
    let told = ask(&mut line, ms(0), &mut [&mut first, &mut second, &mut third]);
    assert_eq!(told, [None, Some(200), Some(300)], "one call each, and the tokens of all before");
    assert_eq!(ask(&mut line, ms(200), &mut [&mut second, &mut third]), [None, Some(300)]);
    assert_eq!(ask(&mut line, ms(300), &mut [&mut third]), [None]);
    assert_eq!(line.available(ms(400)), [1, 10]);
}

#[test]
fn true_costs_are_settled_and_those_behind_move_forward() {
    let mut line = empty(10);
    let mut held = join(&mut line, 10);
    assert_eq!(ask(&mut line, ms(1000), &mut [&mut held]), [None]);
    let mut behind = line.join(ms(1000), 5.into()).unwrap();
    assert_eq!(ask(&mut line, ms(1000), &mut [&mut behind]), [Some(1500)]);
    line.commit(ms(1000), held.into_granted().unwrap(), [8]);
    assert_eq!(ask(&mut line, ms(1000), &mut [&mut behind]), [Some(1300)]);
    assert_eq!(ask(&mut line, ms(1300), &mut [&mut behind]), [None]);
    line.commit(ms(1300), behind.into_granted().unwrap(), [6]);
    let refused = line.join(ms(1300), Demand::of([1]).before(ms(1400))).unwrap_err();
    assert_eq!(refused, Refusal::NotYet { retry_at: ms(1500) }, "one more was used than acquired");
}

#[test]
fn ut_09_execute_runs_after_exactly_the_wait() {
    use steadfast_core::time::{Clock, ManualClock};

    let clock = ManualClock::new();
    let limit = crate::RateLimit::new(Quota::per_second(10).unwrap(), &clock);
    for want in [0, 100, 200] {
        let ran_at = clock.drive(limit.execute(1, async { clock.now() }));
        assert_eq!(ran_at, Some(Ok(ms(want))));
    }
}
