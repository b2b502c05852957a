//! Ours beside its peers: the same work, in the same run, in turn.
//!
//! ```text
//! cargo bench -p steadfast-tests --bench peers                       # all rows, about half a minute
//! cargo bench -p steadfast-tests --bench peers -- refused            # the rows that have this in their name or peer
//! cargo bench -p steadfast-tests --bench peers -- --quick            # every row for a few ms: does it still run?
//! ```
//!
//! A row says what one operation costs on either side, and the ratio of the two: below 1, ours is cheaper. Each round
//! times ours and then the peer, and the row shows the medians of all rounds, so that whatever else runs on the machine
//! disturbs both alike; the quartiles of the ratio tell how much it did. The rows are also written to `peers.jsonl` in
//! cargo's target folder.
//!
//! What the compiler inlines decides as much as what it compiles: cut into the usual sixteen units, governor's check
//! comes out at 3 ns or at 11, by chance. In one unit, every side is at its best, build after build:
//! `CARGO_PROFILE_BENCH_CODEGEN_UNITS=1 cargo bench …` is what numbers should be quoted from.
//!
//! Allocations are counted apart from the timing, which runs with the counting off. Where ours promises to make none,
//! that is asserted: it does not depend on the machine. Times are only ever shown.
//!
//! | Module | Rows |
//! | --- | --- |
//! | [`bucket`] | one bucket on one thread: admitted and refused, on an injected clock and on real ones |
//! | [`threads`] | one bucket that threads share |
//! | [`keyed`] | a bucket per key |
//! | [`waiting`] | futures: an acquire that need not wait, and a line of a thousand that must |
//! | [`breaker`] | one circuit breaker on one thread: admitted and recorded, and refused |
//! | [`call`] | whole calls with every policy: one that succeeds at once, and one that an open breaker refuses |
//! | [`world`] | one call of a simulated fleet: 1,000 ns are a million calls a second |
//! | [`sizes`] | bytes, as information |

mod breaker;
mod bucket;
mod call;
mod harness;
mod keyed;
mod sizes;
mod threads;
mod waiting;
mod world;

use std::process::ExitCode;

use harness::{Bench, Pace};

fn main() -> ExitCode {
    let mut filter = None;
    let mut pace = Pace::THOROUGH;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => pace = Pace::QUICK,
            "--bench" => {} // From cargo, always.
            text if filter.is_none() && !text.starts_with('-') => filter = Some(argument),
            unknown => {
                eprintln!("unknown argument {unknown:?}: peers [part of a row's name] [--quick]");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut bench = Bench::new(filter, pace);
    bucket::rows(&mut bench);
    threads::rows(&mut bench);
    keyed::rows(&mut bench);
    waiting::rows(&mut bench);
    breaker::rows(&mut bench);
    call::rows(&mut bench);
    world::rows(&mut bench);
    sizes::rows(&mut bench);
    match bench.finish() {
        Ok(path) => {
            println!("\nWritten to {}.", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("peers.jsonl could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}
