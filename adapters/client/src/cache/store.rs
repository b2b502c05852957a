use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use url::Url;

use super::resource::Resource;
use crate::call::show;

/// Where responses are kept: what a [`Cache`](super::Cache) puts in, and asks for again.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use steadfast_client::{CacheKey, Resource, Store, check_store};
///
/// /// Keeps as many URLs as there are, and so is for tests only.
/// #[derive(Default)]
/// struct Map(Mutex<HashMap<CacheKey, Arc<Resource>>>);
///
/// impl Store for Map {
///     fn get(&self, key: &CacheKey) -> Option<Arc<Resource>> {
///         self.0.lock().ok()?.get(key).cloned()
///     }
///
///     fn put(&self, key: &CacheKey, resource: Arc<Resource>) {
///         if let Ok(mut map) = self.0.lock() {
///             map.insert(key.clone(), resource);
///         }
///     }
///
///     fn remove(&self, key: &CacheKey) {
///         if let Ok(mut map) = self.0.lock() {
///             map.remove(key);
///         }
///     }
/// }
///
/// assert_eq!(check_store(&Map::default()), Ok(()));
/// ```
///
/// # The contract
///
/// - What was put is what is got, or nothing: a store may forget whatever it likes, whenever it likes.
/// - What was replaced or removed is never got again, by whichever thread.
/// - It holds no more than a bound of its own: [`Resource::bytes`] says what one takes.
/// - It answers at once. It is asked under a lock, which orders what is put with what is removed, so it must not wait for a disk
///   or a network, and must not make a call of this client.
///
/// [`check_store`] tries the first two.
///
/// # Why it does not await
///
/// An answer from memory is there at once, and a call that has one should not have an await point more, where it may be dropped
/// between its answer and its books. What a client keeps lives no longer than its clock, and so than its process: a store that
/// outlives it would need times of another kind.
pub trait Store: Send + Sync {
    /// What is kept under this key.
    fn get(&self, key: &CacheKey) -> Option<Arc<Resource>>;

    /// Keeps this in place of what was there before.
    fn put(&self, key: &CacheKey, resource: Arc<Resource>);

    /// Forgets what is there.
    fn remove(&self, key: &CacheKey);
}

/// The same store, for several clients.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn get(&self, key: &CacheKey) -> Option<Arc<Resource>> {
        (**self).get(key)
    }

    fn put(&self, key: &CacheKey, resource: Arc<Resource>) {
        (**self).put(key, resource);
    }

    fn remove(&self, key: &CacheKey) {
        (**self).remove(key);
    }
}

/// Under what a response is kept: its URL, and the client that fetched it, since no other may have it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct CacheKey(Arc<(u64, Url)>);

impl CacheKey {
    pub(super) fn new(client: u64, url: &Url) -> Self {
        let mut url = url.clone();
        // It is not sent.
        url.set_fragment(None);
        Self(Arc::new((client, url)))
    }

    fn bytes(&self) -> usize {
        self.0.1.as_str().len()
    }
}

/// Shows no query: a secret may be in it.
impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheKey").field(&show(&self.0.1)).finish()
    }
}

/// A store in memory, which forgets what was not asked for for the longest time.
///
/// ```
/// use steadfast_client::{Cache, MemoryStore};
///
/// let cache = Cache::with_store(MemoryStore::new().with_max_bytes(1024 * 1024).with_max_urls(100));
/// # let _ = cache;
/// ```
///
/// | Setting | Default | Why |
/// | --- | --- | --- |
/// | `max_bytes` | 16 MiB | as long as the longest response that a client reads by default; bodies, fields and keys are counted |
/// | `max_urls` | 4,096 | 4 KiB for each; what a table takes beside is bounded too |
///
/// Zero of either keeps nothing.
///
/// It is `lru` without its features, which depends on nothing, and a lock: `moka` and `quick_cache` bound bytes only, spread them
/// over shards that each refuse what is longer than themselves, and are fast where threads contend for millions of entries, which
/// calls over a network do not.
pub struct MemoryStore {
    max_bytes: usize,
    max_urls: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    by_key: LruCache<CacheKey, Arc<Resource>>,
    bytes: usize,
}

impl MemoryStore {
    /// With the defaults.
    pub fn new() -> Self {
        let kept = Kept { by_key: LruCache::unbounded(), bytes: 0 };
        Self { max_bytes: 16 * 1024 * 1024, max_urls: 4096, kept: Mutex::new(kept) }
    }

