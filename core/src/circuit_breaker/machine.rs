use core::time::Duration;

use crate::outcome::OutcomeKind;
use crate::time::Instant;

use super::answer::Leave;
use super::evidence::Evidence;
use super::probes::Probes;
use super::ramp::Ramp;
use super::settings::Settings;
use super::window::Sample;
use super::{CircuitBreakerBuilder, DroppedCall, Mode, Permit, Reason, Recorded, Refusal, State, after};

/// Refuses calls to a dependency that keeps failing. See the [module](super) for states and defaults.
#[derive(Debug)]
pub struct CircuitBreaker {
    pub(super) settings: Settings,
    pub(super) phase: Phase,
    /// Changes with every change of phase and every probe, so that late results are recognised.
    pub(super) epoch: u32,
    /// What the latest result brought of entropy, for a dropped call brings none.
    pub(super) dice: u32,
    /// How often it opened without having closed in between.
    pub(super) openings: u16,
    pub(super) metrics_only: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Closed(Evidence),
    Open { until: Instant, reason: Reason },
    HalfOpen { probes: Probes, successes: u32 },
    Recovering { evidence: Evidence, ramp: Ramp },
    ForcedOpen,
    ForcedClosed,
}

impl CircuitBreaker {
    /// A breaker with the defaults of the [module](super), to be changed.
    pub const fn builder() -> CircuitBreakerBuilder {
        CircuitBreakerBuilder::DEFAULT
    }

    pub(super) const fn with_settings(settings: Settings, mode: Mode) -> Self {
        let (phase, metrics_only) = match mode {
            Mode::Automatic => (Phase::Closed(Evidence::none(&settings)), false),
            Mode::MetricsOnly => (Phase::Closed(Evidence::none(&settings)), true),
            Mode::ForcedOpen => (Phase::ForcedOpen, false),
            Mode::ForcedClosed => (Phase::ForcedClosed, false),
        };
        Self { settings, phase, epoch: 0, dice: 0, openings: 0, metrics_only }
    }

    /// What it does with callers, or in [`Mode::MetricsOnly`] would do. An open breaker becomes half-open, and a recovering
    /// one closed, when somebody asks after its time.
    pub const fn state(&self) -> State {
        self.phase.state()
    }

    /// Whether it judges, and whether it refuses.
    pub const fn mode(&self) -> Mode {
        match self.phase {
            Phase::ForcedOpen => Mode::ForcedOpen,
            Phase::ForcedClosed => Mode::ForcedClosed,
            Phase::Closed(_) | Phase::Open { .. } | Phase::HalfOpen { .. } | Phase::Recovering { .. } => {
                if self.metrics_only { Mode::MetricsOnly } else { Mode::Automatic }
            }
        }
    }

    /// Has it judge and refuse as `mode` says from now on.
    ///
    /// A breaker that was forced starts anew, closed; between [`Automatic`](Mode::Automatic) and
    /// [`MetricsOnly`](Mode::MetricsOnly) it stays in the state in which it is.
    pub fn set_mode(&mut self, mode: Mode) -> Recorded {
        self.metrics_only = mode == Mode::MetricsOnly;
        match (mode, &self.phase) {
            (Mode::ForcedOpen, Phase::ForcedOpen) | (Mode::ForcedClosed, Phase::ForcedClosed) => Recorded::Noted,
            (Mode::ForcedOpen, _) => self.enter(Phase::ForcedOpen),
            (Mode::ForcedClosed, _) => self.enter(Phase::ForcedClosed),
            (Mode::Automatic | Mode::MetricsOnly, Phase::ForcedOpen | Phase::ForcedClosed) => self.close(),
            (
                Mode::Automatic | Mode::MetricsOnly,
                Phase::Closed(_) | Phase::Open { .. } | Phase::HalfOpen { .. } | Phase::Recovering { .. },
            ) => Recorded::Noted,
        }
    }

