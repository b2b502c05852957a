//! Runs the firmware on every target, compares what it decides with what this machine decides, and measures it.
//!
//! `steadfast-firmware-host BUILDS REPORT`: the folder that cargo built into, and the file to write, a line of JSON for
//! each target. [`run`](../../run) builds, and calls it. The exit code is the verdict.

mod elf;
mod here;
mod server;
mod there;

use std::fmt::Write;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// One target, and the machine that QEMU plays for it.
struct Target {
    name: &'static str,
    machine: &'static str,
    qemu: &'static [&'static str],
}

const SEMIHOSTING: [&str; 2] = ["-semihosting-config", "enable=on,target=native"];

const TARGETS: [Target; 3] = [
    Target {
        name: "thumbv7em-none-eabihf",
        machine: "mps2-an386",
        qemu: &["qemu-system-arm", "-machine", "mps2-an386", SEMIHOSTING[0], SEMIHOSTING[1]],
    },
    Target {
        name: "thumbv6m-none-eabi",
        machine: "microbit",
        qemu: &["qemu-system-arm", "-machine", "microbit", SEMIHOSTING[0], SEMIHOSTING[1]],
    },
    Target {
        name: "riscv32imc-unknown-none-elf",
        machine: "virt",
        qemu: &["qemu-system-riscv32", "-machine", "virt", "-bios", "none"],
    },
];

/// Each is another walk of the sensor, and another order of faults.
const SEEDS: [u64; 3] = [1, 2, 3];
const READINGS: u32 = 100;

/// The most flash that limiter, breaker, retry and call may take on thumbv7em beyond an empty firmware: what they take
/// now, and a little for the next compiler. The aim is 8 KiB.
const POLICIES_AT_MOST: u64 = 12 * 1024;

/// No `waiting` is over sooner: a hint of 300 ms, and three tokens at five a second.
const WAITING_AT_LEAST: Duration = Duration::from_millis(900);

/// What was found on one target.
#[derive(Default)]
struct Findings {
    empty: u64,
    policies: u64,
    station: u64,
    statics: u64,
    stack: u64,
    size_of: Vec<(String, u64)>,
    decisions: usize,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(builds), Some(report)) = (args.next(), args.next()) else {
        eprintln!("usage: steadfast-firmware-host BUILDS REPORT");
        return ExitCode::FAILURE;
    };
    let (mut lines, mut all_well) = (String::new(), true);
    println!(
        "\n{:<28} {:<11} {:>15} {:>14} {:>15} {:>10}  verdict",
        "target", "machine", "policies, flash", "station, flash", "statics + stack", "decisions"
    );
    for target in &TARGETS {
        let mut found = Findings::default();
        let verdict = found.examine(target, &builds);
        let Findings { policies, station, statics, stack, decisions, .. } = found;
        let ram = format!("{statics} + {stack}");
        let said = verdict.as_ref().map_or_else(|error| format!("FAIL: {error}"), |()| "pass".to_owned());
        println!(
            "{:<28} {:<11} {policies:>15} {station:>14} {ram:>15} {decisions:>10}  {said}",
            target.name, target.machine
        );
        lines.push_str(&found.json(target, verdict.is_ok()));
        all_well &= verdict.is_ok();
    }
    println!("policies: limiter, breaker, retry and call beyond an empty firmware, in bytes");
    if let Err(error) = fs::write(&report, lines) {
        eprintln!("{report}: {error}");
        return ExitCode::FAILURE;
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Findings {
    fn examine(&mut self, target: &Target, builds: &str) -> Result<(), String> {
        let path = |firmware| format!("{builds}/{}/release/{firmware}", target.name);
        self.empty = elf::read(&path("empty"))?.flash;
        self.policies = elf::read(&path("policies"))?.flash.saturating_sub(self.empty);
        let station = elf::read(&path("station"))?;
        (self.station, self.statics) = (station.flash, station.statics);
        if target.name.starts_with("thumbv7em") && self.policies > POLICIES_AT_MOST {
            return Err(format!("the policies take more than {POLICIES_AT_MOST} bytes of flash"));
        }
        for seed in SEEDS {
            self.compare(target, &path("station"), seed).map_err(|error| format!("seed {seed}: {error}"))?;
        }
        here::drill()?;
        if !there::exits_well(target.qemu, &path("policies"))? {
            return Err("the policies alone decide otherwise than on the host".to_owned());
        }
        let start = Instant::now();
        if !there::exits_well(target.qemu, &path("waiting"))? {
            return Err("on a real clock, a wait ended early or a call failed".to_owned());
        }
        if start.elapsed() < WAITING_AT_LEAST {
            return Err(format!("waits of {WAITING_AT_LEAST:?} took {:?}", start.elapsed()));
        }
        Ok(())
    }

    /// The same seed there and here.
    fn compare(&mut self, target: &Target, elf: &str, seed: u64) -> Result<(), String> {
        let here = here::run(seed, READINGS)?;
        let there = there::run(target.qemu, elf, seed, READINGS)?;
        same("decisions", &there.said, &here.said)?;
        same("requests", &there.server.ledger(), &here.server.ledger())?;
        if let Some(complaint) = there.server.complaints(here.tally.delivered).first() {
            return Err(format!("the server complains: {complaint}"));
        }
        if !here.tally.is_complete() {
            return Err(format!("not everything happened that should: {:?}", here.tally));
        }
        if !there.ended_well {
            return Err("its exit code is not zero".to_owned());
        }
        self.decisions += there.said.lines().count();
        self.size_of.clear();
        for note in &there.notes {
            let words: Vec<&str> = note.split(' ').collect();
            match words[..] {
                ["stack", bytes] => self.stack = self.stack.max(bytes.parse().unwrap_or(u64::MAX)),
                ["size_of", name, bytes] => self.size_of.push((name.to_owned(), bytes.parse().unwrap_or(u64::MAX))),
                _ => return Err(format!("an unknown note: {note}")),
            }
        }
        Ok(())
    }

    fn json(&self, target: &Target, well: bool) -> String {
        let Self { empty, policies, station, statics, stack, decisions, .. } = self;
        let mut size_of = String::new();
        for (name, bytes) in &self.size_of {
            let comma = if size_of.is_empty() { "" } else { "," };
            let _ = write!(size_of, "{comma}\"{name}\":{bytes}");
        }
        let (name, machine, verdict) = (target.name, target.machine, if well { "pass" } else { "fail" });
        format!(
            "{{\"target\":\"{name}\",\"machine\":\"{machine}\",\"verdict\":\"{verdict}\",\"decisions\":{decisions},\
             \"flash\":{{\"empty\":{empty},\"policies\":{policies},\"station\":{station}}},\
             \"ram\":{{\"statics\":{statics},\"stack\":{stack}}},\"size_of\":{{{size_of}}}}}\n"
        )
    }
}

/// Byte for byte, or the first line that differs.
fn same(what: &str, there: &str, here: &str) -> Result<(), String> {
    if there == here {
        return Ok(());
    }
    let (mut there, mut here) = (there.lines(), here.lines());
    let mut number = 0;
    loop {
        number += 1;
        let (there, here) = (there.next(), here.next());
        if there != here || there.is_none() {
            return Err(format!("{what} differ in line {number}: {there:?} on the target, {here:?} on the host"));
        }
    }
}
