//! HTTP over surf, for those who cannot leave it yet: it is unmaintained.
//!
//! ```
//! # #[cfg(feature = "h1-client-no-tls")]
//! let transport = steadfast_surf::SurfTransport::h1();
//! ```
//!
//! It brings no opinion: timeouts, redirects and decompression of surf's backends are off, since they are decided before
//! the transport, or not at all. Each backend is a constructor of its own:
//!
//! | | [`SurfTransport::h1`] | [`SurfTransport::curl`] |
//! | --- | --- | --- |
//! | feature | `h1-client-no-tls` (default) | `curl-client` |
//! | connections | one for each request | one for each request |
//! | time to connect | as long as the attempt | 5 s |
//! | known as never sent | what came to no connection | the same |
//! | a response after interim ones (1xx) | an error | read |
//! | a response of HTTP/1.0 | an error | read |
//! | a body that ends with its connection | an error of the body | read, unless it is empty |
//! | a head that is cut short | an error | an error of the body |
//! | methods | those that surf knows | the same, without `HEAD`: the backend would wait for a body |
//! | statuses | those that surf knows, others are an error | the same |
//! | fields that are not ASCII | an error | an error |
//! | several values of a request's field | sent as they are | joined into one |
//! | what is dropped | closes its connection | closes it when the server's next bytes come, or with the transport |
//! | threads | that of `async-io`, which also looks up names while the caller waits | libcurl's own, and `async-io`'s |
//!
//! # What surf does, and what is done about it here
//!
//! - **Its errors claim a status** that no server sent: 400 for a refused connection, 500 for a timeout. Nobody reads it:
//!   whatever surf returns as an error is an error of the transport.
//! - **Its pool of `h1` connections hands a cancelled exchange's connection to the next request**, which then reads the
//!   answer to the other one. Without the pool, it looks names up on the thread that polls it, tries a name's first address
//!   alone, and reads a head without bound. So async-h1 has its connections from here.
//! - **Its `curl` hands a kept connection's unasked bytes to the next request**, as its answer: whoever can make a server
//!   say more than it was asked can forge what others read. It also cannot send a request again that found its connection
//!   closed. So that pool is off as well.
//! - **Its `curl` asks for leave to send a body**, and waits for it. It does not here.
//! - **A head that is cut short looks whole** with curl, and has no body. So a body without a length that is empty is an
//!   error here.
//! - **A body that is cut short looks whole** with `h1`, and one without a length looks empty. Both are errors here.
//! - **It panics** over a status that it does not know (curl), or a field that is not ASCII (both). The panic is caught
//!   and becomes an error; where panics abort, the process ends.
//! - **It adds fields**: a `Content-Type: application/octet-stream` to what has none. It is taken away from requests
//!   (libcurl has another for a `POST` without one); in a response nobody can tell whose it is. A `Date` that it makes up is dropped.
//!
//! Everything that is not certain counts as possibly processed by the server.
//!
//! # When not to use it
//!
//! In anything new: `steadfast-hyper` serves smol, and `steadfast-reqwest` tokio. With surf's backends on rustls or hyper
//! never: the README has the advisories.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::TryStreamExt;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use http_body_util::BodyDataStream;
use steadfast_client::{BoxError, RequestBody, Transport, TransportError};
use surf::http::headers;

mod body;
#[cfg(feature = "h1-client-no-tls")]
mod plain;

pub use body::SurfBody;

/// Sends requests through a [`surf::Client`].
#[derive(Clone, Debug)]
pub struct SurfTransport {
    client: surf::Client,
    backend: Backend,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(dead_code)] // One of them, if its feature is off.
enum Backend {
    H1,
    Curl,
}

impl SurfTransport {
    /// On `async-h1`: plain `http://`, with a connection for each request.
    #[cfg(feature = "h1-client-no-tls")]
    pub fn h1() -> Self {
        Self { client: surf::Client::with_http_client(plain::Plain), backend: Backend::H1 }
    }

    /// On libcurl, with a connection for each request, and TLS if that libcurl has it.
    ///
    /// # Errors
    /// If libcurl cannot be set up.
    #[cfg(feature = "curl-client")]
    pub fn curl() -> Result<Self, BoxError> {
        use isahc::config::{Configurable, RedirectPolicy};
        let client = isahc::HttpClient::builder()
            .automatic_decompression(false)
            // It would take what a server says unasked on a kept connection for the answer to the next request.
            .connection_cache_size(0)
            // It would wait a second for the server's leave to send a body. A field without a value is not sent.
            .default_header(header::EXPECT.as_str(), "")
            .redirect_policy(RedirectPolicy::None)
            // Far above any that works, and well below an attempt's ten seconds, so that what was never sent is known
            // as such and may be repeated.
            .connect_timeout(std::time::Duration::from_secs(5))
            .build()?;
        let backend = http_client::isahc::IsahcClient::from_client(client);
        Ok(Self { client: surf::Client::with_http_client(backend), backend: Backend::Curl })
    }
}

impl Transport for SurfTransport {
    type Body = SurfBody;
    // surf does not name its future, so it is boxed here.
    type Sending = Pin<Box<dyn Future<Output = Result<Response<SurfBody>, TransportError>> + Send>>;