    /// Holds so many bytes.
    #[must_use]
    pub fn with_max_bytes(self, bytes: usize) -> Self {
        Self { max_bytes: bytes, ..self }
    }

    /// Holds responses of so many URLs.
    #[must_use]
    pub fn with_max_urls(self, urls: usize) -> Self {
        Self { max_urls: urls, ..self }
    }

    /// How many bytes it holds now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Of how many URLs it holds responses now.
    pub fn urls(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Also after a panic: none is possible between two of its changes.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &CacheKey) -> Option<Arc<Resource>> {
        self.lock().by_key.get(key).cloned()
    }

    fn put(&self, key: &CacheKey, resource: Arc<Resource>) {
        let size = |key: &CacheKey, resource: &Resource| key.bytes().saturating_add(resource.bytes());
        let mut kept = self.lock();
        let bytes = size(key, &resource);
        if let Some((key, before)) = kept.by_key.push(key.clone(), resource) {
            kept.bytes = kept.bytes.saturating_sub(size(&key, &before));
        }
        kept.bytes = kept.bytes.saturating_add(bytes);
        while kept.bytes > self.max_bytes || kept.by_key.len() > self.max_urls {
            let Some((key, oldest)) = kept.by_key.pop_lru() else { return };
            kept.bytes = kept.bytes.saturating_sub(size(&key, &oldest));
        }
    }

    fn remove(&self, key: &CacheKey) {
        let mut kept = self.lock();
        if let Some((key, gone)) = kept.by_key.pop_entry(key) {
            kept.bytes = kept.bytes.saturating_sub(key.bytes().saturating_add(gone.bytes()));
        }
    }
}

/// Shows how much there is, and nothing of it.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("max_bytes", &self.max_bytes)
            .field("max_urls", &self.max_urls)
            .field("bytes", &self.bytes())
            .field("urls", &self.urls())
            .finish_non_exhaustive()
    }
}

/// Tries the contract of a [`Store`] on one, and says what it does not keep to. What was in it may be gone afterwards.
///
/// # Errors
/// What went wrong first.
pub fn check_store(store: &impl Store) -> Result<(), &'static str> {
    let key = |client, path: &str| {
        let url = Url::parse("https://api.example.com/").and_then(|base| base.join(path));
        url.map(|url| CacheKey::new(client, &url)).map_err(|_| "the URLs of the check are no URLs")
    };
    // No client has these numbers.
    let (a, b) = (key(u64::MAX, "a")?, key(u64::MAX, "b")?);
    let (other_query, other_client) = (key(u64::MAX, "a?page=2")?, key(u64::MAX - 1, "a")?);
    let resource = || Arc::new(Resource::default());
    let (one, two) = (resource(), resource());
    let holds = |key: &CacheKey, allowed: &[&Arc<Resource>]| {
        store.get(key).is_none_or(|got| allowed.iter().any(|allowed| Arc::ptr_eq(&got, allowed)))
    };
    let all = [&a, &b, &other_query, &other_client];
    all.iter().for_each(|key| store.remove(key));
    if !all.iter().all(|key| holds(key, &[])) {
        return Err("what was removed is there again, or something was never put");
    }
    store.put(&a, Arc::clone(&one));
    if !holds(&a, &[&one]) {
        return Err("what is got is not what was put");
    }
    if ![&b, &other_query, &other_client].iter().all(|key| holds(key, &[])) {
        return Err("what was put under one key is got under another");
    }
    store.put(&a, Arc::clone(&two));
    if !holds(&a, &[&two]) {
        return Err("what was replaced is got");
    }
    store.put(&b, Arc::clone(&one));
    store.remove(&a);
    if !holds(&a, &[]) || !holds(&b, &[&one]) {
        return Err("what was removed is got, or something else went with it");
    }
    store.remove(&a);
    store.remove(&b);
    std::thread::scope(|scope| {
        // Each has a key of its own: whatever the others do, it sees what it did last.
        let threads = Vec::from_iter(all.map(|key| {
            scope.spawn(|| {
                (0..200).all(|_| {
                    let mine = resource();
                    store.put(key, Arc::clone(&mine));
                    let got = holds(key, &[&mine]);
                    store.remove(key);
                    got && holds(key, &[])
                })
            })
        }));
        let kept = threads.into_iter().all(|thread| matches!(thread.join(), Ok(true)));
        kept.then_some(()).ok_or("a thread does not see what it did last")
    })
}
