//! Other settings, while calls go through the pipeline.

use super::*;
use crate::concurrency::{self, Algorithm};
use crate::limits::Counts;
use crate::rate_limit::{AdaptiveRate, RateLimits};
use crate::retry::budget::Budget;
use crate::settings::InvalidSetting;
use std::format;
use std::string::ToString;

fn per_second(tokens: u32) -> TokenBucket {
    TokenBucket::new(Quota::per_second(tokens).unwrap())
}

#[test]
fn what_cannot_be_changed_is_refused_whole_and_named() {
    let budget = |budget| builder().budget(budget).build().unwrap();
    let ratio = |window| budget(Budget::ratio().window(seconds(window)).build().unwrap());
    let slots = |lease| ConcurrencyLimit::fixed(2).lease(seconds(lease)).build().unwrap();
    let counting = |counts| {
        let limits = RateLimits::of([per_second(1)]);
        builder().rate_limits(limits, [counts]).build().unwrap()
    };
    let plain = || builder().build().unwrap();
    for (from, to, setting) in [
        (plain(), builder().hedge(Hedge::default()).build().unwrap(), "hedge"),
        (plain(), builder().without_circuit_breaker().build().unwrap(), "circuit_breaker"),
        (plain(), counting(Counts::Weight), "rate_limits"),
        (counting(Counts::Weight), plain(), "rate_limits"),
        (counting(Counts::Weight), counting(Counts::Calls), "rate_limits.counts"),
        (plain(), builder().adaptive_rate(AdaptiveRate::new(s(0))).build().unwrap(), "adaptive_rate"),
        (plain(), builder().concurrency_limit(slots(60)).build().unwrap(), "concurrency_limit"),
        (plain(), budget(Budget::unlimited()), "budget"),
        (ratio(10), ratio(20), "budget.window"),
        (
            budget(Budget::adaptive().build().unwrap()),
            budget(Budget::adaptive().window(seconds(1)).build().unwrap()),
            "budget.window",
        ),
        (
            budget(Budget::in_flight().build().unwrap()),
            budget(Budget::in_flight().lease(seconds(1)).build().unwrap()),
            "budget.lease",
        ),
    ] {
        let (mut pipeline, before) = (from, format!("{to:?}"));
        let was = format!("{pipeline:?}");
        let error = pipeline.reconfigure(s(0), &to).expect_err(setting);
        let InvalidSetting::Unchangeable { setting: named, .. } = error else { panic!("{error:?}") };
        assert_eq!(named, setting);
        assert!(error.to_string().starts_with(&format!("{setting} cannot be changed while calls go by it: ")));
        assert_eq!((format!("{pipeline:?}"), format!("{to:?}")), (was, before), "{setting}");
    }
    let with_slots = |lease| builder().concurrency_limit(slots(lease)).build().unwrap();
    let mut pipeline = with_slots(60);
    assert_eq!(
        pipeline.reconfigure(s(0), &with_slots(59)).unwrap_err().to_string(),
        "concurrency_limit.lease is 59s: it must be at least as long as that of attempts under way, which is 60s"
    );
    assert_eq!(pipeline.reconfigure(s(0), &with_slots(61)), Ok(()));
}

/// All that is compared is what `Debug` shows, which is everything.
#[test]
fn a_pipeline_that_has_made_no_calls_becomes_the_other() {
    let slots = |algorithm, initial, min, max, lease| {
        let limit = ConcurrencyLimit::builder().algorithm(algorithm).initial(initial).min(min).max(max);
        limit.lease(seconds(lease)).build().unwrap()
    };
    let hedge = |after| Hedge::builder().after(seconds(after)).build().unwrap();
    for budgets in [
        [Budget::ratio().build(), Budget::ratio().percent(7).reserve(9, seconds(3)).build()],
        [Budget::quota().build(), Budget::quota().capacity(77).transient_cost(3).build()],
        [Budget::in_flight().build(), Budget::in_flight().percent(1).min_retries(8).build()],
        [Budget::throttle().build(), Budget::throttle().max_tokens(100).token_ratio_thousandths(7).build()],
        [Budget::adaptive().build(), Budget::adaptive().multiplier_percent(300).build()],
        [Ok(Budget::unlimited()), Ok(Budget::unlimited())],
    ] {
        let [from, to] = budgets.map(Result::unwrap);
        let from = builder().budget(from).hedge(hedge(1)).rate_limit(per_second(1)).concurrency_limit(slots(
            Algorithm::Vegas,
            5,
            1,
            9,
            60,
        ));
        let to = Pipeline::builder()
            .deadline(seconds(40))
            .without_attempt_timeout()
            .budget(to)
            .hedge(hedge(2))
            .circuit_breaker(CircuitBreaker::builder().probe_lease(seconds(50)).probes(3).build().unwrap())
            .rate_limit(per_second(7))
            .concurrency_limit(slots(Algorithm::Fixed, 8, 1, 20, 70));
        let (mut from, to) = (from.build().unwrap(), to.build().unwrap());
        from.reconfigure(s(0), &to).unwrap();
        assert_eq!(from.describe().to_string(), to.describe().to_string());
        assert_eq!(from.limits().concurrency_limit().unwrap().limit(), 8, "of a fixed limit, `initial` is the limit");
    }
}

