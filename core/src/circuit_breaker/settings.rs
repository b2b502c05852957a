use core::cmp;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::settings::{
    InvalidSetting, at_least_as_long, at_least_one, at_most, at_most_as_long, first, positive, within,
};
use crate::time::{Instant, grown, part, saturating_nanos};

use super::probes::MOST_PROBES;
use super::window::{MOST_CALLS, MOST_MINIMUM, Shape};
use super::{CircuitBreaker, Mode, Snapshot};

/// Of which calls the rates are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Window {
    /// Of so many, the latest; 1 to 128. With each further call, the oldest leaves.
    Calls(u32),
    /// Of those that ended within so long. Each tenth of that time, what is older leaves: the window covers no less than
    /// nine tenths of the time, and no more than all of it.
    Time(Duration),
}

/// What a call counts as that was dropped before it ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DroppedCall {
    /// Nothing: whoever dropped it may have had reasons of their own.
    Neutral,
    /// A failure: for callers that drop a call only because it takes too long.
    Failure,
}

/// What is kept of a [`CircuitBreakerBuilder`]: the same, in nanoseconds and in as few bytes as will do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) failure_threshold: Option<NonZeroU32>,
    pub(super) minimum_calls: u32,
    /// In percent; [`NEVER`] if it is not judged.
    pub(super) failure_rate: u8,
    pub(super) slow_call_rate: u8,
    pub(super) slow_at: u64,
    pub(super) shape: Shape,
    /// Calls, or nanoseconds of a tenth.
    pub(super) width: u64,
    pub(super) open_for: u64,
    pub(super) open_factor: u32,
    pub(super) open_cap: u64,
    pub(super) open_jitter: u8,
    pub(super) probes: u8,
    pub(super) probe_lease: u64,
    pub(super) success_threshold: u32,
    /// Zero for no recovery.
    pub(super) recover_over: u64,
    pub(super) dropped_call: DroppedCall,
}

/// A rate that no calls can have.
pub(super) const NEVER: u8 = 101;

impl Settings {
    /// How many nanoseconds it stays open, the given time in a row (the first is 1), when the die shows `dice` of 2³².
    ///
    /// No less than `open_for` and no more than the cap, jitter included. Where the cap leaves no room above, jitter is
    /// drawn below it: those who failed together would otherwise come back together just when it matters most.
    pub(super) fn open_time(&self, opening: u16, dice: u32) -> u64 {
        let (shortest, longest) = self.open_times(opening);
        shortest + part(longest - shortest, u64::from(dice))
    }

    fn open_times(&self, opening: u16) -> (u64, u64) {
        let time = grown(self.open_for, self.open_factor, u32::from(opening.saturating_sub(1)), self.open_cap);
        let percent = u64::from(self.open_jitter);
        let spread = time / 100 * percent + time % 100 * percent / 100;
        let longest = cmp::min(self.open_cap, time.saturating_add(spread));
        (cmp::max(self.open_for, longest - spread), longest)
    }

    pub(super) const fn slow_at(&self) -> Option<Duration> {
        if self.slow_call_rate == NEVER { None } else { Some(Duration::from_nanos(self.slow_at)) }
    }

    pub(super) const fn window_of_time(&self) -> Option<Duration> {
        match (self.shape, self.failure_rate, self.slow_call_rate) {
            (Shape::Calls, _, _) | (Shape::Time, NEVER, NEVER) => None,
            (Shape::Time, _, _) => Some(Duration::from_nanos(self.width.saturating_mul(10))),
        }
    }

    /// The longest that it stays open.
    pub(super) fn longest_open_time(&self) -> u64 {
        self.open_times(u16::MAX).1
    }
}

/// Settings of a [`CircuitBreaker`]; ranges and defaults are in the [module](super).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct CircuitBreakerBuilder {
    failure_threshold: Option<u32>,
    failure_rate: Option<u32>,
    slow_calls: Option<(u32, Duration)>,
    window: Window,
    minimum_calls: u32,
    open_for: Duration,
    open_growth: Option<(u32, Duration)>,
    open_jitter: u32,
    probes: u32,
    probe_lease: Duration,
    success_threshold: u32,
    recover_over: Option<Duration>,
    dropped_call: DroppedCall,
    mode: Mode,
}

