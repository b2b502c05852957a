use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use steadfast_core::fault::{Drawn, Fault, Faults};
use steadfast_core::time::{Instant, Timer};
use steadfast_executor::FaultInjector;

use crate::body::RequestBody;
use crate::transport::{BoxError, Transport, TransportError};

/// A transport whose exchanges meet [`Faults`], on purpose: for tests, drills and demonstrations.
///
/// ```
/// # use std::future::{Ready, ready};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use steadfast_client::{RequestBody, Transport, TransportError};
/// # use steadfast_core::time::ManualClock;
/// use steadfast_client::{ApiClient, FaultyTransport};
/// use steadfast_core::fault::Faults;
///
/// # #[derive(Clone)]
/// # struct Echo;
/// # impl Transport for Echo {
/// #     type Body = Full<Bytes>;
/// #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
/// #     fn send(&self, _: Request<RequestBody>) -> Self::Sending {
/// #         ready(Ok(Response::new(Full::new(Bytes::from("hello")))))
/// #     }
/// # }
/// # let (transport, clock) = (Echo, ManualClock::new());
/// # let timer = &clock;
/// let faults = Faults::builder().error_before(20).reset(10).build()?;
/// let client = ApiClient::builder("http://localhost", FaultyTransport::new(transport, faults, timer, 7), timer).build()?;
/// let hello = clock.drive(client.get("hello").send()).expect("it ends")?;
/// assert_eq!(hello.text()?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// | Fault | Here |
/// | --- | --- |
/// | latency | the request is held up before it is sent |
/// | `error_before` | it is never sent, and the error says so: even a `POST` may be repeated |
/// | `error_after` | it is sent and answered, and the answer is lost |
/// | `reset` | the response's body breaks off after its first part, or at once if it has none |
/// | `throttle` | it is never sent, and answered with 429 and `Retry-After`, in whole seconds, rounded up |
///
/// The transport is cloned for each request, since one that is held up is sent later.
///
/// From the same seed, the first request meets the same each time, the second, and so on, in the order in which they are sent.
pub struct FaultyTransport<X, T> {
    transport: X,
    injector: FaultInjector<T>,
}

impl<X, T> FaultyTransport<X, T> {
    /// `transport` with these faults, drawn from this seed. Requests are held up on `timer`.
    pub fn new(transport: X, faults: Faults, timer: T, seed: u64) -> Self {
        Self { transport, injector: FaultInjector::new(faults, timer, seed) }
    }
}

impl<X: Transport + Clone, T: Timer + Clone> Transport for FaultyTransport<X, T> {
    type Body = FaultyBody<X::Body>;
    type Sending = FaultySending<X, T>;

    fn send(&self, request: Request<RequestBody>) -> FaultySending<X, T> {
        let Drawn { latency, fault } = self.injector.draw();
        let timer = self.injector.timer().clone();
        let sleep = (!latency.is_zero()).then(|| {
            let until = timer.now() + latency;
            (until, Box::pin(timer.sleep_until(until)))
        });
        FaultySending { timer, sleep, request: Some((self.transport.clone(), request)), sending: None, fault }
    }
}

/// An exchange of a [`FaultyTransport`].
#[must_use = "an exchange does nothing unless it is polled"]
pub struct FaultySending<X: Transport, T: Timer> {
    timer: T,
    sleep: Option<(Instant, Pin<Box<T::Sleep>>)>,
    /// Until it is sent.
    request: Option<(X, Request<RequestBody>)>,
    sending: Option<Pin<Box<X::Sending>>>,
    fault: Option<Fault>,
}

// What is pinned is in boxes.
impl<X: Transport, T: Timer> Unpin for FaultySending<X, T> {}

impl<X: Transport, T: Timer> Future for FaultySending<X, T> {
    type Output = Result<Response<FaultyBody<X::Body>>, TransportError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some((until, sleep)) = &mut this.sleep {
            ready!(sleep.as_mut().poll(cx));
            let (until, now) = (*until, this.timer.now());
            this.sleep = (now < until).then(|| (until, Box::pin(this.timer.sleep_until(until))));
        }
        if let Some((transport, request)) = this.request.take() {
            match this.fault {
                Some(fault @ Fault::ErrorBefore) => return Poll::Ready(Err(TransportError::never_sent(fault))),
                Some(Fault::Throttled { retry_after }) => return Poll::Ready(Ok(throttled(retry_after))),
                Some(_) | None => this.sending = Some(Box::pin(transport.send(request))),
            }
        }
        let Some(sending) = &mut this.sending else {
            return Poll::Pending; // It has ended already.
        };
        let answered = ready!(sending.as_mut().poll(cx));
        this.sending = None;
        Poll::Ready(match (answered, this.fault) {
            (Ok(_lost), Some(fault @ Fault::ErrorAfter)) => Err(TransportError::maybe_processed(fault)),
            (Ok(response), Some(fault @ Fault::Reset)) => {
                Ok(response.map(|body| FaultyBody(Kind::Breaks { body: Box::pin(body), passes: true, fault })))
            }
            (Ok(response), _) => Ok(response.map(|body| FaultyBody(Kind::Whole(Box::pin(body))))),
            (Err(error), _) => Err(error),
        })
    }
}

fn throttled<B>(retry_after: Duration) -> Response<FaultyBody<B>> {
    let mut response = Response::new(FaultyBody(Kind::Empty));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// A response's body that may break off on purpose.
pub struct FaultyBody<B>(Kind<B>);

enum Kind<B> {
    /// The response was made here.
    Empty,
    Whole(Pin<Box<B>>),
    /// It breaks off when its first part has passed.
    Breaks {
        body: Pin<Box<B>>,
        passes: bool,
        fault: Fault,
    },
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for FaultyBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(body) => body.as_mut().poll_frame(cx).map_err(Into::into),
            Kind::Breaks { passes: false, fault, .. } => Poll::Ready(Some(Err((*fault).into()))),
            Kind::Breaks { body, passes, fault } => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                *passes = false;
                // Behind the first part comes no end, so nobody takes it for the whole.
                Poll::Ready(Some(frame.map_or_else(|| Err((*fault).into()), |frame| frame.map_err(Into::into))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Breaks { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(body) | Kind::Breaks { body, .. } => body.size_hint(),
        }
    }
}

impl<X: fmt::Debug, T> fmt::Debug for FaultyTransport<X, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyTransport").field("transport", &self.transport).field("injector", &self.injector).finish()
    }
}

impl<X: Transport, T: Timer> fmt::Debug for FaultySending<X, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultySending").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for FaultyBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Empty => "Empty",
            Kind::Whole(_) => "Whole",
            Kind::Breaks { .. } => "Breaks",
        })
    }
}