    fn send(&self, request: Request<RequestBody>) -> Self::Sending {
        let Self { client, backend } = self.clone();
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            let request = to_surf(request, backend).map_err(TransportError::never_sent)?;
            let mut sending = pin!(client.send(request));
            let caught = poll_fn(|cx| match catch(|| sending.as_mut().poll(cx)) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
                Err(panic) => Poll::Ready(Err(panic)),
            });
            let response = caught.await.map_err(TransportError::maybe_processed)?.map_err(failed)?;
            from_surf(response, is_head, backend).map_err(TransportError::maybe_processed)
        })
    }
}

fn to_surf(request: Request<RequestBody>, backend: Backend) -> Result<surf::Request, BoxError> {
    let (parts, body) = request.into_parts();
    match (backend, parts.uri.scheme_str()) {
        (_, Some("http")) | (Backend::Curl, Some("https")) => {}
        (Backend::H1, Some("https")) => return Err("surf's h1 client is built without TLS: only http:// works".into()),
        _ => return Err("the URI is not absolute, or its scheme is neither http nor https".into()),
    }
    if backend == Backend::Curl && parts.method == Method::HEAD {
        return Err("surf's curl client waits for the body of the response to a HEAD, which has none".into());
    }
    let method = parts.method.as_str().parse().map_err(surf::Error::into_inner)?;
    let mut url = surf::Url::parse(&parts.uri.to_string())?;
    // libcurl would send them as credentials that nobody asked for. A URL with a host can be without.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err("the URI has no host".into());
    }
    let mut request = surf::Request::new(method, url);
    let length = body.size_hint().exact();
    if length != Some(0) {
        let length = length.map(usize::try_from).transpose()?;
        let parts = BodyDataStream::new(body).map_err(io::Error::other);
        request.set_body(surf::Body::from_reader(parts.into_async_read(), length));
        // surf has added one that nobody asked for.
        request.remove_header(headers::CONTENT_TYPE);
    }
    for name in parts.headers.keys() {
        let values = parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let values: Vec<_> = match backend {
            Backend::H1 => values.map(<[u8]>::to_vec).collect(),
            // It sends the last value alone. A list may be sent as one (RFC 9110 §5.3, RFC 6265 §5.4).
            Backend::Curl => {
                let separator: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
                vec![values.collect::<Vec<_>>().join(separator)]
            }
        };
        for value in values {
            let value = headers::HeaderValue::from_bytes(value).map_err(surf::Error::into_inner)?;
            request.append_header(name.as_str(), value);
        }
    }
    Ok(request)
}

fn from_surf(mut response: surf::Response, is_head: bool, backend: Backend) -> Result<Response<SurfBody>, BoxError> {
    let status = u16::from(response.status());
    if status < 200 {
        // async-h1 takes it for the response, which is still to come, and is lost with the connection.
        return Err("surf's h1 client does not read on after an interim response".into());
    }
    let mut converted = Response::new(());
    *converted.status_mut() = status.try_into()?;
    for (name, values) in response.iter() {
        for value in values {
            // What cannot be is the `Date` that async-h1 makes up, which ends with a line break.
            if let Ok(value) = HeaderValue::from_str(value.as_str()) {
                converted.headers_mut().append(HeaderName::from_bytes(name.as_str().as_bytes())?, value);
            }
        }
    }
    let lengths = response.header(headers::CONTENT_LENGTH);
    let mut others = lengths.into_iter().flat_map(|lengths| lengths.iter().skip(1).zip(lengths.iter()));
    if others.any(|(one, other)| one != other) {
        // An attack, or broken (RFC 9112 §6.3); async-h1 would go by the last.
        return Err("the response has two lengths".into());
    }
    let has_length = lengths.is_some();
    let body = response.take_body();
    let body = if is_head || matches!(status, 204 | 304) {
        // They have no body, whatever length their fields give, and async-h1 would wait for it.
        SurfBody::empty()
    } else if backend == Backend::H1 && body.len() == Some(0) && !has_length {
        SurfBody::unreadable()
    } else {
        // libcurl reads it to the end of the connection, and takes half a head for a whole one.
        let is_some = !has_length && response.header(headers::TRANSFER_ENCODING).is_none();
        SurfBody::new(body, is_some)
    };
    Ok(converted.map(|()| body))
}

/// What a failure says of the request: without a connection it was never sent. Anything else may have been processed.
fn failed(error: surf::Error) -> TransportError {
    let refused = error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::ConnectionRefused);
    #[cfg(feature = "curl-client")]
    let refused = {
        use isahc::Error::{ConnectFailed, CouldntResolveHost, CouldntResolveProxy};
        let error = error.downcast_ref::<isahc::Error>();
        refused || matches!(error, Some(ConnectFailed | CouldntResolveHost | CouldntResolveProxy))
    };
    let source = error.into_inner();
    if refused { TransportError::never_sent(source) } else { TransportError::maybe_processed(source) }
}

/// A panic of surf's as an error. Nothing of what panicked is used afterwards.
fn catch<T>(act: impl FnOnce() -> T) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let formatted = panic.downcast_ref::<String>().map(String::as_str);
        let said = formatted.or(panic.downcast_ref().copied()).unwrap_or("without saying why");
        io::Error::other(format!("surf panicked: {said}"))
    })
}
