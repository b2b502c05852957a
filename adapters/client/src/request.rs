use std::fmt;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use serde::Serialize;
use steadfast_core::event::Observer;
use steadfast_core::outcome::Idempotency;
use steadfast_core::rate_limit::Refusal;
use steadfast_core::rejected::Rejected;
use steadfast_core::run::{CallError, History, LastAttempt};
use steadfast_core::time::{Instant, Timer};
use url::{Url, form_urlencoded};

use crate::answer::Answer;
use crate::body::{Payload, RequestBody};
use crate::call::{Call, idempotency_of, show};
use crate::client::ApiClient;
use crate::endpoints::OnePipeline;
use crate::error::{Error, Named};
use crate::events::EventStream;
use crate::exchange::{Called, Extent, Tried};
use crate::guard::Guarded;
use crate::multipart::Multipart;
use crate::overrides::{LimitKey, Overrides};
use crate::pages::{self, Found, Pages};
use crate::redirect::Journey;
use crate::response::Response;
use crate::streaming::StreamingResponse;
use crate::transport::Transport;

/// One call, being described. Nothing is sent before [`send`](Self::send).
///
/// A mistake on the way (an unparsable URL, a header that cannot be) is kept, and `send` returns it.
#[must_use = "nothing is sent before `send`"]
pub struct RequestBuilder<'a, T, C, O> {
    client: &'a ApiClient<T, C, O>,
    method: Method,
    target: Result<Url, Error>,
    headers: HeaderMap,
    payload: Payload,
    pub(crate) overrides: Overrides,
}

impl<'a, T, C, O> RequestBuilder<'a, T, C, O> {
    pub(crate) fn new(client: &'a ApiClient<T, C, O>, method: Method, target: Result<Url, Error>) -> Self {
        let (headers, payload) = (HeaderMap::new(), RequestBody::default().into());
        Self { client, method, target, headers, payload, overrides: Overrides::none() }
    }

    /// The same request once more; `None` if it cannot be sent, or not again.
    pub(crate) fn again(&self) -> Option<Self> {
        let target = Ok(self.target.as_ref().ok()?.clone());
        let payload = Payload::Bytes(self.payload.in_memory()?.clone());
        let (method, headers, overrides) = (self.method.clone(), self.headers.clone(), self.overrides.clone());
        Some(Self { client: self.client, method, target, headers, payload, overrides })
    }

    /// Why there is no [`again`](Self::again).
    pub(crate) fn take_refusal(&mut self) -> Error {
        let body = format!("{:?}", self.payload);
        let refusal = |value| {
            let reason = "which has to be sent again: bytes can be".to_owned();
            Error::InvalidRequest { field: "body", value, reason }
        };
        let target = std::mem::replace(&mut self.target, Err(refusal(body.clone())));
        target.err().unwrap_or_else(|| refusal(body))
    }

    /// Where it goes; `None` if it cannot be sent.
    pub(crate) fn url(&self) -> Option<&Url> {
        self.target.as_ref().ok()
    }

    /// The same request to where `link` leads, seen from `base`.
    pub(crate) fn linked(mut self, base: &Url, link: &str) -> Self {
        self.target = self.client.linked(base, link);
        self
    }

