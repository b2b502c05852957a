//! What is done around calls: something else is answered for one that failed, and policies change between them.

use core::future::Future;

use super::driver::with_wakes;
use super::{CallError, Runner};
use crate::event::{Event, Events, Observer};
use crate::fallback::Fallback;
use crate::limits::Limiter;
use crate::pipeline::Pipeline;
use crate::share::Share;
use crate::time::{Clock, Instant};

impl<S, T, O, L> Runner<'_, S, T, O>
where
    S: Share<State = Pipeline<L>>,
    T: Clock,
    O: Observer,
    L: Limiter,
{
    /// Changes the policies that all calls share, and tells the observer if that changed the circuit breaker.
    ///
    /// Where the breaker was forced open, those who wait for limits learn so at once: nobody knows for how long it is.
    pub fn with_policies<R>(&self, change: impl FnOnce(&mut Pipeline<L>, Instant) -> R) -> R {
        let (now, mut events) = (self.timer.now(), Events::new());
        let result = with_wakes(self.pipeline, |pipeline| pipeline.change(now, change, &mut events));
        events.report(now, self.observer);
        result
    }
}

impl<S, T: Clock, O: Observer> Runner<'_, S, T, O> {
    /// The result of a call, or if it ended in a way that `fallback` covers, what `instead` answers. See
    /// [`fallback`](crate::fallback) for an example.
    ///
    /// The observer is told. Where `instead` has no answer either, the error stays.
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
        let error = match result {
            Err(error) if fallback.covers(&error.rejected) => error,
            Ok(_) | Err(_) => return result,
        };
        match instead(&error) {
            Some(answer) => {
                self.observer.observe(self.timer.now(), &Event::FellBack(error.rejected));
                Ok(answer)
            }
            None => Err(error),
        }
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
        match result {
            Err(error) if fallback.covers(&error.rejected) => {
                let event = Event::FellBack(error.rejected);
                instead(error).await.inspect(|_| self.observer.observe(self.timer.now(), &event))
            }
            Ok(_) | Err(_) => result,
        }
    }
}
