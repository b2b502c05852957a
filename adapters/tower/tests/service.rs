//! The service under tower's own test harness, on the fake clock.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::event::{Event, Observer};
use steadfast_core::hedge::Hedge;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{CallOptions, Pipeline, PipelineBuilder};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::budget::Budget;
use steadfast_core::time::{Clock, Instant, ManualClock, Timer};
use steadfast_executor::SharedPipeline;
use steadfast_tower::{Error, Steadfast, SteadfastLayer, protocol};
use tower::buffer::Buffer;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_test::mock::{self, Handle, Mock};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One at once, ten a second, a second for each attempt.
fn builder() -> PipelineBuilder {
    Pipeline::builder()
        .deadline(ms(10_000))
        .attempt_timeout(ms(1000))
        .budget(Budget::unlimited())
        .without_circuit_breaker()
        .rate_limit(TokenBucket::new(Quota::per_second(10).unwrap()))
        .concurrency_limit(ConcurrencyLimit::fixed(1).build().unwrap())
}

macro_rules! numbers {
    () => {
        protocol(
            |_: &u32| CallOptions::idempotent(),
            |request: &u32| Some(*request),
            |result: Result<&&'static str, &BoxError>| match result {
                Ok(&"busy") | Err(_) => Outcome::transient(),
                Ok(&"wrong") => Outcome::permanent(),
                Ok(_) => Outcome::success(),
            },
        )
    };
}

fn shared(clock: &ManualClock, builder: PipelineBuilder) -> SharedPipeline<&ManualClock> {
    SharedPipeline::with_seed(builder.build().unwrap(), clock, 7)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The next request that reached the service, if one has.
fn asked(handle: &mut Handle<u32, &'static str>) -> Option<(u32, mock::SendResponse<&'static str>)> {
    poll(pin!(handle.next_request())).flatten()
}

/// How many slots are taken, and how many calls wait in line.
fn held(pipeline: &SharedPipeline<&ManualClock>) -> (u32, usize) {
    pipeline.with_policies(|pipeline, _| {
        let line = pipeline.limits();
        (line.limits().concurrency_limit().map_or(0, ConcurrencyLimit::in_flight), line.len())
    })
}

#[test]
fn a_request_reaches_the_service_and_its_answer_the_caller() {
    let clock = ManualClock::new();
    let (mock, mut handle) = mock::pair::<u32, &'static str>();
    let mut service = Steadfast::new(mock, shared(&clock, builder()), numbers!());
    let mut call = pin!(service.call(7));
    assert!(poll(call.as_mut()).is_none());
    let (request, answer) = asked(&mut handle).expect("it was sent");
    assert_eq!(request, 7);
    answer.send_response("hello");
    assert_eq!(poll(call).map(Result::unwrap), Some("hello"));
}

#[test]
fn a_service_that_is_not_ready_is_waited_for_and_not_called() {
    let clock = ManualClock::new();
    let (mock, mut handle) = mock::pair();
    handle.allow(0);
    let mut service = Steadfast::new(mock, shared(&clock, builder()), numbers!());
    let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))), "it takes nothing, so it is ready");
    let mut call = pin!(service.call(7));
    assert!(poll(call.as_mut()).is_none());
    assert!(asked(&mut handle).is_none(), "it was called before it was ready");
    handle.allow(1);
    assert!(poll(call.as_mut()).is_none());
    asked(&mut handle).expect("it is ready now").1.send_response("hello");
    assert_eq!(poll(call).map(Result::unwrap), Some("hello"));
}

#[test]
fn readiness_counts_as_a_part_of_the_attempt() {
    let clock = ManualClock::new();
    let (mock, mut handle) = mock::pair();
    handle.allow(0);
    let mut service = Steadfast::new(mock, shared(&clock, builder().deadline(ms(1000))), numbers!());
    let error = clock.drive(service.call(7)).expect("it ends").unwrap_err();
    assert!(matches!(error, Error::TimedOut { attempts: 1, .. }), "{error:?}");
    assert_eq!(clock.now(), Instant::EPOCH + ms(1000));
}

