use core::fmt;
use core::time::Duration;

use crate::settings::{InvalidSetting, at_least_one};
use crate::time::{Instant, saturating_nanos};

/// The most units to a nanosecond.
const FINEST: u64 = 3;

/// How many binary places a [`Quota`]'s pace has: as many as fit beside the three units before them.
const PACE_BITS: u32 = 62;

/// The pace of one unit to a nanosecond.
const WHOLE: u64 = 1 << PACE_BITS;

/// The last time that counts where time has to be multiplied, in nanoseconds: after 146 years, and all units fit until then.
const END: u64 = (1 << PACE_BITS) - 1;

/// The largest capacity of a bucket in its own units: a quarter of the state's range, so that sums of two never wrap.
const MAX_CAPACITY: u64 = 1 << 62;

/// How many tokens, per what time, and how many of them at once.
///
/// ```
/// use core::time::Duration;
/// use steadfast_core::rate_limit::Quota;
///
/// let steady = Quota::per_second(100)?;
/// let bursty = Quota::per_minute(90_000)?.with_burst(9_000)?;
/// let odd = Quota::new(7, Duration::from_millis(333))?;
/// # assert_eq!((steady.burst(), bursty.burst(), odd.tokens()), (1, 9_000, 7));
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// | Setting | Range | Default |
/// | --- | --- | --- |
/// | tokens per period | 1 to one per nanosecond | given |
/// | period | 1 ns to 584 years | given |
/// | burst | 1 to `u32::MAX` | 1: tokens are spaced evenly, so no period sees more of them than the quota says |
///
/// A burst of *b* lets up to *b* tokens go at once after a rest, and then the rate; so one period may see the rate plus
/// *b*. A request heavier than the burst can never be admitted.
///
/// With a burst of 1, whatever comes late is lost: a timer that ticks once a millisecond makes 100 a second about 90, and
/// 2,000 a second less than 1,000. For the full rate give the burst room for what comes in during a tick or two.
///
/// A limit admits exactly what its quota says, and nothing beyond it: where a time is no whole number of the units that
/// it counts in (a nanosecond at most), it is rounded against the caller. So of a full burst that is taken one by one at
/// the very same time, the last token may be refused for that nanosecond. After 146 years on the same clock it may stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    tokens: u32,
    period: Duration,
    burst: u32,
    /// How many units pass in a nanosecond, from none to three, with 62 binary places.
    ///
    /// The unit is chosen such that a token is worth a *whole* number of them, which is why nothing drifts: only the
    /// passing of time is rounded, each time afresh from the epoch, and never the sum of what was spent. Where the time
    /// between two tokens is a whole number of nanoseconds the unit is the nanosecond itself; where it is one of halves
    /// or thirds, it is that. These are exact. Elsewhere a unit is a little more than a third of a nanosecond, and the
    /// last place is rounded against the caller: by less than two units until the state overflows.
    pace: u64,
    /// How many nanoseconds a unit takes, a trace less in any case, with `inverse_bits` binary places.
    inverse: u64,
    inverse_bits: u32,
    /// What one token costs, in units.
    unit_cost: u64,
    /// What the whole burst costs, in units.
    capacity: u64,
}

impl Quota {
    /// `tokens` per `period`, one at a time.
    ///
    /// # Errors
    /// If either is zero, or there is more than one token per nanosecond.
    pub const fn new(tokens: u32, period: Duration) -> Result<Self, InvalidSetting> {
        Self::build(tokens, period, 1)
    }

    /// `tokens` per second, one at a time.
    ///
    /// # Errors
    /// If it is zero or above 1,000,000,000.
    pub const fn per_second(tokens: u32) -> Result<Self, InvalidSetting> {
        Self::new(tokens, Duration::from_secs(1))
    }

    /// `tokens` per minute, one at a time.
    ///
    /// # Errors
    /// If it is zero.
    pub const fn per_minute(tokens: u32) -> Result<Self, InvalidSetting> {
        Self::new(tokens, Duration::from_secs(60))
    }

