use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use futures_util::stream::unfold;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, StatusCode};
use steadfast_core::backoff::Backoff;
use steadfast_core::event::Observer;
use steadfast_core::outcome::Idempotency;
use steadfast_core::time::{Instant, Timer};

use crate::any_pipeline::AnySpent;
use crate::error::Error;
use crate::request::RequestBuilder;
use crate::streaming::StreamingResponse;
use crate::transport::Transport;

mod parser;

pub use parser::{EventParser, EventTooLong, ServerEvent};

/// How long a client waits before it asks again, until the server says otherwise.
const RETRY: Duration = Duration::from_secs(1);

/// The longest that a server can make it wait: `retry:` has no end, and a stream that never asks again says so to nobody.
const LONGEST_RETRY: Duration = Duration::from_secs(24 * 60 * 60);

/// The field that says where a stream is to go on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Server-sent events (WHATWG HTML, 9.2), which go on when the connection breaks: from
/// [`events`](crate::RequestBuilder::events).
///
/// ```
/// # use std::future::{Ready, ready};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use steadfast_client::{ApiClient, RequestBody, Transport, TransportError};
/// # use steadfast_core::time::ManualClock;
/// # struct Echo;
/// # impl Transport for Echo {
/// #     type Body = Full<Bytes>;
/// #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
/// #     fn send(&self, _: Request<RequestBody>) -> Self::Sending {
/// #         let response = Response::builder().header("content-type", "text/event-stream");
/// #         ready(Ok(response.body(Full::new(Bytes::from("data: a\n\ndata: [DONE]\n\n"))).expect("it can be")))
/// #     }
/// # }
/// # let (transport, clock) = (Echo, ManualClock::new());
/// # let client = ApiClient::builder("https://api.example.com/v1", transport, &clock).build()?;
/// # let call = async {
/// let mut events = client.get("prices").events();
/// while let Some(event) = events.next().await {
///     let event = event?;
///     // Whether events come to an end, and how one sees that, is the API's business.
///     if event.data == "[DONE]" {
///         break;
///     }
/// }
/// # Ok::<(), steadfast_client::Error>(())
/// # };
/// # clock.drive(call).expect("it ends")?;
/// # Ok::<(), steadfast_client::Error>(())
/// ```
///
/// | Setting | Default | Why |
/// | --- | --- | --- |
/// | time to wait before asking again | 1 s, until the server says `retry:`, and 24 h at most | as short as a reader likes, and as long as a server can bear; none that is mistaken keeps it waiting for ever |
/// | `backoff`, on top of that | [`Backoff`]'s | those that were cut off together do not come back together, and who is cut off again and again comes less often |
/// | `max_event` | 1 MiB | larger than any that is meant well |
/// | `read_timeout` of the request | the client's, 30 s | a server that has nothing to say sends a comment now and then; one that does not, is gone |
///
/// # What becomes of it
///
/// ```text
///         every policy agrees                        it ends or breaks, and may be asked again
/// Due ────────────────────────▶ Reading ── events ─────────────────────────────────────────────▶ Due
/// Due ──── 204, a refusal, not a stream of events ──▶ Ended
/// Reading ── it ends or breaks, and must not be asked again; an event is too long ──▶ Ended
/// ```
///
/// Each connection is a call of its own, through the whole pipeline: with limits, retries and breaker, and with a
/// `Last-Event-ID` once an event had an id. So nothing is lost if the server remembers, and nothing comes twice.
///
/// - A server that answers 204 has no more to say: that is the end, without an error.
/// - Only what is idempotent is asked again. Of a `POST` that starts something, the end is the end, and a break an error, unless it
///   has an `Idempotency-Key` of its own or [is said](crate::RequestBuilder::idempotency) to be. A key that the client mints does not
///   count: it is minted for each connection anew.
/// - A connection that was not to be had, after all retries, is an error. If it may pass ([`Error::is_retryable`]) and the
///   request may be repeated, then whoever asks again is connected again, after the same wait.
///
/// The call's deadline holds up to the head of the response, and not for the events: those come for as long as you listen.
///
/// # When not to use it
///
/// To read a stream of another format: [`send_streaming`](crate::RequestBuilder::send_streaming) has the bytes, and
/// [`EventParser`] the events of bytes that come by other ways.
#[must_use = "nothing is sent before somebody asks for the next event"]
pub struct EventStream<'a, T: Transport, C: Timer, O> {
    request: RequestBuilder<'a, T, C, O>,
    /// Whether the request may be sent again.
    resumes: bool,
    /// Whether anything of it may have been sent.
    begun: Arc<AtomicBool>,
    max_event: Option<usize>,
    parser: EventParser,
    retry: Duration,
    backoff: Backoff,
    /// Connections in a row that have brought no event.
    fruitless: u32,
    delay: Duration,
    state: State<T, C, O>,
    /// What the last connection took of the limits, until that is settled.
    spent: Option<AnySpent<C, O>>,
}

