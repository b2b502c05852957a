use core::cmp;
use core::time::Duration;

use crate::time::{Instant, saturating_nanos};

/// How many slices a window is counted in.
const SLICES: usize = 10;

/// Two counts over the last so much time, the one a share of the other: requests and those accepted, successes and the
/// retries that they paid for.
///
/// Time is cut into slices a tenth of the window long, and the window is the slice that `now` is in and the nine before.
/// So whatever is counted leaves between nine tenths of the window and the whole of it later: never late.
///
/// ```text
///           ├──────────────── the window ───────────────┤
///   ──┬────┬────┬────┬────┬────┬────┬────┬────┬────┬────┬─▶
///   gone │oldest                              newest │ now
/// ```
///
/// After a clock steps back, what comes counts in the newest slice until time has caught up; but if it steps back by more
/// than the window, time goes on from there, and nothing stays for longer than another window.
#[derive(Debug)]
pub(super) struct Window {
    /// In nanoseconds; never zero.
    slice: u64,
    /// Which slice since the epoch the newest is.
    newest: u64,
    /// Where it is in `slices`; older ones lie before it, in a ring.
    head: usize,
    slices: [Tally; SLICES],
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    pub(super) whole: u32,
    pub(super) part: u32,
}

impl Window {
    /// An empty window of that length, which builders keep to a microsecond and more.
    pub(super) const fn new(length: Duration) -> Self {
        Self {
            slice: saturating_nanos(length) / SLICES as u64,
            newest: 0,
            head: 0,
            slices: [Tally { whole: 0, part: 0 }; SLICES],
        }
    }

    /// How long it is, but for what cutting it into slices took off: less than ten nanoseconds.
    pub(super) const fn length(&self) -> Duration {
        Duration::from_nanos(self.slice * SLICES as u64)
    }

    /// The slice of `now`, to count in.
    pub(super) fn now(&mut self, now: Instant) -> &mut Tally {
        self.advance(now);
        &mut self.slices[self.head]
    }

    /// When that is in the eyes of the window: `now`, or the beginning of the newest slice if the clock has stepped back
    /// before it. What is to be corrected later is remembered by this.
    pub(super) fn time_of(&mut self, now: Instant) -> Instant {
        self.advance(now);
        cmp::max(now, Instant::from_nanos(self.newest * self.slice))
    }

    /// The slice of `then`, to correct what was counted then; `None` if it has left.
    pub(super) fn then(&mut self, now: Instant, then: Instant) -> Option<&mut Tally> {
        self.advance(now);
        // What seems to come later was counted before the clock stepped far back, in what was the newest.
        let age = self.newest.saturating_sub(self.number(then));
        let age = usize::try_from(age).ok().filter(|age| *age < SLICES)?;
        Some(&mut self.slices[(self.head + SLICES - age) % SLICES])
    }

    /// The sums over the window.
    pub(super) fn sums(&mut self, now: Instant) -> (u64, u64) {
        self.advance(now);
        let add = |(whole, part), tally: &Tally| (whole + u64::from(tally.whole), part + u64::from(tally.part));
        self.slices.iter().fold((0, 0), add)
    }

    fn advance(&mut self, now: Instant) {
        // Most often it is the newest slice still, and a small processor takes long for the division.
        if now.as_nanos().wrapping_sub(self.newest * self.slice) < self.slice {
            return;
        }
        let number = self.number(now);
        if number > self.newest {
            for _ in 0..(number - self.newest).min(SLICES as u64) {
                self.head = (self.head + 1) % SLICES;
                self.slices[self.head] = Tally::default();
            }
        } else if self.newest - number <= SLICES as u64 {
            return;
        }
        self.newest = number;
    }

    const fn number(&self, now: Instant) -> u64 {
        now.as_nanos() / self.slice
    }
}
