//! Embassy's clock for tests, and the loop that moves it.

use core::cell::RefCell;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use embassy_time::{Duration, MockDriver};
use steadfast_core::time::{Clock, Instant, Timer};
use steadfast_embassy::{EmbassySleep, EmbassyTimer};

/// There is one clock in a process: tests take turns.
static CLOCK: Mutex<()> = Mutex::new(());

/// How often a future that was woken is polled before time moves on all the same. With more sleepers than embassy's queue
/// has places, somebody is woken for nothing with every poll.
const PATIENCE: u32 = 64;

/// Embassy's timer; it also remembers when somebody wants to be woken, which embassy's driver does not tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted(Rc<RefCell<BTreeSet<Instant>>>);

impl Clock for Noted {
    fn now(&self) -> Instant {
        EmbassyTimer.now()
    }
}

impl Timer for Noted {
    type Sleep = EmbassySleep;

    fn sleep_until(&self, deadline: Instant) -> EmbassySleep {
        self.0.borrow_mut().insert(deadline);
        EmbassyTimer.sleep_until(deadline)
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs a future to its end on embassy's clock, which starts at zero and jumps from the end of one sleep to the next.
///
/// # Panics
/// If the future waits, and nobody sleeps who could change that; or if a sleep's time has come and nobody was woken.
pub(crate) fn drive<F: Future>(f: impl FnOnce(Noted) -> F) -> F::Output {
    let _turn = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    MockDriver::get().reset();
    let (timer, woken) = (Noted::default(), Arc::new(Woken(AtomicBool::new(true))));
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(f(timer.clone()));
    let mut stood_still = 0;
    loop {
        while stood_still < PATIENCE && woken.0.swap(false, Ordering::AcqRel) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            stood_still += 1;
        }
        stood_still = 0;
        let now = timer.now();
        timer.0.borrow_mut().retain(|deadline| *deadline > now);
        let next = timer.0.borrow().first().copied().filter(|next| *next < Instant::MAX);
        let ahead = next.expect("everybody waits, and nobody sleeps") - now;
        MockDriver::get().advance(Duration::from_nanos(u64::try_from(ahead.as_nanos()).expect("584 years at most")));
    }
}
