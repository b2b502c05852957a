//! The settings in words.

use core::fmt;
use core::time::Duration;

use super::settings::{NEVER, Settings};
use super::{CircuitBreaker, DroppedCall, Mode, State};

/// The settings in words: "opens at 10 failures in a row or 50 % failures of 100 calls or more in 30s, …".
impl fmt::Display for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode() {
            Mode::Automatic => {}
            Mode::MetricsOnly => f.write_str("only watches; ")?,
            Mode::ForcedOpen => f.write_str("forced open; ")?,
            Mode::ForcedClosed => f.write_str("forced closed; ")?,
        }
        if self.settings.never_opens() {
            return f.write_str("never opens");
        }
        self.settings.opening(f)?;
        self.settings.closing(f)
    }
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::Open, Self::HalfOpen, Self::Recovering, Self::ForcedOpen, Self::ForcedClosed];

    /// Its name, for labels: in snake case, and the same in every version.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Recovering => "recovering",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
        }
    }
}

impl Mode {
    /// Its name, for labels: in snake case, and the same in every version.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::MetricsOnly => "metrics_only",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
        }
    }
}

impl Settings {
    const fn judges_rate(&self) -> bool {
        self.failure_rate != NEVER || self.slow_call_rate != NEVER
    }

    const fn never_opens(&self) -> bool {
        self.failure_threshold.is_none() && !self.judges_rate()
    }

    /// What opens it, and for how long.
    fn opening(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lead = "opens at ";
        if let Some(failures) = self.failure_threshold {
            write!(f, "{lead}{failures} failures in a row")?;
            lead = " or ";
        }
        if self.failure_rate != NEVER {
            write!(f, "{lead}{} % failures", self.failure_rate)?;
            lead = " or ";
        }
        if let Some(slow_at) = self.slow_at() {
            write!(f, "{lead}{} % slower than {slow_at:?}", self.slow_call_rate)?;
        }
        match self.window_of_time() {
            Some(time) => write!(f, " of {} calls or more in {time:?}", self.minimum_calls)?,
            None if self.judges_rate() => {
                write!(f, " of the last {} calls, {} or more", self.width, self.minimum_calls)?;
            }
            None => {}
        }
        write!(f, ", for {:?}", Duration::from_nanos(self.open_for))?;
        if self.open_factor > 1 {
            write!(f, " by {} up to {:?}", self.open_factor, Duration::from_nanos(self.open_cap))?;
        }
        write!(f, " and up to {} % longer", self.open_jitter)
    }

    /// What closes it.
    fn closing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lease = Duration::from_nanos(self.probe_lease);
        write!(f, "; probes: {} at once, lost after {lease:?}, {} to close it", self.probes, self.success_threshold)?;
        if self.recover_over > 0 {
            write!(f, " over {:?}", Duration::from_nanos(self.recover_over))?;
        }
        match self.dropped_call {
            DroppedCall::Neutral => Ok(()),
            DroppedCall::Failure => f.write_str("; a dropped call is a failure"),
        }
    }
}
