const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// How ticks and nanoseconds measure each other: this many `ticks` take this many `nanos`, in lowest terms.
///
/// The conversions of `embassy_time` round to either side and overflow; these never do. At the usual rates (1 MHz, 32,768 Hz)
/// `ticks` is a power of two, so that reading the clock takes no division, which a Cortex-M0 has no instruction for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    ticks: u64,
    nanos: u64,
}

impl Rate {
    /// So many ticks a second. The product of that and 10⁹ has to fit: embassy's fastest rate, 5.2 GHz, does three times.
    pub(crate) const fn of(hz: u64) -> Self {
        let (mut divisor, mut rest) = (hz, NANOS_PER_SECOND);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        Self { ticks: hz / divisor, nanos: NANOS_PER_SECOND / divisor }
    }

    /// How many nanoseconds have surely passed after so many ticks. Saturates.
    pub(crate) const fn nanos(self, ticks: u64) -> u64 {
        let rest = ticks % self.ticks * self.nanos / self.ticks;
        (ticks / self.ticks).saturating_mul(self.nanos).saturating_add(rest)
    }

    /// After how many ticks so many nanoseconds have surely passed. Saturates.
    ///
    /// Rounded up: `embassy_time::Instant::from_nanos` rounds down, and a sleeper woken before its deadline asks again, is
    /// refused again, and spins until the tick turns.
    pub(crate) const fn ticks(self, nanos: u64) -> u64 {
        let rest = (nanos % self.nanos * self.ticks).div_ceil(self.nanos);
        (nanos / self.nanos).saturating_mul(self.ticks).saturating_add(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slowest rate that embassy has, the usual ones, odd ones, and its fastest.
    const RATES: [u64; 10] =
        [1, 10, 1_000, 32_768, 1_000_000, 3_000_000, 16_777_216, 1_000_000_000, 1_310_720_000, 5_242_880_000];

    #[test]
    fn a_deadline_is_the_first_tick_that_is_not_before_it() {
        let near = [0, 1, 2, 999, 1_000, 1_001, 30_517, 30_518, 61_035, 999_999_999, 1_000_000_000, 1_000_000_001];
        let far = [u64::MAX / 1_000, u64::MAX / 6].into_iter().flat_map(|nanos| [nanos - 1, nanos, nanos + 1]);
        for nanos in near.into_iter().chain(far) {
            for rate in RATES.map(Rate::of) {
                let ticks = rate.ticks(nanos);
                assert!(rate.nanos(ticks) >= nanos, "{rate:?}: woken early for {nanos}");
                assert!(ticks == 0 || rate.nanos(ticks - 1) < nanos, "{rate:?}: a tick late for {nanos}");
            }
        }
    }

    #[test]
    fn both_ways_saturate_and_never_overflow() {
        for (hz, (ticks_of_all_nanos, nanos_of_all_ticks)) in [
            (1, (18_446_744_074, u64::MAX)),
            (1_000_000, (18_446_744_073_709_552, u64::MAX)),
            (1_000_000_000, (u64::MAX, u64::MAX)),
            (5_242_880_000, (u64::MAX, 3_518_437_208_883_199_999)),
        ] {
            let rate = Rate::of(hz);
            assert_eq!((rate.ticks(u64::MAX), rate.nanos(u64::MAX)), (ticks_of_all_nanos, nanos_of_all_ticks), "{hz}");
        }
    }
}
