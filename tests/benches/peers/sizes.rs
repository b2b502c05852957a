//! Bytes, as information: what a bucket, a limit with its line, and a waiter take up.

use std::mem::{size_of, size_of_val};

use governor::state::InMemoryState;
use leaky_bucket::RateLimiter as Leaky;
use ratelimit::Ratelimiter;
use steadfast::{RateLimit, TokioTimer};
use steadfast_core::rate_limit::{AtomicTokenBucket, Level, Quota, TokenBucket};
use steadfast_executor::Line;
use tokio::sync::Semaphore;

use crate::bucket::quota;
use crate::harness::Bench;
use crate::keyed;

pub(crate) fn rows(bench: &mut Bench) {
    if !bench.wants("size of") {
        return;
    }
    let limit = RateLimit::new(quota(1, 1), TokioTimer::new());
    let leaky = Leaky::builder().build();
    let permits = Semaphore::new(1);
    for (what, bytes) in [
        ("state of a bucket: ours (Level, as the keyed limits keep it)", size_of::<Level>()),
        (
            "state of a bucket: ours (AtomicTokenBucket without its Quota)",
            size_of::<AtomicTokenBucket>() - size_of::<Quota>(),
        ),
        ("state of a bucket: ours (TokenBucket without its Quota)", size_of::<TokenBucket>() - size_of::<Quota>()),
        ("state of a bucket: governor (InMemoryState)", size_of::<InMemoryState>()),
        ("bucket with its quota: ours (TokenBucket)", size_of::<TokenBucket>()),
        ("bucket with its quota: governor (DefaultDirectRateLimiter)", size_of::<governor::DefaultDirectRateLimiter>()),
        ("bucket with its quota: ratelimit (Ratelimiter)", size_of::<Ratelimiter>()),
        ("what tasks await: ours (Line)", size_of::<Line>()),
        ("what tasks await: leaky-bucket (RateLimiter)", size_of::<Leaky>()),
        ("what tasks await: tokio (Semaphore)", size_of::<Semaphore>()),
        ("future of an acquire: ours, on tokio", size_of_val(&limit.acquire(1_u32))),
        ("future of an acquire: leaky-bucket", size_of_val(&leaky.acquire(1))),
        ("future of an acquire: tokio Semaphore", size_of_val(&permits.acquire())),
    ] {
        bench.size(what, bytes as f64);
    }
    bench.size("heap per key, of 1,000: ours (KeyedRateLimit)", keyed::bytes_per_key());
    bench.size("heap per key, of 1,000: governor (DefaultKeyedRateLimiter)", keyed::governor_bytes_per_key());
}
