//! One bucket that threads share.

use std::hint::{self, black_box};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use governor::RateLimiter as Governor;
use steadfast_core::rate_limit::AtomicTokenBucket;
use steadfast_core::time::Clock;

use crate::bucket::{FakeClock, WHOLE, governor_quota, quota};
use crate::harness::{BATCH, Bench, Work};

pub(crate) fn rows(bench: &mut Bench) {
    let (ours, theirs) = (ours(), governor());
    let mut alone = (|batches| ours(batches), |batches| theirs(batches));
    let name = "shared bucket, one thread";
    bench.compare(Work::AllocationFree(name), "governor", &mut alone.0, &mut alone.1);
    contended(bench, "shared bucket, two threads contending", "governor", [&ours, &theirs]);
}

/// What all threads do at once, each so many batches of it.
///
/// Equal work: the clock stands, so that the bucket is all that is written to, and the burst is more than all rounds
/// together take.
type Shared<'a> = &'a (dyn Fn(u64) -> u64 + Sync);

/// The atomic form of the bucket.
fn ours() -> impl Fn(u64) -> u64 + Sync {
    let clock = FakeClock::new();
    let bucket = AtomicTokenBucket::new(quota(WHOLE, u32::MAX));
    move |batches| {
        let take = |_| u64::from(black_box(black_box(&bucket).try_acquire(clock.now(), 1).is_ok()));
        (0..batches * BATCH).map(take).sum()
    }
}

/// Its state is an atomic as well.
fn governor() -> impl Fn(u64) -> u64 + Sync {
    let limiter = Governor::direct_with_clock(governor_quota(WHOLE, u32::MAX), FakeClock::new());
    move |batches| {
        let check = |_| u64::from(black_box(black_box(&limiter).check().is_ok()));
        (0..batches * BATCH).map(check).sum()
    }
}

/// Has this thread and another do half of the work each, and counts the time until both are done.
fn contended(bench: &mut Bench, name: &'static str, peer: &'static str, sides: [Shared<'_>; 2]) {
    let (gate, side, batches, done) = (Gate::default(), AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                gate.meet();
                let Some(work) = sides.get(side.load(Ordering::Relaxed)) else { return };
                done.store(work(batches.load(Ordering::Relaxed)), Ordering::Relaxed);
                gate.meet();
            }
        });
        let _last = SendHome { gate: &gate, side: &side };
        let both = |chosen: usize, total: u64| {
            // A single batch cannot be shared out: then each does one, and half of it is counted.
            let each = total.div_ceil(2);
            side.store(chosen, Ordering::Relaxed);
            batches.store(each, Ordering::Relaxed);
            gate.meet();
            let mine = sides[chosen](each);
            gate.meet();
            (mine + done.load(Ordering::Relaxed)) * total / (2 * each)
        };
        let mut ours = |total| both(0, total);
        let mut theirs = |total| both(1, total);
        bench.compare(Work::AllocationFree(name), peer, &mut ours, &mut theirs);
    });
}

/// Where two threads wait for each other without sleep, since waking up takes longer than many a round.
#[derive(Default)]
struct Gate(AtomicUsize);

impl Gate {
    /// Returns once both have called it.
    fn meet(&self) {
        let arrived = self.0.fetch_add(1, Ordering::AcqRel) + 1;
        let both = arrived.next_multiple_of(2);
        while self.0.load(Ordering::Acquire) < both {
            hint::spin_loop();
        }
    }
}

/// Lets the other thread end, also when an assertion has failed on this one: nobody should wait for it then.
struct SendHome<'a> {
    gate: &'a Gate,
    side: &'a AtomicUsize,
}

impl Drop for SendHome<'_> {
    fn drop(&mut self) {
        self.side.store(usize::MAX, Ordering::Relaxed);
        self.gate.meet();
    }
}
