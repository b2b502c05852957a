use crate::time::Instant;

use super::settings::Settings;
use super::window::{Sample, Sliding};
use super::{Reason, Tally};

/// What speaks for and against the dependency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub(super) consecutive_failures: u32,
    /// Of what the window holds.
    pub(super) sum: Tally,
    pub(super) window: Sliding,
}

impl Evidence {
    pub(super) const fn none(settings: &Settings) -> Self {
        Self { consecutive_failures: 0, sum: Tally::NONE, window: Sliding::new(settings.shape) }
    }

    /// Takes note of a call, and says why to open if that is what follows.
    ///
    /// Three ways that share what they do and not the registers that they need: the common one needs the fewest.
    pub(super) fn note(&mut self, settings: &Settings, now: Instant, sample: Sample) -> Option<Reason> {
        match &mut self.window {
            Sliding::Time(tenths) if tenths.has_room(settings.width, now) => {
                tenths.note(&mut self.sum, sample);
                self.judge(settings, sample)
            }
            Sliding::Time(_) => self.make_room_and_note(settings, now, sample),
            Sliding::Calls(_) => self.note_in_ring(settings, sample),
        }
    }

    #[cold]
    fn make_room_and_note(&mut self, settings: &Settings, now: Instant, sample: Sample) -> Option<Reason> {
        self.window.make_room(&mut self.sum, settings.width, now);
        self.note(settings, now, sample)
    }

    #[inline(never)]
    fn note_in_ring(&mut self, settings: &Settings, sample: Sample) -> Option<Reason> {
        if let Sliding::Calls(ring) = &mut self.window {
            ring.note(&mut self.sum, settings.width, sample);
        }
        self.judge(settings, sample)
    }

    #[inline]
    fn judge(&mut self, settings: &Settings, sample: Sample) -> Option<Reason> {
        if sample.failed {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
            if settings.failure_threshold.is_some_and(|threshold| self.consecutive_failures >= threshold.get()) {
                return Some(Reason::ConsecutiveFailures);
            }
        } else {
            self.consecutive_failures = 0;
        }
        let Tally { calls, failures, slow } = self.sum;
        if calls < settings.minimum_calls {
            return None;
        }
        // Compared by multiplication. A window holds less than a million calls, so that nothing overflows.
        if failures * 100 >= u32::from(settings.failure_rate) * calls {
            Some(Reason::FailureRate)
        } else if slow * 100 >= u32::from(settings.slow_call_rate) * calls {
            Some(Reason::SlowCallRate)
        } else {
            None
        }
    }
}