#[test]
fn what_runs_keeps_its_timeout_and_its_deadline_and_the_next_attempt_has_the_new_ones() {
    let plain = || builder().without_circuit_breaker();
    let mut bench = Bench::new(plain());
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    let to = plain().deadline(seconds(20)).attempt_timeout(seconds(5)).build().unwrap();
    bench.pipeline.reconfigure(s(1), &to).unwrap();
    assert_eq!(bench.poll(1, &mut call), Step::Wait(s(10)), "its timeout");
    bench.finish(9, &mut call, Outcome::transient());
    assert_eq!(bench.poll(10, &mut call), start(2, 15));
    bench.finish(15, &mut call, Outcome::transient());
    // Past the new deadline, which is that of calls that start.
    assert_eq!(bench.poll(58, &mut call), start(3, 60));
    let mut next = bench.call(58);
    assert_eq!(bench.poll(58, &mut next), start(1, 63));
    let mut late = bench.call(58);
    assert_eq!(bench.poll(78, &mut late), stopped(Rejected::DeadlineExceeded { deadline: s(78) }));
}

#[test]
fn who_lowers_the_attempts_in_an_outage_means_now() {
    let mut bench = Bench::new(builder().without_circuit_breaker());
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    let once = builder().without_circuit_breaker().retry(Retry::builder().max_attempts(1).build().unwrap());
    bench.pipeline.reconfigure(s(0), &once.build().unwrap()).unwrap();
    bench.finish(1, &mut call, Outcome::transient());
    assert_eq!(bench.poll(1, &mut call), stopped(Rejected::AttemptsSpent { max_attempts: 1 }));
}

#[test]
fn an_open_breaker_stays_open_and_a_mode_takes_effect() {
    let with = |breaker: circuit_breaker::CircuitBreakerBuilder| {
        builder().circuit_breaker(breaker.failure_threshold(2).open_jitter(0).build().unwrap()).build().unwrap()
    };
    let breaker = CircuitBreaker::builder;
    let mut bench = Bench::new(builder());
    bench.trip(0);
    let until = |bench: &mut Bench, secs| bench.breaker().check(s(secs)).err();
    let open_until =
        |secs| Some(circuit_breaker::Refusal::NotYet { retry_at: s(secs), reason: Reason::ConsecutiveFailures });
    bench.pipeline.reconfigure(s(1), &with(breaker().open_for(seconds(60)))).unwrap();
    assert_eq!(until(&mut bench, 1), open_until(5), "as it was told to those who ask again then");
    bench.pipeline.reconfigure(s(1), &with(breaker().open_for(seconds(2)))).unwrap();
    assert_eq!(until(&mut bench, 1), open_until(3), "no longer than the settings allow");
    bench.pipeline.reconfigure(s(1), &with(breaker().mode(Mode::ForcedClosed))).unwrap();
    assert_eq!((until(&mut bench, 1), bench.breaker().state()), (None, State::ForcedClosed));
    bench.pipeline.reconfigure(s(1), &with(breaker())).unwrap();
    assert_eq!(bench.breaker().state(), State::Closed);
}

#[test]
fn the_slots_in_use_stay_and_come_back() {
    let with = |limit: concurrency::ConcurrencyLimitBuilder| builder().concurrency_limit(limit.build().unwrap());
    let mut bench = Bench::new(with(ConcurrencyLimit::fixed(2)));
    let mut calls = [0; 3].map(|_| bench.call(0));
    assert_eq!([0, 1].map(|call| bench.poll(0, &mut calls[call])), [start(1, 10); 2]);
    bench.pipeline.reconfigure(s(1), &with(ConcurrencyLimit::fixed(1)).build().unwrap()).unwrap();
    let too_many = |in_flight| Step::Done(Err(Rejected::TooManyInFlight { in_flight, limit: 1, retry_at: s(120) }));
    assert_eq!(bench.poll(1, &mut calls[2]), too_many(2));
    bench.finish(2, &mut calls[0], Outcome::success());
    let mut late = bench.call(2);
    assert_eq!(bench.poll(2, &mut late), too_many(1));
    bench.finish(2, &mut calls[1], Outcome::success());
    let mut late = bench.call(2);
    assert_eq!(bench.poll(2, &mut late), start(1, 12));
}
