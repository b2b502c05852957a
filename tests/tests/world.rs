//! The simulated world: it counts right, it is the same in every run, and it decides as every other driver does.

mod drivers;
mod runtimes;

use proptest::prelude::*;
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::pipeline::Pipeline;
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::time::Instant;
use steadfast_tests::world::{
    Arrivals, ClientKind, Condition, Report, Second, Server, Service, World, millis, minutes, only, seconds,
};

use crate::support::{config, quota};

#[test]
fn a_dead_dependency_sees_one_probe_per_cool_down() {
    let breaker = CircuitBreaker::builder().failure_threshold(5).open_for(seconds(30)).open_jitter(0).build().unwrap();
    let report = World::outage(minutes(1)..minutes(21)).caller_every(millis(10)).play(only(breaker));
    assert_eq!(report.attempts_during_outage, 5 + (1_260 - 60) / 30 - 1);
}

/// A hundred clients and a server that is just large enough for them, with every kind of trouble once.
fn troubled() -> World {
    World::new()
        .clients(100)
        .arrivals(Arrivals::Poisson(seconds(1)))
        .server(Server::with_slots(12).service(Service::Exponential(millis(100))).queue(300).latency(millis(5)))
        .with(seconds(5)..seconds(10), Condition::Fails { percent: 30 })
        .with(seconds(15)..seconds(20), Condition::Slow { times: 5 })
        .with(seconds(25)..seconds(35), Condition::Throttles { per_second: 60, retry_after: seconds(2) })
        .with(seconds(40)..seconds(45), Condition::Hangs)
        .with(seconds(50)..seconds(55), Condition::Refuses)
        .with(seconds(55)..seconds(65), Condition::Cold { percent: 20 })
}

#[test]
fn equal_seeds_give_equal_reports_and_other_seeds_others() {
    let play = |seed| troubled().seed(seed).play(|_| Pipeline::default());
    let reports: Vec<Report> = (0..4).map(play).collect();
    for (one, seed) in reports.iter().zip(0..) {
        assert_eq!(*one, play(seed));
        let same = reports.iter().filter(|other| one.seconds == other.seconds).count();
        assert_eq!(same, 1, "two seeds, and every second the same");
    }
}

#[test]
fn a_world_can_be_played_in_pieces() {
    let world = troubled();
    let mut play = world.start(|_| Pipeline::default(), &());
    let mut succeeded = 0;
    for second in 0..200 {
        let now = play.run_until(Instant::EPOCH + millis(500 * second));
        assert!(now >= succeeded);
        succeeded = now;
    }
    assert_eq!(play.finish(), world.play(|_| Pipeline::default()));
}

/// What must hold of any report.
fn check(report: &Report) {
    assert_eq!(report.calls, report.succeeded + report.rejected + report.abandoned, "every call ends once");
    assert_eq!(report.attempts.total(), report.attempts_of_calls, "every attempt arrives");
    assert_eq!(report.attempts.served, report.succeeded, "an answer that is heard ends its call");
    assert_eq!(report.refusals.values().sum::<u64>(), report.rejected + report.abandoned, "every refusal has a reason");
    assert_eq!(report.early, 0, "no attempt before the Retry-After that its call was told");
    let sum = |of: fn(&Second) -> u32| -> u64 { report.seconds.iter().map(|second| u64::from(of(second))).sum() };
    assert_eq!(sum(|second| second.calls), report.calls);
    assert_eq!(sum(|second| second.succeeded), report.succeeded);
    // What happens after the last call was begun is in the totals only.
    assert!(sum(|second| second.attempts) <= report.attempts.total());
    assert!(sum(|second| second.wasted) <= report.attempts.wasted);
    assert!(sum(|second| second.good) <= report.succeeded);
}

