//! One run: from the first line without a result to the last, or until it is stopped.

use std::error::Error;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FusedFuture;
use futures_util::{FutureExt, StreamExt};
use steadfast::core::concurrency::ConcurrencyLimit;
use steadfast::{Executor, TokioTimer};
use tokio::signal::ctrl_c;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

use crate::input::Lines;
use crate::journal::Journal;
use crate::output::{Output, refuse_to_overwrite};
use crate::progress::{Progress, tell};
use crate::sender::{Client, Sender};
use crate::settings::Settings;

/// A line keeps its slot for as long as it takes, also while the server is down.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const SECOND: Duration = Duration::from_secs(1);

/// Whether every line has a result now.
pub(crate) async fn run(settings: &Settings) -> Result<bool, Box<dyn Error>> {
    if !settings.resume {
        refuse_to_overwrite(&settings.output)?;
        refuse_to_overwrite(&Journal::path(&settings.output))?;
    }
    let (journal, left, found) = Journal::open(settings)?;
    let mut output = Output::open(&settings.output, &found)?;
    let mut progress = Progress::start(journal.lines(), found.delivered);
    let (stop, stopping) = watch::channel(false);
    let sender = Sender::new(settings, Arc::new(journal), left, stopping.clone())?;
    let mut interrupts = pin!(obey_interrupts(sender.client(), &stop, settings.patience).fuse());

    let slots = ConcurrencyLimit::fixed(settings.concurrency).lease(FOR_EVER).build()?;
    let executor = Executor::new(slots, TokioTimer::new());
    let lines = Lines::open(&settings.input, found.delivered)?.take_while(|_| !*stopping.borrow());
    let mut results = pin!(executor.map(lines, |line| sender.deliver(line)));
    let mut seconds = interval_at(Instant::now() + SECOND, SECOND);
    // Whether a line has no result. Those behind it have theirs in the journal, and are written when it has one.
    let mut gap = false;
    loop {
        tokio::select! {
            // First, so that an interrupt is caught from the first request on.
            biased;
            () = &mut interrupts, if !interrupts.is_terminated() => {}
            result = results.next() => match result {
                None => break,
                Some(result) => match result?? {
                    Some(delivery) if !gap => {
                        output.write(&delivery)?;
                        progress.advance(&delivery);
                    }
                    Some(_) => {}
                    None => gap = true,
                },
            },
            _ = seconds.tick() => progress.second(),
        }
    }
    progress.end();
    writeln!(io::stdout(), "{}", progress.summary())?;
    Ok(progress.is_complete())
}

/// The first Ctrl-C lets what has begun end, with patience; the second does not.
async fn obey_interrupts(client: &Client, stop: &watch::Sender<bool>, patience: u64) {
    // Where there are no signals, nobody is interrupted.
    if ctrl_c().await.is_err() {
        return std::future::pending().await;
    }
    // Nobody has to be there to hear it.
    let _ = stop.send(true);
    let drain = async {
        tell(&format!("stopping: what has begun may end within {patience} s; once more, and it is cancelled"));
        client.shut_down(Duration::from_secs(patience)).await
    };
    tokio::select! {
        // First, so that whoever has read this is heard.
        biased;
        _ = ctrl_c() => drop(client.shut_down(Duration::ZERO).await),
        _ = drain => {}
    }
}
