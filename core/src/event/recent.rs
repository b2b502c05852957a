use core::fmt;

use super::{Event, Observer};
use crate::share::Share;
use crate::time::Instant;

/// The latest `N` events and whose they are, for whoever looks for a fault: in memory that is there from the start.
///
/// ```
/// use core::cell::RefCell;
/// use steadfast_core::event::Recent;
/// use steadfast_core::outcome::Outcome;
/// use steadfast_core::pipeline::{CallOptions, Pipeline};
/// use steadfast_core::run::Runner;
/// use steadfast_core::time::ManualClock;
///
/// let recent = RefCell::new(Recent::<100>::new());
/// let (pipeline, clock) = (RefCell::new(Pipeline::standard()), ManualClock::new());
/// let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &Recent::observer(&recent) };
/// let classify = |answer: &u16| if *answer < 500 { Outcome::success() } else { Outcome::transient() };
/// let answer = clock.drive(runner.call(CallOptions::idempotent(), || u64::MAX, classify, |attempt| async move {
///     if attempt.number == 1 { 503 } else { 200 }
/// }));
/// assert_eq!(answer, Some(Ok(200)));
/// assert_eq!(
///     recent.borrow().to_string(),
///     "0ns call 1: started, to end by 30s\n\
///      0ns call 1: attempt 1 started, to end by 10s\n\
///      0ns call 1: attempt 1 ended: transient\n\
///      0ns call 1: attempt 2 to follow at 100ms, cause: transient\n\
///      100ms call 1: attempt 2 started, to end by 10.1s\n\
///      100ms call 1: attempt 2 ended: success\n\
///      100ms call 1: succeeded, attempts: 2\n"
/// );
/// ```
///
/// It is a state machine like the others, and shared like them: [`observer`](Self::observer) takes whatever is a [`Share`].
#[derive(Debug)]
pub struct Recent<const N: usize> {
    entries: [Option<Entry>; N],
    /// Where the next goes.
    next: usize,
    calls: u32,
    forgotten: u64,
}

/// One event of those that a [`Recent`] keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// When it happened.
    pub at: Instant,
    /// To which call, counted from 1 as they start, and after 4 thousand million anew; 0 if to none.
    pub call: u32,
    /// What.
    pub event: Event,
}

impl<const N: usize> Recent<N> {
    /// None yet.
    pub const fn new() -> Self {
        Self { entries: [None; N], next: 0, calls: 0, forgotten: 0 }
    }

    /// What tells those events to `shared` that it observes.
    pub const fn observer<S: Share<State = Self>>(shared: S) -> RecentObserver<S> {
        RecentObserver { shared }
    }

    /// A number for a call that starts.
    pub const fn number(&mut self) -> u32 {
        self.calls = if self.calls == u32::MAX { 1 } else { self.calls + 1 };
        self.calls
    }

    /// Keeps one more, and forgets the oldest if there is no room.
    pub fn push(&mut self, entry: Entry) {
        let Some(place) = self.entries.get_mut(self.next) else {
            self.forgotten = self.forgotten.saturating_add(1); // There is no room at all.
            return;
        };
        if place.replace(entry).is_some() {
            self.forgotten = self.forgotten.saturating_add(1);
        }
        self.next = (self.next + 1) % N;
    }

    /// What is kept, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let (newer, older) = self.entries.split_at(self.next.min(N));
        older.iter().chain(newer).flatten()
    }

    /// How many were forgotten since there was no room.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl<const N: usize> Default for Recent<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A line for each event, and before them how many were forgotten.
impl<const N: usize> fmt::Display for Recent<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.forgotten > 0 {
            writeln!(f, "({} earlier events are forgotten)", self.forgotten)?;
        }
        self.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, call, event } = self;
        match call {
            0 => write!(f, "{at}: {event}"),
            call => write!(f, "{at} call {call}: {event}"),
        }
    }
}

/// Tells a shared [`Recent`] what it observes.
#[derive(Clone, Copy, Debug)]
pub struct RecentObserver<S> {
    shared: S,
}

impl<S: Share<State = Recent<N>>, const N: usize> Observer for RecentObserver<S> {
    /// The number of the call.
    type Call = u32;

    fn observe(&self, now: Instant, event: &Event) {
        self.shared.with(|recent| recent.push(Entry { at: now, call: 0, event: *event }));
    }

    fn observe_call(&self, now: Instant, call: &mut u32, event: &Event) {
        self.shared.with(|recent| {
            if let Event::CallStarted { .. } = event {
                *call = recent.number();
            }
            recent.push(Entry { at: now, call: *call, event: *event });
        });
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    /// What is left in a ring of `N` after so many events.
    fn check<const N: usize>(events: u32, left: &[u32], forgotten: u64) {
        let mut recent = Recent::<N>::new();
        for attempts in 1..=events {
            recent.push(Entry { at: Instant::EPOCH, call: 0, event: Event::Succeeded { attempts } });
        }
        let kept: Vec<_> = recent.iter().map(|entry| entry.event).collect();
        let want: Vec<_> = left.iter().map(|&attempts| Event::Succeeded { attempts }).collect();
        assert_eq!((kept, recent.forgotten()), (want, forgotten), "{events} events, room for {N}");
        assert_eq!(recent.to_string().lines().count(), left.len() + usize::from(forgotten > 0));
    }

    #[test]
    fn the_latest_are_kept_in_their_order() {
        check::<3>(0, &[], 0);
        check::<3>(2, &[1, 2], 0);
        check::<3>(3, &[1, 2, 3], 0);
        check::<3>(4, &[2, 3, 4], 1);
        check::<3>(8, &[6, 7, 8], 5);
        check::<1>(2, &[2], 1);
        check::<0>(2, &[], 2);
    }

    #[test]
    fn numbers_begin_anew_and_never_at_none() {
        let mut recent = Recent::<1> { calls: u32::MAX - 1, ..Recent::new() };
        assert_eq!([recent.number(), recent.number()], [u32::MAX, 1]);
    }
}
