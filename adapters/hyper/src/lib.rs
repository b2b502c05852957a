//! HTTP over hyper, on tokio or on smol.
//!
//! ```
//! # #[cfg(feature = "smol")]
//! let transport = steadfast_hyper::HyperSmolTransport::new()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | Feature | Brings | Pool and driver |
//! | --- | --- | --- |
//! | `tokio` | `HyperTokioTransport` | hyper-util's: a task of tokio's for each connection |
//! | `smol` | `HyperSmolTransport` | its own: no task and no thread; works on any executor |
//! | `tokio-rustls`, `smol-rustls` | the same, with `https://` | certificates are trusted as the platform trusts them |
//!
//! They speak HTTP/1.1, and bring no opinion: they follow no redirect, and repeat no request that may have left. A kept
//! connection that the server has closed is found out before a request is written to it, and another one is taken.
//!
//! The exchange is over when its future, or the response's body, is dropped: its connection is then closed, since the
//! rest of the response is still to come on it.
//!
//! | Setting | Value | Why |
//! | --- | --- | --- |
//! | time to connect (`with_connect_timeout`) | 5 s | far above any that works and well below an attempt's ten, so that what was never sent is known as such |
//! | idle connections | 64 (tokio: to one origin) | a burst of calls finds its connections again; what is kept has a bound |
//! | idle time | 90 s | longer only piles up what servers have closed by then |
//!
//! hyper has its channels from the crate tokio, of which no more than its feature `sync` is then built: neither a
//! runtime nor a socket of tokio's is behind `HyperSmolTransport`.

#[cfg(feature = "smol")]
mod connection;
#[cfg(feature = "smol")]
mod on_smol;
#[cfg(feature = "tokio")]
mod on_tokio;
#[cfg(feature = "smol")]
mod pool;
#[cfg(any(feature = "smol-rustls", feature = "tokio-rustls"))]
mod tls;

#[cfg(feature = "smol")]
pub use connection::HyperSmolBody;
#[cfg(feature = "smol")]
pub use on_smol::HyperSmolTransport;
#[cfg(feature = "tokio")]
pub use on_tokio::HyperTokioTransport;
#[cfg(any(feature = "smol-rustls", feature = "tokio-rustls"))]
pub use rustls;

/// How long making a connection may take.
#[cfg(any(feature = "smol", feature = "tokio"))]
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// How many connections are kept that nobody uses.
#[cfg(any(feature = "smol", feature = "tokio"))]
const MAX_IDLE: usize = 64;

/// For how long they are kept.
#[cfg(any(feature = "smol", feature = "tokio"))]
const IDLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(90);

/// Why a request to this URI cannot be sent, if it cannot: `feature` is the one that brings TLS.
#[cfg(any(feature = "smol", feature = "tokio"))]
fn refusal(uri: &http::Uri, has_tls: bool, feature: &str) -> Option<String> {
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => None,
        (Some("https"), Some(_)) if has_tls => None,
        (Some("https"), Some(_)) => Some(format!("https:// needs the feature `{feature}` of steadfast-hyper")),
        _ => Some("the URI is not absolute, or its scheme is neither http nor https".to_owned()),
    }
}

/// Has a body of unknown length sent whatever the method. hyper takes that of a GET or a HEAD for none, unless the field says
/// otherwise, and would send nothing of it and say nothing.
#[cfg(any(feature = "smol", feature = "tokio"))]
fn frame(request: &mut http::Request<steadfast_client::RequestBody>) {
    use http::header::{HeaderValue, TRANSFER_ENCODING};
    use http_body::Body;

    if request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

#[cfg(all(test, any(feature = "smol", feature = "tokio")))]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_refused_with_the_reason() {
        for (uri, has_tls, want) in [
            ("http://localhost/", false, None),
            ("https://localhost/", true, None),
            ("https://localhost/", false, Some("https:// needs the feature `x-rustls` of steadfast-hyper")),
            ("ftp://localhost/", true, Some("the URI is not absolute, or its scheme is neither http nor https")),
            ("/path", true, Some("the URI is not absolute, or its scheme is neither http nor https")),
        ] {
            let uri = http::Uri::from_static(uri);
            assert_eq!(refusal(&uri, has_tls, "x-rustls").as_deref(), want, "{uri}");
        }
    }
}
