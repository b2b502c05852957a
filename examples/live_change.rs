//! How do I change a limit while callers wait for it?
//!
//! `cargo run -p steadfast-examples --example live_change`

use std::sync::{Arc, Mutex};
use std::time::Instant;

use steadfast::core::rate_limit::Refusal;
use steadfast::{Quota, RateLimit, TokioTimer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = RateLimit::new(Quota::per_second(10)?, TokioTimer::new());
    let start = Instant::now();
    let served = Arc::new(Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..30)
        .map(|caller| {
            let (limit, served) = (limit.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                limit.acquire(1).await?;
                served.lock().expect("nobody panics").push(caller);
                Ok::<_, Refusal>(())
            })
        })
        .collect();

    // Everybody joins the line, and the last of them would wait for three seconds.
    while limit.waiting() < 29 {
        tokio::task::yield_now().await;
    }
    println!("{} callers wait at 10 per second.", limit.waiting());
    limit.set_quota(0, Quota::per_second(100)?.with_burst(2)?);
    println!("Now it is 100 per second, and nobody has to be told.");

    for caller in callers {
        caller.await??;
    }
    let in_order = served.lock().expect("nobody panics").is_sorted();
    let order = if in_order { "in the order in which they came" } else { "out of order" };
    println!("All had their turn after {:.2} s, {order}.", start.elapsed().as_secs_f64());
    Ok(())
}
