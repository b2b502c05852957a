//! Points in time, and the two ports through which time reaches this crate.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::time::{Clock, Instant, ManualClock};
//!
//! let clock = ManualClock::new();
//! let deadline = clock.now() + Duration::from_secs(5);
//! clock.advance(Duration::from_secs(2));
//! assert_eq!(deadline - clock.now(), Duration::from_secs(3));
//!
//! // Nothing wraps and nothing panics, however hostile the number.
//! assert_eq!(clock.now() + Duration::MAX, Instant::MAX);
//! ```
//!
//! The core never reads a clock: every method that depends on time takes `now` as its first argument. Whoever drives
//! the core has a [`Clock`] to read and a [`Timer`] to wait on; adapters implement both for their runtime, and
//! [`ManualClock`] implements them for tests.
//!
//! # A timer of one's own
//!
//! Where there is no adapter for a platform, what it has will do: something that tells the time, and something that calls
//! back later. Here they are those of a browser, `performance.now()` and `setTimeout`:
//!
//! ```
//! use core::cell::RefCell;
//! use core::future::Future;
//! use core::pin::Pin;
//! use core::task::{Context, Poll, Waker};
//! use core::time::Duration;
//! use std::rc::Rc;
//! use steadfast_core::time::{Clock, Instant, Timer};
//!
//! # mod platform {
//! #     use std::cell::{Cell, RefCell};
//! #     thread_local!(static NOW: Cell<u32> = const { Cell::new(0) });
//! #     thread_local!(static CALLBACK: RefCell<Option<(u32, Box<dyn FnOnce()>)>> = const { RefCell::new(None) });
//! #     pub fn performance_now() -> f64 { f64::from(NOW.get()) }
//! #     pub fn set_timeout(f: impl FnOnce() + 'static, ms: u32) { CALLBACK.set(Some((ms, Box::new(f)))) }
//! #     pub fn idle() {
//! #         let (ms, callback) = CALLBACK.take().expect("somebody sleeps");
//! #         NOW.set(NOW.get() + ms);
//! #         callback();
//! #     }
//! # }
//! #[derive(Clone, Copy)]
//! struct BrowserTimer;
//!
//! impl Clock for BrowserTimer {
//!     fn now(&self) -> Instant {
//!         Instant::EPOCH + Duration::from_secs_f64(platform::performance_now() / 1000.0)
//!     }
//! }
//!
//! impl Timer for BrowserTimer {
//!     type Sleep = Sleep;
//!
//!     fn sleep_until(&self, deadline: Instant) -> Sleep {
//!         Sleep { deadline, waker: Rc::default() }
//!     }
//! }
//!
//! struct Sleep {
//!     deadline: Instant,
//!     waker: Rc<RefCell<Option<Waker>>>, // Not `Send`. Nothing here asks for that.
//! }
//!
//! impl Future for Sleep {
//!     type Output = ();
//!
//!     fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
//!         let left = self.deadline - BrowserTimer.now();
//!         if left.is_zero() {
//!             return Poll::Ready(());
//!         }
//!         if self.waker.replace(Some(cx.waker().clone())).is_none() {
//!             let waker = Rc::clone(&self.waker);
//!             let wake = move || waker.take().into_iter().for_each(Waker::wake);
//!             // Rounded up. Above 2³¹ ms a browser calls back at once, so after a day we look again.
//!             platform::set_timeout(wake, left.as_millis().min(86_400_000) as u32 + 1);
//!         }
//!         Poll::Pending
//!     }
//! }
//! # let mut cx = Context::from_waker(Waker::noop());
//! # for (millis, polls) in [(0, 1), (1, 2), (86_400_000 * 3, 4)] {
//! #     let deadline = BrowserTimer.now() + Duration::from_millis(millis);
//! #     let mut sleep = Box::pin(BrowserTimer.sleep_until(deadline));
//! #     let mut polled = 1;
//! #     while sleep.as_mut().poll(&mut cx).is_pending() {
//! #         platform::idle();
//! #         polled += 1;
//! #     }
//! #     assert!(BrowserTimer.now() >= deadline);
//! #     assert_eq!(polled, polls);
//! # }
//! ```
//!
//! It keeps what the port promises by asking its own clock: whoever calls back early, or for no reason, is only asked again.

use core::fmt;
use core::future::Future;
use core::ops::{Add, AddAssign, Sub};
use core::task::Waker;
use core::time::Duration;

mod manual;

pub use manual::{ManualClock, ManualSleep};

