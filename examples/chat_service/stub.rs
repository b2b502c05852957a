//! A stub of the API, on loopback: its limits, its header fields, its errors and its streams, and a model that knows one answer.
//!
//! It counts a request's longest possible answer when it comes, and gives back what the answer did not need.

#![allow(clippy::result_large_err)] // A refusal is a whole response.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Collected, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use steadfast_tests::loopback::Loopback;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::meter::Meter;
use crate::service::{ChatService, Limits};

/// The key that it knows.
pub(crate) const KEY: &str = "sk-stub-5vFq2cW8";

/// What the model answers, of which a call has as much as it asks for. Each word is a token.
pub(crate) const ANSWER: &str = "The quick brown fox jumps over the lazy dog and is gone";

/// How long the model thinks for each token.
const PER_TOKEN: Duration = Duration::from_micros(500);

/// The longest answer that the model gives.
const LONGEST: u32 = 16_384;

/// What became of the requests that had the right key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answered: u32,
    pub(crate) limited: u32,
    pub(crate) overloaded: u32,
}

#[derive(Debug)]
pub(crate) struct Stub {
    account: Arc<Mutex<Account>>,
    thread: Loopback,
}

#[derive(Debug)]
struct Account {
    limits: Limits,
    requests: Meter,
    tokens: Meter,
    /// Every so many requests find the server overloaded.
    overloaded_every: Option<u32>,
    seen: Seen,
}

impl Stub {
    pub(crate) fn start(limits: Limits) -> io::Result<Self> {
        Self::overloaded(limits, None)
    }