impl CircuitBreakerBuilder {
    pub(super) const DEFAULT: Self = Self {
        failure_threshold: Some(10),
        failure_rate: Some(50),
        slow_calls: None,
        window: Window::Time(Duration::from_secs(30)),
        minimum_calls: 100,
        open_for: Duration::from_secs(5),
        open_growth: None,
        open_jitter: 20,
        probes: 1,
        probe_lease: Duration::from_secs(30),
        success_threshold: 1,
        recover_over: None,
        dropped_call: DroppedCall::Neutral,
        mode: Mode::Automatic,
    };

    /// How many failures in a row open it. A result that is neither success nor failure does not end the row.
    pub const fn failure_threshold(self, failures: u32) -> Self {
        Self { failure_threshold: Some(failures), ..self }
    }

    /// Lets failures in a row open nothing. Rates still do.
    pub const fn without_failure_threshold(self) -> Self {
        Self { failure_threshold: None, ..self }
    }

    /// How many percent of the calls in the [`window`](Self::window) open it when they fail, or more.
    pub const fn failure_rate(self, percent: u32) -> Self {
        Self { failure_rate: Some(percent), ..self }
    }

    /// Lets no rate of failures open it.
    pub const fn without_failure_rate(self) -> Self {
        Self { failure_rate: None, ..self }
    }

    /// How many percent of the calls in the [`window`](Self::window) open it when they are slow, or more; and how long a
    /// call takes, at least, that is slow. Failures may be slow too. A slow probe shows no recovery: it counts as failed.
    pub const fn slow_call_rate(self, percent: u32, slow_at: Duration) -> Self {
        Self { slow_calls: Some((percent, slow_at)), ..self }
    }

    /// Lets no rate of slow calls open it.
    pub const fn without_slow_call_rate(self) -> Self {
        Self { slow_calls: None, ..self }
    }

    /// Of which calls the rates are.
    pub const fn window(self, window: Window) -> Self {
        Self { window, ..self }
    }

    /// How many calls the window has to hold before a rate opens anything.
    pub const fn minimum_calls(self, calls: u32) -> Self {
        Self { minimum_calls: calls, ..self }
    }

    /// How long it stays open before the first probe, at least.
    pub const fn open_for(self, time: Duration) -> Self {
        Self { open_for: time, ..self }
    }

    /// How much longer it stays open each time that it opens again without having closed in between, and the longest
    /// that it does, jitter included.
    pub const fn open_growth(self, factor: u32, cap: Duration) -> Self {
        Self { open_growth: Some((factor, cap)), ..self }
    }

    /// Lets it stay open for the same time each time.
    pub const fn without_open_growth(self) -> Self {
        Self { open_growth: None, ..self }
    }

    /// Up to how many percent longer it stays open, by chance.
    pub const fn open_jitter(self, percent: u32) -> Self {
        Self { open_jitter: percent, ..self }
    }

    /// How many probes may be out at once.
    pub const fn probes(self, probes: u32) -> Self {
        Self { probes, ..self }
    }

    /// How long a probe may be out before it counts as lost and another is admitted.
    pub const fn probe_lease(self, time: Duration) -> Self {
        Self { probe_lease: time, ..self }
    }

    /// How many probes must succeed, with no failure in between, to end the outage.
    pub const fn success_threshold(self, successes: u32) -> Self {
        Self { success_threshold: successes, ..self }
    }

    /// Over how long, after an outage, the share of calls that is admitted grows from the first to all.
    pub const fn recover_over(self, time: Duration) -> Self {
        Self { recover_over: Some(time), ..self }
    }

    /// Admits everybody as soon as enough probes have succeeded.
    pub const fn without_recovery(self) -> Self {
        Self { recover_over: None, ..self }
    }

    /// What a call counts as that was dropped before it ended.
    pub const fn dropped_call(self, counts_as: DroppedCall) -> Self {
        Self { dropped_call: counts_as, ..self }
    }

    /// Whether it judges and refuses from the start. [`CircuitBreaker::set_mode`] changes it later.
    pub const fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// A breaker that has seen nothing yet.
    ///
    /// # Errors
    /// If a setting is out of its range, or two contradict each other; the error names both.
    pub const fn build(self) -> Result<CircuitBreaker, InvalidSetting> {
        match self.check() {
            Ok(()) => Ok(self.unchecked()),
            Err(error) => Err(error),
        }
    }

    /// A breaker of settings that are known to be sound.
    pub(crate) const fn unchecked(self) -> CircuitBreaker {
        CircuitBreaker::with_settings(self.settings(), self.mode)
    }

