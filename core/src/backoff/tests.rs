use super::*;

extern crate std;

const MS: Duration = Duration::from_millis(1);
const MIDDLE: u64 = u64::MAX / 2 + 1;

fn built(builder: BackoffBuilder) -> Backoff {
    builder.build().unwrap()
}

/// The first six delays, in milliseconds, when the die always shows `entropy`.
#[track_caller]
fn check(backoff: Backoff, entropy: u64, want: [u128; 6]) {
    let mut previous = Duration::ZERO;
    let got = [1, 2, 3, 4, 5, 6].map(|retry| {
        previous = backoff.delay(retry, previous, entropy);
        previous.as_millis()
    });
    assert_eq!(got, want, "{backoff:?} {entropy}");
}

#[test]
fn jitter_stays_in_its_range_and_the_cap_holds() {
    for (jitter, entropy, want) in [
        (Jitter::None, 7, [100, 200, 400, 800, 1000, 1000]),
        (Jitter::Full, 0, [0; 6]),
        (Jitter::Full, MIDDLE, [50, 100, 200, 400, 500, 500]),
        (Jitter::Full, u64::MAX, [100, 200, 400, 800, 1000, 1000]),
        (Jitter::Equal, 0, [50, 100, 200, 400, 500, 500]),
        (Jitter::Equal, u64::MAX, [100, 200, 400, 800, 1000, 1000]),
        (Jitter::Proportional(20), 0, [80, 160, 320, 640, 800, 800]),
        (Jitter::Proportional(20), MIDDLE, [100, 200, 400, 800, 900, 900]),
        (Jitter::Proportional(20), u64::MAX, [120, 240, 480, 960, 1000, 1000]),
        (Jitter::Proportional(255), 0, [0; 6]),
        (Jitter::Proportional(255), u64::MAX, [200, 400, 800, 1000, 1000, 1000]),
    ] {
        check(built(Backoff::builder().base(100 * MS).cap(1000 * MS).jitter(jitter)), entropy, want);
    }
}

#[test]
fn a_percentage_is_exact_to_the_nanosecond_whatever_the_delay() {
    for whole in [0, 1, 99, 100, 199, 12_345_678_999, u64::MAX - 1, u64::MAX] {
        for percent in 0..=100 {
            let exact = u128::from(whole) * u128::from(percent) / 100;
            assert_eq!(u128::from(percent_of(percent, whole)), exact, "{percent} % of {whole}");
        }
    }
}

#[test]
fn each_growth_is_the_one_of_its_name() {
    for (growth, want) in [
        (Growth::Constant, [100; 6]),
        (Growth::Linear, [100, 200, 300, 400, 500, 600]),
        (Growth::Fibonacci, [100, 100, 200, 300, 500, 800]),
        (Growth::Exponential { factor: 1 }, [100; 6]),
        (Growth::Exponential { factor: 2 }, [100, 200, 400, 800, 1600, 3200]),
        (Growth::Exponential { factor: 3 }, [100, 300, 900, 2700, 8100, 10_000]),
    ] {
        check(built(Backoff::builder().growth(growth).jitter(Jitter::None)), 0, want);
    }
}

#[test]
fn decorrelated_delays_lie_between_the_base_and_three_times_the_one_before() {
    let backoff = Backoff::decorrelated(100 * MS, 1000 * MS).unwrap();
    check(backoff, 0, [100; 6]);
    check(backoff, MIDDLE, [200, 350, 550, 550, 550, 550]);
    check(backoff, u64::MAX, [300, 900, 1000, 1000, 1000, 1000]);
}

#[test]
fn the_specified_delays_are_the_specified_delays() {
    let doubling = built(Backoff::builder().base(50 * MS).jitter(Jitter::None));
    check(doubling, 0, [50, 100, 200, 400, 800, 1600]);
}

#[test]
fn fibonacci_numbers_end_where_they_no_longer_fit() {
    assert_eq!(
        [0, 1, 2, 3, 10, 92, 93].map(fibonacci),
        [1, 1, 1, 2, 55, 7_540_113_804_746_346_429, 12_200_160_415_121_876_738]
    );
    assert_eq!([94, 95, u32::MAX].map(fibonacci), [u64::MAX; 3]);
}

#[test]
fn extremes_of_every_number_stay_under_the_cap() {
    let growths = [Growth::Constant, Growth::Linear, Growth::Fibonacci, Growth::Exponential { factor: u32::MAX }];
    for (base, cap) in [(MS, Duration::MAX), (Duration::MAX, Duration::MAX), (MS, MS)] {
        let mut backoffs = std::vec![Backoff::decorrelated(base, cap).unwrap()];
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Proportional(100)] {
            backoffs.extend(
                growths.map(|growth| built(Backoff::builder().base(base).cap(cap).growth(growth).jitter(jitter))),
            );
        }
        for backoff in backoffs {
            for retry in [0, 1, 2, 3, 64, u32::MAX] {
                for (entropy, previous) in [(0, Duration::MAX), (1, Duration::ZERO), (u64::MAX, Duration::MAX)] {
                    assert!(backoff.delay(retry, previous, entropy) <= cap);
                }
            }
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let zero = Growth::Exponential { factor: 0 };
    for (built, want) in [
        (Backoff::builder().base(Duration::ZERO).build(), "base is 0ns, which is not more than zero"),
        (Backoff::builder().growth(zero).build(), "factor is 0, which is not at least 1"),
        (Backoff::builder().cap(MS).build(), "cap is 1ms: it must be at least as long as base, which is 100ms"),
        (Backoff::decorrelated(Duration::ZERO, MS), "base is 0ns, which is not more than zero"),
        (Backoff::decorrelated(2 * MS, MS), "cap is 1ms: it must be at least as long as base, which is 2ms"),
    ] {
        assert_eq!(std::string::ToString::to_string(&built.unwrap_err()), want);
    }
}

#[test]
fn the_defaults_are_those_of_the_table() {
    assert_eq!(Backoff::default(), built(Backoff::builder()));
    check(Backoff::default(), u64::MAX, [100, 200, 400, 800, 1600, 3200]);
    assert_eq!(Backoff::default().delay(99, Duration::ZERO, u64::MAX), Duration::from_secs(10));
}