    pub(crate) fn client(&self) -> &'a ApiClient<T, C, O> {
        self.client
    }

    /// Whether the call may be repeated, by what has been said so far.
    pub(crate) fn idempotency_by_now(&self) -> Idempotency {
        self.overrides.idempotency.unwrap_or_else(|| {
            let idempotency = idempotency_of(&self.method, &self.headers);
            match idempotency_of(&self.method, self.client.default_headers()) {
                Idempotency::Idempotent => Idempotency::Idempotent,
                Idempotency::NotIdempotent => idempotency,
            }
        })
    }

    pub(crate) fn header_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn header_unless_set(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.entry(name).or_insert(HeaderValue::from_static(value));
        self
    }

    /// Sets a header field, in place of what the client sets by default or an earlier call set.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match header(name, value) {
            Ok((name, value)) => {
                self.headers.insert(name, value);
            }
            Err(error) => self.target = self.target.and(Err(error)),
        }
        self
    }

    /// Adds a parameter to the query, encoded as it has to be.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if let Ok(url) = &mut self.target {
            url.query_pairs_mut().append_pair(name, value);
        }
        self
    }

    /// Sends `value` as JSON.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => {
                self.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                self.payload = RequestBody::from(body).into();
            }
            Err(error) => {
                let (value, reason) = (std::any::type_name_of_val(value).to_owned(), error.to_string());
                self.target = self.target.and(Err(Error::InvalidRequest { field: "body", value, reason }));
            }
        }
        self
    }

    /// Sends a form as `application/x-www-form-urlencoded`: names and values, encoded as they have to be.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(mut self, fields: impl IntoIterator<Item = (N, V)>) -> Self {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let form_urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
        self.headers.entry(CONTENT_TYPE).or_insert(form_urlencoded);
        self.payload = RequestBody::from(form).into();
        self
    }

    /// Sends a form with files.
    pub fn multipart(mut self, form: Multipart) -> Self {
        // Not one that was set before: only this one has the boundary.
        self = self.header(CONTENT_TYPE.as_str(), &form.content_type());
        match form.into_body() {
            Ok(body) => self.payload = body.into(),
            Err(error) => self.target = self.target.and(Err(error)),
        }
        self
    }

    /// Sends a body: bytes as they are, or a [`RequestBody::stream`].
    ///
    /// Bytes in memory are there for every attempt. A stream is there once: its beginning is kept, up to the client's
    /// [`max_replay`](crate::ApiClientBuilder::max_replay), and once more than that has left, the call is not repeated,
    /// whatever comes of the attempt ([`Rejected::RetryForbidden`](steadfast_core::rejected::Rejected::RetryForbidden)).
    ///
    /// If the stream fails, so does the call, with [`Error::Body`].
    pub fn body(mut self, body: impl Into<RequestBody>) -> Self {
        self.payload = body.into().into();
        self
    }

    /// Sends a body that `make` makes afresh for each attempt: for streams of any length that may be sent again, as a file
    /// may that is opened each time.
    ///
    /// ```no_run
    /// # use std::io::{self, Read};
    /// # use bytes::Bytes;
    /// # use futures_util::stream;
    /// # use steadfast_client::{ApiClient, Error, RequestBody, Transport};
    /// # use steadfast_core::time::Timer;
    /// # async fn upload<T: Transport, C: Timer>(client: ApiClient<T, C>) -> Result<(), Error> {
    /// // Blocking reads keep the example short; a runtime's own file is the better stream.
    /// let pieces = || {
    ///     let mut file = std::fs::File::open("large.bin");
    ///     stream::iter(std::iter::from_fn(move || match &mut file {
    ///         Ok(file) => {
    ///             let mut piece = vec![0; 64 * 1024];
    ///             let read = file.read(&mut piece).map(|length| Bytes::from(piece).slice(..length));
    ///             (!matches!(&read, Ok(piece) if piece.is_empty())).then_some(read)
    ///         }
    ///         Err(error) => Some(Err(io::Error::from(error.kind()))),
    ///     }))
    /// };
    /// client.put("files/large.bin").body_from(move || RequestBody::stream(pieces())).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If one of them fails, so does the call, with [`Error::Body`].
    pub fn body_from(mut self, make: impl FnMut() -> RequestBody + Send + 'static) -> Self {
        self.payload = Payload::Made(Box::new(make));
        self
    }
}

