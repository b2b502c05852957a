//! Sends a line and says what came of it.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response};
use serde_json::Value;
use steadfast::core::outcome::{Idempotency, Processed};
use steadfast::http::idempotency;
use steadfast::{
    ApiClient, Budget, Error, Failure, HyperTokioTransport, Pipeline, Quota, Rejected, RequestBody, TokenBucket,
    TokioTimer, Transport, TransportError,
};
use tokio::sync::watch;

use crate::delivery::{Delivery, Fate};
use crate::input::{Numbered, Order};
use crate::journal::{Journal, Left, LeftOver};
use crate::settings::Settings;

/// How long a line waits before it asks again whether the server is still left alone. The time that it is told may be the end
/// of a probe's lease, and most probes come back sooner. Who asks too early is refused, and nothing is sent.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest answer that is read into memory, where those of many lines may be at a time.
const LONGEST_BODY: usize = 1024 * 1024;

/// How often a line that has failed is put off because the server is left alone, so that one which no server can answer does
/// not hold up the rest for ever.
const MOST_ROUNDS: u32 = 20;

pub(crate) type Client = ApiClient<Journaling<HyperTokioTransport>, TokioTimer>;

tokio::task_local! {
    /// The line that a request is for, if it must not be sent twice.
    static ONCE: Arc<Once>;
}

/// A line that must not be sent twice.
#[derive(Debug)]
struct Once {
    number: u64,
    /// Whether the server may have seen it, as far as this run knows.
    maybe_seen: AtomicBool,
}

impl Once {
    fn maybe_seen(&self) -> bool {
        self.maybe_seen.load(Ordering::SeqCst)
    }
}

/// Sends what comes in, as far as that is safe.
#[derive(Debug)]
pub(crate) struct Sender {
    client: Client,
    journal: Arc<Journal>,
    left: Mutex<LeftOver>,
    idempotency_keys: bool,
    stopping: watch::Receiver<bool>,
}

