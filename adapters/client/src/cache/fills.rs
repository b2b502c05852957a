use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::Event;
use http::{HeaderMap, StatusCode};

use super::resource::Variant;
use super::store::CacheKey;

/// The requests that are under way for something that may be kept.
///
/// One of several callers who ask for the same leads: it sends the request. The others follow, each for as long as it likes, and
/// take what came of it if that answers them too.
///
/// ```text
///            join            conclude
///   nobody ───────▶ led ──────────────────▶ over: all who follow are told
///                   ▲ │ dropped
///      one of those │ ▼
///      who follow └─ vacant
/// ```
///
/// Invariants, each the name of a test:
/// - *a leader who leaves hands on*: to one who follows, or whoever comes next.
/// - *nothing is left of a fill that nobody is part of*.
/// - *what was under way at an invalidation is neither kept nor shared*: it may be what was before.
#[derive(Default)]
pub(super) struct Fills(Mutex<HashMap<CacheKey, Vec<Arc<Fill>>>>);

/// What a request has in common with all that it may be answered together with.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Identity {
    /// All that is sent, but what names the call.
    pub(super) headers: HeaderMap,
    /// The key whose limits it goes by: nobody waits for one who is held back by another's.
    pub(super) limits: Option<Arc<str>>,
}

struct Fill {
    asked: Identity,
    /// Nobody waits for a call that goes behind him.
    priority: u8,
    changed: Event,
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    /// How many are part of it.
    people: usize,
    /// Whether whoever comes may follow.
    is_open: bool,
    /// Whether what it brings may be kept.
    is_valid: bool,
}

enum Phase {
    Led,
    Vacant,
    Over(End),
}

/// What came of a request, for those who followed it.
#[derive(Clone)]
pub(super) enum End {
    /// This, which may be kept.
    Brought(Arc<Variant>),
    /// No answer, or one with this status.
    Failed(Option<StatusCode>),
    /// An answer for nobody else.
    Nothing,
}

/// A caller's part in a fill. Dropping it is leaving.
pub(super) struct Part<'a> {
    fills: &'a Fills,
    key: CacheKey,
    fill: Arc<Fill>,
    leads: bool,
}

impl Fills {
    /// To lead a request of one's own, which others may follow or not.
    pub(super) fn lead(&self, key: &CacheKey, asked: Identity, priority: u8, is_open: bool) -> Part<'_> {
        self.begin(&mut self.lock(), key, asked, priority, is_open)
    }

    /// To follow one who asks for the same and goes before; or else to lead.
    pub(super) fn join(&self, key: &CacheKey, asked: &Identity, priority: u8) -> Part<'_> {
        let mut fills = self.lock();
        for fill in fills.get(key).into_iter().flatten() {
            let mut inner = fill.lock();
            if !inner.is_open || fill.asked != *asked || fill.priority < priority {
                continue;
            }
            let leads = match inner.phase {
                Phase::Led => false,
                Phase::Vacant => true,
                Phase::Over(_) => continue,
            };
            if leads {
                inner.lead();
            }
            inner.people += 1;
            return Part { fills: self, key: key.clone(), fill: Arc::clone(fill), leads };
        }
        self.begin(&mut fills, key, asked.clone(), priority, true)
    }

    fn begin<'a>(
        &'a self,
        fills: &mut HashMap<CacheKey, Vec<Arc<Fill>>>,
        key: &CacheKey,
        asked: Identity,
        priority: u8,
        is_open: bool,
    ) -> Part<'a> {
        let inner = Inner { phase: Phase::Led, people: 1, is_open, is_valid: true };
        let fill = Arc::new(Fill { asked, priority, changed: Event::new(), inner: Mutex::new(inner) });
        fills.entry(key.clone()).or_default().push(Arc::clone(&fill));
        Part { fills: self, key: key.clone(), fill, leads: true }
    }

    /// Whether a request for this is under way that whoever asks now would follow.
    pub(super) fn is_under_way(&self, key: &CacheKey, asked: &Identity) -> bool {
        self.lock().get(key).into_iter().flatten().any(|fill| fill.lock().is_open && fill.asked == *asked)
    }

    /// What is under way for this is out of date: nobody follows it any more, and it is not kept. Runs `forget` before anything
    /// else can be kept.
    pub(super) fn invalidate(&self, key: &CacheKey, forget: impl FnOnce()) {
        let fills = self.lock();
        for fill in fills.get(key).into_iter().flatten() {
            let mut inner = fill.lock();
            (inner.is_open, inner.is_valid) = (false, false);
        }
        forget();
    }

    /// How many requests are under way.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Vec<Arc<Fill>>>> {
        lock(&self.0)
    }
}

impl Fill {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Inner {
    /// Somebody else sends the request, from now on: what was invalidated is nothing to it.
    fn lead(&mut self) {
        (self.phase, self.is_valid) = (Phase::Led, true);
    }
}

impl Part<'_> {
    pub(super) fn leads(&self) -> bool {
        self.leads
    }

    /// Waits for what comes of it. `None` if whoever led has left, and this one leads now.
    ///
    /// Cancel safe: dropped, it follows still.
    pub(super) async fn follow(&mut self) -> Option<End> {
        loop {
            // Listening first and asking then, so that nothing is missed between the two.
            let changed = self.fill.changed.listen();
            {
                let mut inner = self.fill.lock();
                match &inner.phase {
                    Phase::Over(end) => return Some(end.clone()),
                    Phase::Vacant => {
                        inner.lead();
                        self.leads = true;
                        return None;
                    }
                    Phase::Led => {}
                }
            }
            changed.await;
        }
    }

