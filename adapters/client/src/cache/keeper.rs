use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::{Event, EventListener};
use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderName};
use steadfast_http::cache::validation::invalidates;
use url::Url;

use super::fills::{End, Fills, Identity, Part};
use super::named_url;
use super::resource::{Came, Variant};
use super::store::{CacheKey, Store};
use crate::overrides::{LimitKey, Overrides};

/// How many revalidations wait to be made. Whoever would add another asks himself.
const MAX_PENDING: usize = 64;

/// What a client keeps, what it is fetching to keep, and what is to be fetched again.
pub(crate) struct Keeper {
    client: u64,
    store: Arc<dyn Store>,
    max_response: usize,
    longest_guess: Duration,
    ignored: Vec<HeaderName>,
    /// Of these, what names a call: another one that waits for its answer has another.
    naming: Vec<HeaderName>,
    pub(super) fills: Fills,
    pending: Mutex<Waiting>,
    /// When something is to be fetched again.
    more: Event,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Pending>,
    /// How many there are who make them.
    drivers: usize,
}

/// A response that is to be validated, by a call like the one that it was the answer to.
pub(super) struct Pending {
    key: CacheKey,
    pub(super) url: Url,
    pub(super) asked: Identity,
    pub(super) overrides: Overrides,
}

/// Whoever makes the revalidations. Without, there are none.
pub(super) struct Driver<'a>(&'a Keeper);

impl Keeper {
    pub(super) fn new(
        client: u64,
        store: Arc<dyn Store>,
        max_response: usize,
        longest_guess: Duration,
        content: &[HeaderName],
        naming: Vec<HeaderName>,
    ) -> Self {
        let (fills, pending, more) = (Fills::default(), Mutex::default(), Event::new());
        let ignored = content.iter().chain(&naming).cloned().collect();
        Self { client, store, max_response, longest_guess, ignored, naming, fills, pending, more }
    }

    pub(super) fn key(&self, url: &Url) -> CacheKey {
        CacheKey::new(self.client, url)
    }

    pub(super) fn longest_guess(&self) -> Duration {
        self.longest_guess
    }

    /// The response that is kept for such a request, whatever it is good for.
    pub(super) fn find(&self, key: &CacheKey, asked: &HeaderMap) -> Option<Arc<Variant>> {
        self.store.get(key)?.find(asked, &self.ignored).cloned()
    }

    pub(super) fn answers(&self, variant: &Variant, asked: &HeaderMap) -> bool {
        variant.answers(asked, &self.ignored)
    }

    /// All of a request but what names the one call: who has the same asks for the same.
    pub(super) fn identity(&self, headers: &HeaderMap, overrides: &Overrides) -> Identity {
        let mut headers = headers.clone();
        for name in &self.naming {
            headers.remove(name);
        }
        Identity { headers, limits: overrides.limit_key.as_ref().map(|LimitKey(key)| Arc::clone(key)) }
    }

    /// A response that has come, if it may be kept: as it is kept.
    pub(super) fn variant(
        &self,
        came: Came,
        answer: (http::StatusCode, &HeaderMap, &bytes::Bytes),
        asked: &HeaderMap,
        is_unseen: impl Fn(&HeaderName) -> bool,
    ) -> Option<Arc<Variant>> {
        let (status, headers, body) = answer;
        let variant = Variant::of(came, status, headers, body, asked, &self.ignored, is_unseen)?;
        self.fits(variant).map(|variant| Arc::new(variant.trimmed()))
    }

    /// The same, unless it is too long.
    pub(super) fn fits(&self, variant: Variant) -> Option<Variant> {
        (variant.bytes() <= self.max_response).then_some(variant)
    }

    /// Ends somebody's part: what it brought is kept, and else what was kept for such a request is forgotten, if it is said to
    /// be out of date.
    pub(super) fn conclude(&self, part: Part<'_>, key: &CacheKey, asked: &HeaderMap, end: End) {
        let keep = {
            let end = end.clone();
            move || match end {
                End::Brought(variant) => {
                    let resource = self.store.get(key).unwrap_or_default();
                    if let Some(resource) = resource.with(&variant, asked, &self.ignored) {
                        self.store.put(key, Arc::new(resource));
                    }
                }
                End::Nothing => {
                    let Some(resource) = self.store.get(key) else { return };
                    match resource.without(asked, &self.ignored) {
                        Some(resource) => self.store.put(key, Arc::new(resource)),
                        None => self.store.remove(key),
                    }
                }
                End::Failed(_) => {}
            }
        };
        part.conclude(end, keep);
    }

    /// Forgets all that is kept of a URL, and what is being fetched of it.
    pub(super) fn invalidate(&self, url: &Url) {
        let key = self.key(url);
        self.fills.invalidate(&key, || self.store.remove(&key));
    }

    /// Leaves a revalidation to whoever makes them. `false` if nobody does, or too many are left already.
    pub(super) fn leave(&self, key: &CacheKey, url: &Url, asked: &Identity, overrides: &Overrides) -> bool {
        let mut waiting = self.waiting();
        if waiting.drivers == 0 {
            return false;
        }
        if self.fills.is_under_way(key, asked) {
            return true;
        }
        if waiting.calls.iter().any(|other| other.key == *key && other.asked == *asked) {
            return true;
        }
        if waiting.calls.len() >= MAX_PENDING {
            return false;
        }
        let (key, url, asked, overrides) = (key.clone(), url.clone(), asked.clone(), overrides.clone());
        waiting.calls.push_back(Pending { key, url, asked, overrides });
        drop(waiting);
        self.more.notify(1);
        true
    }

    pub(super) fn drive(&self) -> Driver<'_> {
        self.waiting().drivers += 1;
        Driver(self)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver<'_> {
    /// The next revalidation, if one is left.
    pub(super) fn take(&self) -> Option<Pending> {
        self.0.waiting().calls.pop_front()
    }

    /// To hear of the next.
    pub(super) fn listen(&self) -> EventListener {
        self.0.more.listen()
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.drivers = waiting.drivers.saturating_sub(1);
        if waiting.drivers == 0 {
            waiting.calls.clear();
        }
        drop(waiting);
        // What this one was told of, another one does.
        self.0.more.notify(1);
    }
}

/// An unsafe call under way: when it ends, however that is, what is kept of its URL is forgotten.
pub(super) struct Spoils<'a> {
    /// `None` if nothing was done.
    keeper: Option<&'a Keeper>,
    url: Url,
}

impl<'a> Spoils<'a> {
    pub(super) fn new(keeper: &'a Keeper, url: Url) -> Self {
        Self { keeper: Some(keeper), url }
    }

    /// It was never sent.
    pub(super) fn was_not_made(mut self) {
        self.keeper = None;
    }

    /// This came of it.
    pub(super) fn answered(mut self, status: http::StatusCode, headers: &HeaderMap) {
        if !invalidates(Some(status.as_u16())) {
            self.keeper = None;
        }
        if status.is_success() || status.is_redirection() {
            let named = [LOCATION, CONTENT_LOCATION].map(|field| named_url(&self.url, headers, &field));
            let named = named.iter().flatten();
            named.for_each(|url| self.keeper.iter().for_each(|keeper| keeper.invalidate(url)));
        }
    }
}

impl Drop for Spoils<'_> {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper {
            keeper.invalidate(&self.url);
        }
    }
}
