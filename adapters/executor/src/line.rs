use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use steadfast_core::rate_limit::{
    Admission, Quota, RateLimiter, RateLimits, Refusal, RefusedBy, Reservations, TokenBucket, Woken,
};
use steadfast_core::time::Instant;

use crate::demand::{Counts, Demand};

mod ticket;

pub use ticket::Ticket;
use ticket::{Place, Standing};

/// How many may wait unless told otherwise. At a thousand calls a second the last of them waits for a minute.
const MAX_WAITERS: usize = 65_536;

/// One or more token buckets with a line before them: first come, first served, however heavy.
///
/// It is a state machine like the buckets themselves: told the time, and asked how a [`Ticket`] stands. [`RateLimit`]
/// and [`SharedPipeline`] wait on it; few will use it directly.
///
/// # How it works
///
/// The buckets hold only tokens that were granted, and only the first in line can be granted any, so a light request
/// never overtakes a heavy one. Everybody in line is told a time and asks again then; whoever asks grants everybody
/// whose turn has come by then, itself included. So nobody depends on anybody else being polled.
///
/// Tokens are granted as of when somebody asks for them, never as of when they were due: callers that come late cannot
/// meet and exceed the burst together. So the times that are told are estimates. One who comes late makes those behind
/// it later by what overflows the buckets meanwhile, and one who is never polled again by what it asked for; a burst
/// with room for what comes in during a timer's tick absorbs the usual lateness.
///
/// Somebody who leaves, and a quota that is raised, make the times of others earlier. The first in line is woken to
/// learn its own; the others learn theirs as they become first, and those that are never woken still have the later
/// time to go by.
///
/// Invariants, each the name of a test:
/// - *first come, first served*: grants go out in the order of joining, within each priority.
/// - *a forgotten waiter is passed*: it costs what it asked for, and nobody behind it needs it to be polled.
/// - *those behind a leaver move forward*: as if it had never joined.
/// - *nothing is spent twice or lost*: granted tokens are used, or go back when their holder leaves.
/// - *another quota reaches those who wait*: their times change with it, and whoever can never be served is told so.
///
/// [`RateLimit`]: crate::RateLimit
/// [`SharedPipeline`]: crate::SharedPipeline
#[derive(Debug)]
pub struct Line<const K: usize = 1> {
    limits: RateLimits<K>,
    /// What a call that weighs `n` takes of each limit, where only one number is given.
    counts: [Counts; K],
    /// Who waits, in the order in which they are served.
    waiting: BTreeMap<Place, Waiter<K>>,
    /// What was granted to somebody who has not asked since, until it expires.
    granted: BTreeMap<Place, Grant<K>>,
    /// How many tokens of each limit those who wait ask for, all together.
    queued: [u64; K],
    next: u64,
    /// Whoever joined before this may have been told a time that has become earlier since.
    outdated_before: u64,
    max_waiters: usize,
    /// Whom to wake or forget as soon as no lock is held.
    woken: VecDeque<Woken>,
}

#[derive(Debug)]
struct Waiter<const K: usize> {
    weights: [u32; K],
    /// When it was told to ask again.
    until: Instant,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Grant<const K: usize> {
    /// When the buckets have refilled it; then it has expired.
    refilled_at: Instant,
    weights: [u32; K],
    reservations: Reservations<K>,
}

impl Line {
    /// An empty line before a full bucket. At most 65,536 wait; see [`with_max_waiters`](Self::with_max_waiters).
    pub fn new(quota: Quota) -> Self {
        Self::before(TokenBucket::new(quota))
    }

    /// An empty line before `bucket`.
    pub fn before(bucket: TokenBucket) -> Self {
        Self::before_several(RateLimits::of([bucket]), [Counts::Weight])
    }
}

impl<const K: usize> Line<K> {
    /// An empty line before several limits, each of which counts calls or their weight.
    pub fn before_several(limits: RateLimits<K>, counts: [Counts; K]) -> Self {
        Self {
            limits,
            counts,
            waiting: BTreeMap::new(),
            granted: BTreeMap::new(),
            queued: [0; K],
            next: 0,
            outdated_before: 0,
            max_waiters: MAX_WAITERS,
            woken: VecDeque::new(),
        }
    }

