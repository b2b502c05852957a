use core::time::Duration;

use super::{Pipeline, PipelineBuilder};
use crate::backoff::Backoff;
use crate::circuit_breaker::CircuitBreaker;
use crate::concurrency::{Algorithm, ConcurrencyLimit};
use crate::limits::{Counts, Limits};
use crate::rate_limit::{Quota, RateLimits};
use crate::retry::Retry;
use crate::retry::budget::Budget;
use crate::settings::InvalidSetting;

impl Pipeline {
    /// The standard pipeline, to be changed: its [defaults](super) are for calls that somebody waits for.
    pub const fn builder() -> PipelineBuilder {
        PipelineBuilder {
            deadline: Some(Duration::from_secs(30)),
            attempt_timeout: Some(Duration::from_secs(10)),
            retry: Retry::builder().unchecked(),
            budget: Budget::ratio().unchecked(),
            hedge: None,
            circuit_breaker: Some(CircuitBreaker::builder().unchecked()),
            limits: Limits::none(),
        }
    }

    /// The standard pipeline, as it is.
    pub fn standard() -> Self {
        let PipelineBuilder { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits } =
            Self::builder();
        Self { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits }
    }

    /// A pipeline for an API that answers with the text of a large language model, to be changed.
    ///
    /// `requests` and `tokens` are what your account may do: 500 requests and 90,000 tokens a minute, say, each with the
    /// burst that it bears. A call weighs its tokens, prompt and longest answer together; see
    /// [`CallOptions::with_weight`](super::CallOptions::with_weight).
    ///
    /// | Setting | Default | Why |
    /// | --- | --- | --- |
    /// | rate limits | `requests` counts calls, `tokens` counts weight | so do these APIs, and one that is missed refuses the call |
    /// | `deadline` | 10 min | a long answer takes minutes, and nobody waits for longer |
    /// | `attempt_timeout` | 4 min | leaves time for a second attempt after one that hung |
    /// | `retry.max_attempts` | 3 | an attempt is dear, here and there |
    /// | `backoff.base`, `cap` | 500 ms, 30 s | such servers are overloaded for seconds, not for milliseconds; they say when to come back, and these spread callers behind that |
    /// | `budget` | the standard one | |
    /// | `circuit_breaker.failure_threshold` | 10 in a row, and no rate | answers differ too much in length for a rate over time to mean one thing |
    /// | `circuit_breaker.open_for` | 15 s | an overload lasts longer than a restart |
    /// | `circuit_breaker.probe_lease` | 5 min | longer than an attempt |
    /// | `concurrency_limit` | [`Algorithm::Aimd`] from 20, 1 to 200, `lease` 5 min | latency says nothing about load where answers differ in length; refusals do |
    ///
    /// # Errors
    /// None with these settings; they are checked as any others are.
    pub fn for_llm_api(requests: Quota, tokens: Quota) -> Result<PipelineBuilder<2>, InvalidSetting> {
        let lease = Duration::from_secs(5 * 60);
        let backoff = Backoff::builder().base(Duration::from_millis(500)).cap(Duration::from_secs(30)).build()?;
        let breaker = CircuitBreaker::builder()
            .without_failure_rate()
            .open_for(Duration::from_secs(15))
            .probe_lease(lease)
            .build()?;
        let slots = ConcurrencyLimit::builder().algorithm(Algorithm::Aimd).lease(lease).build()?;
        Ok(Self::builder()
            .deadline(Duration::from_secs(10 * 60))
            .attempt_timeout(Duration::from_secs(4 * 60))
            .retry(Retry::builder().max_attempts(3).backoff(backoff).build()?)
            .circuit_breaker(breaker)
            .rate_limits(RateLimits::new([requests, tokens]), [Counts::Calls, Counts::Weight])
            .concurrency_limit(slots))
    }
}

/// The standard pipeline.
impl Default for Pipeline {
    fn default() -> Self {
        Self::standard()
    }
}
