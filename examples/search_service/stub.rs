//! A stub of the API, on loopback: its two limits, its header fields and its errors, and a web of a few hundred pages.

#![allow(clippy::result_large_err)] // A refusal is a whole response.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use steadfast_tests::loopback::Loopback;
use tokio::net::TcpListener;

/// The key that it knows.
pub(crate) const KEY: &str = "BSA-stub-9hTq4xLw";

/// How many pages of its web fit any query.
const PAGES: u32 = 50;

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a key may do. Only requests that are answered count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) per_second: u32,
    pub(crate) per_month: u32,
}

impl Plan {
    pub(crate) const BASE: Self = Self { per_second: 20, per_month: 20_000 };
}

/// What became of the requests that had the right key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answered: u32,
    pub(crate) limited: u32,
    pub(crate) failed: u32,
}

#[derive(Debug)]
pub(crate) struct Stub {
    account: Arc<Mutex<Account>>,
    thread: Loopback,
}

#[derive(Debug)]
struct Account {
    plan: Plan,
    started: Instant,
    /// Which second it is since then, and how many were answered in it.
    second: (u64, u32),
    month: u32,
    /// Every so many requests fail.
    fails_every: Option<u32>,
    seen: Seen,
}

impl Stub {
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        Self::failing(plan, None)
    }

    /// One that fails for one of so many requests.
    pub(crate) fn failing(plan: Plan, fails_every: Option<u32>) -> io::Result<Self> {
        let (started, seen) = (Instant::now(), Seen::default());
        let account = Account { plan, started, second: (0, 0), month: 0, fails_every, seen };
        let account = Arc::new(Mutex::new(account));
        let serves = Arc::clone(&account);
        let thread = Loopback::serve("search-stub", async move |listener: TcpListener| {
            while let Ok((stream, _)) = listener.accept().await {
                let account = Arc::clone(&serves);
                let service = service_fn(move |request| {
                    let answered = lock(&account).answer(&request, Instant::now());
                    async move { Ok::<_, Infallible>(answered) }
                });
                // It ends when the client has gone.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        })?;
        Ok(Self { account, thread })
    }

    pub(crate) fn base_url(&self) -> String {
        format!("{}/res/v1", self.thread.url())
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.account).seen
    }

    /// Somebody else with the same key makes so many requests.
    #[cfg(test)]
    pub(crate) fn spend(&self, requests: u32) {
        lock(&self.account).count(Instant::now(), requests);
    }
}

type Answered = Response<Full<Bytes>>;

impl Account {
    fn answer(&mut self, request: &Request<Incoming>, now: Instant) -> Answered {
        match request.headers().get("x-subscription-token").map(HeaderValue::as_bytes) {
            None => return refusal(StatusCode::UNAUTHORIZED, "MISSING_SUBSCRIPTION_TOKEN", "There is no token."),
            Some(key) if key != KEY.as_bytes() => {
                let detail = "The provided subscription token is invalid.";
                return refusal(StatusCode::UNPROCESSABLE_ENTITY, "SUBSCRIPTION_TOKEN_INVALID", detail);
            }
            Some(_) => {}
        }
        self.count(now, 0);
        let (per_second, per_month) = self.left();
        let number = self.seen.answered + self.seen.failed + 1;
        let mut answered = if per_second == 0 || per_month == 0 {
            self.seen.limited += 1;
            let code = if per_month == 0 { "QUOTA_LIMITED" } else { "RATE_LIMITED" };
            refusal(StatusCode::TOO_MANY_REQUESTS, code, "Request rate limit exceeded for plan.")
        } else if self.fails_every.is_some_and(|every| number % every == 0) {
            self.seen.failed += 1;
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Something went wrong.")
        } else {
            match search(request) {
                Ok(found) => {
                    self.seen.answered += 1;
                    self.count(now, 1);
                    json_response(StatusCode::OK, &found)
                }
                Err(refused) => refused,
            }
        };
        self.tell(now, &mut answered);
        answered
    }

    /// Counts so many as answered in this second, and this month.
    fn count(&mut self, now: Instant, requests: u32) {
        let second = (now - self.started).as_secs();
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += requests;
        self.month += requests;
    }

    fn left(&self) -> (u32, u32) {
        let Plan { per_second, per_month } = self.plan;
        (per_second.saturating_sub(self.second.1), per_month.saturating_sub(self.month))
    }

    /// Says in a response's head what is left, of the second and of the month.
    fn tell(&self, now: Instant, response: &mut Answered) {
        let Plan { per_second, per_month } = self.plan;
        let ((second_left, month_left), month) = (self.left(), MONTH.as_secs());
        let month_resets = MONTH.saturating_sub(now - self.started).as_secs();
        for (name, value) in [
            ("x-ratelimit-limit", format!("{per_second}, {per_month}")),
            ("x-ratelimit-policy", format!("{per_second};w=1, {per_month};w={month}")),
            ("x-ratelimit-remaining", format!("{second_left}, {month_left}")),
            ("x-ratelimit-reset", format!("1, {month_resets}")),
        ] {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// What is on the page that is asked for.
fn search(request: &Request<Incoming>) -> Result<Value, Answered> {
    if request.uri().path() != "/res/v1/web/search" {
        return Err(refusal(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such resource."));
    }
    let url = url::Url::parse(&format!("http://stub{}", request.uri())).ok();
    let parameter = |name: &str| url.as_ref()?.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value);
    let number = |name: &str, default: u32| parameter(name).map_or(Some(default), |value| value.parse().ok());
    let (query, count, offset) = (parameter("q").unwrap_or_default(), number("count", 20), number("offset", 0));
    let (Some(count @ 1..=20), Some(offset @ 0..=9), 1..=400) = (count, offset, query.len()) else {
        return Err(refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "VALIDATION",
            "Unable to validate request parameter(s).",
        ));
    };
    let hit = |number: u32| {
        let (url, description) = (format!("https://example.com/{number}"), format!("All that page {number} knows."));
        json!({"title": format!("{query}, page {number}"), "url": url, "description": description})
    };
    let results: Vec<_> = (offset * count..((offset + 1) * count).min(PAGES)).map(hit).collect();
    let query = json!({"original": query, "more_results_available": (offset + 1) * count < PAGES});
    Ok(match results[..] {
        [] => json!({"type": "search", "query": query}),
        [..] => json!({"type": "search", "query": query, "web": {"type": "search", "results": results}}),
    })
}

/// An error as the API has them.
fn refusal(status: StatusCode, code: &str, detail: &str) -> Answered {
    let error = json!({"code": code, "detail": detail, "status": status.as_u16()});
    json_response(status, &json!({"type": "ErrorResponse", "error": error}))
}

fn json_response(status: StatusCode, body: &Value) -> Answered {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
