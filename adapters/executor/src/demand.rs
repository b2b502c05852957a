use steadfast_core::time::Instant;

/// What is asked of a line: how much of each limit, by when, and how urgently.
///
/// A number, or an array with one for each limit, is a demand without a deadline and of no priority.
///
/// ```
/// use steadfast_core::time::Instant;
/// use steadfast_executor::Demand;
///
/// let demand = Demand::of([1, 1_500]).before(Instant::from_nanos(1_000_000_000)).with_priority(9);
/// # let _ = demand;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Demand<const K: usize = 1> {
    pub(crate) weights: [u32; K],
    pub(crate) deadline: Instant,
    pub(crate) priority: u8,
}

impl<const K: usize> Demand<K> {
    /// So many tokens of each limit.
    pub const fn of(weights: [u32; K]) -> Self {
        Self { weights, deadline: Instant::MAX, priority: 0 }
    }

    /// The same, if it can be had before `deadline`; otherwise it is refused, at once where that is known.
    #[must_use]
    pub const fn before(self, deadline: Instant) -> Self {
        Self { deadline, ..self }
    }

    /// The same, before all in line with a lower priority. The default is the lowest, 0.
    ///
    /// Those with a lower one wait longer than they were told, and as long as more urgent ones keep coming. Priorities
    /// are for a few: where everything is urgent, nothing is.
    #[must_use]
    pub const fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }
}

impl<const K: usize> From<[u32; K]> for Demand<K> {
    fn from(weights: [u32; K]) -> Self {
        Self::of(weights)
    }
}

impl From<u32> for Demand {
    fn from(tokens: u32) -> Self {
        Self::of([tokens])
    }
}
