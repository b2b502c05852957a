//! Other settings, while callers wait in line and attempts are under way.

use core::num::NonZeroU32;
use core::time::Duration;

use steadfast_core::circuit_breaker::{CircuitBreaker, Mode};
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::rejected::Rejected;
use steadfast_core::time::{Instant, Timer};
use steadfast_executor::SharedPipeline;

use crate::support::{Tasks, World, millis, ms, quota};

type Done = Result<(), Rejected>;

fn per_second(tokens: u32, burst: u32) -> Quota {
    quota(tokens, Duration::from_secs(1), burst)
}

fn limited(quota: Quota) -> PipelineBuilder {
    Pipeline::builder().rate_limit(TokenBucket::new(quota))
}

fn slots(limit: u32) -> PipelineBuilder {
    Pipeline::builder().concurrency_limit(ConcurrencyLimit::fixed(limit).build().expect("settings that can be"))
}

/// A call that weighs so much, and whose one attempt takes so long.
async fn call(pipeline: &SharedPipeline<World>, weight: u32, takes: Duration) -> Done {
    let options = CallOptions::idempotent().with_weight(NonZeroU32::new(weight).expect("some"));
    let attempt = |_| async {
        let until = steadfast_core::time::Clock::now(pipeline.timer()) + takes;
        pipeline.timer().sleep_until(until).await;
    };
    pipeline.call(options, |()| Outcome::success(), attempt).await.map_err(|error| error.rejected)
}

/// Begins calls of these weights, changes the settings at a time, and compares when each ended, and how.
fn check(
    from: PipelineBuilder,
    (weights, takes): (&[u32], Duration),
    (at, to): (Instant, PipelineBuilder),
    want: &[(u64, Done)],
) {
    let world = World::default();
    let pipeline = SharedPipeline::new(from.build().expect("settings that can be"), world.clone());
    let mut tasks = Tasks::new(&world);
    for weight in weights {
        tasks.spawn(call(&pipeline, *weight, takes));
    }
    tasks.run_until(at);
    world.set(at);
    pipeline.reconfigure(&to.build().expect("settings that can be")).expect("settings that can change");
    tasks.run_until(Instant::MAX);
    let done: Vec<_> = tasks.tasks.iter().map(|task| task.done.as_ref().map(|(at, done)| (*at, *done))).collect();
    let want: Vec<_> = want.iter().map(|(at, done)| Some((ms(*at), *done))).collect();
    assert_eq!(done, want);
}

#[test]
fn those_who_wait_go_by_another_quota_in_the_order_in_which_they_came() {
    // Half a token has come in at 500 ms, and the other half comes at the new pace.
    let want = [(0, Ok(())), (550, Ok(())), (650, Ok(())), (750, Ok(()))];
    check(limited(per_second(1, 1)), (&[1; 4], Duration::ZERO), (ms(500), limited(per_second(10, 1))), &want);
    let want = [(0, Ok(())), (100, Ok(())), (650, Ok(())), (1_650, Ok(()))];
    check(limited(per_second(10, 1)), (&[1; 4], Duration::ZERO), (ms(150), limited(per_second(1, 1))), &want);
}

#[test]
fn a_debt_is_owed_under_the_next_quota_too() {
    // Ten at once have emptied the bucket, and a larger one is as empty: at 100 ms there is one token, and not 91.
    let want = [(0, Ok(())), (1_000, Ok(()))];
    check(limited(per_second(10, 10)), (&[10, 10], Duration::ZERO), (ms(100), limited(per_second(10, 100))), &want);
}

#[test]
fn who_can_never_be_served_under_the_next_quota_is_told_so() {
    // The two tokens that have come in by then go to the one behind it.
    let want = [(0, Ok(())), (200, Err(Rejected::TooHeavy { tokens: 5, burst: 2 })), (200, Ok(()))];
    check(limited(per_second(10, 5)), (&[5, 5, 2], Duration::ZERO), (ms(200), limited(per_second(2, 2))), &want);
}

#[test]
fn more_slots_are_taken_at_once_by_the_first_in_line() {
    let want = [(1_000, Ok(())), (1_500, Ok(())), (1_500, Ok(())), (2_000, Ok(()))];
    check(slots(1), (&[1; 4], millis(1_000)), (ms(500), slots(3)), &want);
}

#[test]
fn a_breaker_that_is_forced_open_refuses_those_in_line_at_once() {
    let forced = CircuitBreaker::builder().mode(Mode::ForcedOpen).build().expect("settings that can be");
    let to = limited(per_second(1, 1)).circuit_breaker(forced);
    let refused = (200, Err(Rejected::CircuitForcedOpen));
    check(limited(per_second(1, 1)), (&[1; 3], Duration::ZERO), (ms(200), to), &[(0, Ok(())), refused, refused]);
}

#[test]
fn what_is_refused_changes_nothing_for_those_who_wait() {
    let world = World::default();
    let pipeline = SharedPipeline::new(limited(per_second(1, 1)).build().expect("settings that can be"), world.clone());
    let mut tasks = Tasks::new(&world);
    for _ in 0..3 {
        tasks.spawn(call(&pipeline, 1, Duration::ZERO));
    }
    let before = pipeline.describe();
    let to = limited(per_second(100, 1)).without_circuit_breaker().build().expect("settings that can be");
    assert!(pipeline.reconfigure(&to).is_err());
    assert_eq!(pipeline.describe(), before);
    tasks.run_until(Instant::MAX);
    assert_eq!([0, 1, 2].map(|task| tasks.done_at(task)), [ms(0), ms(1_000), ms(2_000)].map(Some));
}
