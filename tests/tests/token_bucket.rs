//! The token bucket against an exact model of it: rational arithmetic in `u128`, and brute force over all windows.

use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::rate_limit::{Quota, Refusal, TokenBucket};
use steadfast_core::time::Instant;

use crate::support::{config, ns, quota};

/// What a quota says, in exact numbers: time in `1 / tokens` of a nanosecond, of which a token costs `period`.
#[derive(Debug)]
pub(crate) struct Model {
    tokens: u128,
    period: u128,
    burst: u128,
    full_at: u128,
    /// The latest time at which it was asked.
    latest: u64,
    /// When, how many, and whether they had to wait until then.
    pub(crate) admitted: Vec<(u64, u128, bool)>,
}

impl Model {
    pub(crate) fn new(quota: &Quota) -> Self {
        let (tokens, period) = (quota.tokens().into(), quota.period().as_nanos());
        Self { tokens, period, burst: quota.burst().into(), full_at: 0, latest: 0, admitted: Vec::new() }
    }

    /// The first nanosecond, from `now` on, at which `n` tokens are there.
    fn ready_at(&self, now: u64, n: u32) -> u128 {
        let now = u128::from(now) * self.tokens;
        let needs = self.full_at.max(now) + u128::from(n.max(1)) * self.period;
        needs.saturating_sub(self.burst * self.period).max(now).div_ceil(self.tokens)
    }

    /// A unit of the bucket's state, in nanoseconds, rounded up.
    fn unit(&self) -> u128 {
        let unit_cost = (self.period / self.tokens).min((1 << 62) / self.burst);
        self.period.div_ceil(unit_cost * self.tokens)
    }

    /// What the last of the pace's 62 binary places amounts to by `now`.
    fn shortfall(&self, now: u64) -> u128 {
        ((self.unit() * u128::from(now)) >> 62) + 1
    }

    /// By how much the bucket may be late at `now`.
    fn tolerance(&self, now: u64) -> u128 {
        self.unit() + (self.unit() >> 20) + self.shortfall(now)
    }

    fn take(&mut self, now: u64, ready_at: u64, n: u32) {
        self.latest = self.latest.max(now);
        if n > 0 {
            let start = self.full_at.max(u128::from(now) * self.tokens);
            self.full_at = start + u128::from(n) * self.period;
        }
        self.admitted.push((ready_at, n.into(), ready_at > now));
    }

    fn block_until(&mut self, until: u64) {
        if until == 0 {
            return; // The epoch is never to come.
        }
        let one_at_until = u128::from(until) * self.tokens + (self.burst - 1) * self.period;
        self.full_at = self.full_at.max(one_at_until);
    }

