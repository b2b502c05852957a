//! How do I end a service without losing track of the calls that it makes?
//!
//! `cargo run -p steadfast-examples --example shut_down`

use std::error::Error;
use std::time::Duration;

use steadfast::{Pipeline, Quota, TokenBucket};
use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A server that leaves every third request without an answer.
    let faults = Faults { stall: 33, ..Faults::NONE };
    let server = FaultyServer::start(Settings { faults, ..Settings::default() })?;

    let limit = TokenBucket::new(Quota::per_second(20)?.with_burst(10)?);
    let client = steadfast::client(&server.url())?.pipeline(Pipeline::builder().rate_limit(limit).build()?).build()?;

    let calls = (1..=20).map(|id| {
        let client = client.clone();
        tokio::spawn(async move { client.get(&format!("items/{id}")).send().await })
    });
    let calls: Vec<_> = calls.collect();

    // In a service, this is where `tokio::signal::ctrl_c().await` ends.
    tokio::time::sleep(Duration::from_millis(200)).await;
    println!("{} calls have begun and not ended, {} wait for their turn", client.running(), client.waiting());
    let stopped = client.shut_down(Duration::from_millis(300)).await;
    println!("of those that had begun, {} ended in time and {} were cancelled", stopped.finished, stopped.cancelled);

    let (mut done, mut to_be_repeated, mut unknown) = (0, 0, 0);
    for call in calls {
        match call.await? {
            Ok(_) => done += 1,
            // It was never sent, so another process can make it.
            Err(steadfast::Error::ShutDown(_)) => to_be_repeated += 1,
            // The server may have acted on it.
            Err(steadfast::Error::Cancelled(_)) => unknown += 1,
            Err(error) => println!("{error}"),
        }
    }
    println!("{done} calls were answered, {to_be_repeated} were never sent, and of {unknown} nobody knows");
    Ok(())
}
