use std::future::Future;

use steadfast_core::event::Observer;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{Attempt, CallOptions, Pipeline};
use steadfast_core::run::{CallError, Runner};
use steadfast_core::share::Share;
use steadfast_core::time::Timer;

use crate::line::Line;
use crate::lock;
use crate::sync::{Arc, Mutex};

/// A pipeline that many tasks make calls through.
///
/// ```
/// use steadfast_core::outcome::Outcome;
/// use steadfast_core::pipeline::{CallOptions, Pipeline};
/// use steadfast_core::time::ManualClock;
/// use steadfast_executor::SharedPipeline;
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let pipeline = SharedPipeline::new(Pipeline::builder().build()?, &clock);
///
/// let mut flaky = [Err("connection reset"), Ok("hello")].into_iter();
/// let classify = |result: &Result<_, _>| if result.is_ok() { Outcome::success() } else { Outcome::transient() };
/// let call = pipeline.call(CallOptions::idempotent(), classify, |_attempt| {
///     let answer = flaky.next().expect("a second attempt is enough");
///     async move { answer }
/// });
/// assert_eq!(clock.drive(call), Some(Ok(Ok("hello"))));
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// Clones share the policies. Calls that wait for the rate limit stand in a [`Line`].
#[derive(Debug)]
pub struct SharedPipeline<T, O = ()> {
    policies: Arc<Policies>,
    timer: T,
    observer: O,
}

#[derive(Debug)]
struct Policies {
    pipeline: Mutex<Pipeline<Line>>,
    /// Seeded once for each pipeline, so that no two processes draw the same jitter.
    entropy: Mutex<fastrand::Rng>,
}

impl<T: Clone, O: Clone> Clone for SharedPipeline<T, O> {
    fn clone(&self) -> Self {
        Self { policies: Arc::clone(&self.policies), timer: self.timer.clone(), observer: self.observer.clone() }
    }
}

impl<T: Timer> SharedPipeline<T> {
    /// Shares `pipeline`, with a line before its rate limit, and a seed of its own for jitter.
    pub fn new(pipeline: Pipeline, timer: T) -> Self {
        Self::with_seed(pipeline, timer, fastrand::u64(..))
    }

    /// The same with a given seed, so that a run can be repeated.
    pub fn with_seed(pipeline: Pipeline, timer: T, seed: u64) -> Self {
        let policies = Policies {
            pipeline: Mutex::new(pipeline.map_rate_limit(Line::before)),
            entropy: Mutex::new(fastrand::Rng::with_seed(seed)),
        };
        Self { policies: Arc::new(policies), timer, observer: () }
    }
}

impl<T: Timer, O: Observer> SharedPipeline<T, O> {
    /// The same pipeline, with somebody to tell what happens.
    pub fn with_observer<P: Observer>(self, observer: P) -> SharedPipeline<T, P> {
        SharedPipeline { policies: self.policies, timer: self.timer, observer }
    }

    /// The timer that calls wait on.
    pub fn timer(&self) -> &T {
        &self.timer
    }

    /// Makes one call: runs `attempt` as often as the pipeline allows, until `classify` calls its result a success.
    ///
    /// Cancel safe: dropped, it gives back its place in line, the tokens it was granted and did not use, and the
    /// breaker's permit.
    ///
    /// # Errors
    /// When no further attempt is made, with the reason and what the last attempt returned.
    pub async fn call<R, F>(
        &self,
        options: CallOptions,
        classify: impl Fn(&R) -> Outcome,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<R, CallError<R>>
    where
        F: Future<Output = R>,
    {
        let runner = Runner { pipeline: &*self.policies, timer: &self.timer, observer: &self.observer };
        runner.call(options, || lock(&self.policies.entropy).u64(..), classify, attempt).await
    }
}

impl Share for Policies {
    type State = Pipeline<Line>;

    fn with<R>(&self, f: impl FnOnce(&mut Pipeline<Line>) -> R) -> R {
        f(&mut lock(&self.pipeline))
    }
}
