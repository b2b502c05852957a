//! Whole calls, with every policy that there is.

use std::cell::RefCell;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use governor::RateLimiter as Governor;
use recloser::{AsyncRecloser, Recloser};
use steadfast::TokioTimer;
use steadfast_core::circuit_breaker::{CircuitBreaker, State};
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::outcome::{Outcome, OutcomeKind};
use steadfast_core::pipeline::{Attempt, CallOptions, Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::rejected::Rejected;
use steadfast_core::run::Runner;
use steadfast_core::time::{Clock, Instant, Timer};
use steadfast_executor::SharedPipeline;
use steadfast_tracing::TracingObserver;
use tokio::runtime::{Builder, Runtime};
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep, timeout};
use tower::buffer::Buffer;
use tower::retry::Policy;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::bucket::{FakeClock, governor_quota, quota};
use crate::harness::{BATCH, Bench, Work};

/// Per second and at once: more than any loop asks for.
const ENDLESS: u32 = 1_000_000_000;
/// How many calls may be under way at once. One is.
const SLOTS: u32 = 100;
/// How many calls tower's buffer holds. One is there at a time.
const BUFFERED: usize = 100;
const DEADLINE: Duration = Duration::from_secs(30);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than any benchmark takes.
const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn rows(bench: &mut Bench) {
    first_try(bench);
    first_try_by_core(bench);
    refused(bench);
}

type Answer = Result<u64, io::Error>;

/// What is called: ready at once.
fn operation() -> Ready<Answer> {
    ready(Ok(black_box(7)))
}

fn classify(answer: &Answer) -> Outcome {
    if answer.is_ok() { Outcome::success() } else { Outcome::transient() }
}

/// Deadline, retries with a budget, breaker, rate limit, concurrency limit, attempt timeout.
fn everything() -> PipelineBuilder {
    Pipeline::builder()
        .deadline(DEADLINE)
        .attempt_timeout(ATTEMPT_TIMEOUT)
        .rate_limit(TokenBucket::new(quota(ENDLESS, ENDLESS)))
        .concurrency_limit(ConcurrencyLimit::fixed(SLOTS).build().expect("not zero"))
}

