use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use smol_hyper::rt::FuturesIo;
use steadfast_client::RequestBody;

use crate::pool::{Origin, Pool};

/// What a connection runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Io = FuturesIo<Box<dyn Stream>>;

/// A connection, and what reads and writes it.
///
/// hyper splits the two, so that a task can be spawned for the second. Here they stay together: whoever waits for the
/// response polls its connection too, and nothing has to be spawned. Dropped, it closes its socket.
pub(crate) struct Connection {
    sender: SendRequest<RequestBody>,
    /// `None` when the connection is closed.
    driver: Option<http1::Connection<Io, RequestBody>>,
}

impl Connection {
    pub(crate) async fn over(stream: Box<dyn Stream>) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(FuturesIo::new(stream)).await?;
        Ok(Self { sender, driver: Some(driver) })
    }

    /// Sends a request in origin form that has a `Host`. The error has the request if not a byte of it was written.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let mut response = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        poll_fn(|cx| {
            drive(driver, cx);
            response.as_mut().poll(cx)
        })
        .await
    }

    /// Whether the server has left it open and it can take a request.
    pub(crate) fn is_idle(&mut self) -> bool {
        // Nobody waits for it, so nobody is woken: what the server did is found out here, by a read that does not block.
        drive(&mut self.driver, &mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// Reads and writes what can be read and written now, and wakes `cx` when there is more. All that hyper has to say of a
/// failure, it says where the response is awaited.
fn drive(driver: &mut Option<http1::Connection<Io, RequestBody>>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
        *driver = None;
    }
}

/// The body of a response, which comes as it is asked for.
///
/// It holds the connection, and polls it. At its end the connection goes back to the pool; dropped before, it is closed.
pub struct HyperSmolBody {
    incoming: Incoming,
    /// `None` when the body is at its end, or has failed.
    connection: Option<(Connection, Origin)>,
    pool: Pool,
}

impl HyperSmolBody {
    pub(crate) fn new(incoming: Incoming, connection: Connection, origin: Origin, pool: Pool) -> Self {
        let mut this = Self { incoming, connection: Some((connection, origin)), pool };
        if this.incoming.is_end_stream() {
            this.release();
        }
        this
    }

    fn release(&mut self) {
        if let Some((connection, origin)) = self.connection.take() {
            self.pool.put(origin, connection);
        }
    }
}

impl Body for HyperSmolBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let mut frame = Pin::new(&mut this.incoming).poll_frame(cx);
        if let (Poll::Pending, Some((connection, _))) = (&frame, &mut this.connection) {
            // Asked for, it is read now: hyper reads no further than it is asked.
            drive(&mut connection.driver, cx);
            frame = Pin::new(&mut this.incoming).poll_frame(cx);
        }
        match &frame {
            Poll::Ready(Some(Ok(_))) if this.incoming.is_end_stream() => this.release(),
            Poll::Ready(None) => this.release(),
            Poll::Ready(Some(Err(_))) => this.connection = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for HyperSmolBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperSmolBody").field("size_hint", &self.size_hint()).finish_non_exhaustive()
    }
}