    /// Tells those who follow what came of it. Runs `keep` if it is to be kept, and before anything else can be.
    pub(super) fn conclude(mut self, end: End, keep: impl FnOnce()) {
        let fills = self.fills.lock();
        let mut inner = self.fill.lock();
        let end = if inner.is_valid { end } else { End::Nothing };
        if inner.is_valid {
            keep();
        }
        (inner.phase, inner.is_open) = (Phase::Over(end), false);
        drop(inner);
        drop(fills);
        self.leads = false;
        self.fill.changed.notify(usize::MAX);
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let mut fills = self.fills.lock();
        let mut inner = self.fill.lock();
        inner.people = inner.people.saturating_sub(1);
        if mem::take(&mut self.leads) {
            inner.phase = Phase::Vacant;
        }
        let is_gone = inner.people == 0 || matches!(inner.phase, Phase::Over(_));
        let is_vacant = matches!(inner.phase, Phase::Vacant);
        drop(inner);
        if is_gone {
            if let Some(of_key) = fills.get_mut(&self.key) {
                of_key.retain(|fill| !Arc::ptr_eq(fill, &self.fill));
                if of_key.is_empty() {
                    fills.remove(&self.key);
                }
            }
        }
        drop(fills);
        if is_vacant {
            // One of those who follow. If that one leaves before it has heard, the next does.
            self.fill.changed.notify(1);
        }
    }
}

/// Locks, also after a panic: under these locks runs nothing of the user's but a store, and what it leaves is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use url::Url;

    use super::*;

    fn key() -> CacheKey {
        CacheKey::new(1, &Url::parse("https://api.example.com/a").expect("it is one"))
    }

    fn word(polled: &Poll<Option<End>>) -> &'static str {
        match polled {
            Poll::Pending => "waits",
            Poll::Ready(None) => "leads",
            Poll::Ready(Some(End::Failed(_))) => "failed",
            Poll::Ready(Some(End::Nothing)) => "nothing",
            Poll::Ready(Some(End::Brought(_))) => "brought",
        }
    }

    fn poll(part: &mut Part<'_>) -> &'static str {
        word(&pin!(part.follow()).poll(&mut Context::from_waker(Waker::noop())))
    }

    #[test]
    fn a_leader_who_leaves_hands_on() {
        let fills = Fills::default();
        let join = || fills.join(&key(), &Identity::default(), 0);
        let (first, mut second, mut third) = (join(), join(), join());
        assert_eq!(
            (first.leads(), second.leads(), poll(&mut second), poll(&mut third)),
            (true, false, "waits", "waits")
        );
        drop(first);
        assert_eq!((poll(&mut third), poll(&mut second)), ("leads", "waits"));
        drop(third);
        // Whoever comes next leads, if nobody has heard of it yet.
        let fourth = join();
        assert!(fourth.leads());
        assert_eq!(poll(&mut second), "waits");
        fourth.conclude(End::Failed(None), || ());
        assert_eq!(poll(&mut second), "failed");
        drop(second);
        assert_eq!(fills.len(), 0);
    }

    #[test]
    fn nobody_misses_that_a_leader_has_left() {
        let fills = Fills::default();
        let join = || fills.join(&key(), &Identity::default(), 0);
        let first = join();
        let (mut second, mut third) = (join(), join());
        let mut cx = Context::from_waker(Waker::noop());
        let mut third_waits = pin!(third.follow());
        {
            let mut second_waits = pin!(second.follow());
            assert!(
                second_waits.as_mut().poll(&mut cx).is_pending() && third_waits.as_mut().poll(&mut cx).is_pending()
            );
            drop(first);
            // The one that was woken leaves without having heard.
        }
        drop(second);
        assert_eq!(word(&third_waits.as_mut().poll(&mut cx)), "leads");
    }

    #[test]
    fn nothing_is_left_of_a_fill_that_nobody_is_part_of() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let fills = Fills::default();
            let mut parts = Vec::from_iter((0..3).map(|_| Some(fills.join(&key(), &Identity::default(), 0))));
            assert_eq!(fills.len(), 1);
            order.iter().for_each(|place| parts[*place] = None);
            assert_eq!(fills.len(), 0, "{order:?}");
        }
    }

    #[test]
    fn what_was_under_way_at_an_invalidation_is_neither_kept_nor_shared() {
        let fills = Fills::default();
        let join = || fills.join(&key(), &Identity::default(), 0);
        let (first, mut second) = (join(), join());
        let mut forgotten = false;
        fills.invalidate(&key(), || forgotten = true);
        // Whoever comes now must not be told what was before.
        let third = join();
        assert!(forgotten && third.leads() && !second.leads());
        first.conclude(End::Failed(None), || panic!("it is not to be kept"));
        assert_eq!(poll(&mut second), "nothing");
        let mut kept = false;
        third.conclude(End::Nothing, || kept = true);
        assert!(kept);
        drop(second);
        assert_eq!(fills.len(), 0);
    }

    #[test]
    fn only_who_asks_for_the_same_and_is_not_in_a_hurry_follows() {
        let fills = Fills::default();
        let _first = fills.join(&key(), &Identity::default(), 1);
        let headers = HeaderMap::from_iter([(http::header::ACCEPT, http::HeaderValue::from_static("text/html"))]);
        let other = Identity { headers, limits: None };
        let another_key = Identity { limits: Some("ann".into()), ..Identity::default() };
        assert!(fills.join(&key(), &another_key, 0).leads());
        assert!(
            !fills.join(&key(), &Identity::default(), 0).leads()
                && !fills.join(&key(), &Identity::default(), 1).leads()
        );
        assert!(fills.join(&key(), &Identity::default(), 2).leads() && fills.join(&key(), &other, 0).leads());
        let _alone = fills.lead(&key(), other.clone(), 0, false);
        assert!(fills.join(&key(), &other, 0).leads(), "nobody follows what is not open");
    }
}
