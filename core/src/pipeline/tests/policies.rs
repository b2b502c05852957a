//! What the pipeline does with its budget, its concurrency limit, and what is said about one call.

use super::*;
use crate::retry::budget::Budget;

#[test]
fn retries_are_paid_for_and_stop_when_the_budget_is_spent() {
    let budget = Budget::ratio().reserve(1, seconds(60)).build().unwrap();
    let mut bench = Bench::new(builder().without_circuit_breaker().budget(budget));
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    bench.finish(0, &mut call, Outcome::transient());
    assert_eq!(bench.poll(1, &mut call), start(2, 11));
    bench.finish(1, &mut call, Outcome::transient());
    let spent = Rejected::BudgetSpent { retry_at: Some(s(60)) };
    assert_eq!(bench.poll(1, &mut call), stopped(spent));
}

#[test]
fn a_retry_that_is_not_started_costs_nothing() {
    let budget = || Budget::ratio().reserve(1, seconds(60)).build().unwrap();
    // Given up while it backs off, and refused when its turn has come.
    let mut bench = Bench::new(builder().budget(budget()));
    for secs in [0, 1] {
        let mut call = bench.call(secs);
        assert_eq!(bench.poll(secs, &mut call), start(1, secs + 10));
        bench.finish(secs, &mut call, Outcome::transient());
        if secs == 0 {
            assert_eq!(bench.poll(0, &mut call), Step::Wait(s(1)));
            bench.abandon(0, &mut call);
        } else {
            // The breaker has opened at the second failure.
            assert_eq!(bench.poll(1, &mut call), Step::Wait(s(2)));
            assert!(matches!(bench.poll(2, &mut call), Step::Done(Err(Rejected::CircuitOpen { .. }))));
        }
    }
    let mut call = bench.call(20);
    assert_eq!(bench.poll(20, &mut call), start(1, 30));
    bench.finish(20, &mut call, Outcome::success());
    let mut call = bench.call(21);
    assert_eq!(bench.poll(21, &mut call), start(1, 31));
    bench.finish(21, &mut call, Outcome::transient());
    assert_eq!(bench.poll(22, &mut call), start(2, 32), "the reserve is still there");
}

#[test]
fn an_adaptive_budget_refuses_first_attempts_too() {
    let mut bench = Bench::new(builder().without_circuit_breaker().budget(Budget::adaptive().build().unwrap()));
    let mut answers = Vec::new();
    for _ in 0..20 {
        let mut call = bench.pipeline.call(s(0), CallOptions::idempotent().with_max_attempts(1));
        answers.push(bench.poll(0, &mut call));
        bench.finish(0, &mut call, Outcome::transient());
    }
    assert_eq!(answers[0], start(1, 10));
    assert!(answers.contains(&stopped(Rejected::Shed)), "{answers:?}");
}

#[test]
fn the_concurrency_limit_holds_for_attempts_and_not_for_waits_between_them() {
    let slots = || ConcurrencyLimit::fixed(1).build().unwrap();
    let mut bench = Bench::new(builder().without_circuit_breaker().concurrency_limit(slots()));
    let (mut first, mut second) = (bench.call(0), bench.call(0));
    assert_eq!(bench.poll(0, &mut first), start(1, 10));
    assert_eq!(
        bench.poll(0, &mut second),
        stopped(Rejected::TooManyInFlight { in_flight: 1, limit: 1, retry_at: s(120) })
    );
    bench.finish(1, &mut first, Outcome::transient());
    assert_eq!(bench.poll(1, &mut first), Step::Wait(s(2)));
    let mut third = bench.call(1);
    assert_eq!(bench.poll(1, &mut third), start(1, 11), "while the first backs off");
    bench.abandon(1, &mut third);
    assert_eq!(bench.poll(2, &mut first), start(2, 12));
}

#[test]
fn changes_of_limits_are_reported() {
    let slots = ConcurrencyLimit::builder().algorithm(crate::concurrency::Algorithm::Aimd).build().unwrap();
    let adaptive = crate::rate_limit::AdaptiveRate::new(s(0));
    let mut bench = Bench::new(builder().concurrency_limit(slots).adaptive_rate(adaptive));
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    bench.finish(1, &mut call, Outcome::throttled());
    let reported = bench.reported.borrow();
    assert!(reported.iter().any(|event| matches!(event, Event::ConcurrencyLimitChanged { from: 20, .. })));
    assert!(reported.iter().any(|event| matches!(event, Event::AdaptiveRateChanged(_))));
}

#[test]
fn what_is_said_about_a_call_goes_before_what_the_pipeline_says() {
    let options = CallOptions::idempotent();
    let check = |options: CallOptions, until: u64, after_failure: Step| {
        let mut bench = Bench::new(builder());
        let mut call = bench.pipeline.call(s(0), options);
        assert_eq!(bench.poll(0, &mut call), start(1, until), "{options:?}");
        bench.finish(0, &mut call, Outcome::transient());
        assert_eq!(bench.poll(0, &mut call), after_failure, "{options:?}");
    };
    let spent = |max_attempts| stopped(Rejected::AttemptsSpent { max_attempts });
    check(options, 10, Step::Wait(s(1)));
    check(options.with_deadline(seconds(5)), 5, Step::Wait(s(1)));
    check(options.with_deadline(seconds(1)), 1, stopped(Rejected::NoTimeToRetry { retry_at: s(1), deadline: s(1) }));
    check(options.with_attempt_timeout(seconds(3)), 3, Step::Wait(s(1)));
    check(options.with_attempt_timeout(seconds(300)), 60, Step::Wait(s(1)));
    check(options.with_max_attempts(1), 10, spent(1));
    check(options.with_max_attempts(0), 10, spent(1));
    check(options.with_max_attempts(99), 10, Step::Wait(s(1)));

    let mut bench = Bench::new(builder());
    let mut call = bench.pipeline.call(s(7), options.with_deadline(Duration::ZERO));
    assert_eq!(bench.poll(7, &mut call), stopped(Rejected::DeadlineExceeded { deadline: s(7) }));
    assert_eq!(options.idempotency(), Idempotency::Idempotent);
}
