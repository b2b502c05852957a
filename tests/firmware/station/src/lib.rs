//! A sensor station: reads, reports over a link that fails, waits, gives up, recovers, and says at each step what it does.
//!
//! The same code runs as firmware and on the host that plays the other end of the link, over two implementations of
//! [`Link`], [`Log`] and the core's [`Timer`]. Given the same seed and the same answers, both say the same, byte for byte.
//!
//! | Setting | Here | Why |
//! | --- | --- | --- |
//! | rate limit | 2 a second, 4 at once | the station reads faster than that, so it waits |
//! | attempt timeout | 2 s | a link that stays silent is found out |
//! | circuit breaker | opens after 5 failures in a row, for 10 s | an outage opens it within a few readings |
//! | deadline | 15 s | no reading is worth more |
#![no_std]

pub mod drill;
mod exchange;
mod tally;
pub mod wire;

use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::mem::size_of;
use core::time::Duration;

use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::pipeline::{Call, CallOptions, Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::{Quota, Reservation, TokenBucket};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::Retry;
use steadfast_core::retry::budget::Budget;
use steadfast_core::run::{CallError, Runner};
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::{Instant, Timer};
use steadfast_http::idempotency;

pub use exchange::Text;
pub use tally::{Tally, Witness};

/// A serial line: bytes out, bytes in, and nobody says which are lost.
pub trait Link {
    /// Sends all of it.
    fn send(&self, bytes: &[u8]);
    /// The next byte that arrives. Dropping the future loses none.
    fn receive(&self) -> impl Future<Output = u8>;
    /// Forgets whatever has arrived.
    fn discard(&self);
}

/// Where the station says what it does.
pub trait Log {
    /// One line, of what happened at that time.
    fn line(&self, now: Instant, what: fmt::Arguments<'_>);
}

/// Nowhere.
impl Log for () {
    fn line(&self, _now: Instant, _what: fmt::Arguments<'_>) {}
}

/// The policies of the [module](self). They are a constant: the compiler checks them, and no code puts them together.
pub const PIPELINE: Pipeline<TokenBucket> = sound(pipeline(Pipeline::builder()));

/// The same without a budget, which a station that is the only client of its server may do without: rate limit, breaker,
/// retry and call, and nothing else. The default budget is a tenth on top.
pub const WITHOUT_BUDGET: Pipeline<TokenBucket> = sound(pipeline(Pipeline::builder().budget(Budget::unlimited())));

const fn sound(pipeline: Result<Pipeline<TokenBucket>, InvalidSetting>) -> Pipeline<TokenBucket> {
    match pipeline {
        Ok(pipeline) => pipeline,
        Err(_) => panic!("settings that contradict each other"),
    }
}

const fn pipeline(builder: PipelineBuilder) -> Result<Pipeline<TokenBucket>, InvalidSetting> {
    let breaker = CircuitBreaker::builder().failure_threshold(5).open_for(Duration::from_secs(10));
    let builder = builder.deadline(Duration::from_secs(15)).attempt_timeout(Duration::from_secs(2));
    match (Quota::per_second(2), breaker.build()) {
        (Ok(quota), Ok(breaker)) => match (quota.with_burst(4), builder.circuit_breaker(breaker).build()) {
            (Ok(quota), Ok(pipeline)) => Ok(pipeline.limited_by(TokenBucket::new(quota))),
            (Err(error), _) | (_, Err(error)) => Err(error),
        },
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Reports so many readings, or as many as get through, and tells what it saw on the way.
pub async fn run(timer: &impl Timer, link: &impl Link, log: &impl Log, seed: u64, readings: u32) -> Tally {
    let pipeline = RefCell::new(PIPELINE);
    let witness = tally::Witness::new(log);
    let runner = Runner { pipeline: &pipeline, timer, observer: &witness };
    // By the time and not by how often it was asked: a wake too many must not change what is decided after it.
    let entropy = || mix(seed ^ timer.now().as_nanos());
    let options = CallOptions::new(idempotency::of_method(b"PUT"));
    let mut millidegrees = 21_000;
    for number in 1..=readings {
        // A random walk, a tenth of a degree at most each step.
        millidegrees += i32::from(mix(seed.wrapping_add(number.into())).to_le_bytes()[0]) * 200 / 255 - 100;
        log.line(timer.now(), format_args!("reading {number} is {millidegrees} m°C"));
        let attempt = |attempt| exchange::put(link, number, millidegrees, attempt);
        let called = runner.call(options, entropy, exchange::Answer::outcome, attempt).await;
        let mut next = timer.now() + Duration::from_millis(200);
        if let Err(CallError { rejected, .. }) = called {
            log.line(timer.now(), format_args!("reading {number} is lost: {rejected}"));
            // No other refusal says that the next reading would fare as badly.
            if let Rejected::CircuitOpen { retry_at, .. } = rejected {
                next = retry_at;
            }
        }
        timer.sleep_until(next).await;
    }
    witness.tally()
}

/// What each state machine takes of RAM, on the processor that this is built for.
pub const SIZES: [(&str, usize); 6] = [
    ("TokenBucket", size_of::<TokenBucket>()),
    ("CircuitBreaker", size_of::<CircuitBreaker>()),
    ("Retry", size_of::<Retry>()),
    ("Budget", size_of::<Budget>()),
    ("Call", size_of::<Call<Reservation>>()),
    ("Pipeline", size_of::<Pipeline<TokenBucket>>()),
];

/// A number that looks random, from one that need not. (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014: the finalizer of SplitMix64.)
pub const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
