use std::future::Future;

use steadfast_core::event::Observer;
use steadfast_core::fallback::{Fallback, LastGood};
use steadfast_core::run::CallError;
use steadfast_core::time::Clock;

use crate::lock;
use crate::pipeline::SharedPipeline;
use crate::sync::Mutex;

impl<T: Clock, O: Observer, const K: usize> SharedPipeline<T, O, K> {
    /// The result of a call, or if it ended in a way that `fallback` covers, what `instead` answers.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use steadfast_core::fallback::Fallback;
    /// use steadfast_core::pipeline::{CallOptions, Pipeline};
    /// use steadfast_core::time::ManualClock;
    /// use steadfast_executor::SharedPipeline;
    ///
    /// let clock = ManualClock::new(); // Or the timer of your runtime.
    /// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
    /// let greeting = async {
    ///     let read = pipeline.run(CallOptions::idempotent(), |_attempt| async {
    ///         Err::<String, _>(Error::from(ErrorKind::ConnectionRefused))
    ///     });
    ///     pipeline.fall_back(Fallback::default(), read.await, |_error| Some("hello, whoever you are".to_owned()))
    /// };
    /// assert_eq!(clock.drive(greeting).expect("it ends").ok().as_deref(), Some("hello, whoever you are"));
    /// ```
    ///
    /// The observer is told. Where `instead` has no answer either, the error stays. Whichever way the call was made, its
    /// result is taken.
    ///
    /// # Errors
    /// As the call's, if `fallback` does not cover it, or there is no answer.
    #[allow(clippy::result_large_err)] // As the call returns it.
    pub fn fall_back<R, E>(
        &self,
        fallback: Fallback,
        result: Result<R, CallError<E>>,
        instead: impl FnOnce(&CallError<E>) -> Option<R>,
    ) -> Result<R, CallError<E>> {
        self.runner().fall_back(fallback, result, instead)
    }

    /// The same with another operation, such as a call to another server through a pipeline of its own.
    ///
    /// Cancel safe, if that operation is.
    ///
    /// # Errors
    /// As the call's, if `fallback` does not cover it; else as the other operation's.
    pub async fn fall_back_to<R, E, F>(
        &self,
        fallback: Fallback,
        result: Result<R, CallError<E>>,
        instead: impl FnOnce(CallError<E>) -> F,
    ) -> Result<R, CallError<E>>
    where
        F: Future<Output = Result<R, CallError<E>>>,
    {
        self.runner().fall_back_to(fallback, result, instead).await
    }

    /// The same with the last good answer, as long as it is worth giving again; a good result is kept as that.
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use std::time::Duration;
    /// use steadfast_core::fallback::{Fallback, LastGood};
    /// use steadfast_core::pipeline::{CallOptions, Pipeline};
    /// use steadfast_core::time::ManualClock;
    /// use steadfast_executor::SharedPipeline;
    ///
    /// let clock = ManualClock::new(); // Or the timer of your runtime.
    /// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
    /// let rate = Mutex::new(LastGood::for_at_most(Duration::from_secs(60)));
    /// let ask = async |answer: Result<u32, ()>| {
    ///     let asked = pipeline.run(CallOptions::idempotent(), |_attempt| async move { answer }).await;
    ///     pipeline.fall_back_to_last(Fallback::default(), asked, &rate).ok()
    /// };
    /// assert_eq!(clock.drive(ask(Ok(7))), Some(Some(7)));
    /// assert_eq!(clock.drive(ask(Err(()))), Some(Some(7)));
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(clock.drive(ask(Err(()))), Some(None));
    /// ```
    ///
    /// # Errors
    /// As the call's, if `fallback` does not cover it, or no answer is known that is young enough.
    #[allow(clippy::result_large_err)] // As the call returns it.
    pub fn fall_back_to_last<R: Clone, E>(
        &self,
        fallback: Fallback,
        result: Result<R, CallError<E>>,
        last: &Mutex<LastGood<R>>,
    ) -> Result<R, CallError<E>> {
        if let Ok(answer) = &result {
            lock(last).keep(self.timer().now(), answer.clone());
        }
        self.fall_back(fallback, result, |_| lock(last).get(self.timer().now()).cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use steadfast_core::event::Event;
    use steadfast_core::pipeline::{CallOptions, Pipeline};
    use steadfast_core::rejected::Rejected;
    use steadfast_core::time::{Instant, ManualClock};

    use super::*;

    #[derive(Default)]
    struct Log(RefCell<Vec<Event>>);

    impl Observer for Log {
        type Call = ();

        fn observe(&self, _now: Instant, event: &Event) {
            if matches!(event, Event::Rejected(_) | Event::FellBack(_) | Event::Succeeded { .. }) {
                self.0.borrow_mut().push(*event);
            }
        }
    }

    /// Makes a call that may pass or not, with 9 to fall back to, and compares what comes out and what was observed.
    fn check(result: Result<u8, &'static str>, want: Result<u8, Rejected>, want_events: &[Event]) {
        let (clock, log) = (ManualClock::new(), Log::default());
        let pipeline = SharedPipeline::with_seed(Pipeline::standard(), &clock, 7).with_observer(&log);
        let options = CallOptions::idempotent().with_max_attempts(1);
        #[allow(clippy::result_large_err)] // As it is.
        let asked =
            || clock.drive(pipeline.run_if(options, |error| *error == "busy", |_| async move { result })).unwrap();
        let by_value = pipeline.fall_back(Fallback::default(), asked(), |_| Some(9));
        assert_eq!(by_value.map_err(|error| error.rejected), want);
        let other = pipeline.fall_back_to(Fallback::default(), asked(), |_| async { Ok(9) });
        assert_eq!(clock.drive(other).unwrap().map_err(|error| error.rejected), want);
        let last = Mutex::new(LastGood::for_at_most(Duration::from_secs(1)));
        lock(&last).keep(clock.now(), 9);
        let by_last = pipeline.fall_back_to_last(Fallback::default(), asked(), &last);
        assert_eq!(by_last.map_err(|error| error.rejected), want);
        assert_eq!(*log.0.borrow(), want_events.repeat(3));

        let nothing = pipeline.fall_back(Fallback::default(), asked(), |_| None);
        assert_eq!(nothing.is_ok(), result.is_ok(), "an answer came from nowhere");
        assert!(!matches!(log.0.borrow().last(), Some(Event::FellBack(_))), "nothing else was answered");
    }

    #[test]
    fn what_is_covered_is_answered_by_something_else_and_observed() {
        check(Ok(1), Ok(1), &[Event::Succeeded { attempts: 1 }]);
        let spent = Rejected::AttemptsSpent { max_attempts: 1 };
        check(Err("busy"), Ok(9), &[Event::Rejected(spent), Event::FellBack(spent)]);
        check(Err("wrong"), Err(Rejected::Permanent), &[Event::Rejected(Rejected::Permanent)]);
    }
}
