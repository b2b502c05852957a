//! Scripts for one limit, and random ones against its invariants. Where it settles is in [`simulation`](super::simulation).

extern crate std;

use core::time::Duration;
use std::collections::VecDeque;
use std::string::ToString;
use std::vec::Vec;

use super::{Algorithm, ConcurrencyLimit, ConcurrencyLimitBuilder, Permit, Recorded};
use crate::outcome::OutcomeKind::{self, Permanent, Success, Throttled, Transient};
use crate::time::Instant;

const ADAPTIVE: [Algorithm; 3] = [Algorithm::Aimd, Algorithm::Vegas, Algorithm::Gradient2];

const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

const fn minute(minutes: u64) -> Instant {
    ms(minutes * 60_000)
}

const fn builder(algorithm: Algorithm) -> ConcurrencyLimitBuilder {
    ConcurrencyLimit::builder().algorithm(algorithm)
}

/// Takes every slot, and frees them all `latency` later.
fn round(limit: &mut ConcurrencyLimit, now: &mut Instant, latency: u64, outcome: OutcomeKind) -> u32 {
    let permits: Vec<_> = core::iter::from_fn(|| limit.try_acquire(*now).ok()).collect();
    *now += Duration::from_millis(latency);
    for permit in permits {
        limit.record(*now, permit, outcome);
    }
    limit.limit()
}

/// Plays rounds of so many milliseconds, each call ending so, and compares the limit after each.
fn check(builder: ConcurrencyLimitBuilder, script: &[(u64, OutcomeKind, u32)]) {
    let (mut limit, mut now) = (builder.build().unwrap(), ms(0));
    for (line, (latency, outcome, want)) in script.iter().enumerate() {
        assert_eq!(round(&mut limit, &mut now, *latency, *outcome), *want, "line {line}: {latency} ms, {outcome:?}");
    }
}

#[test]
fn never_above_the_limit() {
    let mut limit = ConcurrencyLimit::fixed(2).build().unwrap();
    let first = limit.try_acquire(ms(0)).unwrap();
    let second = limit.try_acquire(ms(0)).unwrap();
    let refusal = limit.try_acquire(ms(0)).unwrap_err();
    assert_eq!((refusal.in_flight, refusal.limit), (2, 2));
    assert_eq!(refusal.to_string(), "concurrency limit: 2 calls are in flight, of 2 that may be");
    assert_eq!(limit.record(ms(9), first, Transient), Recorded::Noted);
    let third = limit.try_acquire(ms(9)).unwrap();
    assert_eq!(limit.in_flight(), 2);
    assert_eq!((limit.abandon(second), limit.abandon(third), limit.in_flight()), (Recorded::Noted, Recorded::Noted, 0));
}

#[test]
fn a_fixed_limit_stays() {
    for outcome in [Success, Transient, Throttled, Permanent] {
        check(ConcurrencyLimit::fixed(20), &[(10, outcome, 20); 40]);
    }
}

#[test]
fn aimd_adds_one_a_round_and_takes_a_tenth_a_failure() {
    check(
        builder(Algorithm::Aimd).max(22),
        &[
            (10, Success, 21),
            (999, Success, 22),
            (10, Success, 22),
            (10, Transient, 19), // A tenth of 22 and of the fraction of a slot that is left.
            (10, Throttled, 17),
            (10, Permanent, 17),
            (10, Success, 18),
        ],
    );
    let few = builder(Algorithm::Aimd).initial(5).min(2);
    check(few, &[(10, Transient, 4), (10, Transient, 3), (10, Transient, 2), (10, Transient, 2), (10, Success, 3)]);
}

#[test]
fn vegas_goes_by_the_calls_that_wait() {
    check(
        builder(Algorithm::Vegas),
        &[
            (100, Success, 20), // It measures.
            (100, Success, 26),
            (103, Success, 32), // One waits.
            (106, Success, 33), // Two wait.
            (109, Success, 33), // Three do, 33 × (1 − 100 ÷ 109), and may.
            (120, Success, 33),
            (123, Success, 32), // Seven do.
            (123, Transient, 31),
            (0, Success, 31), // The clock is too coarse to tell.
        ],
    );
    check(builder(Algorithm::Vegas).initial(150), &[(100, Success, 150), (100, Success, 162), (100, Throttled, 160)]);
    for (initial, after) in [(999, 1011), (1000, 1186), (1600, 1840)] {
        let vegas = builder(Algorithm::Vegas).initial(initial).max(9999);
        check(vegas, &[(100, Success, initial), (100, Success, after)]);
    }
    check(builder(Algorithm::Vegas).initial(1), &[(100, Success, 1), (100, Success, 7), (100, Transient, 6)]);
}

