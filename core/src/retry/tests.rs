use super::*;
use crate::backoff::Jitter;
use crate::outcome::OutcomeKind;

const fn s(secs: u64) -> Instant {
    Instant::from_nanos(secs * 1_000_000_000)
}

const SECOND: Duration = Duration::from_secs(1);
const DEADLINE: Instant = s(10);

/// An attempt of an idempotent call that ended so, with a deadline at second 10.
const fn failure(attempt: u32, outcome: Outcome) -> Failure {
    Failure {
        attempt,
        outcome,
        idempotency: Idempotency::Idempotent,
        max_attempts: u32::MAX,
        previous_delay: Duration::ZERO,
        deadline: DEADLINE,
    }
}

/// Three attempts at most, delays of one and two seconds.
fn retry() -> Retry {
    let backoff = Backoff::builder().base(SECOND).jitter(Jitter::None).build().unwrap();
    Retry::builder().max_attempts(3).backoff(backoff).build().unwrap()
}

/// When the retry is, or why there is none.
fn answer(verdict: &Verdict) -> Result<Instant, Rejected> {
    match verdict {
        Verdict::Retry { at, .. } => Ok(*at),
        Verdict::Stop(rejected) => Err(*rejected),
    }
}

/// Tokens for two retries, of which each costs one, and none comes back by success.
fn two_retries() -> Budget {
    let quota = Budget::quota().capacity(2).success_gain(0);
    quota.transient_cost(1).throttled_cost(1).timeout_cost(1).hedge_cost(1).build().unwrap()
}

/// How many retries the budget has left.
fn left(budget: &mut Budget, now: Instant) -> usize {
    (0..100).take_while(|_| budget.withdraw(now, 0, Cause::Transient).is_ok()).count()
}

/// At second 2. What is refused has cost nothing, and what is not has cost one retry.
fn check(attempt: u32, idempotency: Idempotency, outcome: Outcome, want: Result<Instant, Rejected>) {
    let (failure, mut budget) = (Failure { idempotency, ..failure(attempt, outcome) }, two_retries());
    assert_eq!(answer(&retry().decide(s(2), 0, &failure, &mut budget)), want, "{failure:?}");
    assert_eq!(left(&mut budget, s(2)), if want.is_ok() { 1 } else { 2 }, "{failure:?}");
}

fn no_time(secs: u64) -> Result<Instant, Rejected> {
    Err(Rejected::NoTimeToRetry { retry_at: s(secs), deadline: DEADLINE })
}

#[test]
fn the_first_reason_that_applies_is_the_answer() {
    use Idempotency::{Idempotent, NotIdempotent};
    let spent = Err(Rejected::AttemptsSpent { max_attempts: 3 });
    let hint = |secs| Outcome::throttled().with_retry_after(SECOND * secs);
    for (attempt, idempotency, outcome, want) in [
        (1, Idempotent, Outcome::transient(), Ok(s(3))),
        (2, Idempotent, Outcome::transient(), Ok(s(4))),
        (2, Idempotent, Outcome::throttled(), Ok(s(4))),
        (2, Idempotent, Outcome::timed_out(), Ok(s(4))),
        (3, Idempotent, Outcome::transient(), spent),
        (u32::MAX, Idempotent, Outcome::transient(), spent),
        (1, Idempotent, Outcome::permanent(), Err(Rejected::Permanent)),
        (3, NotIdempotent, Outcome::permanent().without_retry(), Err(Rejected::Permanent)),
        (1, Idempotent, Outcome::transient().without_retry(), Err(Rejected::RetryForbidden)),
        (3, NotIdempotent, Outcome::throttled().without_retry(), Err(Rejected::RetryForbidden)),
        (1, Idempotent, hint(1).without_retry(), Err(Rejected::RetryForbidden)),
        (1, NotIdempotent, Outcome::transient(), Err(Rejected::NotIdempotent)),
        (1, NotIdempotent, Outcome::timed_out(), Err(Rejected::NotIdempotent)),
        (3, NotIdempotent, Outcome::transient(), Err(Rejected::NotIdempotent)),
        (1, NotIdempotent, Outcome::transient().not_processed(), Ok(s(3))),
        (3, NotIdempotent, Outcome::transient().not_processed(), spent),
        // The server's hint, and then the backoff; at the deadline it is too late.
        (1, Idempotent, hint(6), Ok(s(9))),
        (1, Idempotent, hint(7), no_time(10)),
        (1, Idempotent, hint(3600), no_time(3603)),
    ] {
        check(attempt, idempotency, outcome, want);
    }
    let never = Outcome::throttled().with_retry_after(Duration::MAX);
    check(1, Idempotent, never, Err(Rejected::NoTimeToRetry { retry_at: Instant::MAX, deadline: DEADLINE }));
}

#[test]
fn a_deadline_that_has_passed_is_named() {
    for now in [DEADLINE, s(11), Instant::MAX] {
        let (failure, mut budget) = (failure(1, Outcome::transient()), two_retries());
        let want = Err(Rejected::DeadlineExceeded { deadline: DEADLINE });
        assert_eq!(answer(&retry().decide(now, 0, &failure, &mut budget)), want);
        assert_eq!(left(&mut budget, now), 2);
    }
}

