//! How do I see why calls wait, are refused or are repeated, while it happens?
//!
//! `cargo run --release -p steadfast-examples --example dashboard`, and open the address that it prints. The page has a
//! button for each fault of the server that is called; `/metrics` is for Prometheus, and `grafana.json`, beside this file,
//! draws the same panels from there.

mod load;
mod server;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use clap::Parser;

use server::Dashboard;

/// Makes about 50 calls a second to a local server that fails when you press a button, and shows on a page what
/// becomes of them.
#[derive(Debug, Parser)]
#[command(name = "dashboard")]
struct Args {
    /// Serve the page on this port of 127.0.0.1; 0 stands for any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,

    /// End after this many seconds, and not only on Ctrl-C.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let dashboard = Dashboard::start(args.port).await?;
    println!("Open {} in a browser. Ctrl-C ends it.", dashboard.url());
    let time_is_over = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        () = time_is_over => {}
    }
    Ok(())
}