    /// `tokens` per hour, one at a time.
    ///
    /// # Errors
    /// If it is zero.
    pub const fn per_hour(tokens: u32) -> Result<Self, InvalidSetting> {
        Self::new(tokens, Duration::from_secs(60 * 60))
    }

    /// `tokens` per day of 24 hours, one at a time.
    ///
    /// # Errors
    /// If it is zero.
    pub const fn per_day(tokens: u32) -> Result<Self, InvalidSetting> {
        Self::new(tokens, Duration::from_secs(24 * 60 * 60))
    }

    /// The same rate, with up to `burst` tokens at once after a rest.
    ///
    /// # Errors
    /// If it is zero.
    pub const fn with_burst(self, burst: u32) -> Result<Self, InvalidSetting> {
        Self::build(self.tokens, self.period, burst)
    }

    /// Tokens per [`period`](Self::period).
    pub const fn tokens(&self) -> u32 {
        self.tokens
    }

    /// The time in which [`tokens`](Self::tokens) come in.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// The most tokens that can be taken at once.
    #[inline]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    const fn build(tokens: u32, period: Duration, burst: u32) -> Result<Self, InvalidSetting> {
        if let Err(error) = at_least_one("tokens", tokens) {
            return Err(error);
        }
        if let Err(error) = at_least_one("burst", burst) {
            return Err(error);
        }
        if period.as_nanos() > u64::MAX as u128 {
            return Err(InvalidSetting::time("period", period, "at most 584 years"));
        }
        let nanos = saturating_nanos(period);
        if nanos == 0 {
            return Err(InvalidSetting::time("period", period, "more than zero"));
        }
        if nanos < tokens as u64 {
            return Err(InvalidSetting::count("tokens", tokens as u64, "at most one per nanosecond of the period"));
        }
        let divisor = gcd(nanos, tokens as u64);
        let (nanos, tokens_in_nanos) = (nanos / divisor, tokens as u64 / divisor);

        // As fine a unit as fits: three to the nanosecond, so that time overflows the state only after 146 years, and
        // long enough that a full bucket does not. One token a day with a burst of four thousand million is a quota too.
        let per_nano = if tokens_in_nanos <= FINEST { tokens_in_nanos } else { FINEST };
        let per_nano = if nanos <= u64::MAX / FINEST { per_nano } else { 1 };
        let finest = nanos * per_nano / tokens_in_nanos;
        let coarsest = MAX_CAPACITY / burst as u64;
        let unit_cost = if finest < coarsest { finest } else { coarsest };
        let units = unit_cost * tokens_in_nanos;
        let pace = (units as u128) << PACE_BITS;
        #[allow(clippy::cast_possible_truncation)] // At most three units to a nanosecond.
        let pace = (pace / nanos as u128) as u64;
        // As many places as fit: the inverse is at least 2⁶² then, whatever the pace.
        let inverse_bits = 64 - pace.leading_zeros();
        #[allow(clippy::cast_possible_truncation)] // Less than 2⁶³, see above.
        let inverse = (((1 << (PACE_BITS + inverse_bits)) - 1) / pace as u128) as u64;
        let capacity = unit_cost * burst as u64;
        Ok(Self { tokens, period, burst, pace, inverse, inverse_bits, unit_cost, capacity })
    }

    /// What one token costs, in units.
    #[inline]
    pub(super) const fn unit_cost(&self) -> u64 {
        self.unit_cost
    }

    /// What `tokens` cost, in units, if that can be told.
    #[inline]
    pub(super) const fn cost(&self, tokens: u64) -> Option<u64> {
        self.unit_cost.checked_mul(tokens)
    }

    /// What a full bucket holds, in units.
    #[inline]
    pub(super) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How many units have passed at `now`, and whether another is under way.
    ///
    /// Where there are more than the state can count, time stands still, and nothing is admitted any more.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn units(&self, now: Instant) -> (u64, bool) {
        if self.pace == WHOLE {
            return (now.as_nanos(), false); // As with most quotas: no need to multiply.
        }
        if now.as_nanos() > END {
            return beyond_the_end();
        }
        // Such that the point lies between two words, and nothing has to be shifted over their border.
        let product = u128::from(now.as_nanos() << (u64::BITS - PACE_BITS)) * u128::from(self.pace);
        #[allow(clippy::cast_possible_truncation)] // The one word and the other.
        let (units, fraction) = ((product >> u64::BITS) as u64, product as u64);
        (units, fraction != 0)
    }

    /// How many units have passed at `now`, the one under way not counted.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn units_passed(&self, now: Instant) -> u64 {
        self.units(now).0
    }

    /// How many units have passed at `now`, the one under way counted: what starts now counts from its end.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub(super) fn units_begun(&self, now: Instant) -> u64 {
        let (passed, is_under_way) = self.units(now);
        passed + u64::from(is_under_way)
    }

    /// The first instant at which so many units have passed, if the clock gets there.
    #[inline]
    pub(super) fn instant_at(&self, passed: u64) -> Option<Instant> {
        if self.pace == WHOLE {
            return Some(Instant::from_nanos(passed));
        }
        self.instant_at_in_general(passed)
    }

    #[inline(never)] // So that what is inlined stays small.
    fn instant_at_in_general(&self, passed: u64) -> Option<Instant> {
        if passed == 0 {
            return Some(Instant::EPOCH);
        }
        // A trace too early, since the inverse is a trace too small: by less than a nanosecond, as the clock goes no
        // further than its places. So the nanosecond sought is the next, or else the one after it.
        let before = (u128::from(passed) * u128::from(self.inverse)) >> self.inverse_bits;
        let next = u64::try_from(before).ok().filter(|before| *before < END)? + 1;
        let at = next + u64::from(self.units_passed(Instant::from_nanos(next)) < passed);
        (at <= END).then_some(Instant::from_nanos(at))
    }
}