#[test]
fn gradient2_goes_by_the_gradient_and_leaves_room() {
    check(
        builder(Algorithm::Gradient2),
        &[
            (100, Success, 20),  // It measures.
            (100, Success, 20),  // 20.8
            (100, Success, 21),  // 21.6
            (125, Success, 21),  // 21.6 × 0.96 + 0.8
            (1000, Success, 20), // No gradient counts as less than a half: 21.5 × 0.9 + 0.8
            (100, Transient, 18),
            (0, Success, 18),   // The clock is too coarse to tell.
            (100, Success, 18), // 18.96
            (100, Success, 19),
        ],
    );
    check(builder(Algorithm::Gradient2).initial(100), &[(100, Success, 100), (100, Success, 102), (200, Success, 93)]);
}

#[test]
fn a_probe_runs_at_half_the_limit_and_measures() {
    for (algorithm, bearable) in [(Algorithm::Vegas, 178), (Algorithm::Gradient2, 156)] {
        let (mut limit, mut now) = (builder(algorithm).min(8).max(20).build().unwrap(), ms(0));
        for _ in 0..31 {
            assert_eq!(round(&mut limit, &mut now, 100, Success), 20);
        }
        assert_eq!(round(&mut limit, &mut now, 100, Success), 10, "{algorithm:?}");
        assert_eq!(round(&mut limit, &mut now, 100, Permanent), 10, "it lasts until something was measured");
        // It takes a quarter of what is measured: 125 ms now count as nothing out of the ordinary.
        assert_eq!(round(&mut limit, &mut now, 200, Success), 20);
        assert_eq!(round(&mut limit, &mut now, 125, Success), 20);
        assert_eq!([bearable, bearable + 1].map(|latency| round(&mut limit, &mut now, latency, Success)), [20, 19]);
    }
    let (mut limit, mut now) = (builder(Algorithm::Vegas).min(15).max(20).build().unwrap(), ms(0));
    let limits: Vec<_> = (0..40).map(|_| round(&mut limit, &mut now, 100, Success)).collect();
    assert_eq!(limits.iter().min(), Some(&15), "not below the least");
}

#[test]
fn a_base_of_twice_the_latency_comes_down() {
    let (mut limit, mut now) = (builder(Algorithm::Gradient2).max(20).build().unwrap(), ms(0));
    round(&mut limit, &mut now, 1000, Success);
    for _ in 0..8 {
        round(&mut limit, &mut now, 100, Success);
    }
    // The base is at 1000 × 0.9⁸ = 430 ms by now, and 20 calls shrink at 1.25 times that.
    assert_eq!(round(&mut limit, &mut now, 520, Success), 20);
    assert_eq!(round(&mut limit, &mut now, 560, Success), 19);
    // Half the latency is not yet a reason.
    check(builder(Algorithm::Gradient2).max(20), &[(1000, Success, 20), (500, Success, 20), (1200, Success, 20)]);
}

#[test]
fn a_limit_that_is_not_used_may_shrink() {
    let (mut limit, mut now) = (builder(Algorithm::Gradient2).build().unwrap(), ms(0));
    for (latency, want) in [(100, 20), (100, 20), (200, 18), (200, 17)] {
        for _ in 0..10 {
            let permit = limit.try_acquire(now).unwrap();
            now += Duration::from_millis(latency);
            limit.record(now, permit, Success);
        }
        assert_eq!(limit.limit(), want);
    }
}

#[test]
fn only_calls_of_the_round_teach() {
    for algorithm in ADAPTIVE {
        let mut limit = builder(algorithm).build().unwrap();
        let mut permits: VecDeque<_> = core::iter::from_fn(|| limit.try_acquire(ms(0)).ok()).collect();
        let Recorded::Changed { from: 20, to } = limit.record(ms(5), permits.pop_front().unwrap(), Transient) else {
            panic!("{algorithm:?}: the first failure shrinks it")
        };
        for permit in permits {
            assert_eq!(limit.record(ms(5), permit, Transient), Recorded::Noted);
        }
        assert_eq!((limit.limit(), limit.in_flight()), (to, 0), "{algorithm:?}: the others are of an earlier round");
    }
}