fn conditions() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Refuses),
        Just(Condition::Hangs),
        (0..=100_u8).prop_map(|percent| Condition::Fails { percent }),
        (1..20_u32).prop_map(|times| Condition::Slow { times }),
        (0..50_u32, 0..5_000_u64)
            .prop_map(|(per_second, wait)| Condition::Throttles { per_second, retry_after: millis(wait) }),
        (1..=100_u8).prop_map(|percent| Condition::Cold { percent }),
    ]
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn every_call_ends_once_and_every_attempt_is_counted(
        phases in prop::collection::vec((0..20_000_u64, 1..10_000_u64, conditions()), 0..5),
        (slots, queue, latency) in (1..20_usize, 0..200_usize, 0..50_u64),
        (clients, period) in (1..40_usize, 50..2_000_u64),
        patience in prop::option::of(1..12_000_u64),
        (kind, seed) in (0..4_usize, any::<u64>()),
    ) {
        let server = Server::with_slots(slots).queue(queue).latency(millis(latency));
        let mut world = World::new()
            .clients(clients)
            .arrivals(Arrivals::Poisson(millis(period)))
            .server(server.service(Service::Exponential(millis(80))))
            .lasting(seconds(25))
            .seed(seed);
        for (from, lasts, condition) in phases {
            world = world.with(millis(from)..millis(from + lasts), condition);
        }
        if let Some(patience) = patience {
            world = world.patience(millis(patience));
        }
        let report = world.play(|_| ClientKind::ALL[kind].pipeline());
        check(&report);
        prop_assert!(patience.is_some() || report.abandoned == 0, "deadlines end every call");
    }
}

#[test]
fn every_kind_of_trouble_leaves_its_trace() {
    let report = troubled().patience(seconds(2)).play(|_| ClientKind::BackoffWithJitter.pipeline());
    check(&report);
    let attempts = report.attempts;
    let counts = [
        attempts.served,
        attempts.wasted,
        attempts.failed,
        attempts.refused,
        attempts.turned_away,
        attempts.throttled,
        attempts.lost,
        report.abandoned,
    ];
    assert!(counts.iter().all(|count| *count > 0), "{attempts:?}, {} abandoned", report.abandoned);
}

/// A server that throttles most calls, and clients of ten calls a second.
fn throttled(fleet: impl FnMut(usize) -> Pipeline) -> Report {
    let throttles = Condition::Throttles { per_second: 20, retry_after: seconds(3) };
    let world = World::new().clients(30).arrivals(Arrivals::Poisson(millis(100))).lasting(seconds(60));
    let report = world.with(seconds(10)..seconds(40), throttles).play(fleet);
    check(&report);
    assert!(report.attempts.throttled > 50);
    report
}

#[test]
fn a_retry_after_holds_back_every_call_of_the_client_that_was_told() {
    for limit in [None, Some(TokenBucket::new(quota(1_000, seconds(1), 100)))] {
        let mut limits = limit.into_iter();
        let report = throttled(|_| match limits.next() {
            Some(limit) => Pipeline::builder().rate_limit(limit).build().unwrap(),
            None => Pipeline::standard(),
        });
        assert!(report.attempts.throttled > 0, "nobody was told anything");
        assert_eq!(report.early_for_client, 0);
    }
}

/// The mean time of a call at a server without trouble, against theory, in milliseconds.
fn check_mean(arrivals: Arrivals, slots: usize, service: Service, want: f64) {
    let world = World::new().clients(50).arrivals(arrivals).server(Server::with_slots(slots).service(service));
    let report = world.lasting(minutes(120)).play(|_| ClientKind::ImmediateRetry.pipeline());
    check(&report);
    let mean = report.mean_latency().unwrap().as_secs_f64() * 1e3;
    let calls = report.calls;
    assert!((mean / want - 1.0).abs() < 0.03, "{slots} slots, {service:?}: {mean} ms of {calls} calls, not {want} ms");
}