/// The settings in words: "100 per 1s, 10 at once".
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {:?}, {} at once", self.tokens, self.period, self.burst)
    }
}

/// By itself, so that what is on the way to it lies in a line.
#[cold]
fn beyond_the_end() -> (u64, bool) {
    (u64::MAX, false)
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What keeps the search of [`Quota::instant_at`] to a few nanoseconds.
    #[test]
    fn the_inverse_has_as_many_places_as_fit() {
        for (tokens, nanos, burst) in [
            (1, 1, 1),
            (2, 3, 1),
            (3, 1_000_000_000, 1),
            (7, 10, 2),
            (9_999, 1_000_000_000, 5),
            (1, 86_400_000_000_000, u32::MAX),
            (4, u64::MAX, 1),
            (7, u64::MAX, u32::MAX),
        ] {
            let quota = Quota::new(tokens, Duration::from_nanos(nanos)).and_then(|quota| quota.with_burst(burst));
            let inverse = quota.unwrap().inverse;
            assert!((1 << 62..1 << 63).contains(&inverse), "{inverse} for {tokens} per {nanos} ns");
        }
    }

    /// Also where what the inverse lacks amounts to a nanosecond, and up to the last that counts.
    #[test]
    fn an_instant_is_the_first_at_which_so_many_units_have_passed() {
        let ns = Instant::from_nanos;
        for (tokens, nanos, burst) in [(1, 1, 1), (2, 3, 1), (3, 10, 1), (7, 10, 2), (9_999, 1_000_000_000, u32::MAX)] {
            let quota =
                Quota::new(tokens, Duration::from_nanos(nanos)).and_then(|quota| quota.with_burst(burst)).unwrap();
            for near in [0, 1_000_000_000, 1 << 61, END - 100] {
                for passed in
                    (near..=near + 100).flat_map(|near| [0, 1, 2].map(|more| quota.units_passed(ns(near)) + more))
                {
                    let Some(at) = quota.instant_at(passed) else {
                        assert!(quota.units_passed(ns(END)) < passed, "{passed} units of {quota}");
                        continue;
                    };
                    assert!(quota.units_passed(at) >= passed, "{passed} units of {quota} at {at}");
                    let before = at.as_nanos().checked_sub(1).map(|before| quota.units_passed(ns(before)));
                    assert!(before.is_none_or(|before| before < passed), "{passed} units of {quota} before {at}");
                }
            }
        }
    }
}
