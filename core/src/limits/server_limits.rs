use core::cmp;
use core::time::Duration;

use super::{Counts, Missing};
use crate::outcome::OutcomeKind;
use crate::settings::{InvalidSetting, positive};
use crate::time::Instant;

mod in_flight;
#[cfg(test)]
mod tests;
mod told;

use in_flight::{InFlight, Uses};
pub use told::{Remaining, Told};

/// How many limits of one server are kept in mind.
const MOST: usize = 8;

/// Resets that are no further apart are taken for the same.
const SAME_RESET: Duration = Duration::from_secs(1);

/// Keeps to the limits that a server tells of in its responses, before it has to refuse anybody.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::limits::{Counts, Missing, Remaining, ServerLimits, Told};
/// use steadfast_core::outcome::OutcomeKind;
/// use steadfast_core::time::Instant;
///
/// let mut limits = ServerLimits::new();
/// let now = Instant::EPOCH;
/// let first = limits.try_acquire(now, 1).expect("nothing is known yet");
/// let _second = limits.try_acquire(now, 1).expect("nothing is known yet");
///
/// // The answer to the first: two are left for the next 30 s. The second may or may not be counted in that.
/// let told = Remaining { which: 0, counts: Counts::Calls, left: 2, reset_in: Duration::from_secs(30) };
/// limits.tell(now, &first, &Told::from_iter([told]));
/// limits.finish(first, OutcomeKind::Success);
///
/// assert!(limits.try_acquire(now, 1).is_ok());
/// assert_eq!(limits.try_acquire(now, 1).unwrap_err(), Missing::Tokens(now + Duration::from_secs(30)));
/// ```
///
/// It holds back callers and promises them nothing: it stands beside the limits of one's own, never in their place.
///
/// # Defaults
///
/// | Setting | Default | Range | Why |
/// | --- | --- | --- | --- |
/// | `longest_hold` | 24 h | more than zero | one response, mistaken or hostile, must not stop everybody for a year; a quota of a day still fits |
///
/// # What is left
///
/// A server's number knows only of what the server had seen when it answered, and answers overtake each other. So of
/// what it says is left, everything is taken off that it may not have counted: whatever was sent and was not answered
/// yet when the request set out that this is the answer to. That is a sum of two counters, and needs no list.
///
/// What was sent and given up, or brought no answer, may still arrive. It counts as under way until the next answer that
/// tells something, and for a minute or two at most.
///
/// From then on each attempt that is admitted takes off what it uses, and that account is right as long as nobody else
/// uses the limit: no answer can say less. So an answer that does tells of somebody else, and counts, less what was under
/// way. One that says more counts if its request set out when what is known was known already, or if it names a later
/// reset, so that it is of a later window; an answer that was overtaken brings nothing back.
///
/// Resets that are no further apart than a second are taken for the same one, and the later counts: most servers round to
/// whole seconds.
///
/// # States of one limit
///
/// ```text
/// unknown ── a response tells of it ──▶ Told ── its reset is over ──▶ Over
///                                       ▲  │                          │ │
///              a response tells of it ──┘◀─┴───── the same ───────────┘ │
/// unknown ◀── an attempt that began since is answered, without a word ──┘
/// ```
///
/// - **Told**: as many are admitted as are left, and then nobody before the reset.
/// - **Over**: what the reset has brought nobody knows. As many are admitted as were left, and beyond those one at a
///   time, whose answer will say. A server that gives back all of its quota at once is asked once in a window for it; one
///   that gives it back bit by bit is never overrun.
///
/// Eight limits are kept in mind. A ninth takes the place of one whose reset is over, or else of one that holds nobody
/// back, or else of the one that does so for the shortest time.
///
/// Invariants, each the name of a test:
/// - *never more than is left*: of a limit that was told, no more are admitted before its reset than were left, less what
///   was under way.
/// - *never early*: once nothing is left, nobody is admitted before the reset, or the longest hold.
/// - *never stuck*: after the reset somebody is admitted, whatever became of all that was under way.
///
/// # When not to use it
///
/// For limits that cover only some of the calls: nothing here knows which. Give such calls limits of their own.
#[derive(Debug)]
pub struct ServerLimits {
    longest_hold: Duration,
    in_flight: InFlight,
    /// Counts what was learned, so that of two answers the one is known to be newer whose request knew the other.
    lessons: u64,
    known: [Option<Known>; MOST],
}

/// What is known of one limit.
#[derive(Clone, Copy, Debug)]
struct Known {
    which: u32,
    counts: Counts,
    /// How many may still go, as far as is known. Below zero, more are under way than were left.
    left: i64,
    stage: Stage,
    /// The number of the lesson.
    lesson: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Told { until: Instant },
    Over,
}

