//! The middleware before reqwest, over loopback: so the time is tokio's, and nothing is asserted of it but that nothing is early.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::Extensions;
use http_body_util::Full;
use reqwest::{Body, Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::rejected::Rejected;
use steadfast_core::retry::budget::Budget;
use steadfast_executor::SharedPipeline;
use steadfast_reqwest_middleware::{Ended, Refused, Steadfast};
use steadfast_tests::scripted_server::{ScriptedServer, Step};
use steadfast_tokio::TokioTimer;

type Pipelined = SharedPipeline<TokioTimer>;

fn pipeline() -> Pipelined {
    SharedPipeline::new(Pipeline::builder().budget(Budget::unlimited()).build().unwrap(), TokioTimer::new())
}

/// Counts attempts, and leaves word among the extensions.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU32>);

#[async_trait::async_trait]
impl Middleware for Count {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        extensions.insert(self.0.fetch_add(1, Ordering::Relaxed) + 1);
        next.run(request, extensions).await
    }
}

fn client(pipeline: Pipelined, count: Count) -> ClientWithMiddleware {
    // No proxy, whatever the environment says, and no retries but ours.
    let client = reqwest::Client::builder().no_proxy().retry(reqwest::retry::never());
    let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
    ClientBuilder::new(client).with(Steadfast::new(pipeline).without_redirects()).with(count).build()
}

/// A port that nobody listens on any more.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

/// A server that answers each connection with one of these statuses and a field.
fn server(answers: &[(u16, &str)]) -> ScriptedServer {
    let script = |(status, field): &(u16, &str)| {
        let answer = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: 0\r\n{field}\r\n");
        vec![Step::Read, Step::write(answer)]
    };
    ScriptedServer::start(answers.iter().map(script).collect()).unwrap()
}

/// What a request is made of.
#[derive(Clone, Copy)]
struct Case {
    method: &'static str,
    key: bool,
    streamed: bool,
    options: Option<CallOptions>,
}

const GET: Case = Case { method: "GET", key: false, streamed: false, options: None };
const POST: Case = Case { method: "POST", ..GET };

#[track_caller]
fn check(case: Case, answers: &[(u16, &str)], want: (u16, Option<Rejected>), not_before: Duration) {
    let server = server(answers);
    let count = Count::default();
    let started = Instant::now();
    let response = run(async {
        let client = client(pipeline(), count.clone());
        let url = format!("http://{}/items", server.address());
        let body = if case.streamed { Body::wrap(Full::new(&b"body"[..])) } else { Body::from("body") };
        let mut request = client.request(case.method.parse().unwrap(), url).body(body);
        if case.key {
            request = request.header("idempotency-key", "k");
        }
        if let Some(options) = case.options {
            request = request.with_extension(options);
        }
        request.send().await.expect("there is a response")
    });
    assert!(started.elapsed() >= not_before, "it came back early");
    let ended = response.extensions().get::<Ended>().map(|ended| ended.rejected);
    assert_eq!((response.status().as_u16(), ended), want);
    let requests = server.requests();
    assert_eq!((requests.len(), count.0.load(Ordering::Relaxed) as usize), (answers.len(), answers.len()));
    assert!(requests.iter().all(|request| request.body == b"body"), "a request was sent without its body");
}

fn run<R>(future: impl Future<Output = R>) -> R {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn what_may_be_repeated_is_and_nothing_else() {
    let (busy, ok, now) = ((503, ""), (200, ""), Duration::ZERO);
    check(GET, &[busy, ok], (200, None), now);
    check(GET, &[(404, "")], (404, Some(Rejected::Permanent)), now);
    check(POST, &[busy], (503, Some(Rejected::NotIdempotent)), now);
    check(Case { key: true, ..POST }, &[busy, ok], (200, None), now);
    check(Case { options: Some(CallOptions::idempotent()), ..POST }, &[busy, ok], (200, None), now);
    check(Case { streamed: true, ..GET }, &[busy], (503, Some(Rejected::RetryForbidden)), now);
}

#[test]
fn nothing_is_repeated_before_the_server_says_so() {
    check(POST, &[(429, "retry-after-ms: 300\r\n"), (200, "")], (200, None), Duration::from_millis(300));
}

#[test]
fn what_a_server_tells_of_its_limits_holds_back_all_clients() {
    let server = server(&[(200, "x-ratelimit-remaining: 0\r\nx-ratelimit-reset-ms: 300\r\n"), (200, "")]);
    run(async {
        let pipeline = pipeline();
        let (one, other) = (client(pipeline.clone(), Count::default()), client(pipeline, Count::default()));
        let url = format!("http://{}/", server.address());
        one.get(&url).send().await.unwrap();
        let told = Instant::now();
        other.get(&url).send().await.unwrap();
        // It counts from when the first response arrived, before `told`.
        assert!(told.elapsed() >= Duration::from_millis(200), "it did not wait");
    });
}

#[test]
fn a_post_that_was_never_sent_is_repeated_and_reqwests_error_returned() {
    let count = Count::default();
    let error = run(async { client(pipeline(), count.clone()).post(nobody()).body("body").send().await.unwrap_err() });
    assert!(matches!(&error, Error::Reqwest(error) if error.is_connect()), "{error:?}");
    assert_eq!(count.0.load(Ordering::Relaxed), 4);
}

#[test]
fn a_post_that_was_acted_on_is_not_repeated_for_what_a_redirect_leads_to() {
    for (location, then) in [(nobody(), None), ("/busy".to_owned(), Some((429, "retry-after-ms: 1\r\n")))] {
        let location = format!("location: {location}\r\n");
        let server = server(&[Some((303, &*location)), then].into_iter().flatten().collect::<Vec<_>>());
        let count = Count::default();
        run(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let client = ClientBuilder::new(client).with(Steadfast::new(pipeline())).with(count.clone()).build();
            let _ = client.post(format!("http://{}/items", server.address())).body("body").send().await;
        });
        let posts = server.requests().iter().filter(|request| request.line().starts_with("POST")).count();
        assert_eq!((posts, count.0.load(Ordering::Relaxed)), (1, 1), "{location}");
    }
}

#[test]
fn what_is_refused_says_why_and_nothing_is_sent() {
    let server = server(&[(200, "")]);
    let limit = TokenBucket::new(Quota::per_minute(1).unwrap());
    let pipeline = Pipeline::builder().rate_limit(limit).deadline(Duration::from_secs(20)).build().unwrap();
    let count = Count::default();
    let error = run(async {
        let client = client(SharedPipeline::new(pipeline, TokioTimer::new()), count.clone());
        let url = format!("http://{}/", server.address());
        client.get(&url).send().await.unwrap();
        client.get(&url).send().await.unwrap_err()
    });
    let Error::Middleware(error) = error else { panic!("{error:?}") };
    let refused = error.downcast_ref::<Refused>().expect("it is ours");
    assert!(matches!(refused.rejected, Rejected::RateLimited { .. }), "{refused:?}");
    assert!(refused.to_string().starts_with("no attempt was made: rate limit: "), "{refused}");
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}
