use std::fmt;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use steadfast_core::event::Observer;
use steadfast_core::run::History;
use steadfast_core::time::{Instant, Timer};
use steadfast_executor::{Flight, ShutDown};

use crate::answer::Head;
use crate::any_pipeline::AnySpent;
use crate::client::ApiClient;
use crate::error::{Error, Failure, Named, request_id};
use crate::guard::{Broke, Guarded};
use crate::transport::Transport;

/// A response that means success, whose body is still to come: from
/// [`send_streaming`](crate::RequestBuilder::send_streaming). Or any, from
/// [`send_raw_streaming`](crate::RequestBuilder::send_raw_streaming).
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
/// #         ready(Ok(Response::new(Full::new(Bytes::from("long")))))
/// #     }
/// # }
/// # let (transport, clock) = (Echo, ManualClock::new());
/// # let client = ApiClient::builder("https://api.example.com/v1", transport, &clock).build()?;
/// # let call = async {
/// let mut response = client.get("files/large.bin").send_streaming().await?;
/// let mut length = 0;
/// while let Some(part) = response.chunk().await? {
///     length += part.len();
/// }
/// # assert_eq!(length, 4);
/// # Ok::<(), steadfast_client::Error>(())
/// # };
/// # clock.drive(call).expect("it ends")?;
/// # Ok::<(), steadfast_client::Error>(())
/// ```
///
/// It is also a [`Stream`] of the same parts.
///
/// # What guards it
///
/// The head has been judged by every policy, and retried where that was due: the breaker has counted it, the slot under the
/// concurrency limit is free again, and the attempt timeout is over. They know nothing of the body: a download of an hour
/// holds no slot, and if it breaks, that opens no breaker. It is not retried either, since part of it is in your hands.
///
/// Two things still hold: the deadline of the call, and the read timeout, which runs while you wait for the next part. Either
/// ends the stream with its own error, and after an error comes nothing more.
///
/// To a [`shut_down`](ApiClient::shut_down) of the client, the call is in flight until the body has come to its end: it is
/// waited for, and then cancelled.
///
/// Nothing is read ahead but what the transport's buffer holds, so a slow reader slows the server down. Dropped before its
/// end, it closes its connection. [`chunk`](Self::chunk) is cancel safe: dropped, it has lost nothing.
pub struct StreamingResponse<T: Transport, C: Timer, O> {
    client: ApiClient<T, C, O>,
    /// `None` when there is no more of it.
    open: Option<Open<T, C>>,
    /// The body of a response that means no success, which has been read whole and not been handed out yet.
    pub(crate) read: Bytes,
    head: Head,
    target: Named,
    attempts: u32,
    started: Instant,
    elapsed: Duration,
    /// What the call took of the limits, until that is settled.
    pub(crate) spent: Option<AnySpent<C, O>>,
    pub(crate) redirects: u32,
}

type Guards<T, C> = Guarded<Box<<T as Transport>::Body>, C>;

/// A body that has not come to its end.
struct Open<T: Transport, C: Timer> {
    body: Guards<T, C>,
    /// The call is in flight until then, for whoever shuts the client down.
    flight: Arc<Flight>,
    stopped: Pin<Box<dyn Future<Output = ShutDown> + Send>>,
}

impl<T: Transport, C: Timer, O: Observer> StreamingResponse<T, C, O> {
    pub(crate) fn new(
        client: ApiClient<T, C, O>,
        body: Option<(Guards<T, C>, Flight)>,
        head: Head,
        target: Named,
        attempts: u32,
        started: Instant,
        elapsed: Duration,
    ) -> Self {
        let open = body.map(|(body, flight)| {
            // It has not come to its end: its body is still to come.
            let _ = flight.run(pending::<()>()).now_or_never();
            let flight = Arc::new(flight);
            let watched = Arc::clone(&flight);
            Open { body, flight, stopped: Box::pin(async move { watched.until_stopped().await }) }
        });
        let (read, spent, redirects) = (Bytes::new(), None, 0);
        Self { client, open, read, head, target, attempts, started, elapsed, spent, redirects }
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// How many attempts it took.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long it took until the head was there, with all waits and retries.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many redirects were followed on the way.
    pub fn redirects(&self) -> u32 {
        self.redirects
    }

    /// The server's own name for the request, from the usual header fields; else that which the client gave it, if it
    /// [does](crate::ApiClientBuilder::request_ids).
    pub fn request_id(&self) -> Option<&str> {
        request_id(Some(&self.head.headers), &self.target)
    }

    /// The next part of the body, as it came; `None` at the end, and after an error.
    ///
    /// # Errors
    /// - [`Error::Connection`], if the connection breaks.
    /// - [`Error::ReadTimeout`], if nothing comes for the read timeout.
    /// - [`Error::DeadlineExceeded`], if the call's deadline passes.
    /// - [`Error::Cancelled`], if the client is shut down, and has no patience left.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.next().await.transpose()
    }

    /// Settles with what the call weighed in truth, as [`cost`](crate::RequestBuilder::cost) does for a response that is read
    /// whole: of the body so far, or after its end. Once; a second time changes nothing.
    ///
    /// Dropped without, the call has cost its weight.
    pub fn settle(&mut self, cost: u32) {
        if let Some(spent) = self.spent.take() {
            spent.commit(cost);
        }
    }

    /// The call so far, for an error about its response.
    pub(crate) fn failure(&self) -> Box<Failure> {
        Box::new(Failure {
            target: self.target.clone(),
            attempts: self.attempts,
            elapsed: self.client.timer().now() - self.started,
            history: History::default(),
            rejected: None,
            head: Some(self.head.clone()),
            body: Bytes::new(),
        })
    }

    fn error(&self, broke: Broke) -> Error {
        let failure = self.failure();
        match broke {
            Broke::Connection(source) => Error::Connection { source, failure },
            Broke::Stalled => Error::ReadTimeout(failure),
            Broke::DeadlineExceeded => Error::DeadlineExceeded(failure),
        }
    }
}

impl<T: Transport, C: Timer, O: Observer> Stream for StreamingResponse<T, C, O> {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if !this.read.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.read))));
        }
        let Some(open) = &mut this.open else { return Poll::Ready(None) };
        if let Poll::Ready(why) = open.stopped.as_mut().poll(cx) {
            this.open = None;
            let elapsed = this.client.timer().now() - this.started;
            return Poll::Ready(Some(Err(Error::of_shut_down(this.target.clone(), this.attempts, elapsed, why))));
        }
        let next = ready!(open.body.poll_next(this.client.timer(), cx));
        if next.is_none() {
            // It came to its end in time, if anybody counts.
            let _ = open.flight.run(ready(())).now_or_never();
        }
        if !matches!(next, Some(Ok(_))) {
            this.open = None;
        }
        Poll::Ready(next.map(|part| part.map_err(|broke| this.error(broke))))
    }
}

/// Shows no header value: a secret may be in it.
impl<T: Transport, C: Timer, O> fmt::Debug for StreamingResponse<T, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingResponse")
            .field("target", &self.target)
            .field("status", &self.head.status)
            .field("attempts", &self.attempts)
            .field("elapsed", &self.elapsed)
            .finish_non_exhaustive()
    }
}