/// What is known of a limit by one response alone.
#[derive(Clone, Copy, Debug)]
struct Lesson {
    known: Known,
    /// How many are left, in the server's own words.
    said: i64,
}

/// An attempt that may be sent. Hand it back with [`ServerLimits::finish`], [`ServerLimits::abandon`] or, if it was not
/// sent, [`ServerLimits::give_back`].
#[derive(Debug)]
#[must_use = "unless it is handed back, it counts as under way for a minute or two"]
pub struct Sent {
    uses: Uses,
    /// What had been answered when it set out.
    ended: Uses,
    lessons: u64,
    generation: u32,
}

fn signed(uses: u64) -> i64 {
    i64::try_from(uses).unwrap_or(i64::MAX)
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerLimits {
    /// 24 hours.
    pub const LONGEST_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

    /// After twice this time at most, an attempt that was never handed back is forgotten. One that takes longer is taken
    /// for counted by the server.
    pub const LEASE: Duration = Duration::from_secs(60);

    /// Nothing is known yet, and everybody is admitted.
    pub const fn new() -> Self {
        let in_flight = InFlight::new(Self::LEASE);
        Self { longest_hold: Self::LONGEST_HOLD, in_flight, lessons: 0, known: [None; MOST] }
    }

    /// The same, believing no reset that is further away than `time`: after that, one attempt at a time asks again.
    ///
    /// # Errors
    /// If it is zero.
    pub const fn with_longest_hold(self, time: Duration) -> Result<Self, InvalidSetting> {
        match positive("longest_hold", time) {
            Ok(()) => Ok(Self { longest_hold: time, ..self }),
            Err(error) => Err(error),
        }
    }

    /// Whether an attempt that weighs so much would be admitted.
    ///
    /// # Errors
    /// With what is missing: [`Missing::Tokens`] until a reset, [`Missing::Slot`] until an attempt under way has ended.
    #[inline]
    pub fn check(&mut self, now: Instant, weight: u32) -> Result<(), Missing> {
        if self.lessons == 0 {
            return Ok(());
        }
        self.look(now, weight)
    }

    fn look(&mut self, now: Instant, weight: u32) -> Result<(), Missing> {
        self.pass(now);
        let mut held_until = None;
        let mut asks_already = false;
        for known in self.known.iter().flatten() {
            if signed(Uses::of(weight).that(known.counts)) <= known.left {
                continue;
            }
            match known.stage {
                Stage::Told { until } => held_until = cmp::max(held_until, Some(until)),
                Stage::Over => asks_already |= self.in_flight.is_any_flying(),
            }
        }
        match held_until {
            Some(until) => Err(Missing::Tokens(until)),
            None if asks_already => Err(Missing::Slot(self.in_flight.over_at_latest())),
            None => Ok(()),
        }
    }

    /// Counts an attempt that weighs so much as sent, whether it is [admitted](Self::check) or not.
    #[inline]
    pub fn take(&mut self, now: Instant, weight: u32) -> Sent {
        let uses = Uses::of(weight);
        let generation = self.in_flight.start(now, uses);
        if self.lessons > 0 {
            for known in self.known.iter_mut().flatten() {
                known.left = known.left.saturating_sub(signed(uses.that(known.counts)));
            }
        }
        Sent { uses, ended: self.in_flight.ended(), lessons: self.lessons, generation }
    }

    /// Admits an attempt that weighs so much, or says what is missing.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn try_acquire(&mut self, now: Instant, weight: u32) -> Result<Sent, Missing> {
        self.check(now, weight)?;
        Ok(self.take(now, weight))
    }

    /// Tells what the response to an attempt said that is still to be handed back.
    ///
    /// Returns until when everybody is held back, if nobody was before.
    pub fn tell(&mut self, now: Instant, sent: &Sent, told: &Told) -> Option<Instant> {
        if told.is_nothing() {
            return None;
        }
        self.pass(now);
        let held_before = self.held_until();
        let uncounted = self.in_flight.since(sent.ended).less(sent.uses);
        self.lessons = self.lessons.saturating_add(1);
        for remaining in told.iter() {
            let until = now + cmp::min(remaining.reset_in, self.longest_hold);
            let said = i64::from(remaining.left);
            let known = Known {
                which: remaining.which,
                counts: remaining.counts,
                left: said.saturating_sub(signed(uncounted.that(remaining.counts))),
                stage: Stage::Told { until },
                lesson: self.lessons,
            };
            self.learn(sent.lessons, Lesson { known, said });
        }
        self.in_flight.forget_lost();
        if held_before.is_none() { self.held_until() } else { None }
    }

    /// Brings what was told together with what is known, by the lessons that the request knew when it set out.
    fn learn(&mut self, knew: u64, told: Lesson) {
        let place = self.place_of(told.known.which);
        *place = Some(match *place {
            Some(known) if known.which == told.known.which => known.and(told, knew),
            _ => told.known,
        });
    }

    /// Where a limit is kept, or is to be.
    fn place_of(&mut self, which: u32) -> &mut Option<Known> {
        let rank = |known: &Option<Known>| match known {
            Some(Known { which: known, .. }) if *known == which => (0, Instant::EPOCH),
            None => (1, Instant::EPOCH),
            Some(Known { stage: Stage::Over, .. }) => (2, Instant::EPOCH),
            Some(Known { stage: Stage::Told { until }, left, .. }) => (if *left > 0 { 3 } else { 4 }, *until),
        };
        let [first, others @ ..] = &mut self.known;
        others.iter_mut().fold(first, |best, other| if rank(other) < rank(best) { other } else { best })
    }

    /// Tells how the attempt ended, after what its response [told](Self::tell), if it did.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: an attempt ends once.
    pub fn finish(&mut self, sent: Sent, outcome: OutcomeKind) {
        match outcome {
            OutcomeKind::Success | OutcomeKind::Permanent => {
                self.in_flight.end(sent.generation, sent.uses);
                // It was sent since the reset, it was answered, and the limit was not spoken of.
                let is_silent = |known: &Known| known.stage == Stage::Over && known.lesson <= sent.lessons;
                self.known.iter_mut().for_each(|known| *known = known.filter(|known| !is_silent(known)));
            }
            OutcomeKind::Throttled => self.in_flight.end(sent.generation, sent.uses),
            // No answer, or a broken one: it may still arrive.
            OutcomeKind::Transient => self.in_flight.lose(sent.generation, sent.uses),
        }
    }

    /// Tells that the attempt was given up after it was sent.
    #[allow(clippy::needless_pass_by_value)] // As above.
    pub fn abandon(&mut self, sent: Sent) {
        self.in_flight.lose(sent.generation, sent.uses);
    }

    /// Takes back an attempt that was not sent.
    #[allow(clippy::needless_pass_by_value)] // As above.
    pub fn give_back(&mut self, sent: Sent) {
        if self.in_flight.take_back(sent.generation, sent.uses) {
            for known in self.known.iter_mut().flatten() {
                known.left = known.left.saturating_add(signed(sent.uses.that(known.counts)));
            }
        }
    }

    /// Until when nobody is admitted, if a limit is spent whose reset was still to come when it was last asked.
    pub fn held_until(&self) -> Option<Instant> {
        let held = self.known.iter().flatten().filter(|known| known.left <= 0);
        let resets = held.filter_map(|known| match known.stage {
            Stage::Told { until } => Some(until),
            Stage::Over => None,
        });
        resets.max()
    }

    /// When the last reset is over of which a server has told: from then on, nothing that is known holds anybody back who comes
    /// first.
    pub fn at_rest_at(&self, now: Instant) -> Instant {
        let resets = self.known.iter().flatten().filter_map(|known| match known.stage {
            Stage::Told { until } => Some(until),
            Stage::Over => None,
        });
        resets.max().unwrap_or(now)
    }

    /// Whether any limit is kept in mind.
    pub fn knows_any(&self) -> bool {
        self.known.iter().any(Option::is_some)
    }

    /// Forgets all that was told, so that everybody is admitted until something is told again.
    pub fn forget(&mut self) {
        self.known = [None; MOST];
    }

    /// Lets time pass: resets, and leases of what was lost.
    fn pass(&mut self, now: Instant) {
        self.in_flight.advance(now);
        for known in self.known.iter_mut().flatten() {
            if let Stage::Told { until } = &mut known.stage {
                // Whatever the clock does, nobody is held for longer.
                *until = cmp::min(*until, now + self.longest_hold);
                if *until <= now {
                    self.lessons = self.lessons.saturating_add(1);
                    (known.stage, known.lesson) = (Stage::Over, self.lessons);
                }
            }
        }
    }
}

impl Known {
    /// What is known once this was told too, in answer to a request that knew so many lessons.
    fn and(self, told: Lesson, knew: u64) -> Self {
        let Lesson { known: told, said } = told;
        let (mut is_newer, mut stage) = (knew >= self.lesson, told.stage);
        if let (Stage::Told { until: known_until }, Stage::Told { until }) = (self.stage, told.stage) {
            if !is_newer && until + SAME_RESET < known_until {
                return self;
            }
            is_newer |= until > known_until + SAME_RESET;
            if !is_newer {
                stage = Stage::Told { until: cmp::max(until, known_until) };
            }
        } else {
            is_newer = true;
        }
        if said < self.left || is_newer && told.left > self.left {
            return Self { stage, ..told };
        }
        Self { stage, ..self }
    }
}