#[test]
fn whoever_is_ready_and_never_calls_keeps_nothing() {
    let clock = ManualClock::new();
    let (mock, mut handle) = mock::pair();
    handle.allow(1);
    let mut idle = Steadfast::new(mock, shared(&clock, builder()), numbers!());
    let mut busy = idle.clone();
    assert!(idle.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let mut call = pin!(busy.call(7));
    assert!(poll(call.as_mut()).is_none());
    asked(&mut handle).expect("the one place is free").1.send_response("hello");
    assert_eq!(poll(call).map(Result::unwrap), Some("hello"));
    drop(idle);
}

#[test]
fn an_error_of_readiness_was_never_sent_so_it_is_repeated_whatever_it_is() {
    let clock = ManualClock::new();
    let not_twice = protocol(
        |_: &u32| CallOptions::not_idempotent(),
        |request: &u32| Some(*request),
        |result: Result<&u32, &&'static str>| if result.is_ok() { Outcome::success() } else { Outcome::transient() },
    );
    /// Fails to be ready so often, and answers how often it was called.
    #[derive(Clone)]
    struct Shy(std::rc::Rc<std::cell::Cell<u32>>);
    impl Service<u32> for Shy {
        type Response = u32;
        type Error = &'static str;
        type Future = std::future::Ready<Result<u32, &'static str>>;
        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            let left = self.0.get();
            self.0.set(left.saturating_sub(1));
            Poll::Ready(if left > 0 { Err("not ready") } else { Ok(()) })
        }
        fn call(&mut self, request: u32) -> Self::Future {
            std::future::ready(Ok(request))
        }
    }
    let shy = |times| Shy(std::rc::Rc::new(std::cell::Cell::new(times)));
    let layer = SteadfastLayer::new(shared(&clock, builder()), not_twice);
    let call = |times| {
        let mut service = tower::Layer::layer(&layer, shy(times));
        clock.drive(service.call(7)).expect("it ends")
    };
    assert_eq!(call(3), Ok(7));
    let spent = Rejected::AttemptsSpent { max_attempts: 4 };
    assert_eq!(call(9), Err(Error::Service { source: "not ready", rejected: spent, attempts: 4 }));
}

#[test]
fn clones_and_services_of_one_layer_share_the_limit() {
    let clock = ManualClock::new();
    let pipeline = shared(&clock, builder());
    let layer = SteadfastLayer::new(pipeline, numbers!());
    let answer = || service_fn(|_: u32| std::future::ready(Ok::<_, BoxError>("hello")));
    let (one, other) = (tower::Layer::layer(&layer, answer()), tower::Layer::layer(&layer, answer()));
    let services = [one.clone(), one, other.clone(), other];
    clock.drive(async {
        for service in services {
            service.oneshot(7).await.unwrap();
        }
    });
    assert_eq!(clock.now(), Instant::EPOCH + ms(300), "ten a second, one by one, whoever asks");
}

#[test]
fn a_dropped_future_frees_everything() {
    let clock = ManualClock::new();
    let pipeline = shared(&clock, builder());
    let (mock, mut handle) = mock::pair();
    let mut service = Steadfast::new(mock, pipeline.clone(), numbers!());
    {
        let (mut first, mut second) = (pin!(service.call(1)), pin!(service.call(2)));
        assert!(poll(first.as_mut()).is_none());
        assert!(poll(second.as_mut()).is_none());
        assert_eq!(held(&pipeline), (1, 1), "one under way, one in line");
    }
    assert_eq!(held(&pipeline), (0, 0));
    drop(asked(&mut handle));
    // The second one gave back its token, and the first one had used its own.
    let mut third = pin!(service.call(3));
    assert!(poll(third.as_mut()).is_none());
    clock.advance(ms(100));
    assert!(poll(third.as_mut()).is_none());
    assert_eq!(asked(&mut handle).expect("its turn has come").0, 3);
}

