//! Scripts for the line as a state machine. Its futures, mass and threads are tried in the package `steadfast-tests`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;
use std::time::Duration;

use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::limits::{Admission, Counts, Learned, Limiter, Reconfigure, Remaining, Told};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::rate_limit::RateLimits;

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
        Admission::WaitForSlot(at_latest) => Some(at_latest.as_nanos() / 1_000_000),
        Admission::Refused(refusal) => panic!("{refusal}"),
    };
    tickets.iter_mut().map(stand).collect()
}

/// What a ticket was granted.
fn granted<const K: usize>(ticket: Ticket<K>) -> Granted<K> {
    match ticket.0 {
        Standing::Granted(grant) => grant,
        other => panic!("{other:?}"),
    }
}

/// What becomes of a ticket in the end.
type End = fn(&mut Line, Ticket);

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

/// Who joins at `at` grants this many others, on the way to its place or to what is there.
#[track_caller]
fn check_newcomer(line: &mut Line, at: u64, granted: usize, told: Option<u64>) {
    let mut newcomer = line.join(ms(at), 1.into()).unwrap();
    assert_eq!(line.granted.len(), granted);
    assert_eq!(ask(line, ms(at), &mut [&mut newcomer]), [told]);
}

#[test]
fn whoever_joins_grants_those_whose_turn_has_come() {
    let mut line = empty(3);
    let _first = join(&mut line, 1);
    check_newcomer(&mut line, 99, 0, Some(200));
    check_newcomer(&mut line, 100, 1, Some(300));

    // Also where it has come before the time that the first was told.
    let mut line = empty(3);
    let heavy = join(&mut line, 3);
    let _light = join(&mut line, 1);
    line.leave(ms(150), heavy);
    check_newcomer(&mut line, 150, 1, Some(200));

    // What nobody asked for is nobody's once it has come in again, though nobody waits.
    let mut line = empty(1);
    let _first = join(&mut line, 1);
    line.serve(ms(100));
    assert_eq!(line.granted.len(), 1);
    check_newcomer(&mut line, 200, 0, None);
}

