//! What is wrong is named by its path, in every format.

use steadfast_config::{ConfigError, PipelineConfig, read};

fn toml(text: &str) -> Result<PipelineConfig, ConfigError> {
    read(toml::Deserializer::parse(text).expect("TOML"))
}

fn json(text: &str) -> Result<PipelineConfig, ConfigError> {
    read(&mut serde_json::Deserializer::from_str(text))
}

/// What is wrong with a text in TOML, when it is read or when it is built.
fn check(text: &str, want: &str) {
    let error = toml(text).and_then(|config| config.build::<1>()).expect_err(text);
    assert_eq!(error.to_string(), want, "{text}");
    assert!(want.starts_with(error.path()), "{text}: {}", error.path());
}

#[test]
fn what_makes_no_sense_is_named_by_the_path_of_its_field() {
    for (text, want) in [
        ("deadline = \"0s\"", "deadline: deadline is 0ns, which is not more than zero"),
        ("retry.max_attempts = 0", "retry.max_attempts: max_attempts is 0, which is not at least 1"),
        ("retry.backoff.base = \"0s\"", "retry.backoff.base: base is 0ns, which is not more than zero"),
        (
            "retry.backoff.cap = \"1ms\"",
            "retry.backoff.cap: cap is 1ms: it must be at least as long as base, which is 100ms",
        ),
        ("retry.backoff.factor = 0", "retry.backoff.factor: factor is 0, which is not at least 1"),
        (
            "retry.backoff = { growth = \"linear\", factor = 2 }",
            "retry.backoff.factor: only an exponential growth has one",
        ),
        (
            "retry.backoff = { growth = \"decorrelated\", jitter = \"full\" }",
            "retry.backoff.jitter: a decorrelated backoff has none to be chosen",
        ),
        ("budget.ratio.percent = 0", "budget.ratio.percent: percent is 0, which is not from 1 to 1,000"),
        (
            "budget.ratio.reserve = { retries = 1, every = \"0s\" }",
            "budget.ratio.reserve.every: every is 0ns, which is not more than zero",
        ),
        (
            "budget.quota = { capacity = 5 }",
            "budget.quota.transient_cost: transient_cost is 14: it must be at most capacity, which is 5",
        ),
        (
            "budget.in_flight.lease = \"1ns\"",
            "budget.in_flight.lease: lease is 1ns, which is not at least a microsecond",
        ),
        (
            "budget.throttle.max_tokens = 1001",
            "budget.throttle.max_tokens: max_tokens is 1001, which is not from 1 to 1,000",
        ),
        (
            "budget.adaptive.multiplier_percent = 9",
            "budget.adaptive.multiplier_percent: multiplier_percent is 9, which is not at least 100",
        ),
        ("hedge.percentile = 3", "hedge.percentile: percentile is 3, which is not from 50 to 99"),
        ("hedge.after = \"0s\"", "hedge.after: min_delay is 0ns, which is not more than zero"),
        (
            "hedge = { after = \"1s\", percentile = 90 }",
            "hedge.after: it stands instead of `percentile`, `min_delay` and `max_delay`, not beside them",
        ),
        (
            "hedge.after = \"20s\"",
            "hedge.min_delay: hedge.min_delay is 20s: it must be less than attempt_timeout, which is 10s",
        ),
        ("circuit_breaker.probes = 9", "circuit_breaker.probes: probes is 9, which is not 1 to 8"),
        (
            "circuit_breaker.window = \"200 calls\"",
            "circuit_breaker.window: window is 200, which is not 1 to 128 calls",
        ),
        (
            "circuit_breaker.open_growth = { factor = 0, cap = \"1m\" }",
            "circuit_breaker.open_growth: open_growth is 0, which is not at least 1",
        ),
        (
            "circuit_breaker.window = \"15s\"",
            "circuit_breaker.window: window is 15s: it must be at least twice as long as attempt_timeout, which is 10s",
        ),
        (
            "attempt_timeout = \"1m\"\ndeadline = \"2m\"",
            "attempt_timeout: attempt_timeout is 60s: it must be at most as long as probe_lease, which is 30s",
        ),
        ("concurrency_limit.fixed = 0", "concurrency_limit.fixed: min is 0, which is not at least 1"),
        ("concurrency_limit.max = 5", "concurrency_limit.max: max is 5: it must be at least initial, which is 20"),
        (
            "concurrency_limit = { fixed = 5, max = 9 }",
            "concurrency_limit.fixed: it stands instead of `algorithm`, `initial`, `min` and `max`, not beside them",
        ),
        ("rate_limits = [\"1/s\", \"2/s\"]", "rate_limits: there are 2, and this pipeline is built for 1"),
    ] {
        check(text, want);
    }
}

#[test]
fn what_cannot_be_read_is_named_by_its_path_in_both_formats() {
    for (in_toml, in_json, path, said) in [
        (
            "[retry]\nmax_atempts = 3",
            r#"{"retry": {"max_atempts": 3}}"#,
            "retry.max_atempts",
            "unknown field `max_atempts`",
        ),
        ("deadline = 30", r#"{"deadline": 30}"#, "deadline", "invalid type: integer `30`, expected a duration such as"),
        ("deadline = \"30\"", r#"{"deadline": "30"}"#, "deadline", "invalid value: string \"30\", expected a duration"),
        (
            "[circuit_breaker]\nslow_call_rate = { percent = 5 }",
            r#"{"circuit_breaker": {"slow_call_rate": {"percent": 5}}}"#,
            "circuit_breaker.slow_call_rate",
            "missing field `slow_at`",
        ),
        (
            "rate_limits = [\"1/s\", \"2/fortnight\"]",
            r#"{"rate_limits": ["1/s", "2/fortnight"]}"#,
            "rate_limits[1]",
            "\"2/fortnight\": no rate: write it as in",
        ),
        (
            "rate_limits = [{ rate = \"0/s\" }]",
            r#"{"rate_limits": [{"rate": "0/s"}]}"#,
            "rate_limits[0].rate",
            "\"0/s\": tokens is 0, which is not at least 1",
        ),
        ("budget.ratoi = {}", r#"{"budget": {"ratoi": {}}}"#, "budget", "unknown variant `ratoi`"),
        ("hedge = \"never\"", r#"{"hedge": "never"}"#, "hedge", "invalid type: string \"never\", expected struct"),
        (
            "retry.backoff.jitter = \"101%\"",
            r#"{"retry": {"backoff": {"jitter": "101%"}}}"#,
            "retry.backoff.jitter",
            "101%",
        ),
        ("retry.max_attempts = -1", r#"{"retry": {"max_attempts": -1}}"#, "retry.max_attempts", "-1"),
        ("hedge.percentile = 1.5", r#"{"hedge": {"percentile": 1.5}}"#, "hedge.percentile", "1.5"),
        ("adaptive_rate = \"yes\"", r#"{"adaptive_rate": "yes"}"#, "adaptive_rate", "expected a boolean"),
    ] {
        for error in [toml(in_toml), json(in_json)].map(|result| result.expect_err(in_toml)) {
            assert!(error.path().starts_with(path), "{in_toml}: {error}");
            assert!(error.to_string().contains(said), "{in_toml}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
