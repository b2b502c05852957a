use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use steadfast_core::event::{Detail, Event, Observer};
use steadfast_core::limits::{Limits, ServerLimits};
use steadfast_core::pipeline::Pipeline;
use steadfast_core::rate_limit::Refusal;
use steadfast_core::time::{Clock, Instant, Timer};
use steadfast_executor::{KeyedPipeline, Line, SharedPipeline};
use url::Url;

use crate::any_pipeline::{AnyKeyed, AnyPipeline, AnyShared, Factory, Kind, LimitsPerKey};
use crate::client::target;
use crate::error::Error;
use crate::reconfigure::NotReconfigured;
use crate::snapshot::EndpointSnapshot;

/// The pipeline of each endpoint, and that of all others.
pub(crate) struct Endpoints<C, O> {
    others: OnePipeline<C, O>,
    /// The longest prefix first.
    by_prefix: Vec<(String, OnePipeline<C, O>)>,
    keyed: Option<Keyed<C, O>>,
    /// Held by whoever gives all of them other settings, so that what each accepts it still accepts when its turn has come.
    reconfiguring: Mutex<()>,
}

/// A pipeline, and whether it ever sends two attempts at once.
pub(crate) struct OnePipeline<C, O> {
    pub(crate) shared: AnyShared<C, O>,
    pub(crate) hedges: bool,
}

/// The pipeline of calls that name a key.
struct Keyed<C, O> {
    by_key: AnyKeyed<C, O>,
    hedges: bool,
}

/// The settings of that.
pub(crate) struct PerKey {
    pub(crate) max_keys: usize,
    pub(crate) pipeline: Pipeline,
    pub(crate) limits: LimitsPerKey,
}

/// What pipelines are shared with.
struct SetUp<'a, C, O> {
    timer: &'a Common<C>,
    observer: &'a Common<O>,
    /// Of the next.
    seed: Option<u64>,
    longest_hold: Duration,
}

impl<C: Timer, O: Observer> SetUp<'_, C, O> {
    fn one(&mut self, pipeline: AnyPipeline) -> Result<OnePipeline<C, O>, Error> {
        let hedges = pipeline.hedges();
        let shared = match pipeline.0 {
            Kind::One(pipeline) => AnyShared::One(self.share(pipeline)?),
            Kind::Two(pipeline) => AnyShared::Two(self.share(pipeline)?),
            Kind::Three(pipeline) => AnyShared::Three(self.share(pipeline)?),
            Kind::Four(pipeline) => AnyShared::Four(self.share(pipeline)?),
        };
        Ok(OnePipeline { shared, hedges })
    }

    fn share<const K: usize>(
        &mut self,
        pipeline: Pipeline<Limits<K>>,
    ) -> Result<SharedPipeline<Common<C>, Common<O>, K>, Error> {
        let shared = match &mut self.seed {
            Some(seed) => {
                *seed = seed.wrapping_add(1);
                SharedPipeline::with_seed(pipeline, self.timer.clone(), seed.wrapping_sub(1))
            }
            None => SharedPipeline::new(pipeline, self.timer.clone()),
        };
        Ok(shared.with_server_limits(self.server_limits()?).with_observer(self.observer.clone()))
    }

    fn keyed(&mut self, per_key: PerKey) -> Result<Keyed<C, O>, Error> {
        let PerKey { max_keys, pipeline, limits } = per_key;
        let own = pipeline.limits();
        if own.rate_limits().is_some() || own.adaptive_rate().is_some() || own.concurrency_limit().is_some() {
            let (value, reason) = ("the pipeline's limits".to_owned(), "which nobody would keep to".to_owned());
            return Err(Error::InvalidRequest { field: "per_key", value, reason });
        }
        let hedges = pipeline.hedge().is_some();
        let by_key = match limits.0 {
            Factory::One(make) => AnyKeyed::One(self.keyed_by(max_keys, pipeline, make)?),
            Factory::Two(make) => AnyKeyed::Two(self.keyed_by(max_keys, pipeline, make)?),
            Factory::Three(make) => AnyKeyed::Three(self.keyed_by(max_keys, pipeline, make)?),
            Factory::Four(make) => AnyKeyed::Four(self.keyed_by(max_keys, pipeline, make)?),
        };
        Ok(Keyed { by_key, hedges })
    }

    fn keyed_by<const K: usize>(
        &mut self,
        max_keys: usize,
        pipeline: Pipeline,
        make: impl Fn() -> Limits<K> + Send + Sync + 'static,
    ) -> Result<KeyedPipeline<String, Common<C>, Common<O>, K>, Error> {
        let shared = self.share(pipeline.map_limits(|_| Limits::<K>::none()))?;
        let longest_hold = self.longest_hold;
        Ok(KeyedPipeline::new(shared, max_keys, move || {
            // It was accepted for the pipeline.
            let server = ServerLimits::new().with_longest_hold(longest_hold).unwrap_or_default();
            Line::before(make()).with_server_limits(server)
        }))
    }

    fn server_limits(&self) -> Result<ServerLimits, Error> {
        ServerLimits::new().with_longest_hold(self.longest_hold).map_err(|error| {
            let (value, reason) = (format!("{:?}", self.longest_hold), error.to_string());
            Error::InvalidRequest { field: "longest_hold", value, reason }
        })
    }
}

