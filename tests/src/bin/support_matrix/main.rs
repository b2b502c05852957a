//! What runs on what, as the README has it: every runtime and transport through the suites of
//! [`conformance`](steadfast_tests::conformance), and the firmware on every target in QEMU.
//!
//! `support-matrix` runs them all and prints the tables. `--write` puts them into the README too, and `--check` fails if
//! the README has others; sizes are not compared there, since they differ from compiler to compiler. It fails, and writes
//! nothing, if any of the tests does.

mod firmware;
mod suites;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const BEGIN: &str = "<!-- made by `cargo run -p steadfast-tests --bin support-matrix -- --write` -->\n";
const END: &str = "<!-- end of what was made -->\n";

/// What to do with the tables, besides printing them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Nothing,
    Write,
    Check,
}

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let then = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Then::Nothing,
        ["--write"] => Then::Write,
        ["--check"] => Then::Check,
        _ => {
            eprintln!("usage: support-matrix [--write | --check]");
            return ExitCode::FAILURE;
        }
    };
    match run(then) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("support-matrix: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(then: Then) -> Result<(), String> {
    let root = root();
    let timers = suites::timers(&root)?;
    let transports = suites::transports(&root)?;
    println!("\n{timers}\n{transports}");
    let firmware = firmware::table(&root)?;
    match &firmware {
        Some(table) => println!("{table}"),
        None => println!("left out: the firmware, which needs QEMU; tests/firmware/run installs it"),
    }
    if then == Then::Nothing {
        return Ok(());
    }
    let path = root.join("README.md");
    let readme = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (before, rest) = readme.split_once(BEGIN).ok_or("the README has no place for the tables")?;
    let (old, after) = rest.split_once(END).ok_or("the place in the README has no end")?;
    // What was left out stays as it was.
    let firmware = firmware.as_deref().or(old.find(firmware::HEAD).map(|start| &old[start..])).unwrap_or_default();
    let new = format!("\n{timers}\n{transports}\n{}\n\n", firmware.trim_end());
    match then {
        Then::Check if without_sizes(old) != without_sizes(&new) => {
            Err("the tables in the README are others: run it with --write".to_owned())
        }
        Then::Nothing | Then::Check => Ok(()),
        Then::Write => fs::write(&path, format!("{before}{BEGIN}{new}{END}{after}")).map_err(|error| error.to_string()),
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The tables, without the digits of every line that has sizes.
fn without_sizes(tables: &str) -> String {
    let lines = tables.lines().map(|line| match line.contains(" B |") {
        true => line.replace(|c: char| c.is_ascii_digit() || c == ',', ""),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
