use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::task::Waker;
use std::time::Duration;

use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::limits::{self, Admission, Grant, Learned, Limiter, Limits, Missing, Woken};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::rate_limit::{Quota, Refusal, TokenBucket};
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::Instant;

use crate::demand::Demand;

mod queue;
mod ticket;

use queue::{Queue, Waiter, add};
use ticket::Standing;
pub use ticket::Ticket;
pub(crate) use ticket::{Place, Turn};

/// How many may wait unless told otherwise. At a thousand calls a second the last of them waits for a minute.
const MAX_WAITERS: usize = 65_536;

/// [`Limits`] with a line before them: first come, first served, however heavy.
///
/// It is a state machine like the limits themselves: told the time, and asked how a [`Ticket`] stands. [`RateLimit`]
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
/// Slots of a concurrency limit come free when somebody's attempt ends, and when that is nobody knows. The first in line
/// is woken then, and takes tokens and slot at once; nobody else has reason to ask before.
///
/// Somebody who leaves, and a quota that is raised, make the times of others earlier. The first in line is woken to
/// learn its own; the others learn theirs as they become first, and those that are never woken still have the later
/// time to go by.
///
/// Invariants, each the name of a test:
/// - *first come, first served*: grants go out in the order of joining, within each priority.
/// - *a forgotten waiter is passed*: it costs what it asked for, and nobody behind it needs it to be polled. Its slot it
///   keeps until the lease of that ends.
/// - *those behind a leaver move forward*: as if it had never joined.
/// - *nothing is spent twice or lost*: granted tokens are used, or go back when their holder leaves.
/// - *another quota reaches those who wait*: their times change with it, and whoever can never be served is told so.
///
/// [`RateLimit`]: crate::RateLimit
/// [`SharedPipeline`]: crate::SharedPipeline
#[derive(Debug)]
pub struct Line<const K: usize = 1> {
    limits: Limits<K>,
    /// Who waits, in the order in which they are served.
    waiting: Queue<K>,
    /// What was granted to somebody who has not asked since, until it expires.
    granted: BTreeMap<Place, Kept<K>>,
    /// When the first of these expires, or earlier.
    next_expiry: Instant,
    next: u64,
    /// Whoever joined before this may have been told a time that has become earlier since.
    outdated_before: u64,
    max_waiters: usize,
    /// Whom to wake or forget as soon as no lock is held.
    woken: VecDeque<Woken>,
}

/// What was granted to somebody who has yet to ask.
#[derive(Debug)]
struct Kept<const K: usize> {
    /// When the buckets have refilled it; where there are none, when the lease of its slot is over.
    expires_at: Instant,
    weights: [u32; K],
    grant: Grant<K>,
}

/// The settings of its limits in words. How many wait is not in it.
impl<const K: usize> fmt::Display for Line<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limits.fmt(f)
    }
}

impl Line {
    /// An empty line before a full bucket. At most 65,536 wait; see [`with_max_waiters`](Self::with_max_waiters).
    pub fn new(quota: Quota) -> Self {
        Self::before(TokenBucket::new(quota))
    }
}

