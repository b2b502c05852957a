//! What a file makes of a pipeline: nothing hidden, nothing lost.

use std::time::Duration;

use proptest::prelude::*;
use steadfast_config::{
    BackoffConfig, BudgetConfig, CircuitBreakerConfig, ConcurrencyLimitConfig, HedgeConfig, KeyedRateLimitConfig,
    OrNone, PipelineConfig, Preset, Rate, RetryConfig, SlidingWindowConfig, Time, read,
};
use steadfast_core::backoff::{Backoff, Growth, Jitter};
use steadfast_core::circuit_breaker::{CircuitBreaker, DroppedCall, Mode, Window};
use steadfast_core::concurrency::{Algorithm, ConcurrencyLimit};
use steadfast_core::event::Events;
use steadfast_core::hedge::Hedge;
use steadfast_core::limits::{Counts, Limits};
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline, Step};
use steadfast_core::rate_limit::{AdaptiveRate, Quota, RateLimits, TokenBucket};
use steadfast_core::retry::Retry;
use steadfast_core::retry::budget::Budget;
use steadfast_core::time::Instant;

fn toml<T: serde::de::DeserializeOwned>(text: &str) -> T {
    read(toml::Deserializer::parse(text).expect("TOML")).unwrap_or_else(|error| panic!("{error}, of {text}"))
}

fn rate(text: &str) -> Rate {
    text.parse().expect("a rate")
}

/// All that a pipeline is, settings and state.
fn all_of<const K: usize>(pipeline: &Pipeline<Limits<K>>) -> String {
    format!("{pipeline:?}")
}

fn same<const K: usize>(text: &str, want: &Pipeline<Limits<K>>) {
    let config: PipelineConfig = toml(text);
    let built = config.build::<K>().unwrap_or_else(|error| panic!("{error}, of {text}"));
    assert_eq!(all_of(&built), all_of(want), "{text}");
    for config in [toml(&toml::to_string(&config).unwrap()), json(&config)] {
        assert_eq!(all_of(&PipelineConfig::build::<K>(&config).unwrap()), all_of(want), "{text}, written and read");
    }
}

