use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use steadfast_core::run::History;
use url::Url;

use crate::answer::{Answer, Head, is_success};
use crate::cache::CacheStatus;
use crate::error::{Error, Failure, Named, What, request_id};
use crate::json_error;

/// A response with its whole body: one that means success, or any from [`send_raw`](crate::RequestBuilder::send_raw).
pub struct Response {
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    pub(crate) target: Named,
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
    pub(crate) redirects: u32,
    /// Where it came from, if that is known.
    pub(crate) url: Option<Url>,
    pub(crate) cache: CacheStatus,
}

impl Response {
    /// A response with a status that means success, or else the error that its status means.
    pub(crate) fn of(answer: Answer, target: Named, attempts: u32, elapsed: Duration) -> Result<Self, Error> {
        Self::of_status(answer, target, attempts, elapsed, is_success)
    }

    /// A response with whatever status.
    pub(crate) fn of_any_status(
        answer: Answer,
        target: Named,
        attempts: u32,
        elapsed: Duration,
    ) -> Result<Self, Error> {
        Self::of_status(answer, target, attempts, elapsed, |_| true)
    }

    fn of_status(
        answer: Answer,
        target: Named,
        attempts: u32,
        elapsed: Duration,
        is_wanted: impl Fn(StatusCode) -> bool,
    ) -> Result<Self, Error> {
        let (what, head, body) = answer.into_parts();
        match (what, head) {
            (What::Answered(status), Some(head)) if is_wanted(status) => Ok(Self {
                head,
                body,
                target,
                attempts,
                elapsed,
                redirects: 0,
                url: None,
                cache: CacheStatus::Bypassed,
            }),
            (what, head) => {
                let failure =
                    Failure { target, attempts, elapsed, history: History::default(), rejected: None, head, body };
                Err(Error::of_attempt(what, Box::new(failure)))
            }
        }
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The body as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::Decode`], if it is not JSON or not of this type; the error says where, and has the body's beginning.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut json = serde_json::Deserializer::from_slice(&self.body);
        let decoded = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| (json_error::path_of(&error), error.into_inner()));
        let decoded = decoded.and_then(|value| json.end().map(|()| value).map_err(|error| (".".to_owned(), error)));
        decoded.map_err(|(path, source)| Error::Decode { path, source: source.into(), failure: self.failure() })
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`Error::NotText`], if it is not UTF-8.
    pub fn text(self) -> Result<String, Error> {
        match String::from_utf8(self.body.to_vec()) {
            Ok(text) => Ok(text),
            Err(error) => Err(Error::NotText { source: error.utf8_error(), failure: self.failure() }),
        }
    }

    /// How many attempts it took; none, if it was in the [cache](Self::cache_status).
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long it took, with all waits and retries.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many redirects were followed on the way.
    pub fn redirects(&self) -> u32 {
        self.redirects
    }

    /// Whether it comes from the server, or from the client's [`Cache`](crate::Cache) and how.
    pub fn cache_status(&self) -> CacheStatus {
        self.cache
    }

    /// The server's own name for the request, from the usual header fields; else that which the client gave it, if it
    /// [does](crate::ApiClientBuilder::request_ids).
    pub fn request_id(&self) -> Option<&str> {
        request_id(Some(&self.head.headers), &self.target)
    }

    /// The call, for an error about its response.
    pub(crate) fn failure(&self) -> Box<Failure> {
        Box::new(Failure {
            history: History::default(),
            target: self.target.clone(),
            attempts: self.attempts,
            elapsed: self.elapsed,
            rejected: None,
            head: Some(self.head.clone()),
            body: self.body.clone(),
        })
    }
}

/// Shows no header value and no body: secrets may be in either.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("target", &self.target)
            .field("status", &self.head.status)
            .field("attempts", &self.attempts)
            .field("elapsed", &self.elapsed)
            .field("body_len", &self.body.len())
            .field("cache_status", &self.cache)
            .finish_non_exhaustive()
    }
}