    /// The same line, in which at most so many wait; the next to join is refused with [`Refusal::LineFull`].
    #[must_use]
    pub fn with_max_waiters(self, waiters: usize) -> Self {
        Self { max_waiters: waiters, ..self }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many tokens of each limit somebody who joins at `now` would get at once.
    pub fn available(&mut self, now: Instant) -> [u32; K] {
        self.serve(now);
        if self.is_empty() { self.limits.available(now) } else { [0; K] }
    }

    /// Takes the place that a demand asks for, or what it asks for if it is there and nobody waits.
    ///
    /// # Errors
    /// At once: [`Refusal::NotYet`] if its turn would come only at its deadline or later; [`Refusal::Never`] if it
    /// would never come; [`Refusal::LineFull`].
    pub fn join(&mut self, now: Instant, demand: Demand<K>) -> Result<Ticket<K>, Refusal> {
        let Demand { weights, deadline, priority } = demand;
        self.serve(now);
        let place = (Reverse(priority), self.next);
        if now < deadline && self.first().is_none_or(|(first, _)| place < first) {
            if let Some(reservations) = self.limits.reserve_now(now, weights) {
                return Ok(Ticket(Standing::Granted(reservations)));
            }
        }
        // Asks the limits only whether it could ever be.
        self.limits.ready_at(now, weights).map_err(|refused: RefusedBy| refused.refusal)?;
        let until = self.turn(now, place, weights);
        let Some(until) = until.filter(|until| *until < deadline) else {
            // Where it is the deadline that has passed, the tokens may be there; later than now is soon enough.
            return Err(Refusal::not_yet(until.map(|until| until.max(now + Duration::from_nanos(1)))));
        };
        if self.waiting.len() >= self.max_waiters {
            return Err(Refusal::LineFull { waiting: self.waiting.len() });
        }
        self.next += 1;
        self.insert(place, weights, until);
        Ok(Ticket(Standing::Waiting(place, weights)))
    }

    /// Keeps another quota for one of the limits (from 0, in their order) from now on. Those who wait go by it at once.
    ///
    /// Debts stay, see [`TokenBucket::set_quota`]. No limit with this number: nothing changes.
    pub fn set_quota(&mut self, now: Instant, limit: usize, quota: Quota) {
        let Some(bucket) = self.limits.limits_mut().get_mut(limit) else {
            return;
        };
        bucket.set_quota(now, quota);
        // Who can never be served any more leaves the line, and is told so when it asks.
        let burst = quota.burst();
        let hopeless = self.waiting.iter().filter(|(_, waiter)| waiter.weights[limit] > burst);
        let hopeless: Vec<_> = hopeless.map(|(place, _)| *place).collect();
        for place in hopeless {
            let waker = self.remove(place).and_then(|waiter| waiter.waker);
            self.woken.extend(waker.map(Woken::Wake));
        }
        self.serve(now);
        self.outdate_and_wake_first();
    }

    /// Settles what was granted with what was used in truth. See [`TokenBucket::commit`].
    pub(crate) fn commit(&mut self, now: Instant, granted: Reservations<K>, used: [u32; K]) {
        self.limits.commit(now, granted, used);
        self.serve(now);
        self.outdate_and_wake_first();
    }

    /// Grants everybody whose turn has come.
    fn serve(&mut self, now: Instant) {
        while let Some((place, weights)) = self.first() {
            if let Some(reservations) = self.limits.reserve_now(now, weights) {
                let full_in = self.limits.limits().iter().map(|limit| limit.snapshot(now).full_in).max();
                let refilled_at = now + full_in.unwrap_or_default().max(Duration::from_nanos(1));
                self.granted.insert(place, Grant { refilled_at, weights, reservations });
            } else {
                break;
            }
            if let Some(Waiter { waker: Some(waker), .. }) = self.remove(place) {
                self.woken.push_back(Woken::Wake(waker));
            }
            self.wake_first_if_outdated();
        }
        // What was granted to somebody who never asked again: the buckets have refilled it, and it is nobody's.
        while let Some(oldest) = self.granted.first_entry() {
            if now < oldest.get().refilled_at {
                break;
            }
            oldest.remove();
        }
    }

    fn insert(&mut self, place: Place, weights: [u32; K], until: Instant) {
        add(&mut self.queued, weights);
        self.waiting.insert(place, Waiter { weights, until, waker: None });
    }

    fn first(&self) -> Option<(Place, [u32; K])> {
        self.waiting.first_key_value().map(|(place, waiter)| (*place, waiter.weights))
    }

    fn remove(&mut self, place: Place) -> Option<Waiter<K>> {
        let waiter = self.waiting.remove(&place)?;
        subtract(&mut self.queued, waiter.weights);
        Some(waiter)
    }

    /// Wakes the first in line, if it may have been told too late a time.
    fn wake_first_if_outdated(&mut self) {
        if let Some(mut first) = self.waiting.first_entry() {
            if first.key().1 < self.outdated_before {
                self.woken.extend(first.get_mut().waker.take().map(Woken::Wake));
            }
        }
    }

    /// Notes that everybody in line may be served earlier than it was told, the first included.
    fn outdate_and_wake_first(&mut self) {
        self.outdated_before = self.next;
        self.wake_first_if_outdated();
    }

    /// When it is the turn of somebody at this place, with these weights, as far as is known.
    fn turn(&self, now: Instant, place: Place, weights: [u32; K]) -> Option<Instant> {
        let mut ahead = [0; K];
        match self.waiting.last_key_value() {
            // Somebody who joins at the end, as most do, has everybody ahead, and need not count them.
            Some((last, _)) if *last < place => ahead = self.queued,
            _ => self.waiting.range(..place).for_each(|(_, waiter)| add(&mut ahead, waiter.weights)),
        }
        // Who asks for none at all waits until one is there.
        add(&mut ahead, weights.map(|weight| weight.max(1)));
        self.limits.ready_at_after(now, ahead)
    }

    /// When it is the turn of somebody who waits at this place.
    fn turn_of(&self, now: Instant, place: Place) -> Instant {
        let weights = self.waiting.get(&place).map_or([0; K], |waiter| waiter.weights);
        self.turn(now, place, weights).unwrap_or(Instant::MAX)
    }

    /// How somebody stands who was waiting and is no longer in line.
    fn decided(&mut self, now: Instant, place: Place, weights: [u32; K]) -> Standing<K> {
        if let Some(grant) = self.granted.remove(&place) {
            return Standing::Granted(grant.reservations);
        }
        if let Err(RefusedBy { refusal, .. }) = self.limits.ready_at(now, weights) {
            return Standing::Refused(refusal);
        }
        // Its grant has expired, so it waits again, in the same place.
        self.insert(place, weights, now);
        self.serve(now);
        match self.granted.remove(&place) {
            Some(grant) => Standing::Granted(grant.reservations),
            None => Standing::Waiting(place, weights),
        }
    }
}

fn add<const K: usize>(sum: &mut [u64; K], weights: [u32; K]) {
    sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum = sum.saturating_add(weight.into()));
}

fn subtract<const K: usize>(sum: &mut [u64; K], weights: [u32; K]) {
    sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum = sum.saturating_sub(weight.into()));
}

