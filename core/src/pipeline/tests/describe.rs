//! What pipelines say about themselves, word for word.

use super::*;
use crate::backoff::Growth;
use crate::circuit_breaker::DroppedCall;
use crate::concurrency::Algorithm;
use crate::rate_limit::AdaptiveRate;
use crate::retry::budget::Budget;

#[test]
fn the_standard_pipeline_describes_itself() {
    let want = "\
deadline: 30s for the whole call
retry: at most 4 attempts, exponential backoff from 100ms by 2 up to 10s, full jitter
retry budget: 20 % of the successes of 10s, and 2 in reserve, one back each 60s
hedge: none
circuit breaker: opens at 10 failures in a row or 50 % failures of 100 calls or more in 30s, for 5s and up to 20 % \
longer; probes: 1 at once, lost after 30s, 1 to close it
rate limit: none
adaptive rate: none
concurrency limit: none
attempt timeout: 10s";
    assert_eq!(Pipeline::standard().describe().to_string(), want);
}

#[test]
fn the_pipeline_for_llm_apis_describes_itself() {
    let quota = |tokens, burst| Quota::per_minute(tokens).and_then(|quota| quota.with_burst(burst)).unwrap();
    let pipeline = Pipeline::for_llm_api(quota(500, 50), quota(90_000, 9_000)).unwrap().build().unwrap();
    let want = "\
deadline: 600s for the whole call
retry: at most 3 attempts, exponential backoff from 500ms by 2 up to 30s, full jitter
retry budget: 20 % of the successes of 10s, and 2 in reserve, one back each 60s
hedge: none
circuit breaker: opens at 10 failures in a row, for 15s and up to 20 % longer; probes: 1 at once, lost after 300s, 1 \
to close it
rate limit: 500 per 60s, 50 at once, whatever a call weighs
rate limit: 90000 per 60s, 9000 at once
adaptive rate: none
concurrency limit: 1 to 200 at once by AIMD, a lost slot is free after 300s
attempt timeout: 240s";
    assert_eq!(pipeline.describe().to_string(), want);
}

#[test]
fn what_is_left_out_is_said_to_be() {
    let never = Retry::builder().max_attempts(1).build().unwrap();
    let bare = builder().without_deadline().without_attempt_timeout().without_circuit_breaker().retry(never);
    let text = bare.budget(Budget::unlimited()).build().unwrap().describe().to_string();
    let want = "\
deadline: none
retry: never
retry budget: unlimited
hedge: none
circuit breaker: none
rate limit: none
adaptive rate: none
concurrency limit: none
attempt timeout: none";
    assert_eq!(text, want);
}

/// A policy with these settings says this.
#[allow(clippy::needless_pass_by_value)] // So that each line of the tables below is the shorter.
fn check(policy: impl ToString, want: &str) {
    assert_eq!(policy.to_string(), want);
}

#[test]
fn every_policy_says_its_settings_in_words() {
    check(Quota::per_second(100).and_then(|quota| quota.with_burst(10)).unwrap(), "100 per 1s, 10 at once");
    let adaptive = "unlimited until the server throttles, then by CUBIC what it bears";
    check(AdaptiveRate::new(s(0)), adaptive);

    let limit = ConcurrencyLimit::builder();
    check(limit.build().unwrap(), "1 to 200 at once by Gradient2, a lost slot is free after 60s");
    let vegas = limit.algorithm(Algorithm::Vegas).min(2).lease(seconds(90)).build().unwrap();
    check(vegas, "2 to 200 at once by Vegas, a lost slot is free after 90s");
    check(limit.min(7).max(7).initial(7).build().unwrap(), "7 at once, a lost slot is free after 60s");
    check(limit.algorithm(Algorithm::Fixed).build().unwrap(), "20 at once, a lost slot is free after 60s");

    let backoff = Backoff::builder();
    for (growth, jitter, want) in [
        (Growth::Constant, Jitter::None, "constant backoff of 100ms up to 10s, no jitter"),
        (Growth::Linear, Jitter::Equal, "linear backoff from 100ms up to 10s, equal jitter"),
        (Growth::Fibonacci, Jitter::Proportional(200), "fibonacci backoff from 100ms up to 10s, jitter of ±100 %"),
        (Growth::Exponential { factor: 3 }, Jitter::Full, "exponential backoff from 100ms by 3 up to 10s, full jitter"),
    ] {
        check(backoff.growth(growth).jitter(jitter).build().unwrap(), want);
    }
    check(Backoff::decorrelated(seconds(1), seconds(9)).unwrap(), "decorrelated backoff from 1s up to 9s");

    check(Hedge::default(), "after percentile 95, from 10ms to 5s, 1 at most");
    check(Hedge::builder().after(seconds(2)).max_hedges(3).build().unwrap(), "after 2s, 3 at most");
}

#[test]
fn every_budget_says_its_settings_in_words() {
    check(Budget::ratio().reserve(0, seconds(1)).build().unwrap(), "20 % of the successes of 10s");
    check(
        Budget::aws_standard_2_1(),
        "500 tokens; a retry costs 14, 5 if throttled, 14 after a timeout; a hedge 14; a success brings 1",
    );
    let in_flight = Budget::in_flight().build().unwrap();
    check(in_flight, "20 % of the attempts under way, at least 3, forgotten after 120s");
    let throttle = Budget::throttle().token_ratio_thousandths(1_050).build().unwrap();
    check(throttle, "while more than half of 10 tokens are there; a failure takes 1, a success brings 1.050");
    check(Budget::adaptive().build().unwrap(), "calls up to 200 % of those accepted in 120s, first attempts too");
}

