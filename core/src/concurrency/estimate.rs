use core::cmp;

/// A limit with a fraction, in 65,536ths of a slot: small corrections add up instead of being rounded away.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Estimate(u64);

/// A ratio of latencies, in 65,536ths.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Ratio(u64);

const ONE: u64 = 1 << 16;

impl Estimate {
    pub(super) const fn slots(slots: u32) -> Self {
        // Lossless; `From` is not const.
        Self(slots as u64 * ONE)
    }

    /// Whole slots.
    pub(super) fn whole(self) -> u32 {
        u32::try_from(self.0 / ONE).unwrap_or(u32::MAX)
    }

    pub(super) const fn plus(self, slots: u32) -> Self {
        Self(self.0.saturating_add(Self::slots(slots).0))
    }

    pub(super) const fn minus(self, slots: u32) -> Self {
        Self(self.0.saturating_sub(Self::slots(slots).0))
    }

    pub(super) fn times(self, ratio: Ratio) -> Self {
        let product = u128::from(self.0) * u128::from(ratio.0) / u128::from(ONE);
        Self(u64::try_from(product).unwrap_or(u64::MAX))
    }

    /// A fifth of the way from here to `target`.
    pub(super) const fn a_fifth_towards(self, target: Self) -> Self {
        // By difference, since a sum of multiples would overflow at the largest limits.
        if target.0 >= self.0 { Self(self.0 + (target.0 - self.0) / 5) } else { Self(self.0 - (self.0 - target.0) / 5) }
    }
}

impl Ratio {
    pub(super) const HALF: Self = Self(ONE / 2);
    pub(super) const ONE: Self = Self(ONE);
    pub(super) const NINE_TENTHS: Self = Self(ONE * 9 / 10);

    /// How much faster `base` is than `latency`, from 1 (not at all) down to 0.
    pub(super) fn of(base: u64, latency: u64) -> Self {
        let ratio = u128::from(base) * u128::from(ONE) / u128::from(cmp::max(latency, 1));
        cmp::min(Self::ONE, Self(u64::try_from(ratio).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Estimate, Ratio};

    #[test]
    fn fractions_add_up_and_extremes_saturate() {
        let ten = Estimate::slots(10);
        let up = ten.a_fifth_towards(ten.plus(4));
        assert_eq!((up.whole(), up.a_fifth_towards(up.plus(4)).whole()), (10, 11));
        assert_eq!(ten.a_fifth_towards(ten.minus(10)).whole(), 8);
        assert_eq!((ten.minus(11).whole(), ten.times(Ratio::NINE_TENTHS).plus(1).whole()), (0, 9));
        let most = Estimate::slots(u32::MAX);
        assert_eq!((most.plus(u32::MAX).whole(), most.times(Ratio::ONE)), (u32::MAX, most));
        assert_eq!(Estimate(u64::MAX).plus(1), Estimate(u64::MAX));
    }

    #[test]
    fn a_ratio_is_at_most_one_whatever_the_latencies() {
        for (base, latency, want) in [
            (5, 10, Ratio::HALF),
            (10, 5, Ratio::ONE),
            (u64::MAX, 0, Ratio::ONE),
            (u64::MAX / 2, u64::MAX, Ratio(32_767)),
            (1, u64::MAX, Ratio(0)),
        ] {
            assert_eq!(Ratio::of(base, latency), want, "{base} / {latency}");
        }
    }
}