impl<'a, T: Transport, C: Timer, O: Observer> RequestBuilder<'a, T, C, O> {
    /// Makes the call: waits for its turn, sends it, and repeats it as the pipeline allows.
    ///
    /// Cancel safe: dropped, it closes its connection and gives back what it held of limits and breaker.
    ///
    /// # Errors
    /// If no attempt brought a response with a status that means success (2xx). See [`Error`].
    pub async fn send(self) -> Result<Response, Error> {
        self.whole(Response::of).await
    }

    /// The same, and whatever the status of the last response, it is no error: an API may say with a 409 what it was asked for.
    ///
    /// The policies see the status all the same: a 503 is tried again, and handed out when no more attempts follow.
    ///
    /// Cancel safe, as [`send`](Self::send) is.
    ///
    /// # Errors
    /// If the last attempt brought no whole response, or the call was refused before its first.
    pub async fn send_raw(mut self) -> Result<Response, Error> {
        self.overrides.any_status = true;
        self.whole(Response::of_any_status).await
    }

    /// The same, up to the head of the response: its body is still to come, and need not fit in memory.
    ///
    /// The body of a response that means no success is read as ever, and is in the error.
    ///
    /// Cancel safe, as [`send`](Self::send) is.
    ///
    /// # Errors
    /// As [`send`](Self::send), but for those of a body that breaks: see [`StreamingResponse`].
    pub async fn send_streaming(self) -> Result<StreamingResponse<T, C, O>, Error> {
        self.streaming(Extent::Head).await
    }

    /// The same, and whatever the status of the last response, it is no error, as with [`send_raw`](Self::send_raw).
    ///
    /// What means success is streamed. The body of any other response is read whole before, while the policies decide whether it
    /// is the last, and comes in one part: it is an explanation, and no longer than [`max_body`](crate::ApiClientBuilder::max_body).
    ///
    /// Cancel safe, as [`send`](Self::send) is.
    ///
    /// # Errors
    /// If the last attempt brought no response, or none that is whole and no success, or the call was refused before its first.
    pub async fn send_raw_streaming(mut self) -> Result<StreamingResponse<T, C, O>, Error> {
        self.overrides.any_status = true;
        self.streaming(Extent::Head).await
    }

    /// Server-sent events: as they come, and as long as they do. See [`EventStream`].
    pub fn events(self) -> EventStream<'a, T, C, O> {
        EventStream::new(self)
    }

    /// The pages of a long list, of which each links to the next by a `Link` field (RFC 8288) with `rel="next"`. See [`Pages`].
    #[allow(clippy::type_complexity)] // A closure's type has no other name.
    pub fn pages(
        self,
    ) -> Pages<'a, T, C, O, impl FnMut(&Response, &Url, RequestBuilder<'a, T, C, O>) -> Found<'a, T, C, O>> {
        Pages::new(self, pages::by_link)
    }

    /// The pages of a long list, where `find` makes the request for the next page: of what it finds in a page, and a copy of the
    /// request for the first. It returns `None` for the last page. See [`Pages`].
    #[allow(clippy::type_complexity)] // A closure's type has no other name.
    pub fn pages_by(
        self,
        mut find: impl FnMut(&Response, RequestBuilder<'a, T, C, O>) -> Result<Option<RequestBuilder<'a, T, C, O>>, Error>,
    ) -> Pages<'a, T, C, O, impl FnMut(&Response, &Url, RequestBuilder<'a, T, C, O>) -> Found<'a, T, C, O>> {
        Pages::new(self, move |page: &Response, _: &Url, first: RequestBuilder<'a, T, C, O>| find(page, first))
    }

    /// The same without a deadline for the body.
    pub(crate) async fn send_endless(self) -> Result<StreamingResponse<T, C, O>, Error> {
        self.streaming(Extent::HeadOfEndless).await
    }

    async fn whole(
        self,
        read: impl FnOnce(Answer, Named, u32, Duration) -> Result<Response, Error>,
    ) -> Result<Response, Error> {
        let cost = self.overrides.cost.clone();
        let Called { tried, spent, target, elapsed, redirects, url, .. } = self.call(Extent::Whole).await?;
        let cache = tried.cache;
        let response =
            Response { redirects, url: Some(url), cache, ..read(tried.answer, target, tried.number, elapsed)? };
        if let (Some(cost), Some(spent)) = (cost, spent) {
            cost.settle(&response, spent);
        }
        Ok(response)
    }

    async fn streaming(self, extent: Extent) -> Result<StreamingResponse<T, C, O>, Error> {
        let (client, any_status) = (self.client.clone(), self.overrides.any_status);
        let Called { tried, spent, target, started, elapsed, patience, flight, redirects, .. } =
            self.call(extent).await?;
        let Tried { number, answer, body, .. } = tried;
        let mut response = match (answer, body) {
            (Answer::Whole { head, .. }, Some(body)) => {
                let body = Guarded::new(Box::into_pin(body), patience);
                let mut response =
                    StreamingResponse::new(client, Some((body, flight)), head, target, number, started, elapsed);
                response.spent = spent;
                response
            }
            // Read whole: it means no success, or is a redirect, which the policies find nothing wrong with.
            (answer, _) => {
                let of = if any_status { Response::of_any_status } else { Response::of };
                let Response { head, body, target, attempts, elapsed, .. } = of(answer, target, number, elapsed)?;
                let mut response = StreamingResponse::new(client, None, head, target, attempts, started, elapsed);
                response.read = body;
                response
            }
        };
        response.redirects = redirects;
        Ok(response)
    }

    async fn call(self, extent: Extent) -> Result<Called<T::Body, C, O>, Error> {
        let Self { client, method, target, headers, payload, overrides } = self;
        let journey = Journey::new(method, target?);
        let keyed = keyed(client, &journey, &overrides)?;
        Call::new(client, journey, headers, payload, overrides, extent, keyed).make().await
    }
}

