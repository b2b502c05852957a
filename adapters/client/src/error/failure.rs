use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use steadfast_core::rejected::Rejected;
use steadfast_core::run::History;

use crate::answer::Head;

/// How much of a failed response's body an error keeps.
const KEPT_BODY: usize = 4096;

/// The fields in which servers put the name of a request, for their support to find it by.
const REQUEST_ID: [&str; 3] = ["x-request-id", "request-id", "x-amzn-requestid"];

/// The call that failed: what was asked, how often, for how long, what the server said, and why there is no more.
pub struct Failure {
    pub(crate) target: Named,
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
    pub(crate) history: History,
    pub(crate) rejected: Option<Rejected>,
    pub(crate) head: Option<Head>,
    pub(crate) body: Bytes,
}

impl Failure {
    /// How many attempts were started.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the call took, with all waits and retries.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What became of each attempt that failed.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Why no further attempt was made; `None` if the last one brought a response that could not be used.
    pub fn rejected(&self) -> Option<Rejected> {
        self.rejected
    }

    /// The status of the last response, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.head.as_ref().map(|head| head.status)
    }

    /// The header fields of the last response, if there was one.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.head.as_ref().map(|head| &head.headers)
    }

    /// The beginning of the last response's body: 4 KiB at most, empty if there was none or it broke off.
    pub fn body(&self) -> &[u8] {
        self.body.get(..KEPT_BODY).unwrap_or(&self.body)
    }

    /// The server's own name for the request, from the usual header fields; else that which the client gave it, if it
    /// [does](crate::ApiClientBuilder::request_ids).
    pub fn request_id(&self) -> Option<&str> {
        request_id(self.headers(), &self.target)
    }

    /// How long the server asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.head.as_ref().and_then(|head| head.retry_after)
    }
}

/// A call as it is told of.
#[derive(Clone)]
pub(crate) struct Named {
    /// What was asked of whom.
    pub(crate) shown: String,
    /// The name that the client gave it.
    pub(crate) id: Option<HeaderValue>,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

/// The name of a call by which a server's support finds it.
pub(crate) fn request_id<'a>(headers: Option<&'a HeaderMap>, named: &'a Named) -> Option<&'a str> {
    let servers = headers.and_then(|headers| REQUEST_ID.iter().find_map(|name| headers.get(*name)?.to_str().ok()));
    servers.or_else(|| named.id.as_ref()?.to_str().ok())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, attempts, elapsed, rejected, head, .. } = self;
        f.write_str(&target.shown)?;
        if let Some(head) = head {
            write!(f, ": {}", head.status)?;
        }
        let times = if *attempts == 1 { "attempt" } else { "attempts" };
        write!(f, " after {attempts} {times} in {elapsed:.1?}")?;
        if let Some(rejected) = rejected {
            write!(f, " ({rejected})")?;
        }
        Ok(())
    }
}

/// Shows no header value and no body: secrets may be in either.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("target", &self.target)
            .field("status", &self.status())
            .field("attempts", &self.attempts)
            .field("elapsed", &self.elapsed)
            .field("rejected", &self.rejected)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}