#[test]
fn every_breaker_says_its_settings_in_words() {
    let breaker = CircuitBreaker::builder();
    let probes = "; probes: 1 at once, lost after 30s, 1 to close it";
    let by_rate = breaker.without_failure_threshold();
    for (builder, want) in [
        (by_rate, "opens at 50 % failures of 100 calls or more in 30s, for 5s and up to 20 % longer"),
        (
            by_rate.slow_call_rate(80, seconds(2)).window(Window::Calls(100)).minimum_calls(20),
            "opens at 50 % failures or 80 % slower than 2s of the last 100 calls, 20 or more, for 5s and up to 20 % longer",
        ),
        (
            by_rate.without_failure_rate().slow_call_rate(80, seconds(2)).open_jitter(0),
            "opens at 80 % slower than 2s of 100 calls or more in 30s, for 5s and up to 0 % longer",
        ),
        (
            breaker.without_failure_rate().mode(Mode::MetricsOnly).open_growth(2, seconds(60)),
            "only watches; opens at 10 failures in a row, for 5s by 2 up to 60s and up to 20 % longer",
        ),
        (
            breaker.without_failure_rate().mode(Mode::ForcedOpen).open_jitter(5),
            "forced open; opens at 10 failures in a row, for 5s and up to 5 % longer",
        ),
    ] {
        check(builder.build().unwrap(), &(want.to_string() + probes));
    }
    check(by_rate.without_failure_rate().build().unwrap(), "never opens");
    check(by_rate.without_failure_rate().mode(Mode::ForcedClosed).build().unwrap(), "forced closed; never opens");
    let recovers = by_rate
        .window(Window::Calls(9))
        .minimum_calls(9)
        .open_jitter(0)
        .probes(3)
        .probe_lease(seconds(9))
        .success_threshold(5);
    let recovers = recovers.recover_over(seconds(20)).dropped_call(DroppedCall::Failure);
    let want = "opens at 50 % failures of the last 9 calls, 9 or more, for 5s and up to 0 % longer; probes: 3 at once, lost after 9s, 5 to close it over 20s; a dropped call is a failure";
    check(recovers.build().unwrap(), want);
}

#[test]
fn a_pipeline_limited_by_a_bucket_alone_says_so() {
    let bucket = TokenBucket::new(Quota::per_second(2).unwrap());
    let pipeline = Pipeline::standard().limited_by(bucket);
    let text = pipeline.describe().to_string();
    assert!(text.contains("\nrate limit: 2 per 1s, 1 at once\nattempt timeout: 10s"), "{text}");
}

#[test]
fn a_snapshot_says_how_each_policy_stands() {
    let hedge = Hedge::builder().after(Duration::from_millis(50)).build().unwrap();
    let mut pipeline = Pipeline::builder()
        .rate_limit(TokenBucket::new(Quota::per_second(2).and_then(|quota| quota.with_burst(5)).unwrap()))
        .concurrency_limit(ConcurrencyLimit::fixed(3).build().unwrap())
        .circuit_breaker(CircuitBreaker::builder().failure_threshold(1).build().unwrap())
        .hedge(hedge)
        .build()
        .unwrap();
    let mut events = Events::new();
    let (now, later) = (Instant::EPOCH, Instant::EPOCH + Duration::from_secs(1));
    let mut calls = [(); 2].map(|()| pipeline.call(now, CallOptions::idempotent()));
    for call in &mut calls {
        assert!(matches!(call.poll(now, 0, &mut pipeline, &mut events), Step::Start(_)));
    }
    let outcome = Outcome::throttled().with_retry_after(Duration::from_secs(4));
    calls[0].finish(now, 0, 1, outcome, &mut pipeline, &mut events);
    let snapshot = pipeline.snapshot(later);
    let limits = snapshot.limits;
    let slots = limits.slots.unwrap();
    assert_eq!((snapshot.budget_left, snapshot.hedge_delay), (Some(2), Some(Duration::from_millis(50))));
    assert_eq!((slots.in_flight, slots.limit, limits.waiting), (1, 3, None));
    assert_eq!(limits.held_for, Duration::from_secs(3));
    calls[1].finish(later, 0, 1, Outcome::transient(), &mut pipeline, &mut events);
    let text = pipeline.snapshot(later).to_string();
    for line in [
        "retry budget: 1 left\n",
        "hedge: after 50ms\n",
        "circuit breaker: open for another ",
        "rate limit: 0 of 5 tokens left\n",
        "server: holds everybody back for another 3s\n",
        "concurrency limit: 0 of 3 in flight",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
}

#[test]
fn what_a_budget_has_left_is_what_it_pays_for() {
    use crate::retry::budget::Cause;
    let now = Instant::EPOCH;
    for (mut budget, left) in [
        (Budget::default(), Some(2)),
        (Budget::aws_standard_2_1(), Some(35)),
        (Budget::aws_standard_2_0(), Some(100)),
        (Budget::in_flight().build().unwrap(), Some(3)),
        (Budget::throttle().build().unwrap(), None),
        (Budget::adaptive().build().unwrap(), None),
        (Budget::unlimited(), None),
    ] {
        assert_eq!(budget.left(now), left, "{budget:?}");
        for before in (0..left.unwrap_or(1000)).rev() {
            assert!(budget.withdraw(now, u64::MAX, Cause::Transient).is_ok(), "{budget:?}");
            assert_eq!(budget.left(now), left.map(|_| before), "{budget:?}");
        }
        assert_eq!(budget.withdraw(now, u64::MAX, Cause::Transient).is_err(), left.is_some(), "{budget:?}");
    }
}
