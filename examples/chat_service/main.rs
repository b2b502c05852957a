//! How do I write an SDK for a chat API, with requests and tokens per minute, true costs, and answers that stream?
//!
//! `cargo run -p steadfast-examples --example chat_service` asks a stub on loopback. With `CHAT_BASE_URL` and `CHAT_API_KEY` in the
//! environment it asks the real one: add `--features steadfast/rustls` for `https://`.
//!
//! - `service.rs`: the SDK, to be copied.
//! - `stub.rs`, `meter.rs`: a server that behaves as the real one does, to test it with.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

mod meter;
mod service;
mod stub;
#[cfg(test)]
mod tests;

use service::{ChatService, Limits, Prompt};
use stub::{Seen, Stub};

/// How many calls are made at once.
const CALLS: u32 = 40;

/// A minute of the stub's lasts a second, so that its limits can be watched.
const STUB_LIMITS: Limits = Limits { requests: 1_200, tokens: 1_500, per: Duration::from_secs(1) };

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stub = Stub::start(STUB_LIMITS)?;
    let (base_url, key, limits) = match (env::var("CHAT_BASE_URL"), env::var("CHAT_API_KEY")) {
        (Ok(base_url), Ok(key)) => (base_url, key, Limits::TIER_1),
        _ => (stub.base_url(), stub::KEY.to_owned(), STUB_LIMITS),
    };
    let chat = ChatService::new(&base_url, &key, limits)?;
    let mut out = io::stdout();

    let prompt = Prompt::user("Say something that has every letter in it.", 60);
    let completion = chat.complete(&prompt).await?;
    writeln!(out, "whole:    {} ({} tokens)", completion.text, completion.usage.total_tokens)?;

    write!(out, "streamed: ")?;
    let mut answer = chat.stream(&prompt);
    while let Some(piece) = answer.next().await {
        write!(out, "{}", piece?)?;
        out.flush()?;
    }
    writeln!(out, " ({} tokens)", answer.usage().map_or(0, |usage| usage.total_tokens))?;

    let start = Instant::now();
    let answers = join_all((0..CALLS).map(|_| chat.complete(&prompt))).await;
    let used =
        answers.into_iter().map(|answer| answer.map(|answer| answer.usage.total_tokens)).sum::<Result<u32, _>>()?;
    let weighed = CALLS * prompt.weight().get();
    writeln!(
        out,
        "{CALLS} calls at once took {:.2} s: {weighed} tokens weighed, {used} used",
        start.elapsed().as_secs_f64()
    )?;
    let Seen { answered, limited, overloaded } = stub.seen();
    if answered > 0 {
        writeln!(out, "the stub answered {answered} requests, refused {limited} and was overloaded for {overloaded}")?;
    }
    Ok(())
}
