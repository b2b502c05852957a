//! Waiting that takes time: calls on the machine's own clock, each wait of which must not end early.
//!
//! Nothing is compared here, since nothing is the same twice. The host measures that the time has truly passed.
#![no_std]
#![no_main]

mod ticks;

use core::cell::{Cell, RefCell};
use core::time::Duration;

use steadfast_core::event::{Event, Observer};
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::run::Runner;
use steadfast_core::time::{Clock, Instant};
use steadfast_firmware::board;
use steadfast_firmware::timer::EmbassyTimer;

/// When the next attempt may start, by what was announced last.
#[derive(Default)]
struct NotBefore(Cell<Instant>);

impl Observer for NotBefore {
    type Call = ();

    fn observe(&self, _: Instant, event: &Event) {
        if let Event::RetryScheduled { at, .. } | Event::WaitingForLimits { until: at } = event {
            self.0.set(self.0.get().max(*at));
        }
    }
}

/// Three calls, a fifth of a second apart by their limit. The first needs three attempts, with 300 ms between two.
async fn calls(pipeline: Pipeline) -> bool {
    let (pipeline, not_before, attempts, early) =
        (RefCell::new(pipeline), NotBefore::default(), Cell::new(0), Cell::new(false));
    let runner = Runner { pipeline: &pipeline, timer: &EmbassyTimer, observer: &not_before };
    let attempt = |_| {
        attempts.set(attempts.get() + 1);
        early.set(early.get() || EmbassyTimer.now() < not_before.0.get());
        let attempt = attempts.get();
        async move { attempt }
    };
    let classify = |attempt: &i32| match attempt {
        1 => Outcome::transient(),
        2 => Outcome::throttled().with_retry_after(Duration::from_millis(300)),
        _ => Outcome::success(),
    };
    for _ in 0..3 {
        if runner.call(CallOptions::idempotent(), || u64::MAX, classify, attempt).await.is_err() {
            return false;
        }
    }
    attempts.get() == 5 && !early.get()
}

#[board::entry]
fn main() -> ! {
    ticks::start();
    let pipeline =
        Quota::per_second(5).and_then(|quota| Pipeline::builder().rate_limit(TokenBucket::new(quota)).build());
    let well = pipeline.is_ok_and(|pipeline| ticks::block_on(calls(pipeline)));
    board::exit(well)
}