    /// How long a probe may be out before it counts as lost.
    pub const fn probe_lease(&self) -> Duration {
        match self.settings.probe_lease {
            u64::MAX => Duration::MAX, // As much as an instant can tell, and so for ever.
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// From when on a call is slow, if a rate of slow calls is judged.
    pub(crate) const fn slow_at(&self) -> Option<Duration> {
        self.settings.slow_at()
    }

    /// How long the window of its rates is, if one is judged and the window is one of time.
    pub(crate) const fn window_of_time(&self) -> Option<Duration> {
        self.settings.window_of_time()
    }

    /// Whether a call would be admitted at `now`. Changes nothing.
    ///
    /// # Errors
    /// As [`try_admit`](Self::try_admit).
    #[inline]
    pub fn check(&self, now: Instant) -> Result<(), Refusal> {
        match self.phase {
            Phase::Closed(_) => Ok(()),
            Phase::Open { .. }
            | Phase::HalfOpen { .. }
            | Phase::Recovering { .. }
            | Phase::ForcedOpen
            | Phase::ForcedClosed => match self.refusal(now) {
                Some(refusal) if !self.metrics_only => Err(refusal),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Whether a call that comes at `now`, and has something else to wait for before it can start, may do so.
    ///
    /// Unlike [`check`](Self::check) this counts a refusal as a call that came, so that a recovering breaker admits
    /// the right share of them. Who was not refused asks again with [`try_admit`](Self::try_admit) when it can start.
    ///
    /// # Errors
    /// As [`try_admit`](Self::try_admit).
    #[inline]
    pub fn pre_admit(&mut self, now: Instant) -> Result<(), Refusal> {
        let answer = self.check(now);
        if answer.is_err() {
            self.note_arrival(now);
        }
        answer
    }

    /// Admits a call, or refuses it and says when to come back.
    ///
    /// # Errors
    /// While open; while half-open with all probes out; while recovering, beyond the share of calls that is admitted by
    /// now; while forced open. Never in [`Mode::MetricsOnly`]: [`Permit::would_refuse`] tells there.
    #[inline]
    pub fn try_admit(&mut self, now: Instant) -> Result<Permit, Refusal> {
        let (leave, at) = match self.phase {
            Phase::Closed(_) => (Leave::Call, now),
            Phase::Open { until: retry_at, reason } if now < retry_at && !self.metrics_only => {
                return Err(Refusal::NotYet { retry_at, reason });
            }
            Phase::Open { .. }
            | Phase::HalfOpen { .. }
            | Phase::Recovering { .. }
            | Phase::ForcedOpen
            | Phase::ForcedClosed => self.admit_warily(now)?,
        };
        Ok(Permit { at, epoch: self.epoch, leave })
    }

    /// All but the two cases that have to be fast. It returns the parts of a permit, since the whole would have to lie in
    /// memory for the fast ones too, at twice their cost.
    fn admit_warily(&mut self, now: Instant) -> Result<(Leave, Instant), Refusal> {
        if let Some(refusal) = self.refusal(now) {
            self.note_arrival(now);
            return match refusal {
                Refusal::NotYet { retry_at, reason } if self.metrics_only => Ok((Leave::Unjudged(reason), retry_at)),
                Refusal::NotYet { .. } | Refusal::ForcedOpen => Err(refusal),
            };
        }
        let leave = match self.phase {
            Phase::Closed(_) | Phase::ForcedOpen | Phase::ForcedClosed => Leave::Call,
            Phase::Open { .. } => {
                self.enter(Phase::HalfOpen { probes: Probes::NONE, successes: 0 });
                self.give_out_probe(now)
            }
            Phase::HalfOpen { .. } => self.give_out_probe(now),
            Phase::Recovering { evidence, ramp } => {
                if now >= ramp.end(self.settings.recover_over) {
                    self.enter(Phase::Closed(evidence));
                } else {
                    self.note_arrival(now);
                }
                Leave::Call
            }
        };
        Ok((leave, now))
    }

    fn give_out_probe(&mut self, now: Instant) -> Leave {
        self.epoch = self.epoch.wrapping_add(1);
        if let Phase::HalfOpen { probes, .. } = &mut self.phase {
            probes.give_out(now, self.settings.probe_lease, self.settings.probes, self.epoch);
        }
        Leave::Probe
    }

    fn refusal(&self, now: Instant) -> Option<Refusal> {
        let (retry_at, reason) = match &self.phase {
            Phase::Closed(_) | Phase::ForcedClosed => return None,
            Phase::ForcedOpen => return Some(Refusal::ForcedOpen),
            Phase::Open { until, reason } => ((now < *until).then_some(*until)?, *reason),
            Phase::HalfOpen { probes, .. } => (probes.all_out_until(now, self.settings.probes)?, Reason::ProbesOut),
            Phase::Recovering { ramp, .. } => {
                (ramp.refused_until(now, self.settings.recover_over)?, Reason::Recovering)
            }
        };
        Some(Refusal::NotYet { retry_at, reason })
    }

    fn note_arrival(&mut self, now: Instant) {
        if let Phase::Recovering { ramp, .. } = &mut self.phase {
            ramp.note(now, self.settings.recover_over);
        }
    }

    /// Tells how an admitted call ended. `entropy` is a uniformly random number.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a call ends once.
    #[inline]
    pub fn record(&mut self, now: Instant, entropy: u64, permit: Permit, outcome: OutcomeKind) -> Recorded {
        self.dice = high_half(entropy);
        let Permit { at, epoch, leave } = permit;
        let failed = match (outcome, leave) {
            (_, Leave::Unjudged(_)) => return Recorded::Unjudged,
            (OutcomeKind::Success | OutcomeKind::Permanent, Leave::Call | Leave::Probe) => false,
            (OutcomeKind::Transient, Leave::Call | Leave::Probe) => true,
            (OutcomeKind::Throttled, Leave::Call | Leave::Probe) => return self.told_nothing(epoch),
        };
        self.ended(now, epoch, self.sample(now, at, failed))
    }

    /// Tells that an admitted call was dropped before it ended. What it counts as is a setting.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a call ends once.
    pub fn abandon(&mut self, now: Instant, permit: Permit) -> Recorded {
        let Permit { at, epoch, leave } = permit;
        match (self.settings.dropped_call, leave) {
            (_, Leave::Unjudged(_)) => Recorded::Unjudged,
            (DroppedCall::Neutral, Leave::Call | Leave::Probe) => self.told_nothing(epoch),
            (DroppedCall::Failure, Leave::Call | Leave::Probe) => {
                // No entropy came with it. What the last result brought is still this breaker's own, and the time makes
                // another number of it (multiplied as in Knuth's multiplicative hash).
                let mixed = now.as_nanos() ^ u64::from(self.dice);
                self.dice = high_half(mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                self.ended(now, epoch, self.sample(now, at, true))
            }
        }
    }

    #[inline]
    const fn sample(&self, now: Instant, started: Instant, failed: bool) -> Sample {
        let latency = now.as_nanos().saturating_sub(started.as_nanos());
        Sample { failed, slow: latency >= self.settings.slow_at }
    }

    /// The common case by itself. What is inlined here and what is not makes half of what it costs: a permit that need not
    /// be passed on stays in registers.
    #[inline]
    fn ended(&mut self, now: Instant, epoch: u32, sample: Sample) -> Recorded {
        match &mut self.phase {
            Phase::Closed(evidence) if epoch == self.epoch => match evidence.note(&self.settings, now, sample) {
                None => Recorded::Noted,
                Some(reason) => self.open(now, reason),
            },
            Phase::Closed(_)
            | Phase::Open { .. }
            | Phase::HalfOpen { .. }
            | Phase::Recovering { .. }
            | Phase::ForcedOpen
            | Phase::ForcedClosed => self.ended_otherwise(now, epoch, sample),
        }
    }

    #[inline(never)]
    fn ended_otherwise(&mut self, now: Instant, epoch: u32, sample: Sample) -> Recorded {
        match &mut self.phase {
            Phase::Recovering { evidence, .. } if epoch == self.epoch => {
                match evidence.note(&self.settings, now, sample) {
                    None => Recorded::Noted,
                    Some(reason) => self.open(now, reason),
                }
            }
            Phase::HalfOpen { probes, successes } => {
                if !probes.take_back(epoch) {
                    return Recorded::Late;
                }
                if sample.failed || sample.slow {
                    return self.open(now, Reason::ProbeFailed);
                }
                *successes = successes.saturating_add(1);
                if *successes < self.settings.success_threshold {
                    return Recorded::Noted;
                }
                if self.settings.recover_over == 0 { self.close() } else { self.recover(now) }
            }
            Phase::ForcedClosed if epoch == self.epoch => Recorded::Unjudged,
            Phase::Closed(_)
            | Phase::Open { .. }
            | Phase::Recovering { .. }
            | Phase::ForcedOpen
            | Phase::ForcedClosed => Recorded::Late,
        }
    }

    /// The call is over, and the dependency no better known than before.
    fn told_nothing(&mut self, epoch: u32) -> Recorded {
        match &mut self.phase {
            Phase::Closed(_) | Phase::Recovering { .. } if epoch == self.epoch => Recorded::Noted,
            Phase::ForcedClosed if epoch == self.epoch => Recorded::Unjudged,
            Phase::HalfOpen { probes, .. } => {
                if probes.take_back(epoch) {
                    Recorded::Noted
                } else {
                    Recorded::Late
                }
            }
            Phase::Closed(_)
            | Phase::Open { .. }
            | Phase::Recovering { .. }
            | Phase::ForcedOpen
            | Phase::ForcedClosed => Recorded::Late,
        }
    }

    #[cold]
    fn open(&mut self, now: Instant, reason: Reason) -> Recorded {
        self.openings = self.openings.saturating_add(1);
        let until = after(now, self.settings.open_time(self.openings, self.dice));
        self.enter(Phase::Open { until, reason })
    }

    fn close(&mut self) -> Recorded {
        self.enter(Phase::Closed(Evidence::none(&self.settings)))
    }

    fn recover(&mut self, now: Instant) -> Recorded {
        self.enter(Phase::Recovering { evidence: Evidence::none(&self.settings), ramp: Ramp::begin(now) })
    }

    /// The one way from phase to phase: whoever was admitted before it is late from now on.
    fn enter(&mut self, phase: Phase) -> Recorded {
        let (from, to) = (self.phase.state(), phase.state());
        self.phase = phase;
        match (from, to) {
            // What was learnt in the recovery stays known, and so its calls still count.
            (State::Recovering, State::Closed) => {}
            _ => self.epoch = self.epoch.wrapping_add(1),
        }
        match to {
            State::Closed | State::ForcedOpen | State::ForcedClosed => self.openings = 0,
            State::Open | State::HalfOpen | State::Recovering => {}
        }
        Recorded::Changed { from, to }
    }
}

/// A closed breaker with the defaults of the [module](super).
impl Default for CircuitBreaker {
    fn default() -> Self {
        CircuitBreakerBuilder::DEFAULT.unchecked()
    }
}

impl Phase {
    const fn state(&self) -> State {
        match self {
            Self::Closed(_) => State::Closed,
            Self::Open { .. } => State::Open,
            Self::HalfOpen { .. } => State::HalfOpen,
            Self::Recovering { .. } => State::Recovering,
            Self::ForcedOpen => State::ForcedOpen,
            Self::ForcedClosed => State::ForcedClosed,
        }
    }
}

const fn high_half(number: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // It is half as long.
    let half = (number >> 32) as u32;
    half
}
