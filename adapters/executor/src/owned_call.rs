use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use fastrand::Rng;
use pin_project_lite::pin_project;
use steadfast_core::event::Observer;
use steadfast_core::limits::Limiter;
use steadfast_core::outcome::Classified;
use steadfast_core::pipeline::{Attempt, CallOptions, Pipeline};
use steadfast_core::run::{CallError, Driven};
use steadfast_core::share::Share;
use steadfast_core::time::Timer;

use crate::line::Line;
use crate::pipeline::{Lent, SharedPipeline};

/// What a call does, as a type with a name: the closures of [`SharedPipeline::call`] have none.
pub trait Operation {
    /// What an attempt returns.
    type Output;

    /// An attempt, while it runs.
    type Attempt: Future<Output = Self::Output>;

    /// What is said of what an attempt returned: an [`Outcome`](steadfast_core::outcome::Outcome), alone or with what the
    /// server told of its limits.
    type Classified: Classified;

    /// Makes an attempt. It may be asked for another while one still runs, if the pipeline has a hedge.
    fn attempt(&mut self, attempt: Attempt) -> Self::Attempt;

    /// How an attempt ended that returned this.
    fn classify(&self, output: &Self::Output) -> Self::Classified;
}

pin_project! {
    /// A call that owns its share of the pipeline: made by [`SharedPipeline::call_owned`].
    ///
    /// It has a name, for those who have to write it down, as services have. It is `Send` when its parts are, borrows nothing,
    /// and is in no box.
    #[must_use = "a call does nothing unless it is polled"]
    pub struct OwnedCall<S, P>
    where
        S: Shared,
        P: Operation,
    {
        // The attempts before what drives them, as they are dropped: a slot is not free while its attempt runs.
        #[pin]
        one: Option<P::Attempt>,
        #[pin]
        other: Option<P::Attempt>,
        #[pin]
        sleep: Option<<S::Timer as Timer>::Sleep>,
        // None before the first poll: its deadline counts from there.
        driven: Option<Driven<S::Policies, S::Timer, S::Observer, S::Limits, P::Output>>,
        operation: P,
        options: CallOptions,
        pipeline: S,
        // Seeded when it is first used.
        random: Option<Rng>,
    }
}

mod sealed {
    use super::{Lent, Limiter, Observer, Pipeline, Rng, Share, Timer};

    /// What an [`OwnedCall`](super::OwnedCall) owns a share of: a [`SharedPipeline`](super::SharedPipeline), taken apart by
    /// its types.
    pub trait Shared {
        type Policies: Share<State = Pipeline<Self::Limits>>;
        type Limits: Limiter;
        type Timer: Timer;
        type Observer: Observer;

        fn parts(&self) -> (Self::Policies, Self::Timer, Self::Observer);
        fn session(&self) -> Rng;
    }

    /// The policies, owned.
    #[derive(Debug)]
    pub struct Owned<const K: usize>(pub(super) Lent<K>);
}

use sealed::{Owned, Shared};

impl<const K: usize> Share for Owned<K> {
    type State = Pipeline<Line<K>>;

    fn with<R>(&self, f: impl FnOnce(&mut Pipeline<Line<K>>) -> R) -> R {
        self.0.with(f)
    }
}

impl<T: Timer + Clone, O: Observer + Clone, const K: usize> Shared for SharedPipeline<T, O, K> {
    type Policies = Owned<K>;
    type Limits = Line<K>;
    type Timer = T;
    type Observer = O;

    fn parts(&self) -> (Self::Policies, T, O) {
        (Owned(self.lent.clone()), self.timer.clone(), self.observer.clone())
    }

    fn session(&self) -> Rng {
        self.lent.policies.session()
    }
}

impl<T: Timer + Clone, O: Observer + Clone, const K: usize> SharedPipeline<T, O, K> {
    /// Makes one call as [`call_hedged`](Self::call_hedged) does, with a future that has a name and borrows nothing.
    ///
    /// ```
    /// use std::future::{Ready, ready};
    /// use steadfast_core::outcome::Outcome;
    /// use steadfast_core::pipeline::{Attempt, CallOptions, Pipeline};
    /// use steadfast_core::time::ManualClock;
    /// use steadfast_executor::{Operation, OwnedCall, SharedPipeline};
    ///
    /// struct Greet;
    ///
    /// impl Operation for Greet {
    ///     type Output = Result<&'static str, u16>;
    ///     type Attempt = Ready<Self::Output>;
    ///     type Classified = Outcome;
    ///
    ///     fn attempt(&mut self, attempt: Attempt) -> Self::Attempt {
    ///         ready(if attempt.number < 3 { Err(503) } else { Ok("hello") })
    ///     }
    ///
    ///     fn classify(&self, output: &Self::Output) -> Outcome {
    ///         if output.is_ok() { Outcome::success() } else { Outcome::transient() }
    ///     }
    /// }
    ///
    /// let clock = ManualClock::new(); // Or the timer of your runtime.
    /// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
    /// let call: OwnedCall<SharedPipeline<&ManualClock>, Greet> = pipeline.call_owned(CallOptions::idempotent(), Greet);
    /// assert_eq!(clock.drive(call), Some(Ok(Ok("hello"))));
    /// ```
    ///
    /// Cancel safe, as [`call`](Self::call) is. Its deadline counts from its first poll.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_owned<P: Operation>(&self, options: CallOptions, operation: P) -> OwnedCall<Self, P> {
        OwnedCall {
            one: None,
            other: None,
            sleep: None,
            driven: None,
            operation,
            options,
            pipeline: self.clone(),
            random: None,
        }
    }
}

impl<S: Shared, P: Operation> OwnedCall<S, P> {
    /// What it does, to take something out of it when it has ended.
    pub fn operation(self: Pin<&mut Self>) -> &mut P {
        self.project().operation
    }
}

impl<S: Shared, P: Operation> Future for OwnedCall<S, P> {
    type Output = Result<P::Output, CallError<P::Output>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (pipeline, options) = (this.pipeline, *this.options);
        let driven = this.driven.get_or_insert_with(|| {
            let (policies, timer, observer) = pipeline.parts();
            Driven::new(policies, timer, observer, options)
        });
        // Only one of both closures uses it at a time.
        let operation = RefCell::new(this.operation);
        driven.poll(
            cx,
            this.sleep,
            [this.one, this.other],
            || this.random.get_or_insert_with(|| pipeline.session()).u64(..),
            |output| operation.borrow().classify(output),
            |attempt| operation.borrow_mut().attempt(attempt),
        )
    }
}

impl<S: Shared, P: Operation> fmt::Debug for OwnedCall<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedCall").field("options", &self.options).finish_non_exhaustive()
    }
}