/// One call after the other that succeeds at its first attempt, on tokio's clock and on a runtime of one thread, without
/// tokio's budget, which would have some yield every so often.
///
/// Equal work: every call asks a rate limit and a concurrency limit that have room, prepares to repeat what fails, bounds
/// the attempt in time, and polls the same future once. Ours has a breaker beside these, and reads the clock for the
/// latencies that it learns. What the peers lack of that:
/// - *tower, shared* has a deadline and a budget too, and no breaker, since there is none among its layers. A service with
///   a rate limit cannot be cloned, and so tasks share it through a `Buffer`, as they share ours through a mutex.
/// - *tower, not shared* is the same without the buffer: the loop that calls it is the only one that can.
/// - *tower, four layers* has neither deadline nor budget either.
/// - *backon, governor, tokio's timeout*, put together by hand, has neither breaker nor budget, nor a concurrency limit.
///   governor reads the processor's counter, and not tokio's clock.
///
/// The last row has ours on both sides: once with an observer for `tracing`, which nobody listens to.
fn first_try(bench: &mut Bench) {
    let runtime = runtime();
    let pipeline = SharedPipeline::new(everything().build().expect("settings that can be"), TokioTimer::new());
    let mut ours = |batches| {
        runtime.block_on(unconstrained(async {
            let mut succeeded = 0;
            for _ in 0..batches * BATCH {
                let call = black_box(&pipeline).call(CallOptions::idempotent(), classify, |_attempt| operation());
                succeeded += u64::from(matches!(black_box(call.await), Ok(Ok(7))));
            }
            succeeded
        }))
    };
    let observed = everything().build().expect("settings that can be");
    let observed = SharedPipeline::new(observed, TokioTimer::new()).with_observer(TracingObserver::new());
    let mut traced = |batches| {
        runtime.block_on(unconstrained(async {
            let mut succeeded = 0;
            for _ in 0..batches * BATCH {
                let call = black_box(&observed).call(CallOptions::idempotent(), classify, |_attempt| operation());
                succeeded += u64::from(matches!(black_box(call.await), Ok(Ok(7))));
            }
            succeeded
        }))
    };
    // A layer of tower makes a timer when it is made, and so needs the runtime then.
    let _entered = runtime.enter();
    let layers = ServiceBuilder::new()
        .concurrency_limit(usize::try_from(SLOTS).expect("few"))
        .rate_limit(ENDLESS.into(), Duration::from_secs(1))
        .retry(Transient { left: 3, budget: None })
        .timeout(ATTEMPT_TIMEOUT)
        .service(service_fn(|()| operation()));
    let mut by_four_layers = by_tower(&runtime, layers);
    let all_layers = || {
        ServiceBuilder::new()
            .timeout(DEADLINE)
            .concurrency_limit(usize::try_from(SLOTS).expect("few"))
            .rate_limit(ENDLESS.into(), Duration::from_secs(1))
            .retry(Transient { left: 3, budget: Some(Arc::new(TpsBudget::default())) })
            .timeout(ATTEMPT_TIMEOUT)
            .service(service_fn(|()| operation()))
    };
    let mut by_all_layers = by_tower(&runtime, all_layers());
    let mut by_shared_layers = by_tower(&runtime, Buffer::new(all_layers(), BUFFERED));

    let limiter = Governor::direct(governor_quota(ENDLESS, ENDLESS));
    let mut by_hand = |batches| {
        runtime.block_on(unconstrained(async {
            let mut succeeded = 0;
            for _ in 0..batches * BATCH {
                let attempt = || async {
                    black_box(&limiter).until_ready().await;
                    timeout(ATTEMPT_TIMEOUT, operation()).await?
                };
                let call = attempt.retry(ExponentialBuilder::default().with_jitter());
                succeeded += u64::from(matches!(black_box(call.await), Ok(7)));
            }
            succeeded
        }))
    };

    let work = Work::AllocationFree("whole call, first try, tokio's clock");
    bench.compare(work, "tower, four layers", &mut ours, &mut by_four_layers);
    bench.compare(work, "tower, not shared", &mut ours, &mut by_all_layers);
    bench.compare(work, "tower, shared", &mut ours, &mut by_shared_layers);
    bench.compare(work, "backon, governor, tokio's timeout", &mut ours, &mut by_hand);
    let work = Work::AllocationFree("whole call, traced, with no subscriber");
    bench.compare(work, "ours, not observed", &mut traced, &mut ours);
}

fn by_tower<S>(runtime: &Runtime, mut service: S) -> impl FnMut(u64) -> u64
where
    S: Service<(), Response = u64, Error = BoxError>,
{
    move |batches| {
        runtime.block_on(unconstrained(async {
            let mut succeeded = 0;
            for _ in 0..batches * BATCH {
                let answer = match black_box(&mut service).ready().await {
                    Ok(ready) => ready.call(()).await,
                    Err(error) => Err(error),
                };
                succeeded += u64::from(matches!(black_box(answer), Ok(7)));
            }
            succeeded
        }))
    }
}

/// Three retries, if the budget allows them, after delays that double.
#[derive(Clone)]
struct Transient {
    left: u32,
    budget: Option<Arc<TpsBudget>>,
}

impl Policy<(), u64, BoxError> for Transient {
    type Future = Sleep;

    fn retry(&mut self, (): &mut (), result: &mut Result<u64, BoxError>) -> Option<Sleep> {
        if result.is_ok() {
            if let Some(budget) = &self.budget {
                budget.deposit();
            }
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let is_paid = self.budget.as_ref().is_none_or(|budget| budget.withdraw());
        is_paid.then(|| sleep(Duration::from_millis(800) / 2_u32.pow(self.left)))
    }

    fn clone_request(&mut self, (): &()) -> Option<()> {
        Some(())
    }
}

/// A clock that costs nothing to read, on which nobody ever waits.
#[derive(Debug)]
struct Free(FakeClock);

impl Clock for Free {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl Timer for Free {
    type Sleep = Ready<()>;