#[test]
fn a_round_needs_as_many_calls_as_are_in_flight_and_ten_of_an_idle_client() {
    let mut limit = builder(Algorithm::Aimd).build().unwrap();
    let permits: Vec<_> = core::iter::from_fn(|| limit.try_acquire(ms(0)).ok()).collect();
    let ended: Vec<_> = permits.into_iter().map(|permit| limit.record(ms(1), permit, Success)).collect();
    // Nothing was in flight when the first round began.
    assert_eq!(ended.iter().position(|end| *end == Recorded::Changed { from: 20, to: 21 }), Some(9));
    let permits: Vec<_> = core::iter::from_fn(|| limit.try_acquire(ms(1)).ok()).collect();
    limit.record(ms(2), permits.into_iter().next().unwrap(), Transient); // 18, with 20 in flight.
    for (line, want) in [18; 17].into_iter().chain([19]).enumerate() {
        // As if a slot had been free.
        limit.record(ms(3), Permit { started: ms(2), epoch: limit.epoch, generation: 0 }, Success);
        assert_eq!(limit.limit(), want, "call {line}");
    }
}

#[test]
fn a_lost_permit_s_slot_comes_back() {
    let mut limit = ConcurrencyLimit::fixed(2).build().unwrap();
    assert_eq!(limit.lease(), Duration::from_secs(60));
    for (now, in_flight, at_latest) in [
        (minute(0), 1, None),
        (ms(59_999), 2, None),
        (ms(59_999), 2, Some(minute(2))),
        (minute(1), 2, Some(minute(2))),
        (ms(119_999), 2, Some(minute(2))),
        (minute(2), 1, None),
        (minute(3), 2, None),
        (minute(3), 2, Some(minute(4))), // The one of the second minute goes first.
        (minute(4), 2, None),
        (minute(9), 1, None), // Both are over.
    ] {
        let refused = limit.try_acquire(now).err().map(|refusal| refusal.at_latest);
        assert_eq!((limit.in_flight(), refused), (in_flight, at_latest), "at {now}");
    }
}

#[test]
fn a_permit_that_outlived_its_lease_is_late() {
    let mut limit = ConcurrencyLimit::fixed(9).build().unwrap();
    let [kept, lost, dropped] = [0; 3].map(|_| limit.try_acquire(minute(0)).unwrap());
    assert_eq!(limit.record(ms(119_999), kept, Success), Recorded::Noted);
    let next = limit.try_acquire(minute(2)).unwrap();
    assert_eq!(limit.record(minute(2), lost, Success), Recorded::Late);
    assert_eq!((limit.abandon(dropped), limit.in_flight()), (Recorded::Late, 1));
    assert_eq!((limit.record(minute(3), next, Success), limit.in_flight()), (Recorded::Noted, 0));
}

#[test]
fn a_lease_begins_anew_when_the_clock_steps_back() {
    let mut limit = ConcurrencyLimit::fixed(1).build().unwrap();
    let _lost = limit.try_acquire(Instant::MAX);
    assert_eq!(limit.try_acquire(Instant::MAX).unwrap_err().at_latest, Instant::MAX);
    assert_eq!(limit.try_acquire(minute(5)).unwrap_err().at_latest, minute(7));
    assert!(limit.try_acquire(minute(7)).is_ok());
}

/// `SplitMix64`, a generator.
pub(super) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Random calls at the times that `clock` tells, against every invariant that holds at any time.
fn play(seed: u64, clock: fn(&mut u64, Instant) -> Instant) {
    let mut state = seed;
    let algorithm = [Algorithm::Fixed, Algorithm::Aimd, Algorithm::Vegas, Algorithm::Gradient2][(seed % 4) as usize];
    let (min, max) = (2, 2 + (random(&mut state) >> 32 >> (seed % 32)) as u32);
    let settings =
        builder(algorithm).min(min).initial(min + (max - min) / 2).max(max).lease(Duration::from_nanos(1000));
    let (mut limit, mut now, mut permits) = (settings.build().unwrap(), ms(0), VecDeque::new());
    for _ in 0..500 {
        now = clock(&mut state, now);
        let before = limit.in_flight();
        match random(&mut state) % 8 {
            0..4 => match limit.try_acquire(now) {
                Ok(permit) => {
                    assert!(limit.in_flight() <= limit.limit() && limit.in_flight() <= before + 1);
                    permits.push_back(permit);
                }
                Err(refusal) => {
                    assert!(refusal.in_flight >= refusal.limit && refusal.limit == limit.limit());
                    assert!(refusal.at_latest > now || now == Instant::MAX);
                }
            },
            what => {
                let permit = if random(&mut state) % 2 == 0 { permits.pop_front() } else { permits.pop_back() };
                let Some(permit) = permit else { continue };
                let recorded = match what {
                    4 => limit.abandon(permit),
                    5 => limit.record(now, permit, Success),
                    6 => limit.record(now, permit, Throttled),
                    _ => limit.record(now, permit, Permanent),
                };
                assert!(recorded == Recorded::Late || before > limit.in_flight());
                assert!(limit.in_flight() <= before);
            }
        }
        assert!((min..=max).contains(&limit.limit()), "{}", limit.limit());
    }
    for permit in permits {
        limit.abandon(permit);
    }
    assert_eq!(limit.in_flight(), 0, "every permit that was not late gave back its slot");
}