impl Sender {
    pub(crate) fn new(
        settings: &Settings,
        journal: Arc<Journal>,
        left: LeftOver,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, Box<dyn StdError>> {
        // A hundredth of a second's, since a timer of a millisecond would not keep up with high rates otherwise.
        let limit = TokenBucket::new(Quota::per_second(settings.rate)?.with_burst(settings.rate / 100 + 1)?);
        // Nobody waits for a single line, so it has no deadline. What may be repeated is bounded all the same: a server that is
        // down makes the breaker open, and then all lines wait.
        let budget = Budget::ratio().percent(50).reserve(30, Duration::from_secs(1)).build()?;
        let pipeline = Pipeline::builder().rate_limit(limit).budget(budget).without_deadline().build()?;
        let transport = Journaling { inner: HyperTokioTransport::new()?, journal: Arc::clone(&journal) };
        let client = ApiClient::builder(&settings.url, transport, TokioTimer::new())
            .pipeline(pipeline)
            .max_body(LONGEST_BODY)
            .build()?;
        let idempotency_keys = settings.idempotency_keys;
        Ok(Self { client, journal, left: Mutex::new(left), idempotency_keys, stopping })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What came of a line, when that is in the journal; `None` if the run was stopped before anything did.
    pub(crate) async fn deliver(&self, line: io::Result<Numbered>) -> io::Result<Option<Delivery>> {
        let (number, order) = line?;
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        let delivery = match (left, order) {
            (Some(Left::Done(delivery)), _) => return Ok(Some(delivery)),
            (_, Err(reason)) => Delivery::refused(number, reason),
            (Some(Left::Sent), Ok(order)) => {
                let error = Some("an earlier run was stopped while this was under way".to_owned());
                Delivery { id: order.id, error, ..Delivery::new(number, Fate::Unknown) }
            }
            (None, Ok(order)) => match self.send(number, &order).await {
                Some(delivery) => Delivery { id: order.id, ..delivery },
                None => return Ok(None),
            },
        };
        self.journal.done(delivery).map(Some)
    }

    async fn send(&self, number: u64, order: &Order) -> Option<Delivery> {
        let Ok(method) = Method::from_bytes(order.method.as_bytes()) else {
            return Some(Delivery::refused(number, format!("{:?} is no method", order.method)));
        };
        let is_idempotent = idempotency::of_method(order.method.as_bytes()) == Idempotency::Idempotent;
        let once = Arc::new(Once { number, maybe_seen: AtomicBool::new(false) });
        let mut rounds = 0;
        loop {
            let call = self.call(number, method.clone(), order);
            let result = if self.idempotency_keys || is_idempotent {
                call.await
            } else {
                ONCE.scope(Arc::clone(&once), call).await
            };
            return match result {
                Ok(response) => Some(response),
                // What has begun is in the journal, and the next run goes on from there.
                Err(Error::ShutDown(_) | Error::Cancelled(_)) => None,
                // A batch has time: while the server is left alone, its lines wait instead of failing.
                Err(error) if rounds < MOST_ROUNDS && is_put_off(&error) && !once.maybe_seen() => {
                    let attempts = error.failure().map_or(0, Failure::attempts);
                    rounds += u32::from(attempts > 0);
                    self.pause().await;
                    continue;
                }
                Err(error @ Error::InvalidRequest { .. }) => Some(Delivery::refused(number, error.to_string())),
                Err(error) => {
                    let fate = match error {
                        // It is only longer than what is kept.
                        Error::BodyTooLong(_) => Fate::Answered,
                        _ if once.maybe_seen() => Fate::Unknown,
                        _ => Fate::Failed,
                    };
                    let attempts = error.failure().map(Failure::attempts);
                    let status = error.status().map(|status| status.as_u16());
                    Some(Delivery { status, attempts, error: Some(error.to_string()), ..Delivery::new(number, fate) })
                }
            };
        }
    }

    async fn call(&self, number: u64, method: Method, order: &Order) -> Result<Delivery, Error> {
        let mut request = self.client.request(method, &order.path);
        if let Some(body) = &order.body {
            request = request.header("content-type", "application/json").body(body.get().to_owned());
        }
        if self.idempotency_keys {
            request = request.header("idempotency-key", &self.journal.key(number));
        }
        let response = request.send_raw().await?;
        let text = || Value::String(String::from_utf8_lossy(response.bytes()).into_owned());
        let body = match response.bytes() {
            bytes if bytes.is_empty() => None,
            bytes => Some(serde_json::from_slice(bytes).unwrap_or_else(|_| text())),
        };
        let (status, attempts) = (Some(response.status().as_u16()), Some(response.attempts()));
        Ok(Delivery { status, attempts, body, ..Delivery::new(number, Fate::Answered) })
    }

    /// Waits a little, or until the run is to stop.
    async fn pause(&self) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            // That it cannot be stopped any more is no reason to go on early.
            Ok(_) = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

/// Whether another attempt would have followed, if the server were not left alone.
fn is_put_off(error: &Error) -> bool {
    matches!(error.failure().and_then(Failure::rejected), Some(Rejected::CircuitOpen { .. }))
}

/// A transport that notes in the journal what must not be sent twice, before it sends it.
///
/// Here and not before the call, because a call waits for its turn before it sends: what a kill meets there is not unknown.
#[derive(Debug)]
pub(crate) struct Journaling<T> {
    inner: T,
    journal: Arc<Journal>,
}

impl<T> Transport for Journaling<T>
where
    T: Transport<Sending: Send> + Clone + Send + Sync + 'static,
{
    type Body = T::Body;
    type Sending = Pin<Box<dyn Future<Output = Result<Response<T::Body>, TransportError>> + Send>>;

    fn send(&self, request: Request<RequestBody>) -> Self::Sending {
        let Ok(once) = ONCE.try_with(Arc::clone) else { return Box::pin(self.inner.send(request)) };
        let (inner, journal) = (self.inner.clone(), Arc::clone(&self.journal));
        Box::pin(async move {
            let number = once.number;
            // A disk takes milliseconds, in which the other lines go on.
            let written = tokio::task::spawn_blocking(move || journal.sent(number)).await;
            written.map_err(io::Error::other).and_then(|written| written).map_err(TransportError::never_sent)?;
            once.maybe_seen.store(true, Ordering::SeqCst);
            let result = inner.send(request).await;
            // One that was answered, and may be sent again for it (429), is not sent for a second time while this is `true`.
            if matches!(&result, Err(error) if error.processed() == Processed::No) {
                once.maybe_seen.store(false, Ordering::SeqCst);
            }
            result
        })
    }
}
