use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use steadfast_core::outcome::Outcome;
use steadfast_core::time::Instant;

use super::arrivals::exponential;
use super::script::{Condition, Script};

/// How many attempts a server answers at a time, how long each takes, and how many wait their turn.
///
/// Work is done in the order of arrival. A server does not learn that a client gave up: it serves what it accepted,
/// and if nobody listens any more, the work is wasted. That is what turns an overload into one that stays
/// (N. Bronson and others, *Metastable Failures in Distributed Systems*, 2021).
///
/// | Setting | Default | Why |
/// | --- | --- | --- |
/// | slots | no bound | whoever tests a policy does not want to test a queue |
/// | service | 1 ms | time passes, and not much |
/// | queue | no bound | a bound is a policy of the server's |
/// | latency | none | it moves every answer by the same time |
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    slots: Option<usize>,
    queue: usize,
    service: Service,
    latency: Duration,
    script: Vec<ScriptedAnswer>,
}

/// How long an attempt takes once it is served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// Always so long.
    Constant(Duration),
    /// Exponentially distributed, with this mean.
    Exponential(Duration),
}

/// What a server says to one attempt: after so long, this.
pub type ScriptedAnswer = (Duration, Outcome);

impl Server {
    /// One that never tires: whatever arrives is served at once.
    pub fn tireless() -> Self {
        Self {
            slots: None,
            queue: usize::MAX,
            service: Service::Constant(Duration::from_millis(1)),
            latency: Duration::ZERO,
            script: Vec::new(),
        }
    }

    /// One that serves so many attempts at a time, at least one. The rest wait.
    pub fn with_slots(slots: usize) -> Self {
        Self { slots: Some(slots.max(1)), ..Self::tireless() }
    }

    /// One that gives these answers to the attempts in the order of their arrival, and from the first again when it is
    /// through. It has no queue; phases of trouble hold for it too. For tests of policies.
    pub fn scripted(answers: impl Into<Vec<ScriptedAnswer>>) -> Self {
        Self { script: answers.into(), ..Self::tireless() }
    }

    /// The same server, with another time for each attempt.
    pub fn service(self, service: Service) -> Self {
        Self { service, ..self }
    }

    /// The same server, where so many attempts wait at most; it turns others away at once, unread.
    pub fn queue(self, attempts: usize) -> Self {
        Self { queue: attempts, ..self }
    }

    /// The same server, so far away: added to every answer.
    pub fn latency(self, round_trip: Duration) -> Self {
        Self { latency: round_trip, ..self }
    }
}

/// What becomes of an attempt at the server, whether or not its caller still listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Served,
    Failed,
    Refused,
    TurnedAway,
    Throttled,
    Lost,
}

/// What the server says to an attempt, and when it arrives at the caller: [`Instant::MAX`] for never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) at: Instant,
    pub(super) outcome: Outcome,
    pub(super) fate: Fate,
}

/// A server at work.
///
/// Since nothing that it accepted is ever taken back, and the script is known, everything about an attempt is known
/// when it arrives: so an attempt is one event and not three.
#[derive(Debug)]
pub(super) struct Shift<'w> {
    server: &'w Server,
    script: &'w Script,
    dice: Rng,
    /// When each slot is free.
    free_at: BinaryHeap<Reverse<Instant>>,
    /// When each attempt that was queued is begun, as far as that is still to come; in ascending order.
    begins: VecDeque<Instant>,
    /// The second for which throttled attempts are counted, and how many it has seen.
    throttle: (u64, u32),
    scripted: usize,
}

impl<'w> Shift<'w> {
    pub(super) fn new(server: &'w Server, script: &'w Script, dice: Rng) -> Self {
        let free_at = (0..server.slots.unwrap_or_default()).map(|_| Reverse(Instant::EPOCH)).collect();
        Self { server, script, dice, free_at, begins: VecDeque::new(), throttle: (0, 0), scripted: 0 }
    }

