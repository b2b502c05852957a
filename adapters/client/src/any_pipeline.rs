use std::fmt;
use std::future::Future;

use steadfast_core::event::Observer;
use steadfast_core::fallback::Fallback;
use steadfast_core::limits::{self, Limits, Tokens};
use steadfast_core::outcome::Classified;
use steadfast_core::pipeline::{self, Attempt, CallOptions, Pipeline};
use steadfast_core::rate_limit::Refusal;
use steadfast_core::run::CallError;
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::{Clock, Instant, Timer};
use steadfast_executor::{KeyedPipeline, SharedPipeline, Spent};

use crate::about::About;
use crate::endpoints::Common;

/// A [`Pipeline`] with up to four rate limits: requests a minute and tokens a minute, and both for a day.
///
/// Whatever takes a pipeline, takes it with one rate limit or with several.
pub struct AnyPipeline(pub(crate) Kind);

/// By how many rate limits it has.
pub(crate) enum Kind {
    One(Pipeline<Limits<1>>),
    Two(Pipeline<Limits<2>>),
    Three(Pipeline<Limits<3>>),
    Four(Pipeline<Limits<4>>),
}

impl From<Pipeline<Limits<1>>> for AnyPipeline {
    fn from(pipeline: Pipeline<Limits<1>>) -> Self {
        Self(Kind::One(pipeline))
    }
}

impl From<Pipeline<Limits<2>>> for AnyPipeline {
    fn from(pipeline: Pipeline<Limits<2>>) -> Self {
        Self(Kind::Two(pipeline))
    }
}

impl From<Pipeline<Limits<3>>> for AnyPipeline {
    fn from(pipeline: Pipeline<Limits<3>>) -> Self {
        Self(Kind::Three(pipeline))
    }
}

impl From<Pipeline<Limits<4>>> for AnyPipeline {
    fn from(pipeline: Pipeline<Limits<4>>) -> Self {
        Self(Kind::Four(pipeline))
    }
}

impl Default for AnyPipeline {
    fn default() -> Self {
        Pipeline::default().into()
    }
}

impl AnyPipeline {
    /// Whether it ever sends two attempts at once.
    pub(crate) const fn hedges(&self) -> bool {
        match &self.0 {
            Kind::One(pipeline) => pipeline.hedge().is_some(),
            Kind::Two(pipeline) => pipeline.hedge().is_some(),
            Kind::Three(pipeline) => pipeline.hedge().is_some(),
            Kind::Four(pipeline) => pipeline.hedge().is_some(),
        }
    }
}

impl fmt::Debug for AnyPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::One(pipeline) => pipeline.fmt(f),
            Kind::Two(pipeline) => pipeline.fmt(f),
            Kind::Three(pipeline) => pipeline.fmt(f),
            Kind::Four(pipeline) => pipeline.fmt(f),
        }
    }
}

/// The same with however many rate limits there are.
fn listed<const K: usize>(
    snapshot: pipeline::Snapshot<limits::Snapshot<[Tokens; K]>>,
) -> pipeline::Snapshot<limits::Snapshot<Vec<Tokens>>> {
    snapshot.map_limits(|limits| limits.map_rates(Vec::from))
}

const ANOTHER_NUMBER: InvalidSetting = InvalidSetting::Unchangeable {
    setting: "rate_limits",
    reason: "limits that calls wait for can neither come nor go",
};

type With<C, O, const K: usize> = SharedPipeline<Common<C>, Common<O>, K>;

/// The same, shared by all calls.
pub(crate) enum AnyShared<C, O> {
    One(With<C, O, 1>),
    Two(With<C, O, 2>),
    Three(With<C, O, 3>),
    Four(With<C, O, 4>),
}

impl<C: Timer, O: Observer> AnyShared<C, O> {
    /// A random number, from the seed that jitter is drawn from.
    pub(crate) fn draw(&self) -> u64 {
        match self {
            Self::One(shared) => shared.draw(),
            Self::Two(shared) => shared.draw(),
            Self::Three(shared) => shared.draw(),
            Self::Four(shared) => shared.draw(),
        }
    }

