//! HTTP over reqwest.
//!
//! ```
//! use steadfast_reqwest::ReqwestTransport;
//!
//! let transport = ReqwestTransport::new()?;
//! # Ok::<(), steadfast_reqwest::reqwest::Error>(())
//! ```
//!
//! It brings no opinion: redirects, retries and timeouts of reqwest are off, since they are decided before the
//! transport. It needs tokio, as reqwest does. For `https://`, turn on the feature `rustls` or `native-tls`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::header::{HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body::Body;
use steadfast_client::{RequestBody, Transport, TransportError};

pub use reqwest;

/// How long making a connection may take. Far above any that works, and well below an attempt's ten seconds, so that
/// what was never sent is known as such and may be repeated.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends requests through a [`reqwest::Client`], and its pool of connections.
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
    /// Whether a connection that could not be made may have been one to where a redirect leads.
    may_follow: bool,
}

impl ReqwestTransport {
    /// A client of its own, without redirects, retries or timeouts, but for 5 s to make a connection.
    ///
    /// # Errors
    /// If TLS or the resolver cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        Self::builder().build().map(|client| Self::with_client(client).without_redirects())
    }

    /// What [`new`](Self::new) builds from, for those who want to add to it: proxies, certificates, pool sizes, or another
    /// time to make a connection ([`connect_timeout`](reqwest::ClientBuilder::connect_timeout)). What is late in that was never
    /// sent, and may be repeated.
    pub fn builder() -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
    }

    /// A client that was set up elsewhere. Its redirects, retries and timeouts stay as they are: better without them.
    ///
    /// reqwest does not say whether it had been redirected before it found nobody to connect to. So a request of such a client
    /// never counts as never sent, and what is not idempotent is not repeated: see [`without_redirects`](Self::without_redirects).
    pub fn with_client(client: reqwest::Client) -> Self {
        Self { client, may_follow: true }
    }

    /// Says that the client follows no redirects, as one from [`builder`](Self::builder): without a connection, nothing was sent.
    #[must_use]
    pub fn without_redirects(self) -> Self {
        Self { may_follow: false, ..self }
    }
}

impl Transport for ReqwestTransport {
    type Body = reqwest::Body;
    // reqwest does not name its future, so it is boxed here.
    type Sending = Pin<Box<dyn Future<Output = Result<Response<reqwest::Body>, TransportError>> + Send>>;

    fn send(&self, mut request: Request<RequestBody>) -> Self::Sending {
        frame(&mut request);
        let Self { client, may_follow } = self.clone();
        Box::pin(async move {
            let unsent = |error| failed(error, false);
            let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap)).map_err(unsent)?;
            client.execute(request).await.map(Response::from).map_err(|error| failed(error, may_follow))
        })
    }
}

/// Has a body of unknown length sent whatever the method. hyper, which reqwest stands on, takes that of a GET or a HEAD for none
/// unless the field says otherwise, and would send nothing of it and say nothing. For HTTP/2, it leaves the field out.
fn frame(request: &mut Request<RequestBody>) {
    if request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// What a failure says of the request: without a connection, or before one was sought, it was never sent. But if the client follows
/// redirects, there may have been another connection before, on which it was.
fn failed(error: reqwest::Error, may_follow: bool) -> TransportError {
    // The URL is left out: its query may hold a key.
    let error = error.without_url();
    if (error.is_connect() || error.is_builder()) && !may_follow {
        TransportError::never_sent(error)
    } else {
        TransportError::maybe_processed(error)
    }
}
