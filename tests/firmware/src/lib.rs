//! What all firmware here shares: the [board] that it runs on, and time as embassy has it.
#![no_std]

pub mod board;
pub mod timer;

use core::panic::PanicInfo;

/// A panic is a failure that the exit code tells.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    board::exit(false)
}
