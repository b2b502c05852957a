use core::cmp;
use core::fmt;
use core::time::Duration;

use super::Refusal;
use crate::outcome::OutcomeKind;
use crate::time::Instant;

mod cubic;
#[cfg(test)]
mod tests;

use cubic::Cubic;

/// A rate limit that finds the server's own: it slows down when throttled, and feels its way up again.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::outcome::OutcomeKind;
/// use steadfast_core::rate_limit::AdaptiveRate;
/// use steadfast_core::time::Instant;
///
/// let mut now = Instant::EPOCH;
/// let mut limit = AdaptiveRate::new(now);
/// for _ in 0..50 {
///     now += Duration::from_millis(100);
///     limit.try_acquire(now, 1).expect("nothing is limited until the server is");
///     limit.record(now, 1, OutcomeKind::Success);
/// }
/// limit.record(now, 1, OutcomeKind::Throttled);
/// // Ten a second were too many: seven are tried.
/// assert!(limit.interval().is_some_and(|interval| interval > Duration::from_millis(140)));
/// # while limit.try_acquire(now, 1).is_ok() {}
/// assert!(limit.try_acquire(now, 1).is_err());
/// ```
///
/// # How it works
///
/// It is the client rate limiter of the AWS SDKs' adaptive retry mode. Nothing is limited until a call is
/// [`Throttled`](OutcomeKind::Throttled). Each answer updates the measured rate; from then on a token bucket holds calls
/// to the lesser of twice that and what CUBIC (RFC 9438) says, which falls to 70 % when throttled and otherwise follows
/// a cubic curve: fast towards the rate at which it was throttled, slow around it, fast beyond.
///
/// ```text
///   rate ▲ throttled                      ╱
///        │ ╱│                      ______╱  the rate that was too high
///        │╱ │                 __──¯
///        │  │             _─¯¯
///        │  │  × 0.7  ╱¯¯
///        └──┴────────────────────────────────▶ time
/// ```
///
/// | Constant | Value | Why |
/// | --- | --- | --- |
/// | decrease (β) | to 0.7 | of the AWS specification, as are all of these |
/// | scale (C) | 0.4 | how steep the curve is |
/// | measured over | half a second | long enough to count a few calls |
/// | smoothing | 0.8 for the latest | a rate that changes is believed after one half second |
/// | least rate | one in 2 s | some calls must go to find out that the server is back |
/// | burst | what the rate gives in a second, at least 1 | |
///
/// Everything is an integer, in billionths of a token, so that it decides the same on every machine.
///
/// A clock that steps back gives no tokens and takes none. A weight above the burst is admitted when the bucket is full
/// and leaves it in debt: refused for ever, it could not bring the answer that raises the rate.
///
/// # When not to use it
///
/// When you know the server's limit: a [`TokenBucket`](super::TokenBucket) keeps it without being throttled first. This
/// one has to run into the limit now and then to find it; share it between all callers that the server counts together.
#[derive(Debug)]
pub struct AdaptiveRate {
    measured: Measured,
    cubic: Cubic,
    bucket: Bucket,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The server has never throttled us, and we do not throttle ourselves.
    Unlimited,
    Limited,
}

/// The pace that an [`AdaptiveRate`] left, and the one that it goes on with: the time between two tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PaceChange {
    /// Before; none if nothing was limited.
    pub from: Option<Duration>,
    /// After.
    pub to: Duration,
}

/// One token a second, in the unit of rates: a billionth of a token per second.
const PER_SECOND: u64 = 1_000_000_000;
/// The least rate: some calls must go to find out that the server is back.
const LEAST_RATE: u64 = PER_SECOND / 2;
/// One token, in the unit of the bucket: that of rates times a nanosecond, so that refilling is one exact product.
const TOKEN: i128 = 1_000_000_000_000_000_000;

/// What it does, in words. It has no settings, and what it has learned is no part of this.
impl fmt::Display for AdaptiveRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unlimited until the server throttles, then by CUBIC what it bears")
    }
}

impl AdaptiveRate {
    /// Unlimited, until the server throttles.
    pub const fn new(now: Instant) -> Self {
        Self {
            measured: Measured::new(now),
            cubic: Cubic::new(now),
            bucket: Bucket { rate: LEAST_RATE, tokens: 0, settled: now },
            state: State::Unlimited,
        }
    }

    /// The time between two tokens at the present rate; none while nothing is limited.
    pub fn interval(&self) -> Option<Duration> {
        match self.state {
            State::Unlimited => None,
            State::Limited => Some(self.bucket.interval()),
        }
    }

