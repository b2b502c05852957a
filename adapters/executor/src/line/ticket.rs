use std::cmp::Reverse;

use steadfast_core::rate_limit::{Refusal, Reservations};

/// A place in line: higher priorities first, and then the order of joining.
pub(super) type Place = (Reverse<u8>, u64);

/// A place in a [`Line`](super::Line), and then the tokens.
#[derive(Debug)]
#[must_use = "hand it to `leave`, or its tokens are spent"]
pub struct Ticket<const K: usize = 1>(pub(super) Standing<K>);

#[derive(Debug)]
pub(super) enum Standing<const K: usize> {
    /// With what it asks for.
    Waiting(Place, [u32; K]),
    Granted(Reservations<K>),
    Refused(Refusal),
}

impl<const K: usize> Ticket<K> {
    pub(crate) const fn is_granted(&self) -> bool {
        matches!(self.0, Standing::Granted(_))
    }

    /// What was granted, to be settled later; `None` if nothing was.
    pub(crate) fn into_granted(self) -> Option<Reservations<K>> {
        match self.0 {
            Standing::Granted(granted) => Some(granted),
            Standing::Waiting(..) | Standing::Refused(_) => None,
        }
    }
}
