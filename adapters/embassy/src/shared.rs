use core::cell::RefCell;

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use steadfast_core::share::Share;

/// A state machine that several tasks share, or tasks and interrupts, or cores: a [`Share`] behind embassy's blocking mutex.
///
/// Which of them may share it, the raw mutex `M` says: `NoopRawMutex` for the tasks of one executor, `CriticalSectionRawMutex`
/// for everybody. It is held for one decision at a time, which takes some hundred instructions, and never while anybody waits.
/// Whoever moves forward in line is woken after it is released.
///
/// ```
/// use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
/// use steadfast_core::rate_limit::{Quota, TokenBucket};
/// use steadfast_core::share::Share;
/// use steadfast_core::time::Instant;
/// use steadfast_embassy::Shared;
///
/// let limit: Shared<CriticalSectionRawMutex, _> = Shared::new(TokenBucket::new(Quota::per_second(1)?));
/// assert!(limit.with(|bucket| bucket.try_acquire(Instant::EPOCH, 1)).is_ok());
/// assert!(limit.with(|bucket| bucket.try_acquire(Instant::EPOCH, 1)).is_err());
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
#[derive(Debug)]
pub struct Shared<M: RawMutex, T> {
    // The cell is there because the mutex lends out `&` only: safe code cannot ask it twice at once and get `&mut` twice.
    state: Mutex<M, RefCell<T>>,
}

impl<M: RawMutex, T> Shared<M, T> {
    /// Shares `state`. In a constant too, so that it can be in a `static`.
    pub const fn new(state: T) -> Self {
        Self { state: Mutex::new(RefCell::new(state)) }
    }
}

impl<M: RawMutex, T> Share for Shared<M, T> {
    type State = T;

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.state.lock(|state| f(&mut state.borrow_mut()))
    }
}
