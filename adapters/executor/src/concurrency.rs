use std::fmt;
use std::future::Future;

use steadfast_core::concurrency;
use steadfast_core::limits::Limits;
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::rate_limit::Refusal;
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::{Instant, Timer};

use crate::demand::Demand;
use crate::line::Line;
use crate::rate_limit::{Held, RateLimit};

/// A limit on how many operations run at once, that tasks await: first come, first served.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::concurrency::ConcurrencyLimit as Slots;
/// use steadfast_core::outcome::OutcomeKind;
/// use steadfast_core::time::{Clock, ManualClock, Timer};
/// use steadfast_executor::ConcurrencyLimit;
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let limit = ConcurrencyLimit::new(Slots::fixed(2).build()?, &clock);
///
/// clock.drive(async {
///     let slot = limit.acquire().await.expect("one comes free at some time");
///     assert_eq!((limit.in_flight(), limit.limit()), (1, 2));
///     slot.record(OutcomeKind::Success); // An adaptive limit learns from it; dropping the slot only frees it.
/// });
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// Clones share the limit. The timer wakes nobody unless a slot was lost: see the lease of the core's
/// [`ConcurrencyLimit`](concurrency::ConcurrencyLimit), where the algorithms and defaults are.
#[derive(Debug)]
pub struct ConcurrencyLimit<T> {
    line: RateLimit<T, 0>,
}

impl<T: Clone> Clone for ConcurrencyLimit<T> {
    fn clone(&self) -> Self {
        Self { line: self.line.clone() }
    }
}

impl<T: Timer> ConcurrencyLimit<T> {
    /// A line before `limit`. At most 65,536 wait.
    pub fn new(limit: concurrency::ConcurrencyLimit, timer: T) -> Self {
        Self::with_line(Line::before(Limits::none().with_concurrency_limit(limit)), timer)
    }

    /// A limit with a line that was set up otherwise.
    pub fn with_line(line: Line<0>, timer: T) -> Self {
        Self { line: RateLimit::with_line(line, timer) }
    }

    /// Waits in line for a slot.
    ///
    /// Cancel safe: dropped while waiting, it leaves the line, and those behind it move forward.
    ///
    /// # Errors
    /// [`NoSlot::LineFull`] at once.
    pub async fn acquire(&self) -> Result<Slot<'_, T>, NoSlot> {
        self.acquire_for(Demand::of([])).await
    }

    /// The same with a deadline, after which nobody waits, or a priority.
    ///
    /// Cancel safe, as [`acquire`](Self::acquire) is.
    ///
    /// # Errors
    /// [`NoSlot::LineFull`] at once; [`NoSlot::NotYet`] when the deadline has passed.
    pub async fn acquire_for(&self, demand: Demand<0>) -> Result<Slot<'_, T>, NoSlot> {
        let held = self.line.acquire(demand).await.map_err(NoSlot::of)?;
        Ok(Slot { held })
    }

    /// Takes a slot without waiting.
    ///
    /// # Errors
    /// If none is free, or somebody waits in line for it.
    pub fn try_acquire(&self) -> Result<Slot<'_, T>, NoSlot> {
        let held = self.line.try_acquire(Demand::of([])).map_err(NoSlot::of)?;
        Ok(Slot { held })
    }

    /// Runs `operation` in a slot of its own; `classify` says how it ended.
    ///
    /// Cancel safe: dropped while it waits or runs, it leaves the line or frees the slot.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire); then the operation was not started.
    pub async fn execute<R>(
        &self,
        classify: impl FnOnce(&R) -> OutcomeKind,
        operation: impl Future<Output = R>,
    ) -> Result<R, NoSlot> {
        let slot = self.acquire().await?;
        let result = operation.await;
        slot.record(classify(&result));
        Ok(result)
    }

    /// Keeps other bounds from now on; those who wait go by them at once. See
    /// [`set_bounds`](concurrency::ConcurrencyLimit::set_bounds).
    ///
    /// # Errors
    /// If `min` is zero or above `max`; then nothing changes.
    pub fn set_bounds(&self, min: u32, max: u32) -> Result<(), InvalidSetting> {
        self.line.with(|line, now| line.set_concurrency_bounds(now, min, max))
    }

    /// How many may run at once.
    pub fn limit(&self) -> u32 {
        self.look(concurrency::ConcurrencyLimit::limit)
    }

    /// How many do.
    pub fn in_flight(&self) -> u32 {
        self.look(concurrency::ConcurrencyLimit::in_flight)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.line.waiting()
    }

    fn look(&self, at: impl FnOnce(&concurrency::ConcurrencyLimit) -> u32) -> u32 {
        // Without a limit, which a line may have been set up to be, nobody counts.
        self.line.with(|line, _| line.limits().concurrency_limit().map_or(u32::MAX, at))
    }
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoSlot {
    /// All are taken, and one comes free nobody knows when.
    NotYet {
        /// When one is free even if every permit was lost; [`Instant::MAX`] if beyond the end of the clock.
        at_latest: Instant,
    },
    /// As many wait in line as may.
    LineFull {
        /// How many that is.
        waiting: usize,
    },
}

impl NoSlot {
    fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LineFull { waiting } => Self::LineFull { waiting },
            Refusal::NotYet { retry_at } | Refusal::TableFull { retry_at } => Self::NotYet { at_latest: retry_at },
            // No tokens are too many here: none are asked for.
            _ => Self::NotYet { at_latest: Instant::MAX },
        }
    }
}

