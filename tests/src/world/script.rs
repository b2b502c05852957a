use std::time::Duration;

use steadfast_core::time::Instant;

/// What is wrong with the server for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// It is down: connections are refused at once, those that stood break.
    Refuses,
    /// It is down and nobody can tell: connections are accepted, and no answer ever comes.
    Hangs,
    /// It fails so many percent of what it serves, each with its full service time.
    Fails {
        /// 0 to 100.
        percent: u8,
    },
    /// Everything that it begins takes so many times as long.
    Slow {
        /// At least 1.
        times: u32,
    },
    /// It serves so many attempts in each second of its clock, and sends the others away with 429 and a `Retry-After`.
    Throttles {
        /// How many.
        per_second: u32,
        /// What the others are told.
        retry_after: Duration,
    },
    /// It has come back with its caches empty: at first it does so many percent of its work per time, and at the end of
    /// the phase all of it; in between it grows steadily.
    Cold {
        /// 1 to 100.
        percent: u8,
    },
}

impl Condition {
    /// Whether nothing is served.
    pub(super) fn is_outage(self) -> bool {
        match self {
            Self::Refuses | Self::Hangs => true,
            Self::Fails { .. } | Self::Slow { .. } | Self::Throttles { .. } | Self::Cold { .. } => false,
        }
    }
}

/// A condition and when it holds: from `from`, and before `until`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Phase {
    pub(super) from: Instant,
    pub(super) until: Instant,
    pub(super) condition: Condition,
}

impl Phase {
    /// How long work takes that is begun at `begin` in this phase, and took `time` on a good day.
    pub(super) fn stretched(&self, begin: Instant, time: Duration) -> Duration {
        match self.condition {
            Condition::Slow { times } => time.saturating_mul(times.max(1)),
            Condition::Cold { percent } => {
                let (passed, whole) = ((begin - self.from).as_secs_f64(), (self.until - self.from).as_secs_f64());
                let at_first = f64::from(percent.clamp(1, 100)) / 100.0;
                time.div_f64(at_first + (1.0 - at_first) * passed / whole)
            }
            Condition::Refuses | Condition::Hangs | Condition::Fails { .. } | Condition::Throttles { .. } => time,
        }
    }
}

/// What is wrong when. Of phases that overlap, the one that was added last holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Script(Vec<Phase>);

impl Script {
    pub(super) fn add(&mut self, phase: Phase) {
        self.0.push(phase);
    }

    /// The phase that holds at `now`.
    pub(super) fn at(&self, now: Instant) -> Option<&Phase> {
        self.0.iter().rev().find(|phase| phase.from <= now && now < phase.until)
    }

    /// The first outage that begins later than `from` and before `until`.
    pub(super) fn outage_within(&self, from: Instant, until: Instant) -> Option<&Phase> {
        let begins = |phase: &&Phase| phase.condition.is_outage() && from < phase.from && phase.from < until;
        self.0.iter().filter(begins).min_by_key(|phase| phase.from)
    }

    /// From when to when the server was down, from the first outage to the end of the last.
    pub(super) fn outage(&self) -> Option<(Instant, Instant)> {
        let outages = || self.0.iter().filter(|phase| phase.condition.is_outage());
        Some((outages().map(|phase| phase.from).min()?, outages().map(|phase| phase.until).max()?))
    }

    /// When the last phase ends.
    pub(super) fn end(&self) -> Instant {
        self.0.iter().map(|phase| phase.until).max().unwrap_or_default()
    }
}
