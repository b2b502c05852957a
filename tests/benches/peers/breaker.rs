//! One circuit breaker on one thread.

use std::hint::black_box;
use std::time::Duration;

use failsafe::failure_policy::{ConsecutiveFailures, SuccessRateOverTimeWindow};
use failsafe::{CircuitBreaker as _, Config, FailurePolicy, StateMachine, backoff, failure_policy};
use recloser::Recloser;
use steadfast_core::circuit_breaker::{CircuitBreaker, CircuitBreakerBuilder, State, Window};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::time::Clock;

use crate::bucket::FakeClock;
use crate::harness::{BATCH, Bench, Work};

/// Longer than any benchmark takes.
const LONG: Duration = Duration::from_secs(3_600);

/// Every so many calls fail, so that failures are measured too and no branch is always taken.
const FAIL_EVERY: u64 = 8;

pub(crate) fn rows(bench: &mut Bench) {
    let in_a_row = CircuitBreaker::builder().without_failure_rate();
    let of_100 = CircuitBreaker::builder().without_failure_threshold().window(Window::Calls(100));
    let of_30_s = CircuitBreaker::builder().without_failure_threshold();
    let all = CircuitBreaker::builder().slow_call_rate(50, Duration::from_secs(1));

    let name = "breaker admits and records, default settings";
    closed(bench, name, CircuitBreaker::builder(), "recloser", &mut by_recloser());
    closed(bench, name, CircuitBreaker::builder(), "failsafe", &mut by_failsafe_in_a_row_or_rate());
    let name = "breaker admits and records, 10 failures in a row";
    closed(bench, name, in_a_row, "failsafe", &mut by_failsafe_in_a_row());
    let name = "breaker admits and records, 50 % of 100 calls";
    closed(bench, name, of_100, "recloser", &mut by_recloser());
    let name = "breaker admits and records, 50 % of 30 s";
    closed(bench, name, of_30_s, "failsafe", &mut by_failsafe_rate());
    let name = "breaker admits and records, in a row, failed and slow";
    closed(bench, name, all, "recloser", &mut by_recloser());
    closed(bench, name, all, "failsafe", &mut by_failsafe_in_a_row_or_rate());
    refused(bench, "refused by an open breaker, ours with retry_at and reason");

    if bench.wants("size") {
        bench.size("CircuitBreaker", size_of::<CircuitBreaker>() as f64);
        bench.size("recloser's Recloser, without its ring", size_of::<Recloser>() as f64);
    }
}

/// Whether the call of this number fails.
fn fails(call: u64) -> bool {
    call % FAIL_EVERY == 0
}

