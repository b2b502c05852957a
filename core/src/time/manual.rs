use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::{BlockingTimer, Clock, Instant, Timer};

/// How many sleeps can be under way at once before the surplus is polled busily.
const SLEEPERS: usize = 64;

/// How often [`ManualClock::drive`] polls a future that nobody's sleep explains before it calls it stuck.
const FRUITLESS_POLLS: u32 = 64;

/// How many polls in a row have to change nothing before [`ManualClock::drive`] lets time pass: through as many hands a
/// signal may go against the order of polling.
const QUIET_POLLS: u32 = 8;

/// A clock that moves only when it is told to, for tests.
///
/// `&ManualClock` is a [`Timer`]. [`advance`](Self::advance) wakes whoever's time has come;
/// [`drive`](Self::drive) runs a whole future and jumps from one sleep's end to the next, so that an hour of waiting
/// takes no time at all.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
///
/// let clock = ManualClock::new();
/// let hours = clock.drive(async {
///     (&clock).sleep_until(clock.now() + Duration::from_secs(7200)).await;
///     clock.now().as_nanos() / 3_600_000_000_000
/// });
/// assert_eq!(hours, Some(2));
/// ```
///
/// It has no lock, so it stays on one thread, and no allocator, so it knows at most 64 sleepers at once; further ones
/// work, but are polled again and again instead of being woken.
pub struct ManualClock {
    now: Cell<Instant>,
    next_id: Cell<u64>,
    /// The earliest deadline among those whom there was no room to note.
    surplus: Cell<Option<Instant>>,
    sleepers: RefCell<[Option<Sleeper>; SLEEPERS]>,
}

struct Sleeper {
    id: u64,
    deadline: Instant,
    waker: Waker,
}

impl ManualClock {
    /// A clock that stands at [`Instant::EPOCH`].
    pub const fn new() -> Self {
        Self::at(Instant::EPOCH)
    }

    /// A clock that stands at `now`.
    pub const fn at(now: Instant) -> Self {
        Self {
            now: Cell::new(now),
            next_id: Cell::new(0),
            surplus: Cell::new(None),
            sleepers: RefCell::new([const { None }; SLEEPERS]),
        }
    }

    /// Moves the clock forward and wakes every sleep that this brings to its end.
    pub fn advance(&self, step: Duration) {
        self.set(self.now.get() + step);
    }

    /// Moves the clock to `now`, which may lie in the past: a clock that steps back is worth a test.
    pub fn set(&self, now: Instant) {
        self.now.set(now);
        self.surplus.set(None); // They are polled again, and say so again.
        // Wakers run after the borrow has ended, since one may poll its future on the spot, and that may sleep again.
        for slot in 0..SLEEPERS {
            let due = self.sleepers.borrow_mut()[slot].take_if(|sleeper| sleeper.deadline <= now);
            if let Some(sleeper) = due {
                sleeper.waker.wake();
            }
        }
    }

    /// When the next sleep ends, if anybody sleeps towards a time that is still to come.
    pub fn next_wake(&self) -> Option<Instant> {
        let now = self.now.get();
        let sleepers = self.sleepers.borrow();
        let noted = sleepers.iter().flatten().map(|sleeper| sleeper.deadline);
        let deadlines = noted.chain(self.surplus.get());
        deadlines.filter(|deadline| *deadline > now && *deadline < Instant::MAX).min()
    }

    /// Runs `future` to its end, moving the clock to the end of the next sleep whenever everything waits: that is, when it
    /// has been polled nine times and nobody has begun to sleep in the last eight.
    ///
    /// `None` if the future is stuck: it waits, and nobody sleeps who could change that. A future that only yields is
    /// given 64 polls to show otherwise.
    pub fn drive<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        let mut fruitless = 0;
        let (mut seen, mut quiet) = (None, 0);
        while fruitless < FRUITLESS_POLLS {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Some(output);
            }
            // What was polled late may have woken what was polled early, and so on: time stands until so many polls in a
            // row have set nobody to sleep anew.
            let (before, next) = (seen, self.next_wake());
            seen = Some((self.next_id.get(), next));
            quiet = if seen == before { quiet + 1 } else { 0 };
            match next {
                Some(deadline) if quiet == QUIET_POLLS || fruitless + 1 == FRUITLESS_POLLS => {
                    (fruitless, quiet, seen) = (0, 0, None);
                    self.set(deadline);
                }
                Some(_) | None => fruitless += 1,
            }
        }
        None
    }

    /// Notes whom to wake for `sleep`, in place of whom it named before. False if there is no room to note it.
    fn enlist(&self, sleep: &ManualSleep<'_>, waker: &Waker) -> bool {
        let mut sleepers = self.sleepers.borrow_mut();
        let own = sleepers.iter().position(|slot| slot.as_ref().is_some_and(|sleeper| sleeper.id == sleep.id));
        let Some(slot) = own.or_else(|| sleepers.iter().position(Option::is_none)) else {
            return false;
        };
        sleepers[slot] = Some(Sleeper { id: sleep.id, deadline: sleep.deadline, waker: waker.clone() });
        true
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now", &self.now.get()).field("next_wake", &self.next_wake()).finish()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.now.get()
    }
}

