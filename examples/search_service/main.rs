//! How do I write an SDK for a search API, with a key in a header, and limits that its responses tell?
//!
//! `cargo run -p steadfast-examples --example search_service` asks a stub on loopback. With `SEARCH_BASE_URL` and `SEARCH_API_KEY` in
//! the environment it asks the real one: add `--features steadfast/rustls` for `https://`.
//!
//! - `service.rs`: the SDK, to be copied.
//! - `stub.rs`: a server that behaves as the real one does, to test it with.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::time::Instant;

use futures_util::future::join_all;

mod service;
mod stub;
#[cfg(test)]
mod tests;

use service::SearchService;
use stub::{Plan, Seen, Stub};

/// What is searched at once.
const QUERIES: [&str; 12] =
    ["tide", "lamp", "moss", "kite", "rust", "plum", "reed", "salt", "oak", "loom", "fern", "ice"];

/// What the smallest plan has of the real one.
const FREE_PER_SECOND: u32 = 1;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stub = Stub::start(Plan::BASE)?;
    let (base_url, key, per_second) = match (env::var("SEARCH_BASE_URL"), env::var("SEARCH_API_KEY")) {
        (Ok(base_url), Ok(key)) => (base_url, key, FREE_PER_SECOND),
        _ => (stub.base_url(), stub::KEY.to_owned(), Plan::BASE.per_second),
    };
    let search = SearchService::new(&base_url, &key, per_second)?;
    let mut out = io::stdout();

    let found = search.web("how tides work", 0).await?;
    writeln!(
        out,
        "{} results on the first page, and {}more",
        found.results.len(),
        if found.has_more { "" } else { "no " }
    )?;
    for hit in found.results.iter().take(3) {
        writeln!(out, "  {} ({}): {}", hit.title, hit.url, hit.description)?;
    }

    let start = Instant::now();
    let pages = join_all(QUERIES.map(|query| search.web(query, 0))).await;
    let results = pages.into_iter().map(|page| page.map(|page| page.results.len())).sum::<Result<usize, _>>()?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(out, "{} searches at {per_second} a second found {results} results in {seconds:.2} s", QUERIES.len())?;
    let Seen { answered, limited, failed } = stub.seen();
    if answered > 0 {
        writeln!(out, "the stub answered {answered} requests, refused {limited} and failed in {failed}")?;
    }
    Ok(())
}