impl<C: Timer, O: Observer> Endpoints<C, O> {
    /// Each with a seed of its own, so that no two draw the same jitter, and for what the server tells of the limits of each.
    pub(crate) fn new(
        base: &Url,
        timer: &Common<C>,
        observer: &Common<O>,
        (seed, longest_hold): (Option<u64>, Duration),
        others: AnyPipeline,
        endpoints: Vec<(String, AnyPipeline)>,
        per_key: Option<PerKey>,
    ) -> Result<Self, Error> {
        let mut set_up = SetUp { timer, observer, seed, longest_hold };
        let others = set_up.one(others)?;
        let mut by_prefix: Vec<(String, _)> = Vec::with_capacity(endpoints.len());
        for (name, pipeline) in endpoints {
            let path = prefix(base, &name)?;
            if by_prefix.iter().any(|(other, _)| *other == path) {
                return Err(invalid(&name, "which has a pipeline already"));
            }
            by_prefix.push((path, set_up.one(pipeline)?));
        }
        by_prefix.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let keyed = per_key.map(|per_key| set_up.keyed(per_key)).transpose()?;
        Ok(Self { others, by_prefix, keyed, reconfiguring: Mutex::new(()) })
    }

    /// Goes over to other settings: those of all pipelines, or with an error of none.
    pub(crate) fn reconfigure(
        &self,
        base: &Url,
        others: &AnyPipeline,
        endpoints: &[(String, AnyPipeline)],
    ) -> Result<(), NotReconfigured> {
        let _alone = self.reconfiguring.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint =
            |name: &str, reason| NotReconfigured::Endpoint { path: crate::client::without_secrets(name), reason };
        let mut changes = vec![(None, &self.others, others)];
        for (name, pipeline) in endpoints {
            let path = prefix(base, name).unwrap_or_default();
            let own = self.by_prefix.iter().find(|(prefix, _)| *prefix == path);
            let (_, own) = own.ok_or_else(|| endpoint(name, "it had no pipeline when the client was built"))?;
            if changes.iter().any(|(_, other, _)| std::ptr::eq(*other, own)) {
                return Err(endpoint(name, "it is there twice"));
            }
            changes.push((Some(name), own, pipeline));
        }
        let is_named = |own| changes.iter().any(|(_, other, _)| std::ptr::eq(*other, own));
        if let Some((path, _)) = self.by_prefix.iter().find(|(_, own)| !is_named(own)) {
            return Err(endpoint(path, "it is missing, and calls go through its pipeline"));
        }
        let refused = |name: Option<&String>, source| NotReconfigured::Setting { path: name.cloned(), source };
        for (name, own, to) in &changes {
            own.shared.accepts(to).map_err(|error| refused(*name, error))?;
        }
        for (name, own, to) in changes {
            own.shared.reconfigure(to).map_err(|error| refused(name, error))?;
        }
        Ok(())
    }

    /// The one that calls of this key go through; `None` if the client has no limits for keys.
    pub(crate) fn of_key(&self, key: &str) -> Option<Result<OnePipeline<C, O>, Refusal>> {
        let Keyed { by_key, hedges } = self.keyed.as_ref()?;
        Some(by_key.of(key).map(|shared| OnePipeline { shared, hedges: *hedges }))
    }

    /// How the policies of each pipeline stand: that of all others first, then those with the longest path first.
    pub(crate) fn snapshots(&self) -> Vec<EndpointSnapshot> {
        let of = |path, pipeline: &OnePipeline<C, O>| EndpointSnapshot { path, policies: pipeline.shared.snapshot() };
        let by_prefix = self.by_prefix.iter().map(|(path, pipeline)| of(Some(path.clone()), pipeline));
        std::iter::once(of(None, &self.others)).chain(by_prefix).collect()
    }

