use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use steadfast_client::{RequestBody, Transport, TransportError};

use crate::{CONNECT_TIMEOUT, IDLE_TIMEOUT, MAX_IDLE};

/// Sends requests through hyper-util's client and its pool of connections, on tokio.
///
/// Each connection has a task of tokio's that reads and writes it, and the pool has one that closes what has been idle
/// for too long. They end with the transport and the last exchange on it.
///
/// # Panics
/// A request that is sent outside of a tokio runtime panics, as tokio's sockets do.
#[derive(Clone, Debug)]
pub struct HyperTokioTransport {
    client: Client<Connector, RequestBody>,
    #[cfg(feature = "tokio-rustls")]
    tls: rustls::ClientConfig,
}

#[cfg(not(feature = "tokio-rustls"))]
type Connector = HttpConnector;
#[cfg(feature = "tokio-rustls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

impl HyperTokioTransport {
    /// A pool of its own.
    ///
    /// # Errors
    /// With the feature `tokio-rustls`, if the platform's certificates cannot be loaded. Never without.
    pub fn new() -> io::Result<Self> {
        #[cfg(not(feature = "tokio-rustls"))]
        return Ok(Self::over(tcp(CONNECT_TIMEOUT)));
        #[cfg(feature = "tokio-rustls")]
        return Ok(Self::with_tls(crate::tls::client_config()?));
    }

    /// A pool of its own, with TLS as it is set up here: other certificates to trust, or one to show.
    #[cfg(feature = "tokio-rustls")]
    pub fn with_tls(config: rustls::ClientConfig) -> Self {
        Self::over(tcp(CONNECT_TIMEOUT), config)
    }

    /// How long making a connection may take, without TLS, of which the attempt timeout takes care. What is late was never sent,
    /// and may be repeated. Default: 5 s. A pool of its own: none of the connections that this one has.
    #[must_use]
    pub fn with_connect_timeout(self, timeout: Duration) -> Self {
        #[cfg(not(feature = "tokio-rustls"))]
        return Self::over(tcp(timeout));
        #[cfg(feature = "tokio-rustls")]
        return Self::over(tcp(timeout), self.tls);
    }

    #[cfg(not(feature = "tokio-rustls"))]
    fn over(tcp: HttpConnector) -> Self {
        Self { client: client(tcp) }
    }

    #[cfg(feature = "tokio-rustls")]
    fn over(mut tcp: HttpConnector, tls: rustls::ClientConfig) -> Self {
        tcp.enforce_http(false);
        let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
        Self { client: client(connector.enable_http1().wrap_connector(tcp)), tls }
    }
}

fn client(connector: Connector) -> Client<Connector, RequestBody> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        // Only what hyper hands back unwritten, from a connection that was used before: nothing is sent twice.
        .retry_canceled_requests(true)
        .build(connector)
}

fn tcp(connect_timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect_timeout));
    // The end of a request must not wait for the server to acknowledge its beginning.
    connector.set_nodelay(true);
    connector
}

impl Transport for HyperTokioTransport {
    type Body = Incoming;
    type Sending = Sending;

    fn send(&self, mut request: Request<RequestBody>) -> Sending {
        crate::frame(&mut request);
        match crate::refusal(request.uri(), cfg!(feature = "tokio-rustls"), "tokio-rustls") {
            Some(reason) => Sending(Step::Refused(Some(reason))),
            None => Sending(Step::Sent(self.client.request(request))),
        }
    }
}

/// An exchange, up to the head of the response.
#[derive(Debug)]
#[must_use = "nothing is sent before it is polled"]
pub struct Sending(Step);

#[derive(Debug)]
enum Step {
    Sent(ResponseFuture),
    /// `None` once this has been said.
    Refused(Option<String>),
}

impl Future for Sending {
    type Output = Result<Response<Incoming>, TransportError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Step::Sent(response) => Pin::new(response).poll(cx).map_err(failed),
            Step::Refused(reason) => {
                reason.take().map_or(Poll::Pending, |reason| Poll::Ready(Err(TransportError::never_sent(reason))))
            }
        }
    }
}

/// What a failure says of the request: without a connection, or taken back unwritten, it was never sent.
fn failed(error: Error) -> TransportError {
    let unwritten = error.source().and_then(|source| source.downcast_ref()).is_some_and(|source: &hyper::Error| {
        // In HTTP/1, hyper cancels what it has not begun to write, and nothing else; and it finds a connection closed
        // only when it is about to take a request.
        source.is_canceled() || source.is_closed()
    });
    if error.is_connect() || unwritten {
        TransportError::never_sent(error)
    } else {
        TransportError::maybe_processed(error)
    }
}
