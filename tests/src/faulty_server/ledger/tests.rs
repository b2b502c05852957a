use super::{Answer, Duration, Fault, Instant, Ledger, RETRY_AFTER, Settings};
use crate::faulty_server::Faults;

const ONE_NANO: Duration = Duration::from_nanos(1);

fn ledger(settings: Settings) -> (Ledger, Instant) {
    let start = Instant::now();
    (Ledger::new(settings, start), start)
}

/// The answers to requests for `paths`, one after the other, without a rate limit.
fn answers(settings: Settings, paths: &[&str]) -> Vec<Answer> {
    let (mut ledger, now) = ledger(Settings { burst: u32::MAX, ..settings });
    paths.iter().map(|path| ledger.receive(now, path)).collect()
}

#[test]
fn the_rate_limit_admits_its_burst_and_then_its_rate() {
    let (mut ledger, start) =
        ledger(Settings { faults: Faults::NONE, requests_per_second: 10, burst: 3, ..Settings::default() });
    for (at_millis, want) in [
        (0, Answer::InFull),
        (0, Answer::InFull),
        (0, Answer::InFull),
        (0, Answer::Rejected),
        (99, Answer::Rejected),
        (101, Answer::InFull),
        (102, Answer::Rejected),
        (60_000, Answer::InFull),
        (60_000, Answer::InFull),
        (60_000, Answer::InFull),
        (60_000, Answer::Rejected),
    ] {
        assert_eq!(ledger.receive(start + Duration::from_millis(at_millis), "/a"), want, "at {at_millis} ms");
    }
    assert_eq!(ledger.report().peak_per_second, 7);
    assert_eq!(ledger.report().admitted_peak_per_second, 4);
}

#[test]
fn a_retry_is_early_until_its_retry_after_has_passed() {
    for (after, early) in [(Duration::ZERO, 1), (RETRY_AFTER - ONE_NANO, 1), (RETRY_AFTER, 0)] {
        let (mut ledger, start) = ledger(Settings { burst: 0, ..Settings::default() });
        assert_eq!(ledger.receive(start, "/a"), Answer::Rejected);
        assert_eq!(ledger.report().early_retries, 0);

        ledger.receive(start + after, "/b");
        assert_eq!(ledger.report().early_retries, 0, "another path was given no Retry-After");

        ledger.receive(start + after, "/a");
        assert_eq!(ledger.report().early_retries, early, "after {after:?}");
    }
}

#[test]
fn faults_depend_on_the_seed_and_the_path_but_not_on_the_order_of_arrival() {
    let settings = Settings { seed: 1, faults: Faults { unavailable: 50, ..Faults::NONE }, ..Settings::default() };
    let in_turn = answers(settings, &["/a"; 50]);
    let mixed = answers(settings, &["/b", "/a"].repeat(50));
    assert_eq!(in_turn, mixed.into_iter().skip(1).step_by(2).collect::<Vec<_>>());

    assert_ne!(in_turn, answers(settings, &["/b"; 50]));
    assert_ne!(in_turn, answers(Settings { seed: 2, ..settings }, &["/a"; 50]));
}

#[test]
fn faults_are_not_moved_by_a_429() {
    let settings = Settings { seed: 1, faults: Faults { reset: 50, ..Faults::NONE }, ..Settings::default() };
    let (mut ledger, start) = ledger(Settings { requests_per_second: 1, burst: 1, ..settings });
    let mut admitted = Vec::new();
    for second in 0..50 {
        let now = start + Duration::from_secs(second);
        admitted.push(ledger.receive(now, "/a"));
        assert_eq!(ledger.receive(now, "/a"), Answer::Rejected);
    }
    assert_eq!(admitted, answers(settings, &["/a"; 50]));
}

#[test]
fn no_path_fails_more_often_in_a_row_than_it_may() {
    for most_failures_in_a_row in [0, 1, 2, 5] {
        let settings =
            Settings { faults: Faults { stall: 100, ..Faults::NONE }, most_failures_in_a_row, ..Settings::default() };
        let mut round = vec![Answer::Fails(Fault::Stall); most_failures_in_a_row as usize];
        round.push(Answer::InFull);
        assert_eq!(answers(settings, &vec!["/a"; 3 * round.len()]), round.repeat(3));
    }
}

#[test]
fn each_fault_gets_its_share() {
    let paths: Vec<_> = (0..10_000).map(|id| format!("/items/{id}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let faults = Faults { unavailable: 10, reset: 5, cut_short: 20, stall: 1 };
    let answers = answers(Settings { faults, ..Settings::default() }, &paths);
    for (fault, percent) in [(Fault::Unavailable, 10), (Fault::Reset, 5), (Fault::CutShort, 20), (Fault::Stall, 1)] {
        let count = answers.iter().filter(|answer| **answer == Answer::Fails(fault)).count();
        // Four standard deviations of a draw of 10,000, at the most uneven of these shares.
        assert!(count.abs_diff(percent * 100) <= 160, "{fault:?}: {count} of 10000");
    }
}

#[test]
fn other_settings_hold_from_the_next_request_on() {
    let (mut ledger, now) = ledger(Settings { faults: Faults::NONE, burst: 1, ..Settings::default() });
    let broken = Settings { faults: Faults { reset: 100, ..Faults::NONE }, burst: 1, ..Settings::default() };
    assert_eq!(ledger.receive(now, "/a"), Answer::InFull);
    ledger.change(broken, now);
    assert_eq!(ledger.receive(now, "/a"), Answer::Fails(Fault::Reset));
    assert_eq!(ledger.receive(now, "/a"), Answer::Rejected, "the new burst is spent");
}
