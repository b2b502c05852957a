use std::future::Future;
use std::time::Duration;

use steadfast_core::event::Observer;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{Attempt, CallOptions};
use steadfast_core::rejected::Rejected;
use steadfast_core::run::{CallError, History, LastAttempt};
use steadfast_core::time::Timer;

use crate::pipeline::SharedPipeline;

impl<T: Timer, O: Observer, const K: usize> SharedPipeline<T, O, K> {
    /// Runs an operation that returns a [`Result`]: `Ok` is a success, and any `Err` may pass.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use steadfast_core::pipeline::{CallOptions, Pipeline};
    /// use steadfast_core::time::ManualClock;
    /// use steadfast_executor::SharedPipeline;
    ///
    /// let clock = ManualClock::new(); // Or the timer of your runtime.
    /// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
    /// let read = pipeline.run(CallOptions::idempotent(), |attempt| async move {
    ///     if attempt.number < 3 { Err(Error::from(ErrorKind::ConnectionReset)) } else { Ok("hello") }
    /// });
    /// assert_eq!(clock.drive(read).expect("it ends").ok(), Some("hello"));
    /// ```
    ///
    /// Where some errors do not pass, [`run_if`](Self::run_if) is told which; where a server says when to come back,
    /// [`call`](Self::call) takes a whole classifier.
    ///
    /// Cancel safe, as [`call`](Self::call) is.
    ///
    /// # Errors
    /// When no further attempt is made, with the reason and the error of the last one.
    pub async fn run<R, E, F>(
        &self,
        options: CallOptions,
        operation: impl FnMut(Attempt) -> F,
    ) -> Result<R, CallError<E>>
    where
        F: Future<Output = Result<R, E>>,
    {
        self.run_if(options, |_| true, operation).await
    }

    /// The same, and only an `Err` of which `may_pass` says so is followed by another attempt.
    ///
    /// Cancel safe, as [`call`](Self::call) is.
    ///
    /// # Errors
    /// When no further attempt is made, with the reason and the error of the last one.
    pub async fn run_if<R, E, F>(
        &self,
        options: CallOptions,
        may_pass: impl Fn(&E) -> bool,
        operation: impl FnMut(Attempt) -> F,
    ) -> Result<R, CallError<E>>
    where
        F: Future<Output = Result<R, E>>,
    {
        let classify = |result: &Result<R, E>| match result {
            Ok(_) => Outcome::success(),
            Err(error) if may_pass(error) => Outcome::transient(),
            Err(_) => Outcome::permanent(),
        };
        match self.call(options, classify, operation).await {
            Ok(Ok(value)) => Ok(value),
            // Neither happens: of the results, `Ok` is the success, and no other.
            Ok(Err(error)) => Err(CallError {
                rejected: Rejected::Permanent,
                last: LastAttempt::Returned(error),
                attempts: 1,
                elapsed: Duration::ZERO,
                history: History::default(),
            }),
            Err(CallError { last: LastAttempt::Returned(Ok(value)), .. }) => Ok(value),
            Err(CallError { rejected, last, attempts, elapsed, history }) => {
                let last = match last {
                    LastAttempt::Returned(Err(error)) => LastAttempt::Returned(error),
                    LastAttempt::TimedOut => LastAttempt::TimedOut,
                    LastAttempt::NotMade | LastAttempt::Returned(Ok(_)) => LastAttempt::NotMade,
                };
                Err(CallError { rejected, last, attempts, elapsed, history })
            }
        }
    }
}

/// Operations that can be made again: closures that return a future of a [`Result`].
///
/// ```
/// use steadfast_core::pipeline::Pipeline;
/// use steadfast_core::time::ManualClock;
/// use steadfast_executor::{Retryable, SharedPipeline};
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
///
/// let mut answers = [Err("busy"), Ok(7)].into_iter();
/// let ask = move || std::future::ready(answers.next().unwrap_or(Err("gone")));
/// assert_eq!(clock.drive(ask.retry(&pipeline)).expect("it ends").ok(), Some(7));
/// ```
///
/// Whoever asks for a retry says that the operation may be done twice: it counts as idempotent.
pub trait Retryable<R, E> {
    /// Runs it through `pipeline`, as [`SharedPipeline::run`] does.
    ///
    /// # Errors
    /// When no further attempt is made, with the reason and the error of the last one.
    fn retry<T: Timer, O: Observer, const K: usize>(
        self,
        pipeline: &SharedPipeline<T, O, K>,
    ) -> impl Future<Output = Result<R, CallError<E>>>;
}

impl<R, E, F, Operation> Retryable<R, E> for Operation
where
    F: Future<Output = Result<R, E>>,
    Operation: FnMut() -> F,
{
    async fn retry<T: Timer, O: Observer, const K: usize>(
        mut self,
        pipeline: &SharedPipeline<T, O, K>,
    ) -> Result<R, CallError<E>> {
        pipeline.run(CallOptions::idempotent(), |_attempt| self()).await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use steadfast_core::pipeline::Pipeline;
    use steadfast_core::time::ManualClock;

    use super::*;

    /// An operation that returns one result after the other, and how often it was run.
    fn check(
        results: &[Result<u8, &'static str>],
        options: CallOptions,
        want: Result<u8, (Rejected, LastAttempt<&'static str>)>,
    ) {
        let clock = ManualClock::new();
        let pipeline = SharedPipeline::with_seed(Pipeline::standard(), &clock, 7);
        let run = Cell::new(0);
        let operation = |attempt: Attempt| {
            run.set(run.get() + 1);
            assert_eq!(attempt.number, run.get());
            std::future::ready(results[attempt.number as usize - 1])
        };
        let got = clock.drive(pipeline.run_if(options, |error| *error == "busy", operation)).unwrap();
        assert_eq!(run.get() as usize, results.len());
        assert_eq!(got.map_err(|error| (error.rejected, error.last)), want);
    }

    #[test]
    fn errors_that_may_pass_are_followed_by_another_attempt() {
        let idempotent = CallOptions::idempotent();
        check(&[Ok(1)], idempotent, Ok(1));
        check(&[Err("busy"), Ok(2)], idempotent, Ok(2));
        check(&[Err("wrong")], idempotent, Err((Rejected::Permanent, LastAttempt::Returned("wrong"))));
        let unsafe_twice = Err((Rejected::NotIdempotent, LastAttempt::Returned("busy")));
        check(&[Err("busy")], CallOptions::not_idempotent(), unsafe_twice);
        let none =
            Err((Rejected::DeadlineExceeded { deadline: steadfast_core::time::Instant::EPOCH }, LastAttempt::NotMade));
        check(&[], idempotent.with_deadline(Duration::ZERO), none);
    }

    #[test]
    fn the_future_of_a_retry_can_be_sent() {
        fn sent<S: Send>(future: S) -> S {
            future
        }
        #[derive(Debug)]
        struct Still;
        impl steadfast_core::time::Clock for Still {
            fn now(&self) -> steadfast_core::time::Instant {
                steadfast_core::time::Instant::EPOCH
            }
        }
        impl Timer for Still {
            type Sleep = std::future::Pending<()>;
            fn sleep_until(&self, _deadline: steadfast_core::time::Instant) -> Self::Sleep {
                std::future::pending()
            }
        }
        let pipeline = SharedPipeline::new(Pipeline::standard(), Still);
        let future = sent((|| async { Ok::<_, ()>(1) }).retry(&pipeline));
        let mut future = Box::pin(future);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_ready());
    }
}
