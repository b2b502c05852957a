use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use steadfast_core::limits::Told;
use steadfast_core::outcome::{Outcome, OutcomeKind, Processed};
use steadfast_core::time::Timer;
use steadfast_http::{classify, head};

use crate::auth::TokenError;
use crate::clock::WallClock;
use crate::error::What;
use crate::guard::{Broke, Guarded, Patience};
use crate::transport::{BoxError, TransportError};

/// What one attempt brought.
pub(crate) enum Answer {
    /// A response with its whole body.
    Whole { head: Head, body: Bytes },
    /// A response whose body broke off.
    Broken { head: Head, source: BoxError },
    /// A response of whose body nothing came for too long.
    Stalled { head: Head },
    /// A response whose body is longer than we are willing to keep.
    TooLong { head: Head },
    /// No response.
    Nothing(TransportError),
    /// A response that says that the token is no good (401), which a new one may mend.
    TokenRejected { head: Head, body: Bytes },
    /// No request, for want of a token.
    NoToken(TokenError),
    /// No request, for want of a signature.
    NotSigned(BoxError),
    /// No whole request: its body failed.
    BodyFailed(BoxError),
    /// No response in time, or no more of it than this.
    TimedOut { head: Option<Head> },
}

/// What precedes a response's body.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// How long the server asked to wait, counted from when this arrived.
    pub(crate) retry_after: Option<Duration>,
}

impl Head {
    pub(crate) fn of(parts: Parts, clock: WallClock) -> Self {
        let retry_after = head::retry_after(|| fields(&parts.headers), clock());
        Self { status: parts.status, headers: parts.headers, retry_after }
    }
}

impl Head {
    /// How an attempt ended of whose response no more came than this: what the status says, where it asks for another attempt, and
    /// else what kept the body from coming.
    fn outcome_without_body(&self, broke: Outcome) -> Outcome {
        let outcome = classify(self.status.as_u16(), self.retry_after);
        match outcome.kind() {
            OutcomeKind::Transient | OutcomeKind::Throttled => outcome,
            OutcomeKind::Success | OutcomeKind::Permanent => self.hinted(broke),
        }
    }

    /// With what the server asked to wait: that has come, whatever became of the body.
    fn hinted(&self, outcome: Outcome) -> Outcome {
        self.retry_after.map_or(outcome, |delay| outcome.with_retry_after(delay))
    }
}

/// Whether it is what was asked for: 304 is, by whoever asked whether anything has changed.
pub(crate) fn is_success(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::NOT_MODIFIED
}

impl Answer {
    /// Reads a response to its end, or to `max_body` bytes.
    pub(crate) async fn read<B, C>(
        response: Response<B>,
        timer: &C,
        max_body: usize,
        patience: Patience,
        clock: WallClock,
    ) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>>,
        C: Timer,
    {
        let (parts, body) = response.into_parts();
        let head = Head::of(parts, clock);
        // Said to be too long: not a byte of it is read.
        if body.size_hint().lower() > u64::try_from(max_body).unwrap_or(u64::MAX) {
            return Self::TooLong { head };
        }
        let body = pin!(body);
        let mut body = Guarded::new(body, patience);
        let mut whole = BytesMut::new();
        while let Some(data) = poll_fn(|cx| body.poll_next(timer, cx)).await {
            let data = match data {
                Ok(data) => data,
                Err(Broke::Connection(source)) => return Self::Broken { head, source },
                Err(Broke::Stalled) => return Self::Stalled { head },
                Err(Broke::DeadlineExceeded) => return Self::TimedOut { head: Some(head) },
            };
            if data.len() > max_body - whole.len() {
                return Self::TooLong { head };
            }
            whole.extend_from_slice(&data);
        }
        Self::Whole { head, body: whole.freeze() }
    }

