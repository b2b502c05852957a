use std::future::Future;
use std::sync::atomic::AtomicUsize;

use steadfast_core::event::Observer;
use steadfast_core::limits::{self, Limits, ServerLimits, Tokens};
use steadfast_core::outcome::Classified;
use steadfast_core::pipeline::{self, Attempt, CallOptions, Pipeline};
use steadfast_core::run::{CallError, Runner};
use steadfast_core::settings::InvalidSetting;
use steadfast_core::share::Share;
use steadfast_core::time::{BlockingTimer, Clock, Instant, Timer};

use crate::line::Line;
use crate::spent::Spent;
use crate::sync::{Arc, Mutex};

mod lent;

pub(crate) use lent::Lent;
use lent::Policies;

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
/// Clones share the policies. Calls that wait for limits stand in a [`Line`].
#[derive(Debug)]
pub struct SharedPipeline<T, O = (), const K: usize = 1> {
    pub(crate) lent: Lent<K>,
    pub(crate) timer: T,
    pub(crate) observer: O,
}

impl<T: Clone, O: Clone, const K: usize> Clone for SharedPipeline<T, O, K> {
    fn clone(&self) -> Self {
        self.with_own(self.lent.own.clone())
    }
}

impl<T: Clone, O: Clone, const K: usize> SharedPipeline<T, O, K> {
    /// The same pipeline with other limits: retries and hedges, their budget and the circuit breaker are shared with this
    /// one, and limits with none but clones of what this returns.
    ///
    /// What servers tell of their limits holds back whoever shares the line that it was told to. Should the breaker be forced
    /// open through one of them, those who wait in the line of another learn so when their time comes, and not at once.
    #[must_use]
    pub fn with_line(&self, line: Line<K>) -> Self {
        self.with_own(Some(Arc::new(Mutex::new(line))))
    }

    /// The same with limits that others have as well.
    pub(crate) fn with_own(&self, own: Option<Arc<Mutex<Line<K>>>>) -> Self {
        let lent = Lent { policies: Arc::clone(&self.lent.policies), own };
        Self { lent, timer: self.timer.clone(), observer: self.observer.clone() }
    }

