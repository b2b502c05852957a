use crate::time::{Instant, saturating_nanos};

/// The rate that CUBIC allows, in billionths of a token per second.
///
/// The formulas and constants are those of the AWS SDKs' adaptive retry mode (botocore, `retries/throttling.py`), which
/// has them from RFC 9438, section 4.2: `C × (t − K)³ + max`, where `K = ∛(max × (1 − β) ÷ C)` makes the curve start at
/// `β × max`.
#[derive(Debug)]
pub(super) struct Cubic {
    /// The rate at which we were last throttled.
    max_rate: u64,
    throttled_at: Instant,
    /// `K`: after how many nanoseconds the curve is back at `max_rate`.
    back_after: u64,
}

/// Beyond this many nanoseconds (more than an hour) the curve is steeper than any rate; and its cube still fits.
const STEEPEST: u64 = 1 << 42;

impl Cubic {
    pub(super) const fn new(now: Instant) -> Self {
        Self { max_rate: 0, throttled_at: now, back_after: 0 }
    }

    /// The rate at `now` if nothing throttles us.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        let since = saturating_nanos(now - self.throttled_at);
        let away = u128::from(since.abs_diff(self.back_after).min(STEEPEST));
        // C = 0.4 tokens per second⁴ is 0.4 × 10⁻¹⁸ in our units, and what it divides by is 2.5 × 10¹⁸.
        let bend = u64::try_from(away.pow(3) / 2_500_000_000_000_000_000).unwrap_or(u64::MAX);
        if since < self.back_after { self.max_rate.saturating_sub(bend) } else { self.max_rate.saturating_add(bend) }
    }

    /// The rate after we were throttled at `rate`.
    pub(super) fn throttled(&mut self, now: Instant, rate: u64) -> u64 {
        // (1 − β) ÷ C = 0.75 seconds³ per token, times 10¹⁸ in our units.
        let back_after = cube_root(u128::from(rate) * 750_000_000_000_000_000);
        *self = Self { max_rate: rate, throttled_at: now, back_after };
        // β = 0.7, without overflow at the largest rates.
        rate / 10 * 7 + rate % 10 * 7 / 10
    }
}

/// The largest number whose cube is at most `n`: bit by bit, since `core` has no floating-point roots.
fn cube_root(n: u128) -> u64 {
    let mut root = 0_u64;
    for bit in (0..42).rev() {
        let larger = root | 1 << bit;
        if u128::from(larger).pow(3) <= n {
            root = larger;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::{Cubic, Instant, cube_root};
    use What::{Rate, Throttled};

    enum What {
        Rate,
        Throttled,
    }

    /// A curve that was throttled at 10 tokens per second, at the fifth second; at each second after it, the rate in
    /// millionths of a token per second. As in the SDKs, it is throttled at the rate that it allowed last.
    fn check(script: &[(u64, What, u64)]) {
        let mut cubic = Cubic::new(Instant::EPOCH);
        let mut rate = cubic.throttled(Instant::from_nanos(5_000_000_000), 10_000_000_000);
        for (secs, what, want) in script {
            let now = Instant::from_nanos(secs * 1_000_000_000);
            rate = match what {
                Rate => cubic.rate(now),
                Throttled => cubic.throttled(now, rate),
            };
            assert!(rate.abs_diff(want * 1000) <= 1000, "{rate} at {now}, not {want}");
        }
    }

    // The cases of the AWS SDKs' specification, as published with aws-smithy-runtime (client rate limiter,
    // `test_calculated_rate_with_successes` and `..._with_throttles`) and in the SDKs for Ruby and Swift.

    #[test]
    fn the_specified_rates_after_successes() {
        check(&[
            (5, Rate, 7_000_000),
            (6, Rate, 9_648_936),
            (7, Rate, 10_000_031),
            (8, Rate, 10_453_285),
            (9, Rate, 13_408_697),
            (10, Rate, 21_266_268),
            (11, Rate, 36_425_999),
        ]);
    }

    #[test]
    fn the_specified_rates_after_throttling() {
        check(&[
            (5, Rate, 7_000_000),
            (6, Rate, 9_648_936),
            (7, Throttled, 6_754_255),
            (8, Throttled, 4_727_979),
            (9, Rate, 6_606_548),
            (10, Rate, 6_763_280),
            (11, Rate, 7_598_175),
            (12, Rate, 11_511_233),
        ]);
    }

    /// From botocore, `tests/unit/retries/test_throttling.py`.
    #[test]
    fn the_specified_time_back_to_the_maximum() {
        for (rate, want) in [(0, 0), (10, 1_957_433_820), (8, 1_817_120_592)] {
            let mut cubic = Cubic::new(Instant::EPOCH);
            assert_eq!(cubic.throttled(Instant::EPOCH, rate * 1_000_000_000), rate * 700_000_000);
            assert_eq!(cubic.back_after, want);
        }
    }

    #[test]
    fn extremes_saturate() {
        let mut cubic = Cubic::new(Instant::EPOCH);
        assert_eq!((cubic.rate(Instant::EPOCH), cubic.rate(Instant::MAX)), (0, u64::MAX));
        assert_eq!(cubic.throttled(Instant::EPOCH, u64::MAX), u64::MAX / 10 * 7 + 3);
        assert_eq!(cubic.rate(Instant::MAX), u64::MAX);
        // Before the curve began it is where it began, or a rounding below.
        cubic.throttled(Instant::MAX, 10_000_000_000);
        assert!(cubic.rate(Instant::EPOCH).abs_diff(7_000_000_000) < 10);
    }

    #[test]
    fn cube_roots_are_exact() {
        for (n, want) in [(0, 0), (1, 1), (7, 1), (8, 2), (26, 2), (27, 3), (999_999_999, 999), (1_000_000_000, 1000)] {
            assert_eq!(cube_root(n), want, "{n}");
        }
        for root in [3_u128, 1_000_003, (1 << 42) - 1] {
            let cube = root.pow(3);
            assert_eq!([cube - 1, cube, cube + 1].map(cube_root).map(u128::from), [root - 1, root, root]);
        }
    }
}
