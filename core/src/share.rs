//! How many callers share one state machine.
//!
//! ```
//! use core::cell::RefCell;
//! use steadfast_core::rate_limit::{Quota, TokenBucket};
//! use steadfast_core::share::Share;
//! use steadfast_core::time::Instant;
//!
//! let limit = RefCell::new(TokenBucket::new(Quota::per_second(5)?));
//! assert!(limit.with(|bucket| bucket.try_acquire(Instant::EPOCH, 1)).is_ok());
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! State machines are plain `&mut self` and not `Clone`, so that sharing is visible in the type. On one thread the cell
//! is a [`RefCell`]; adapters bring a mutex, or what their target has.

use core::cell::RefCell;

/// A cell that lends out `&mut` for the length of a closure.
pub trait Share {
    /// What is shared.
    type State;

    /// Lends the state to `f`. Within `f`, the same cell must not be asked again.
    fn with<R>(&self, f: impl FnOnce(&mut Self::State) -> R) -> R;
}

impl<T> Share for RefCell<T> {
    type State = T;

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.borrow_mut())
    }
}

impl<S: Share> Share for &S {
    type State = S::State;

    fn with<R>(&self, f: impl FnOnce(&mut S::State) -> R) -> R {
        (**self).with(f)
    }
}