    /// Makes one call, and returns with its result what it took of the limits, to be settled when it is known what it weighed
    /// in truth.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use steadfast_core::outcome::Outcome;
    /// use steadfast_core::pipeline::{CallOptions, Pipeline};
    /// use steadfast_core::rate_limit::{Quota, TokenBucket};
    /// use steadfast_core::time::ManualClock;
    /// use steadfast_executor::SharedPipeline;
    ///
    /// let clock = ManualClock::new(); // Or the timer of your runtime.
    /// let limit = TokenBucket::new(Quota::per_minute(1_000)?.with_burst(1_000)?);
    /// let pipeline = SharedPipeline::new(Pipeline::builder().rate_limit(limit).build()?, &clock);
    ///
    /// let options = CallOptions::idempotent().with_weight(NonZeroU32::new(800).expect("it is not zero"));
    /// let call = pipeline.call_unsettled(options, |_: &u32| Outcome::success(), |_attempt| async { 150 });
    /// let (used, spent) = clock.drive(call).expect("it ends").expect("it succeeds");
    /// spent.commit(used); // The rest goes back, and those who wait move forward.
    /// assert_eq!(pipeline.with_policies(|pipeline, now| pipeline.limits_mut().available(now)), [850]);
    /// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
    /// ```
    ///
    /// Cancel safe, as [`call`](Self::call) is.
    ///
    /// # Errors
    /// As [`call`](Self::call). What failed attempts were said to weigh stays spent, since the server may have acted on them.
    pub async fn call_unsettled<R, F, V>(
        &self,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<(R, Spent<T, O, K>), CallError<R>>
    where
        T: Timer,
        O: Observer,
        F: Future<Output = R>,
        V: Classified,
    {
        self.call_observed(&self.observer, options, classify, attempt).await
    }

    /// The same, told to this observer and not to the pipeline's own: for an adapter that knows more of the call, and has the
    /// own one [hear](steadfast_core::event::Observer::detail) of it.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_observed<P, R, F, V>(
        &self,
        observer: &P,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<(R, Spent<T, O, K>), CallError<R>>
    where
        P: Observer,
        T: Timer,
        O: Observer,
        F: Future<Output = R>,
        V: Classified,
    {
        let mut ticket = None;
        let (runner, entropy) = (self.runner_for(observer), self.entropy());
        let returned = runner.call_unsettled(options, entropy, classify, attempt, &mut ticket).await?;
        Ok((returned, Spent::new(self.clone(), ticket)))
    }

    /// The same, and while an attempt takes long, the pipeline's hedge may send another beside it, as by
    /// [`call_hedged`](Self::call_hedged). What the slower one was said to weigh stays spent.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_hedged_unsettled<R, F, V>(
        &self,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<(R, Spent<T, O, K>), CallError<R>>
    where
        T: Timer,
        O: Observer,
        F: Future<Output = R>,
        V: Classified,
    {
        self.call_hedged_observed(&self.observer, options, classify, attempt).await
    }

    /// The same, told to this observer and not to the pipeline's own, as by [`call_observed`](Self::call_observed).
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_hedged_observed<P, R, F, V>(
        &self,
        observer: &P,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<(R, Spent<T, O, K>), CallError<R>>
    where
        P: Observer,
        T: Timer,
        O: Observer,
        F: Future<Output = R>,
        V: Classified,
    {
        let mut ticket = None;
        let (runner, entropy) = (self.runner_for(observer), self.entropy());
        let returned = runner.call_hedged_unsettled(options, entropy, classify, attempt, &mut ticket).await?;
        Ok((returned, Spent::new(self.clone(), ticket)))
    }
}

impl<T: Clock, const K: usize> SharedPipeline<T, (), K> {
    /// Shares `pipeline`, with a line before its limits, and a seed of its own for jitter. What `classify` says that the
    /// server [told](steadfast_core::limits::Told) of its own limits is kept to as well, by all calls.
    pub fn new(pipeline: Pipeline<Limits<K>>, timer: T) -> Self {
        Self::with_seed(pipeline, timer, fastrand::u64(..))
    }

    /// The same with a given seed, so that a run can be repeated.
    pub fn with_seed(pipeline: Pipeline<Limits<K>>, timer: T, seed: u64) -> Self {
        let pipeline = pipeline.map_limits(|limits| Line::before(limits).with_server_limits(ServerLimits::new()));
        let policies = Policies { pipeline: Mutex::new(pipeline), seed, sessions: AtomicUsize::new(0) };
        Self { lent: Lent { policies: Arc::new(policies), own: None }, timer, observer: () }
    }
}

impl<T: Clock, O: Observer, const K: usize> SharedPipeline<T, O, K> {
    /// The same pipeline, with somebody to tell what happens.
    pub fn with_observer<P: Observer>(self, observer: P) -> SharedPipeline<T, P, K> {
        SharedPipeline { lent: self.lent, timer: self.timer, observer }
    }

    /// The same pipeline, with other settings for what servers tell of their limits. To be set before the first call: what
    /// was told so far is forgotten.
    #[must_use]
    pub fn with_server_limits(self, server: ServerLimits) -> Self {
        self.lent.with(|pipeline| pipeline.limits_mut().set_server_limits(server));
        self
    }

    /// The timer that calls wait on.
    pub fn timer(&self) -> &T {
        &self.timer
    }

    /// A random number, from the seed that jitter is drawn from: for waits of the caller's own, which a seed repeats as well.
    pub fn draw(&self) -> u64 {
        self.lent.policies.session().u64(..)
    }

    /// Changes the policies that all clones share while calls go through them: a quota, the breaker's mode, the bounds of the
    /// concurrency limit. Those who wait for a limit that has changed go by it at once, and those who wait learn at once
    /// that the breaker was forced open. The observer is told what became of the breaker.
    pub fn with_policies<R>(&self, change: impl FnOnce(&mut Pipeline<Line<K>>, Instant) -> R) -> R {
        self.runner().with_policies(change)
    }
}

impl<T: Clock, O: Observer, const K: usize> SharedPipeline<T, O, K> {
    /// Goes over to the settings of `to`, all of them or with an error none, while calls go through it: debts stay, those
    /// who wait keep their order and go by the new settings at once, and what runs keeps its timeout and its deadline. See
    /// [`Pipeline::reconfigure`] for what can be changed.
    ///
    /// ```
    /// # use steadfast_core::pipeline::Pipeline;
    /// # use steadfast_core::rate_limit::{Quota, TokenBucket};
    /// # use steadfast_core::time::ManualClock;
    /// # use steadfast_executor::SharedPipeline;
    /// # let clock = ManualClock::new();
    /// let limited = |quota| Pipeline::builder().rate_limit(TokenBucket::new(quota)).build();
    /// let pipeline = SharedPipeline::new(limited(Quota::per_second(10)?)?, &clock);
    /// pipeline.reconfigure(&limited(Quota::per_second(100)?)?)?;
    /// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
    /// ```
    ///
    /// # Errors
    /// With a setting that cannot be changed, and why.
    pub fn reconfigure(&self, to: &Pipeline<Limits<K>>) -> Result<(), InvalidSetting> {
        self.with_policies(|pipeline, now| pipeline.reconfigure(now, to))
    }
}

impl<T: Timer, O: Observer, const K: usize> SharedPipeline<T, O, K> {
    /// Makes one call: runs `attempt` as often as the pipeline allows, until `classify` calls its result a success.
    ///
    /// Cancel safe: dropped, it gives back its place in line, the tokens it was granted and did not use, and the
    /// breaker's permit.
    ///
    /// # Errors
    /// When no further attempt is made, with the reason and what the last attempt returned.
    pub fn call<R, F, V>(
        &self,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> impl Future<Output = Result<R, CallError<R>>>
    where
        F: Future<Output = R>,
        V: Classified,
    {
        self.runner().call(options, self.entropy(), classify, attempt)
    }

    /// The same, and while an attempt takes long, the pipeline's hedge may send another beside it. Whichever is answered
    /// first counts; the other is dropped.
    ///
    /// Cancel safe, as [`call`](Self::call) is.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_hedged<R, F, V>(
        &self,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> impl Future<Output = Result<R, CallError<R>>>
    where
        F: Future<Output = R>,
        V: Classified,
    {
        self.runner().call_hedged(options, self.entropy(), classify, attempt)
    }
}

impl<T: BlockingTimer, O: Observer, const K: usize> SharedPipeline<T, O, K> {
    /// Makes one call, and blocks the thread until it has ended: [`call`](Self::call) for programs without async.
    ///
    /// ```
    /// use steadfast_core::outcome::Outcome;
    /// use steadfast_core::pipeline::{CallOptions, Pipeline};
    /// use steadfast_executor::{SharedPipeline, ThreadTimer};
    ///
    /// let pipeline = SharedPipeline::new(Pipeline::standard(), ThreadTimer::new());
    /// let classify = |status: &u16| if *status < 500 { Outcome::success() } else { Outcome::transient() };
    /// let status = pipeline.call_blocking(CallOptions::idempotent(), classify, |_attempt| 200);
    /// assert_eq!(status, Ok(200));
    /// ```
    ///
    /// It stands in the same line as calls of other threads, and moves up in it at once when one of those frees a slot.
    ///
    /// An attempt that blocks cannot be cancelled: `attempt` has to return by [`Attempt::until`] of its own accord, as with
    /// a socket's timeout. One that returns late still counts.
    ///
    /// # Errors
    /// When no further attempt is made, with the reason and what the last attempt returned.
    #[allow(clippy::result_large_err)] // As the core returns it. It comes once for a call that failed.
    pub fn call_blocking<R, V: Classified>(
        &self,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> R,
    ) -> Result<R, CallError<R>> {
        self.runner().call_blocking(options, self.entropy(), classify, attempt)
    }
}

impl<T, O, const K: usize> SharedPipeline<T, O, K> {
    /// Every policy in its order, outermost first, a line for each, with its settings in words: see
    /// [`Pipeline::describe`].
    ///
    /// It is a text of its own, so that no lock is held while it is written somewhere.
    ///
    /// ```
    /// # use steadfast_core::pipeline::Pipeline;
    /// # use steadfast_core::time::ManualClock;
    /// # use steadfast_executor::SharedPipeline;
    /// # let clock = ManualClock::new();
    /// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
    /// assert_eq!(pipeline.describe(), Pipeline::standard().describe().to_string());
    /// assert_eq!(pipeline.describe().lines().next(), Some("deadline: 30s for the whole call"));
    /// ```
    pub fn describe(&self) -> String {
        self.lent.with(|pipeline| pipeline.describe().to_string())
    }

    /// How every policy stands now, as a plain value that prints as a line for each: see [`Pipeline::snapshot`].
    ///
    /// ```
    /// # use steadfast_core::pipeline::Pipeline;
    /// # use steadfast_core::time::ManualClock;
    /// # use steadfast_executor::SharedPipeline;
    /// # let clock = ManualClock::new();
    /// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
    /// let snapshot = pipeline.snapshot();
    /// assert_eq!((snapshot.budget_left, snapshot.limits.waiting), (Some(2), Some(0)));
    /// println!("{snapshot}");
    /// ```
    pub fn snapshot(&self) -> pipeline::Snapshot<limits::Snapshot<[Tokens; K]>>
    where
        T: Clock,
    {
        let now = self.timer.now();
        self.lent.with(|pipeline| pipeline.snapshot(now))
    }

    /// Whom everything is told.
    pub const fn observer(&self) -> &O {
        &self.observer
    }

    pub(crate) fn runner(&self) -> Runner<'_, Lent<K>, T, O> {
        self.runner_for(&self.observer)
    }

    fn runner_for<'a, P>(&'a self, observer: &'a P) -> Runner<'a, Lent<K>, T, P> {
        Runner { pipeline: &self.lent, timer: &self.timer, observer }
    }

    /// A generator for one call, that is seeded when it is first used. No lock is taken for it.
    fn entropy(&self) -> impl FnMut() -> u64 + use<'_, T, O, K> {
        let mut own = None;
        move || own.get_or_insert_with(|| self.lent.policies.session()).u64(..)
    }
}
