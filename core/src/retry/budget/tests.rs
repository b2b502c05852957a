use super::*;

extern crate std;
use std::string::ToString;
use std::vec::Vec;

use OutcomeKind::{Permanent, Success, Throttled, Transient};

const fn s(secs: u64) -> Instant {
    Instant::from_nanos(secs * 1_000_000_000)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// So many first attempts that end at once, and so.
fn calls(budget: &mut Budget, now: Instant, count: u32, outcome: OutcomeKind) {
    for _ in 0..count {
        let charge = budget.begin(now, u64::MAX).unwrap();
        budget.record(now, charge, outcome);
    }
}

/// How many are paid for until one is not, at most a thousand.
fn paid(budget: &mut Budget, now: Instant, cause: Cause) -> Vec<Charge> {
    (0..1000).map_while(|_| budget.withdraw(now, u64::MAX, cause).ok()).collect()
}

fn count(budget: &mut Budget, now: Instant) -> usize {
    paid(budget, now, Cause::Transient).len()
}

#[test]
fn ratio_pays_one_retry_for_five_successes_and_two_in_any_case() {
    for (successes, want) in [(0, 2), (4, 2), (5, 3), (9, 3), (10, 4), (100, 22)] {
        let mut budget = Budget::default();
        calls(&mut budget, s(100), successes, Success);
        assert_eq!(count(&mut budget, s(100)), want, "{successes}");
    }
}

#[test]
fn ratio_counts_answers_and_nothing_else() {
    for (outcome, want) in [(Success, 20), (Permanent, 20), (Transient, 0), (Throttled, 0)] {
        let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
        calls(&mut budget, s(100), 100, outcome);
        assert_eq!(count(&mut budget, s(100)), want, "{outcome:?}");
        assert_eq!(budget.withdraw(s(100), 0, Cause::Hedge), Err(Exhausted { retry_at: None }));
    }
}

#[test]
fn ratio_lets_those_who_were_told_when_come_back_for_nothing() {
    let mut budget = Budget::default();
    for end in [Budget::abandon, Budget::refund] {
        let charges: Vec<_> = (0..100).map(|_| budget.withdraw(s(100), 0, Cause::ToldWhen).unwrap()).collect();
        charges.into_iter().for_each(|charge| end(&mut budget, s(100), charge));
    }
    assert_eq!(paid(&mut budget, s(100), Cause::Transient).len(), 2, "the reserve is untouched");
}

#[test]
fn ratio_forgets_successes_after_the_window() {
    for (later, want) in [(0, 20), (8, 20), (9, 20), (10, 0), (11, 0), (1_000_000, 0)] {
        let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
        calls(&mut budget, s(100), 100, Success);
        assert_eq!(count(&mut budget, s(100 + later)), want, "{later}");
    }
}

#[test]
fn ratio_forgets_what_was_spent_after_the_window() {
    let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
    calls(&mut budget, s(100), 50, Success);
    assert_eq!(count(&mut budget, s(100)), 10);
    calls(&mut budget, s(105), 50, Success);
    assert_eq!(count(&mut budget, s(109)), 10);
    // The first fifty are gone, and so are the ten that they paid for.
    assert_eq!(count(&mut budget, s(110)), 0);
    calls(&mut budget, s(110), 5, Success);
    assert_eq!(count(&mut budget, s(110)), 1);
}

#[test]
fn the_reserve_comes_back_one_at_a_time() {
    let mut budget = Budget::default();
    assert_eq!(count(&mut budget, s(100)), 2);
    for (now, retry_at) in [(100, 160), (130, 160), (159, 160)] {
        assert_eq!(budget.withdraw(s(now), 0, Cause::Hedge), Err(Exhausted { retry_at: Some(s(retry_at)) }));
    }
    assert_eq!(count(&mut budget, s(160)), 1);
    let refusal = Err(Exhausted { retry_at: Some(s(220)) });
    assert_eq!(budget.withdraw(s(170), 0, Cause::Transient), refusal);
    assert_eq!(count(&mut budget, s(279)), 1);
    assert_eq!(count(&mut budget, s(280)), 1);
    assert_eq!(count(&mut budget, s(1_000)), 2);
    assert_eq!(count(&mut budget, s(1_000)), 0);
}

#[test]
fn at_the_end_of_the_clock_nobody_is_told_to_come_back() {
    let mut budget = Budget::default();
    assert_eq!(count(&mut budget, Instant::MAX), 2);
    assert_eq!(budget.withdraw(Instant::MAX, 0, Cause::Transient), Err(Exhausted { retry_at: None }));
}

#[test]
fn the_reserve_gives_back_what_time_has_not() {
    // Two are spent at 100; given back at once, they are there again, and after their time they have come back already.
    for (given_back, want) in [(100, 2), (159, 2), (160, 1), (200, 1)] {
        let mut budget = Budget::default();
        let charges = paid(&mut budget, s(100), Cause::Transient);
        charges.into_iter().for_each(|charge| budget.refund(s(given_back), charge));
        assert_eq!(count(&mut budget, s(given_back)), want, "{given_back}");
    }
}

#[test]
fn ratio_gives_back_what_was_never_started() {
    let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
    calls(&mut budget, s(100), 50, Success);
    for (now, want) in [(100, 10), (104, 10), (109, 10), (110, 0)] {
        let charges = paid(&mut budget, s(now), Cause::Hedge);
        assert_eq!(charges.len(), want);
        charges.into_iter().for_each(|charge| budget.refund(s(now), charge));
    }
    // One that is abandoned stays paid.
    calls(&mut budget, s(200), 50, Success);
    let charges = paid(&mut budget, s(200), Cause::Hedge);
    charges.into_iter().for_each(|charge| budget.abandon(s(200), charge));
    assert_eq!(count(&mut budget, s(200)), 0);
}

#[test]
fn a_refund_after_the_window_changes_nothing() {
    let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
    calls(&mut budget, s(100), 50, Success);
    let charges = paid(&mut budget, s(100), Cause::Hedge);
    calls(&mut budget, s(111), 50, Success);
    let _spent = paid(&mut budget, s(111), Cause::Hedge);
    charges.into_iter().for_each(|charge| budget.refund(s(111), charge));
    assert_eq!(count(&mut budget, s(111)), 0);
}

#[test]
fn the_aws_presets_are_the_published_constants() {
    for (budget, want) in [
        (Budget::aws_standard_2_0 as fn() -> Budget, [100, 100, 50, 100]),
        (Budget::aws_standard_2_1, [35, 100, 35, 35]),
        (|| Budget::quota().build().unwrap(), [35, 100, 35, 35]),
    ] {
        let causes = [Cause::Transient, Cause::Throttled, Cause::TimedOut, Cause::Hedge];
        assert_eq!(causes.map(|cause| paid(&mut budget(), s(0), cause).len()), want);
    }
}

#[test]
fn a_retry_that_succeeds_gives_back_what_it_cost() {
    let spend = |budget: &mut Budget| paid(budget, s(0), Cause::Transient);
    for (outcome, want) in [(Success, 100), (Permanent, 100), (Transient, 0), (Throttled, 0)] {
        let mut budget = Budget::aws_standard_2_0();
        let charges = spend(&mut budget);
        charges.into_iter().for_each(|charge| budget.record(s(0), charge, outcome));
        assert_eq!(spend(&mut budget).len(), want, "{outcome:?}");
    }
    // A first attempt that succeeds brings one; five of them bring a retry; and never more than there were.
    for (successes, want) in [(4, 0), (5, 1), (499, 99), (500, 100), (5_000, 100)] {
        let mut budget = Budget::aws_standard_2_0();
        let _spent = spend(&mut budget);
        calls(&mut budget, s(0), successes, Success);
        assert_eq!(spend(&mut budget).len(), want, "{successes}");
    }
    // Or as much as was said.
    for (gain, want) in [(0, 0), (14, 1), (28, 2)] {
        let mut budget = Budget::quota().success_gain(gain).build().unwrap();
        let _spent = spend(&mut budget);
        calls(&mut budget, s(0), 1, Success);
        assert_eq!(spend(&mut budget).len(), want, "{gain}");
    }
    // What was never started comes back whole, and what was dropped does not.
    let mut budget = Budget::aws_standard_2_0();
    let charges = spend(&mut budget);
    charges.into_iter().for_each(|charge| budget.refund(s(0), charge));
    let charges = spend(&mut budget);
    assert_eq!(charges.len(), 100);
    charges.into_iter().for_each(|charge| budget.abandon(s(0), charge));
    assert_eq!(count(&mut budget, s(0)), 0);
}

#[test]
fn in_flight_pays_a_fifth_of_what_is_under_way_and_three_in_any_case() {
    // The one that is asked for does not count yet: beside 81 first attempts and 19 retries there is room for one more.
    for (attempts, want) in [(0, 3), (16, 3), (17, 4), (80, 19), (81, 20)] {
        let mut budget = Budget::in_flight().build().unwrap();
        let _under_way: Vec<_> = (0..attempts).map(|_| budget.begin(s(0), 0)).collect();
        let paid = paid(&mut budget, s(0), Cause::Transient).len();
        assert_eq!(paid, want, "{attempts}");
        assert_eq!(budget.withdraw(s(0), 0, Cause::Hedge), Err(Exhausted { retry_at: None }));
    }
}

#[test]
fn in_flight_counts_only_what_is_under_way() {
    for end in [
        |budget: &mut Budget, charge| budget.record(s(50), charge, Success),
        |budget: &mut Budget, charge| budget.record(s(50), charge, Transient),
        |budget: &mut Budget, charge| budget.abandon(s(50), charge),
        |budget: &mut Budget, charge| budget.refund(s(50), charge),
    ] {
        let mut budget = Budget::in_flight().min_retries(0).build().unwrap();
        let first: Vec<_> = (0..81).map(|_| budget.begin(s(0), 0).unwrap()).collect();
        let mut retries = paid(&mut budget, s(1), Cause::Transient);
        assert_eq!(retries.len(), 20);
        // A retry ends, and there is room for another; the first attempts end, and there is room for none.
        end(&mut budget, retries.pop().unwrap());
        assert_eq!(count(&mut budget, s(50)), 1);
        first.into_iter().for_each(|charge| end(&mut budget, charge));
        assert_eq!(count(&mut budget, s(50)), 0);
        retries.into_iter().for_each(|charge| end(&mut budget, charge));
        assert_eq!(count(&mut budget, s(50)), 0);
    }
}

#[test]
fn what_never_reports_is_forgotten_after_the_lease() {
    // Begun in the first slice of twelve seconds, and gone with it.
    for (now, want) in [(11, 0), (119, 0), (120, 3), (1_000, 3)] {
        let mut budget = Budget::in_flight().build().unwrap();
        let lost = paid(&mut budget, s(11), Cause::Transient);
        assert_eq!((lost.len(), count(&mut budget, s(now))), (3, want), "{now}");
        // One that turns up after all is not taken from those who came later.
        lost.into_iter().for_each(|charge| budget.abandon(s(now), charge));
        assert_eq!(count(&mut budget, s(now)), 3 - want, "{now}");
    }
}

#[test]
fn throttle_pays_everything_or_nothing() {
    for (failures, successes, want) in [
        (0, 0, 1000),
        (4, 0, 1000),
        (5, 0, 0),
        (6, 10, 0),
        (6, 11, 1000),
        (100, 50, 0),
        (100, 51, 1000),
        // Never more tokens than at the start.
        (0, 1000, 1000),
    ] {
        let mut budget = Budget::throttle().build().unwrap();
        calls(&mut budget, s(0), failures, Transient);
        calls(&mut budget, s(0), successes, Success);
        assert_eq!(count(&mut budget, s(0)), want, "{failures} {successes}");
    }
    let mut budget = Budget::throttle().build().unwrap();
    calls(&mut budget, s(0), 1000, Success);
    for (outcome, want) in [(Permanent, 1000), (Throttled, 0), (Permanent, 0)] {
        calls(&mut budget, s(0), 5, outcome);
        assert_eq!(count(&mut budget, s(0)), want, "{outcome:?}");
    }
}

#[test]
fn throttle_hears_of_retries_too() {
    let mut budget = Budget::throttle().build().unwrap();
    for retry in 0.. {
        let Ok(charge) = budget.withdraw(s(0), 0, Cause::Transient) else {
            assert_eq!(retry, 5);
            break;
        };
        budget.record(s(0), charge, Transient);
    }
}

#[test]
fn adaptive_refuses_by_the_formula_of_the_book() {
    // Of 30 requests 10 are accepted: (30 - 2 * 10) / 31 are refused.
    let third = u64::MAX / 31 * 10;
    for (entropy, sent) in [(0, false), (third - 100, false), (third + 100, true), (u64::MAX, true)] {
        for retry in [false, true] {
            let mut budget = Budget::adaptive().build().unwrap();
            calls(&mut budget, s(0), 10, Success);
            calls(&mut budget, s(0), 20, Transient);
            let charge =
                if retry { budget.withdraw(s(0), entropy, Cause::Transient) } else { budget.begin(s(0), entropy) };
            assert_eq!(charge.is_ok(), sent, "{entropy} {retry}");
        }
    }
    // Where half is accepted, nothing is refused, and one failure more is the first reason to.
    for (failures, sent) in [(10, true), (11, false)] {
        let mut budget = Budget::adaptive().build().unwrap();
        calls(&mut budget, s(0), 5, Success);
        calls(&mut budget, s(0), 5, Permanent);
        calls(&mut budget, s(0), failures, Throttled);
        assert_eq!(budget.begin(s(0), 0).is_ok(), sent, "{failures}");
    }
}

#[test]
fn adaptive_forgets_what_was_never_made_and_what_is_long_ago() {
    for forget in [Budget::abandon, Budget::refund] {
        let mut budget = Budget::adaptive().build().unwrap();
        for _ in 0..100 {
            let charge = budget.begin(s(0), 0).expect("nothing is known of the server");
            forget(&mut budget, s(1), charge);
        }
    }
    let mut budget = Budget::adaptive().build().unwrap();
    calls(&mut budget, s(0), 100, Transient);
    assert!(budget.begin(s(119), 0).is_err());
    // The refused one counts as a request, and the hundred have left.
    assert!(budget.begin(s(120), 0).is_err());
    assert!(budget.begin(s(300), 0).is_ok());
}

#[test]
fn adaptive_counts_an_accept_where_the_request_was() {
    let mut budget = Budget::adaptive().build().unwrap();
    let charges: Vec<_> = (0..100).map(|_| budget.begin(s(0), u64::MAX).unwrap()).collect();
    charges.into_iter().for_each(|charge| budget.record(s(119), charge, Success));
    // When the requests leave, their answers leave with them: a failure now is all that is known.
    calls(&mut budget, s(121), 1, Transient);
    assert!(budget.begin(s(121), 0).is_err());
}

#[test]
fn unlimited_is_unlimited() {
    let mut budget = Budget::unlimited();
    calls(&mut budget, s(0), 1000, Transient);
    let charges = paid(&mut budget, s(0), Cause::Transient);
    assert_eq!(charges.len(), 1000);
    charges.into_iter().for_each(|charge| budget.refund(s(0), charge));
    assert_eq!(std::format!("{budget:?}"), "Unlimited(Unlimited)");
}

#[test]
fn a_clock_that_steps_back_wedges_nothing() {
    let far = s(1_000_000);
    let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
    calls(&mut budget, far, 100, Success);
    // A short step: everything is as it was, and ages when time has caught up.
    assert_eq!(count(&mut budget, s(999_995)), 20);
    calls(&mut budget, far, 5, Success);
    assert_eq!(count(&mut budget, far), 1);
    // A long one: time goes on from there, and a window later all of it has left.
    calls(&mut budget, s(500), 5, Success);
    assert_eq!(count(&mut budget, s(500)), 1);
    assert_eq!(count(&mut budget, s(510)), 0);
    calls(&mut budget, s(510), 5, Success);
    assert_eq!(count(&mut budget, s(510)), 1);
    for back in [500, 1_500, 500_000].map(Duration::from_millis) {
        let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
        calls(&mut budget, far, 100, Success);
        assert!(budget.withdraw(Instant::EPOCH + back, 0, Cause::Hedge).is_ok(), "{back:?}");
        assert_eq!(count(&mut budget, s(10) + back), 0, "{back:?}");
    }
    // A step of a whole window is still a short one.
    for (back, want) in [(90, 10), (89, 0)] {
        let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
        calls(&mut budget, s(100), 50, Success);
        calls(&mut budget, s(back), 1, Success);
        assert_eq!(count(&mut budget, s(100)), want, "{back}");
    }
    // What was charged before the step is given back where it can be.
    let mut budget = Budget::in_flight().build().unwrap();
    let lost = paid(&mut budget, far, Cause::Hedge);
    assert_eq!(count(&mut budget, s(0)), 0);
    lost.into_iter().for_each(|charge| budget.abandon(s(0), charge));
    assert_eq!(count(&mut budget, s(0)), 3);
}

/// Two threads read the clock and come to the lock in the other order: what the later one counts in the slice that has
/// begun, it takes out of that slice.
#[test]
fn a_clock_that_is_read_out_of_order_loses_no_slot() {
    for end in [Budget::abandon, Budget::refund] {
        let mut budget = Budget::in_flight().build().unwrap();
        let _newest = budget.begin(s(12), 0).unwrap();
        let retries = paid(&mut budget, s(11), Cause::Hedge);
        assert_eq!((retries.len(), count(&mut budget, s(12))), (3, 0));
        retries.into_iter().for_each(|charge| end(&mut budget, s(13), charge));
        assert_eq!(count(&mut budget, s(13)), 3);
    }
    let mut budget = Budget::ratio().reserve(0, secs(1)).build().unwrap();
    calls(&mut budget, s(100), 50, Success);
    let charges = paid(&mut budget, s(99), Cause::Hedge);
    charges.into_iter().for_each(|charge| budget.refund(s(100), charge));
    assert_eq!(count(&mut budget, s(100)), 10);
    let mut budget = Budget::adaptive().build().unwrap();
    calls(&mut budget, s(12), 1, Success);
    for _ in 0..100 {
        let charge = budget.begin(s(11), 0).expect("it forgets what was abandoned");
        budget.abandon(s(13), charge);
    }
}

#[test]
fn a_cause_is_how_the_attempt_before_ended() {
    for (outcome, want) in [
        (Outcome::transient(), Cause::Transient),
        (Outcome::throttled(), Cause::Throttled),
        (Outcome::throttled().with_retry_after(Duration::ZERO), Cause::Throttled),
        (Outcome::throttled().with_retry_after(Duration::from_nanos(1)), Cause::ToldWhen),
        (Outcome::timed_out(), Cause::TimedOut),
    ] {
        assert_eq!(Cause::after(&outcome), want);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let (short, zero) = (Duration::from_nanos(999), Duration::ZERO);
    for (built, want) in [
        (Budget::ratio().percent(0).build(), "percent is 0, which is not from 1 to 1,000"),
        (Budget::ratio().percent(1001).build(), "percent is 1001, which is not from 1 to 1,000"),
        (Budget::ratio().window(short).build(), "window is 999ns, which is not at least a microsecond"),
        (Budget::ratio().reserve(0, zero).build(), "every is 0ns, which is not more than zero"),
        (Budget::quota().capacity(0).build(), "capacity is 0, which is not at least 1"),
        (Budget::quota().transient_cost(0).build(), "transient_cost is 0, which is not at least 1"),
        (
            Budget::quota().throttled_cost(501).build(),
            "throttled_cost is 501: it must be at most capacity, which is 500",
        ),
        (Budget::quota().timeout_cost(0).build(), "timeout_cost is 0, which is not at least 1"),
        (Budget::quota().hedge_cost(501).build(), "hedge_cost is 501: it must be at most capacity, which is 500"),
        (Budget::in_flight().percent(0).build(), "percent is 0, which is not from 1 to 100"),
        (Budget::in_flight().percent(101).build(), "percent is 101, which is not from 1 to 100"),
        (Budget::in_flight().lease(short).build(), "lease is 999ns, which is not at least a microsecond"),
        (Budget::throttle().max_tokens(0).build(), "max_tokens is 0, which is not from 1 to 1,000"),
        (Budget::throttle().max_tokens(1001).build(), "max_tokens is 1001, which is not from 1 to 1,000"),
        (
            Budget::throttle().token_ratio_thousandths(0).build(),
            "token_ratio_thousandths is 0, which is not at least 1",
        ),
        (Budget::adaptive().multiplier_percent(99).build(), "multiplier_percent is 99, which is not at least 100"),
        (Budget::adaptive().window(short).build(), "window is 999ns, which is not at least a microsecond"),
    ] {
        assert_eq!(built.unwrap_err().to_string(), want);
    }
    let micro = Duration::from_micros(1);
    for built in [
        Budget::ratio().percent(1).window(micro).reserve(u32::MAX, micro).build(),
        Budget::ratio().percent(1000).window(Duration::MAX).build(),
        Budget::quota().capacity(14).build(),
        Budget::in_flight().percent(100).lease(micro).build(),
        Budget::throttle().max_tokens(1).token_ratio_thousandths(1).build(),
        Budget::throttle().max_tokens(1000).token_ratio_thousandths(u32::MAX).build(),
        Budget::adaptive().multiplier_percent(100).window(micro).build(),
    ] {
        assert!(built.is_ok());
    }
}

#[test]
fn a_refusal_is_one_sentence() {
    for (retry_at, want) in [
        (None, "retry budget: spent until calls succeed"),
        (Some(s(2)), "retry budget: spent until 2s, unless calls succeed earlier"),
    ] {
        assert_eq!(Exhausted { retry_at }.to_string(), want);
    }
}

/// The default is kept in every pipeline, and a charge in every call.
#[test]
fn sizes_are_what_they_are() {
    assert!(size_of::<Budget>() <= 160, "{}", size_of::<Budget>());
    assert_eq!(size_of::<Charge>(), 16);
}

/// Spends all, waits, and goes over to other settings: how many are paid for then?
#[test]
fn what_was_spent_stays_spent_under_other_settings() {
    let none = |budget: &mut Budget| assert_eq!(paid(budget, s(100), Cause::Transient).len(), 0);
    for (from, to, want) in [
        (Budget::ratio().build(), Budget::ratio().reserve(5, secs(60)).build(), 3),
        (Budget::ratio().build(), Budget::ratio().reserve(1, secs(60)).build(), 0),
        // Ten successes: two are paid for of each, and two have been spent.
        (Budget::ratio().reserve(0, secs(1)).build(), Budget::ratio().percent(50).reserve(0, secs(1)).build(), 3),
        (Budget::quota().capacity(28).build(), Budget::quota().capacity(56).build(), 2),
        (Budget::quota().capacity(28).build(), Budget::quota().capacity(14).build(), 0),
        (Budget::in_flight().build(), Budget::in_flight().min_retries(5).build(), 2),
    ] {
        let (mut budget, to) = (from.unwrap(), to.unwrap());
        if to.to_string().contains("50 % of the successes") {
            calls(&mut budget, s(100), 10, Success);
        }
        let spent = paid(&mut budget, s(100), Cause::Transient);
        none(&mut budget);
        budget.accepts(&to).unwrap();
        budget.reconfigure(s(100), &to);
        let what = to.to_string();
        assert_eq!(
            (budget.to_string(), count(&mut budget, s(100))),
            (what.clone(), want),
            "{what}, {} spent",
            spent.len()
        );
    }
}

#[test]
fn a_throttle_has_lost_what_it_has_lost() {
    let throttle = |tokens| Budget::throttle().max_tokens(tokens).build().unwrap();
    let mut budget = throttle(10);
    calls(&mut budget, s(0), 4, Transient);
    budget.reconfigure(s(0), &throttle(8)); // 4 of 8 are left, which is not more than half.
    assert_eq!(count(&mut budget, s(0)), 0);
    budget.reconfigure(s(0), &throttle(9));
    assert_eq!(count(&mut budget, s(0)), 1000);
}