#[test]
fn lines_are_as_long_as_queueing_theory_says() {
    // Fifty clients with a call every two seconds are 25 a second together.
    let poisson = || Arrivals::Poisson(seconds(2));
    // M/M/1, half loaded: 1 / (1/20 ms − 1/40 ms).
    check_mean(poisson(), 1, Service::Exponential(millis(20)), 40.0);
    // M/M/1, loaded to 80 %: 1 / (1/32 ms − 1/40 ms).
    check_mean(poisson(), 1, Service::Exponential(millis(32)), 160.0);
    // M/D/1 (Pollaczek and Khinchine), half and 80 % loaded: s + ρ s / 2(1 − ρ).
    check_mean(poisson(), 1, Service::Constant(millis(20)), 30.0);
    check_mean(poisson(), 1, Service::Constant(millis(32)), 96.0);
    // M/M/2 (Erlang's C), loaded to 80 %: s / (1 − ρ²).
    check_mean(poisson(), 2, Service::Exponential(millis(64)), 64.0 / (1.0 - 0.8 * 0.8));
    // D/D/1: nobody meets anybody.
    check_mean(Arrivals::Every(seconds(2)), 1, Service::Constant(millis(39)), 39.0);
}

/// A thousand clients, each with one call a second, and a server that can serve half as much again and is down for a
/// minute: in one way or the other, with a short line or a long one, and at once well or slower for half a minute.
fn storm(condition: Condition, queue: usize, cold_percent: u8) -> Report {
    let (from, until) = (seconds(60), seconds(120));
    World::new()
        .clients(1_000)
        .arrivals(Arrivals::RandomPhase(seconds(1)))
        .server(Server::with_slots(150).service(Service::Exponential(millis(100))).queue(queue).latency(millis(5)))
        .with(from..until, condition)
        .with(until..until + seconds(30), Condition::Cold { percent: cold_percent })
        .lasting(seconds(180))
        .seed(7)
        .play(|_| Pipeline::default())
}

/// Says what came of it, and whether the promise was kept.
fn keeps_promise_7(condition: Condition, queue: usize, cold_percent: u8) -> Result<String, String> {
    let report = storm(condition, queue, cold_percent);
    check(&report);
    let (extra, excess) = (report.extra_load_percent().unwrap(), report.excess_load_percent().unwrap());
    let (in_outage, in_recovery) = (report.peak_in_outage().unwrap(), report.peak_in_recovery().unwrap());
    let recovery = report.time_to_recover();
    let figures = format!(
        "{condition:?}, queue of {queue}, {cold_percent} % at first: in the outage {extra:+.0} % load, {excess:.0} % in \
         excess of the normal load, {in_outage:.2} times that at worst; in recovery {in_recovery:.2} times; well again \
         after {recovery:?}",
    );
    let kept = extra <= 20.0 && excess <= 20.0 && in_recovery <= 1.5 && recovery.is_some();
    if kept { Ok(figures) } else { Err(figures) }
}

/// Plays through every combination, prints what came of each, and fails if one breaks the promise.
fn check_promise_7(servers: &[(usize, u8)]) {
    let outages = [Condition::Refuses, Condition::Hangs];
    let worlds = outages.iter().flat_map(|outage| servers.iter().map(|&(queue, cold)| (*outage, queue, cold)));
    let mut broken = 0;
    for (outage, queue, cold_percent) in worlds {
        match keeps_promise_7(outage, queue, cold_percent) {
            Ok(figures) => println!("kept: {figures}"),
            Err(figures) => {
                println!("BROKEN: {figures}");
                broken += 1;
            }
        }
    }
    assert_eq!(broken, 0, "the promise is broken in so many worlds");
}

#[test]
fn promise_7_never_a_storm() {
    check_promise_7(&[(1_000, 100), (1_000, 50), (20_000, 30)]);
}

/// A server that cannot serve even the normal load when it comes back, and turns away what it cannot serve.
#[test]
fn promise_7_never_a_storm_at_a_server_that_comes_back_slowly() {
    check_promise_7(&[(1_000, 40), (1_000, 30), (1_000, 20), (1_000, 10)]);
}
