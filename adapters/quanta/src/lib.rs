//! Time by the processor's own counter, where asking the operating system takes longer than the decision.
//!
//! ```
//! use steadfast_core::rate_limit::{Quota, TokenBucket};
//! use steadfast_core::time::Clock;
//! use steadfast_quanta::QuantaClock;
//!
//! let clock = QuantaClock::new();
//! let mut limit = TokenBucket::new(Quota::per_minute(1)?);
//! assert!(limit.try_acquire(clock.now(), 1).is_ok());
//! assert!(limit.try_acquire(clock.now(), 1).is_err());
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! The counter is read through [quanta], which finds out whether the processor has one that can be trusted, measures its
//! pace against the operating system's clock, and takes that clock where it has none.
//!
//! It is a [`Clock`] and no `Timer`: what sleeps does so by the operating system's clock, and the two drift apart. So
//! nothing that waits takes it, which is decided where it is compiled.
//!
//! | What | Is | Why |
//! | --- | --- | --- |
//! | the pace | measured once in each process | quanta does so when the first clock is made; that takes up to 200 ms |
//! | how true it is | 20 parts in a million, on a busy machine | it is measured for milliseconds; nothing corrects it later |
//! | sleep of the whole machine | may not count | the counter may stand still meanwhile |
//!
//! A limit is exact by the clock that it is given: one that is 20 parts in a million too fast admits as many too many.
//!
//! # When not to use it
//!
//! Where that matters, where a limit has to agree with another process's, or where anything waits: the runtime's timer is
//! a clock too. And where calls take microseconds in any case: some 20 ns are saved.

use steadfast_core::time::{Clock, Instant};

/// The counter of the processor, counted from when this was made. A clone counts from there too.
#[derive(Clone, Debug)]
pub struct QuantaClock {
    clock: quanta::Clock,
    epoch: u64,
}

impl QuantaClock {
    /// A clock that starts at [`Instant::EPOCH`] now.
    ///
    /// The first one in a process blocks its thread while quanta measures the counter's pace, for 200 ms at most.
    pub fn new() -> Self {
        Self::from(quanta::Clock::new())
    }
}

impl Default for QuantaClock {
    fn default() -> Self {
        Self::new()
    }
}

/// For a clock of quanta's that is there already, or one that a test moves.
impl From<quanta::Clock> for QuantaClock {
    fn from(clock: quanta::Clock) -> Self {
        let epoch = clock.raw();
        Self { clock, epoch }
    }
}

impl Clock for QuantaClock {
    /// Counters of different cores may differ by a few nanoseconds, so it may step back by as much.
    #[inline]
    fn now(&self) -> Instant {
        // Not by way of quanta's own instants, which count from elsewhere and are told in seconds and nanoseconds.
        Instant::from_nanos(self.clock.delta_as_nanos(self.epoch, self.clock.raw()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_nanoseconds_from_when_it_was_made() {
        let (source, hand) = quanta::Clock::mock();
        hand.increment(5_000_000_000_u64);
        let clock = QuantaClock::from(source);
        for (step, want) in [(0_u64, 0), (1, 1), (999, 1_000), (86_400_000_000_000, 86_400_000_001_000)] {
            hand.increment(step);
            assert_eq!([clock.now(), clock.clone().now()], [Instant::from_nanos(want); 2]);
        }
        // Before it was made there is nothing.
        hand.decrement(86_400_000_001_001_u64);
        assert_eq!(clock.now(), Instant::EPOCH);
    }

    /// By the real counter, or the operating system's clock where there is none.
    #[test]
    fn it_goes_on() {
        let clock = QuantaClock::default();
        let before = clock.now();
        while clock.now() == before {}
        assert!(clock.now() > before);
    }
}
