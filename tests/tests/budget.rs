//! Retry budgets: against models that remember everything, against outages, and at the ends of every number.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};

use proptest::prelude::*;
use steadfast_core::backoff::Backoff;
use steadfast_core::outcome::OutcomeKind::{self, Permanent, Success, Throttled, Transient};
use steadfast_core::retry::budget::{Budget, Cause, Charge};
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::Instant;

use crate::support::{config, millis, ms, ns};

const SECOND: u64 = 1_000_000_000;

/// One thing that happens to a budget, after so many milliseconds.
#[derive(Clone, Copy, Debug)]
enum What {
    /// A first attempt begins.
    Begin,
    /// Another attempt is asked for.
    Withdraw(Cause),
    /// One of the attempts that are out ends so.
    Record(usize, OutcomeKind),
    Abandon(usize),
    Refund(usize),
}

fn causes() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::Transient),
        Just(Cause::Throttled),
        Just(Cause::ToldWhen),
        Just(Cause::TimedOut),
        Just(Cause::Hedge)
    ]
}

fn kinds() -> impl Strategy<Value = OutcomeKind> {
    prop_oneof![4 => Just(Success), 1 => Just(Permanent), 3 => Just(Transient), 1 => Just(Throttled)]
}

fn whats() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => Just(What::Begin),
        3 => causes().prop_map(What::Withdraw),
        5 => (any::<usize>(), kinds()).prop_map(|(which, kind)| What::Record(which, kind)),
        1 => any::<usize>().prop_map(What::Abandon),
        1 => any::<usize>().prop_map(What::Refund),
    ]
}

fn scripts() -> impl Strategy<Value = Vec<(u64, What, u64)>> {
    let gap = prop_oneof![4 => 0..50_u64, 3 => 0..900_u64, 1 => 0..30_000_u64];
    prop::collection::vec((gap, whats(), any::<u64>()), 1..200)
}

