//! What HTTP means to the service, on the fake clock.

use std::cell::RefCell;
use std::time::Duration;

use http::{Request, Response};
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::budget::Budget;
use steadfast_core::time::{Clock, Instant, ManualClock};
use steadfast_executor::SharedPipeline;
use steadfast_tower::{Ended, Error, Http, Steadfast};
use tower::{Service, service_fn};

/// Makes a call that is answered with these statuses and one field, and compares the last status, the reason why there was no
/// other attempt, and when it ended.
#[track_caller]
fn check(request: Request<String>, answers: &[(u16, &str, &str)], want: (u16, Option<Rejected>), want_ms: u64) {
    let clock = ManualClock::new();
    let pipeline = Pipeline::builder().budget(Budget::unlimited()).build().unwrap();
    // The backoff draws nothing from this seed that the hints do not hide.
    let pipeline = SharedPipeline::with_seed(pipeline, &clock, 7);
    let sent = RefCell::new(0);
    let service = service_fn(|request: Request<String>| {
        assert_eq!((request.body().as_str(), request.uri().path()), ("body", "/items"));
        let (status, name, value) = answers[*sent.borrow()];
        *sent.borrow_mut() += 1;
        std::future::ready(Ok::<_, &'static str>(
            Response::builder().status(status).header(name, value).body(()).unwrap(),
        ))
    });
    let mut service = Steadfast::new(service, pipeline, Http::new());
    let response = clock.drive(service.call(request)).expect("it ends").expect("there is a response");
    let ended = response.extensions().get::<Ended>().map(|ended| ended.rejected);
    assert_eq!((response.status().as_u16(), ended), want);
    assert_eq!(*sent.borrow(), answers.len());
    let (now, least) = (clock.now(), Instant::EPOCH + Duration::from_millis(want_ms));
    assert!(now >= least && now <= least + Duration::from_millis(400), "it ended at {now}");
}

fn request(method: &str) -> Request<String> {
    Request::builder().method(method).uri("/items").body("body".to_owned()).unwrap()
}

#[test]
fn statuses_methods_and_hints_are_read_as_everywhere() {
    let (busy, ok) = ((503, "x", "y"), (200, "x", "y"));
    check(request("GET"), &[ok], (200, None), 0);
    check(request("GET"), &[busy, ok], (200, None), 0);
    check(request("GET"), &[(404, "x", "y")], (404, Some(Rejected::Permanent)), 0);
    check(request("POST"), &[busy], (503, Some(Rejected::NotIdempotent)), 0);
    check(request("POST"), &[(429, "retry-after", "3"), ok], (200, None), 3000);
    let mut keyed = request("POST");
    keyed.headers_mut().insert("idempotency-key", "k".parse().unwrap());
    check(keyed, &[busy, ok], (200, None), 0);
    let mut told = request("POST");
    told.extensions_mut().insert(CallOptions::idempotent());
    check(told, &[busy, ok], (200, None), 0);
    check(request("GET"), &[(503, "retry-after", "2"), ok], (200, None), 2000);
}

#[test]
fn what_a_server_tells_of_its_limits_holds_back_the_next_call() {
    let clock = ManualClock::new();
    let pipeline = SharedPipeline::with_seed(Pipeline::standard(), &clock, 7);
    let service = service_fn(|_: Request<()>| {
        let response = Response::builder().header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "5");
        std::future::ready(Ok::<_, &'static str>(response.body(()).unwrap()))
    });
    let mut service = Steadfast::new(service, pipeline, Http::new());
    for seconds in [0, 5] {
        clock.drive(service.call(Request::new(()))).expect("it ends").unwrap();
        assert_eq!(clock.now(), Instant::EPOCH + Duration::from_secs(seconds));
    }
}

#[test]
fn a_post_is_repeated_if_it_was_never_sent_and_a_body_without_another_is_not() {
    /// A body that cannot be cloned.
    struct Once;
    #[track_caller]
    fn check<B>(
        protocol: Http<impl steadfast_tower::Bodies<B>, impl steadfast_tower::NeverSent<&'static str>>,
        body: B,
        want: (&str, u32),
    ) {
        let clock = ManualClock::new();
        let pipeline = Pipeline::builder().budget(Budget::unlimited()).build().unwrap();
        let service = service_fn(|_: Request<B>| std::future::ready(Err::<Response<()>, _>("no connection")));
        let mut service = Steadfast::new(service, SharedPipeline::with_seed(pipeline, &clock, 7), protocol);
        let request = Request::post("/items").body(body).unwrap();
        let error = clock.drive(service.call(request)).expect("it ends").unwrap_err();
        let Error::Service { source, attempts, .. } = error else { panic!("{error:?}") };
        assert_eq!((source, attempts), want);
    }
    check(Http::new(), "", ("no connection", 1));
    check(Http::new().never_sent(|error: &&str| *error == "no connection"), "", ("no connection", 4));
    check(Http::new().never_sent(|_: &&str| true).with_bodies(|_: &Once| None), Once, ("no connection", 1));
    check(Http::new().never_sent(|_: &&str| true).with_bodies(|_: &Once| Some(Once)), Once, ("no connection", 4));
}