#[test]
fn what_is_there_goes_to_nobody_too_late_and_to_the_most_urgent() {
    let mut line = Line::new(Quota::per_second(10).and_then(|quota| quota.with_burst(3)).unwrap());
    for deadline in [4, 5] {
        let late = line.join(ms(5), Demand::of([1]).before(ms(deadline))).unwrap_err();
        assert_eq!(late, Refusal::NotYet { retry_at: ms(5) + Duration::from_nanos(1) });
    }
    let in_time = line.join(ms(5), Demand::of([3]).before(ms(6))).unwrap();
    assert!(matches!(in_time.0, Standing::Granted(_)));

    let heavy = line.join(ms(5), 3.into()).unwrap();
    let urgent = line.join(ms(105), Demand::of([1]).with_priority(1)).unwrap();
    assert!(matches!((heavy.0, urgent.0), (Standing::Waiting(..), Standing::Granted(_))));
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
fn a_block_and_whatever_else_concerns_everybody_wakes_them_all() {
    let mut line = empty(2);
    let (mut first, mut second) = (join(&mut line, 1), join(&mut line, 1));
    let wakes = [watched(&mut line, &first), watched(&mut line, &second)];
    line.wake_everybody();
    assert_eq!(wakes.each_ref().map(|wakes| woken(&mut line, wakes)), [1, 1]);
    assert_eq!(ask(&mut line, ms(0), &mut [&mut first, &mut second]), [Some(100), Some(200)], "as they were told");
    let wakes = [watched(&mut line, &first), watched(&mut line, &second)];
    line.block_until(ms(1000));
    assert_eq!(wakes.each_ref().map(|wakes| woken(&mut line, wakes)), [1, 1]);
    assert_eq!(
        ask(&mut line, ms(0), &mut [&mut first, &mut second]),
        [Some(1000), Some(1100)],
        "and learn another time"
    );
}

#[test]
fn what_somebody_else_was_granted_is_not_for_the_more_urgent() {
    let mut line = empty(2);
    let (mut late, mut behind) = (join(&mut line, 1), join(&mut line, 1));
    assert_eq!(ask(&mut line, ms(100), &mut [&mut behind]), [Some(200)], "this grants the late one");
    let mut urgent = line.join(ms(110), Demand::of([2]).with_priority(9)).unwrap();
    assert_eq!(ask(&mut line, ms(250), &mut [&mut late, &mut urgent]), [None, Some(350)], "it counts as of now");
}

#[test]
fn those_who_become_the_first_are_woken_unless_it_is_they_who_ask() {
    for (weights, asks, want) in [(&[1, 2, 1, 1][..], 3, &[1, 0, 1, 0][..]), (&[1, 2, 1], 2, &[1, 0, 0])] {
        let mut line = empty(3);
        let mut tickets: Vec<_> = weights.iter().map(|weight| join(&mut line, *weight)).collect();
        let wakes: Vec<_> = tickets.iter().map(|ticket| watched(&mut line, ticket)).collect();
        // The second leaves, so that those behind it have later times to go by than need be.
        let leaver = std::mem::replace(&mut tickets[1], Ticket(Standing::Refused(Refusal::not_yet(None))));
        line.leave(ms(0), leaver);
        ask(&mut line, ms(100), &mut [&mut tickets[asks]]);
        let woken: Vec<_> = wakes.iter().map(|wakes| woken(&mut line, wakes)).collect();
        assert_eq!(woken, want, "{asks} asks");
    }
}

#[test]
fn nobody_is_woken_by_the_end_of_what_frees_nothing() {
    let ends: [End; 2] = [
        |line, ticket| line.abandon(ms(50), ticket),
        |line, ticket| {
            line.finish(ms(50), ticket, OutcomeKind::Success);
        },
    ];
    for end in ends {
        let mut line = Line::new(Quota::per_second(10).unwrap());
        let (runs, waits) = (join(&mut line, 1), join(&mut line, 1));
        let wakes = watched(&mut line, &waits);
        end(&mut line, runs);
        assert_eq!(woken(&mut line, &wakes), 0);
    }
}

#[test]
fn a_line_says_its_settings_and_what_the_server_told() {
    let line = told_by_the_server();
    assert_eq!(line.to_string(), line.limits().to_string());
    assert!(line.server_limits().is_some_and(|server| !server.knows_any()) && empty(1).server_limits().is_none());
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
    assert_eq!(line.poll(ms(10), &mut heavy), Admission::Refused(Refusal::Never { tokens: 2, burst: 1 }.into()));
    assert_eq!(ask(&mut line, ms(10), &mut [&mut last]), [Some(110)]);
    line.leave(ms(10), heavy);
    assert_eq!(ask(&mut line, ms(110), &mut [&mut last]), [None]);
    assert!(line.is_empty());
    line.set_quota(ms(110), 7, Quota::per_second(1).unwrap()); // There is no such limit.
}

#[test]
fn who_asks_for_too_much_under_another_quota_learns_it_at_once_from_anywhere_in_line() {
    let ways: [fn(&mut Line, Quota); 2] = [
        |line, quota| line.set_quota(ms(0), 0, quota),
        |line, quota| line.reconfigure(ms(0), &Limits::from(TokenBucket::new(quota))),
    ];
    for change in ways {
        let mut line = empty(2);
        let [mut light, mut heavy, mut last] = [1, 2, 1].map(|tokens| join(&mut line, tokens));
        let wakes = [&light, &heavy, &last].map(|ticket| watched(&mut line, ticket));
        change(&mut line, Quota::per_second(5).unwrap());
        assert_eq!(wakes.each_ref().map(|wakes| woken(&mut line, wakes)), [1, 1, 0], "and the first its time");
        assert_eq!(line.poll(ms(0), &mut heavy), Admission::Refused(Refusal::Never { tokens: 2, burst: 1 }.into()));
        assert_eq!(ask(&mut line, ms(0), &mut [&mut light]), [Some(200)]);
        assert_eq!(ask(&mut line, ms(200), &mut [&mut light, &mut last]), [None, Some(400)]);
    }
    let line = empty(2);
    assert!(line.accepts(&Limits::none()).is_err(), "limits can neither come nor go");
    assert_eq!(line.accepts(&Limits::from(TokenBucket::new(Quota::per_second(5).unwrap()))), Ok(()));
}

#[test]
fn several_limits_are_waited_for_together() {
    let quota = |tokens, burst| Quota::per_second(tokens).and_then(|quota| quota.with_burst(burst)).unwrap();
    let limits = || RateLimits::new([quota(10, 1), quota(100, 50)]);
    let mut line = Line::before(Limits::<2>::none().with_rate_limits(limits(), [Counts::Calls, Counts::Weight]));
    let mut join = |tokens| Limiter::join(&mut line, ms(0), tokens, 0, Instant::MAX).unwrap();
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
    line.commit(ms(1000), granted(held), [8]);
    assert_eq!(ask(&mut line, ms(1000), &mut [&mut behind]), [Some(1300)]);
    assert_eq!(ask(&mut line, ms(1300), &mut [&mut behind]), [None]);
    line.commit(ms(1300), granted(behind), [6]);
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

/// So many slots, with leases of ten seconds, and a bucket of ten a second.
fn slots(slots: u32, burst: u32) -> Line {
    let bucket = TokenBucket::new(Quota::per_second(10).and_then(|quota| quota.with_burst(burst)).unwrap());
    let limit = ConcurrencyLimit::fixed(slots).lease(Duration::from_secs(10)).build().unwrap();
    Line::before(Limits::from(bucket).with_concurrency_limit(limit))
}

/// A waker that counts, left with a ticket that waits.
fn watched(line: &mut Line, ticket: &Ticket) -> Arc<Wakes> {
    let wakes = Arc::new(Wakes::default());
    line.watch(ticket, &Arc::clone(&wakes).into());
    wakes
}

fn wake_all(line: &mut Line) {
    while let Some(due) = line.next_woken() {
        due.let_go();
    }
}

#[test]
fn a_slot_goes_to_the_first_in_line() {
    let mut line = slots(1, 5);
    let (runs, mut second, mut third) = (join(&mut line, 1), join(&mut line, 1), join(&mut line, 1));
    assert_eq!(line.poll(ms(0), &mut second), Admission::WaitForSlot(ms(20_000)), "if the permit is lost");
    assert_eq!(ask(&mut line, ms(0), &mut [&mut third]), [Some(20_000)]);
    let wakes = [watched(&mut line, &second), watched(&mut line, &third)];
    assert_eq!(line.finish(ms(7), runs, OutcomeKind::Success), Learned::NOTHING);
    wake_all(&mut line);
    assert_eq!(wakes.each_ref().map(|wakes| wakes.0.load(Ordering::Relaxed)), [1, 0]);
    // Whoever asks, it is the second's.
    assert_eq!(ask(&mut line, ms(7), &mut [&mut third, &mut second]), [Some(20_000), None]);
    line.leave(ms(8), second);
    assert_eq!(ask(&mut line, ms(8), &mut [&mut third]), [None]);
    line.abandon(ms(9), third);
    assert!(line.is_empty() && line.limits().concurrency_limit().unwrap().in_flight() == 0);
}

#[test]
fn who_waits_for_a_slot_holds_no_tokens() {
    let mut line = slots(1, 1);
    let runs = join(&mut line, 1);
    let mut second = join(&mut line, 1);
    // The token came in at 100, and nobody has it: the slot is taken.
    assert_eq!(line.poll(ms(500), &mut second), Admission::WaitForSlot(ms(20_000)));
    assert_eq!(line.limits().available(ms(500)), [1]);
    line.finish(ms(600), runs, OutcomeKind::Success);
    assert_eq!(line.poll(ms(600), &mut second), Admission::Granted);
    // And the other way round: the slot comes free before the next token is there.
    let mut third = join(&mut line, 1);
    assert_eq!(line.poll(ms(650), &mut third), Admission::WaitForSlot(ms(20_000)));
    let wakes = watched(&mut line, &third);
    line.finish(ms(650), second, OutcomeKind::Success);
    wake_all(&mut line);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "to learn that it is the token now");
    assert_eq!(line.poll(ms(650), &mut third), Admission::Wait(ms(700)));
    assert_eq!(line.poll(ms(700), &mut third), Admission::Granted);
}

#[test]
fn a_forgotten_waiter_costs_its_slot_until_its_lease_ends() {
    let mut line = slots(1, 5);
    let runs = join(&mut line, 1);
    let (_forgotten, mut behind) = (join(&mut line, 1), join(&mut line, 1));
    line.finish(ms(1_000), runs, OutcomeKind::Success);
    let [Some(until)] = ask(&mut line, ms(1_000), &mut [&mut behind])[..] else { panic!("it overtook") };
    assert!((11_000..=21_000).contains(&until), "{until}");
    assert_eq!(ask(&mut line, ms(until), &mut [&mut behind]), [None]);
}

#[test]
fn a_slot_that_nobody_asks_for_is_free_again_when_its_lease_ends() {
    let limit = ConcurrencyLimit::fixed(1).lease(Duration::from_secs(10)).build().unwrap();
    let mut line: Line<0> = Line::before(Limits::none().with_concurrency_limit(limit));
    let mut join = || line.join(ms(0), Demand::of([])).unwrap();
    let (runs, _forgotten, mut behind) = (join(), join(), join());
    line.finish(ms(7_000), runs, OutcomeKind::Success);
    for (now, want) in [(7_001, 1), (16_999, 1), (17_000, 0)] {
        line.serve(ms(now));
        assert_eq!(line.granted.len(), want, "{now}");
    }
    assert_eq!(ask(&mut line, ms(17_000), &mut [&mut behind]), [None]);
}

#[test]
fn a_wait_for_a_slot_is_not_refused_for_its_length() {
    let mut line = slots(1, 5);
    let _runs = join(&mut line, 1);
    // Nobody knows how long it takes, so the deadline is no reason to refuse it now.
    let mut waits = line.join(ms(0), Demand::of([1]).before(ms(50))).unwrap();
    assert_eq!(line.poll(ms(0), &mut waits), Admission::WaitForSlot(ms(20_000)));
}

#[test]
fn more_slots_reach_those_who_wait() {
    let mut line = slots(1, 5);
    let _runs = join(&mut line, 1);
    let mut waits = join(&mut line, 1);
    let wakes = watched(&mut line, &waits);
    assert!(line.set_concurrency_bounds(ms(0), 0, 2).is_err());
    line.set_concurrency_bounds(ms(0), 2, 2).unwrap();
    wake_all(&mut line);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(line.poll(ms(0), &mut waits), Admission::Granted);
}

#[test]
fn an_adaptive_rate_is_waited_for_in_order() {
    let mut rate = steadfast_core::rate_limit::AdaptiveRate::new(ms(0));
    rate.record(ms(0), 1, OutcomeKind::Throttled);
    let mut line: Line = Line::before(Limits::none().with_adaptive_rate(rate));
    let (mut first, mut second) = (join(&mut line, 1), join(&mut line, 1));
    assert_eq!(ask(&mut line, ms(0), &mut [&mut second, &mut first]), [Some(2_000), Some(2_000)]);
    assert_eq!(ask(&mut line, ms(2_000), &mut [&mut second, &mut first]), [Some(4_000), None]);
    assert_eq!(ask(&mut line, ms(4_000), &mut [&mut second]), [None]);
}

/// A line with nothing before it but what the server tells.
fn told_by_the_server() -> Line {
    Line::before(Limits::none()).with_server_limits(ServerLimits::new())
}

fn calls_left(left: u32, reset_in: u64) -> Told {
    let reset_in = Duration::from_millis(reset_in);
    Told::from_iter([Remaining { which: 0, counts: Counts::Calls, left, reset_in }])
}

#[test]
fn what_a_server_tells_holds_back_everybody_in_their_order() {
    let mut line = told_by_the_server();
    let asks = join(&mut line, 1);
    assert_eq!(line.tell(ms(0), &asks, &calls_left(1, 1000)), None);
    let [mut goes, mut waits, mut waits_too, urgent] = [(); 4].map(|()| join(&mut line, 1));
    line.finish(ms(0), asks, OutcomeKind::Success);
    assert_eq!(ask(&mut line, ms(1), &mut [&mut waits_too, &mut waits, &mut goes]), [Some(1000), Some(1000), None]);
    line.finish(ms(2), goes, OutcomeKind::Success);
    line.leave(ms(3), urgent);
    // One asks what the reset has brought, and the other waits for its answer and not for the clock.
    assert_eq!(ask(&mut line, ms(1000), &mut [&mut waits_too, &mut waits]), [Some(120_000), None]);
    let wakes = watched(&mut line, &waits_too);
    assert_eq!(line.tell(ms(1100), &waits, &calls_left(1, 900)), None);
    assert_eq!(woken(&mut line, &wakes), 1);
    assert_eq!(ask(&mut line, ms(1100), &mut [&mut waits_too]), [None]);
    let mut next = join(&mut line, 1);
    assert_eq!(ask(&mut line, ms(1100), &mut [&mut next]), [Some(2000)]);
}

#[test]
fn what_was_not_sent_is_left_for_the_next_and_what_may_have_been_is_not() {
    let ends: [(End, _); 3] = [
        (|line, ticket| line.leave(ms(1), ticket), None),
        (|line, ticket| line.commit(ms(1), granted(ticket), [0]), None),
        (|line, ticket| line.commit(ms(1), granted(ticket), [1]), Some(1000)),
    ];
    for (end, want) in ends {
        let mut line = told_by_the_server();
        let tells = join(&mut line, 1);
        assert_eq!(line.tell(ms(0), &tells, &calls_left(1, 1000)), None);
        line.finish(ms(0), tells, OutcomeKind::Success);
        let takes_the_last = join(&mut line, 1);
        end(&mut line, takes_the_last);
        let mut next = join(&mut line, 1);
        assert_eq!(ask(&mut line, ms(1), &mut [&mut next]), [want]);
    }
}

#[test]
fn one_who_asks_after_a_reset_lets_the_next_ask_however_it_ends() {
    let ends: [End; 3] = [
        |line, ticket| line.abandon(ms(1100), ticket),
        |line, ticket| line.leave(ms(1100), ticket),
        |line, ticket| {
            line.finish(ms(1100), ticket, OutcomeKind::Transient);
        },
    ];
    for end in ends {
        let mut line = told_by_the_server();
        let tells = join(&mut line, 1);
        assert_eq!(line.tell(ms(0), &tells, &calls_left(0, 1000)), Some(ms(1000)));
        line.finish(ms(0), tells, OutcomeKind::Throttled);
        let [mut asks, mut waits] = [(); 2].map(|()| join(&mut line, 1));
        assert_eq!(ask(&mut line, ms(1000), &mut [&mut asks, &mut waits]), [None, Some(120_000)]);
        let wakes = watched(&mut line, &waits);
        end(&mut line, asks);
        assert_eq!(woken(&mut line, &wakes), 1);
        assert_eq!(ask(&mut line, ms(1100), &mut [&mut waits]), [None]);
    }
}

/// How often it was woken, with everybody who is due.
fn woken(line: &mut Line, wakes: &Wakes) -> u32 {
    std::iter::from_fn(|| line.next_woken()).for_each(Woken::let_go);
    wakes.0.load(Ordering::Relaxed)
}

#[test]
fn what_was_granted_to_nobody_yet_is_taken_back_when_nothing_is_left() {
    let mut line =
        Line::before(TokenBucket::new(Quota::per_second(10).unwrap())).with_server_limits(ServerLimits::new());
    let tells = join(&mut line, 1);
    let (mut forgets, mut asks) = (join(&mut line, 1), join(&mut line, 1));
    // The last one's question grants the one before it, which does not ask.
    assert_eq!(ask(&mut line, ms(100), &mut [&mut asks]), [Some(200)]);
    assert_eq!(line.tell(ms(150), &tells, &calls_left(0, 1000)), Some(ms(1150)));
    line.finish(ms(150), tells, OutcomeKind::Success);
    assert_eq!(ask(&mut line, ms(160), &mut [&mut forgets, &mut asks]), [Some(1150), Some(1150)]);
    assert_eq!(ask(&mut line, ms(1150), &mut [&mut forgets]), [None]);
}