    fn sleep_until(&self, _deadline: Instant) -> Ready<()> {
        ready(())
    }
}

/// The same calls, as the core drives them with no runtime, no lock and no allocator.
///
/// Equal work: both sides read an injected clock. backon and governor, put together by hand, have no timeout here, since
/// that would take a runtime; and no deadline, breaker, budget or concurrency limit.
fn first_try_by_core(bench: &mut Bench) {
    let pipeline = RefCell::new(everything().build().expect("settings that can be"));
    let timer = Free(FakeClock::new());
    let runner = Runner { pipeline: &pipeline, timer: &timer, observer: &() };
    let mut state = 0_u64;
    let mut ours = |batches| {
        let mut succeeded = 0;
        for _ in 0..batches * BATCH {
            let entropy = || {
                state = state.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
                state
            };
            let call = black_box(&runner).call(CallOptions::idempotent(), entropy, classify, |_attempt| operation());
            succeeded += u64::from(matches!(black_box(at_once(call)), Some(Ok(Ok(7)))));
        }
        succeeded
    };

    let limiter = Governor::direct_with_clock(governor_quota(ENDLESS, ENDLESS), FakeClock::new());
    let mut by_hand = |batches| {
        let mut succeeded = 0;
        for _ in 0..batches * BATCH {
            let attempt = || async {
                match black_box(&limiter).check() {
                    Ok(()) => operation().await,
                    Err(_) => Err(io::ErrorKind::WouldBlock.into()),
                }
            };
            let call = attempt.retry(ExponentialBuilder::default().with_jitter());
            succeeded += u64::from(matches!(black_box(at_once(call.into_future())), Some(Ok(7))));
        }
        succeeded
    };

    let work = Work::AllocationFree("whole call, first try, by the core on a free clock");
    bench.compare(work, "backon, governor", &mut ours, &mut by_hand);
}

/// What a future returns that is ready at its first poll.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(returned) => Some(returned),
        Poll::Pending => None,
    }
}

/// Equal work: the breaker is open and both calls are refused, on the real clock, before the operation is touched. Ours
/// passes through a whole pipeline, and says why and when to come back; recloser is the breaker alone.
fn refused(bench: &mut Bench) {
    let runtime = runtime();
    let breaker = CircuitBreaker::builder().failure_threshold(1).open_for(LONG).build().expect("settings that can be");
    let pipeline = everything().circuit_breaker(breaker).build().expect("settings that can be");
    let pipeline = SharedPipeline::new(pipeline, TokioTimer::new());
    pipeline.with_policies(|policies, now| {
        let breaker = policies.circuit_breaker_mut().expect("it has one");
        let permit = breaker.try_admit(now).expect("it is closed");
        breaker.record(now, 0, permit, OutcomeKind::Transient);
        assert_eq!(breaker.state(), State::Open);
    });
    let mut ours = |batches| {
        runtime.block_on(unconstrained(async {
            let mut refused = 0;
            for _ in 0..batches * BATCH {
                let attempt = |_: Attempt| operation();
                let answer = black_box(&pipeline).call(CallOptions::idempotent(), classify, attempt).await;
                let rejected = black_box(answer).map_err(|error| error.rejected);
                refused += u64::from(matches!(rejected, Err(Rejected::CircuitOpen { .. })));
            }
            refused
        }))
    };

    let recloser = Recloser::custom().error_rate(0.5).closed_len(1).open_wait(LONG).build();
    while !matches!(recloser.call(|| Err::<(), ()>(())), Err(recloser::Error::Rejected)) {}
    let recloser = AsyncRecloser::from(recloser);
    let mut by_recloser = |batches| {
        runtime.block_on(unconstrained(async {
            let mut refused = 0;
            for _ in 0..batches * BATCH {
                let answer = black_box(&recloser).call(operation()).await;
                refused += u64::from(matches!(black_box(answer), Err(recloser::Error::Rejected)));
            }
            refused
        }))
    };
    let work = Work::AllocationFree("whole call refused by an open breaker, tokio's clock");
    bench.compare(work, "recloser", &mut ours, &mut by_recloser);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime of one thread needs nothing")
}
