//! Nothing but what every firmware here has: what the sizes of the others are compared with.
#![no_std]
#![no_main]

use steadfast_firmware::board;

#[board::entry]
fn main() -> ! {
    board::exit(true)
}
