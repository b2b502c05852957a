//! The same calls, twice: with a bare HTTP client and with steadfast, to a server that fails as real ones do.
//!
//! `cargo run --release -p steadfast-examples --example quickstart`

mod bare_side;
mod campaign;
mod progress;
mod report;
mod settings;
mod steadfast_side;
mod target;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use bare_side::bare_side;
use report::Side;
use settings::Settings;
use steadfast_side::steadfast_side;
use target::Target;

/// Where a server is down or slow, the bare side ends by then, and steadfast gets what is left of the whole.
const BARE_SIDE_ENDS: Duration = Duration::from_secs(10);
const STEADFAST_SIDE_ENDS: Duration = Duration::from_secs(28);

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::from_args(std::env::args_os()) {
        Ok(settings) => settings,
        Err(refusal) => return refusal.print(),
    };
    compare(&settings).await.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn compare(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    let start = Instant::now();
    writeln!(io::stdout(), "{}", report::introduction(settings))?;

    let target = Arc::new(Target::start(settings)?);
    let campaign = bare_side(settings, &target, start + BARE_SIDE_ENDS).await;
    let bare = Side { campaign, sightings: target.sightings() };

    // A fresh server with the same seed: the same faults, and nothing left over of the first run.
    let target = Arc::new(Target::start(settings)?);
    let campaign = steadfast_side(settings, &target, start + STEADFAST_SIDE_ENDS).await?;
    let steadfast = Side { campaign, sightings: target.sightings() };

    writeln!(io::stdout(), "\n{}", report::comparison(&bare, &steadfast))?;
    Ok(if steadfast.campaign.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