#[test]
fn a_slot_comes_back_once() {
    for seed in 0..400 {
        play(seed, |state, now| now + Duration::from_nanos(random(state) % 400));
    }
}

#[test]
fn any_time_is_survived() {
    for seed in 0..400 {
        play(seed, |state, _| Instant::from_nanos(random(state) >> (random(state) % 64)));
        play(seed, |state, now| if random(state) % 9 == 0 { Instant::MAX } else { now });
    }
}

#[test]
fn a_refusal_is_honest() {
    let mut state = 3;
    for lease in [1, 7, 1000] {
        let mut limit = ConcurrencyLimit::fixed(3).lease(Duration::from_nanos(lease)).build().unwrap();
        let mut now = ms(0);
        for _ in 0..1000 {
            now += Duration::from_nanos(random(&mut state) % lease);
            if let Err(refusal) = limit.try_acquire(now) {
                assert!(refusal.at_latest > now);
                now = Instant::from_nanos(refusal.at_latest.as_nanos() - 1);
                assert_eq!(limit.try_acquire(now).unwrap_err(), refusal);
                now = refusal.at_latest;
                assert!(limit.try_acquire(now).is_ok(), "every permit before was lost");
            }
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    for (builder, want) in [
        (ConcurrencyLimit::builder().min(0), "min is 0, which is not at least 1"),
        (ConcurrencyLimit::fixed(0), "min is 0, which is not at least 1"),
        (ConcurrencyLimit::builder().min(21), "initial is 20: it must be at least min, which is 21"),
        (ConcurrencyLimit::builder().max(19), "max is 19: it must be at least initial, which is 20"),
        (ConcurrencyLimit::builder().lease(Duration::ZERO), "lease is 0ns, which is not more than zero"),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), want);
    }
    assert_eq!(ConcurrencyLimit::default().limit(), 20);
}

#[test]
fn other_bounds_hold_at_once_and_calls_in_flight_stay() {
    let mut limit = ConcurrencyLimit::fixed(3).build().unwrap();
    let permits: Vec<_> = (0..3).map(|_| limit.try_acquire(ms(0)).unwrap()).collect();
    assert_eq!(limit.set_bounds(2, 2), Ok(Recorded::Changed { from: 3, to: 2 }));
    for (ended, permit) in (1..).zip(permits) {
        assert!(limit.check(ms(0)).is_err(), "{} are in flight", 4 - ended);
        limit.record(ms(0), permit, Success);
        if ended == 2 {
            assert_eq!(limit.check(ms(0)), Ok(()));
            break;
        }
    }
    assert_eq!(limit.set_bounds(5, 5), Ok(Recorded::Changed { from: 2, to: 5 }));
    assert_eq!((limit.limit(), limit.bounds()), (5, (5, 5)));
    assert_eq!(limit.set_bounds(5, 9), Ok(Recorded::Noted));
    for (min, max) in [(0, 9), (9, 8)] {
        assert!(limit.set_bounds(min, max).is_err());
        assert_eq!(limit.bounds(), (5, 9), "nothing changes");
    }
}

#[test]
fn looking_takes_nothing() {
    let mut limit = ConcurrencyLimit::fixed(1).build().unwrap();
    assert_eq!((limit.check(ms(0)), limit.check(ms(0))), (Ok(()), Ok(())));
    let _permit = limit.try_acquire(ms(0)).unwrap();
    assert_eq!(limit.check(ms(0)), Err(limit.try_acquire(ms(0)).unwrap_err()));
}
