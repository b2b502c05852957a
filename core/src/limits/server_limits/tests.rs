//! Scripts of one client and what its server tells. `tests/tests/server_limits.rs` has the server to go with it.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What happens at some time. Attempts are counted from 0, in the order in which they were admitted.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// An attempt is admitted, with this weight.
    Goes(u32),
    /// One with this weight is held back until then.
    Held(u32, u64),
    /// One with this weight has to wait until an attempt has ended, at this time at the latest.
    Waits(u32, u64),
    /// The response to an attempt says how many calls are left for how long.
    Says(usize, u32, u64),
    /// The same, of the weight, under another number.
    SaysWeight(usize, u32, u64),
    Ends(usize, OutcomeKind),
    GivenUp(usize),
    /// It was not sent.
    Back(usize),
    /// Nobody will ever say what became of it.
    Forgotten(usize),
}

use Does::{Back, Ends, Forgotten, GivenUp, Goes, Held, Says, SaysWeight, Waits};
use OutcomeKind::{Permanent, Success, Throttled, Transient};

#[track_caller]
fn check(script: &[(u64, Does)]) {
    play(ServerLimits::new(), script);
}

#[track_caller]
fn play(mut limits: ServerLimits, script: &[(u64, Does)]) -> ServerLimits {
    let mut sent: Vec<Option<Sent>> = Vec::new();
    for (line, (at, does)) in script.iter().enumerate() {
        let now = ms(*at);
        match *does {
            Goes(weight) => {
                let admitted = limits.try_acquire(now, weight);
                sent.push(Some(admitted.unwrap_or_else(|missing| panic!("line {line}: {missing:?}"))));
            }
            Held(weight, until) => {
                let missing = limits.try_acquire(now, weight).unwrap_err();
                assert_eq!(missing, Missing::Tokens(ms(until)), "line {line}");
            }
            Waits(weight, at_latest) => {
                let missing = limits.try_acquire(now, weight).unwrap_err();
                assert_eq!(missing, Missing::Slot(ms(at_latest)), "line {line}");
            }
            Says(which, left, reset_in) => tell(&mut limits, now, &sent[which], Counts::Calls, left, reset_in),
            SaysWeight(which, left, reset_in) => tell(&mut limits, now, &sent[which], Counts::Weight, left, reset_in),
            Ends(which, outcome) => limits.finish(taken(&mut sent, which), outcome),
            GivenUp(which) => limits.abandon(taken(&mut sent, which)),
            Back(which) => limits.give_back(taken(&mut sent, which)),
            Forgotten(which) => drop(taken(&mut sent, which)),
        }
    }
    limits
}

fn taken(sent: &mut [Option<Sent>], which: usize) -> Sent {
    sent[which].take().expect("not handed back yet")
}

fn tell(limits: &mut ServerLimits, now: Instant, sent: &Option<Sent>, counts: Counts, left: u32, reset_in: u64) {
    let which = u32::from(counts == Counts::Weight);
    let told = Remaining { which, counts, left, reset_in: millis(reset_in) };
    limits.tell(now, sent.as_ref().expect("still under way"), &Told::from_iter([told]));
}

#[test]
fn never_more_than_is_left() {
    check(&[
        (0, Goes(1)),
        (1, Says(0, 2, 999)),
        (1, Ends(0, Success)),
        (2, Goes(1)),
        (2, Goes(1)),
        (2, Held(1, 1000)),
        // Their answers say what is known.
        (5, Says(1, 1, 995)),
        (5, Ends(1, Success)),
        (6, Held(1, 1000)),
    ]);
}

#[test]
fn what_is_under_way_is_taken_off() {
    check(&[
        (0, Goes(1)),
        (0, Goes(1)),
        (0, Goes(1)),
        (5, Says(0, 3, 995)),
        (5, Ends(0, Success)),
        (6, Goes(1)),
        (6, Held(1, 1000)),
        // This one was sent beside the others, and says nothing that was not feared. It was answered all the same.
        (7, Says(1, 2, 993)),
        (7, Ends(1, Success)),
        (7, Held(1, 1000)),
    ]);
}

