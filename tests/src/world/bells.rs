use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// A waker for each place, which says whose call was woken.
///
/// They are made once for a place and not for a call. A waker that is kept for too long wakes the next call at its
/// place, and to be asked too early does a call no harm.
#[derive(Debug, Default)]
pub(super) struct Bells {
    wakers: Vec<Waker>,
    rung: Arc<Mutex<VecDeque<usize>>>,
}

struct Bell {
    place: usize,
    rung: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.place);
    }
}

impl Bells {
    /// The waker of a place.
    pub(super) fn of(&mut self, place: usize) -> &Waker {
        while self.wakers.len() <= place {
            let bell = Bell { place: self.wakers.len(), rung: Arc::clone(&self.rung) };
            self.wakers.push(Waker::from(Arc::new(bell)));
        }
        &self.wakers[place]
    }

    /// The place that was woken first and not answered yet.
    pub(super) fn next(&self) -> Option<usize> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
