use core::fmt;

use super::Pipeline;
use crate::limits::Inspect;

/// A pipeline in words: what [`Pipeline::describe`] returns.
#[derive(Debug)]
pub struct Description<'a, L> {
    pipeline: &'a Pipeline<L>,
}

impl<L: Inspect> Pipeline<L> {
    /// Every policy in its order, outermost first, a line for each, with its settings in words.
    ///
    /// ```
    /// use steadfast_core::pipeline::Pipeline;
    /// use steadfast_core::rate_limit::{Quota, TokenBucket};
    ///
    /// let quota = Quota::per_second(100)?.with_burst(10)?;
    /// let pipeline = Pipeline::builder().rate_limit(TokenBucket::new(quota)).build()?;
    /// let text = pipeline.describe().to_string();
    /// assert!(text.starts_with("deadline: 30s for the whole call\nretry: at most 4 attempts, "));
    /// assert!(text.contains("\nrate limit: 100 per 1s, 10 at once\n"));
    /// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
    /// ```
    ///
    /// It is for people: the words may change with any version. What a policy has learned or counted is not in it.
    pub const fn describe(&self) -> Description<'_, L> {
        Description { pipeline: self }
    }
}

impl<L: Inspect> fmt::Display for Description<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pipeline { deadline, attempt_timeout, retry, budget, hedge, circuit_breaker, limits } = self.pipeline;
        match deadline {
            Some(deadline) => writeln!(f, "deadline: {deadline:?} for the whole call")?,
            None => f.write_str("deadline: none\n")?,
        }
        writeln!(f, "retry: {retry}\nretry budget: {budget}")?;
        match hedge {
            Some(hedge) => writeln!(f, "hedge: {hedge}")?,
            None => f.write_str("hedge: none\n")?,
        }
        match circuit_breaker {
            Some(breaker) => writeln!(f, "circuit breaker: {breaker}")?,
            None => f.write_str("circuit breaker: none\n")?,
        }
        limits.describe(f)?;
        f.write_str("\n")?;
        match attempt_timeout {
            Some(timeout) => write!(f, "attempt timeout: {timeout:?}"),
            None => f.write_str("attempt timeout: none"),
        }
    }
}