    /// The breaker that a snapshot was taken of, under these settings, whatever [`mode`](Self::mode) they name: the
    /// snapshot's holds.
    ///
    /// Permits that the former breaker gave are late, and the places of its probes are free. It stays open no longer
    /// than these settings allow, and its window is empty if these settings name one of another kind.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn restore(self, now: Instant, snapshot: &Snapshot) -> Result<CircuitBreaker, InvalidSetting> {
        Ok(self.build()?.restored(now, snapshot))
    }

    const fn check(&self) -> Result<(), InvalidSetting> {
        first([
            at_least_one("failure_threshold", or_1(self.failure_threshold)),
            within("failure_rate", or_1(self.failure_rate), (1, 100), "1 to 100 percent"),
            self.check_window(),
            within("minimum_calls", self.minimum_calls, (1, MOST_MINIMUM), "1 to 32,767"),
            positive("open_for", self.open_for),
            self.check_growth(),
            within("open_jitter", self.open_jitter, (0, 100), "0 to 100 percent"),
            within("probes", self.probes, (1, MOST_PROBES), "1 to 8"),
            positive("probe_lease", self.probe_lease),
            self.check_slow_calls(),
            at_least_one("success_threshold", self.success_threshold),
            match self.recover_over {
                Some(time) => positive("recover_over", time),
                None => Ok(()),
            },
        ])
    }

    const fn check_window(&self) -> Result<(), InvalidSetting> {
        match self.window {
            Window::Calls(calls) => first([
                within("window", calls, (1, MOST_CALLS), "1 to 128 calls"),
                at_most(("minimum_calls", self.minimum_calls), ("window", calls)),
            ]),
            Window::Time(time) => positive("window", time),
        }
    }

    const fn check_growth(&self) -> Result<(), InvalidSetting> {
        let Some((factor, cap)) = self.open_growth else { return Ok(()) };
        first([
            at_least_one("open_growth", factor),
            at_least_as_long(("open_growth", cap), ("open_for", self.open_for)),
        ])
    }

    const fn check_slow_calls(&self) -> Result<(), InvalidSetting> {
        let Some((rate, slow_at)) = self.slow_calls else { return Ok(()) };
        first([
            within("slow_call_rate", rate, (1, 100), "1 to 100 percent"),
            positive("slow_call_rate", slow_at),
            // A probe would be lost before it is slow.
            at_most_as_long(("slow_call_rate", slow_at), ("probe_lease", self.probe_lease)),
        ])
    }

    /// In the form in which they are kept. Only what has passed the check keeps its meaning.
    pub(super) const fn settings(&self) -> Settings {
        let (shape, width) = self.window.shape();
        let (slow_call_rate, slow_at) = match self.slow_calls {
            Some((percent, slow_at)) => (percent_or_never(Some(percent)), saturating_nanos(slow_at)),
            None => (NEVER, u64::MAX),
        };
        let (open_factor, open_cap) = match self.open_growth {
            Some((factor, cap)) => (factor, saturating_nanos(cap)),
            None => (1, u64::MAX),
        };
        Settings {
            failure_threshold: match self.failure_threshold {
                Some(failures) => NonZeroU32::new(failures),
                None => None,
            },
            minimum_calls: self.minimum_calls,
            failure_rate: percent_or_never(self.failure_rate),
            slow_call_rate,
            slow_at,
            shape,
            width,
            open_for: saturating_nanos(self.open_for),
            open_factor,
            open_cap,
            open_jitter: byte(self.open_jitter),
            probes: byte(self.probes),
            probe_lease: saturating_nanos(self.probe_lease),
            success_threshold: self.success_threshold,
            recover_over: match self.recover_over {
                Some(time) => saturating_nanos(time),
                None => 0,
            },
            dropped_call: self.dropped_call,
        }
    }
}

const fn percent_or_never(percent: Option<u32>) -> u8 {
    match percent {
        Some(percent) => byte(percent),
        None => NEVER,
    }
}

/// The low byte of a number that was checked to have no other.
#[allow(clippy::cast_possible_truncation)]
const fn byte(number: u32) -> u8 {
    number as u8
}

/// A count, or one that is in every range, where there is none to be checked.
const fn or_1(count: Option<u32>) -> u32 {
    match count {
        Some(count) => count,
        None => 1,
    }
}