    /// An attempt arrives. Attempts come in the order of their time.
    pub(super) fn offer(&mut self, now: Instant) -> Answer {
        let soon = now + self.server.latency;
        let phase = self.script.at(now);
        match phase.map(|phase| phase.condition) {
            Some(Condition::Refuses) => {
                return Answer { at: soon, outcome: Outcome::transient().not_processed(), fate: Fate::Refused };
            }
            Some(Condition::Hangs) => return lost(Instant::MAX),
            Some(Condition::Throttles { per_second, retry_after }) if self.is_over(now, per_second) => {
                let outcome = Outcome::throttled().with_retry_after(retry_after);
                return Answer { at: soon, outcome, fate: Fate::Throttled };
            }
            Some(
                Condition::Throttles { .. } | Condition::Fails { .. } | Condition::Slow { .. } | Condition::Cold { .. },
            )
            | None => {}
        }
        let fails = match phase.map(|phase| phase.condition) {
            Some(Condition::Fails { percent }) => self.dice.u8(..100) < percent,
            _ => false,
        };
        let Some((end, outcome)) = self.accept(now) else {
            return Answer { at: soon, outcome: Outcome::transient(), fate: Fate::TurnedAway };
        };
        // An outage takes with it whatever is queued or being served when it begins.
        let outage = self.script.outage_within(now, end);
        self.occupy(outage.map_or(end, |outage| outage.from));
        let answer = match (outage.map(|outage| (outage.condition, outage.from)), outcome.is_success() && !fails) {
            (Some((Condition::Refuses, from)), _) => lost(from),
            (Some(_), _) => lost(Instant::MAX),
            (None, true) => Answer { at: end, outcome, fate: Fate::Served },
            (None, false) if fails => Answer { at: end, outcome: Outcome::transient(), fate: Fate::Failed },
            (None, false) => Answer { at: end, outcome, fate: Fate::Failed },
        };
        Answer { at: answer.at + self.server.latency, ..answer }
    }

    /// When the attempt that arrives now is done with, and how; `None` if the queue is full.
    fn accept(&mut self, now: Instant) -> Option<(Instant, Outcome)> {
        if let Some(&(takes, outcome)) = self.server.script.get(self.scripted) {
            self.scripted = (self.scripted + 1) % self.server.script.len();
            return Some((now + takes, outcome));
        }
        let begin = self.stand_in_line(now)?;
        Some((begin + self.service_time(begin), Outcome::success()))
    }

    /// Whether this second has had its number of attempts. Counted by the seconds of the server's clock, as most do.
    fn is_over(&mut self, now: Instant, per_second: u32) -> bool {
        let second = now.as_nanos() / 1_000_000_000;
        if self.throttle.0 != second {
            self.throttle = (second, 0);
        }
        self.throttle.1 = self.throttle.1.saturating_add(1);
        self.throttle.1 > per_second
    }

    /// When the attempt that arrives now is begun; `None` if the queue is full.
    fn stand_in_line(&mut self, now: Instant) -> Option<Instant> {
        let begin = self.free_at.peek().map_or(now, |Reverse(free_at)| now.max(*free_at));
        if begin > now {
            while self.begins.front().is_some_and(|begin| *begin <= now) {
                self.begins.pop_front();
            }
            if self.begins.len() >= self.server.queue {
                return None;
            }
            self.begins.push_back(begin);
        }
        Some(begin)
    }

    /// Keeps the slot that is free first until `end`.
    fn occupy(&mut self, end: Instant) {
        if let Some(mut first) = self.free_at.peek_mut() {
            first.0 = end;
        }
    }

    /// How long an attempt takes that is begun at `begin`.
    fn service_time(&mut self, begin: Instant) -> Duration {
        let time = match self.server.service {
            Service::Constant(time) => time,
            Service::Exponential(mean) => exponential(mean, &mut self.dice),
        };
        self.script.at(begin).map_or(time, |phase| phase.stretched(begin, time))
    }
}

/// An attempt that was accepted, and whose server then went down: its connection breaks at `at`, or never.
fn lost(at: Instant) -> Answer {
    Answer { at, outcome: Outcome::transient(), fate: Fate::Lost }
}
