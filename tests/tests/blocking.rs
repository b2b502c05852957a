//! Programs without async: threads that block, in the same line as everybody else.

use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::event::{Event, Observer};
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::time::{Clock, Instant, ManualClock};
use steadfast_executor::{SharedPipeline, ThreadTimer};

use crate::support::{bucket, millis, ms, quota};

/// Longer than any machine stands still, and short enough to wait for when a test fails.
const HUNG: Duration = Duration::from_secs(60);

fn always_well(_: &()) -> Outcome {
    Outcome::success()
}

/// Says when its call has joined the line.
#[derive(Clone)]
struct InLine(mpsc::Sender<()>);

impl Observer for InLine {
    type Call = ();

    fn observe(&self, _now: Instant, event: &Event) {
        if let Event::WaitingForLimits { .. } = event {
            self.0.send(()).expect("the test waits for it");
        }
    }
}

/// A pipeline of one slot, which a lost holder would keep for a day: who waits for it is woken or hangs.
fn one_slot() -> SharedPipeline<ThreadTimer> {
    let slots = ConcurrencyLimit::fixed(1).lease(Duration::from_secs(86_400)).build().unwrap();
    let pipeline = Pipeline::builder().without_deadline().without_circuit_breaker().concurrency_limit(slots);
    SharedPipeline::new(pipeline.build().unwrap(), ThreadTimer::new())
}

#[test]
fn a_call_that_blocks_gets_the_slot_that_another_thread_frees() {
    let pipeline = one_slot();
    for _ in 0..100 {
        let (in_line, is_in_line) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let waiting = pipeline.clone().with_observer(InLine(in_line));
        let first = pipeline.call_blocking(CallOptions::idempotent(), always_well, |_| {
            let waiting = waiting.clone();
            let ended = ended.clone();
            thread::spawn(move || {
                let result = waiting.call_blocking(CallOptions::idempotent(), always_well, |_| ());
                ended.send(result.is_ok())
            });
            // The slot is freed when this returns: at whatever point the other has got to between joining the line and
            // being asleep.
            is_in_line.recv_timeout(HUNG).expect("the other thread joins the line");
        });
        assert!(first.is_ok());
        assert_eq!(has_ended.recv_timeout(HUNG), Ok(true));
    }
}

#[test]
fn a_loop_that_blocks_keeps_to_the_rate_limit() {
    let clock = ManualClock::new();
    let pipeline = Pipeline::builder().rate_limit(bucket(2)).build().unwrap();
    let pipeline = SharedPipeline::new(pipeline, &clock);
    let mut starts = Vec::new();
    for _ in 0..5 {
        let start = |_| starts.push(clock.now());
        pipeline.call_blocking(CallOptions::idempotent(), always_well, start).expect("there is time");
    }
    assert_eq!(starts, [0, 0, 100, 200, 300].map(ms));
}

#[test]
fn threads_that_block_keep_to_one_rate_limit_between_them() {
    let (timer, period, burst) = (ThreadTimer::new(), millis(2), 3);
    let limit = TokenBucket::new(quota(1, period, burst));
    let pipeline = Pipeline::builder().without_deadline().rate_limit(limit).build().unwrap();
    let pipeline = SharedPipeline::new(pipeline, timer);
    let starts = Mutex::new(Vec::new());
    let begun = timer.now();
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..10 {
                    let start = |_| starts.lock().unwrap_or_else(PoisonError::into_inner).push(timer.now());
                    pipeline.call_blocking(CallOptions::idempotent(), always_well, start).expect("there is time");
                }
            });
        }
    });
    let mut starts = starts.into_inner().unwrap_or_else(PoisonError::into_inner);
    starts.sort_unstable();
    assert_eq!(starts.len(), 40);
    for (before, start) in starts.iter().enumerate() {
        let earliest = begun + period * u32::try_from(before).expect("40").saturating_sub(burst - 1);
        assert!(*start >= earliest, "start {before} at {start}, and not before {earliest}");
    }
}