#[test]
fn what_is_refused_fails_at_once_with_the_reason() {
    let clock = ManualClock::new();
    let pipeline = shared(&clock, builder().deadline(ms(150)).attempt_timeout(ms(150)));
    let answer = service_fn(|_: u32| std::future::ready(Ok::<_, BoxError>("hello")));
    let mut service = Steadfast::new(answer, pipeline, numbers!());
    let (mut one, mut two, mut three) = (pin!(service.call(1)), pin!(service.call(2)), pin!(service.call(3)));
    assert!(poll(one.as_mut()).is_some());
    assert!(poll(two.as_mut()).is_none(), "its turn comes in 100 ms");
    let error = poll(three.as_mut()).expect("its turn would come after the deadline").unwrap_err();
    let (retry_at, deadline) = (Instant::EPOCH + ms(200), Instant::EPOCH + ms(150));
    assert_eq!(error.rejected(), Rejected::RateLimited { retry_at, deadline });
    let said = format!("no attempt was made: {}", error.rejected());
    assert_eq!((error.to_string(), error.attempts()), (said, 0));
}

#[test]
fn what_was_answered_last_is_returned_as_it_is() {
    for (answers, want, calls) in [
        (&["busy", "busy", "hello"][..], "hello", 3),
        (&["wrong"], "wrong", 1),
        (&["busy", "busy", "busy", "busy"], "busy", 4),
    ] {
        let clock = ManualClock::new();
        let made = RefCell::new(0);
        let service = service_fn(|_: u32| {
            *made.borrow_mut() += 1;
            std::future::ready(Ok::<_, BoxError>(answers[*made.borrow() - 1]))
        });
        let mut service = Steadfast::new(service, shared(&clock, builder()), numbers!());
        assert_eq!(clock.drive(service.call(7)).expect("it ends").unwrap(), want);
        assert_eq!(*made.borrow(), calls);
    }
}

#[test]
fn what_cannot_be_repeated_is_sent_once() {
    // A request that there is only so often, the first one included.
    for (copies, fails_by, want) in [
        (1, "error", (1, Rejected::RetryForbidden)),
        (2, "error", (2, Rejected::RetryForbidden)),
        (9, "error", (4, Rejected::AttemptsSpent { max_attempts: 4 })),
        (1, "timeout", (1, Rejected::AttemptsSpent { max_attempts: 1 })),
        (2, "timeout", (2, Rejected::RetryForbidden)),
    ] {
        let (clock, sent) = (ManualClock::new(), RefCell::new(Vec::new()));
        let rare = protocol(
            |_: &u32| CallOptions::idempotent(),
            |copies: &u32| copies.checked_sub(1).filter(|left| *left > 0),
            |result: Result<&(), &&'static str>| if result.is_ok() { Outcome::success() } else { Outcome::transient() },
        );
        let (clock, log) = (&clock, &sent);
        let service = service_fn(|copies: u32| async move {
            log.borrow_mut().push(copies);
            if fails_by == "timeout" {
                clock.sleep_until(Instant::MAX).await;
            }
            Err::<(), _>("broken")
        });
        let mut service = Steadfast::new(service, shared(clock, builder()), rare);
        let error = clock.drive(service.call(copies)).expect("it ends").unwrap_err();
        assert_eq!((error.attempts(), error.rejected()), want, "{copies} {fails_by}");
        let want_sent: Vec<_> = (0..want.0).map(|sent| copies - sent).collect();
        assert_eq!(*sent.borrow(), want_sent);
        assert_eq!(error.into_service_error().is_some(), fails_by == "error");
    }
}

#[derive(Clone, Default)]
struct Log(std::rc::Rc<RefCell<Vec<Event>>>);

impl Observer for Log {
    type Call = ();

    fn observe(&self, _now: Instant, event: &Event) {
        self.0.borrow_mut().push(*event);
    }
}

