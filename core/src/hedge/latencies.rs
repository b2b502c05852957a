use core::time::Duration;

use crate::time::saturating_nanos;

/// The lowest doubling: latencies under 2^20 ns (1.05 ms) all count in the first box.
const LOWEST: u32 = 20;

/// Boxes to a doubling, as a power of two.
const STEPS: u32 = 2;

/// Sixteen doublings: the last box begins at 60 s and has no end.
const BOXES: usize = 64;

/// When so many are counted, each count is halved.
const MANY: u16 = 1024;

/// Fewer than this say nothing about the 99th percentile.
const ENOUGH: u16 = 100;

/// How many attempts took how long: a histogram whose boxes grow with what they hold, as in HDR Histogram (G. Tene), so that
/// the error is a share of the answer and not a span of time.
///
/// P² (R. Jain and I. Chlamtac, 1985) would need less memory, but it has no bound on its error, none on how long it
/// remembers, and wants floating point.
#[derive(Debug)]
pub(super) struct Latencies {
    counts: [u16; BOXES],
    sum: u16,
}

impl Latencies {
    pub(super) const fn new() -> Self {
        Self { counts: [0; BOXES], sum: 0 }
    }

    pub(super) fn record(&mut self, latency: Duration) {
        // No sum is above `MANY`, and so no count is.
        self.counts[box_of(saturating_nanos(latency))] += 1;
        self.sum += 1;
        if self.sum >= MANY {
            self.halve();
        }
    }

    /// The least end of a box that so many percent of the latencies do not exceed; `None` while too few are known.
    /// [`Duration::MAX`] where that is the last box.
    pub(super) fn percentile(&self, percent: u32) -> Option<Duration> {
        if self.sum < ENOUGH {
            return None;
        }
        let rank = (u32::from(self.sum) * percent).div_ceil(100);
        let mut below = 0;
        for (number, count) in (0..).zip(self.counts) {
            below += u32::from(count);
            if below >= rank {
                return Some(end_of(number));
            }
        }
        None
    }

    /// Halves the counts from the lowest up, and hands what a box loses by rounding to the next. So the sum of all below
    /// any box is halved and rounded once, and the tail is not rounded away: a percentile moves by one latency at most.
    fn halve(&mut self) {
        let (mut below, mut halved_below) = (0, 0);
        for count in &mut self.counts {
            below += *count;
            *count = below / 2 - halved_below;
            halved_below += *count;
        }
        self.sum = halved_below;
    }
}

/// Which box a latency falls into.
fn box_of(nanos: u64) -> usize {
    let doubling = nanos.checked_ilog2().unwrap_or(0);
    if doubling < LOWEST {
        return 0;
    }
    // The bits after the highest one.
    let step = (nanos >> (doubling - STEPS)) & ((1 << STEPS) - 1);
    let number = u64::from((doubling - LOWEST) << STEPS) + step;
    usize::try_from(number).unwrap_or(usize::MAX).min(BOXES - 1)
}

/// Where a box ends: the least latency beyond it.
const fn end_of(number: u32) -> Duration {
    if number as usize >= BOXES - 1 {
        return Duration::MAX;
    }
    let (doubling, step) = (LOWEST + (number >> STEPS), number & ((1 << STEPS) - 1));
    let steps = (1 << STEPS) + step as u64 + 1;
    Duration::from_nanos(steps << (doubling - STEPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn every_latency_is_in_the_box_that_ends_a_quarter_after_it_at_most() {
        for nanos in (1 << LOWEST..60_000_000_000_u64).step_by(99_999_989).chain([1 << LOWEST, (1 << 30) - 1, 1 << 30])
        {
            let end = end_of(u32::try_from(box_of(nanos)).unwrap());
            let latency = Duration::from_nanos(nanos);
            assert!(latency < end && end <= latency * 5 / 4, "{latency:?} {end:?}");
        }
    }

    #[test]
    fn the_ends_are_at_a_millisecond_and_a_minute() {
        for (nanos, want) in [
            (0, 0),
            (1, 0),
            ((1 << 20) - 1, 0),
            (1 << 20, 0),
            ((1 << 20) + (1 << 18), 1),
            (1 << 21, 4),
            ((7 << 32) - 1, 58),
            (7 << 32, 59),
            ((7 << 33) - 1, 62),
            (7 << 33, 63),
            (1 << 36, 63),
            (u64::MAX, 63),
        ] {
            assert_eq!(box_of(nanos), want, "{nanos}");
        }
        assert_eq!((end_of(62), end_of(63)), (Duration::from_nanos(7 << 33), Duration::MAX));
    }

    #[test]
    fn too_few_say_nothing() {
        let mut latencies = Latencies::new();
        (1..ENOUGH).for_each(|_| latencies.record(ms(1)));
        assert_eq!(latencies.percentile(50), None);
        latencies.record(ms(100));
        assert_eq!(latencies.percentile(99), Some(Duration::from_nanos(5 << 18)));
        latencies.record(ms(100));
        assert_eq!(latencies.percentile(99), Some(Duration::from_nanos(6 << 24)));
    }

    #[test]
    fn halving_keeps_every_rank_within_one() {
        let mut latencies = Latencies::new();
        // One in every box, and the rest in the lowest: rounding each box down would forget the tail.
        for number in 0..64 {
            latencies.counts[number] = 1;
        }
        latencies.counts[0] += MANY - 64;
        latencies.sum = MANY;
        latencies.halve();
        assert_eq!(latencies.sum, MANY / 2);
        assert_eq!(latencies.counts[0], (MANY - 63) / 2);
        assert_eq!(latencies.counts[1..].iter().sum::<u16>(), 32);
        assert!(latencies.counts[1..].iter().all(|count| *count <= 1));
        // And however often it is done.
        for _ in 0..20 {
            latencies.halve();
        }
        assert_eq!((latencies.sum, latencies.counts), (0, [0; 64]));
    }

    #[test]
    fn the_sum_never_passes_its_bound() {
        let mut latencies = Latencies::new();
        for i in 0..10_000_u64 {
            latencies.record(ms(i));
            assert!(latencies.sum < MANY);
            assert_eq!(latencies.sum, latencies.counts.iter().sum::<u16>());
        }
        assert!(latencies.sum >= MANY / 2);
    }
}
