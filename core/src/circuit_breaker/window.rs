use core::array;
use core::num::NonZeroU8;

use crate::time::{Instant, saturating_nanos};

use super::Window;
use super::snapshot::Samples;

/// How many calls the longest window of calls holds.
pub(super) const MOST_CALLS: u32 = 128;

/// In so many steps a window of time slides.
pub(super) const TENTHS: usize = 10;

/// The most that can be asked for as minimum volume: half of what a tenth holds, since a full one is halved.
pub(super) const MOST_MINIMUM: u32 = 32_767;

/// How many calls ended, and how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// How many were judged.
    pub calls: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How many of them were slow. One that failed may be slow too.
    pub slow: u32,
}

impl Tally {
    /// How many percent of the calls failed, rounded down; zero if there were none.
    pub const fn failure_rate(&self) -> u32 {
        Self::percent(self.failures, self.calls)
    }

    /// How many percent of the calls were slow, rounded down; zero if there were none.
    pub const fn slow_call_rate(&self) -> u32 {
        Self::percent(self.slow, self.calls)
    }

    const fn percent(part: u32, whole: u32) -> u32 {
        match part.saturating_mul(100).checked_div(whole) {
            Some(percent) => percent,
            None => 0,
        }
    }
}

/// How one call ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

/// The shape of a window, small enough to be kept: so many calls, or ten times so many nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Calls,
    Time,
}

impl Window {
    pub(super) const fn shape(self) -> (Shape, u64) {
        match self {
            Self::Calls(calls) => (Shape::Calls, calls as u64),
            // Rounded up: the window is at least as long as was asked for.
            Self::Time(time) => (Shape::Time, saturating_nanos(time).div_ceil(TENTHS as u64)),
        }
    }
}

/// What was seen of the latest calls, each by itself or in tenths.
///
/// It slides: what is too old goes one by one, or a tenth at a time, and the rest stays. Two things are not in it, so
/// that the breaker is the smaller, and given with every call: the sum of it, and the width of the window, which is in
/// the settings (calls, or nanoseconds of a tenth).
#[derive(Clone, Copy, Debug)]
pub(super) enum Sliding {
    Calls(Ring),
    Time(Tenths),
}