    /// Promise 1 as it is written: in no window between two admissions more than `burst + rate × window`.
    ///
    /// The time of a reservation that has to wait is rounded up to a whole nanosecond, so the window may have begun as
    /// much earlier: three a second cannot be spaced by whole nanoseconds and still be three a second.
    pub(crate) fn check_all_windows(&mut self) {
        self.admitted.sort_unstable();
        for (i, (from, _, waited)) in self.admitted.iter().enumerate() {
            let mut sum = 0;
            for (to, n, _) in &self.admitted[i..] {
                sum += n;
                let window = u128::from(to - from + u64::from(*waited));
                let allowed = self.burst * self.period + self.tokens * window;
                assert!(sum * self.period <= allowed, "{sum} tokens from {from} to {to}: {self:?}");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Acquire(u32),
    Reserve(u32),
    /// Until so long after now.
    Block(u64),
}

/// All that changes a bucket, and what asks it.
#[derive(Clone, Debug)]
enum Change {
    Acquire(u32),
    Reserve(u32),
    /// The reservation that was made last, of which so many tokens were used.
    Settle(u32),
    Renew,
    Debit(u32),
    /// Until so long after now.
    Block(u64),
    /// Whether it is the one that it had at first.
    Quota(bool),
}

/// Nearly always of the same few weights: a bucket remembers one of them.
fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        10 => (0..4_u32).prop_map(Change::Acquire),
        2 => (0..4_u32).prop_map(Change::Reserve),
        2 => (0..5_u32).prop_map(Change::Settle),
        1 => Just(Change::Renew),
        1 => (0..3_u32).prop_map(Change::Debit),
        1 => (0..3_000_000_000_u64).prop_map(Change::Block),
        1 => any::<bool>().prop_map(Change::Quota),
    ]
}

/// Whole numbers of nanoseconds and not, coarse units and fine, from one a day to one a nanosecond.
fn quotas() -> impl Strategy<Value = Quota> {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let bursts = prop_oneof![Just(1), Just(2), 1..50_u32, Just(u32::MAX), any::<u32>().prop_map(|n| n.max(1))];
    let named = prop_oneof![
        Just((1, day)),
        Just((3, second)),
        Just((7, Duration::from_millis(333))),
        Just((60, Duration::from_secs(60))),
        Just((999_999_937, second)),
        Just((600_000_000, second)),
        Just((1_000_000_000, second)),
        Just((1, Duration::from_nanos(1))),
        Just((1, Duration::from_nanos(u64::MAX))),
        Just((u32::MAX, Duration::from_nanos(u64::MAX))),
        (1..u32::MAX, any::<u64>())
            .prop_map(|(tokens, nanos)| (tokens, Duration::from_nanos(nanos.max(tokens.into())))),
        (1..100_u32, 100..10_000_u64).prop_map(|(tokens, nanos)| (tokens, Duration::from_nanos(nanos))),
    ];
    (named, bursts).prop_map(|((tokens, period), burst)| quota(tokens, period, burst))
}

/// A step of the clock, in thousandths of what `tokens` of the quota take.
fn steps() -> impl Strategy<Value = (i64, u32)> {
    (
        prop_oneof![Just(0), Just(1000), Just(1), -1500..3000_i64],
        prop_oneof![Just(0), Just(1), 1..20_u32, Just(u32::MAX)],
    )
}

fn ops() -> impl Strategy<Value = Op> {
    let weight = || prop_oneof![4 => 1..4_u32, 1 => Just(0), 1 => 1..60_u32, 1 => Just(u32::MAX), 1 => any::<u32>()];
    let time = prop_oneof![0..3_000_000_000_u64, Just(0), Just(1)];
    prop_oneof![4 => weight().prop_map(Op::Acquire), 2 => weight().prop_map(Op::Reserve), 1 => time.prop_map(Op::Block)]
}

fn moved(quota: &Quota, now: u64, (thousandths, tokens): (i64, u32)) -> u64 {
    let span = quota.period().as_nanos() * u128::from(tokens.max(1)) / u128::from(quota.tokens()) / 1000;
    let step = u64::try_from(span * u128::from(thousandths.unsigned_abs())).unwrap_or(u64::MAX);
    if thousandths < 0 { now.saturating_sub(step) } else { now.saturating_add(step) }
}

/// Compares an answer with the model's: never a nanosecond early, never a unit late.
fn compare(model: &Model, now: u64, n: u32, ready_at: u64) {
    let want = model.ready_at(now, n);
    // A bucket whose pace is a trace too slow is a trace less empty before than after what was taken, if the clock ever
    // steps back there. All windows are checked in any case.
    let early = if now < model.latest { model.shortfall(model.latest) } else { 0 };
    assert!(u128::from(ready_at) + early >= want, "early: {ready_at}, not {want}, for {n} at {now}: {model:?}");
    assert!(
        u128::from(ready_at) <= want + model.tolerance(ready_at),
        "late: {ready_at}, not {want}, for {n} at {now}: {model:?}"
    );
}

/// A refusal is honest: later than now, right to the nanosecond, and nothing was taken.
fn check_refusal(bucket: &mut TokenBucket, now: u64, n: u32, retry_at: Instant) {
    assert!(retry_at > ns(now), "{retry_at:?} is not later than {now}");
    assert_eq!(bucket.ready_at(retry_at, n), Ok(Some(retry_at)), "coming back then works");
    let just_before = ns(retry_at.as_nanos() - 1);
    assert_eq!(bucket.try_acquire(just_before, n), Err(Refusal::NotYet { retry_at }), "and not a moment earlier");
    // Which it may only remember; this it works out anew.
    assert_eq!(bucket.ready_at(just_before, n), Ok(Some(retry_at)), "and not a moment earlier");
}

proptest! {
    #![proptest_config(config(800))]

    /// Would catch: one token too many in any window whatever (wrapped, rounded or drifting arithmetic), an early or a
    /// dishonest refusal, a refusal that takes tokens, a clock that steps back giving some, a block that leaks.
    #[test]
    fn no_window_sees_one_token_too_many_and_no_answer_is_off(
        quota in quotas(),
        start in prop_oneof![Just(0), any::<u64>(), Just(u64::MAX - 1_000_000_000)],
        script in prop::collection::vec((steps(), ops()), 1..40),
    ) {
        let (mut bucket, mut model) = (TokenBucket::new(quota), Model::new(&quota));
        let (mut now, mut blocked) = (start, 0);
        for (step, op) in script {
            now = moved(&quota, now, step);
            let (n, deadline) = match op {
                Op::Block(delay) => {
                    let until = now.saturating_add(delay);
                    bucket.block_until(ns(until));
                    model.block_until(until);
                    blocked = blocked.max(until);
                    continue;
                }
                Op::Acquire(n) => (n, now.saturating_add(1)),
                Op::Reserve(n) => (n, u64::MAX),
            };
            let answer = match op {
                Op::Acquire(_) => bucket.try_acquire(ns(now), n).map(|()| ns(now)),
                _ => bucket.reserve(ns(now), n, ns(deadline)).map(|reservation| reservation.ready_at()),
            };
            match answer {
                Ok(ready_at) => {
                    let ready_at = ready_at.as_nanos();
                    assert!(ready_at >= blocked, "{ready_at} is before the block ends at {blocked}");
                    compare(&model, now, n, ready_at);
                    model.take(now, ready_at, n);
                }
                Err(Refusal::NotYet { retry_at }) if retry_at < Instant::MAX => {
                    check_refusal(&mut bucket, now, n, retry_at);
                    compare(&model, now, n, retry_at.as_nanos());
                }
                // Within a bucketful of the end of the clock it refuses for good rather than forget what was spent. Where
                // time has to be multiplied, that is after a quarter of the range.
                Err(Refusal::NotYet { .. }) => {
                    let bucketful = model.burst * model.period / model.tokens;
                    assert!(model.ready_at(now, n) + bucketful + model.tolerance(now) >= u128::from(u64::MAX / 4), "{model:?}");
                }
                Err(Refusal::Never { tokens, burst }) => {
                    assert!(tokens > burst && (tokens, burst) == (n, quota.burst()));
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        model.check_all_windows();
    }

    /// Would catch: a refusal that is remembered beyond a change of what it was due to, whatever changes it.
    #[test]
    fn what_is_remembered_of_a_refusal_is_what_would_be_said_anew(
        [quota, other] in [quotas(), quotas()],
        script in prop::collection::vec((steps(), changes()), 1..60),
    ) {
        let (mut bucket, mut now, mut held) = (TokenBucket::new(quota), 0, Vec::new());
        for (step, change) in script {
            now = moved(&quota, now, step);
            match change {
                Change::Acquire(n) => {
                    let want = match bucket.ready_at(ns(now), n) {
                        Ok(Some(ready_at)) if ready_at == ns(now) => Ok(()),
                        Ok(ready_at) => Err(Refusal::not_yet(ready_at)),
                        Err(refusal) => Err(refusal),
                    };
                    prop_assert_eq!(bucket.try_acquire(ns(now), n), want, "{} at {}", n, now);
                }
                Change::Reserve(n) => held.extend(bucket.reserve(ns(now), n, Instant::MAX)),
                Change::Settle(used) => held.pop().into_iter().for_each(|held| bucket.commit(ns(now), held, used)),
                Change::Renew => held.iter_mut().for_each(|held| { bucket.renew(ns(now), held); }),
                Change::Debit(n) => bucket.debit(ns(now), n),
                Change::Block(delay) => bucket.block_until(ns(now.saturating_add(delay))),
                Change::Quota(keep) => bucket.set_quota(ns(now), if keep { quota } else { other }),
            }
        }
    }

    /// Would catch: `available` and `try_acquire` of two minds.
    #[test]
    fn what_is_available_can_be_had_and_not_one_more(
        quota in quotas(),
        script in prop::collection::vec((steps(), 0..10_u32), 1..20),
    ) {
        let (mut bucket, mut now) = (TokenBucket::new(quota), 0);
        for (step, n) in script {
            now = moved(&quota, now, step);
            let _ = bucket.try_acquire(ns(now), n);
            let available = bucket.available(ns(now));
            // Within a bucketful of the end of the clock it refuses rather than forget what was spent.
            if available > 0 && now < u64::MAX / 4 {
                assert_eq!(bucket.ready_at(ns(now), available), Ok(Some(ns(now))));
            }
            if available < quota.burst() {
                let later = bucket.ready_at(ns(now), available + 1).expect("no more than the burst");
                assert!(later.is_none_or(|later| later > ns(now)));
            }
        }
    }

    /// Would catch: a time told to the end of a line that is not when its last token comes in. (To the unit: see
    /// `broken::a_full_bucket_keeps_one_token_back`.)
    #[test]
    fn the_turn_of_the_last_in_line_is_when_all_before_it_were_served(
        quota in quotas(),
        weights in prop::collection::vec(1..5_u32, 1..20),
    ) {
        let mut bucket = TokenBucket::new(quota);
        let weights: Vec<_> = weights.into_iter().map(|n| n.min(quota.burst())).collect();
        let mut sum = 0;
        let told: Vec<_> = weights.iter().map(|n| { sum += u64::from(*n); bucket.ready_at_after(ns(7), sum) }).collect();
        for (n, told) in weights.iter().zip(told) {
            let got = match bucket.reserve(ns(7), *n, Instant::MAX) {
                Ok(reservation) => reservation.ready_at(),
                Err(Refusal::NotYet { retry_at }) => retry_at,
                Err(other) => panic!("{other:?}"),
            };
            let late = got - told.unwrap_or(Instant::MAX);
            assert!(told.unwrap_or(Instant::MAX) <= got && late.as_nanos() <= Model::new(&quota).tolerance(got.as_nanos()), "{late:?}");
            if got == Instant::MAX {
                break;
            }
        }
    }
}

/// Demand that never ends, one token at a time, from each refusal's `retry_at` to the next. Would catch drift: a rate
/// that is off by one part in a thousand million shows as a token a day.
#[test]
fn a_saturated_day_admits_exactly_what_the_quota_says() {
    let (second, day) = (Duration::from_secs(1), 86_400_000_000_000_u64);
    for (quota, start) in [
        (quota(1, Duration::from_secs(86_400), 2), 0),
        (quota(3, second, 2), 1),
        (quota(60, Duration::from_secs(60), 60), 12_345),
        (quota(7, Duration::from_millis(1_333), 3), 7),
        (quota(1, Duration::from_nanos(86_399_999_999_977), u32::MAX), 3),
        (quota(17, Duration::from_nanos(86_399_999_999_977), u32::MAX), 0),
        (quota(1, second, 1), 0),
    ] {
        let mut bucket = TokenBucket::new(quota);
        bucket.try_acquire(ns(start), quota.burst()).unwrap();
        let (mut now, mut admitted) = (start, 0_u128);
        while let Err(Refusal::NotYet { retry_at }) = bucket.try_acquire(ns(now), 1) {
            now = retry_at.as_nanos();
            if now > start + day {
                break;
            }
            admitted += u128::from(bucket.try_acquire(ns(now), 1).is_ok());
        }
        let exact = u128::from(quota.tokens()) * u128::from(day) / quota.period().as_nanos();
        assert!(admitted <= exact && admitted + 1 >= exact, "{admitted}, not {exact}: {quota:?}");
    }
}

/// The same for rates that are too high for one token at a time: as many as are there, in strides of a second or two.
#[test]
fn a_saturated_day_of_many_tokens_admits_exactly_what_the_quota_says() {
    let (second, day) = (Duration::from_secs(1), 86_400_000_000_000_u64);
    for tokens in [3, 101, 999_999_937, 600_000_000, 1_000_000_000] {
        let quota = quota(tokens, second, u32::MAX);
        let mut bucket = TokenBucket::new(quota);
        bucket.try_acquire(ns(0), u32::MAX).unwrap();
        let (mut now, mut admitted) = (0, 0_u128);
        while now < day {
            now = (now + 1_037_918_273).min(day);
            let available = bucket.available(ns(now));
            admitted += u128::from(available);
            if available > 0 {
                bucket.try_acquire(ns(now), available).unwrap();
            }
        }
        let exact = u128::from(tokens) * u128::from(day) / 1_000_000_000;
        assert!(admitted <= exact && admitted + 1 >= exact, "{admitted}, not {exact}: {tokens}/s");
    }
}
