//! Reservations that are given back: what comes back, and that no window sees more for it.

use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::time::Instant;

use crate::support::{config, ns, quota};
use crate::token_bucket::Model;

/// What is done with one bucket whose reservations are given back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Take(u32),
    Reserve(u32),
    Cancel(usize),
    Move(i64),
}

/// Ten tokens at once and one every 100 ns; what was not given back is within the limit in every window.
pub(crate) fn check_refunds(script: Vec<Op>) {
    let quota = quota(1, Duration::from_nanos(100), 10);
    let (mut bucket, mut model, mut now) = (TokenBucket::new(quota), Model::new(&quota), 1_000_u64);
    let mut held = Vec::new();
    for op in script {
        match op {
            Op::Take(n) if bucket.try_acquire(ns(now), n).is_ok() => model.admitted.push((now, n.into(), false)),
            Op::Take(_) => {}
            Op::Reserve(n) => held.push(bucket.reserve(ns(now), n, Instant::MAX).expect("no more than the burst")),
            Op::Cancel(i) if !held.is_empty() => {
                let cancelled = held.swap_remove(i % held.len());
                bucket.cancel(ns(now), cancelled);
            }
            Op::Cancel(_) => {}
            Op::Move(step) => now = now.saturating_add_signed(step),
        }
    }
    model.admitted.extend(held.iter().map(|kept| (kept.ready_at().as_nanos(), kept.tokens().into(), false)));
    model.check_all_windows();
}

/// Scripts with weights up to `weight` and steps from `back` on.
pub(crate) fn refunding(weight: u32, back: i64) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (1..=10_u32).prop_map(Op::Take),
        (1..=weight).prop_map(Op::Reserve),
        any::<usize>().prop_map(Op::Cancel),
        (back..500_i64).prop_map(Op::Move),
    ];
    prop::collection::vec(op, 1..30)
}

proptest! {
    #![proptest_config(config(1_000))]

    /// Would catch: a refund that is not exactly what was taken. Reservations that are given back at once, the last
    /// one first, leave the bucket as it was.
    #[test]
    fn what_is_given_back_in_reverse_order_leaves_no_trace(
        taken in 0..=10_u32, later in 0..2_000_u64, weights in prop::collection::vec(1..=10_u32, 1..10),
    ) {
        let mut bucket = TokenBucket::new(quota(1, Duration::from_nanos(100), 10));
        bucket.try_acquire(ns(0), taken).expect("a new bucket is full");
        let state = |bucket: &TokenBucket| (bucket.available(ns(later)), bucket.ready_at_after(ns(later), 1_000));
        let before = state(&bucket);
        let reserve = |n: &u32| bucket.reserve(ns(later), *n, Instant::MAX).expect("no more than the burst");
        let held: Vec<_> = weights.iter().map(reserve).collect();
        held.into_iter().rev().for_each(|reservation| bucket.cancel(ns(later), reservation));
        prop_assert_eq!(state(&bucket), before);
    }
}

/// Would catch: a refund of the last reservation that is more or less than it took, where time is a whole unit.
#[test]
fn the_last_reservation_comes_back_whole_until_it_is_ready() {
    for (taken, n) in [(0, 1), (0, 5), (5, 1), (5, 5), (3, 4)] {
        for cancel_at in [0, 1, 50_000_000] {
            let mut bucket = TokenBucket::new(quota(10, Duration::from_secs(1), 5));
            bucket.try_acquire(ns(0), taken).unwrap();
            let before = (bucket.available(ns(0)), bucket.ready_at(ns(0), 5));
            let reservation = bucket.reserve(ns(0), n, Instant::MAX).unwrap();
            let due = reservation.ready_at();
            if due > ns(cancel_at) || cancel_at == 0 {
                bucket.cancel(ns(cancel_at), reservation);
                assert_eq!((bucket.available(ns(0)), bucket.ready_at(ns(0), 5)), before, "{taken} {n} {cancel_at}");
            }
        }
    }
}
