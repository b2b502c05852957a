//! The faulty server by itself, to point any client at, until it is interrupted.
//!
//! `cargo run --release -p steadfast-tests --bin faulty-server -- --seed 7`
//!
//! It prints its address. `--never-fails` leaves out the faults, and `--rate N` sets how many requests per second are
//! admitted, which are 100 otherwise; what exceeds that is answered 429.

use std::env;
use std::process::ExitCode;
use std::thread;

use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};

const USAGE: &str = "usage: faulty-server [--seed N] [--rate N] [--never-fails]";

fn main() -> ExitCode {
    let Some(settings) = settings(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let server = match FaultyServer::start(settings) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("faulty-server: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", server.url());
    loop {
        thread::park();
    }
}

/// What the arguments ask for, if they can be understood.
fn settings(mut args: impl Iterator<Item = String>) -> Option<Settings> {
    let mut settings = Settings::default();
    while let Some(arg) = args.next() {
        match &*arg {
            "--seed" => settings.seed = args.next()?.parse().ok()?,
            "--rate" => {
                settings.requests_per_second = args.next()?.parse().ok()?;
                settings.burst = settings.requests_per_second;
            }
            "--never-fails" => settings.faults = Faults::NONE,
            _ => return None,
        }
    }
    Some(settings)
}