    /// One that has too much to do for one of so many requests.
    pub(crate) fn overloaded(limits: Limits, every: Option<u32>) -> io::Result<Self> {
        let now = Instant::now();
        let account = Arc::new(Mutex::new(Account {
            limits,
            requests: Meter::full(limits.requests, limits.per, now),
            tokens: Meter::full(limits.tokens, limits.per, now),
            overloaded_every: every,
            seen: Seen::default(),
        }));
        let serves = Arc::clone(&account);
        let thread = Loopback::serve("chat-stub", async move |listener: TcpListener| {
            while let Ok((stream, _)) = listener.accept().await {
                let account = Arc::clone(&serves);
                let service = service_fn(move |request| answer(request, Arc::clone(&account)));
                // It ends when the client has gone.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        })?;
        Ok(Self { account, thread })
    }

    pub(crate) fn base_url(&self) -> String {
        format!("{}/v1", self.thread.url())
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.account).seen
    }

    /// Somebody else with the same account takes so many tokens.
    #[cfg(test)]
    pub(crate) fn spend(&self, tokens: u32) {
        lock(&self.account).tokens.take(Instant::now(), tokens);
    }
}

type Answered = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// As much of a request as the model reads.
#[derive(Deserialize)]
struct Question {
    model: String,
    messages: Vec<Value>,
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<Value>,
}

async fn answer(request: Request<Incoming>, account: Arc<Mutex<Account>>) -> Result<Answered, Infallible> {
    Ok(match take(request, &account).await {
        Ok((question, cost)) => respond(&question, cost, account).await,
        Err(refused) => refused,
    })
}

/// What a request asks for, and how many tokens it was taken for.
async fn take(request: Request<Incoming>, account: &Mutex<Account>) -> Result<(Question, u32), Answered> {
    let invalid = "invalid_request_error";
    if (request.method(), request.uri().path()) != (&Method::POST, "/v1/chat/completions") {
        return Err(error(StatusCode::NOT_FOUND, invalid, "unknown_url", "Unknown request URL"));
    }
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if shown != Some(KEY) {
        // As the real one does, which repeats the ends of a key.
        let end = shown.and_then(|key| key.get(key.len().saturating_sub(4)..)).unwrap_or_default();
        let message = format!("Incorrect API key provided: sk-****{end}.");
        return Err(error(StatusCode::UNAUTHORIZED, invalid, "invalid_api_key", &message));
    }
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let question = serde_json::from_slice::<Question>(&body);
    let question = question.map_err(|fault| {
        let message = format!("We could not parse the JSON body of your request: {fault}");
        error(StatusCode::BAD_REQUEST, invalid, "invalid_json", &message)
    })?;
    if question.model != ChatService::MODEL {
        let message = format!("The model '{}' does not exist", question.model);
        return Err(error(StatusCode::NOT_FOUND, invalid, "model_not_found", &message));
    }
    let longest = question.max_completion_tokens.unwrap_or(LONGEST);
    if longest > LONGEST {
        let message = format!("max_completion_tokens is too large: {longest}");
        return Err(error(StatusCode::BAD_REQUEST, invalid, "invalid_value", &message));
    }
    let cost = longest.max(question.prompt_tokens());
    lock(account).admit(Instant::now(), cost)?;
    Ok((question, cost))
}

impl Question {
    fn prompt_tokens(&self) -> u32 {
        let characters: usize =
            self.messages.iter().filter_map(|message| Some(message["content"].as_str()?.len())).sum();
        u32::try_from(characters / 4).unwrap_or(u32::MAX)
    }
}

impl Account {
    /// Takes a request and so many tokens, or says that there are too few.
    fn admit(&mut self, now: Instant, cost: u32) -> Result<(), Answered> {
        let (what, meter, limit, wanted) = match (self.requests.left(now), self.tokens.left(now)) {
            (0, _) => ("requests", &self.requests, self.limits.requests, 1),
            (_, left) if left < cost => ("tokens", &self.tokens, self.limits.tokens, cost),
            _ => {
                self.requests.take(now, 1);
                self.tokens.take(now, cost);
                return self.work(now, cost);
            }
        };
        let wait = meter.ready_in(now, wanted);
        let message = format!("Rate limit reached on {what} per min: limit {limit}, requested {wanted}");
        let mut refused = error(StatusCode::TOO_MANY_REQUESTS, what, "rate_limit_exceeded", &message);
        // Rounded up, so that whoever keeps to it is not too early.
        set(&mut refused, "retry-after-ms", &(wait.as_millis() + 1).to_string());
        set(&mut refused, "retry-after", &(wait.as_secs() + 1).to_string());
        self.tell(now, &mut refused);
        self.seen.limited += 1;
        Err(refused)
    }

    fn work(&mut self, now: Instant, cost: u32) -> Result<(), Answered> {
        let number = self.seen.answered + self.seen.overloaded + 1;
        if self.overloaded_every.is_some_and(|every| number % every == 0) {
            self.seen.overloaded += 1;
            self.tokens.give_back(cost);
            let message = "The engine is currently overloaded, please try again later";
            let mut overloaded = error(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded", message);
            self.tell(now, &mut overloaded);
            return Err(overloaded);
        }
        self.seen.answered += 1;
        Ok(())
    }

    /// Says in a response's head what is left.
    fn tell(&self, now: Instant, response: &mut Answered) {
        for (what, meter) in [("requests", &self.requests), ("tokens", &self.tokens)] {
            set(response, &format!("x-ratelimit-limit-{what}"), &meter.capacity().to_string());
            set(response, &format!("x-ratelimit-remaining-{what}"), &meter.left(now).to_string());
            set(response, &format!("x-ratelimit-reset-{what}"), &in_words(meter.full_in(now)));
        }
    }
}

/// The model's answer to what was taken for so many tokens.
async fn respond(question: &Question, taken: u32, account: Arc<Mutex<Account>>) -> Answered {
    let longest = question.max_completion_tokens.unwrap_or(LONGEST) as usize;
    let words: Vec<_> = ANSWER.split_inclusive(' ').take(longest).collect();
    let (prompt, completion) = (question.prompt_tokens(), u32::try_from(words.len()).unwrap_or(u32::MAX));
    let total = prompt.saturating_add(completion);
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total});
    let settle = move |account: &Mutex<Account>| lock(account).tokens.give_back(taken.saturating_sub(total));
    let model = ChatService::MODEL;
    if !question.stream {
        sleep(PER_TOKEN * completion).await;
        settle(&account);
        let message = json!({"role": "assistant", "content": words.concat()});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let answer = json!({"object": "chat.completion", "model": model, "choices": [choice], "usage": usage});
        let mut response = json_response(StatusCode::OK, &answer);
        lock(&account).tell(Instant::now(), &mut response);
        return response;
    }
    let chunk = |choices: Value, usage: &Value| {
        json!({"object": "chat.completion.chunk", "model": model, "choices": choices, "usage": usage}).to_string()
    };
    let mut events: Vec<_> = words
        .iter()
        .map(|word| chunk(json!([{"index": 0, "delta": {"content": word}, "finish_reason": null}]), &Value::Null))
        .collect();
    events.push(chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]), &Value::Null));
    if question.stream_options.as_ref().is_some_and(|options| options["include_usage"] == true) {
        events.push(chunk(json!([]), &usage));
    }
    let mut response = Response::new(UnsyncBoxBody::default());
    lock(&account).tell(Instant::now(), &mut response);
    let written = stream::iter(events).then(async |event| {
        sleep(PER_TOKEN).await;
        event
    });
    let done = stream::once(async move {
        settle(&account);
        "[DONE]".to_owned()
    });
    let frames = written.chain(done).map(|event| Ok(Frame::data(Bytes::from(format!("data: {event}\n\n")))));
    *response.body_mut() = StreamBody::new(frames).boxed_unsync();
    set(&mut response, CONTENT_TYPE.as_str(), "text/event-stream");
    response
}

/// An error as the API has them.
fn error(status: StatusCode, kind: &str, code: &str, message: &str) -> Answered {
    json_response(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))
}

fn json_response(status: StatusCode, body: &Value) -> Answered {
    let mut response = Response::new(Full::from(body.to_string()).boxed_unsync());
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE.as_str(), "application/json");
    response
}

fn set(response: &mut Answered, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<hyper::header::HeaderName>(), value.parse()) {
        response.headers_mut().insert(name, value);
    }
}

/// `17ms`, `1.5s`, `6m0s`: as the API writes times.
fn in_words(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    match (millis / 60_000, millis % 60_000) {
        (0, ..1_000) => format!("{millis}ms"),
        (0, _) => format!("{}.{:03}s", millis / 1_000, millis % 1_000),
        (minutes, millis) => format!("{minutes}m{}s", millis.div_ceil(1_000)),
    }
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
