//! Limiter, breaker, retry and call, and nothing else: what they cost in flash.
//!
//! Everything that comes in is read from memory that could change at any time, so that nothing can be left out.
#![no_std]
#![no_main]

use steadfast_core::event::Events;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Step};
use steadfast_core::time::Instant;
use steadfast_firmware::board;

/// Any number, to the compiler.
fn any() -> u64 {
    static NUMBER: u64 = 1;
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::read_volatile(&NUMBER) }
}

fn any_outcome() -> Outcome {
    match any() {
        0 => Outcome::transient(),
        1 => Outcome::success(),
        2 => Outcome::throttled().with_retry_after(core::time::Duration::from_nanos(any())),
        _ => Outcome::permanent(),
    }
}

#[board::entry]
fn main() -> ! {
    let Ok(mut pipeline) = steadfast_station::pipeline() else { board::exit(false) };
    let mut events = Events::new();
    let mut call = pipeline.call(Instant::from_nanos(any()), CallOptions::idempotent());
    loop {
        let now = Instant::from_nanos(any());
        match call.poll(now, any(), &mut pipeline, &mut events) {
            Step::Wait(_) => {}
            Step::Start(attempt) => {
                call.finish(now, any(), attempt.number, any_outcome(), &mut pipeline, &mut events);
            }
            Step::Done(result) => board::exit(result.is_ok()),
        }
        events.report(now, &());
    }
}