    /// How the attempt ended, in the words that policies understand.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Whole { head, .. } => classify(head.status.as_u16(), head.retry_after),
            Self::Broken { head, .. } | Self::Stalled { head } => head.outcome_without_body(Outcome::transient()),
            Self::TimedOut { head: Some(head) } => head.outcome_without_body(Outcome::timed_out()),
            Self::TimedOut { head: None } => Outcome::timed_out(),
            Self::TooLong { head } => head.hinted(Outcome::permanent()),
            Self::Nothing(error) => match error.processed() {
                Processed::No => Outcome::transient().not_processed(),
                Processed::Maybe => Outcome::transient(),
            },
            // To the policies it is what a throttled attempt is: the server is well, has done nothing, and another attempt
            // may work.
            Self::TokenRejected { .. } => Outcome::throttled().not_processed(),
            Self::NoToken(error) if error.may_pass() => Outcome::transient().not_processed(),
            Self::NoToken(_) | Self::NotSigned(_) | Self::BodyFailed(_) => Outcome::permanent().not_processed(),
        }
    }

    /// What the server told of its limits.
    pub(crate) fn told(&self, clock: WallClock) -> Told {
        let Some(head) = self.head() else {
            return Told::NOTHING;
        };
        head::told(|| fields(&head.headers), head.retry_after, clock())
    }

    /// What kept a whole response from coming, as a name for labels.
    pub(crate) const fn error_type(&self) -> Option<&'static str> {
        match self {
            Self::Whole { .. } | Self::TokenRejected { .. } => None,
            Self::Broken { .. } => Some("broken_body"),
            Self::Stalled { .. } => Some("read_timeout"),
            Self::TooLong { .. } => Some("body_too_long"),
            Self::Nothing(error) => match error.processed() {
                Processed::No => Some("not_sent"),
                Processed::Maybe => Some("no_response"),
            },
            Self::NoToken(_) => Some("no_token"),
            Self::NotSigned(_) => Some("not_signed"),
            Self::BodyFailed(_) => Some("request_body"),
            Self::TimedOut { .. } => Some("timeout"),
        }
    }

    pub(crate) const fn head(&self) -> Option<&Head> {
        match self {
            Self::Whole { head, .. }
            | Self::Broken { head, .. }
            | Self::Stalled { head }
            | Self::TooLong { head }
            | Self::TokenRejected { head, .. } => Some(head),
            Self::TimedOut { head } => head.as_ref(),
            Self::Nothing(_) | Self::NoToken(_) | Self::NotSigned(_) | Self::BodyFailed(_) => None,
        }
    }

    /// The same answer, if it is a 401 that a new token may mend.
    pub(crate) fn token_rejected(self) -> Self {
        match self {
            Self::Whole { head, body } => Self::TokenRejected { head, body },
            other => other,
        }
    }

    pub(crate) const fn is_whole(&self) -> bool {
        matches!(self, Self::Whole { .. } | Self::TokenRejected { .. })
    }

    /// The status, if there is a whole response.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Whole { head, .. } => Some(head.status),
            _ => None,
        }
    }

    /// What it was, apart from the response's head and body.
    pub(crate) fn into_parts(self) -> (What, Option<Head>, Bytes) {
        match self {
            Self::Whole { head, body } | Self::TokenRejected { head, body } => {
                (What::Answered(head.status), Some(head), body)
            }
            Self::NoToken(error) => (What::NoToken(error), None, Bytes::new()),
            Self::NotSigned(error) => (What::NotSigned(error), None, Bytes::new()),
            Self::BodyFailed(error) => (What::BodyFailed(error), None, Bytes::new()),
            Self::TimedOut { head } => (What::TimedOut, head, Bytes::new()),
            Self::Broken { head, source } => (What::Broke(source), Some(head), Bytes::new()),
            Self::Stalled { head } => (What::Stalled, Some(head), Bytes::new()),
            Self::TooLong { head } => (What::TooLong, Some(head), Bytes::new()),
            Self::Nothing(error) => (What::Broke(error.into_source()), None, Bytes::new()),
        }
    }
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_it_says_whatever_becomes_of_the_body() {
        const HINT: Duration = Duration::from_secs(7);
        let (transient, throttled) = (Outcome::transient(), Outcome::throttled());
        for (status, want) in [
            (200, transient),
            (302, transient),
            (404, transient),
            (500, transient),
            (503, transient),
            (421, transient.not_processed()),
            (429, throttled.not_processed()),
        ] {
            for retry_after in [None, Some(HINT)] {
                let hinted = |outcome: Outcome| retry_after.map_or(outcome, |hint| outcome.with_retry_after(hint));
                let status = StatusCode::from_u16(status).expect("it is one");
                let head = || Head { status, headers: HeaderMap::new(), retry_after };
                let broken = Answer::Broken { head: head(), source: "reset".into() };
                for answer in [broken, Answer::Stalled { head: head() }] {
                    assert_eq!(answer.outcome(), hinted(want), "{status} {retry_after:?}");
                }
                let too_long = Answer::TooLong { head: head() };
                assert_eq!(too_long.outcome(), hinted(Outcome::permanent()), "{status} {retry_after:?}");
            }
        }
    }
}
