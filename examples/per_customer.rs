//! How do I give each customer a limit of their own, without a flood of new ones filling my memory?
//!
//! `cargo run -p steadfast-examples --example per_customer`

use steadfast::core::rate_limit::Refusal;
use steadfast::{KeyedRateLimit, Quota, TokioTimer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Five requests at once and one a minute after that, for each of about a thousand customers who are active at a time.
    let quota = Quota::per_minute(1)?.with_burst(5)?;
    let limit = KeyedRateLimit::new(quota, 1_000, TokioTimer::new());

    let mut admitted = [0, 0];
    for _ in 0..8 {
        for (customer, admitted) in ["ann", "bob"].into_iter().zip(&mut admitted) {
            *admitted += u32::from(limit.try_acquire(customer.to_owned(), 1).is_ok());
        }
    }
    println!("Of 8 requests each, ann got {} and bob got {}.", admitted[0], admitted[1]);

    let mut refused = 0;
    for attacker in 0..100_000 {
        match limit.try_acquire(format!("attacker-{attacker}"), 1) {
            Err(Refusal::TableFull { .. }) => refused += 1,
            other => other?,
        }
    }
    println!("Of 100000 made-up customers, {refused} were refused; {} customers are remembered.", limit.len());
    match limit.try_acquire("ann".to_owned(), 1) {
        Err(refusal) => println!("And ann, who had spent hers, was not forgotten: {refusal}."),
        Ok(()) => return Err("the flood made it forget ann".into()),
    }
    Ok(())
}