enum State<T: Transport, C: Timer, O> {
    Due(Instant),
    Reading(Box<StreamingResponse<T, C, O>>, Bytes),
    /// The request cannot be sent.
    Refused(Error),
    Ended,
}

impl<'a, T: Transport, C: Timer, O: Observer> EventStream<'a, T, C, O> {
    pub(crate) fn new(mut request: RequestBuilder<'a, T, C, O>) -> Self {
        let state = match request.again() {
            Some(again) => {
                request =
                    again.header_unless_set(ACCEPT, "text/event-stream").header_unless_set(CACHE_CONTROL, "no-cache");
                State::Due(Instant::EPOCH)
            }
            None => State::Refused(request.take_refusal()),
        };
        let resumes = request.idempotency_by_now() == Idempotency::Idempotent;
        let begun = Arc::new(AtomicBool::new(false));
        request.overrides.begun = Some(Arc::clone(&begun));
        let (parser, backoff) = (EventParser::new(), Backoff::default());
        let (fruitless, delay, max_event, spent) = (0, Duration::ZERO, None, None);
        Self { request, resumes, begun, max_event, parser, retry: RETRY, backoff, fruitless, delay, state, spent }
    }

    /// How many bytes an event's data may have, and a line. Default: 1 MiB.
    pub fn max_event(self, bytes: usize) -> Self {
        let parser = self.parser.with_max_event(bytes);
        Self { max_event: Some(bytes), parser, ..self }
    }

    /// How long to wait, on top of what the server says, before the first connection in a row that brings no event, the
    /// second, and so on.
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Goes on behind the event with this id, of an earlier stream.
    pub fn after(self, last_event_id: &str) -> Self {
        let parser = self.parser.with_last_event_id(last_event_id);
        Self { parser, ..self }
    }

    /// Settles with what the call weighed in truth, where an event says so, as [`cost`](crate::RequestBuilder::cost) does for a
    /// response that is read whole: before the end, or after it. Once; a second time changes nothing.
    ///
    /// Each connection is a call, and has its own weight. Dropped without, it has cost that.
    pub fn settle(&mut self, cost: u32) {
        if let Some(spent) = self.spent.take() {
            spent.commit(cost);
        }
    }