fn json(config: &PipelineConfig) -> PipelineConfig {
    let text = serde_json::to_string(config).expect("JSON");
    let mut from = serde_json::Deserializer::from_str(&text);
    let config = read(&mut from).unwrap_or_else(|error| panic!("{error}, of {text}"));
    from.end().expect("nothing more");
    config
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn what_is_left_out_is_the_cores_default_and_standard_says_all_of_it() {
    same("", &Pipeline::standard());
    same("preset = \"standard\"", &Pipeline::standard());
    let standard = PipelineConfig::standard();
    assert_eq!(all_of(&standard.build::<1>().unwrap()), all_of(&Pipeline::standard()));
    same(&toml::to_string(&standard).unwrap(), &Pipeline::standard());
    // What it says is what a reader would write.
    let text = toml::to_string(&standard).unwrap();
    for line in [
        "deadline = \"30s\"",
        "attempt_timeout = \"10s\"",
        "hedge = \"none\"",
        "base = \"100ms\"",
        "jitter = \"full\"",
        "every = \"1m\"",
        "window = \"30s\"",
        "failure_threshold = 10",
        "recover_over = \"none\"",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_preset_for_language_models_is_the_cores_and_can_be_changed() {
    let quota = |text| rate(text).quota();
    let (requests, tokens) = ("500/min burst 10", "90000/min burst 9000");
    let core = || Pipeline::for_llm_api(quota(requests), quota(tokens)).unwrap();
    let preset = format!("preset.llm_api = {{ requests = \"{requests}\", tokens = \"{tokens}\" }}\n");
    same(&preset, &core().build().unwrap());
    same(&toml::to_string(&PipelineConfig::llm_api(rate(requests), rate(tokens))).unwrap(), &core().build().unwrap());

    let longer = |builder: steadfast_core::circuit_breaker::CircuitBreakerBuilder| {
        builder.without_failure_rate().open_for(secs(60)).probe_lease(secs(300)).build().unwrap()
    };
    let breaker = core().circuit_breaker(longer(CircuitBreaker::builder()));
    same(&format!("{preset}circuit_breaker.open_for = \"1m\""), &breaker.build().unwrap());
    let fixed = ConcurrencyLimit::fixed(3).lease(secs(300)).build().unwrap();
    same(&format!("{preset}concurrency_limit.fixed = 3"), &core().concurrency_limit(fixed).build().unwrap());
    let vegas = ConcurrencyLimit::builder().algorithm(Algorithm::Vegas).lease(secs(300)).build().unwrap();
    same(
        &format!("{preset}concurrency_limit.algorithm = \"vegas\""),
        &core().concurrency_limit(vegas).build().unwrap(),
    );
    let backoff = Backoff::builder().growth(Growth::Linear).base(Duration::from_millis(500)).cap(secs(30)).build();
    let retry = Retry::builder().max_attempts(3).backoff(backoff.unwrap()).build().unwrap();
    same(&format!("{preset}retry.backoff.growth = \"linear\""), &core().retry(retry).build().unwrap());
    let budget = Budget::ratio().percent(5).build().unwrap();
    same(&format!("{preset}budget.ratio.percent = 5"), &core().budget(budget).build().unwrap());
    let one = core().rate_limits(RateLimits::new([quota("5/s")]), [Counts::Weight]);
    same(&format!("{preset}rate_limits = [\"5/s\"]"), &one.build().unwrap());
    let off = core().without_circuit_breaker().without_deadline().build().unwrap();
    same(&format!("{preset}circuit_breaker = \"none\"\ndeadline = \"none\""), &off);
}

#[test]
fn every_setting_does_what_the_builders_method_of_its_name_does() {
    let builder = Pipeline::builder;
    let backoff =
        |backoff: Backoff| builder().retry(Retry::builder().backoff(backoff).build().unwrap()).build().unwrap();
    let base = |growth| backoff(Backoff::builder().growth(growth).build().unwrap());
    same("deadline = \"none\"", &builder().without_deadline().build().unwrap());
    same("attempt_timeout = \"none\"", &builder().without_attempt_timeout().build().unwrap());
    same(
        "retry.max_attempts = 7",
        &builder().retry(Retry::builder().max_attempts(7).build().unwrap()).build().unwrap(),
    );
    same("retry.backoff.growth = \"constant\"", &base(Growth::Constant));
    same("retry.backoff.growth = \"fibonacci\"", &base(Growth::Fibonacci));
    same("retry.backoff.factor = 3", &base(Growth::Exponential { factor: 3 }));
    let decorrelated = Backoff::decorrelated(Duration::from_millis(100), secs(5)).unwrap();
    same("retry.backoff = { growth = \"decorrelated\", cap = \"5s\" }", &backoff(decorrelated));
    for (jitter, text) in
        [(Jitter::None, "none"), (Jitter::Full, "full"), (Jitter::Equal, "equal"), (Jitter::Proportional(20), "20%")]
    {
        let built = Backoff::builder().base(secs(1)).cap(secs(9)).jitter(jitter).build().unwrap();
        same(&format!("retry.backoff = {{ base = \"1s\", cap = \"9s\", jitter = \"{text}\" }}"), &backoff(built));
    }
    for (text, budget) in [
        ("budget = \"unlimited\"", Ok(Budget::unlimited())),
        ("budget = \"aws_standard_2_0\"", Ok(Budget::aws_standard_2_0())),
        ("budget = \"aws_standard_2_1\"", Ok(Budget::aws_standard_2_1())),
        (
            "budget.ratio = { percent = 7, window = \"20s\", reserve = { retries = 5, every = \"9s\" } }",
            Budget::ratio().percent(7).window(secs(20)).reserve(5, secs(9)).build(),
        ),
        (
            "budget.quota = { capacity = 90, transient_cost = 1, throttled_cost = 2, timeout_cost = 3, hedge_cost = 4, \
             success_gain = 5 }",
            Budget::quota()
                .capacity(90)
                .transient_cost(1)
                .throttled_cost(2)
                .timeout_cost(3)
                .hedge_cost(4)
                .success_gain(5)
                .build(),
        ),
        (
            "budget.in_flight = { percent = 7, min_retries = 8, lease = \"9s\" }",
            Budget::in_flight().percent(7).min_retries(8).lease(secs(9)).build(),
        ),
        (
            "budget.throttle = { max_tokens = 7, token_ratio_thousandths = 8 }",
            Budget::throttle().max_tokens(7).token_ratio_thousandths(8).build(),
        ),
        (
            "budget.adaptive = { multiplier_percent = 300, window = \"9s\" }",
            Budget::adaptive().multiplier_percent(300).window(secs(9)).build(),
        ),
    ] {
        same(text, &builder().budget(budget.unwrap()).build().unwrap());
    }
    let hedge = |hedge: steadfast_core::hedge::HedgeBuilder| builder().hedge(hedge.build().unwrap()).build().unwrap();
    same("hedge = {}", &hedge(Hedge::builder()));
    same("hedge = { after = \"2s\", max_hedges = 2 }", &hedge(Hedge::builder().after(secs(2)).max_hedges(2)));
    same(
        "hedge = { percentile = 90, min_delay = \"1s\", max_delay = \"2s\" }",
        &hedge(Hedge::builder().percentile(90).min_delay(secs(1)).max_delay(secs(2))),
    );
}

#[test]
fn every_setting_of_breakers_and_limits_too() {
    let builder = Pipeline::builder;
    let breaker = |breaker: steadfast_core::circuit_breaker::CircuitBreakerBuilder| {
        builder().circuit_breaker(breaker.build().unwrap()).build().unwrap()
    };
    same("circuit_breaker = \"none\"", &builder().without_circuit_breaker().build().unwrap());
    same(
        "[circuit_breaker]\nfailure_threshold = 3\nfailure_rate = 30\n\
         slow_call_rate = { percent = 40, slow_at = \"2s\" }\nwindow = \"100 calls\"\nminimum_calls = 50\n\
         open_for = \"7s\"\nopen_growth = { factor = 2, cap = \"1m\" }\nopen_jitter = 5\nprobes = 2\n\
         probe_lease = \"20s\"\nsuccess_threshold = 3\nrecover_over = \"30s\"\ndropped_call = \"failure\"\n\
         mode = \"metrics_only\"\n",
        &breaker(
            CircuitBreaker::builder()
                .failure_threshold(3)
                .failure_rate(30)
                .slow_call_rate(40, secs(2))
                .window(Window::Calls(100))
                .minimum_calls(50)
                .open_for(secs(7))
                .open_growth(2, secs(60))
                .open_jitter(5)
                .probes(2)
                .probe_lease(secs(20))
                .success_threshold(3)
                .recover_over(secs(30))
                .dropped_call(DroppedCall::Failure)
                .mode(Mode::MetricsOnly),
        ),
    );
    same(
        "circuit_breaker = { failure_threshold = \"none\", failure_rate = \"none\", window = \"1m\" }",
        &breaker(
            CircuitBreaker::builder().without_failure_threshold().without_failure_rate().window(Window::Time(secs(60))),
        ),
    );
    for (mode, text) in
        [(Mode::ForcedOpen, "forced_open"), (Mode::ForcedClosed, "forced_closed"), (Mode::Automatic, "automatic")]
    {
        same(&format!("circuit_breaker.mode = \"{text}\""), &breaker(CircuitBreaker::builder().mode(mode)));
    }
    let bucket = |text| TokenBucket::new(rate(text).quota());
    same("rate_limits = [\"100/s burst 10\"]", &builder().rate_limit(bucket("100/s burst 10")).build().unwrap());
    let two = RateLimits::of([bucket("100/s"), bucket("5/min")]);
    same(
        "rate_limits = [{ rate = \"100/s\", counts = \"calls\" }, \"5/min\"]",
        &builder().rate_limits(two, [Counts::Calls, Counts::Weight]).build().unwrap(),
    );
    same("rate_limits = []", &Pipeline::builder().without_rate_limits::<3>().build().unwrap());
    same("adaptive_rate = true", &builder().adaptive_rate(AdaptiveRate::new(Instant::EPOCH)).build().unwrap());
    let slots = |limit: steadfast_core::concurrency::ConcurrencyLimitBuilder| {
        builder().concurrency_limit(limit.build().unwrap()).build().unwrap()
    };
    same("concurrency_limit = {}", &slots(ConcurrencyLimit::builder()));
    same("concurrency_limit = { fixed = 8, lease = \"2m\" }", &slots(ConcurrencyLimit::fixed(8).lease(secs(120))));
    for (algorithm, text) in
        [(Algorithm::Aimd, "aimd"), (Algorithm::Vegas, "vegas"), (Algorithm::Gradient2, "gradient2")]
    {
        let limit = ConcurrencyLimit::builder().algorithm(algorithm).initial(5).min(2).max(9);
        same(
            &format!("concurrency_limit = {{ algorithm = \"{text}\", initial = 5, min = 2, max = 9 }}"),
            &slots(limit),
        );
    }
}

#[test]
fn policies_by_themselves() {
    let window: SlidingWindowConfig = toml("calls = 3\nwindow = \"1m\"");
    assert_eq!(window.build::<3>().unwrap().available(Instant::EPOCH), 3);
    assert_eq!(window.build::<4>().unwrap_err().to_string(), "calls: it is 3, and this limit is built for 4");
    let keyed: KeyedRateLimitConfig = toml("rate = \"10/s burst 20\"\nmax_keys = 100000");
    assert_eq!((keyed.rate.quota(), keyed.max_keys), (rate("10/s burst 20").quota(), 100_000));
    assert_eq!(BackoffConfig::default().build().unwrap(), Backoff::default());
    assert_eq!(RetryConfig::default().build().unwrap(), Retry::default());
    assert_eq!(
        format!("{:?}", CircuitBreakerConfig::default().build().unwrap()),
        format!("{:?}", CircuitBreaker::default())
    );
    assert_eq!(
        format!("{:?}", ConcurrencyLimitConfig::default().build().unwrap()),
        format!("{:?}", ConcurrencyLimit::default())
    );
    assert_eq!(format!("{:?}", HedgeConfig::default().build().unwrap()), format!("{:?}", Hedge::default()));
    let ratio: BudgetConfig = serde_json::from_str("{\"ratio\": {}}").unwrap();
    assert_eq!(format!("{:?}", ratio.build().unwrap()), format!("{:?}", Budget::default()));
    let config = PipelineConfig {
        preset: Some(Preset::Standard),
        deadline: Some(OrNone::Some(Time::from(secs(60)))),
        ..<_>::default()
    };
    assert_eq!(toml::to_string(&config).unwrap(), "preset = \"standard\"\ndeadline = \"1m\"\n");
}

/// What calls do, and when they are over.
fn play(pipeline: &mut Pipeline, script: &[(u16, u64, bool)]) -> Vec<Step> {
    let (mut now, mut events, mut steps) = (Instant::EPOCH, Events::new(), Vec::new());
    for (wait, entropy, succeeds) in script {
        let mut call = pipeline.call(now, CallOptions::idempotent());
        for _ in 0..20 {
            let step = call.poll(now, *entropy, pipeline, &mut events);
            steps.push(step);
            match step {
                Step::Start(attempt) => {
                    now += Duration::from_millis((*wait).into());
                    let outcome = if *succeeds { Outcome::success() } else { Outcome::transient() };
                    call.finish(now, *entropy, attempt.number, outcome, pipeline, &mut events);
                }
                Step::Wait(until) => now = until,
                Step::Done(_) => break,
            }
        }
        call.abandon(now, pipeline, &mut events);
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn standard_decides_the_same_once_it_was_written_and_read(
        script in prop::collection::vec((0..12_000_u16, any::<u64>(), any::<bool>()), 1..60),
    ) {
        let text = toml::to_string(&PipelineConfig::standard()).expect("TOML");
        let mut read: Pipeline = toml::<PipelineConfig>(&text).build().expect("a pipeline");
        prop_assert_eq!(play(&mut read, &script), play(&mut Pipeline::standard(), &script));
    }

    #[test]
    fn a_rate_limit_decides_the_same_once_it_was_written_and_read(
        tokens in 1..1000_u32, burst in 1..50_u32,
        script in prop::collection::vec((0..100_u16, any::<u64>(), Just(true)), 1..30),
    ) {
        let quota = Quota::per_second(tokens).and_then(|quota| quota.with_burst(burst)).expect("a quota");
        let config = PipelineConfig { rate_limits: Some(vec![Rate::new(quota).into()]), ..<_>::default() };
        let mut read: Pipeline = json(&config).build().expect("a pipeline");
        let mut built = Pipeline::builder().rate_limit(TokenBucket::new(quota)).build().expect("a pipeline");
        prop_assert_eq!(play(&mut read, &script), play(&mut built, &script));
    }
}
