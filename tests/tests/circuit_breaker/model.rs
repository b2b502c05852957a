//! What a circuit breaker should do, told from a history that forgets nothing.
//!
//! The windows, the failures in a row and the probes are worked out anew from it at each step. What the breaker is free
//! to choose, the jitter of an open time and which of two callers is admitted in a recovery, is taken from its answer,
//! once that is seen to be in its range.

use core::time::Duration;
use std::collections::BTreeSet;

use steadfast_core::circuit_breaker::{
    CircuitBreaker, CircuitBreakerBuilder, DroppedCall, Mode, Permit, Reason, Recorded, Refusal, State, Tally, Window,
};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::time::Instant;

/// What a breaker is built from.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) failure_threshold: Option<u32>,
    pub(super) failure_rate: Option<u32>,
    pub(super) slow_calls: Option<(u32, Duration)>,
    pub(super) window: Window,
    pub(super) minimum_calls: u32,
    pub(super) open_for: Duration,
    pub(super) open_growth: Option<(u32, Duration)>,
    pub(super) open_jitter: u32,
    pub(super) probes: u32,
    pub(super) probe_lease: Duration,
    pub(super) success_threshold: u32,
    pub(super) recover_over: Option<Duration>,
    pub(super) dropped_call: DroppedCall,
}

impl Settings {
    pub(super) fn builder(&self) -> CircuitBreakerBuilder {
        let builder = CircuitBreaker::builder()
            .window(self.window)
            .minimum_calls(self.minimum_calls)
            .open_for(self.open_for)
            .open_jitter(self.open_jitter)
            .probes(self.probes)
            .probe_lease(self.probe_lease)
            .success_threshold(self.success_threshold)
            .dropped_call(self.dropped_call);
        let builder = match self.failure_threshold {
            Some(failures) => builder.failure_threshold(failures),
            None => builder.without_failure_threshold(),
        };
        let builder = match self.failure_rate {
            Some(percent) => builder.failure_rate(percent),
            None => builder.without_failure_rate(),
        };
        let builder = match self.slow_calls {
            Some((percent, slow_at)) => builder.slow_call_rate(percent, slow_at),
            None => builder.without_slow_call_rate(),
        };
        let builder = match self.open_growth {
            Some((factor, cap)) => builder.open_growth(factor, cap),
            None => builder.without_open_growth(),
        };
        match self.recover_over {
            Some(time) => builder.recover_over(time),
            None => builder.without_recovery(),
        }
    }