impl fmt::Display for NoSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { .. } => f.write_str("concurrency limit: no slot is free"),
            Self::LineFull { waiting } => {
                write!(f, "concurrency limit: {waiting} wait in line already, as many as may")
            }
        }
    }
}

impl std::error::Error for NoSlot {}

/// Leave for one operation to run. Dropping it frees the slot, and teaches an adaptive limit nothing.
#[derive(Debug)]
#[must_use = "the slot is free as soon as this is dropped"]
pub struct Slot<'a, T: Timer> {
    held: Held<'a, T, 0>,
}

impl<T: Timer> Slot<'_, T> {
    /// Tells how the operation ended, and frees the slot.
    pub fn record(self, outcome: OutcomeKind) {
        self.held.finish(outcome);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    use steadfast_core::concurrency::{Algorithm, ConcurrencyLimit as Slots};
    use steadfast_core::time::{Clock, ManualClock};

    use super::*;

    fn limit(clock: &ManualClock, slots: u32) -> ConcurrencyLimit<&ManualClock> {
        ConcurrencyLimit::new(Slots::fixed(slots).build().unwrap(), clock)
    }

    fn ms(millis: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(millis)
    }

    /// Drives all futures at once, in their order.
    async fn all<F: Future<Output = ()>>(futures: Vec<F>) {
        let mut futures: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
        std::future::poll_fn(|cx| {
            for slot in &mut futures {
                if slot.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready()) {
                    *slot = None;
                }
            }
            if futures.iter().all(Option::is_none) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }

    #[test]
    fn only_so_many_run_at_once_and_in_their_order() {
        let clock = ManualClock::new();
        let limit = limit(&clock, 2);
        let (running, most, order) = (Cell::new(0), Cell::new(0), RefCell::new(Vec::new()));
        let work = |i| {
            let (limit, clock, running, most, order) = (&limit, &clock, &running, &most, &order);
            async move {
                let slot = limit.acquire().await.unwrap();
                order.borrow_mut().push(i);
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
                running.set(running.get() - 1);
                slot.record(OutcomeKind::Success);
            }
        };
        clock.drive(all((0..10).map(work).collect())).unwrap();
        assert_eq!((most.get(), clock.now()), (2, ms(50)));
        assert_eq!(*order.borrow(), Vec::from_iter(0..10));
        assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
    }

    #[test]
    fn a_deadline_ends_the_wait_and_leaves_the_line() {
        let clock = ManualClock::new();
        let limit = limit(&clock, 1);
        let _runs = limit.try_acquire().unwrap();
        assert!(matches!(limit.try_acquire(), Err(NoSlot::NotYet { .. })));
        let late = clock.drive(limit.acquire_for(Demand::of([]).before(ms(30)))).unwrap();
        assert!(matches!(late, Err(NoSlot::NotYet { .. })));
        assert_eq!((clock.now(), limit.waiting(), limit.in_flight()), (ms(30), 0, 1));
    }

    #[test]
    fn why_there_is_no_slot_is_one_sentence() {
        let clock = ManualClock::new();
        let slots = Slots::fixed(1).lease(Duration::from_secs(9)).build().unwrap();
        let line = Line::before(Limits::none().with_concurrency_limit(slots)).with_max_waiters(1);
        let limit = ConcurrencyLimit::with_line(line, &clock);
        let _runs = limit.try_acquire().unwrap();
        let taken = limit.try_acquire().map(drop).unwrap_err();
        assert_eq!(taken, NoSlot::NotYet { at_latest: ms(18_000) });
        assert_eq!(taken.to_string(), "concurrency limit: no slot is free");
        let (mut waits, mut one_too_many) = (std::pin::pin!(limit.acquire()), std::pin::pin!(limit.acquire()));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        assert_eq!(limit.waiting(), 1);
        let std::task::Poll::Ready(Err(full)) = one_too_many.as_mut().poll(&mut cx) else { panic!("there is no room") };
        assert_eq!(full, NoSlot::LineFull { waiting: 1 });
        assert_eq!(full.to_string(), "concurrency limit: 1 wait in line already, as many as may");
    }

    #[test]
    fn whatever_becomes_of_an_operation_its_slot_comes_back() {
        let clock = ManualClock::new();
        let slots = Slots::builder().algorithm(Algorithm::Aimd).initial(10).build().unwrap();
        let limit = ConcurrencyLimit::new(slots, &clock);
        let outcome = |ok: &bool| if *ok { OutcomeKind::Success } else { OutcomeKind::Transient };
        assert_eq!(clock.drive(limit.execute(outcome, async { true })), Some(Ok(true)));
        assert_eq!((limit.in_flight(), limit.limit()), (0, 10));
        assert_eq!(clock.drive(limit.execute(outcome, async { false })), Some(Ok(false)));
        let learned = limit.limit();
        assert!(limit.in_flight() == 0 && learned < 10, "{learned}");
        drop(limit.try_acquire().unwrap());
        assert_eq!((limit.in_flight(), limit.limit()), (0, learned));
    }

    #[test]
    fn more_slots_are_used_at_once() {
        let clock = ManualClock::new();
        let limit = limit(&clock, 1);
        let _runs = limit.try_acquire().unwrap();
        let raise = async { limit.set_bounds(2, 2).unwrap() };
        let wait = async { drop(limit.acquire().await.unwrap()) };
        clock.drive(all(vec![Box::pin(wait) as std::pin::Pin<Box<dyn Future<Output = ()>>>, Box::pin(raise)])).unwrap();
        assert_eq!((clock.now(), limit.limit()), (ms(0), 2));
        assert!(limit.set_bounds(0, 2).is_err());
    }
}