#[test]
fn an_answer_to_a_request_that_set_out_later_is_the_newer_one() {
    check(&[
        (0, Goes(1)),
        (0, Goes(1)),
        (5, Says(0, 9, 60_000)),
        (5, Ends(0, Success)),
        // Eight others can go, and one does, that is told that somebody else has used up the rest.
        (6, Goes(1)),
        (7, Says(2, 0, 60_000)),
        (7, Ends(2, Success)),
        (8, Held(1, 60_007)),
        // An answer that was overtaken changes nothing.
        (9, Says(1, 50, 59_000)),
        (9, Ends(1, Success)),
        (9, Held(1, 60_007)),
    ]);
    // Nor is it overtaken by one that only says what is known.
    check(&[
        (0, Goes(1)),
        (0, Says(0, 5, 60_000)),
        (0, Ends(0, Success)),
        (1, Goes(1)),
        (1, Goes(1)),
        (2, Says(1, 4, 59_998)), // Less the other that is under way: three are left, as by the account.
        (3, Says(2, 5, 59_997)),
        (4, Goes(4)),
        (4, Goes(4)),
        (4, Goes(4)),
        (4, Goes(4)),
        (4, Held(1, 60_000)),
    ]);
    // And one that is newer does, up and down.
    check(&[
        (0, Goes(1)),
        (1, Says(0, 5, 1000)),
        (1, Ends(0, Success)),
        (2, Goes(1)),
        (3, Says(1, 1, 300)),
        (3, Ends(1, Success)),
        (4, Goes(1)),
        (4, Held(1, 303)),
    ]);
}

#[test]
fn of_two_that_went_together_the_one_that_says_less_counts() {
    let together = [(0, Goes(1)), (0, Goes(1)), (0, Goes(1))];
    let check = |first: (u32, u64), second: (u32, u64), then: &[Does]| {
        let answers = [
            (1, Says(0, first.0, first.1)),
            (1, Says(1, second.0, second.1)),
            (1, Ends(0, Success)),
            (1, Ends(1, Success)),
            (1, Ends(2, Success)),
        ];
        let then: Vec<_> = then.iter().map(|does| (2, *does)).collect();
        check(&[&together[..], &answers[..], &then].concat());
    };
    // Less what was under way of the three. The other says no less than what is left by that account, and changes nothing.
    check((4, 5_000), (3, 5_500), &[Goes(1), Goes(1), Held(1, 5_501)]);
    check((4, 5_500), (9, 5_000), &[Goes(1), Goes(1), Held(1, 5_501)]);
    check((4, 5_000), (2, 5_000), &[Goes(1), Goes(1), Held(1, 5_001)]);
    // Somebody else has used it up meanwhile.
    check((9, 5_000), (4, 5_000), &[Goes(1), Goes(1), Held(1, 5_001)]);
    // Resets that are a second apart are of one window, and the later is that of all.
    check((9, 6_000), (4, 5_000), &[Goes(1), Goes(1), Held(1, 6_001)]);
    check((4, 5_000), (9, 6_000), &[Goes(1), Goes(1), Held(1, 6_001)]);
    // Resets that are further apart are of two windows, and the later is the one that counts.
    check((0, 1_000), (3, 60_000), &[Goes(1), Held(1, 60_001)]);
    check((3, 60_000), (0, 1_000), &[Goes(1), Held(1, 60_001)]);
}

#[test]
fn an_account_is_kept_while_many_are_under_way() {
    let mut script = vec![(0, Goes(1)), (0, Says(0, 20, 60_000)), (0, Ends(0, Success))];
    script.extend([(1, Goes(1)); 10]);
    // Each answer knows of some of those under way, and nobody knows which.
    script.extend((1..11).flat_map(|which| [(2, Says(which, 15, 60_000)), (2, Ends(which, Success))]));
    script.extend([(3, Goes(1)); 10]);
    script.push((3, Held(1, 60_002)));
    check(&script);
}

#[test]
fn never_early() {
    check(&[
        (0, Goes(1)),
        (1, Says(0, 0, 1000)),
        (1, Ends(0, Throttled)),
        (2, Held(1, 1001)),
        (1000, Held(1, 1001)),
        (1001, Goes(1)),
    ]);
    let limits = ServerLimits::new().with_longest_hold(millis(500)).unwrap();
    play(
        limits,
        &[(0, Goes(1)), (0, Says(0, 0, 31_536_000_000)), (0, Ends(0, Throttled)), (499, Held(1, 500)), (500, Goes(1))],
    );
    // Nor on a clock that steps back.
    let limits = ServerLimits::new().with_longest_hold(millis(500)).unwrap();
    play(
        limits,
        &[(9000, Goes(1)), (9000, Says(0, 0, 600)), (0, Held(1, 500)), (400, Held(1, 500)), (500, Waits(1, 120_000))],
    );
    let limits = play(ServerLimits::new(), &[(0, Goes(1)), (0, Says(0, 0, 31_536_000_000))]);
    assert_eq!(limits.held_until(), Some(Instant::EPOCH + Duration::from_secs(86_400)));
    assert_eq!(
        ServerLimits::new().with_longest_hold(Duration::ZERO).unwrap_err(),
        InvalidSetting::time("longest_hold", Duration::ZERO, "more than zero")
    );
}

