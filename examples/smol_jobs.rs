//! How do I limit and repeat work that is not HTTP, on smol?
//!
//! `cargo run -p steadfast-examples --example smol_jobs`
//!
//! It needs no more than `steadfast = { version = "0.1", features = ["smol"] }`, with which not a crate of tokio's is built.

use std::cell::Cell;
use std::error::Error;
use std::time::Instant;

use steadfast::{CallOptions, Outcome, Pipeline, Quota, SharedPipeline, SmolTimer, TokenBucket};

fn main() -> Result<(), Box<dyn Error>> {
    let limit = TokenBucket::new(Quota::per_second(20)?.with_burst(2)?);
    let pipeline = SharedPipeline::new(Pipeline::builder().rate_limit(limit).build()?, SmolTimer::new());
    let classify = |result: &Result<_, &str>| if result.is_ok() { Outcome::success() } else { Outcome::transient() };

    let (start, tries) = (Instant::now(), Cell::new(0));
    smol::block_on(async {
        for job in 1..=6 {
            let call = pipeline.call(CallOptions::idempotent(), classify, |_| {
                let tries = tries.replace(tries.get() + 1) + 1;
                async move { if tries % 3 == 0 { Err("the printer is busy") } else { Ok(tries) } }
            });
            let last = call.await.map_err(|error| error.rejected)??;
            println!("{:>5} ms  job {job} is done, by try {last}", start.elapsed().as_millis());
        }
        Ok(())
    })
}
