use core::time::Duration;

use crate::outcome::{Outcome, OutcomeKind};
use crate::time::saturating_nanos;

/// How many attempts are remembered.
const REMEMBERED: usize = 8;

/// What became of the attempts of a call, in the order in which they ended: the latest 8, in fixed memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct History {
    latest: [Option<Short>; REMEMBERED],
    /// How many there were.
    ended: usize,
}

/// What became of one attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Past {
    /// Which; the first is 1.
    pub attempt: u32,
    /// How long it ran.
    pub took: Duration,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Whether it was cancelled because its time was over.
    pub timed_out: bool,
}

/// A past attempt in sixteen bytes: errors are moved about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Short {
    nanos: u64,
    attempt: u32,
    outcome: OutcomeKind,
    timed_out: bool,
}

impl History {
    pub(super) const fn new() -> Self {
        Self { latest: [None; REMEMBERED], ended: 0 }
    }

    pub(super) fn push(&mut self, attempt: u32, took: Duration, outcome: Outcome) {
        let (outcome, timed_out) = (outcome.kind(), outcome.is_timeout());
        self.latest[self.ended % REMEMBERED] =
            Some(Short { nanos: saturating_nanos(took), attempt, outcome, timed_out });
        self.ended = self.ended.wrapping_add(1);
    }

    /// The attempts, the oldest that is remembered first.
    pub fn iter(&self) -> impl Iterator<Item = Past> + '_ {
        let (newer, older) = self.latest.split_at(self.ended % REMEMBERED);
        older.iter().chain(newer).flatten().map(|&Short { nanos, attempt, outcome, timed_out }| Past {
            attempt,
            took: Duration::from_nanos(nanos),
            outcome,
            timed_out,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_in_their_order() {
        for ended in [0, 1, 7, 8, 9, 20] {
            let mut history = History::new();
            (1..=ended).for_each(|attempt| history.push(attempt, Duration::ZERO, Outcome::timed_out()));
            let first = ended.saturating_sub(8) + 1;
            assert!(history.iter().map(|past| past.attempt).eq(first..=ended), "{ended}");
            assert!(history.iter().all(|past| past.timed_out && past.outcome == OutcomeKind::Transient));
        }
    }
}
