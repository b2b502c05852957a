use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use steadfast_core::rate_limit::{
    Admission, Quota, RateLimiter, RateLimits, Refusal, RefusedBy, Reservations, TokenBucket, Woken,
};
use steadfast_core::time::Instant;

use crate::demand::{Counts, Demand};

mod queue;
mod ticket;

use queue::{Queue, Waiter, add};
use ticket::Standing;
pub use ticket::Ticket;
pub(crate) use ticket::{Place, Turn};

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
/// before it whose turn has come by then, and then itself. So nobody depends on anybody else being polled.
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
    waiting: Queue<K>,
    /// What was granted to somebody who has not asked since, until it expires.
    granted: BTreeMap<Place, Grant<K>>,
    next: u64,
    /// Whoever joined before this may have been told a time that has become earlier since.
    outdated_before: u64,
    max_waiters: usize,
    /// Whom to wake or forget as soon as no lock is held.
    woken: VecDeque<Woken>,
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
            waiting: Queue::new(),
            granted: BTreeMap::new(),
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
        Ok(match self.enter(now, demand)? {
            Turn::Granted(reservations) => Ticket(Standing::Granted(reservations)),
            Turn::Wait(place, _) => Ticket(Standing::Waiting(place, demand.weights)),
        })
    }

    /// The same, and tells until when it has to wait.
    #[inline(always)] // Passing what is granted through memory would take longer than the decision.
    pub(crate) fn enter(&mut self, now: Instant, demand: Demand<K>) -> Result<Turn<K>, Refusal> {
        self.serve(now);
        let place = Place::new(demand.priority, self.next);
        if now < demand.deadline && self.waiting.first().is_none_or(|first| place < first.place) {
            if let Some(reservations) = self.limits.reserve_now(now, demand.weights) {
                return Ok(Turn::Granted(reservations));
            }
        }
        let until = self.line_up(now, demand, place)?;
        Ok(Turn::Wait(place, until))
    }

    /// Takes a place in line, until when it says.
    fn line_up(&mut self, now: Instant, demand: Demand<K>, place: Place) -> Result<Instant, Refusal> {
        let Demand { weights, deadline, .. } = demand;
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
        self.waiting.insert(Waiter::new(place, weights, until));
        Ok(until)
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
        let hopeless = self.waiting.remove_above(limit, quota.burst());
        self.woken.extend(hopeless.into_iter().map(Woken::Wake));
        self.serve(now);
        self.outdate_and_wake_first();
    }

    /// Settles what was granted with what was used in truth. See [`TokenBucket::commit`].
    pub(crate) fn commit(&mut self, now: Instant, granted: Reservations<K>, used: [u32; K]) {
        self.limits.commit(now, granted, used);
        self.serve(now);
        self.outdate_and_wake_first();
    }

    /// Whether [`next_woken`](RateLimiter::next_woken) has somebody.
    pub(crate) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Grants everybody whose turn has come.
    #[inline]
    fn serve(&mut self, now: Instant) {
        // Nearly always there is nothing to do, unless a limit is kept busy.
        if !self.waiting.is_empty() || !self.granted.is_empty() {
            self.serve_before(now, Place::LAST);
        }
    }

    /// Grants everybody before `end` whose turn has come.
    fn serve_before(&mut self, now: Instant, end: Place) {
        while let Some(&Waiter { place, weights, .. }) = self.waiting.first().filter(|first| first.place < end) {
            let Some(reservations) = self.limits.reserve_now(now, weights) else {
                break;
            };
            let full_in = self.limits.limits().iter().map(|limit| limit.snapshot(now).full_in).max();
            let refilled_at = now + full_in.unwrap_or_default().max(Duration::from_nanos(1));
            self.granted.insert(place, Grant { refilled_at, weights, reservations });
            let waker = self.waiting.pop_first().and_then(|waiter| waiter.waker);
            self.woken.extend(waker.map(Woken::Wake));
            // Whoever asks learns its time without being woken.
            if self.waiting.first().is_none_or(|first| first.place != end) {
                self.wake_first_if_outdated();
            }
        }
        // What was granted to somebody who never asked again: the buckets have refilled it, and it is nobody's.
        while let Some(oldest) = self.granted.first_entry() {
            if now < oldest.get().refilled_at {
                break;
            }
            oldest.remove();
        }
    }

    /// Wakes the first in line, if it may have been told too late a time.
    fn wake_first_if_outdated(&mut self) {
        let outdated_before = self.outdated_before;
        if let Some(first) = self.waiting.first_mut().filter(|first| first.place.joined() < outdated_before) {
            self.woken.extend(first.waker.take().map(Woken::Wake));
        }
    }

    /// Notes that everybody in line may be served earlier than it was told, the first included.
    fn outdate_and_wake_first(&mut self) {
        self.outdated_before = self.next;
        self.wake_first_if_outdated();
    }

    /// When it is the turn of somebody at this place, with these weights, as far as is known.
    fn turn(&self, now: Instant, place: Place, weights: [u32; K]) -> Option<Instant> {
        let mut ahead = self.waiting.ahead_of(place);
        // Who asks for none at all waits until one is there.
        add(&mut ahead, weights.map(|weight| weight.max(1)));
        self.limits.ready_at_after(now, ahead)
    }

    /// What somebody is told who had to wait so far.
    pub(crate) fn ask(&mut self, now: Instant, place: Place, weights: [u32; K]) -> Result<Turn<K>, Refusal> {
        self.serve_before(now, place);
        let until = match self.waiting.first() {
            Some(first) if first.place == place => {
                if let Some(reservations) = self.limits.reserve_now(now, weights) {
                    self.woken.extend(self.waiting.pop_first().and_then(|own| own.waker).map(Woken::Forget));
                    self.wake_first_if_outdated();
                    return Ok(Turn::Granted(reservations));
                }
                // The first in line can have an exact time for nothing.
                self.turn(now, place, weights)
            }
            first => {
                let Some(own) = self.waiting.get(place) else {
                    return self.ask_from_outside(now, place, weights);
                };
                match first {
                    // Others keep the one they were told, as long as it has not passed.
                    _ if own.until > now => return Ok(Turn::Wait(place, own.until)),
                    // Who should have asked by now and has not may never do so: this one asks in its stead when it is due.
                    Some(first) if first.until <= now => self.turn(now, first.place, first.weights),
                    // Somebody came late, or was more urgent, or a server has blocked everybody.
                    _ => self.turn(now, place, weights),
                }
            }
        };
        let until = until.unwrap_or(Instant::MAX);
        if let Some(own) = self.waiting.get_mut(place) {
            own.until = until;
        }
        Ok(Turn::Wait(place, until))
    }

    /// The same for somebody who is no longer in line: others had it granted, or took it out.
    fn ask_from_outside(&mut self, now: Instant, place: Place, weights: [u32; K]) -> Result<Turn<K>, Refusal> {
        if let Some(grant) = self.granted.remove(&place) {
            return Ok(Turn::Granted(grant.reservations));
        }
        // It can never be served any more, or its grant has expired: then it waits again, in the same place.
        self.limits.ready_at(now, weights).map_err(|refused: RefusedBy| refused.refusal)?;
        self.waiting.insert(Waiter::new(place, weights, now));
        self.ask(now, place, weights)
    }

    /// Leaves a waker for somebody who waits, in place of an earlier one.
    pub(crate) fn leave_waker(&mut self, place: Place, waker: &Waker) {
        if let Some(waiter) = self.waiting.get_mut(place) {
            if waiter.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
                let known = waiter.waker.replace(waker.clone());
                self.woken.extend(known.map(Woken::Forget));
            }
        }
    }
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
        let turn = match &ticket.0 {
            Standing::Granted(_) => return Admission::Granted,
            Standing::Refused(refusal) => return Admission::Refused(*refusal),
            Standing::Waiting(place, weights) => self.ask(now, *place, *weights),
        };
        match turn {
            Ok(Turn::Wait(_, until)) => Admission::Wait(until),
            Ok(Turn::Granted(reservations)) => {
                ticket.0 = Standing::Granted(reservations);
                Admission::Granted
            }
            Err(refusal) => {
                ticket.0 = Standing::Refused(refusal);
                Admission::Refused(refusal)
            }
        }
    }

    fn leave(&mut self, now: Instant, ticket: Ticket<K>) {
        let first = self.waiting.first().map(|first| first.place);
        let granted = match ticket.0 {
            Standing::Granted(reservations) => Some(reservations),
            Standing::Refused(_) => None,
            Standing::Waiting(place, _) => match self.waiting.remove(place) {
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
            self.waiting.insert(Waiter::new(place, weights, until));
        }
        self.limits.block_until(until);
    }

    fn watch(&mut self, ticket: &Ticket<K>, waker: &Waker) {
        if let Standing::Waiting(place, _) = ticket.0 {
            self.leave_waker(place, waker);
        }
    }

    fn next_woken(&mut self) -> Option<Woken> {
        self.woken.pop_front()
    }
}

#[cfg(test)]
mod tests;
