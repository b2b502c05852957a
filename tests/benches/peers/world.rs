//! One call of a fleet in the simulated world, and of the same fleet on tokio's paused clock.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use steadfast::TokioTimer;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::run::Runner;
use steadfast_core::time::Instant;
use steadfast_tests::world::{Server, Service, World, millis, minutes, seconds};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, unconstrained};
use tokio::time::{MissedTickBehavior, interval_at, sleep, sleep_until};

use crate::harness::{BATCH, Bench, Work};

/// As many as the calls of a batch: each client makes one call in each.
const CLIENTS: usize = 1_000;
/// Two milliseconds for each client, so that odd milliseconds are free to stop at: nothing happens then, and every side
/// has done whole batches.
const PERIOD: Duration = seconds(2);
/// How long the server takes.
const SERVICE: Duration = millis(100);

pub(crate) fn rows(bench: &mut Bench) {
    fleet(bench);
}

/// A thousand clients with the default pipeline, each with a call every two seconds that succeeds after 100 ms.
///
/// Equal work: the calls, their times and their pipelines are the same; the other side drives them with `run`, a task for
/// each client on a runtime of one thread, whose clock jumps to the next timer when everybody waits. That is what one
/// would do without a simulator. Ours also keeps its report, and the server has a line; there, an answer is a sleep.
fn fleet(bench: &mut Bench) {
    // As long as no row takes.
    let world = World::new()
        .clients(CLIENTS)
        .caller_every(PERIOD)
        .server(Server::with_slots(CLIENTS).service(Service::Constant(SERVICE)))
        .lasting(minutes(60 * 24 * 7));
    let mut play = world.start(|_| Pipeline::default(), &());
    let mut end = Instant::EPOCH + PERIOD + millis(1);
    let mut before = play.run_until(end);
    let mut ours = |batches| {
        for _ in 0..batches {
            end += PERIOD;
            play.run_until(end);
        }
        let succeeded = play.run_until(end);
        succeeded - std::mem::replace(&mut before, succeeded)
    };

    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let (tasks, succeeded) = (LocalSet::new(), Rc::new(Cell::new(0)));
    let enter = runtime.enter();
    let start = tokio::time::Instant::now();
    for client in 0..CLIENTS {
        let succeeded = Rc::clone(&succeeded);
        let offset = PERIOD.mul_f64(client as f64 / CLIENTS as f64);
        tasks.spawn_local(unconstrained(async move {
            let pipeline = RefCell::new(Pipeline::default());
            let timer = TokioTimer::new();
            let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
            let mut dice = fastrand::Rng::with_seed(client as u64);
            let mut due = interval_at(start + offset, PERIOD);
            due.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                due.tick().await;
                let served = |_| async { sleep(SERVICE).await };
                let call = runner.call(CallOptions::idempotent(), || dice.u64(..), |()| Outcome::success(), served);
                if call.await.is_ok() {
                    succeeded.set(succeeded.get() + 1);
                }
            }
        }));
    }
    drop(enter);
    let mut paused_end = start + PERIOD + millis(1);
    let run_until = |end| {
        tasks.block_on(&runtime, async { sleep_until(end).await });
        succeeded.get()
    };
    let mut paused_before: u64 = run_until(paused_end);
    let mut paused = |batches: u64| {
        for _ in 0..batches {
            paused_end += PERIOD;
        }
        let succeeded = run_until(paused_end);
        succeeded - std::mem::replace(&mut paused_before, succeeded)
    };

    debug_assert_eq!(CLIENTS as u64, BATCH);
    bench.compare(
        Work::AllocationFree("simulated call, fleet of 1,000"),
        "tokio, paused clock",
        &mut ours,
        &mut paused,
    );
}
