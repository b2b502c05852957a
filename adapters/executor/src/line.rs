use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use steadfast_core::rate_limit::{Admission, Quota, RateLimiter, Refusal, Reservation, TokenBucket};
use steadfast_core::time::Instant;

/// How many may wait unless told otherwise. At a thousand calls a second the last of them waits for a minute.
const MAX_WAITERS: usize = 65_536;

/// A token bucket with a line before it: first come, first served, however heavy.
///
/// It is a state machine like the bucket itself: told the time, and asked how a [`Ticket`] stands. [`RateLimit`] and
/// [`SharedPipeline`] wait on it; few will use it directly.
///
/// # How it works
///
/// The bucket holds only tokens that were granted, and only the first in line can be granted any, so a light request
/// never overtakes a heavy one. Everybody in line knows a time at which its turn has come for certain, and asks again
/// then; whoever asks first grants everybody whose turn has come by then, itself included. So nobody depends on anybody
/// else being polled: a waiter that was forgotten costs its own tokens, and nobody their turn.
///
/// Somebody who leaves makes the times of those behind earlier. The new first in line is woken to learn its own; the
/// others learn theirs as they become first, and those that are never woken still have the later time to go by.
///
/// Invariants, each the name of a test:
/// - *first come, first served*: grants go out in the order of joining.
/// - *a forgotten waiter holds up nobody*: everybody behind it is granted no later than it was told on joining.
/// - *those behind a leaver move forward*: as if it had never joined.
/// - *nothing is spent twice or lost*: granted tokens are used, or go back when their holder leaves.
///
/// [`RateLimit`]: crate::RateLimit
/// [`SharedPipeline`]: crate::SharedPipeline
#[derive(Debug)]
pub struct Line {
    bucket: TokenBucket,
    /// Who waits, in the order of joining.
    waiting: BTreeMap<u64, Waiter>,
    /// What was granted to somebody who has not asked since, as long as any of it could still be given back.
    granted: BTreeMap<u64, Reservation>,
    /// How many tokens those who wait ask for, all together.
    queued: u64,
    next_id: u64,
    /// Waiters with an id below this may have been told a time that has become earlier since.
    outdated_before: u64,
    max_waiters: usize,
    /// Whom to wake as soon as no lock is held.
    woken: Vec<Waker>,
}

#[derive(Debug)]
struct Waiter {
    tokens: u32,
    /// By when its turn has come for certain, as far as was known when it was last told.
    until: Instant,
    waker: Option<Waker>,
}

/// A place in a [`Line`], and then the tokens.
#[derive(Debug)]
#[must_use = "hand it to `leave`, or its tokens are spent"]
pub struct Ticket(Standing);

#[derive(Debug)]
enum Standing {
    Waiting(u64),
    /// With what can be given back, if it was not refilled long since.
    Granted(Option<Reservation>),
}

impl Line {
    /// An empty line before a full bucket. At most 65,536 wait; see [`with_max_waiters`](Self::with_max_waiters).
    pub fn new(quota: Quota) -> Self {
        Self::before(TokenBucket::new(quota))
    }