    /// Whether [`reconfigure`](Self::reconfigure) would go over to these settings.
    pub(crate) fn accepts(&self, to: &AnyPipeline) -> Result<(), InvalidSetting> {
        match (self, &to.0) {
            (Self::One(shared), Kind::One(to)) => shared.with_policies(|pipeline, _| pipeline.accepts(to)),
            (Self::Two(shared), Kind::Two(to)) => shared.with_policies(|pipeline, _| pipeline.accepts(to)),
            (Self::Three(shared), Kind::Three(to)) => shared.with_policies(|pipeline, _| pipeline.accepts(to)),
            (Self::Four(shared), Kind::Four(to)) => shared.with_policies(|pipeline, _| pipeline.accepts(to)),
            (Self::One(_) | Self::Two(_) | Self::Three(_) | Self::Four(_), _) => Err(ANOTHER_NUMBER),
        }
    }

    /// Goes over to other settings.
    pub(crate) fn reconfigure(&self, to: &AnyPipeline) -> Result<(), InvalidSetting> {
        match (self, &to.0) {
            (Self::One(shared), Kind::One(to)) => shared.reconfigure(to),
            (Self::Two(shared), Kind::Two(to)) => shared.reconfigure(to),
            (Self::Three(shared), Kind::Three(to)) => shared.reconfigure(to),
            (Self::Four(shared), Kind::Four(to)) => shared.reconfigure(to),
            (Self::One(_) | Self::Two(_) | Self::Three(_) | Self::Four(_), _) => Err(ANOTHER_NUMBER),
        }
    }

    /// How every policy stands.
    pub(crate) fn snapshot(&self) -> pipeline::Snapshot<limits::Snapshot<Vec<Tokens>>> {
        match self {
            Self::One(shared) => listed(shared.snapshot()),
            Self::Two(shared) => listed(shared.snapshot()),
            Self::Three(shared) => listed(shared.snapshot()),
            Self::Four(shared) => listed(shared.snapshot()),
        }
    }

    /// How many calls wait in line.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::One(shared) => shared.with_policies(|pipeline, _| pipeline.limits().len()),
            Self::Two(shared) => shared.with_policies(|pipeline, _| pipeline.limits().len()),
            Self::Three(shared) => shared.with_policies(|pipeline, _| pipeline.limits().len()),
            Self::Four(shared) => shared.with_policies(|pipeline, _| pipeline.limits().len()),
        }
    }

    /// By when a call with these options has to end that started then.
    pub(crate) fn deadline_of(&self, started: Instant, options: &CallOptions) -> Instant {
        match self {
            Self::One(shared) => shared.with_policies(|pipeline, _| pipeline.deadline_of(started, options)),
            Self::Two(shared) => shared.with_policies(|pipeline, _| pipeline.deadline_of(started, options)),
            Self::Three(shared) => shared.with_policies(|pipeline, _| pipeline.deadline_of(started, options)),
            Self::Four(shared) => shared.with_policies(|pipeline, _| pipeline.deadline_of(started, options)),
        }
    }

    /// What `instead` answers, if a call has ended in a way that may be answered by something else.
    #[allow(clippy::result_large_err)] // As the call returns it.
    pub(crate) fn fall_back<R, E>(
        &self,
        result: Result<R, CallError<E>>,
        instead: impl FnOnce(&CallError<E>) -> Option<R>,
    ) -> Result<R, CallError<E>> {
        match self {
            Self::One(shared) => shared.fall_back(Fallback::default(), result, instead),
            Self::Two(shared) => shared.fall_back(Fallback::default(), result, instead),
            Self::Three(shared) => shared.fall_back(Fallback::default(), result, instead),
            Self::Four(shared) => shared.fall_back(Fallback::default(), result, instead),
        }
    }

    /// Makes one call, of one attempt at a time.
    pub(crate) async fn call<R, F: Future<Output = R>, V: Classified>(
        &self,
        about: About<'_>,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<(R, AnySpent<C, O>), CallError<R>> {
        Ok(match self {
            Self::One(shared) => AnySpent::one(
                shared.call_observed(&about.told_to(shared.observer()), options, classify, attempt).await?,
            ),
            Self::Two(shared) => AnySpent::two(
                shared.call_observed(&about.told_to(shared.observer()), options, classify, attempt).await?,
            ),
            Self::Three(shared) => AnySpent::three(
                shared.call_observed(&about.told_to(shared.observer()), options, classify, attempt).await?,
            ),
            Self::Four(shared) => AnySpent::four(
                shared.call_observed(&about.told_to(shared.observer()), options, classify, attempt).await?,
            ),
        })
    }

    /// Makes one call, of two attempts at once where the pipeline's hedge says so.
    pub(crate) async fn call_hedged<R, F: Future<Output = R>, V: Classified>(
        &self,
        about: About<'_>,
        options: CallOptions,
        classify: impl Fn(&R) -> V,
        attempt: impl FnMut(Attempt) -> F,
    ) -> Result<(R, AnySpent<C, O>), CallError<R>> {
        Ok(match self {
            Self::One(shared) => AnySpent::one(
                shared.call_hedged_observed(&about.told_to(shared.observer()), options, classify, attempt).await?,
            ),
            Self::Two(shared) => AnySpent::two(
                shared.call_hedged_observed(&about.told_to(shared.observer()), options, classify, attempt).await?,
            ),
            Self::Three(shared) => AnySpent::three(
                shared.call_hedged_observed(&about.told_to(shared.observer()), options, classify, attempt).await?,
            ),
            Self::Four(shared) => AnySpent::four(
                shared.call_hedged_observed(&about.told_to(shared.observer()), options, classify, attempt).await?,
            ),
        })
    }
}

