//! The most that happened in any one second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Finds the largest number of events that any window of one second held, wherever the window starts.
///
/// It is exact, and holds no more than the events of the last second: a window can only become the fullest at the
/// moment an event enters it.
#[derive(Clone, Debug, Default)]
pub struct PeakPerSecond {
    last_second: VecDeque<Instant>,
    peak: usize,
}

impl PeakPerSecond {
    /// Notes an event at `now`. Events come in the order of their time.
    pub fn record(&mut self, now: Instant) {
        // Two events exactly one second apart are one per second, so they share no window.
        while self.last_second.front().is_some_and(|&first| now.duration_since(first) >= SECOND) {
            self.last_second.pop_front();
        }
        self.last_second.push_back(now);
        self.peak = self.peak.max(self.last_second.len());
    }

    /// The fullest window so far.
    pub fn peak(&self) -> usize {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, PeakPerSecond};

    #[test]
    fn peak_is_that_of_the_fullest_window_wherever_it_starts() {
        for (at_millis, want) in [
            (&[][..], 0),
            (&[0], 1),
            (&[0, 0, 0], 3),
            (&[0, 999], 2),
            (&[0, 1000], 1),
            (&[0, 1000, 1999], 2),
            (&[0, 900, 950, 1100, 1899, 5000], 4),
        ] {
            let start = Instant::now();
            let mut peak = PeakPerSecond::default();
            for &millis in at_millis {
                peak.record(start + Duration::from_millis(millis));
            }
            assert_eq!(peak.peak(), want, "{at_millis:?}");
        }
    }
}
