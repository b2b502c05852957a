use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::task::Waker;

use steadfast_core::limits::{Limits, ServerLimits, Woken};
use steadfast_core::rate_limit::{Quota, Refusal, TokenBucket};
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::Instant;

use crate::demand::Demand;

mod ask;
mod enter;
mod gate;
mod limiter;
mod queue;
mod reconfigure;
mod serve;
mod ticket;

use gate::Gate;
pub(crate) use gate::Granted;
use queue::Queue;
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
    gate: Gate<K>,
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
    grant: Granted<K>,
}

/// The settings of its limits in words. How many wait is not in it.
impl<const K: usize> fmt::Display for Line<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.gate.own.fmt(f)
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
            gate: Gate { own: limits.into(), server: None },
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

    /// The same line, which keeps to what the server [tells](steadfast_core::limits::Limiter::tell) of its limits, too. To be
    /// set before the first attempt: it knows of none that is under way.
    #[must_use]
    pub fn with_server_limits(mut self, server: ServerLimits) -> Self {
        self.set_server_limits(server);
        self
    }

    pub(crate) fn set_server_limits(&mut self, server: ServerLimits) {
        self.gate.server = Some(server);
    }

    /// What the server has told of its limits, if the line keeps to that.
    pub const fn server_limits(&self) -> Option<&ServerLimits> {
        self.gate.server.as_ref()
    }

    /// When a line made anew would be the same as this, if nobody joins it until then: nobody waits, its limits are
    /// [full](Limits::at_rest_at), and nothing that a server has told of its own holds anybody back. What was granted and not
    /// handed back is not known here.
    pub fn at_rest_at(&self, now: Instant) -> Instant {
        if !self.is_empty() {
            return Instant::MAX;
        }
        let server = self.gate.server.as_ref().map_or(now, |server| server.at_rest_at(now));
        self.gate.own.at_rest_at(now).max(server)
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
        &self.gate.own
    }

    /// How many tokens of each rate limit somebody who joins at `now` would get at once.
    pub fn available(&mut self, now: Instant) -> [u32; K] {
        self.serve(now);
        if self.is_empty() { self.gate.own.available(now) } else { [0; K] }
    }

    /// Takes the place that a demand asks for, or what it asks for if it is there and nobody waits.
    ///
    /// # Errors
    /// At once: [`Refusal::NotYet`] if its turn would come only at its deadline or later; [`Refusal::Never`] if it
    /// would never come; [`Refusal::LineFull`].
    pub fn join(&mut self, now: Instant, demand: Demand<K>) -> Result<Ticket<K>, Refusal> {
        if let Some(grant) = self.take_at_once(now, &demand) {
            return Ok(Ticket(Standing::Granted(grant)));
        }
        Ok(match self.enter(now, demand, None)? {
            Turn::Granted(grant) => Ticket(Standing::Granted(grant)),
            Turn::Wait(place, _) | Turn::WaitForSlot(place, _) => Ticket(Standing::Waiting(place, demand.weights)),
        })
    }

    /// Keeps another quota for one of the limits (from 0, in their order) from now on. Those who wait go by it at once.
    ///
    /// Debts stay, see [`TokenBucket::set_quota`]. No limit with this number: nothing changes.
    pub fn set_quota(&mut self, now: Instant, limit: usize, quota: Quota) {
        let limits = self.gate.own.rate_limits_mut();
        let Some(bucket) = limits.and_then(|limits| limits.limits_mut().get_mut(limit)) else {
            return;
        };
        bucket.set_quota(now, quota);
        self.remove_hopeless(limit, quota);
        self.go_on(now);
    }

    /// Lets another number of attempts be under way at once from now on: see
    /// [`set_bounds`](steadfast_core::concurrency::ConcurrencyLimit::set_bounds). Those who wait go by it at once. Without a
    /// concurrency limit, nothing changes.
    ///
    /// # Errors
    /// If `min` is zero or above `max`; then nothing changes.
    pub fn set_concurrency_bounds(&mut self, now: Instant, min: u32, max: u32) -> Result<(), InvalidSetting> {
        if let Some(limit) = self.gate.own.concurrency_limit_mut() {
            limit.set_bounds(min, max)?;
            self.go_on(now);
        }
        Ok(())
    }

    /// Who can never be served any more leaves the line, and is told so when it asks.
    fn remove_hopeless(&mut self, limit: usize, quota: Quota) {
        let hopeless = self.waiting.remove_above(limit, quota.burst());
        self.woken.extend(hopeless.into_iter().map(Woken::Wake));
    }

    /// Settles what was granted with what was used in truth. See [`TokenBucket::commit`].
    pub(crate) fn commit(&mut self, now: Instant, granted: Granted<K>, used: [u32; K]) {
        self.gate.settle(now, granted, used);
        self.go_on(now);
    }

    /// Whether [`next_woken`](steadfast_core::limits::Limiter::next_woken) has somebody.
    pub(crate) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
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

#[cfg(test)]
mod tests;