impl<const K: usize> Line<K> {
    /// An empty line before a bucket, or before [`Limits`].
    pub fn before(limits: impl Into<Limits<K>>) -> Self {
        Self {
            limits: limits.into(),
            waiting: Queue::new(),
            granted: BTreeMap::new(),
            next_expiry: Instant::MAX,
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

    /// The limits before which it is. What is taken of them past the line goes before all who wait.
    pub const fn limits(&self) -> &Limits<K> {
        &self.limits
    }

    /// How many tokens of each rate limit somebody who joins at `now` would get at once.
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
            Turn::Granted(grant) => Ticket(Standing::Granted(grant)),
            Turn::Wait(place, _) | Turn::WaitForSlot(place, _) => Ticket(Standing::Waiting(place, demand.weights)),
        })
    }

    /// The same, and tells until when it has to wait.
    #[inline(always)] // Passing what is granted through memory would take longer than the decision.
    pub(crate) fn enter(&mut self, now: Instant, demand: Demand<K>) -> Result<Turn<K>, Refusal> {
        self.serve(now);
        let place = Place::new(demand.priority, self.next);
        let mut not_before = now;
        if now < demand.deadline && self.waiting.first().is_none_or(|first| place < first.place) {
            match self.limits.try_take(now, demand.weights) {
                Ok(grant) => return Ok(Turn::Granted(grant)),
                Err(Missing::Slot(at_latest)) => {
                    self.line_up(now, demand, place, now)?;
                    self.tell(place, at_latest, true);
                    return Ok(Turn::WaitForSlot(place, at_latest));
                }
                Err(Missing::Tokens(ready_at)) => not_before = ready_at,
                Err(Missing::Never(_)) => {}
            }
        }
        let until = self.line_up(now, demand, place, not_before)?;
        Ok(Turn::Wait(place, until))
    }

    /// Notes when somebody who waits was told to ask again.
    fn tell(&mut self, place: Place, until: Instant, for_slot: bool) {
        if let Some(own) = self.waiting.get_mut(place) {
            (own.until, own.for_slot) = (until, for_slot);
        }
    }

    /// Takes a place in line, until when it says.
    fn line_up(
        &mut self,
        now: Instant,
        demand: Demand<K>,
        place: Place,
        not_before: Instant,
    ) -> Result<Instant, Refusal> {
        let Demand { weights, deadline, .. } = demand;
        // Asks the limits only whether it could ever be.
        self.limits.ready_at(now, weights)?;
        let until = self.turn(now, place, weights).map(|turn| turn.max(not_before));
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
        let limits = self.limits.rate_limits_mut();
        let Some(bucket) = limits.and_then(|limits| limits.limits_mut().get_mut(limit)) else {
            return;
        };
        bucket.set_quota(now, quota);
        // Who can never be served any more leaves the line, and is told so when it asks.
        let hopeless = self.waiting.remove_above(limit, quota.burst());
        self.woken.extend(hopeless.into_iter().map(Woken::Wake));
        self.go_on(now);
    }

    /// Lets another number of attempts be under way at once from now on: see [`ConcurrencyLimit::set_bounds`]. Those who
    /// wait go by it at once. Without a concurrency limit, nothing changes.
    ///
    /// # Errors
    /// If `min` is zero or above `max`; then nothing changes.
    pub fn set_concurrency_bounds(&mut self, now: Instant, min: u32, max: u32) -> Result<(), InvalidSetting> {
        if let Some(limit) = self.limits.concurrency_limit_mut() {
            limit.set_bounds(min, max)?;
            self.go_on(now);
        }
        Ok(())
    }

    /// Settles what was granted with what was used in truth. See [`TokenBucket::commit`].
    pub(crate) fn commit(&mut self, now: Instant, granted: Grant<K>, used: [u32; K]) {
        self.limits.settle(now, granted, used);
        self.go_on(now);
    }

    /// Whether [`next_woken`](Limiter::next_woken) has somebody.
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

    /// Grants everybody before `end` whose turn has come. Returns what the first of those who are left misses.
    fn serve_before(&mut self, now: Instant, end: Place) -> Option<Missing> {
        let mut next_misses = None;
        while let Some(&Waiter { place, weights, .. }) = self.waiting.first().filter(|first| first.place < end) {
            let grant = match self.limits.try_take(now, weights) {
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
            let expires_at = self.expiry(now, &grant);
            self.next_expiry = self.next_expiry.min(expires_at);
            self.granted.insert(place, Kept { expires_at, weights, grant });
            let waker = self.waiting.pop_first().and_then(|waiter| waiter.waker);
            self.woken.extend(waker.map(Woken::Wake));
            // Whoever asks learns its time without being woken.
            if self.waiting.first().is_none_or(|first| first.place != end) {
                self.wake_first_if_outdated();
            }
        }
        if now >= self.next_expiry {
            self.forget_expired(now);
        }
        next_misses
    }

    /// Forgets what was granted to those who never asked again: the buckets have refilled it, and it is nobody's.
    #[cold]
    fn forget_expired(&mut self, now: Instant) {
        let limits = &mut self.limits;
        let expired = self.granted.iter().filter(|(_, kept)| now >= kept.expires_at).map(|(place, _)| *place);
        for place in expired.collect::<Vec<_>>() {
            if let Some(kept) = self.granted.remove(&place) {
                limits.abandon_grant(kept.grant);
            }
        }
        self.next_expiry = self.granted.values().map(|kept| kept.expires_at).min().unwrap_or(Instant::MAX);
    }

    /// When what is granted now has come in again. Used later, it would be used beside that.
    fn expiry(&self, now: Instant, grant: &Grant<K>) -> Instant {
        let buckets = self.limits.rate_limits().map_or(&[][..], |limits| limits.limits());
        let full_in = buckets.iter().map(|bucket| bucket.snapshot(now).full_in).max().unwrap_or_default();
        let lease = self.limits.concurrency_limit().filter(|_| grant.has_slot()).map(ConcurrencyLimit::lease);
        let life = if full_in.is_zero() { lease.unwrap_or_default() } else { full_in };
        now + life.max(Duration::from_nanos(1))
    }

    /// Wakes the first in line, if it may have been told too late a time.
    fn wake_first_if_outdated(&mut self) {
        let outdated_before = self.outdated_before;
        if let Some(first) = self.waiting.first_mut().filter(|first| first.place.joined() < outdated_before) {
            self.woken.extend(first.waker.take().map(Woken::Wake));
        }
    }

    /// Grants everybody whose turn has come, since something came back, and lets the next learn what it waits for.
    fn go_on(&mut self, now: Instant) {
        match self.serve_before(now, Place::LAST) {
            // It is called up when a slot comes free.
            Some(Missing::Slot(_)) => {}
            Some(Missing::Tokens(_) | Missing::Never(_)) | None => self.outdate_and_wake_first(),
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
        let next_misses = self.serve_before(now, place);
        let first = self.waiting.first();
        if first.is_some_and(|first| first.place == place) {
            return self.ask_as_first(now, place, weights);
        }
        let is_overdue = first.is_some_and(|first| first.until <= now);
        let Some(own) = self.waiting.get(place) else {
            return self.ask_from_outside(now, place, weights);
        };
        if own.until > now {
            // They keep the time they were told, as long as it has not passed.
            return Ok(if own.for_slot { Turn::WaitForSlot(place, own.until) } else { Turn::Wait(place, own.until) });
        }
        let turn = match next_misses {
            // The first waits for a slot, and with it all the others.
            Some(Missing::Slot(at_latest)) => Turn::WaitForSlot(place, at_latest),
            // Who should have asked by now and has not may never do so: this one asks in its stead when it is due.
            Some(Missing::Tokens(ready_at)) if is_overdue => Turn::Wait(place, ready_at),
            // Somebody came late, or was more urgent, or a server has blocked everybody.
            Some(Missing::Tokens(ready_at)) => {
                let turn = self.turn(now, place, weights).unwrap_or(Instant::MAX);
                Turn::Wait(place, turn.max(ready_at))
            }
            // Who can never be served has left the line, or is about to be told so.
            Some(Missing::Never(_)) | None => Turn::Wait(place, self.turn(now, place, weights).unwrap_or(Instant::MAX)),
        };
        self.tell_turn(&turn);
        Ok(turn)
    }

    /// Notes what somebody who waits was told.
    fn tell_turn(&mut self, turn: &Turn<K>) {
        match *turn {
            Turn::Wait(place, until) => self.tell(place, until, false),
            Turn::WaitForSlot(place, until) => self.tell(place, until, true),
            Turn::Granted(_) => {}
        }
    }

    /// The same for the first in line, who can have an exact time for nothing.
    fn ask_as_first(&mut self, now: Instant, place: Place, weights: [u32; K]) -> Result<Turn<K>, Refusal> {
        let turn = match self.limits.try_take(now, weights) {
            Err(Missing::Tokens(until)) => Turn::Wait(place, until),
            Err(Missing::Slot(at_latest)) => Turn::WaitForSlot(place, at_latest),
            decided @ (Ok(_) | Err(Missing::Never(_))) => {
                self.woken.extend(self.waiting.pop_first().and_then(|own| own.waker).map(Woken::Forget));
                self.wake_first_if_outdated();
                return match decided {
                    Err(Missing::Never(refusal)) => Err(refusal),
                    Err(Missing::Tokens(retry_at) | Missing::Slot(retry_at)) => Err(Refusal::NotYet { retry_at }),
                    Ok(grant) => Ok(Turn::Granted(grant)),
                };
            }
        };
        self.tell_turn(&turn);
        Ok(turn)
    }

    /// The same for somebody who is no longer in line: others had it granted, or took it out.
    fn ask_from_outside(&mut self, now: Instant, place: Place, weights: [u32; K]) -> Result<Turn<K>, Refusal> {
        if let Some(Kept { mut grant, .. }) = self.granted.remove(&place) {
            // It is used now, and so it counts as of now: as of when it was granted, it would go beside what has come in
            // since.
            if self.limits.renew(now, &mut grant) {
                return Ok(Turn::Granted(grant));
            }
            self.limits.give_back(now, grant);
        }
        // It can never be served any more, or what was granted has gone to others: then it waits again, in its place.
        self.limits.ready_at(now, weights)?;
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

impl<const K: usize> Limiter for Line<K> {
    type Ticket = Ticket<K>;

    fn join(&mut self, now: Instant, n: u32, priority: u8, deadline: Instant) -> Result<Ticket<K>, limits::Refusal> {
        let demand = Demand::of(self.limits.weights(n)).with_priority(priority).before(deadline);
        Ok(Self::join(self, now, demand)?)
    }

    fn poll(&mut self, now: Instant, ticket: &mut Ticket<K>) -> Admission {
        let turn = match &ticket.0 {
            Standing::Granted(_) => return Admission::Granted,
            Standing::Refused(refusal) => return Admission::Refused((*refusal).into()),
            Standing::Waiting(place, weights) => self.ask(now, *place, *weights),
        };
        match turn {
            Ok(Turn::Wait(_, until)) => Admission::Wait(until),
            Ok(Turn::WaitForSlot(_, at_latest)) => Admission::WaitForSlot(at_latest),
            Ok(Turn::Granted(grant)) => {
                ticket.0 = Standing::Granted(grant);
                Admission::Granted
            }
            Err(refusal) => {
                ticket.0 = Standing::Refused(refusal);
                Admission::Refused(refusal.into())
            }
        }
    }

    fn finish(&mut self, now: Instant, ticket: Ticket<K>, outcome: OutcomeKind) -> Learned {
        let Standing::Granted(grant) = ticket.0 else {
            return Learned::NOTHING;
        };
        let freed = grant.has_slot();
        let learned = self.limits.finish_grant(now, grant, outcome);
        if freed || learned.pace.is_some() {
            self.go_on(now);
        }
        learned
    }

    fn abandon(&mut self, now: Instant, ticket: Ticket<K>) {
        if let Standing::Granted(grant) = ticket.0 {
            let freed = grant.has_slot();
            self.limits.abandon_grant(grant);
            if freed {
                self.go_on(now);
            }
        }
    }

    fn leave(&mut self, now: Instant, ticket: Ticket<K>) {
        let first = self.waiting.first().map(|first| first.place);
        let granted = match ticket.0 {
            Standing::Granted(grant) => Some(grant),
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
                None => self.granted.remove(&place).map(|kept| kept.grant),
            },
        };
        if let Some(grant) = granted {
            let freed = grant.has_slot();
            self.limits.give_back(now, grant);
            if freed {
                self.go_on(now);
            } else {
                self.outdate_and_wake_first();
            }
        }
    }

    /// Takes back what was granted and not asked for since: it would be used before `until`.
    fn block_until(&mut self, until: Instant) {
        while let Some((place, Kept { weights, grant, .. })) = self.granted.pop_last() {
            // As of the latest time that the limits have seen.
            self.limits.give_back(Instant::EPOCH, grant);
            self.waiting.insert(Waiter::new(place, weights, until));
        }
        self.limits.block_until(until);
        // Whoever was told an earlier time learns another, which may be too late for it: then it gives up now.
        self.woken.extend(self.waiting.outdate().into_iter().map(Woken::Wake));
    }

    fn watch(&mut self, ticket: &Ticket<K>, waker: &Waker) {
        if let Standing::Waiting(place, _) = ticket.0 {
            self.leave_waker(place, waker);
        }
    }

    fn wake_everybody(&mut self) {
        self.woken.extend(self.waiting.take_wakers().into_iter().map(Woken::Wake));
    }

    fn next_woken(&mut self) -> Option<Woken> {
        self.woken.pop_front()
    }
}

#[cfg(test)]
mod tests;