/// What makes the limits of each key, by how many of them count: up to four.
pub struct LimitsPerKey(pub(crate) Factory);

type Makes<const K: usize> = Box<dyn Fn() -> Limits<K> + Send + Sync>;

pub(crate) enum Factory {
    One(Makes<1>),
    Two(Makes<2>),
    Three(Makes<3>),
    Four(Makes<4>),
}

impl From<Makes<1>> for LimitsPerKey {
    fn from(make: Makes<1>) -> Self {
        Self(Factory::One(make))
    }
}

impl From<Makes<2>> for LimitsPerKey {
    fn from(make: Makes<2>) -> Self {
        Self(Factory::Two(make))
    }
}

impl From<Makes<3>> for LimitsPerKey {
    fn from(make: Makes<3>) -> Self {
        Self(Factory::Three(make))
    }
}

impl From<Makes<4>> for LimitsPerKey {
    fn from(make: Makes<4>) -> Self {
        Self(Factory::Four(make))
    }
}

impl fmt::Debug for LimitsPerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitsPerKey")
    }
}

type KeyedWith<C, O, const K: usize> = KeyedPipeline<String, Common<C>, Common<O>, K>;

/// A pipeline whose limits each key has for itself.
pub(crate) enum AnyKeyed<C, O> {
    One(KeyedWith<C, O, 1>),
    Two(KeyedWith<C, O, 2>),
    Three(KeyedWith<C, O, 3>),
    Four(KeyedWith<C, O, 4>),
}

impl<C: Timer, O: Observer> AnyKeyed<C, O> {
    /// The pipeline with the limits of this key.
    pub(crate) fn of(&self, key: &str) -> Result<AnyShared<C, O>, Refusal> {
        Ok(match self {
            Self::One(keyed) => AnyShared::One(keyed.of(key)?),
            Self::Two(keyed) => AnyShared::Two(keyed.of(key)?),
            Self::Three(keyed) => AnyShared::Three(keyed.of(key)?),
            Self::Four(keyed) => AnyShared::Four(keyed.of(key)?),
        })
    }

    /// How many calls wait in line, of all keys.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::One(keyed) => keyed.waiting(),
            Self::Two(keyed) => keyed.waiting(),
            Self::Three(keyed) => keyed.waiting(),
            Self::Four(keyed) => keyed.waiting(),
        }
    }
}

type SpentOf<C, O, const K: usize> = Spent<Common<C>, Common<O>, K>;

/// What a call took of the limits.
pub(crate) enum AnySpent<C, O> {
    One(SpentOf<C, O, 1>),
    Two(SpentOf<C, O, 2>),
    Three(SpentOf<C, O, 3>),
    Four(SpentOf<C, O, 4>),
}

impl<C: Clock, O: Observer> AnySpent<C, O> {
    fn one<R>((returned, spent): (R, SpentOf<C, O, 1>)) -> (R, Self) {
        (returned, Self::One(spent))
    }

    fn two<R>((returned, spent): (R, SpentOf<C, O, 2>)) -> (R, Self) {
        (returned, Self::Two(spent))
    }

    fn three<R>((returned, spent): (R, SpentOf<C, O, 3>)) -> (R, Self) {
        (returned, Self::Three(spent))
    }

    fn four<R>((returned, spent): (R, SpentOf<C, O, 4>)) -> (R, Self) {
        (returned, Self::Four(spent))
    }

    /// Settles with what the call weighed in truth.
    pub(crate) fn commit(self, used: u32) {
        match self {
            Self::One(spent) => spent.commit(used),
            Self::Two(spent) => spent.commit(used),
            Self::Three(spent) => spent.commit(used),
            Self::Four(spent) => spent.commit(used),
        }
    }
}