/// The pipeline of a call that names a key.
pub(crate) fn keyed<T, C: Timer, O: Observer>(
    client: &ApiClient<T, C, O>,
    journey: &Journey,
    overrides: &Overrides,
) -> Result<Option<OnePipeline<C, O>>, Error> {
    let Some(LimitKey(key)) = &overrides.limit_key else { return Ok(None) };
    let Some(keyed) = client.pipeline_of_key(key) else {
        let reason = "though the client has no limits per key".to_owned();
        return Err(Error::InvalidRequest { field: "limit_key", value: "set".to_owned(), reason });
    };
    keyed.map(Some).map_err(|refusal| {
        let (method, url) = journey.began();
        let target = Named { shown: format!("{method} {}", show(url)), id: None };
        let options = overrides.options(Idempotency::NotIdempotent);
        let deadline = client.pipeline_of(url).shared.deadline_of(client.timer().now(), &options);
        let retry_at = match refusal {
            Refusal::NotYet { retry_at } | Refusal::TableFull { retry_at } => retry_at,
            _ => Instant::MAX,
        };
        let rejected = Rejected::RateLimited { retry_at, deadline };
        let (elapsed, history) = (Duration::ZERO, History::default());
        Error::of_call::<T>(target, CallError { rejected, last: LastAttempt::NotMade, attempts: 0, elapsed, history })
    })
}

/// Shows no header value, no query and no body: secrets may be in each.
impl<T, C, O> fmt::Debug for RequestBuilder<'_, T, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("RequestBuilder")
            .field("method", &self.method)
            .field("target", &self.target.as_ref().map(show))
            .field("headers", &names)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

/// A header field, if it can be one.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let invalid = |value: &str, reason: &dyn fmt::Display| Error::InvalidRequest {
        field: "header",
        value: value.to_owned(),
        reason: reason.to_string(),
    };
    let field = HeaderName::try_from(name).map_err(|error| invalid(name, &error))?;
    // The name is shown and the value is not: it may be a key.
    let value = HeaderValue::try_from(value).map_err(|error| invalid(name, &error))?;
    Ok((field, value))
}