#[test]
fn after_the_reset_one_asks_what_it_has_brought() {
    check(&[
        (0, Goes(1)),
        (0, Says(0, 1, 1000)),
        (0, Ends(0, Success)),
        (1, Goes(1)),
        (2, Ends(1, Success)),
        (1000, Goes(1)),
        (1001, Waits(1, 120_000)),
        (1002, Says(2, 2, 998)),
        (1002, Ends(2, Success)),
        (1003, Goes(1)),
        (1003, Goes(1)),
        (1003, Held(1, 2000)),
    ]);
    // What was left is there still, and goes at once.
    check(&[
        (0, Goes(1)),
        (0, Says(0, 2, 1000)),
        (0, Ends(0, Success)),
        (1500, Goes(1)),
        (1500, Goes(1)),
        (1500, Waits(1, 120_000)),
    ]);
}

#[test]
fn never_stuck() {
    let exhausted = [(0, Goes(1)), (0, Says(0, 0, 1000))];
    for (then, admits_at) in [
        (Some(Ends(1, Transient)), 2_000),
        (Some(Ends(1, Throttled)), 2_000),
        (Some(GivenUp(1)), 2_000),
        (Some(Back(1)), 2_000),
        (Some(Forgotten(1)), 120_000),
        (None, 120_000),
    ] {
        let mut script = exhausted.to_vec();
        script.extend([(0, Ends(0, Success)), (1000, Goes(1)), (1001, Waits(1, 120_000))]);
        script.extend(then.map(|then| (1500, then)));
        script.push((admits_at, Goes(1)));
        check(&script);
    }
    // What was sent belongs to its minute, and is waited for until the next is over.
    let over = [(0, Goes(1)), (0, Says(0, 0, 1000)), (0, Ends(0, Throttled))];
    check(&[&over[..], &[(60_000, Goes(1)), (60_000, Waits(1, 180_000))]].concat());
    let in_the_next = [(59_000, Goes(1)), (61_000, Waits(1, 120_000)), (61_000, Ends(1, Throttled)), (61_000, Goes(1))];
    check(&[&over[..], &in_the_next[..]].concat());
    // Not even one that weighs more than there ever is.
    check(&[
        (0, Goes(9)),
        (0, SaysWeight(0, 8, 1000)),
        (0, Ends(0, Success)),
        (1, Held(9, 1000)),
        (1, Goes(8)),
        (2, Ends(1, Transient)),
        (1000, Goes(u32::MAX)),
    ]);
}

#[test]
fn a_limit_that_is_spoken_of_no_more_is_forgotten() {
    for (outcome, next) in
        [(Success, Goes(1)), (Permanent, Goes(1)), (Throttled, Waits(1, 120_000)), (Transient, Waits(1, 120_000))]
    {
        check(&[
            (0, Goes(1)),
            (0, Goes(1)),
            (0, Says(0, 0, 1000)),
            (0, Ends(0, Throttled)),
            (1000, Waits(1, 120_000)),
            // Sent before the reset: it says nothing about what came after.
            (1001, Ends(1, Success)),
            (1002, Goes(1)),
            (1003, Ends(2, outcome)),
            (1004, Goes(1)),
            (1004, next),
        ]);
    }
    // Before the reset, silence means nothing.
    check(&[
        (0, Goes(1)),
        (0, Says(0, 1, 1000)),
        (0, Ends(0, Success)),
        (1, Goes(1)),
        (2, Ends(1, Success)),
        (3, Held(1, 1000)),
    ]);
    let mut limits = play(ServerLimits::new(), &[(0, Goes(1)), (0, Says(0, 0, 1000))]);
    limits.forget();
    play(limits, &[(1, Goes(1))]);
}

#[test]
fn what_was_lost_counts_until_the_next_answer_that_tells() {
    for lost in [GivenUp(1), Ends(1, Transient)] {
        check(&[
            (0, Goes(1)),
            (0, Goes(1)),
            (0, Ends(0, Success)),
            (1, lost),
            (2, Goes(1)),
            // It went after the other was given up, and may have overtaken it.
            (3, Says(2, 1, 1000)),
            (3, Ends(2, Success)),
            (4, Held(1, 1003)),
            (1003, Goes(1)),
            (1004, Says(3, 1, 1000)),
            (1004, Ends(3, Success)),
            (1005, Goes(1)),
            (1005, Held(1, 2004)),
        ]);
    }
}

#[test]
fn what_was_not_sent_comes_back() {
    check(&[
        (0, Goes(1)),
        (0, Goes(1)),
        (0, Says(0, 1, 1000)),
        (0, Held(1, 1000)),
        (1, Back(1)),
        (1, Goes(1)),
        (1, Held(1, 1000)),
    ]);
    // Where more were under way than were left, what comes back is not left for others.
    check(&[(0, Goes(1)), (0, Goes(1)), (0, Says(0, 0, 1000)), (1, Back(1)), (1, Held(1, 1000))]);
    // Nor what was taken for answered.
    check(&[
        (0, Goes(1)),
        (0, Says(0, 1, 300_000)),
        (0, Ends(0, Success)),
        (1, Goes(1)),
        (130_000, Held(1, 300_000)),
        (130_000, Back(1)),
        (130_000, Held(1, 300_000)),
    ]);
}