/// A point on the caller's monotonic clock, in nanoseconds since an epoch the caller chose.
///
/// Only differences mean anything; two `Instant`s from different clocks must never meet. A `u64` of nanoseconds
/// reaches 584 years from the epoch, so any epoch will do: start of the process, boot, 1970.
///
/// All arithmetic saturates: adding past the end gives [`Instant::MAX`], subtracting a later instant gives zero.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    /// The epoch itself.
    pub const EPOCH: Self = Self(0);

    /// The last instant that can be told, and what "never" is when an instant is asked for.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the epoch.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::MAX`].
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))] // As below.
    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(delay)))
    }
}

impl AddAssign<Duration> for Instant {
    /// Saturates at [`Instant::MAX`].
    fn add_assign(&mut self, delay: Duration) {
        *self = *self + delay;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// How long after `earlier` this instant is; zero if it is not after it.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Instant {
    /// Seconds since the epoch, as in "12.5s".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// Nanoseconds in `duration`, or `u64::MAX` where there are more (584 years).
///
/// To compilers a checked product of 64 bits is one instruction wherever they are. On a processor of 32 bits it is twenty,
/// which a firmware wants once and not at each of its uses.
#[cfg_attr(target_pointer_width = "64", inline)]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) const fn saturating_nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// `time` times `factor`, so many times over, at most `cap`.
///
/// Not by a power, which takes more code than this on a processor of 32 bits. It ends after 64 steps at most.
pub(crate) const fn grown(time: u64, factor: u32, times: u32, cap: u64) -> u64 {
    let (mut grown, mut left) = (time, times);
    while left > 0 && factor > 1 && grown < cap {
        grown = grown.saturating_mul(factor as u64);
        left -= 1;
    }
    if grown < cap { grown } else { cap }
}

/// The part of a number that `of_2_to_32` is of 2³², rounded down. Exact, and in 64 bits.
pub(crate) const fn part(number: u64, of_2_to_32: u64) -> u64 {
    let (high, low) = (number >> 32, number & u32::MAX as u64);
    (high * of_2_to_32) + ((low * of_2_to_32) >> 32)
}

/// Where an adapter says what time it is.
pub trait Clock {
    /// The present, on a clock that should not step back. If it does, nothing breaks: limits give nothing for the time
    /// that passes twice, and waits grow by the step.
    fn now(&self) -> Instant;
}

/// Where an adapter says how to wait.
///
/// `Sleep` is a named type, not `impl Future`, so that a caller who spawns can ask for `T::Sleep: Send` and one who
/// runs on a single core need not.
pub trait Timer: Clock {
    /// The wait itself.
    type Sleep: Future<Output = ()>;

    /// Completes at or after `deadline`, never before: an early riser is refused again and spins.
    ///
    /// A `deadline` that has passed completes at the first poll or soon after; [`Instant::MAX`] never completes.
    /// Dropping the sleep cancels it.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;
}

/// Where an adapter says how to wait without a task to wake: by blocking the thread.
pub trait BlockingTimer: Clock {
    /// Blocks until `deadline`, never less, unless the [waker](Self::waker) is woken. A `deadline` that has passed returns
    /// at once.
    fn wait_until(&self, deadline: Instant);

    /// What ends the wait of this thread early. By default nothing does.
    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Instant {
        (**self).now()
    }
}

impl<T: BlockingTimer + ?Sized> BlockingTimer for &T {
    fn wait_until(&self, deadline: Instant) {
        (**self).wait_until(deadline);
    }

    fn waker(&self) -> Waker {
        (**self).waker()
    }
}

impl<T: Timer + ?Sized> Timer for &T {
    type Sleep = T::Sleep;

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        (**self).sleep_until(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, saturating_nanos};

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let late = Instant::from_nanos(u64::MAX - 1);
        for (got, want) in [
            (late + Duration::from_nanos(1), Instant::MAX),
            (late + Duration::from_nanos(2), Instant::MAX),
            (late + Duration::MAX, Instant::MAX),
            (Instant::MAX + Duration::MAX, Instant::MAX),
            (Instant::EPOCH + Duration::ZERO, Instant::EPOCH),
            (Instant::EPOCH + Duration::from_secs(u64::MAX), Instant::MAX),
        ] {
            assert_eq!(got, want);
        }
        assert_eq!(Instant::EPOCH - Instant::MAX, Duration::ZERO);
        assert_eq!(Instant::MAX - Instant::EPOCH, Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn durations_beyond_the_range_of_an_instant_are_cut_to_it() {
        assert_eq!(saturating_nanos(Duration::MAX), u64::MAX);
        assert_eq!(saturating_nanos(Duration::from_nanos(u64::MAX)), u64::MAX);
        assert_eq!(saturating_nanos(Duration::from_nanos(u64::MAX - 1)), u64::MAX - 1);
        assert_eq!(saturating_nanos(Duration::from_secs(2)), 2_000_000_000);
    }
}
