//! How do I send a million requests from a file, stop at any moment, and lose none and send none twice?
//!
//! `cargo run --release -p steadfast-examples --example batch`
//!
//! Without arguments it shows itself at work: it is killed in the middle and goes on. With them it sends JSON lines of
//! requests, and writes a JSON line for each, in the order of the requests:
//!
//! ```text
//! {"method": "POST", "path": "orders", "body": {"item": 7}, "id": "a-7"}
//! {"line":1,"id":"a-7","fate":"answered","status":201,"attempts":1,"body":{"order":99}}
//! ```
//!
//! What is known of a line is written down before and after: see [`journal`]. Few lines are in memory at a time, those that
//! are under way and those that wait behind a slower one to be written in order. So one line that takes long holds up
//! those behind it once they are twice as many as may be under way.
//!
//! While the circuit breaker leaves the server alone, lines wait instead of failing.
//!
//! A million lines take 8 MB of memory at the most, as twenty thousand do: 180 µs each, on two cores that also ran the server
//! and other work. To see it, in two terminals:
//!
//! ```text
//! cargo run --release -p steadfast-tests --bin faulty-server -- --never-fails --rate 1000000   # prints its address
//!
//! seq 1000000 | sed 's|.*|{"method": "POST", "path": "items", "body": {"n": &}, "id": &}|' > requests.jsonl
//! cargo build --release -p steadfast-examples --example batch
//! /usr/bin/time -v target/release/examples/batch --url http://127.0.0.1:PORT --input requests.jsonl \
//!     --output results.jsonl --rate 10000 --idempotency-keys
//! ```
//!
//! Without `--idempotency-keys`, each line is on the disk before it is sent, and that takes as long as the disk does.
//!
//! When not to use it: for requests that depend on each other. Those of neighbouring lines are under way at once.

mod delivery;
mod demonstration;
mod input;
mod journal;
mod output;
mod progress;
mod run;
mod sender;
mod settings;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if args.len() < 2 { outcome(demonstration::show()) } else { batch(args).await }
}

/// The program, of which the first argument is the name.
async fn batch(args: Vec<OsString>) -> ExitCode {
    match Settings::try_parse_from(args) {
        Ok(settings) => outcome(run::run(&settings).await),
        Err(refusal) => {
            // Nobody reads help that cannot be printed.
            let _ = refusal.print();
            ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(2))
        }
    }
}

fn outcome(is_complete: Result<bool, Box<dyn Error>>) -> ExitCode {
    match is_complete {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
