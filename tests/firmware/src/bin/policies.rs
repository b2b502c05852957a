//! Limiter, breaker, retry and call, and nothing else: what they cost in flash, and whether they decide as on the host.
#![no_std]
#![no_main]

use steadfast_firmware::board;
use steadfast_station::WITHOUT_BUDGET;
use steadfast_station::drill::{DECIDED, drill};

#[board::entry]
fn main() -> ! {
    let mut pipeline = WITHOUT_BUDGET;
    board::exit(drill(&mut pipeline, &()) == DECIDED)
}