/// An attempt that is out, as the model remembers it.
#[derive(Debug)]
struct Out {
    charge: Charge,
    at: u64,
    retry: bool,
    how: How,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum How {
    Free,
    BySuccesses,
    ByReserve,
    Cost(u32),
}

/// What a budget should do, recomputed from all that ever happened.
trait Model {
    /// Whether the attempt is let go, and how it is paid for.
    fn ask(&mut self, now: u64, cause: Option<Cause>, entropy: u64) -> Option<How>;
    fn end(&mut self, now: u64, out: &Out, kind: Option<OutcomeKind>);
    fn refund(&mut self, now: u64, out: &Out);
}

fn answered(kind: OutcomeKind) -> bool {
    matches!(kind, Success | Permanent)
}

/// Plays a script against a budget and its model, and holds one to the other.
fn play(mut budget: Budget, mut model: impl Model, script: Vec<(u64, What, u64)>) -> Result<(), TestCaseError> {
    let (mut out, mut now) = (Vec::<Out>::new(), 0);
    for (i, (gap, what, entropy)) in script.into_iter().enumerate() {
        now += gap * 1_000_000;
        let (instant, count) = (ns(now), out.len().max(1));
        let mut take = |which: usize| (!out.is_empty()).then(|| out.swap_remove(which % count));
        let asked = match what {
            What::Begin => Some((budget.begin(instant, entropy), None)),
            What::Withdraw(cause) => Some((budget.withdraw(instant, entropy, cause), Some(cause))),
            What::Record(which, kind) => {
                if let Some(out) = take(which) {
                    model.end(now, &out, Some(kind));
                    budget.record(instant, out.charge, kind);
                }
                None
            }
            What::Abandon(which) => {
                if let Some(out) = take(which) {
                    model.end(now, &out, None);
                    budget.abandon(instant, out.charge);
                }
                None
            }
            What::Refund(which) => {
                if let Some(out) = take(which) {
                    model.refund(now, &out);
                    budget.refund(instant, out.charge);
                }
                None
            }
        };
        if let Some((charge, cause)) = asked {
            let want = model.ask(now, cause, entropy);
            prop_assert_eq!(charge.is_ok(), want.is_some(), "step {} at {}: {:?}, {:?}", i, now, charge, want);
            match (charge, want) {
                (Ok(charge), Some(how)) => out.push(Out { charge, at: now, retry: cause.is_some(), how }),
                (Err(exhausted), _) => prop_assert!(exhausted.retry_at.is_none_or(|at| at > instant)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether what happened at `then` is in the window of `now`: in the tenth of it that `now` is in, or the nine before.
fn within(now: u64, then: u64, window: u64) -> bool {
    now / (window / 10) - then / (window / 10) < 10
}

struct RatioModel {
    percent: u64,
    window: u64,
    reserve: usize,
    every: u64,
    successes: Vec<u64>,
    paid: Vec<u64>,
    /// When each that was spent of the reserve comes back.
    returns: VecDeque<u64>,
}

impl Model for RatioModel {
    fn ask(&mut self, now: u64, cause: Option<Cause>, _entropy: u64) -> Option<How> {
        if matches!(cause, None | Some(Cause::ToldWhen)) {
            return Some(How::Free);
        }
        let count = |times: &[u64]| times.iter().filter(|then| within(now, **then, self.window)).count() as u64;
        if (count(&self.paid) + 1) * 100 <= count(&self.successes) * self.percent {
            self.paid.push(now);
            return Some(How::BySuccesses);
        }
        self.returns.retain(|back| *back > now);
        if self.returns.len() >= self.reserve {
            return None;
        }
        let last = self.returns.back().copied().unwrap_or(now);
        self.returns.push_back(last.max(now) + self.every);
        Some(How::ByReserve)
    }

    fn end(&mut self, now: u64, _out: &Out, kind: Option<OutcomeKind>) {
        if kind.is_some_and(answered) {
            self.successes.push(now);
        }
    }

    fn refund(&mut self, now: u64, out: &Out) {
        match out.how {
            How::BySuccesses => {
                let which = self.paid.iter().position(|paid| *paid == out.at).expect("it was paid");
                self.paid.remove(which);
            }
            How::ByReserve if now - out.at < self.every => {
                self.returns.retain(|back| *back > now);
                self.returns.pop_back();
                for (index, back) in (1..).zip(&mut self.returns) {
                    *back = now + index * self.every;
                }
            }
            _ => {}
        }
    }
}

struct QuotaModel {
    cost: fn(Cause) -> u32,
    tokens: u32,
}

impl Model for QuotaModel {
    fn ask(&mut self, _now: u64, cause: Option<Cause>, _entropy: u64) -> Option<How> {
        let Some(cause) = cause else { return Some(How::Free) };
        self.tokens = self.tokens.checked_sub((self.cost)(cause))?;
        Some(How::Cost((self.cost)(cause)))
    }

    fn end(&mut self, now: u64, out: &Out, kind: Option<OutcomeKind>) {
        match out.how {
            How::Cost(_) if kind.is_some_and(answered) => self.refund(now, out),
            _ if kind.is_some_and(answered) => self.tokens = (self.tokens + 1).min(500),
            _ => {}
        }
    }

    fn refund(&mut self, _now: u64, out: &Out) {
        if let How::Cost(cost) = out.how {
            self.tokens = (self.tokens + cost).min(500);
        }
    }
}

#[derive(Default)]
struct InFlightModel {
    /// When it began, and whether it is a retry.
    under_way: Vec<(u64, bool)>,
}

impl InFlightModel {
    const LEASE: u64 = 120 * SECOND;
}

impl Model for InFlightModel {
    fn ask(&mut self, now: u64, cause: Option<Cause>, _entropy: u64) -> Option<How> {
        let alive = || self.under_way.iter().filter(|(begun, _)| within(now, *begun, Self::LEASE));
        let (attempts, retries) = (alive().count(), alive().filter(|(_, retry)| *retry).count());
        if cause.is_some() && retries >= (attempts / 5).max(3) {
            return None;
        }
        self.under_way.push((now, cause.is_some()));
        Some(How::Free)
    }

    fn end(&mut self, now: u64, out: &Out, _kind: Option<OutcomeKind>) {
        self.refund(now, out);
    }

    fn refund(&mut self, _now: u64, out: &Out) {
        let which = self.under_way.iter().position(|attempt| *attempt == (out.at, out.retry)).expect("it is under way");
        self.under_way.remove(which);
    }
}

struct ThrottleModel {
    thousandths: u32,
}

impl Model for ThrottleModel {
    fn ask(&mut self, _now: u64, cause: Option<Cause>, _entropy: u64) -> Option<How> {
        (cause.is_none() || self.thousandths > 5_000).then_some(How::Free)
    }

    fn end(&mut self, _now: u64, _out: &Out, kind: Option<OutcomeKind>) {
        match kind {
            Some(Success) => self.thousandths = (self.thousandths + 100).min(10_000),
            Some(Transient | Throttled) => self.thousandths = self.thousandths.saturating_sub(1_000),
            Some(Permanent) | None => {}
        }
    }

    fn refund(&mut self, _now: u64, _out: &Out) {}
}

#[derive(Default)]
struct AdaptiveModel {
    requests: Vec<u64>,
    accepts: Vec<u64>,
}

impl AdaptiveModel {
    const WINDOW: u64 = 120 * SECOND;
}

impl Model for AdaptiveModel {
    fn ask(&mut self, now: u64, _cause: Option<Cause>, entropy: u64) -> Option<How> {
        let count = |times: &[u64]| times.iter().filter(|then| within(now, **then, Self::WINDOW)).count() as f64;
        let (requests, accepts) = (count(&self.requests), count(&self.accepts));
        self.requests.push(now);
        let refused = (requests - 2.0 * accepts).max(0.0) / (requests + 1.0);
        // The script never draws a number so near to the edge that a `f64` cannot tell.
        (entropy as f64 / 2_f64.powi(64) >= refused).then_some(How::Free)
    }

    fn end(&mut self, now: u64, out: &Out, kind: Option<OutcomeKind>) {
        match kind {
            Some(kind) if answered(kind) => self.accepts.push(out.at),
            Some(_) => {}
            None => self.refund(now, out),
        }
    }

    fn refund(&mut self, _now: u64, out: &Out) {
        let which = self.requests.iter().position(|asked| *asked == out.at).expect("it was asked for");
        self.requests.remove(which);
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn ratio_is_what_its_history_says(
        percent in 1..300_u32, window in 1..60_u64, reserve in 0..4_u32, every in 1..100_u64, script in scripts(),
    ) {
        let settings = Budget::ratio().percent(percent).window(Duration::from_secs(window));
        let budget = settings.reserve(reserve, Duration::from_secs(every)).build().unwrap();
        let model = RatioModel {
            percent: percent.into(),
            window: window * SECOND,
            reserve: reserve as usize,
            every: every * SECOND,
            successes: Vec::new(),
            paid: Vec::new(),
            returns: VecDeque::new(),
        };
        play(budget, model, script)?;
    }

    #[test]
    fn quota_is_what_its_history_says(old in any::<bool>(), script in scripts()) {
        let old_cost = |cause| match cause { Cause::TimedOut => 10, _ => 5 };
        let new_cost = |cause| match cause { Cause::Throttled | Cause::ToldWhen => 5, _ => 14 };
        let budget = if old { Budget::aws_standard_2_0() } else { Budget::aws_standard_2_1() };
        play(budget, QuotaModel { cost: if old { old_cost } else { new_cost }, tokens: 500 }, script)?;
    }

    #[test]
    fn in_flight_is_what_its_history_says(script in scripts()) {
        play(Budget::in_flight().build().unwrap(), InFlightModel::default(), script)?;
    }

    #[test]
    fn throttle_is_what_its_history_says(script in scripts()) {
        play(Budget::throttle().build().unwrap(), ThrottleModel { thousandths: 10_000 }, script)?;
    }

    #[test]
    fn adaptive_is_what_its_history_says(script in scripts()) {
        play(Budget::adaptive().build().unwrap(), AdaptiveModel::default(), script)?;
    }

    /// Clocks that jump either way, settings at the ends of their ranges, charges that come back late or never: an answer,
    /// not a crash, and a refusal's time lies in the future.
    #[test]
    fn every_budget(
        which in 0..7_u8, a in extremes(), b in extremes(), c in extremes(), span in spans(),
        script in prop::collection::vec((times(), whats(), any::<u64>()), 1..100),
    ) {
        let Ok(mut budget) = built(which, [a, b, c], span) else { return Ok(()) };
        let mut out: Vec<Charge> = Vec::new();
        for (now, what, entropy) in script {
            let count = out.len().max(1);
            let mut take = |which: usize| (!out.is_empty()).then(|| out.swap_remove(which % count));
            match what {
                What::Begin => out.extend(budget.begin(now, entropy).ok()),
                What::Withdraw(cause) => match budget.withdraw(now, entropy, cause) {
                    Ok(charge) => out.push(charge),
                    Err(exhausted) => prop_assert!(exhausted.retry_at.is_none_or(|at| at > now)),
                },
                What::Record(which, kind) => take(which).into_iter().for_each(|charge| budget.record(now, charge, kind)),
                What::Abandon(which) => take(which).into_iter().for_each(|charge| budget.abandon(now, charge)),
                What::Refund(which) => take(which).into_iter().for_each(|charge| budget.refund(now, charge)),
            }
        }
    }

    /// A refusal that names a time is honest: coming back then works.
    #[test]
    fn a_refusal_is_honest(script in scripts()) {
        let (mut budget, mut now) = (Budget::default(), ms(0));
        for (gap, what, _) in script {
            now += millis(gap);
            match what {
                What::Withdraw(cause) => {
                    if let Err(exhausted) = budget.withdraw(now, 0, cause) {
                        now = exhausted.retry_at.expect("the default's reserve comes back with time");
                        prop_assert!(budget.withdraw(now, 0, cause).is_ok());
                    }
                }
                What::Record(_, kind) => {
                    let charge = budget.begin(now, 0).expect("the default refuses no first attempt");
                    budget.record(now, charge, kind);
                }
                What::Begin | What::Abandon(_) | What::Refund(_) => {}
            }
        }
    }

    /// Promise 7, for each client alone: whatever its pace from a call every six seconds up, whatever part of its attempts
    /// fails, whenever the outage comes, and however much went well before.
    #[test]
    fn an_outage_of_a_minute_adds_a_fifth_at_most(
        pace in 10..=6_000_u64, phase in 0..60_000_u64, failing in prop_oneof![Just(100_u64), 5..100_u64], seed in any::<u64>(),
    ) {
        let (calls, extra) = outage(Budget::default(), pace, phase, failing, seed);
        prop_assert!(extra * 5 <= calls, "{extra} retries for {calls} calls");
    }
}

fn extremes() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(100), Just(1_000), Just(u32::MAX), any::<u32>(), 1..200_u32]
}

fn spans() -> impl Strategy<Value = Duration> {
    let nanos = prop_oneof![Just(1_000), Just(u64::MAX), any::<u64>(), 1..10_000_000_000_u64];
    prop_oneof![Just(Duration::MAX), nanos.prop_map(Duration::from_nanos)]
}

fn times() -> impl Strategy<Value = Instant> {
    prop_oneof![Just(0), Just(u64::MAX), Just(u64::MAX - 1), any::<u64>(), 0..100_000_000_000_u64].prop_map(ns)
}

fn built(which: u8, [a, b, c]: [u32; 3], span: Duration) -> Result<Budget, InvalidSetting> {
    match which {
        0 => Budget::ratio().percent(a).window(span).reserve(b, span).build(),
        1 => Budget::quota().capacity(a).transient_cost(b).throttled_cost(b).timeout_cost(b).success_gain(c).build(),
        2 => Budget::in_flight().percent(a).min_retries(b).lease(span).build(),
        3 => Budget::throttle().max_tokens(a).token_ratio_thousandths(b).build(),
        4 => Budget::adaptive().multiplier_percent(a).window(span).build(),
        5 => Ok(Budget::unlimited()),
        _ => Ok(Budget::default()),
    }
}

/// A client that makes a call every `pace` milliseconds, each of up to four attempts with the default backoff, every one
/// answered at once. From a time after two minutes, for one minute, so many percent of the attempts fail. Returns how many
/// calls it made in that minute, and how many retries it paid for.
fn outage(mut budget: Budget, pace: u64, phase: u64, failing: u64, seed: u64) -> (u64, u64) {
    let begins = 120_000 + phase;
    let minute = ms(begins)..ms(begins + 60_000);
    let (backoff, mut state) = (Backoff::default(), seed);
    let mut entropy = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ state.rotate_right(29)
    };
    let (mut calls, mut extra) = (0, 0);
    let mut due: BinaryHeap<Reverse<(Instant, u32, Option<usize>)>> = BinaryHeap::new();
    for call in 0..=(begins + 60_000) / pace {
        due.push(Reverse((ms(call * pace), 1, None)));
    }
    let mut charges: Vec<Option<Charge>> = Vec::new();
    while let Some(Reverse((now, attempt, held))) = due.pop() {
        if now >= minute.end {
            break;
        }
        let charge: Charge = match held {
            Some(index) => charges[index].take().expect("it is held once"),
            None => {
                calls += u64::from(minute.contains(&now));
                match budget.begin(now, entropy()) {
                    Ok(charge) => charge,
                    // It refuses first attempts, and so takes load away.
                    Err(_) => continue,
                }
            }
        };
        let fails = minute.contains(&now) && entropy() % 100 < failing;
        budget.record(now, charge, if fails { Transient } else { Success });
        if fails && attempt < 4 {
            if let Ok(charge) = budget.withdraw(now, entropy(), Cause::Transient) {
                extra += 1;
                charges.push(Some(charge));
                let at = now + backoff.delay(attempt, Duration::ZERO, entropy());
                due.push(Reverse((at, attempt + 1, Some(charges.len() - 1))));
            }
        }
    }
    (calls, extra)
}

/// The table in the docs of `budget`: what each adds in the worst case. None adds more, and the figures are not idle.
#[test]
fn the_worst_cases_are_those_of_the_table() {
    type Make = fn() -> Budget;
    for (make, ten_a_second, one_in_five_seconds) in [
        (Budget::default as Make, 22, 2),
        (Budget::aws_standard_2_1, 35, 35),
        (Budget::aws_standard_2_0, 100, 36),
        (|| Budget::throttle().build().unwrap(), 4, 4),
        (|| Budget::in_flight().build().unwrap(), 1_800, 36),
        (Budget::unlimited, 1_800, 36),
        // Measured, since it rolls dice.
        (|| Budget::adaptive().build().unwrap(), 1_200, 27),
    ] {
        for (pace, calls, most) in [(100, 600, ten_a_second), (5_000, 12, one_in_five_seconds)] {
            let outages: Vec<_> = (0..10).map(|seed| outage(make(), pace, seed * 100, 100, seed)).collect();
            let worst = outages.iter().map(|(_, extra)| *extra).max().unwrap();
            assert!(outages.iter().all(|(made, _)| *made == calls), "{outages:?}");
            assert!(worst <= most && worst * 10 >= most * 7, "{worst} of {most}");
        }
    }
}
