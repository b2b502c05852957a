//! One bucket on one thread.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::nanos::Nanos;
use governor::{Quota as GovernorQuota, RateLimiter as Governor};
use ratelimit::Ratelimiter;
use steadfast_core::rate_limit::{Quota, Refusal, TokenBucket};
use steadfast_core::time::{Clock, Instant};
use steadfast_executor::ThreadTimer;
use steadfast_quanta::QuantaClock;

use crate::harness::{BATCH, Bench, Work};

/// Tokens per second, one a microsecond: a whole number of nanoseconds lies between two of them.
pub(crate) const WHOLE: u32 = 1_000_000;

/// Tokens per second, one in 33⅓ ns. Ours counts in thirds of a nanosecond then; governor rounds to 33 ns and lets 1 %
/// too many go.
const THIRDS: u32 = 30_000_000;

/// Tokens per second, one in 142 and 6/7 ns. Ours counts in units of which no whole number is a nanosecond; governor
/// rounds to 142 ns and lets 0.6 % too many go.
const AWKWARD: u32 = 7_000_000;

/// More than any loop asks for.
const ENDLESS: u32 = 1_000_000_000;

pub(crate) fn rows(bench: &mut Bench) {
    admitted(bench, "admitted, injected clock, 1,000,000/s", WHOLE);
    admitted(bench, "admitted, injected clock, 30,000,000/s", THIRDS);
    admitted(bench, "admitted, injected clock, 7,000,000/s", AWKWARD);
    refused(bench, "refused with retry_at, injected clock, 1,000,000/s", WHOLE);
    refused(bench, "refused with retry_at, injected clock, 30,000,000/s", THIRDS);
    refused(bench, "refused with retry_at, injected clock, 7,000,000/s", AWKWARD);
    real_clock(bench, "admitted, own real clock", &QuantaClock::new());
    real_clock(bench, "admitted, std's clock for ours", &ThreadTimer::new());
}

/// Time that is injected into both sides, and that both read in the same way: a number in an atomic.
///
/// So is governor's own `FakeRelativeClock`; but that one is behind a call, which costs as much as the rest of the work
/// and would hide the difference.
#[derive(Clone, Debug)]
pub(crate) struct FakeClock(Arc<AtomicU64>);

impl FakeClock {
    /// A clock that stands at one hour, as programs run for hours: smaller numbers would be cheaper to divide.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(3_600_000_000_000)))
    }

    pub(crate) fn advance(&self, nanos: u64) {
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl governor::clock::Clock for FakeClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) fn quota(per_second: u32, burst: u32) -> Quota {
    Quota::per_second(per_second).and_then(|quota| quota.with_burst(burst)).expect("a quota in range")
}

pub(crate) fn governor_quota(per_second: u32, burst: u32) -> GovernorQuota {
    let [per_second, burst] = [per_second, burst].map(|tokens| NonZeroU32::new(tokens).expect("not zero"));
    GovernorQuota::per_second(per_second).allow_burst(burst)
}

/// A batch as a burst, and a token to spare: between two whole units of its state, our bucket gives a full burst at
/// once, but one token less if they are asked for one by one.
fn burst() -> u32 {
    u32::try_from(BATCH + 1).expect("a batch is small")
}

/// Equal work: each side reads a clock of the same kind for every call. Before each batch the clock moves on
/// by what it takes to refill the whole burst, which the batch then takes a token at a time.
fn admitted(bench: &mut Bench, name: &'static str, per_second: u32) {
    let refill = ((BATCH + 1) * 1_000_000_000).div_ceil(per_second.into());

    let clock = FakeClock::new();
    let mut bucket = TokenBucket::new(quota(per_second, burst()));
    let mut ours = |batches| {
        let mut admitted = 0;
        for _ in 0..batches {
            clock.advance(refill);
            for _ in 0..BATCH {
                let answer = black_box(&mut bucket).try_acquire(clock.now(), 1);
                admitted += u64::from(black_box(answer.is_ok()));
            }
        }
        admitted
    };

    let clock = FakeClock::new();
    let limiter = Governor::direct_with_clock(governor_quota(per_second, burst()), clock.clone());
    let mut theirs = |batches| {
        let mut admitted = 0;
        for _ in 0..batches {
            clock.advance(refill);
            for _ in 0..BATCH {
                admitted += u64::from(black_box(black_box(&limiter).check().is_ok()));
            }
        }
        admitted
    };
    bench.compare(Work::AllocationFree(name), "governor", &mut ours, &mut theirs);
}

/// Equal work: the bucket is empty and the clock stands; each call reads the clock, is refused, and says at which
/// instant to come back.
fn refused(bench: &mut Bench, name: &'static str, per_second: u32) {
    let clock = FakeClock::new();
    let mut bucket = TokenBucket::new(quota(per_second, burst()));
    while bucket.try_acquire(clock.now(), 1).is_ok() {}
    let mut ours = |batches| {
        let mut refused = 0;
        for _ in 0..batches * BATCH {
            if let Err(Refusal::NotYet { retry_at }) = black_box(&mut bucket).try_acquire(clock.now(), 1) {
                refused += u64::from(black_box(retry_at) > Instant::EPOCH);
            }
        }
        refused
    };

    let limiter = Governor::direct_with_clock(governor_quota(per_second, burst()), FakeClock::new());
    while limiter.check().is_ok() {}
    let mut theirs = |batches| {
        let mut refused = 0;
        for _ in 0..batches * BATCH {
            if let Err(not_until) = black_box(&limiter).check() {
                refused += u64::from(black_box(not_until.earliest_possible()).as_u64() > 0);
            }
        }
        refused
    };
    bench.compare(Work::AllocationFree(name), "governor", &mut ours, &mut theirs);
}

/// Equal work: a call asks a real clock and is admitted; the quota is more than any loop can ask for.
///
/// The clocks are most of it. governor's default is quanta, which reads the processor's counter; ratelimit's is `std`'s.
/// Ours is what one passes: at first quanta too, then `std`'s, which is that of all timers here.
fn real_clock(bench: &mut Bench, name: &'static str, clock: &impl Clock) {
    let mut bucket = TokenBucket::new(quota(ENDLESS, ENDLESS));
    let mut ours = |batches| {
        let mut admitted = 0;
        for _ in 0..batches * BATCH {
            let answer = black_box(&mut bucket).try_acquire(black_box(clock).now(), 1);
            admitted += u64::from(black_box(answer.is_ok()));
        }
        admitted
    };

    let governor = Governor::direct(governor_quota(ENDLESS, ENDLESS));
    let mut theirs = |batches| {
        let check = |_| u64::from(black_box(black_box(&governor).check().is_ok()));
        (0..batches * BATCH).map(check).sum()
    };
    bench.compare(Work::AllocationFree(name), "governor", &mut ours, &mut theirs);

    let limiter = Ratelimiter::builder(ENDLESS.into()).initial_available(ENDLESS.into()).build();
    let limiter = limiter.expect("a full bucket holds no more than its size");
    let mut theirs = |batches| {
        let wait = |_| u64::from(black_box(black_box(&limiter).try_wait().is_ok()));
        (0..batches * BATCH).map(wait).sum()
    };
    bench.compare(Work::AllocationFree(name), "ratelimit", &mut ours, &mut theirs);
}
