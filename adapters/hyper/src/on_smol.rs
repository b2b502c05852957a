use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use async_net::TcpStream;
use futures_lite::FutureExt;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri, Version};
use steadfast_client::{BoxError, RequestBody, Transport, TransportError};

use crate::connection::{Connection, HyperSmolBody, Stream};
use crate::pool::{Origin, Pool};
use crate::{CONNECT_TIMEOUT, IDLE_TIMEOUT, MAX_IDLE};

/// Sends requests over sockets of smol's, and keeps connections alive between them. Works on any executor.
///
/// It spawns nothing: a connection is read and written by whoever polls the exchange on it, and by nobody while it is
/// idle. That a server has closed an idle connection is noticed when it is about to be used, and then costs nothing but
/// a new connection. Idle connections that are too old are closed when the transport is used the next time.
///
/// Waits for sockets and for time are async-io's, names are resolved on the threads of the crate `blocking`: what smol
/// itself uses.
#[derive(Clone)]
pub struct HyperSmolTransport {
    pool: Pool,
    connect_timeout: Duration,
    #[cfg(feature = "smol-rustls")]
    tls: futures_rustls::TlsConnector,
}

impl HyperSmolTransport {
    /// A pool of its own.
    ///
    /// # Errors
    /// With the feature `smol-rustls`, if the platform's certificates cannot be loaded. Never without.
    pub fn new() -> io::Result<Self> {
        #[cfg(not(feature = "smol-rustls"))]
        return Ok(Self { pool: Pool::new(MAX_IDLE, IDLE_TIMEOUT), connect_timeout: CONNECT_TIMEOUT });
        #[cfg(feature = "smol-rustls")]
        return Ok(Self::with_tls(crate::tls::client_config()?));
    }

    /// A pool of its own, with TLS as it is set up here: other certificates to trust, or one to show.
    #[cfg(feature = "smol-rustls")]
    pub fn with_tls(config: rustls::ClientConfig) -> Self {
        let (pool, tls) = (Pool::new(MAX_IDLE, IDLE_TIMEOUT), std::sync::Arc::new(config).into());
        Self { pool, connect_timeout: CONNECT_TIMEOUT, tls }
    }

    /// How many connections are kept that nobody uses, to all origins together. Zero keeps none. Default: 64.
    #[must_use]
    pub fn with_max_idle(mut self, connections: usize) -> Self {
        self.pool.max_idle = connections;
        self
    }

    /// For how long a connection is kept that nobody uses. Default: 90 s.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.pool.idle_timeout = timeout;
        self
    }

    /// How long making a connection may take, with TLS. What is late was never sent, and may be repeated. Default: 5 s.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    async fn exchange(self, mut request: Request<RequestBody>) -> Result<Response<HyperSmolBody>, TransportError> {
        let origin = prepare(&mut request).map_err(TransportError::never_sent)?;
        let mut connection = match self.pool.take(&origin) {
            Some(connection) => connection,
            None => self.connect(&origin).await.map_err(TransportError::never_sent)?,
        };
        match connection.send(request).await {
            Ok(response) => Ok(response.map(|body| HyperSmolBody::new(body, connection, origin, self.pool))),
            // hyper hands the request back if it wrote not a byte of it.
            Err(error) if error.message().is_some() => Err(TransportError::never_sent(error.into_error())),
            Err(error) => Err(TransportError::maybe_processed(error.into_error())),
        }
    }

    /// A new connection, in time.
    async fn connect(&self, origin: &Origin) -> Result<Connection, BoxError> {
        let late = async {
            async_io::Timer::after(self.connect_timeout).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection in {:?}", self.connect_timeout)))
        };
        let stream = self.stream_to(origin).or(late).await?;
        Ok(Connection::over(stream).await?)
    }

    async fn stream_to(&self, origin: &Origin) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((&*origin.host, origin.port)).await?;
        // The end of a request must not wait for the server to acknowledge its beginning.
        stream.set_nodelay(true)?;
        #[cfg(feature = "smol-rustls")]
        if origin.secure {
            let name = origin.host.clone().try_into().map_err(io::Error::other)?;
            return Ok(Box::new(self.tls.connect(name, stream).await?));
        }
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for HyperSmolTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperSmolTransport")
            .field("pool", &self.pool)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

impl Transport for HyperSmolTransport {
    type Body = HyperSmolBody;
    // The exchange is an async function, which has no name.
    type Sending = Pin<Box<dyn Future<Output = Result<Response<HyperSmolBody>, TransportError>> + Send>>;

    fn send(&self, request: Request<RequestBody>) -> Self::Sending {
        Box::pin(self.clone().exchange(request))
    }
}

/// Gives a request the form that it has on the wire (RFC 9112, 3.2.1: a target in origin form, and a `Host`), and says
/// where to.
fn prepare(request: &mut Request<RequestBody>) -> Result<Origin, BoxError> {
    let uri = request.uri();
    if let Some(reason) = crate::refusal(uri, cfg!(feature = "smol-rustls"), "smol-rustls") {
        return Err(reason.into());
    }
    let (Some(origin), Some(host)) = (Origin::of(uri), uri.host()) else {
        return Err("the URI has no host".into());
    };
    // The port is named only where it is not the scheme's own, and a user's name and password never.
    let host = match uri.port_u16() {
        Some(port) if port != if origin.secure { 443 } else { 80 } => format!("{host}:{port}"),
        _ => host.to_owned(),
    };
    let target = uri.path_and_query().cloned().map_or(Uri::from_static("/"), Uri::from);
    request.headers_mut().entry(HOST).or_insert(HeaderValue::try_from(host)?);
    *request.uri_mut() = target;
    *request.version_mut() = Version::HTTP_11;
    crate::frame(request);
    Ok(origin)
}