#[test]
fn a_budget_that_is_spent_is_the_last_reason() {
    let mut budget = two_retries();
    assert_eq!(left(&mut budget, s(2)), 2);
    for (failure, want) in [
        (failure(1, Outcome::transient()), Rejected::BudgetSpent { retry_at: None }),
        (failure(1, Outcome::permanent()), Rejected::Permanent),
        (failure(3, Outcome::transient()), Rejected::AttemptsSpent { max_attempts: 3 }),
    ] {
        assert_eq!(answer(&retry().decide(s(2), 0, &failure, &mut budget)), Err(want));
    }
    // The default's reserve has two as well, and the first comes back after a minute.
    let mut budget = Budget::default();
    assert_eq!(left(&mut budget, s(2)), 2);
    let want = Rejected::BudgetSpent { retry_at: Some(s(62)) };
    assert_eq!(answer(&retry().decide(s(3), 0, &failure(1, Outcome::transient()), &mut budget)), Err(want));
    let late = Failure { deadline: Instant::MAX, ..failure(1, Outcome::transient()) };
    assert_eq!(answer(&retry().decide(s(62), 0, &late, &mut budget)), Ok(s(63)));
}

#[test]
fn a_retry_that_was_given_up_costs_nothing() {
    let mut budget = two_retries();
    for now in (2..9).map(s) {
        match retry().decide(now, 0, &failure(1, Outcome::transient()), &mut budget) {
            Verdict::Retry { charge, .. } => budget.refund(now, charge),
            Verdict::Stop(rejected) => panic!("{rejected}"),
        }
    }
    assert_eq!(left(&mut budget, s(9)), 2);
}

#[test]
fn the_cause_is_how_the_attempt_ended() {
    for (outcome, cost) in [(Outcome::transient(), 2), (Outcome::throttled(), 3), (Outcome::timed_out(), 5)] {
        let quota = Budget::quota().capacity(100).transient_cost(2).throttled_cost(3).timeout_cost(5).hedge_cost(1);
        let mut budget = quota.build().unwrap();
        let verdict = retry().decide(s(2), 0, &failure(1, outcome), &mut budget);
        assert_eq!(answer(&verdict), Ok(s(3)));
        let hedges = (0..200).take_while(|_| budget.withdraw(s(2), 0, Cause::Hedge).is_ok()).count();
        assert_eq!(hedges, 100 - cost, "{outcome:?}");
    }
}

#[test]
fn the_delay_of_the_last_retry_is_what_the_next_grows_from() {
    let backoff = Backoff::decorrelated(SECOND, SECOND * 60).unwrap();
    let retry = Retry::builder().backoff(backoff).build().unwrap();
    let (mut budget, mut failure) =
        (Budget::unlimited(), failure(1, Outcome::throttled().with_retry_after(SECOND * 5)));
    failure.deadline = Instant::MAX;
    for (attempt, want) in [(1, 3), (2, 9), (3, 27)] {
        failure.attempt = attempt;
        match retry.decide(s(2), u64::MAX, &failure, &mut budget) {
            Verdict::Retry { at, delay, .. } => {
                assert_eq!((at, delay), (s(7) + delay, SECOND * want));
                failure.previous_delay = delay;
            }
            Verdict::Stop(rejected) => panic!("{rejected}"),
        }
    }
}

#[test]
fn a_hint_is_never_undercut_whatever_the_dice_say() {
    for entropy in [0, 1, u64::MAX / 2, u64::MAX] {
        let failure = failure(1, Outcome::throttled().with_retry_after(SECOND));
        let at = answer(&Retry::default().decide(s(2), entropy, &failure, &mut Budget::default()));
        assert!(at.is_ok_and(|at| at >= s(3)), "{at:?}");
    }
}

/// The throttle's opinion must not hang on the same bits as the delay: where it refuses the low, no short delay would
/// be left.
#[test]
fn the_budget_rolls_other_dice_than_the_backoff() {
    let mut paid = [0, 0];
    for i in 0..64 {
        let mut budget = Budget::adaptive().build().unwrap();
        // Half of what is asked for is refused at random from here on.
        let charge = budget.begin(s(2), u64::MAX).unwrap();
        budget.record(s(2), charge, OutcomeKind::Transient);
        let entropy = (i << 58) | (i % 2) << 31;
        if let Verdict::Retry { delay, .. } =
            retry_with_full_jitter().decide(s(2), entropy, &failure(1, Outcome::transient()), &mut budget)
        {
            paid[usize::from(delay >= SECOND / 2)] += 1;
        }
    }
    assert_eq!(paid, [16, 16]);
}

fn retry_with_full_jitter() -> Retry {
    Retry::builder().backoff(Backoff::builder().base(SECOND).build().unwrap()).build().unwrap()
}

#[test]
fn attempts_are_as_many_as_was_said_and_none_at_all_are_refused_by_name() {
    assert_eq!([retry(), Retry::default()].map(|retry| retry.max_attempts()), [3, 4]);
    let error = Retry::builder().max_attempts(0).build().unwrap_err();
    assert_eq!(error, InvalidSetting::count("max_attempts", 0, "at least 1"));
}