    /// How many calls wait in line.
    pub(crate) fn waiting(&self) -> usize {
        let keyed = self.keyed.as_ref().map_or(0, |keyed| keyed.by_key.waiting());
        self.iter().map(|pipeline| pipeline.shared.waiting()).sum::<usize>() + keyed
    }

    /// A random number, from the seed that jitter is drawn from.
    pub(crate) fn draw(&self) -> u64 {
        self.others.shared.draw()
    }
}

impl<C, O> Endpoints<C, O> {
    /// The one that calls of this URL go through.
    pub(crate) fn of(&self, url: &Url) -> &OnePipeline<C, O> {
        if self.by_prefix.is_empty() {
            return &self.others;
        }
        let path = plain(url.path());
        let found = self.by_prefix.iter().find(|(prefix, _)| is_in(prefix, &path));
        found.map_or(&self.others, |(_, pipeline)| pipeline)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OnePipeline<C, O>> {
        std::iter::once(&self.others).chain(self.by_prefix.iter().map(|(_, pipeline)| pipeline))
    }
}

/// Whether a path is this prefix, or goes on behind it with a segment of its own.
fn is_in(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The same path without needless encoding (RFC 3986 §6.2.2.2), and what is encoded in capitals: `/%63hat` is `/chat`, and `%2f` is no slash.
fn plain(path: &str) -> Cow<'_, str> {
    let Some((before, encoded)) = path.split_once('%') else { return Cow::Borrowed(path) };
    let mut plain = before.to_owned();
    for part in encoded.split('%') {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        match u8::from_str_radix(digits, 16).map(char::from) {
            Ok(character) if character.is_ascii_alphanumeric() || "-._~".contains(character) => plain.push(character),
            _ => plain.extend(['%'].into_iter().chain(digits.to_ascii_uppercase().chars())),
        }
        plain.push_str(rest);
    }
    Cow::Owned(plain)
}

/// The path that all of an endpoint's begin with, as URLs have it.
fn prefix(base: &Url, name: &str) -> Result<String, Error> {
    let url = target(base, name)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(name, "which has a query or a fragment: the path alone decides"));
    }
    let path = plain(url.path().trim_end_matches('/'));
    if is_in(&path, base.path().trim_end_matches('/')) {
        return Err(invalid(name, "which is every path: that is the client's own pipeline"));
    }
    Ok(path.into_owned())
}

fn invalid(name: &str, reason: &str) -> Error {
    Error::InvalidRequest { field: "endpoint", value: crate::client::without_secrets(name), reason: reason.to_owned() }
}

/// What all pipelines of a client have one of: its timer, its observer.
pub(crate) struct Common<T>(Arc<T>);

impl<T> Common<T> {
    pub(crate) fn new(one: T) -> Self {
        Self(Arc::new(one))
    }

    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Common<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Clock> Clock for Common<C> {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl<C: Timer> Timer for Common<C> {
    type Sleep = C::Sleep;

    fn sleep_until(&self, deadline: Instant) -> C::Sleep {
        self.0.sleep_until(deadline)
    }
}

impl<O: Observer> Observer for Common<O> {
    type Call = O::Call;

    fn observe(&self, now: Instant, event: &Event) {
        self.0.observe(now, event);
    }

    fn observe_call(&self, now: Instant, call: &mut O::Call, event: &Event) {
        self.0.observe_call(now, call, event);
    }

    fn detail(&self, call: &mut O::Call, attempt: u32, name: &'static str, value: Detail<'_>) {
        self.0.detail(call, attempt, name, value);
    }

    fn within<R>(&self, call: &mut O::Call, attempt: u32, piece: impl FnOnce() -> R) -> R {
        self.0.within(call, attempt, piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_however_it_is_encoded() {
        for (path, want) in [
            ("/v1/chat", "/v1/chat"),
            ("/v1/%63h%61t", "/v1/chat"),
            ("/%7Eann%2Fchat", "/~ann%2Fchat"),
            ("/a%2fb%c3%a9", "/a%2Fb%C3%A9"),
            ("/100%", "/100%"),
            ("/%4", "/%4"),
            ("/%zz%%41", "/%ZZ%A"),
            ("/%\u{e9}", "/%\u{e9}"),
        ] {
            assert_eq!(plain(path), want);
        }
        for (path, want) in
            [("/v1/chat", true), ("/v1/chat/", true), ("/v1/chatter", false), ("/v1/chat%2Fx", false), ("/v1", false)]
        {
            assert_eq!(is_in("/v1/chat", path), want, "{path}");
        }
    }
}