/// As cheap as a generator can be: a multiplication.
fn entropy(call: u64) -> u64 {
    call.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Equal work: each call asks, is admitted, and reports a result. Ours reads an injected clock when it asks and when it
/// reports, since it knows latencies, and draws entropy; failsafe reads the real clock only for rates over time, and
/// recloser only when it opens. Both of theirs can be shared between threads as they are, for which they pay.
fn closed(
    bench: &mut Bench,
    name: &'static str,
    builder: CircuitBreakerBuilder,
    peer: &'static str,
    theirs: &mut dyn FnMut(u64) -> u64,
) {
    let clock = FakeClock::new();
    let mut breaker = builder.build().expect("settings that can be");
    let mut ours = |batches| {
        let mut admitted = 0;
        for _ in 0..batches {
            clock.advance(1_000_000);
            for call in 0..BATCH {
                let breaker = black_box(&mut breaker);
                if let Ok(permit) = breaker.try_admit(clock.now()) {
                    let kind = if black_box(fails(call)) { OutcomeKind::Transient } else { OutcomeKind::Success };
                    black_box(breaker.record(clock.now(), entropy(call), permit, kind));
                    admitted += 1;
                }
            }
        }
        assert_eq!(breaker.state(), State::Closed);
        admitted
    };
    bench.compare(Work::AllocationFree(name), peer, &mut ours, theirs);
}

/// Half of 100 calls, with any error a failure: its defaults.
fn by_recloser() -> impl FnMut(u64) -> u64 {
    let breaker = Recloser::custom().error_rate(0.5).closed_len(100).build();
    move |batches| {
        let mut admitted = 0;
        for _ in 0..batches {
            for call in 0..BATCH {
                let answer = if black_box(fails(call)) { Err(()) } else { Ok(()) };
                let answer = black_box(&breaker).call(|| black_box(answer));
                admitted += u64::from(!matches!(black_box(answer), Err(recloser::Error::Rejected)));
            }
        }
        admitted
    }
}

/// Ten failures in a row.
fn in_a_row() -> ConsecutiveFailures<backoff::Constant> {
    failure_policy::consecutive_failures(10, backoff::constant(LONG))
}

/// Half of 30 s, once there are 100.
fn rate() -> SuccessRateOverTimeWindow<backoff::Constant> {
    failure_policy::success_rate_over_time_window(0.5, 100, Duration::from_secs(30), backoff::constant(LONG))
}

fn by_failsafe_in_a_row() -> impl FnMut(u64) -> u64 {
    by_failsafe(Config::new().failure_policy(in_a_row()).build())
}

fn by_failsafe_rate() -> impl FnMut(u64) -> u64 {
    by_failsafe(Config::new().failure_policy(rate()).build())
}

/// What our defaults judge too. Slow calls are nothing that it knows of.
fn by_failsafe_in_a_row_or_rate() -> impl FnMut(u64) -> u64 {
    by_failsafe(Config::new().failure_policy(in_a_row().or_else(rate())).build())
}

fn by_failsafe<P: FailurePolicy>(breaker: StateMachine<P, ()>) -> impl FnMut(u64) -> u64 {
    move |batches| {
        let mut admitted = 0;
        for _ in 0..batches {
            for call in 0..BATCH {
                let answer = if black_box(fails(call)) { Err(()) } else { Ok(()) };
                let answer = black_box(&breaker).call(|| black_box(answer));
                admitted += u64::from(!matches!(black_box(answer), Err(failsafe::Error::Rejected)));
            }
        }
        admitted
    }
}

/// Equal work: the breaker is open, and each call is refused. Ours reads an injected clock and says when to come back;
/// theirs read the real one, and do not say.
fn refused(bench: &mut Bench, name: &'static str) {
    let clock = FakeClock::new();
    let mut breaker =
        CircuitBreaker::builder().failure_threshold(1).open_for(LONG).build().expect("settings that can be");
    let permit = breaker.try_admit(clock.now()).expect("it is closed");
    breaker.record(clock.now(), 0, permit, OutcomeKind::Transient);
    let mut ours = |batches| {
        let mut refused = 0;
        for _ in 0..batches * BATCH {
            if let Err(refusal) = black_box(&mut breaker).try_admit(clock.now()) {
                refused += u64::from(black_box(refusal.retry_at()).is_some());
            }
        }
        refused
    };

    let recloser = Recloser::custom().error_rate(0.5).closed_len(1).open_wait(LONG).build();
    while !matches!(recloser.call(|| Err::<(), ()>(())), Err(recloser::Error::Rejected)) {}
    let mut by_recloser = |batches| {
        let mut refused = 0;
        for _ in 0..batches * BATCH {
            let answer = black_box(&recloser).call(|| Ok::<(), ()>(()));
            refused += u64::from(matches!(black_box(answer), Err(recloser::Error::Rejected)));
        }
        refused
    };

    let policy = failure_policy::consecutive_failures(1, backoff::constant(LONG));
    let failsafe = Config::new().failure_policy(policy).build();
    while !matches!(failsafe.call(|| Err::<(), ()>(())), Err(failsafe::Error::Rejected)) {}
    let mut by_failsafe = |batches| {
        let mut refused = 0;
        for _ in 0..batches * BATCH {
            let answer = black_box(&failsafe).call(|| Ok::<(), ()>(()));
            refused += u64::from(matches!(black_box(answer), Err(failsafe::Error::Rejected)));
        }
        refused
    };
    bench.compare(Work::AllocationFree(name), "recloser", &mut ours, &mut by_recloser);
    bench.compare(Work::AllocationFree(name), "failsafe", &mut ours, &mut by_failsafe);
}
