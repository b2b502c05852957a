//! Limits against a modelled server whose capacity changes: where they settle, and how near that is to the truth.

extern crate std;

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::vec::Vec;

use super::tests::random;
use super::{Algorithm, ConcurrencyLimit, Permit};
use crate::outcome::OutcomeKind;
use crate::time::{Instant, saturating_nanos};

/// A server that works on `workers` calls at a time, and the clients behind one limit that use it.
struct World {
    limit: ConcurrencyLimit,
    /// When each worker has done what it has to do.
    workers: BinaryHeap<Reverse<u64>>,
    service: Service,
    /// It turns down what would wait behind more calls than these.
    queue: usize,
    /// How many callers there are; each makes the next call as soon as it may.
    callers: u32,
    now: u64,
    calls: BTreeMap<(u64, u64), (Permit, OutcomeKind)>,
    started: u64,
    random: u64,
}

/// How long the server works on one call.
#[derive(Clone, Copy, Debug)]
enum Service {
    Always(u64),
    /// Exponentially distributed, with this mean.
    Exponential(u64),
}

/// What happened in a stretch of time.
#[derive(Debug)]
struct Report {
    /// Over time.
    mean_limit: f64,
    most: u32,
    /// Calls that succeeded, of those that the workers could have done. In percent.
    used: f64,
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl World {
    /// A server of 50 ms of work per call. AIMD learns from what it turns down, the others from how long calls wait.
    fn new(algorithm: Algorithm, workers: usize, service: fn(u64) -> Service) -> Self {
        let mut world = Self {
            limit: ConcurrencyLimit::builder().algorithm(algorithm).max(10_000).build().unwrap(),
            workers: BinaryHeap::new(),
            service: service(50_000_000),
            queue: usize::MAX,
            callers: u32::MAX,
            now: 0,
            calls: BTreeMap::new(),
            started: 0,
            random: 7,
        };
        world.resize(workers, algorithm);
        world
    }

    fn resize(&mut self, workers: usize, algorithm: Algorithm) {
        self.queue = if algorithm == Algorithm::Aimd { workers / 5 } else { usize::MAX };
        // The calls on their way keep their times; the last workers to be free leave first.
        let mut ready: Vec<_> = core::mem::take(&mut self.workers).into_vec();
        ready.sort_unstable_by_key(|Reverse(at)| *at);
        ready.resize(workers, Reverse(self.now));
        self.workers = ready.into();
    }

    fn serve(&mut self) -> (u64, OutcomeKind) {
        let waiting = self.calls.len().saturating_sub(self.workers.len());
        if waiting >= self.queue {
            return (self.now + 1_000_000, OutcomeKind::Throttled);
        }
        let service = match self.service {
            Service::Always(nanos) => nanos,
            Service::Exponential(mean) => {
                let below_one = (random(&mut self.random) >> 11) as f64 / (1_u64 << 53) as f64;
                // At most 37 times the mean, and never negative.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let nanos = (-(1.0 - below_one).ln() * mean as f64) as u64;
                nanos
            }
        };
        let mut worker = self.workers.peek_mut().unwrap();
        worker.0 = worker.0.max(self.now) + service;
        (worker.0, OutcomeKind::Success)
    }

    fn play(&mut self, time: Duration) -> Report {
        let (began, end) = (self.now, self.now + saturating_nanos(time));
        let (mut area, mut most, mut done) = (0.0, 0, 0_u32);
        while self.now < end {
            while self.limit.in_flight() < self.callers {
                let Ok(permit) = self.limit.try_acquire(Instant::from_nanos(self.now)) else { break };
                assert!(self.limit.in_flight() <= self.limit.limit());
                let (at, outcome) = self.serve();
                self.started += 1;
                self.calls.insert((at, self.started), (permit, outcome));
            }
            let limit = self.limit.limit();
            most = most.max(limit);
            let ((at, _), (permit, outcome)) = self.calls.pop_first().unwrap();
            area += f64::from(limit) * (at - self.now) as f64;
            self.now = at;
            done += u32::from(outcome == OutcomeKind::Success);
            self.limit.record(Instant::from_nanos(at), permit, outcome);
        }
        let span = (self.now - began) as f64;
        let service = match self.service {
            Service::Always(nanos) | Service::Exponential(nanos) => nanos as f64,
        };
        let possible = self.workers.len() as f64 * span / service;
        Report { mean_limit: area / span, most, used: 100.0 * f64::from(done) / possible }
    }
}

/// After a minute to find it, one minute at the true capacity: the mean limit as a range, and the least use of it.
fn settles(algorithm: Algorithm, workers: usize, service: fn(u64) -> Service, mean: [f64; 2], used: f64) {
    let mut world = World::new(algorithm, workers, service);
    world.play(secs(60));
    let report = world.play(secs(60));
    let settled = (mean[0]..=mean[1]).contains(&report.mean_limit) && report.used >= used;
    assert!(settled, "{algorithm:?}, {workers} workers: {report:.1?}");
}

#[test]
fn aimd_settles_between_nine_tenths_and_all_of_what_is_taken() {
    for service in [Service::Always, Service::Exponential] {
        // A fifth of the workers' number may wait; what is taken is six fifths.
        settles(Algorithm::Aimd, 20, service, [22.0, 25.0], 97.0);
        settles(Algorithm::Aimd, 100, service, [109.0, 120.0], 98.0);
    }
}

#[test]
fn gradient2_settles_within_a_tenth_of_the_workers_and_its_room() {
    settles(Algorithm::Gradient2, 5, Service::Always, [8.0, 9.5], 99.0);
    settles(Algorithm::Gradient2, 20, Service::Always, [23.0, 26.0], 98.0);
    settles(Algorithm::Gradient2, 100, Service::Always, [105.0, 112.0], 98.0);
    settles(Algorithm::Gradient2, 5, Service::Exponential, [7.0, 9.5], 97.0);
    settles(Algorithm::Gradient2, 20, Service::Exponential, [18.0, 24.0], 93.0);
    settles(Algorithm::Gradient2, 100, Service::Exponential, [90.0, 110.0], 93.0);
}

#[test]
fn vegas_settles_within_a_tenth_of_the_workers_and_six_steps() {
    settles(Algorithm::Vegas, 5, Service::Always, [8.0, 11.0], 99.0);
    settles(Algorithm::Vegas, 20, Service::Always, [22.0, 26.0], 98.0);
    settles(Algorithm::Vegas, 100, Service::Always, [102.0, 112.0], 98.0);
    settles(Algorithm::Vegas, 5, Service::Exponential, [7.0, 11.0], 97.0);
    settles(Algorithm::Vegas, 20, Service::Exponential, [20.0, 28.0], 95.0);
    settles(Algorithm::Vegas, 100, Service::Exponential, [95.0, 115.0], 95.0);
}

#[test]
fn it_follows_the_server_down_and_up_again() {
    for (algorithm, down_within, up_within) in
        [(Algorithm::Aimd, 5, 10), (Algorithm::Gradient2, 10, 10), (Algorithm::Vegas, 40, 5)]
    {
        let mut world = World::new(algorithm, 100, Service::Always);
        world.play(secs(60));
        world.resize(20, algorithm);
        world.play(secs(down_within));
        let down = world.play(secs(10));
        assert!(down.mean_limit < 30.0 && down.used > 98.0, "{algorithm:?} {down:.1?}");
        world.resize(100, algorithm);
        world.play(secs(up_within));
        let up = world.play(secs(10));
        assert!((100.0..121.0).contains(&up.mean_limit) && up.used > 98.0, "{algorithm:?} {up:.1?}");
    }
}

#[test]
fn no_drift_under_overload() {
    for algorithm in [Algorithm::Gradient2, Algorithm::Vegas] {
        for service in [Service::Always, Service::Exponential] {
            let mut world = World::new(algorithm, 20, service);
            world.play(secs(60));
            let early = world.play(secs(200));
            world.play(secs(600));
            let late = world.play(secs(200));
            let drift = late.mean_limit - early.mean_limit;
            assert!(drift < 1.0 && late.most < 40, "{algorithm:?}: {early:.1?}, ten minutes later {late:.1?}");
        }
    }
}

#[test]
fn no_growth_without_use() {
    for algorithm in [Algorithm::Aimd, Algorithm::Gradient2, Algorithm::Vegas] {
        let mut world = World::new(algorithm, 100, Service::Always);
        world.callers = 9;
        assert!(world.play(secs(60)).most == 20, "{algorithm:?}: nine calls at once are not half of 20");
        world.callers = 10;
        assert!((21..=26).contains(&world.play(secs(60)).most), "{algorithm:?}: ten are half of it, once");
        world.callers = 40;
        let report = world.play(secs(60));
        assert!(report.most > 40 && report.most < 87, "{algorithm:?}: at most twice the use and a step, {report:.1?}");
    }
}

#[test]
fn a_steady_timeout_shrinks_the_limit_however_steady() {
    for algorithm in [Algorithm::Aimd, Algorithm::Gradient2, Algorithm::Vegas] {
        let mut limit = ConcurrencyLimit::builder().algorithm(algorithm).build().unwrap();
        for round in 1..100 {
            let start = Instant::from_nanos(round * 10_000_000_000);
            let permits: Vec<_> = core::iter::from_fn(|| limit.try_acquire(start).ok()).collect();
            for permit in permits {
                limit.record(start + secs(5), permit, OutcomeKind::Transient);
            }
        }
        assert_eq!(limit.limit(), 1, "{algorithm:?}");
    }
}
