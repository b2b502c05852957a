//! How do I keep to requests per minute and tokens per minute, when the true cost is known only afterwards?
//!
//! `cargo run -p steadfast-examples --example llm_limits`

use std::time::{Duration, Instant};

use steadfast::{Quota, RateLimit, TokioTimer};

/// A tenth of what a small account gets, per second instead of per minute, so that it can be watched.
fn limits() -> Result<RateLimit<TokioTimer, 2>, steadfast::InvalidSetting> {
    let requests = Quota::per_second(50)?.with_burst(10)?;
    let tokens = Quota::per_second(9_000)?.with_burst(3_000)?;
    Ok(RateLimit::several([requests, tokens], TokioTimer::new()))
}

/// Stands for the call to the model: what it cost in truth.
async fn complete(prompt: u32) -> u32 {
    tokio::time::sleep(Duration::from_millis(5)).await;
    200 + prompt * 37 % 400
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = limits()?;
    let start = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|prompt| {
            let limits = limits.clone();
            tokio::spawn(async move {
                // One request, and as many tokens as the answer may have at most. Both or none: nobody holds a request
                // and waits for tokens.
                let held = limits.acquire([1, 1_000]).await?;
                let used = complete(prompt).await;
                held.commit([1, used]); // The rest goes back, and those who wait move forward.
                Ok::<_, steadfast::core::rate_limit::Refusal>(used)
            })
        })
        .collect();
    let mut used = 0;
    for call in calls {
        used += call.await??;
    }
    let elapsed = start.elapsed();
    println!("20 calls reserved 20000 tokens, used {used}, and took {:.2} s.", elapsed.as_secs_f64());
    println!("At 9000 a second after a burst of 3000, what was reserved would have taken {:.2} s.", 17_000.0 / 9_000.0);
    let too_much = limits.acquire([1, 3_001]).await.unwrap_err();
    println!("And a call that can never fit is told so at once: {too_much}.");
    Ok(())
}
