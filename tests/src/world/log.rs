use std::cell::RefCell;

use steadfast_core::event::{Event, Observer};
use steadfast_core::time::Instant;

/// Every decision and its time, to be compared with those that another driver of the same calls saw.
#[derive(Debug, Default)]
pub struct DecisionLog(RefCell<Vec<(Instant, Event)>>);

impl DecisionLog {
    /// What was decided, in order.
    pub fn into_entries(self) -> Vec<(Instant, Event)> {
        self.0.into_inner()
    }
}

impl Observer for DecisionLog {
    type Call = ();

    fn observe(&self, now: Instant, event: &Event) {
        self.0.borrow_mut().push((now, *event));
    }
}