/// Nobody else can move a clock on while its thread is blocked: waiting moves it on.
impl BlockingTimer for ManualClock {
    fn wait_until(&self, deadline: Instant) {
        if deadline > self.now() {
            self.set(deadline);
        }
    }
}

impl<'a> Timer for &'a ManualClock {
    type Sleep = ManualSleep<'a>;

    fn sleep_until(&self, deadline: Instant) -> ManualSleep<'a> {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        ManualSleep { clock: self, id, deadline }
    }
}

/// A wait on a [`ManualClock`]. Dropping it forgets it.
#[derive(Debug)]
#[must_use = "a sleep that is not awaited waits for nothing"]
pub struct ManualSleep<'a> {
    clock: &'a ManualClock,
    id: u64,
    deadline: Instant,
}

impl Future for ManualSleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.deadline {
            return Poll::Ready(());
        }
        if !self.clock.enlist(&self, cx.waker()) {
            let surplus = self.clock.surplus.get().unwrap_or(Instant::MAX);
            self.clock.surplus.set(Some(surplus.min(self.deadline)));
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for ManualSleep<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.clock.sleepers.borrow_mut();
        for slot in sleepers.iter_mut() {
            slot.take_if(|sleeper| sleeper.id == self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::vec::Vec;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(sleep: &mut ManualSleep<'_>, wakes: &Arc<Wakes>) -> Poll<()> {
        let waker = Waker::from(Arc::clone(wakes));
        Pin::new(sleep).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn a_sleep_ends_at_its_deadline_and_not_before() {
        let clock = ManualClock::new();
        let wakes = Arc::new(Wakes::default());
        let mut sleep = (&clock).sleep_until(Instant::from_nanos(10));
        for (step, want, woken) in [(0, Poll::Pending, 0), (9, Poll::Pending, 0), (1, Poll::Ready(()), 1)] {
            clock.advance(Duration::from_nanos(step));
            assert_eq!((poll(&mut sleep, &wakes), wakes.0.load(Ordering::Relaxed)), (want, woken));
        }
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::new();
        let wakes = Arc::new(Wakes::default());
        let mut sleep = (&clock).sleep_until(Instant::from_nanos(10));
        assert_eq!(poll(&mut sleep, &wakes), Poll::Pending);
        assert_eq!(clock.next_wake(), Some(Instant::from_nanos(10)));
        drop(sleep);
        assert_eq!(clock.next_wake(), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn more_sleepers_than_slots_still_all_wake() {
        let clock = ManualClock::new();
        let wakes = Arc::new(Wakes::default());
        let mut sleeps: Vec<_> = (1..=100).map(|nanos| (&clock).sleep_until(Instant::from_nanos(nanos))).collect();
        for sleep in &mut sleeps {
            assert_eq!(poll(sleep, &wakes), Poll::Pending);
        }
        // The surplus asks to be polled again at once.
        assert_eq!(wakes.0.load(Ordering::Relaxed), 36);
        clock.advance(Duration::from_nanos(100));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 100);
        assert!(sleeps.iter_mut().all(|sleep| poll(sleep, &wakes) == Poll::Ready(())));
    }

    #[test]
    fn a_future_that_nobody_will_wake_is_stuck() {
        let clock = ManualClock::new();
        assert_eq!(clock.drive(core::future::pending::<()>()), None);
        assert_eq!(clock.drive((&clock).sleep_until(Instant::MAX)), None);
    }

    #[test]
    fn a_clock_that_steps_back_makes_the_wait_longer() {
        let clock = ManualClock::at(Instant::from_nanos(100));
        let wakes = Arc::new(Wakes::default());
        let mut sleep = (&clock).sleep_until(Instant::from_nanos(110));
        assert_eq!(poll(&mut sleep, &wakes), Poll::Pending);
        clock.set(Instant::from_nanos(50));
        clock.advance(Duration::from_nanos(59));
        assert_eq!(poll(&mut sleep, &wakes), Poll::Pending);
        clock.advance(Duration::from_nanos(1));
        assert_eq!(poll(&mut sleep, &wakes), Poll::Ready(()));
    }
}
