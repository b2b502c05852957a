//! The [station](steadfast_station) as firmware. Its time and its link come over the serial line.
#![no_std]
#![no_main]

mod told;

use steadfast_firmware::board::{self, Stack};
use steadfast_firmware::timer::EmbassyTimer;
use steadfast_station::wire;

#[board::entry]
fn main() -> ! {
    let stack = Stack::paint();
    board::init();
    let (seed, readings) = told::hello();
    let station = steadfast_station::run(&EmbassyTimer, &told::Serial, &told::Serial, seed, readings);
    told::text(wire::NOTED, format_args!("size_of station {}", size_of_val(&station)));
    let tally = told::block_on(station);
    for (name, bytes) in steadfast_station::SIZES {
        told::text(wire::NOTED, format_args!("size_of {name} {bytes}"));
    }
    told::text(wire::NOTED, format_args!("stack {}", stack.deepest()));
    told::frame(wire::ENDED, &[]);
    board::exit(tally.is_complete())
}
