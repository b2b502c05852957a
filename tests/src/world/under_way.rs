use steadfast_core::pipeline::{Attempt, Call, Hedged};
use steadfast_core::time::Instant;

use super::server::Answer;

/// A call that has not ended, and what else is known about it.
#[derive(Debug)]
pub(super) struct UnderWay<T> {
    pub(super) call: Call<T, Hedged>,
    pub(super) client: usize,
    pub(super) begun: Instant,
    pub(super) gives_up: Instant,
    pub(super) not_before: Instant,
    pub(super) attempts: [Option<Made>; LANES],
    /// The number of its entry in the agenda.
    pub(super) entry: u32,
}

/// How many attempts of a call may be under way at a time.
pub(super) const LANES: usize = 2;

/// An attempt under way, and how it will be answered if anybody listens until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) attempt: Attempt,
    pub(super) started: Instant,
    pub(super) answer: Answer,
}

impl<T> UnderWay<T> {
    /// The first attempt that is answered by now. One that is answered in the moment its time is over is answered.
    pub(super) fn take_answered(&mut self, now: Instant) -> Option<Made> {
        self.take(|made| made.answer.at <= now && made.answer.at <= made.attempt.until)
    }

    /// The first attempt whose time is over by now.
    pub(super) fn take_late(&mut self, now: Instant) -> Option<Made> {
        self.take(|made| made.attempt.until <= now)
    }

    fn take(&mut self, which: impl Fn(&Made) -> bool) -> Option<Made> {
        self.attempts.iter_mut().find(|lane| lane.as_ref().is_some_and(&which))?.take()
    }

    /// When the first answer comes, of those that are awaited.
    pub(super) fn next_answer(&self) -> Instant {
        let answers = self.attempts.iter().flatten().map(|made| made.answer.at);
        answers.min().unwrap_or(Instant::MAX)
    }
}