    /// The least and the most that it may stay open, the given time in a row.
    fn open_times(&self, opening: u16) -> (Duration, Duration) {
        let (factor, cap) = self.open_growth.unwrap_or((1, Duration::MAX));
        let time = (1..opening).fold(self.open_for, |time, _| (time * factor).min(cap));
        let longest = (time + time * self.open_jitter / 100).min(cap);
        let shortest = if longest < cap { time } else { self.open_for };
        (shortest, longest)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Admit,
    PreAdmit,
    /// The permit at this index of those that are out ends like this, and brings this entropy.
    Record(usize, OutcomeKind, u64),
    Abandon(usize),
    Forget(usize),
    /// Milliseconds, forward or back.
    Move(i64),
    SetMode(Mode),
    /// The breaker is put away and another made of what was put away.
    Restore,
}

/// A call that was judged.
#[derive(Clone, Copy, Debug)]
struct Ended {
    failed: bool,
    slow: bool,
    /// In which tenth of a window's time it ended, counted from the epoch.
    tenth: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Call,
    Probe,
    /// It would have been refused.
    Unjudged,
}

#[derive(Debug)]
struct Out {
    permit: Permit,
    kind: Kind,
    started: Instant,
    /// In which period it was given, or as which probe.
    id: u64,
}

/// A breaker, and all that ever happened to it.
#[derive(Debug)]
pub(super) struct Observed {
    settings: Settings,
    pub(super) breaker: CircuitBreaker,
    now: Instant,
    /// The latest time at which anything happened.
    pub(super) latest: Instant,
    out: Vec<Out>,
    state: State,
    metrics_only: bool,
    openings: u16,
    /// Changes with every state in which results are judged anew.
    period: u64,
    /// What was judged in this period.
    history: Vec<Ended>,
    /// In which tenth of a window's time it was when the breaker was restored.
    restored_in: u64,
    opened: Option<(Instant, Reason)>,
    /// Each place for a probe: who had it last and has not returned, and until when.
    places: Vec<Option<(u64, Instant)>>,
    probes_given: u64,
    successes: u32,
    recovering_since: Instant,
    /// What was asked of a recovery: the shares of all calls that came, in calls, and how many were admitted.
    shares: f64,
    admitted: u32,
    /// The states that it was in, and the reasons and answers that it gave.
    pub(super) seen: BTreeSet<String>,
}

impl Observed {
    pub(super) fn new(settings: Settings, start: u64) -> Self {
        let now = Instant::from_nanos(start);
        let breaker = settings.builder().build().expect("settings that can be");
        let places = vec![None; settings.probes as usize];
        Self {
            settings,
            breaker,
            now,
            latest: now,
            out: Vec::new(),
            state: State::Closed,
            metrics_only: false,
            openings: 0,
            period: 0,
            history: Vec::new(),
            restored_in: 0,
            opened: None,
            places,
            probes_given: 0,
            successes: 0,
            recovering_since: now,
            shares: 0.0,
            admitted: 0,
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn step(&mut self, op: Op) {
        match op {
            Op::Admit => self.admit(),
            Op::PreAdmit => self.pre_admit(),
            Op::Record(index, kind, entropy) => self.end(index, Some((kind, entropy))),
            Op::Abandon(index) => self.end(index, None),
            Op::Forget(index) => drop(self.take(index)),
            Op::Move(millis) => {
                let step = Duration::from_millis(millis.unsigned_abs());
                let back = Instant::EPOCH + (self.now - Instant::EPOCH).saturating_sub(step);
                self.now = if millis < 0 { back } else { self.now + step };
                self.latest = self.latest.max(self.now);
            }
            Op::SetMode(mode) => self.set_mode(mode),
            Op::Restore => self.restore(),
        }
        self.seen.insert(format!("{:?}", self.state));
        self.compare();
    }

    /// Everything that can be seen of the breaker, beside what it should be.
    fn compare(&self) {
        let snapshot = self.breaker.snapshot(self.now);
        let mode = match (self.state, self.metrics_only) {
            (State::ForcedOpen, _) => Mode::ForcedOpen,
            (State::ForcedClosed, _) => Mode::ForcedClosed,
            (_, true) => Mode::MetricsOnly,
            (_, false) => Mode::Automatic,
        };
        assert_eq!((snapshot.state, snapshot.mode, self.breaker.mode()), (self.state, mode, mode));
        assert_eq!((snapshot.state, snapshot.openings), (self.breaker.state(), self.openings));
        let in_row = self.in_row();
        assert_eq!((snapshot.window, snapshot.consecutive_failures), (self.window(self.now), in_row));
        let (out, successes) = match self.state {
            State::HalfOpen => {
                (self.places.iter().flatten().filter(|(_, until)| *until > self.now).count(), self.successes)
            }
            _ => (0, 0),
        };
        assert_eq!((snapshot.probes_out as usize, snapshot.successes), (out, successes));
        let remaining = match (self.state, self.opened) {
            (State::Open, Some((until, _))) => until - self.now,
            (State::Recovering, _) => self.recovery_ends() - self.now,
            _ => Duration::ZERO,
        };
        assert_eq!((snapshot.remaining, snapshot.reason), (remaining, self.opened.map(|(_, reason)| reason)));
    }

    fn tenth(&self) -> Duration {
        match self.settings.window {
            Window::Time(time) => Duration::from_nanos(u64::try_from(time.as_nanos().div_ceil(10)).unwrap()),
            Window::Calls(_) => Duration::MAX,
        }
    }

    /// In which tenth of the window's time it is, for a clock that waits when the other steps back.
    fn current_tenth(&self, now: Instant) -> u64 {
        let told = u64::try_from(u128::from(now.as_nanos()) / self.tenth().as_nanos()).unwrap();
        self.history.last().map_or(told, |last| told.max(last.tenth)).max(self.restored_in)
    }

    fn window(&self, now: Instant) -> Tally {
        let current = self.current_tenth(now);
        let inside = |(age, ended): &(usize, &Ended)| match self.settings.window {
            Window::Calls(calls) => *age < calls as usize,
            Window::Time(_) => ended.tenth + 10 > current,
        };
        let mut tally = Tally::default();
        for (_, ended) in self.history.iter().rev().enumerate().filter(inside) {
            tally.calls += 1;
            tally.failures += u32::from(ended.failed);
            tally.slow += u32::from(ended.slow);
        }
        tally
    }

    fn in_row(&self) -> u32 {
        u32::try_from(self.history.iter().rev().take_while(|ended| ended.failed).count()).unwrap()
    }

    fn recovery_ends(&self) -> Instant {
        self.recovering_since + self.settings.recover_over.unwrap_or_default()
    }

    /// How a call that comes now is refused; `Err` where that is for the breaker to say.
    fn refusal(&self) -> Result<Option<Refusal>, Reason> {
        let refusal = |retry_at, reason| Some(Refusal::NotYet { retry_at, reason }).filter(|_| retry_at > self.now);
        Ok(match (self.state, self.opened) {
            (State::Open, Some((until, reason))) => refusal(until, reason),
            (State::HalfOpen, _) => {
                let first = self.places.iter().map(|place| place.map_or(Instant::EPOCH, |(_, until)| until)).min();
                first.and_then(|first| refusal(first, Reason::ProbesOut))
            }
            (State::Recovering, _) if self.now < self.recovery_ends() => return Err(Reason::Recovering),
            (State::ForcedOpen, _) => Some(Refusal::ForcedOpen),
            _ => None,
        })
    }

    /// Compares an answer with what it should be, and with what the breaker says of other times.
    fn expect(&mut self, answer: Option<Refusal>) {
        if let Some(Refusal::NotYet { reason, .. }) = answer {
            self.seen.insert(format!("{reason:?}"));
        }
        match self.refusal() {
            Ok(want) => assert_eq!(answer, want),
            Err(want) => {
                assert!(answer.is_none_or(|answer| matches!(answer, Refusal::NotYet { reason, .. } if reason == want)));
            }
        }
        if let (Some(Refusal::NotYet { retry_at, reason }), false) = (answer, self.metrics_only) {
            assert!(retry_at > self.now, "{retry_at} is not later than {}", self.now);
            assert_eq!(self.breaker.check(retry_at), Ok(()), "coming back then works");
            if reason != Reason::Recovering {
                let before = Instant::from_nanos(retry_at.as_nanos() - 1);
                assert_eq!(self.breaker.check(before).err(), answer, "and not a moment earlier");
            }
        }
    }

    /// A call has come to a recovering breaker, which must admit its share: no less, no more, and one in advance.
    fn came(&mut self, admitted: bool) {
        if self.state != State::Recovering || self.now >= self.recovery_ends() {
            return;
        }
        let over = self.settings.recover_over.unwrap_or_default();
        self.shares += ((self.now - self.recovering_since).as_secs_f64() / over.as_secs_f64()).min(1.0);
        self.admitted += u32::from(admitted);
        let ahead = f64::from(self.admitted) - self.shares;
        assert!((-1e-6..=1.0 + 1e-6).contains(&ahead), "{} admitted of a share of {}", self.admitted, self.shares);
    }

    fn pre_admit(&mut self) {
        let (checked, answer) = (self.breaker.check(self.now), self.breaker.pre_admit(self.now));
        assert_eq!(checked, answer, "it answers as `check` does");
        if self.metrics_only {
            assert_eq!(answer, Ok(()));
        } else {
            self.expect(answer.err());
            if answer.is_err() {
                self.came(false);
            }
        }
    }

    fn admit(&mut self) {
        let checked = self.breaker.check(self.now);
        let answer = self.breaker.try_admit(self.now);
        assert_eq!(checked, answer.as_ref().map(drop).map_err(|refusal| *refusal), "it does as it said");
        assert!(answer.is_ok() || !self.metrics_only);
        let refused = answer.as_ref().map_or_else(|refusal| Some(*refusal), Permit::would_refuse);
        self.expect(refused);
        self.came(refused.is_none());
        if refused.is_none() {
            match self.state {
                State::Open => self.change(State::HalfOpen),
                State::Recovering if self.now >= self.recovery_ends() => {
                    (self.state, self.openings) = (State::Closed, 0);
                }
                _ => {}
            }
        }
        let Ok(permit) = answer else { return };
        let (kind, id) = match (refused, self.state) {
            (Some(_), _) => (Kind::Unjudged, 0),
            (None, State::HalfOpen) => (Kind::Probe, self.give_probe()),
            (None, _) => (Kind::Call, self.period),
        };
        assert_eq!(permit.is_probe(), matches!(kind, Kind::Probe));
        self.out.push(Out { permit, kind, started: self.now, id });
    }

    /// A free place, or else the one whose lease ended first.
    fn give_probe(&mut self) -> u64 {
        self.probes_given += 1;
        let until = self.now + self.settings.probe_lease;
        let place = self.places.iter_mut().min_by_key(|place| place.map(|(_, until)| until));
        *place.expect("at least one") = Some((self.probes_given, until));
        self.probes_given
    }

    fn take(&mut self, index: usize) -> Option<Out> {
        (!self.out.is_empty()).then(|| self.out.remove(index % self.out.len()))
    }

    fn end(&mut self, index: usize, how: Option<(OutcomeKind, u64)>) {
        let Some(Out { permit, kind, started, id }) = self.take(index) else { return };
        let before = self.breaker.snapshot(self.now);
        let recorded = match how {
            Some((outcome, entropy)) => self.breaker.record(self.now, entropy, permit, outcome),
            None => self.breaker.abandon(self.now, permit),
        };
        self.seen.insert(format!("{recorded:?}"));
        let known = match (kind, self.state) {
            (Kind::Unjudged, _) => true,
            (Kind::Call, State::Closed | State::Recovering | State::ForcedClosed) => id == self.period,
            (Kind::Probe, State::HalfOpen) => self.places.iter().flatten().any(|(probe, _)| *probe == id),
            _ => false,
        };
        if !known || matches!(kind, Kind::Unjudged) || self.state == State::ForcedClosed {
            assert_eq!(recorded, if known { Recorded::Unjudged } else { Recorded::Late });
            assert_eq!(self.breaker.snapshot(self.now), before, "it changes nothing");
            return;
        }
        if let Kind::Probe = kind {
            self.places.iter_mut().for_each(|place| *place = place.filter(|(probe, _)| *probe != id));
        }
        let failed = match how {
            Some((OutcomeKind::Throttled, _)) => None,
            Some((outcome, _)) => Some(outcome == OutcomeKind::Transient),
            None => (self.settings.dropped_call == DroppedCall::Failure).then_some(true),
        };
        let Some(failed) = failed else {
            assert_eq!(recorded, Recorded::Noted);
            return;
        };
        let slow = self.settings.slow_calls.is_some_and(|(_, slow_at)| self.now - started >= slow_at);
        let from = self.state;
        self.judge(failed, slow);
        let want = if self.state == from { Recorded::Noted } else { Recorded::Changed { from, to: self.state } };
        assert_eq!(recorded, want);
    }

    fn judge(&mut self, failed: bool, slow: bool) {
        if self.state == State::HalfOpen {
            if failed || slow {
                return self.open(Reason::ProbeFailed);
            }
            self.successes += 1;
            if self.successes >= self.settings.success_threshold {
                self.change(if self.settings.recover_over.is_some() { State::Recovering } else { State::Closed });
            }
            return;
        }
        let tenth = self.current_tenth(self.now);
        self.history.push(Ended { failed, slow, tenth });
        let Settings { failure_threshold, failure_rate, slow_calls, minimum_calls, .. } = self.settings;
        let Tally { calls, failures, slow } = self.window(self.now);
        let reaches = |part: u32, percent: u32| calls >= minimum_calls && part * 100 >= percent * calls;
        if failed && failure_threshold.is_some_and(|threshold| self.in_row() >= threshold) {
            self.open(Reason::ConsecutiveFailures);
        } else if failure_rate.is_some_and(|percent| reaches(failures, percent)) {
            self.open(Reason::FailureRate);
        } else if slow_calls.is_some_and(|(percent, _)| reaches(slow, percent)) {
            self.open(Reason::SlowCallRate);
        }
    }

    fn open(&mut self, reason: Reason) {
        self.change(State::Open);
        self.openings += 1;
        let (shortest, longest) = self.settings.open_times(self.openings);
        let time = self.breaker.snapshot(self.now).remaining;
        assert!(shortest <= time && time <= longest, "open for {time:?}, not {shortest:?} to {longest:?}");
        self.opened = Some((self.now + time, reason));
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.period += 1;
        self.history.clear();
        self.restored_in = 0;
        self.opened = None;
        self.places.fill(None);
        self.successes = 0;
        (self.recovering_since, self.shares, self.admitted) = (self.now, 0.0, 0);
        if matches!(state, State::Closed | State::ForcedOpen | State::ForcedClosed) {
            self.openings = 0;
        }
    }

    fn set_mode(&mut self, mode: Mode) {
        let from = self.state;
        let told = self.breaker.set_mode(mode);
        self.metrics_only = mode == Mode::MetricsOnly;
        let to = match mode {
            Mode::ForcedOpen => State::ForcedOpen,
            Mode::ForcedClosed => State::ForcedClosed,
            Mode::Automatic | Mode::MetricsOnly => match from {
                State::ForcedOpen | State::ForcedClosed => State::Closed,
                other => other,
            },
        };
        if from == to {
            assert_eq!(told, Recorded::Noted);
        } else {
            self.change(to);
            assert_eq!(told, Recorded::Changed { from, to });
        }
    }

    /// On a clock that has stepped back, some of what is relative cannot be told; it is left alone then.
    fn restore(&mut self) {
        if self.now < self.latest {
            return;
        }
        let snapshot = self.breaker.snapshot(self.now);
        self.breaker = self.settings.builder().restore(self.now, &snapshot).expect("settings that can be");
        self.period += 1;
        self.restored_in = self.current_tenth(self.now);
        self.places.fill(None);
        (self.shares, self.admitted) = (0.0, 0);
        // What has passed by now is as if it ended now.
        self.opened = self.opened.map(|(until, reason)| (until.max(self.now), reason));
        if self.state == State::Recovering {
            let over = self.settings.recover_over.unwrap_or_default();
            self.recovering_since =
                self.recovering_since.max(Instant::EPOCH + ((self.now - Instant::EPOCH).saturating_sub(over)));
        }
    }
}