    /// Takes `n` tokens, or takes none and says when to come back.
    ///
    /// No tokens at all (`n` = 0) are admitted when one would be, and leave it there.
    ///
    /// # Errors
    /// [`Refusal::NotYet`] until they are there. An answer that changes the rate meanwhile may delay that.
    pub fn try_acquire(&mut self, now: Instant, n: u32) -> Result<(), Refusal> {
        match self.state {
            State::Unlimited => Ok(()),
            State::Limited => self.bucket.try_take(now, n),
        }
    }

    /// Gives back what was taken for a call that was never sent.
    pub fn give_back(&mut self, now: Instant, n: u32) {
        match self.state {
            State::Unlimited => {}
            State::Limited => self.bucket.give_back(now, n),
        }
    }

    /// Tells how a call of `n` tokens ended, and returns the change of pace that it caused.
    ///
    /// A call that was dropped has nothing to tell: its tokens are spent, as the server may have counted it.
    pub fn record(&mut self, now: Instant, n: u32, outcome: OutcomeKind) -> Option<PaceChange> {
        let from = self.interval();
        let measured = self.measured.count(now, n);
        let rate = match outcome {
            OutcomeKind::Throttled => {
                let rate = match self.state {
                    State::Unlimited => measured,
                    State::Limited => cmp::min(measured, self.bucket.rate),
                };
                self.state = State::Limited;
                self.cubic.throttled(now, rate)
            }
            OutcomeKind::Success | OutcomeKind::Transient | OutcomeKind::Permanent => self.cubic.rate(now),
        };
        self.bucket.set_rate(now, cmp::min(rate, measured.saturating_mul(2)));
        let to = self.interval()?;
        (from != Some(to)).then_some(PaceChange { from, to })
    }
}

/// The rate at which answers come in, smoothed.
#[derive(Debug)]
struct Measured {
    rate: u64,
    /// Tokens since the end of `half_second`.
    tokens: u64,
    /// The half second in which the rate was last computed, counted from the epoch.
    half_second: u64,
}

impl Measured {
    const fn new(now: Instant) -> Self {
        Self { rate: 0, tokens: 0, half_second: Self::half_second(now) }
    }

    const fn half_second(now: Instant) -> u64 {
        now.as_nanos() / 500_000_000
    }

    fn count(&mut self, now: Instant, n: u32) -> u64 {
        self.tokens = self.tokens.saturating_add(n.into());
        let half_second = Self::half_second(now);
        if half_second > self.half_second {
            let latest =
                u128::from(self.tokens) * u128::from(2 * PER_SECOND) / u128::from(half_second - self.half_second);
            let smoothed = (4 * latest + u128::from(self.rate)) / 5;
            *self = Self { rate: u64::try_from(smoothed).unwrap_or(u64::MAX), tokens: 0, half_second };
        }
        self.rate
    }
}

/// A token bucket whose rate changes and whose burst is a second's worth.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    /// What was there at `settled`; negative after a call that was heavier than the burst.
    tokens: i128,
    settled: Instant,
}

impl Bucket {
    fn capacity(&self) -> i128 {
        cmp::max(TOKEN, i128::from(self.rate) * i128::from(PER_SECOND))
    }

    fn available(&self, now: Instant) -> i128 {
        let nanos = now.as_nanos().saturating_sub(self.settled.as_nanos());
        let refilled = i128::from(nanos).saturating_mul(self.rate.into());
        cmp::min(self.capacity(), self.tokens.saturating_add(refilled))
    }

    fn settle(&mut self, now: Instant, tokens: i128) {
        self.tokens = tokens;
        self.settled = cmp::max(self.settled, now);
    }

    fn set_rate(&mut self, now: Instant, rate: u64) {
        // What came in until now came in at the old rate.
        self.settle(now, self.available(now));
        self.rate = cmp::max(rate, LEAST_RATE);
        self.tokens = cmp::min(self.tokens, self.capacity());
    }

    fn try_take(&mut self, now: Instant, n: u32) -> Result<(), Refusal> {
        let needed = cmp::min(self.capacity(), TOKEN * i128::from(n.max(1)));
        let available = self.available(now);
        if available < needed {
            // Rounded up, and from when the bucket was settled if the clock has stepped back behind that.
            let nanos = u64::try_from((needed - available - 1) / i128::from(self.rate) + 1).ok();
            let ready_at = nanos.and_then(|nanos| cmp::max(now, self.settled).as_nanos().checked_add(nanos));
            return Err(Refusal::not_yet(ready_at.map(Instant::from_nanos)));
        }
        self.settle(now, available - TOKEN * i128::from(n));
        Ok(())
    }

    fn give_back(&mut self, now: Instant, n: u32) {
        let there = self.available(now).saturating_add(TOKEN * i128::from(n));
        self.settle(now, cmp::min(self.capacity(), there));
    }

    fn interval(&self) -> Duration {
        Duration::from_nanos((PER_SECOND * PER_SECOND).div_ceil(self.rate))
    }
}