    /// The id of the last event that had one; empty if none had.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// The next event; `None` at the end.
    ///
    /// Cancel safe: dropped while it reads, it has lost nothing, and dropped while it connects, it connects anew. But a request
    /// that must not be repeated is sent once: dropped between that and its response, it is over, and the next event is the error
    /// that says so.
    ///
    /// # Errors
    /// - What [`send_streaming`](crate::RequestBuilder::send_streaming) returns, if there is no connection to be had.
    /// - [`Error::InvalidRequest`], if it must not be repeated, and this was dropped before a response had come.
    /// - [`Error::NotEvents`], if the response is none of `text/event-stream`.
    /// - [`Error::BodyTooLong`], if an event is too long.
    /// - If the request must not be repeated, what a [`StreamingResponse`] ends with.
    #[allow(clippy::should_implement_trait)] // It is what a stream's is called, too.
    pub async fn next(&mut self) -> Option<Result<ServerEvent, Error>> {
        loop {
            match &mut self.state {
                State::Ended => return None,
                State::Refused(_) => {
                    let State::Refused(error) = std::mem::replace(&mut self.state, State::Ended) else { continue };
                    return Some(Err(error));
                }
                State::Due(_) if !self.resumes && self.begun.load(Ordering::Relaxed) => {
                    self.state = State::Ended;
                    let (value, reason) = ("not idempotent".to_owned(), "and was dropped after it was sent".to_owned());
                    return Some(Err(Error::InvalidRequest { field: "method", value, reason }));
                }
                State::Due(at) => {
                    let (timer, at) = (self.request.client().timer(), *at);
                    if timer.now() < at {
                        timer.sleep_until(at).await;
                    }
                    if let Err(error) = self.connect().await {
                        return Some(Err(error));
                    }
                }
                State::Reading(response, chunk) => {
                    let mut unread = &**chunk;
                    let event = self.parser.next(&mut unread);
                    let read = chunk.len() - unread.len();
                    chunk.advance(read);
                    match event {
                        Ok(Some(event)) => {
                            (self.fruitless, self.delay) = (0, Duration::ZERO);
                            return Some(Ok(event));
                        }
                        Ok(None) => match response.chunk().await {
                            Ok(Some(more)) => *chunk = more,
                            Ok(None) => self.cut_off(),
                            Err(error) => {
                                let goes_on = matches!(error, Error::Connection { .. } | Error::ReadTimeout(_));
                                if goes_on && self.resumes {
                                    self.cut_off();
                                } else {
                                    self.state = State::Ended;
                                    return Some(Err(error));
                                }
                            }
                        },
                        Err(EventTooLong { .. }) => {
                            let failure = response.failure();
                            self.state = State::Ended;
                            return Some(Err(Error::BodyTooLong(failure)));
                        }
                    }
                }
            }
        }
    }

    /// The same events as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<ServerEvent, Error>> + use<'a, T, C, O> {
        unfold(self, |mut events| async move {
            let next = events.next().await?;
            Some((next, events))
        })
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let Some(mut request) = self.request.again() else {
            self.state = State::Ended;
            return Ok(());
        };
        let id = self.parser.last_event_id();
        if !id.is_empty() {
            let value = HeaderValue::from_bytes(id.as_bytes()).map_err(|error| {
                let (value, reason) = (LAST_EVENT_ID.to_string(), error.to_string());
                Error::InvalidRequest { field: "header", value, reason }
            });
            match value {
                Ok(value) => request = request.header_value(LAST_EVENT_ID, value),
                Err(error) => {
                    self.state = State::Ended;
                    return Err(error);
                }
            }
        }
        let response = match request.send_endless().await {
            Ok(mut response) => {
                self.spent = response.spent.take();
                response
            }
            Err(error) => {
                if self.resumes && error.is_retryable() {
                    self.cut_off();
                } else {
                    self.state = State::Ended;
                }
                return Err(error);
            }
        };
        let parser = EventParser::new().with_last_event_id(self.parser.last_event_id());
        self.parser = match self.max_event {
            Some(bytes) => parser.with_max_event(bytes),
            None => parser,
        };
        self.state = if response.status() == StatusCode::NO_CONTENT {
            State::Ended
        } else if is_event_stream(response.headers().get(CONTENT_TYPE)) {
            State::Reading(Box::new(response), Bytes::new())
        } else {
            self.state = State::Ended;
            return Err(Error::NotEvents(response.failure()));
        };
        Ok(())
    }

    /// The connection has ended, or there was none: when the next is due, if one is.
    fn cut_off(&mut self) {
        self.state = State::Ended;
        if self.resumes {
            self.retry = self.parser.retry().unwrap_or(self.retry).min(LONGEST_RETRY);
            self.fruitless = self.fruitless.saturating_add(1);
            let client = self.request.client();
            self.delay = self.backoff.delay(self.fruitless, self.delay, client.draw());
            self.state = State::Due(client.timer().now() + self.retry + self.delay);
        }
    }
}

/// Whether a content type is `text/event-stream`, whatever its parameters: it is UTF-8 in any case (9.2.5).
fn is_event_stream(content_type: Option<&HeaderValue>) -> bool {
    let media_type = content_type.map(HeaderValue::as_bytes).and_then(|value| value.split(|byte| *byte == b';').next());
    media_type.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

/// Shows no event and no header: secrets may be in either.
impl<T: Transport, C: Timer, O> fmt::Debug for EventStream<'_, T, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("request", &self.request)
            .field("resumes", &self.resumes)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
