//! A bucket per key.

use std::hint::black_box;
use std::time::Duration;

use governor::RateLimiter as Governor;
use governor::clock::FakeRelativeClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DefaultKeyedStateStore;

use crate::bucket::{WHOLE, fake_clock, governor_quota};
use crate::harness::{BATCH, Bench};

/// Known keys, all of them; a batch asks for each once.
const KEYS: u64 = BATCH;

/// `try_acquire` of one key after the other, all known and all admitted, in an order that is not that of the table:
/// ours is to be compared with [`governor_side`]. There is no row before there is something of ours to put into it.
pub(crate) fn rows(_bench: &mut Bench) {}

/// Every batch moves its clock on by one token per key, reads the clock for every call, and asks for every key once.
#[expect(dead_code, reason = "waits for our side of the row")]
fn governor_side() -> impl FnMut(u64) -> u64 {
    let clock = fake_clock();
    let limiter = governor(&clock);
    move |batches| {
        let mut admitted = 0;
        for _ in 0..batches {
            clock.advance(Duration::from_micros(1));
            for turn in 0..KEYS {
                admitted += u64::from(black_box(black_box(&limiter).check_key(&black_box(key(turn))).is_ok()));
            }
        }
        admitted
    }
}

/// What governor allocates for each of [`KEYS`], in bytes.
pub(crate) fn governor_bytes_per_key() -> f64 {
    let clock = fake_clock();
    let mut limiter = None;
    let counted = allocation_counter::measure(|| {
        let filled = governor(&clock);
        limiter = Some(filled);
    });
    drop(limiter);
    counted.bytes_current as f64 / KEYS as f64
}

type Keyed = Governor<u64, DefaultKeyedStateStore<u64>, FakeRelativeClock, NoOpMiddleware<Nanos>>;

/// A limiter that knows all keys.
fn governor(clock: &FakeRelativeClock) -> Keyed {
    let state = DefaultKeyedStateStore::<u64>::default();
    let limiter = Governor::new(governor_quota(WHOLE, 1), state, clock.clone());
    let known = (0..KEYS).filter(|turn| limiter.check_key(&key(*turn)).is_ok()).count();
    assert_eq!(known as u64, KEYS, "a new key is admitted");
    limiter
}

/// Whose turn it is: 617 and 1,000 have no common factor, so each comes once.
fn key(turn: u64) -> u64 {
    turn * 617 % KEYS
}
