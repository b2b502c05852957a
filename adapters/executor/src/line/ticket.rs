use steadfast_core::rate_limit::Refusal;
use steadfast_core::time::Instant;

use super::gate::Granted;

/// A place in line: higher priorities first, and then the order of joining.
///
/// In one word, since lines are long: the priority, turned round, above 56 bits that count those who joined. Where a
/// hundred million a second have to wait, these last for 22 years.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place(u64);

impl Place {
    /// Behind everybody.
    pub(super) const LAST: Self = Self(u64::MAX);

    /// The place of whoever joins after so many others.
    pub(super) fn new(priority: u8, joined: u64) -> Self {
        Self(u64::from(u8::MAX - priority) << 56 | joined & u64::MAX >> 8)
    }

    /// How many others had joined before, of any priority.
    pub(super) const fn joined(self) -> u64 {
        self.0 & u64::MAX >> 8
    }
}

/// What somebody in line is told.
pub(crate) enum Turn<const K: usize> {
    Granted(Granted<K>),
    /// In this place, until then.
    Wait(Place, Instant),
    /// In this place, until a slot comes free; then at the latest.
    WaitForSlot(Place, Instant),
}

/// A place in a [`Line`](super::Line), and then tokens and slot.
#[derive(Debug)]
#[must_use = "hand it to `leave`, or its tokens are spent"]
pub struct Ticket<const K: usize = 1>(pub(super) Standing<K>);

#[derive(Debug)]
pub(super) enum Standing<const K: usize> {
    /// With what it asks for.
    Waiting(Place, [u32; K]),
    Granted(Granted<K>),
    Refused(Refusal),
}

impl<const K: usize> Ticket<K> {
    /// Of somebody who waits.
    pub(crate) const fn waiting(place: Place, weights: [u32; K]) -> Self {
        Self(Standing::Waiting(place, weights))
    }

    /// Of somebody who was granted this.
    pub(crate) const fn granted(grant: Granted<K>) -> Self {
        Self(Standing::Granted(grant))
    }
}