    /// An empty line before `bucket`.
    pub fn before(bucket: TokenBucket) -> Self {
        Self {
            bucket,
            waiting: BTreeMap::new(),
            granted: BTreeMap::new(),
            queued: 0,
            next_id: 0,
            outdated_before: 0,
            max_waiters: MAX_WAITERS,
            woken: Vec::new(),
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

    /// How many tokens somebody who joins at `now` would get at once.
    pub fn available(&self, now: Instant) -> u32 {
        if self.is_empty() { self.bucket.available(now) } else { 0 }
    }

    /// Whom to wake, now that something has changed. To be called, and the wakers to be woken, whenever the line was
    /// used and no lock is held.
    pub fn take_woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    /// Grants everybody whose turn has come.
    fn serve(&mut self, now: Instant) {
        while let Some(first) = self.waiting.first_entry() {
            let Ok(reservation) = take_now(&mut self.bucket, now, first.get().tokens) else {
                break;
            };
            let (id, waiter) = first.remove_entry();
            self.queued -= u64::from(waiter.tokens);
            self.woken.extend(waiter.waker);
            self.granted.insert(id, reservation);
            self.wake_first_if_outdated();
        }
        // Whoever was granted tokens and never asked again holds nothing by now that could be given back.
        while let Some(oldest) = self.granted.first_entry() {
            if self.bucket.is_refundable(now, oldest.get()) {
                break;
            }
            drop(oldest.remove());
        }
    }

    /// Wakes the first in line, if it may have been told too late a time.
    fn wake_first_if_outdated(&mut self) {
        if let Some(mut first) = self.waiting.first_entry() {
            if *first.key() < self.outdated_before {
                self.woken.extend(first.get_mut().waker.take());
            }
        }
    }

    /// Notes that everybody in line may be served earlier than it was told.
    fn moved_forward(&mut self) {
        self.outdated_before = self.next_id;
        self.wake_first_if_outdated();
    }

    /// By when the turn of `id` has come for certain.
    fn turn(&self, now: Instant, id: u64) -> Instant {
        let ahead_and_self = self.waiting.range(..=id).map(|(_, waiter)| u64::from(waiter.tokens)).sum();
        self.bucket.ready_at_after(now, ahead_and_self).unwrap_or(Instant::MAX)
    }
}

/// Takes tokens that are there now.
fn take_now(bucket: &mut TokenBucket, now: Instant, tokens: u32) -> Result<Reservation, Refusal> {
    bucket.reserve(now, tokens, now + Duration::from_nanos(1))
}

impl RateLimiter for Line {
    type Ticket = Ticket;

    fn join(&mut self, now: Instant, tokens: u32, deadline: Instant) -> Result<Ticket, Refusal> {
        self.serve(now);
        if self.waiting.is_empty() {
            match take_now(&mut self.bucket, now, tokens) {
                Ok(reservation) => return Ok(Ticket(Standing::Granted(Some(reservation)))),
                Err(Refusal::NotYet { .. }) => {}
                Err(never) => return Err(never),
            }
        }
        // Asks the bucket only whether it could ever be.
        self.bucket.ready_at(now, tokens)?;
        let until = self.bucket.ready_at_after(now, self.queued.saturating_add(tokens.into()));
        let Some(until) = until.filter(|until| *until < deadline) else {
            return Err(Refusal::not_yet(until));
        };
        if self.waiting.len() >= self.max_waiters {
            return Err(Refusal::LineFull { waiting: self.waiting.len() });
        }
        let id = self.next_id;
        self.next_id += 1;
        self.queued += u64::from(tokens);
        self.waiting.insert(id, Waiter { tokens, until, waker: None });
        Ok(Ticket(Standing::Waiting(id)))
    }

    fn poll(&mut self, now: Instant, ticket: &mut Ticket) -> Admission {
        let Standing::Waiting(id) = ticket.0 else {
            return Admission::Granted;
        };
        self.serve(now);
        let first = self.waiting.first_key_value().map(|(first, _)| *first);
        let Some(waiter) = self.waiting.get(&id) else {
            // Granted: by the line above, or by somebody else's asking before.
            ticket.0 = Standing::Granted(self.granted.remove(&id));
            return Admission::Granted;
        };
        // The first in line can have an exact time for nothing. Others keep the one they were told, unless it has
        // passed because a server has blocked everybody since.
        if first == Some(id) || waiter.until <= now {
            let until = self.turn(now, id);
            if let Some(waiter) = self.waiting.get_mut(&id) {
                waiter.until = until;
            }
            return Admission::Wait(until);
        }
        Admission::Wait(waiter.until)
    }

    fn leave(&mut self, now: Instant, ticket: Ticket) {
        let unused = match ticket.0 {
            Standing::Granted(unused) => unused,
            Standing::Waiting(id) => match self.waiting.remove(&id) {
                Some(waiter) => {
                    self.queued -= u64::from(waiter.tokens);
                    None
                }
                None => self.granted.remove(&id),
            },
        };
        if let Some(reservation) = unused {
            self.bucket.cancel(now, reservation);
        }
        self.moved_forward();
    }

    fn block_until(&mut self, until: Instant) {
        self.bucket.block_until(until);
    }

    fn watch(&mut self, ticket: &Ticket, waker: &Waker) {
        if let Standing::Waiting(id) = ticket.0 {
            if let Some(waiter) = self.waiting.get_mut(&id) {
                waiter.waker = Some(waker.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
