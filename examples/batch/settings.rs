//! What can be set on the command line.

use std::path::PathBuf;

use clap::Parser;

/// Sends a file of requests, one JSON object a line, and writes what came of each, in the same order.
///
/// A request is {"method": "POST", "path": "orders"}, and may have a "body" (any JSON) and an "id" (which comes back with the
/// result). Interrupted once (Ctrl-C), it finishes what it has begun; interrupted twice, it stops. Either way, and if it is
/// killed, `--resume` goes on.
#[derive(Clone, Debug, Parser)]
#[command(name = "batch")]
pub(crate) struct Settings {
    /// The address that all paths are relative to: http:// only, since this example is built without TLS.
    #[arg(long)]
    pub(crate) url: String,

    /// Read the requests from this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,

    /// Write the results to this file, and the journal beside it, with `.journal` behind its name.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Go on where an earlier run with the same input, address and keys has stopped. Where there was none, begin.
    #[arg(long)]
    pub(crate) resume: bool,

    /// Send at most this many requests per second, retries included.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,

    /// Have at most this many lines under way at a time.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) concurrency: u32,

    /// Send an `Idempotency-Key` with each request, so that a POST can be repeated. Only for servers that know it.
    #[arg(long)]
    pub(crate) idempotency_keys: bool,

    /// When interrupted, wait this many seconds for what has begun.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) patience: u64,
}
