use nourl::Url;
use reqwless::request::Method;
use steadfast_core::pipeline::CallOptions;
use steadfast_http::idempotency;

/// What is asked of a server. It is sent as often as the policies allow, so it is only ever borrowed.
///
/// | Setting | Default |
/// | --- | --- |
/// | header fields | `Host`, and `Content-Length` with a body |
/// | body | none |
/// | options | as idempotent as the method is, or as an `Idempotency-Key` makes it; the rest is the pipeline's |
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<&'a [u8]>,
    options: Option<CallOptions>,
}

impl<'a> Request<'a> {
    /// A request with any method, to a URL that begins with `http://`, or `https://` where reqwless was built with TLS.
    pub const fn new(method: Method, url: &'a str) -> Self {
        Self { method, url, headers: &[], body: None, options: None }
    }

    /// A `GET`.
    pub const fn get(url: &'a str) -> Self {
        Self::new(Method::GET, url)
    }

    /// A `PUT` of these bytes.
    pub const fn put(url: &'a str, body: &'a [u8]) -> Self {
        Self::new(Method::PUT, url).with_body(body)
    }

    /// A `POST` of these bytes. It is not repeated once the server may have seen it, unless it carries an
    /// `Idempotency-Key`.
    pub const fn post(url: &'a str, body: &'a [u8]) -> Self {
        Self::new(Method::POST, url).with_body(body)
    }

    /// The same request, with these header fields beside those that it has by itself.
    #[must_use]
    pub const fn with_headers(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }

    /// The same request, with these bytes as its body.
    #[must_use]
    pub const fn with_body(self, body: &'a [u8]) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The same request, with its own deadline, weight and so on. What they say of its idempotency holds, whatever its
    /// method.
    #[must_use]
    pub const fn with_options(self, options: CallOptions) -> Self {
        Self { options: Some(options), ..self }
    }

    pub(crate) fn options(&self) -> CallOptions {
        let fields = self.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let idempotency = || idempotency::of_request(self.method.as_str().as_bytes(), fields);
        self.options.unwrap_or_else(|| CallOptions::new(idempotency()))
    }

    /// What is between the scheme and the path: the value of `Host`, with the port if there is one.
    ///
    /// reqwless writes to the wire what it is given, so a line end in here would begin another field: such a request is
    /// refused, by the name of what is wrong with it.
    pub(crate) fn check(&self) -> Result<&'a str, &'static str> {
        Url::parse(self.url).map_err(|_| "url")?;
        let authority = self.url.split_once("://").and_then(|(_, rest)| rest.split('/').next());
        let authority = authority.filter(|authority| !authority.is_empty() && !authority.contains(['@', '?']));
        // A fragment is not for the server, and everything else that a URL may hold is printed.
        let authority = authority.filter(|_| self.url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
        for (name, value) in self.headers {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let is_text = |byte: u8| byte == b'\t' || !byte.is_ascii_control();
            if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(is_text) {
                return Err("header");
            }
        }
        authority.ok_or("url")
    }
}