#[test]
fn calls_and_weight_are_counted_apart() {
    check(&[
        (0, Goes(10)),
        (0, Says(0, 2, 1000)),
        (0, SaysWeight(0, 100, 5000)),
        (0, Ends(0, Success)),
        (1, Held(101, 5000)),
        (1, Goes(60)),
        (1, Held(41, 5000)),
        (1, Goes(0)), // Whatever weighs nothing weighs one: somebody counts it.
        (1, Held(1, 1000)),
        (1000, Held(40, 5000)),
        (1000, Waits(39, 120_000)),
    ]);
}

#[test]
fn eight_limits_are_kept_and_those_that_hold_longest() {
    let mut limits = ServerLimits::new();
    let sent = limits.try_acquire(ms(0), 1).unwrap();
    let told = |which: u32, left| Remaining { which, counts: Counts::Calls, left, reset_in: millis(u64::from(which)) };
    // In any order; the last two find no place.
    let ten = [30, 10, 20, 50, 40, 80, 70, 60, 90, 100].map(|which| told(which, 0));
    assert_eq!(Told::from_iter(ten).iter().count(), 8);
    let [first @ .., ninth, tenth] = ten;
    assert_eq!(limits.tell(ms(0), &sent, &Told::from_iter(first)), Some(ms(80)));
    assert_eq!(limits.tell(ms(0), &sent, &Told::from_iter([ninth, tenth])), None, "they were held back already");
    let kept = |limits: &ServerLimits| {
        let mut kept: Vec<_> = limits.known.iter().flatten().map(|known| known.which).collect();
        kept.sort_unstable();
        kept
    };
    assert_eq!(kept(&limits), [30, 40, 50, 60, 70, 80, 90, 100]);
    assert!(limits.check(ms(40), 1).is_err());
    limits.tell(ms(40), &sent, &Told::from_iter([told(200, 9), told(300, 9), told(7, 0)]));
    assert_eq!(
        kept(&limits),
        [7, 50, 60, 70, 80, 90, 100, 300],
        "those that are over go first, then those with some left"
    );
}

#[test]
fn of_nine_limits_that_are_alike_the_first_is_forgotten() {
    let mut limits = ServerLimits::new();
    let sent = limits.try_acquire(ms(0), 1).unwrap();
    let told = |which| Remaining { which, counts: Counts::Calls, left: 0, reset_in: millis(9) };
    limits.tell(ms(0), &sent, &(0..8).map(told).collect());
    limits.tell(ms(0), &sent, &[told(8)].into_iter().collect());
    assert!(limits.known.iter().flatten().map(|known| known.which).eq([8, 1, 2, 3, 4, 5, 6, 7]));
}

#[test]
fn it_says_whether_it_knows_any_limit() {
    let mut limits = ServerLimits::new();
    let sent = limits.try_acquire(ms(0), 1).unwrap();
    assert!(!limits.knows_any());
    tell(&mut limits, ms(0), &Some(sent), Counts::Calls, 9, 9);
    assert!(limits.knows_any());
    limits.forget();
    assert!(!limits.knows_any());
}

#[test]
fn hostile_numbers_are_no_trouble() {
    let mut limits = ServerLimits::new();
    for now in [ms(0), Instant::MAX, ms(5), Instant::EPOCH, Instant::MAX] {
        for (left, reset_in) in [(0, Duration::MAX), (u32::MAX, Duration::ZERO), (1, Duration::from_nanos(1))] {
            let sent = limits.take(now, u32::MAX);
            let each = [(0, Counts::Calls), (0, Counts::Weight), (9, Counts::Weight)];
            let told = each.map(|(which, counts)| Remaining { which, counts, left, reset_in });
            limits.tell(now, &sent, &Told::from_iter(told));
            let _ = limits.check(now, 0);
            limits.finish(sent, Transient);
        }
    }
}

#[test]
fn limits_are_at_rest_when_the_last_reset_is_over() {
    let mut limits = ServerLimits::new();
    let now = Instant::EPOCH;
    assert_eq!(limits.at_rest_at(now), now);
    let sent = limits.try_acquire(now, 1).unwrap();
    let told = |which, secs| Remaining { which, counts: Counts::Calls, left: 9, reset_in: Duration::from_secs(secs) };
    assert_eq!(limits.tell(now, &sent, &Told::from_iter([told(0, 30), told(1, 7)])), None);
    limits.finish(sent, Success);
    assert_eq!(limits.at_rest_at(now), now + Duration::from_secs(30));
    let later = now + Duration::from_secs(30);
    assert!(limits.check(later, 1).is_ok());
    assert_eq!(limits.at_rest_at(later), later);
}