#[test]
fn a_hedge_goes_beside_an_attempt_that_takes_long_and_the_first_answer_counts() {
    let clock = ManualClock::new();
    let hedged = Pipeline::builder().hedge(Hedge::builder().after(ms(50)).build().unwrap()).without_circuit_breaker();
    let log = Log::default();
    let pipeline = shared(&clock, hedged).with_observer(log.clone());
    let (mock, mut handle) = mock::pair();
    let mut service = Steadfast::new(mock, pipeline, numbers!());
    let mut call = pin!(service.call(7));
    assert!(poll(call.as_mut()).is_none());
    let (_, slow) = asked(&mut handle).expect("the first");
    clock.advance(ms(50));
    assert!(poll(call.as_mut()).is_none());
    asked(&mut handle).expect("the second").1.send_response("hello");
    assert_eq!(poll(call).map(Result::unwrap), Some("hello"));
    assert!(log.0.borrow().contains(&Event::Hedged { attempt: 2, beside: 1 }));
    drop(slow);
}

#[test]
fn an_open_breaker_keeps_calls_from_the_service() {
    let clock = ManualClock::new();
    let breaker = CircuitBreaker::builder().failure_threshold(2).build().unwrap();
    let pipeline = shared(&clock, Pipeline::builder().circuit_breaker(breaker));
    let made = RefCell::new(0);
    let service = service_fn(|_: u32| {
        *made.borrow_mut() += 1;
        std::future::ready(Err::<&str, BoxError>("broken".into()))
    });
    let mut service = Steadfast::new(service, pipeline, numbers!());
    let error = clock.drive(service.call(7)).expect("it ends").unwrap_err();
    assert!(matches!(error.rejected(), Rejected::CircuitOpen { .. }), "{error:?}");
    let error = clock.drive(service.call(7)).expect("it ends").unwrap_err();
    assert!(matches!(error, Error::Rejected(Rejected::CircuitOpen { .. })), "{error:?}");
    assert_eq!(*made.borrow(), 2);
}

/// A clock that stands still and can be sent to other threads.
#[derive(Clone, Copy)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::EPOCH
    }
}

impl Timer for Still {
    type Sleep = std::future::Pending<()>;

    fn sleep_until(&self, _deadline: Instant) -> Self::Sleep {
        std::future::pending()
    }
}

fn sent<S: Send>(value: S) -> S {
    value
}

#[test]
fn it_composes_with_other_layers_and_is_sent_when_its_parts_are() {
    let pipeline = SharedPipeline::new(Pipeline::standard(), Still);
    let service = ServiceBuilder::new()
        .concurrency_limit(3)
        .layer(SteadfastLayer::new(pipeline, numbers!()))
        .concurrency_limit(2)
        .service(service_fn(|_: u32| std::future::ready(Ok::<_, BoxError>("hello"))));
    assert_eq!(poll(pin!(sent(service.clone().oneshot(1)))).map(Result::unwrap), Some("hello"));

    // Behind a buffer, which spawns what it drives and boxes errors; and before one.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let pipeline = SharedPipeline::new(Pipeline::standard(), Still);
        let buffered = Buffer::new(service, 4);
        let mut service = Buffer::new(Steadfast::new(buffered, pipeline, numbers!()), 4);
        let answers = [service.ready().await.unwrap().call(1), service.ready().await.unwrap().call(2)];
        for answer in answers {
            assert_eq!(tokio::spawn(answer).await.unwrap().unwrap(), "hello");
        }
    });
}

#[test]
fn the_future_has_a_name() {
    type Inner = Mock<u32, &'static str>;
    fn call<P, T>(service: &mut Steadfast<Inner, P, T>) -> <Steadfast<Inner, P, T> as Service<u32>>::Future
    where
        Steadfast<Inner, P, T>: Service<u32>,
    {
        service.call(1)
    }
    let clock = ManualClock::new();
    let (mock, _handle) = mock::pair();
    let mut service = Steadfast::new(mock, shared(&clock, builder()), numbers!());
    assert!(poll(pin!(call(&mut service))).is_none());
}
