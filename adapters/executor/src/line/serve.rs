use std::time::Duration;

use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::limits::{Missing, ServerLimits, Woken};
use steadfast_core::time::Instant;

use super::queue::Waiter;
use super::ticket::Place;
use super::{Kept, Line};

/// Granting those whose turn has come, and waking whoever has to know.
impl<const K: usize> Line<K> {
    /// Grants everybody whose turn has come.
    #[inline]
    pub(super) fn serve(&mut self, now: Instant) {
        if self.may_have_turn(now) || now >= self.next_expiry {
            self.serve_before(now, Place::LAST);
        }
    }

    /// Whether it may be the turn of the first in line.
    ///
    /// Whoever joins a long line asks this, and need not work out the exact time anew: before the one that the first was
    /// told it is not its turn, unless something has come back since. Slots come back at any time.
    #[inline]
    fn may_have_turn(&self, now: Instant) -> bool {
        self.waiting
            .first()
            .is_some_and(|first| first.until <= now || first.for_slot || first.place.joined() < self.outdated_before)
    }

    /// Grants everybody before `end` whose turn has come. Returns what the first of those who are left misses.
    pub(super) fn serve_before(&mut self, now: Instant, end: Place) -> Option<Missing> {
        let mut next_misses = None;
        while let Some(&Waiter { place, weights, .. }) = self.waiting.first().filter(|first| first.place < end) {
            let grant = match self.gate.try_take(now, weights) {
                Ok(grant) => grant,
                Err(Missing::Never(_)) => {
                    // It leaves the line, and is told so when it asks.
                    self.woken.extend(self.waiting.pop_first().and_then(|waiter| waiter.waker).map(Woken::Wake));
                    continue;
                }
                Err(missing) => {
                    next_misses = Some(missing);
                    break;
                }
            };
            let expires_at = self.expiry(now);
            self.next_expiry = self.next_expiry.min(expires_at);
            self.granted.insert(place, Kept { expires_at, weights, grant });
            let waker = self.waiting.pop_first().and_then(|waiter| waiter.waker);
            self.woken.extend(waker.map(Woken::Wake));
            // Whoever asks learns its time without being woken.
            if self.waiting.first().is_none_or(|first| first.place != end) {
                self.wake_first_if_outdated();
            }
        }
        self.forget_expired(now);
        next_misses
    }

    /// Forgets what was granted to those who never asked again: the buckets have refilled it, and it is nobody's.
    #[inline]
    pub(super) fn forget_expired(&mut self, now: Instant) {
        if now >= self.next_expiry {
            self.look_for_expired(now);
        }
    }

    #[cold]
    fn look_for_expired(&mut self, now: Instant) {
        let gate = &mut self.gate;
        let expired = self.granted.iter().filter(|(_, kept)| now >= kept.expires_at).map(|(place, _)| *place);
        for place in expired.collect::<Vec<_>>() {
            if let Some(kept) = self.granted.remove(&place) {
                gate.forget(kept.grant);
            }
        }
        self.next_expiry = self.granted.values().map(|kept| kept.expires_at).min().unwrap_or(Instant::MAX);
    }

    /// When what is granted now has come in again. Used later, it would be used beside that.
    fn expiry(&self, now: Instant) -> Instant {
        let buckets = self.gate.own.rate_limits().map_or(&[][..], |limits| limits.limits());
        let full_in = buckets.iter().map(|bucket| bucket.snapshot(now).full_in).max().unwrap_or_default();
        let server = self.gate.server.as_ref().map(|_| ServerLimits::LEASE);
        let lease = self.gate.own.concurrency_limit().map(ConcurrencyLimit::lease).or(server);
        let life = if full_in.is_zero() { lease.unwrap_or_default() } else { full_in };
        now + life.max(Duration::from_nanos(1))
    }

    /// Takes back what was granted and not asked for since, since nobody may use it before `until`, and tells everybody.
    pub(super) fn take_back(&mut self, until: Instant) {
        while let Some((place, Kept { weights, grant, .. })) = self.granted.pop_last() {
            // As of the latest time that the limits have seen.
            self.gate.give_back(Instant::EPOCH, grant);
            self.waiting.insert(Waiter::new(place, weights, until));
        }
        // Whoever was told an earlier time learns another, which may be too late for it: then it gives up now.
        self.woken.extend(self.waiting.outdate().into_iter().map(Woken::Wake));
    }

    /// Wakes the first in line, if it may have been told too late a time.
    pub(super) fn wake_first_if_outdated(&mut self) {
        let outdated_before = self.outdated_before;
        if let Some(first) = self.waiting.first_mut().filter(|first| first.place.joined() < outdated_before) {
            if let Some(waker) = first.waker.take() {
                self.woken.push_back(Woken::Wake(waker));
            }
        }
    }

    /// Grants everybody whose turn has come, since something came back, and lets the next learn what it waits for.
    pub(super) fn go_on(&mut self, now: Instant) {
        match self.serve_before(now, Place::LAST) {
            // It is called up when a slot comes free.
            Some(Missing::Slot(_)) => {}
            Some(Missing::Tokens(_) | Missing::Never(_)) | None => self.outdate_and_wake_first(),
        }
    }

    /// Notes that everybody in line may be served earlier than it was told, the first included.
    pub(super) fn outdate_and_wake_first(&mut self) {
        self.outdated_before = self.next;
        self.wake_first_if_outdated();
    }
}
