//! A bucket per key.

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;

use governor::RateLimiter as Governor;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use steadfast_executor::KeyedRateLimit;

use crate::bucket::{FakeClock, WHOLE, governor_quota, quota};
use crate::harness::{BATCH, Bench, Work};

/// Known keys, all of them; a batch asks for each once.
const KEYS: u64 = BATCH;

/// Equal work: both tables are shared by threads and know all keys. Each batch moves its clock on by a token per key, and
/// asks once for each key, in an order that is not that of the table; each call reads the clock and is admitted.
///
/// First as both come: ours with foldhash, governor with `std`'s `SipHash`. Then with the same hasher in both, to tell what
/// the choice of the hasher makes of it.
pub(crate) fn rows(bench: &mut Bench) {
    compare(bench, "keyed, 1,000 keys, injected clock", governor);
    compare(bench, "keyed, 1,000 keys, the same hasher", governor_with_our_hasher);
}

fn compare<S>(bench: &mut Bench, name: &'static str, governor: impl FnOnce(&FakeClock) -> GovernorKeyed<S>)
where
    S: BuildHasher + Clone,
{
    let clock = FakeClock::new();
    let limit = ours(&clock);
    let mut ours = |batches| {
        let mut admitted = 0;
        for _ in 0..batches {
            clock.advance(1_000);
            for turn in 0..KEYS {
                admitted += u64::from(black_box(black_box(&limit).try_acquire(black_box(key(turn)), 1).is_ok()));
            }
        }
        admitted
    };

    let clock = FakeClock::new();
    let limiter = governor(&clock);
    let mut theirs = |batches| {
        let mut admitted = 0;
        for _ in 0..batches {
            clock.advance(1_000);
            for turn in 0..KEYS {
                admitted += u64::from(black_box(black_box(&limiter).check_key(&black_box(key(turn))).is_ok()));
            }
        }
        admitted
    };
    bench.compare(Work::AllocationFree(name), "governor", &mut ours, &mut theirs);
}

/// What ours allocates for each of [`KEYS`], in bytes.
pub(crate) fn bytes_per_key() -> f64 {
    heap_per_key(|| ours(&FakeClock::new()))
}

/// What governor allocates for each of [`KEYS`], in bytes.
pub(crate) fn governor_bytes_per_key() -> f64 {
    heap_per_key(|| governor(&FakeClock::new()))
}

fn heap_per_key<T>(limit: impl FnOnce() -> T) -> f64 {
    let mut kept = None;
    let counted = allocation_counter::measure(|| kept = Some(limit()));
    drop(kept);
    counted.bytes_current as f64 / KEYS as f64
}

/// Our limiter, with all keys known and room for twice as many.
fn ours(clock: &FakeClock) -> KeyedRateLimit<u64, FakeClock> {
    let limit = KeyedRateLimit::new(quota(WHOLE, 1), 2_000, clock.clone());
    let known = (0..KEYS).filter(|turn| limit.try_acquire(key(*turn), 1).is_ok()).count();
    assert_eq!(known as u64, KEYS, "a new key is admitted");
    limit
}

type GovernorKeyed<S = RandomState> = Governor<u64, DashMapStateStore<u64, S>, FakeClock, NoOpMiddleware<Nanos>>;

/// Theirs, with all keys known.
fn governor(clock: &FakeClock) -> GovernorKeyed {
    all_known(DashMapStateStore::default(), clock)
}

fn governor_with_our_hasher(clock: &FakeClock) -> GovernorKeyed<foldhash::quality::RandomState> {
    all_known(DashMapStateStore::with_hasher(foldhash::quality::RandomState::default()), clock)
}

fn all_known<S: BuildHasher + Clone>(state: DashMapStateStore<u64, S>, clock: &FakeClock) -> GovernorKeyed<S> {
    let limiter = Governor::new(governor_quota(WHOLE, 1), state, clock.clone());
    let known = (0..KEYS).filter(|turn| limiter.check_key(&key(*turn)).is_ok()).count();
    assert_eq!(known as u64, KEYS, "a new key is admitted");
    limiter
}

/// Whose turn it is: 617 and 1,000 have no common factor, so each comes once.
fn key(turn: u64) -> u64 {
    turn * 617 % KEYS
}
