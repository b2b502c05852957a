//! The soak: very many calls on each stack, against a server that fails, and what is left of them.
//!
//! `cargo run --release -p steadfast-tests --bin soak -- --calls 100000`
//!
//! `--calls N` or `--minutes N` is for each of the three stacks; without either, 100,000 calls. What is made and what is judged
//! is in [`steadfast_tests::soak`]. It fails if anything is left.

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use steadfast_tests::conformance::transport::Stack;
use steadfast_tests::soak::{Left, Length, soak};
use steadfast_tests::stacks::{HyperSmol, HyperTokio, Reqwest};

const USAGE: &str = "usage: soak [--calls N | --minutes N] [--stack reqwest | hyper-tokio | hyper-smol]";

const STACKS: [&str; 3] = ["reqwest", "hyper-tokio", "hyper-smol"];

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let result = match settings(&args) {
        None => Err(USAGE.into()),
        Some((length, Some(stack))) => one(&stack, length),
        Some((_, None)) => all(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long, and on which stack, if these are arguments.
fn settings(args: &[String]) -> Option<(Length, Option<String>)> {
    let (mut length, mut stack) = (Length::Calls(100_000), None);
    for pair in args.chunks(2) {
        match pair {
            [name, number] if name == "--calls" => length = Length::Calls(number.parse().ok().filter(|n| *n > 0)?),
            [name, number] if name == "--minutes" => {
                length = Length::Time(Duration::from_secs(number.parse::<u32>().ok().filter(|n| *n > 0)?.into()) * 60);
            }
            [name, one] if name == "--stack" && STACKS.contains(&&**one) => stack = Some(one.clone()),
            _ => return None,
        }
    }
    Some((length, stack))
}

/// Each stack in a process of its own, so that none is judged by what another has left.
fn all(args: &[String]) -> Result<bool, Box<dyn Error>> {
    let mut is_clean = true;
    for stack in STACKS {
        let status = Command::new(env::current_exe()?).args(args).args(["--stack", stack]).status()?;
        is_clean &= status.success();
    }
    Ok(is_clean)
}

/// Whether nothing is left.
fn one(stack: &str, length: Length) -> Result<bool, Box<dyn Error>> {
    match stack {
        "reqwest" => on::<Reqwest>(stack, length),
        "hyper-tokio" => on::<HyperTokio>(stack, length),
        _ => on::<HyperSmol>(stack, length),
    }
}

fn on<S: Stack>(stack: &str, length: Length) -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    let left = soak::<S>(length, |calls, bytes| {
        println!("{stack}: {calls} calls, {:.1?}, {} KiB", start.elapsed(), bytes / 1024);
    })?;
    let Left { ends, requests: (requests, failed), running, waiting, connections, descriptors, .. } = &left;
    println!("{stack}: {ends:?}");
    println!("{stack}: {requests} requests, of which {failed} met a fault");
    println!("{stack}: left: {running} calls under way, {waiting:?} in line, {connections} connections");
    println!(
        "{stack}: descriptors before and after: {descriptors:?}; bytes of growth, and granted: {:?}",
        left.grown()
    );
    let leaks = left.leaks();
    for leak in &leaks {
        println!("{stack}: LEFT: {leak}");
    }
    Ok(leaks.is_empty())
}
