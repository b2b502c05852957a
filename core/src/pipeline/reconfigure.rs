use super::Pipeline;
use crate::limits::Reconfigure;
use crate::settings::{InvalidSetting, unchangeable};
use crate::time::Instant;

impl<L: Reconfigure> Pipeline<L> {
    /// Goes over to the settings of another pipeline, which has made no calls, while calls go through this one. All of them,
    /// or with an error none.
    ///
    /// ```
    /// use core::time::Duration;
    /// use steadfast_core::pipeline::Pipeline;
    /// use steadfast_core::rate_limit::{Quota, TokenBucket};
    /// use steadfast_core::time::Instant;
    ///
    /// let limited = |quota| Pipeline::builder().rate_limit(TokenBucket::new(quota));
    /// let mut pipeline = limited(Quota::per_second(100)?).build()?;
    /// let now = Instant::EPOCH;
    /// pipeline.reconfigure(now, &limited(Quota::per_second(20)?).deadline(Duration::from_secs(60)).build()?)?;
    /// assert!(pipeline.describe().to_string().contains("rate limit: 20 per 1s"));
    ///
    /// let error = pipeline.reconfigure(now, &Pipeline::standard()).unwrap_err();
    /// let why = "limits that calls wait for can neither come nor go";
    /// assert_eq!(error.to_string(), format!("rate_limits cannot be changed while calls go by it: {why}"));
    /// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
    /// ```
    ///
    /// | Setting | Changed | What stays |
    /// | --- | --- | --- |
    /// | `deadline` | for calls that start | the deadlines of calls under way |
    /// | `attempt_timeout` | for attempts that start | the timeouts of attempts under way |
    /// | `retry`, its backoff | from the next decision on, of calls under way too: who lowers it in an outage means now | |
    /// | `budget` | all but its kind, and the time over which it counts | what was spent and earned |
    /// | `hedge` | all | the latencies that it has learned |
    /// | `circuit_breaker` | all, `mode` included | its state, its window, its probes; it stays open no longer than the settings allow |
    /// | rate limits | their quotas | debts, and what a server has blocked: see [`TokenBucket::set_quota`](crate::rate_limit::TokenBucket::set_quota) |
    /// | `adaptive_rate` | | what it has learned |
    /// | concurrency limit | all, its `lease` only to a longer one | who is in flight; what was learned, as far as the algorithm stays |
    ///
    /// What is there stays there: a policy can neither come nor go. One that is to be switched on or off later is there
    /// from the start, as a breaker in [`Mode::ForcedClosed`](crate::circuit_breaker::Mode::ForcedClosed) or a large quota.
    ///
    /// # Errors
    /// With a setting that cannot be changed, and why; then nothing has changed.
    pub fn reconfigure(&mut self, now: Instant, to: &Pipeline<L::Settings>) -> Result<(), InvalidSetting> {
        self.accepts(to)?;
        let Pipeline { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits } = to;
        (self.deadline, self.attempt_timeout, self.retry) = (*deadline, *attempt_timeout, *retry);
        self.budget.reconfigure(now, budget);
        if let (Some(own), Some(to)) = (&mut self.hedge, hedge) {
            own.reconfigure(to);
        }
        if let (Some(own), Some(to)) = (&mut self.circuit_breaker, circuit_breaker) {
            own.reconfigure(now, to);
        }
        self.limits.reconfigure(now, limits);
        Ok(())
    }

    /// Whether it can go over to the settings of another pipeline. Changes nothing.
    ///
    /// # Errors
    /// As [`reconfigure`](Self::reconfigure).
    pub fn accepts(&self, to: &Pipeline<L::Settings>) -> Result<(), InvalidSetting> {
        if self.hedge.is_some() != to.hedge.is_some() {
            return Err(unchangeable("hedge", "calls under way have room for a second attempt, or have none"));
        }
        if self.circuit_breaker.is_some() != to.circuit_breaker.is_some() {
            return Err(unchangeable("circuit_breaker", "it can neither come nor go: its mode can be changed"));
        }
        self.budget.accepts(&to.budget)?;
        self.limits.accepts(&to.limits)
    }
}
