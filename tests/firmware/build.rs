//! The memory of the machine that QEMU plays for the target, and the linker script that goes with it.

use std::{env, fs, path::PathBuf};

const ARM: &str = "MEMORY { FLASH : ORIGIN = 0, LENGTH = FLASH_SIZE RAM : ORIGIN = 0x20000000, LENGTH = RAM_SIZE }";

/// Code in RAM, as the machine has no flash to start from.
const RISCV: &str = "
MEMORY { RAM : ORIGIN = 0x80000000, LENGTH = 256K }
REGION_ALIAS(REGION_TEXT, RAM); REGION_ALIAS(REGION_RODATA, RAM); REGION_ALIAS(REGION_DATA, RAM);
REGION_ALIAS(REGION_BSS, RAM); REGION_ALIAS(REGION_HEAP, RAM); REGION_ALIAS(REGION_STACK, RAM);
";

fn main() {
    let target = env::var("TARGET").expect("cargo says");
    let arm = |flash, ram| ARM.replace("FLASH_SIZE", flash).replace("RAM_SIZE", ram);
    println!("cargo::rustc-check-cfg=cfg(steadfast_machine, values(\"mps2-an386\", \"microbit\", \"virt\"))");
    let (machine, memory) = match target.as_str() {
        "thumbv7em-none-eabihf" => ("mps2-an386", arm("4M", "4M")),
        "thumbv6m-none-eabi" => ("microbit", arm("256K", "16K")),
        "riscv32imc-unknown-none-elf" => ("virt", RISCV.to_owned()),
        other => panic!("no machine for {other}: tests/firmware/run names the targets"),
    };
    println!("cargo::rustc-cfg=steadfast_machine=\"{machine}\"");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says"));
    fs::write(out.join("memory.x"), memory).expect("cargo's own folder is writable");
    println!("cargo::rustc-link-search={}", out.display());
    if target.starts_with("riscv") {
        println!("cargo::rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rerun-if-changed=build.rs");
}
