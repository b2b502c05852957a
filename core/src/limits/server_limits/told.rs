use core::time::Duration;

use super::MOST;
use crate::limits::Counts;

/// One limit that a server keeps, as one of its responses told it: so many are left until then.
///
/// A limit without a known reset is none: nobody could say when a wait would end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Remaining {
    /// Which limit it is: any number that the same limit has each time.
    pub which: u32,
    /// Whether it counts calls, or what they weigh.
    pub counts: Counts,
    /// How many are left.
    pub left: u32,
    /// How long until there are more, from when the response arrived.
    pub reset_in: Duration,
}

/// What one response told of its server's limits: eight of them at most; what comes after those is left out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Told {
    each: [Option<Remaining>; MOST],
}

impl Told {
    /// Nothing.
    pub const NOTHING: Self = Self { each: [None; MOST] };

    /// The limits that it told of.
    pub fn iter(&self) -> impl Iterator<Item = &Remaining> {
        self.each.iter().flatten()
    }

    /// Whether it told of none.
    pub fn is_nothing(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl FromIterator<Remaining> for Told {
    fn from_iter<I: IntoIterator<Item = Remaining>>(remaining: I) -> Self {
        let mut told = Self::NOTHING;
        told.each.iter_mut().zip(remaining).for_each(|(place, remaining)| *place = Some(remaining));
        told
    }
}
