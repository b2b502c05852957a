//! The firmware is a workspace of its own, which `cargo test` does not reach.

use std::fs;
use std::io::Write;

/// Said past the harness, which keeps what a test prints that passes.
#[test]
fn whoever_tests_here_is_told_how_to_test_the_firmware() {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware/run");
    let script = fs::read_to_string(run).unwrap();
    for target in ["thumbv7em-none-eabihf", "thumbv6m-none-eabi", "riscv32imc-unknown-none-elf"] {
        assert!(script.contains(target), "{target} is not run");
    }
    let left_out = "left out: the firmware on three microcontrollers, which needs QEMU; run it with tests/firmware/run";
    writeln!(std::io::stderr(), "{left_out}").unwrap();
}
