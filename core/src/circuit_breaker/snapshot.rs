use core::fmt;
use core::time::Duration;

use crate::time::{Instant, saturating_nanos};

use super::evidence::Evidence;
use super::machine::Phase;
use super::probes::Probes;
use super::ramp::Ramp;
use super::settings::Settings;
use super::window::{Sliding, TENTHS};
use super::{CircuitBreaker, Mode, Reason, State, Tally, after};

/// What a breaker knows, for an operator to read, or to be put away and
/// [restored](super::CircuitBreakerBuilder::restore), on another clock if need be: all times are relative.
///
/// Printed, it is one line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Snapshot {
    /// Whether it judges and refuses.
    pub mode: Mode,
    /// What it does with callers, or in [`Mode::MetricsOnly`] would do.
    pub state: State,
    /// Why it is open; `None` in any other state.
    pub reason: Option<Reason>,
    /// For how long it will still be open, or recovering; zero in any other state, and where that time has passed and
    /// nobody has asked since.
    pub remaining: Duration,
    /// How often it opened without having closed in between.
    pub openings: u16,
    /// How many calls in a row failed. Counted while closed or recovering; zero in any other state.
    pub consecutive_failures: u32,
    /// What the window holds in sum. It is kept while closed or recovering, and empty in any other state.
    pub window: Tally,
    /// What the window holds, each by itself.
    pub samples: Samples,
    /// How many probes are out, while half-open.
    pub probes_out: u32,
    /// How many probes have succeeded, while half-open.
    pub successes: u32,
    /// Counts states and probes; permits of this epoch or an earlier one are late for whatever is restored.
    pub epoch: u32,
}

/// What a window holds, each by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Samples {
    /// The latest calls: a bit for each, the lowest for the newest.
    Calls {
        /// How many there are, up to 128.
        calls: u32,
        /// Which failed.
        failed: u128,
        /// Which were slow.
        slow: u128,
    },
    /// The calls of each tenth of the window's time, the newest first.
    Time {
        /// What ended in each.
        tenths: [Tally; TENTHS],
        /// How long ago the newest tenth began.
        newest_began: Duration,
    },
}

impl CircuitBreaker {
    /// What it knows at `now`, to be read or to be [restored](super::CircuitBreakerBuilder::restore).
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let mut evidence = Evidence::none(&self.settings);
        let (mut reason, mut remaining, mut probes_out, mut successes) = (None, Duration::ZERO, 0, 0);
        match self.phase {
            Phase::Closed(known) => evidence = known,
            Phase::Open { until, reason: opened_by } => (reason, remaining) = (Some(opened_by), until - now),
            Phase::HalfOpen { probes, successes: so_far } => (probes_out, successes) = (probes.out(now), so_far),
            Phase::Recovering { evidence: known, ramp } => {
                (evidence, remaining) = (known, ramp.end(self.settings.recover_over) - now);
            }
            Phase::ForcedOpen | Phase::ForcedClosed => {}
        }
        let Evidence { consecutive_failures, mut sum, mut window } = evidence;
        window.slide(&mut sum, self.settings.width, now);
        Snapshot {
            mode: self.mode(),
            state: self.state(),
            reason,
            remaining,
            openings: self.openings,
            consecutive_failures,
            window: sum,
            samples: window.samples(&sum, self.settings.width, now),
            probes_out,
            successes,
            epoch: self.epoch,
        }
    }

    pub(super) fn restored(mut self, now: Instant, snapshot: &Snapshot) -> Self {
        let Snapshot { mode, state, reason, remaining, openings, consecutive_failures, samples, .. } = *snapshot;
        let Settings { shape, width, recover_over, .. } = self.settings;
        let (window, sum) = Sliding::restore(shape, width, now, &samples);
        let evidence = Evidence { consecutive_failures, sum, window };
        let remaining = saturating_nanos(remaining);
        self.phase = match state {
            State::Recovering if recover_over > 0 => {
                let passed = recover_over.saturating_sub(remaining);
                let since = Instant::from_nanos(now.as_nanos().saturating_sub(passed));
                Phase::Recovering { evidence, ramp: Ramp::begin(since) }
            }
            State::Closed | State::Recovering => Phase::Closed(evidence),
            State::Open => {
                let until = after(now, remaining.min(self.settings.longest_open_time()));
                Phase::Open { until, reason: reason.unwrap_or(Reason::ConsecutiveFailures) }
            }
            State::HalfOpen => Phase::HalfOpen { probes: Probes::NONE, successes: snapshot.successes },
            State::ForcedOpen => Phase::ForcedOpen,
            State::ForcedClosed => Phase::ForcedClosed,
        };
        self.metrics_only = mode == Mode::MetricsOnly;
        self.openings = openings;
        self.epoch = snapshot.epoch.wrapping_add(1);
        self
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::Recovering => "recovering",
            Self::ForcedOpen => "forced open",
            Self::ForcedClosed => "forced closed",
        })
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, window, .. } = self;
        if self.mode == Mode::MetricsOnly {
            f.write_str("metrics only: would be ")?;
        }
        write!(f, "{state}")?;
        match state {
            State::Closed | State::ForcedOpen | State::ForcedClosed => {}
            State::Open | State::Recovering => write!(f, " for another {:?}", self.remaining)?,
            State::HalfOpen => write!(f, "; probes out: {}, succeeded: {}", self.probes_out, self.successes)?,
        }
        if let Some(reason) = self.reason {
            write!(f, ", since {reason}")?;
        }
        match state {
            State::Closed | State::Recovering => write!(
                f,
                "; calls: {}, failed: {} ({} %), slow: {} ({} %), failed in a row: {}",
                window.calls,
                window.failures,
                window.failure_rate(),
                window.slow,
                window.slow_call_rate(),
                self.consecutive_failures,
            ),
            State::Open | State::HalfOpen | State::ForcedOpen | State::ForcedClosed => Ok(()),
        }
    }
}
