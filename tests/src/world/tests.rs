use super::script::{Condition, Phase, Script};
use super::server::{Fate, Server, Service, Shift};
use super::*;

/// `millis` since the epoch.
fn at(millis: u64) -> Instant {
    Instant::EPOCH + super::millis(millis)
}

/// Attempts at a server with two slots of 100 ms and a line of one, 5 ms away, in this condition from 1 s to 2 s: when
/// each arrives, when its answer does (`None` for never), and what becomes of it.
fn check(condition: Condition, attempts: &[(u64, Option<u64>, Fate)]) {
    let server = Server::with_slots(2).service(Service::Constant(millis(100))).queue(1).latency(millis(5));
    let mut script = Script::default();
    script.add(Phase { from: at(1_000), until: at(2_000), condition });
    let mut shift = Shift::new(&server, &script, Rng::with_seed(0));
    for (index, &(arrives, answered, fate)) in attempts.iter().enumerate() {
        let answer = shift.offer(at(arrives));
        let got = (answer.at, answer.fate);
        assert_eq!(got, (answered.map_or(Instant::MAX, at), fate), "{condition:?}, attempt {index} at {arrives}");
    }
}

#[test]
fn attempts_are_served_in_turn_and_a_full_line_turns_away() {
    use Fate::{Served, TurnedAway};
    let well = Condition::Slow { times: 1 };
    check(
        well,
        &[
            (0, Some(105), Served),
            (10, Some(115), Served),
            (20, Some(205), Served), // Waits for the first slot.
            (30, Some(35), TurnedAway),
            (99, Some(104), TurnedAway),
            (100, Some(215), Served), // The line has moved up; the second slot is free at 110.
            (500, Some(605), Served),
        ],
    );
}

#[test]
fn an_outage_takes_with_it_what_is_under_way() {
    use Fate::{Lost, Refused, Served};
    check(
        Condition::Refuses,
        &[
            (900, Some(1_005), Served), // Done as the outage begins.
            (901, Some(1_005), Lost),   // Cut off.
            (950, Some(1_005), Lost),   // Would have been begun at 1,000.
            (1_000, Some(1_005), Refused),
            (1_999, Some(2_004), Refused),
            (2_000, Some(2_105), Served), // The line is empty again.
            (2_001, Some(2_106), Served),
        ],
    );
    check(
        Condition::Hangs,
        &[(901, None, Lost), (1_000, None, Lost), (1_999, None, Lost), (2_000, Some(2_105), Served)],
    );
}

#[test]
fn conditions_fail_slow_down_and_throttle() {
    use Fate::{Failed, Served, Throttled};
    check(Condition::Fails { percent: 100 }, &[(999, Some(1_104), Served), (1_000, Some(1_105), Failed)]);
    check(Condition::Fails { percent: 0 }, &[(1_000, Some(1_105), Served)]);
    // It slows down what it begins, not what it has begun.
    check(Condition::Slow { times: 3 }, &[(999, Some(1_104), Served), (1_000, Some(1_305), Served)]);
    check(
        Condition::Throttles { per_second: 1, retry_after: seconds(9) },
        &[(999, Some(1_104), Served), (1_000, Some(1_105), Served), (1_999, Some(2_004), Throttled)],
    );
    // At first a quarter of the work per time, and half of it a third of the way.
    check(Condition::Cold { percent: 25 }, &[(1_000, Some(1_405), Served), (2_000, Some(2_105), Served)]);
    let phase = Phase { from: at(0), until: at(3_000), condition: Condition::Cold { percent: 25 } };
    assert_eq!(phase.stretched(at(1_000), millis(100)), millis(200));
}

#[test]
fn of_phases_that_overlap_the_last_holds() {
    let mut script = Script::default();
    script.add(Phase { from: at(10), until: at(90), condition: Condition::Hangs });
    script.add(Phase { from: at(50), until: at(60), condition: Condition::Fails { percent: 50 } });
    let holds = |millis| script.at(at(millis)).map(|phase| phase.condition);
    for (millis, want) in [
        (9, None),
        (10, Some(Condition::Hangs)),
        (50, Some(Condition::Fails { percent: 50 })),
        (60, Some(Condition::Hangs)),
        (90, None),
    ] {
        assert_eq!(holds(millis), want, "at {millis} ms");
    }
    assert_eq!((script.outage(), script.end()), (Some((at(10), at(90))), at(90)));
}