impl<const K: usize> RateLimiter for Line<K> {
    type Ticket = Ticket<K>;

    fn join(&mut self, now: Instant, n: u32, deadline: Instant) -> Result<Ticket<K>, Refusal> {
        let weights = self.counts.map(|counts| match counts {
            Counts::Calls => 1,
            Counts::Weight => n,
        });
        Self::join(self, now, Demand::of(weights).before(deadline))
    }

    fn poll(&mut self, now: Instant, ticket: &mut Ticket<K>) -> Admission {
        if let Standing::Waiting(place, weights) = ticket.0 {
            // Who asks need not be woken; if it has to wait, it leaves its waker anew.
            let own = self.waiting.get_mut(&place).and_then(|waiter| waiter.waker.take());
            self.woken.extend(own.map(Woken::Forget));
            self.serve(now);
            if !self.waiting.contains_key(&place) {
                ticket.0 = self.decided(now, place, weights);
            }
        }
        let place = match &ticket.0 {
            Standing::Granted(_) => return Admission::Granted,
            Standing::Refused(refusal) => return Admission::Refused(*refusal),
            Standing::Waiting(place, _) => *place,
        };
        let told = self.waiting.get(&place).map_or(Instant::EPOCH, |waiter| waiter.until);
        let until = match self.waiting.first_entry() {
            // The first in line can have an exact time for nothing.
            Some(first) if *first.key() == place => self.turn_of(now, place),
            // Others keep the one they were told, as long as it has not passed.
            _ if told > now => told,
            // Who should have asked by now and has not may never do so: this one asks in its stead when it is due.
            Some(first) if first.get().until <= now => {
                let first = *first.key();
                self.turn_of(now, first)
            }
            // Somebody came late, or was more urgent, or a server has blocked everybody.
            _ => self.turn_of(now, place),
        };
        if let Some(waiter) = self.waiting.get_mut(&place) {
            waiter.until = until;
        }
        Admission::Wait(until)
    }

    fn leave(&mut self, now: Instant, ticket: Ticket<K>) {
        let first = self.first().map(|(first, _)| first);
        let granted = match ticket.0 {
            Standing::Granted(reservations) => Some(reservations),
            Standing::Refused(_) => None,
            Standing::Waiting(place, _) => match self.remove(place) {
                Some(waiter) => {
                    self.woken.extend(waiter.waker.map(Woken::Forget));
                    // Those behind it are served earlier now; but the first in line is not, unless it was this.
                    self.outdated_before = self.next;
                    if first == Some(place) {
                        self.wake_first_if_outdated();
                    }
                    None
                }
                None => self.granted.remove(&place).map(|grant| grant.reservations),
            },
        };
        if let Some(reservations) = granted {
            self.limits.cancel(now, reservations);
            self.outdate_and_wake_first();
        }
    }

    /// Takes back what was granted and not asked for since: it would be used before `until`.
    fn block_until(&mut self, until: Instant) {
        while let Some((place, Grant { weights, reservations, .. })) = self.granted.pop_last() {
            // As of the latest time that the limits have seen.
            self.limits.cancel(Instant::EPOCH, reservations);
            self.insert(place, weights, until);
        }
        self.limits.block_until(until);
    }

    fn watch(&mut self, ticket: &Ticket<K>, waker: &Waker) {
        let Standing::Waiting(place, _) = ticket.0 else {
            return;
        };
        if let Some(waiter) = self.waiting.get_mut(&place) {
            let known = waiter.waker.replace(waker.clone());
            self.woken.extend(known.map(Woken::Forget));
        }
    }

    fn next_woken(&mut self) -> Option<Woken> {
        self.woken.pop_front()
    }
}

#[cfg(test)]
mod tests;