/// A bit for each call, in words that every processor shifts at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    failed: [u32; 4],
    slow: [u32; 4],
    /// Where the next call goes, which is where the oldest one is.
    next: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Tenths {
    tenths: [Tenth; TENTHS],
    /// When the current one began.
    began: u64,
    /// Which it is, counted from 1: the zero that it cannot be tells the two kinds of window apart at no cost.
    current: NonZeroU8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tenth {
    calls: u16,
    failures: u16,
    slow: u16,
}

impl Sliding {
    pub(super) const fn new(shape: Shape) -> Self {
        match shape {
            Shape::Calls => Self::Calls(Ring::NONE),
            Shape::Time => Self::Time(Tenths::NONE),
        }
    }

    /// Forgets what is too old at `now`, and halves the counts of the tenth if it is full.
    pub(super) fn make_room(&mut self, sum: &mut Tally, width: u64, now: Instant) {
        self.slide(sum, width, now);
        match self {
            Self::Time(tenths) if tenths.is_full() => tenths.at_mut(0).halve(sum),
            Self::Calls(_) | Self::Time(_) => {}
        }
    }

    /// Forgets what is too old at `now`.
    pub(super) fn slide(&mut self, sum: &mut Tally, width: u64, now: Instant) {
        match self {
            Self::Calls(_) => {}
            Self::Time(tenths) => tenths.slide(sum, width, now),
        }
    }

    /// What it holds, each by itself. To be asked after [`slide`](Self::slide).
    pub(super) fn samples(&self, sum: &Tally, width: u64, now: Instant) -> Samples {
        match self {
            Self::Calls(ring) => {
                let mut samples = [0, 0];
                for age in (0..u64::from(sum.calls)).rev() {
                    // The newest is the one before `next`.
                    #[allow(clippy::cast_possible_truncation)] // The width is at most 128.
                    let sample = ring.at(((u64::from(ring.next) + width - 1 - age) % width) as u8);
                    samples[0] = samples[0] << 1 | u128::from(sample.failed);
                    samples[1] = samples[1] << 1 | u128::from(sample.slow);
                }
                Samples::Calls { calls: sum.calls, failed: samples[0], slow: samples[1] }
            }
            Self::Time(tenths) => {
                let newest_began = now - Instant::from_nanos(tenths.began);
                Samples::Time { tenths: array::from_fn(|age| tenths.at(age).tally()), newest_began }
            }
        }
    }

    /// The window that `samples` were taken of, and its sum; an empty one if they were taken of one of the other kind.
    pub(super) fn restore(shape: Shape, width: u64, now: Instant, samples: &Samples) -> (Self, Tally) {
        let (mut sliding, mut sum) = (Self::new(shape), Tally::default());
        match (&mut sliding, samples) {
            (Self::Calls(ring), Samples::Calls { calls, failed, slow }) => {
                for age in (0..(*calls).min(MOST_CALLS)).rev() {
                    let sample = Sample { failed: failed >> age & 1 == 1, slow: slow >> age & 1 == 1 };
                    ring.note(&mut sum, width, sample);
                }
            }
            (Self::Time(kept), Samples::Time { tenths, newest_began }) => {
                kept.began = now.as_nanos().saturating_sub(saturating_nanos(*newest_began));
                for (age, tally) in tenths.iter().enumerate() {
                    let tenth = Tenth::of(tally);
                    *kept.at_mut(age) = tenth;
                    sum.add(tenth);
                }
            }
            (Self::Calls(_), Samples::Time { .. }) | (Self::Time(_), Samples::Calls { .. }) => {}
        }
        (sliding, sum)
    }
}

impl Tally {
    pub(super) const NONE: Self = Self { calls: 0, failures: 0, slow: 0 };

    fn add(&mut self, tenth: Tenth) {
        self.calls += u32::from(tenth.calls);
        self.failures += u32::from(tenth.failures);
        self.slow += u32::from(tenth.slow);
    }

    fn subtract(&mut self, tenth: Tenth) {
        self.calls -= u32::from(tenth.calls);
        self.failures -= u32::from(tenth.failures);
        self.slow -= u32::from(tenth.slow);
    }
}

impl Ring {
    const NONE: Self = Self { failed: [0; 4], slow: [0; 4], next: 0 };

    #[inline]
    pub(super) fn note(&mut self, sum: &mut Tally, width: u64, sample: Sample) {
        let place = self.next;
        // While the ring fills, what is at the place are the zeros that it began with.
        let oldest = self.at(place);
        self.put(place, sample);
        sum.calls += u32::from(u64::from(sum.calls) < width);
        sum.failures = sum.failures + u32::from(sample.failed) - u32::from(oldest.failed);
        sum.slow = sum.slow + u32::from(sample.slow) - u32::from(oldest.slow);
        self.next = if u64::from(place) + 1 >= width { 0 } else { place + 1 };
    }

    #[inline]
    fn at(&self, place: u8) -> Sample {
        let (word, bit) = Self::word_and_bit(place);
        Sample { failed: self.failed[word] >> bit & 1 == 1, slow: self.slow[word] >> bit & 1 == 1 }
    }

    #[inline]
    fn put(&mut self, place: u8, sample: Sample) {
        let (word, bit) = Self::word_and_bit(place);
        let others = !(1 << bit);
        self.failed[word] = self.failed[word] & others | u32::from(sample.failed) << bit;
        self.slow[word] = self.slow[word] & others | u32::from(sample.slow) << bit;
    }

    #[inline]
    fn word_and_bit(place: u8) -> (usize, u8) {
        (usize::from(place >> 5 & 3), place & 31)
    }
}

impl Tenths {
    const NONE: Self =
        Self { tenths: [Tenth { calls: 0, failures: 0, slow: 0 }; TENTHS], began: 0, current: NonZeroU8::MIN };

    /// Whether the current one has ended. Where a clock has stepped back, time stands still until it has caught up.
    #[inline]
    const fn is_over(&self, width: u64, now: Instant) -> bool {
        now.as_nanos().saturating_sub(self.began) >= width
    }

    /// Whether a call that ends at `now` can be noted as it is. If not, which is rare, there is room to be made.
    #[inline]
    pub(super) fn has_room(&self, width: u64, now: Instant) -> bool {
        !self.is_over(width, now) && !self.is_full()
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.at(0).calls == u16::MAX
    }

    fn slide(&mut self, sum: &mut Tally, width: u64, now: Instant) {
        if !self.is_over(width, now) {
            return;
        }
        // As many tenths as have begun since; more than there are change nothing. `width` is at least 1.
        let steps = (now.as_nanos() - self.began) / width.max(1);
        for _ in 0..steps.min(TENTHS as u64) {
            let next = self.current.saturating_add(1);
            self.current = if usize::from(next.get()) > TENTHS { NonZeroU8::MIN } else { next };
            let oldest = self.at_mut(0);
            sum.subtract(*oldest);
            *oldest = Tenth::default();
        }
        self.began += steps * width; // At most `now`.
    }

    #[inline]
    pub(super) fn note(&mut self, sum: &mut Tally, sample: Sample) {
        let tenth = self.at_mut(0);
        tenth.calls = tenth.calls.saturating_add(1);
        sum.calls += 1;
        // Most calls are neither, and what is not added need not be read and written.
        if sample.failed {
            tenth.failures += 1;
            sum.failures += 1;
        }
        if sample.slow {
            tenth.slow += 1;
            sum.slow += 1;
        }
    }

    /// The tenth before the current one by `age`, which is less than [`TENTHS`].
    #[inline]
    fn at(&self, age: usize) -> Tenth {
        self.tenths[self.place(age)]
    }

    #[inline]
    fn at_mut(&mut self, age: usize) -> &mut Tenth {
        &mut self.tenths[self.place(age)]
    }

    #[inline]
    fn place(&self, age: usize) -> usize {
        let current = usize::from(self.current.get()) - 1;
        if age <= current { current - age } else { current + TENTHS - age }
    }
}

impl Tenth {
    /// Makes room in a tenth that is full. Its rates stay, and are then of half as many calls.
    fn halve(&mut self, sum: &mut Tally) {
        sum.subtract(*self);
        *self = Self { calls: self.calls / 2, failures: self.failures / 2, slow: self.slow / 2 };
        sum.add(*self);
    }

    fn tally(self) -> Tally {
        let mut tally = Tally::default();
        tally.add(self);
        tally
    }

    /// As much of a tally as can be: no more failures than calls.
    fn of(tally: &Tally) -> Self {
        let [calls, failures, slow] =
            [tally.calls, tally.failures, tally.slow].map(|count| u16::try_from(count).unwrap_or(u16::MAX));
        Self { calls, failures: failures.min(calls), slow: slow.min(calls) }
    }
}
