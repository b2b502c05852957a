use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::{Kind, RequestBody, lock, next_data};
use crate::transport::BoxError;

/// What a call sends, as often as it is sent.
///
/// | | may be sent again |
/// | --- | --- |
/// | bytes in memory | always |
/// | bodies that are made afresh | always |
/// | one stream | while all that was read of it is kept, which ends at a bound |
///
/// Invariants, each the name of a test:
/// - *every attempt carries the whole body*, or is not made.
/// - *what is kept has a bound*.
/// - *a body that fails is an error of its own*, and ends the call.
pub(crate) enum Payload {
    Bytes(Bytes),
    Made(Box<dyn FnMut() -> RequestBody + Send>),
    Once(RequestBody),
    Shared(Arc<Mutex<Source>>),
}

/// What one attempt sends: kept by whoever judges the attempt, while the transport has the body.
#[derive(Clone)]
pub(crate) enum Sent {
    Bytes,
    /// From a source that is this attempt's own.
    Made(Arc<Mutex<Source>>),
    /// From one that all attempts share.
    Shared(Arc<Mutex<Source>>),
}

impl From<RequestBody> for Payload {
    fn from(body: RequestBody) -> Self {
        match body.is_in_memory() {
            true => Self::Bytes(body.into_bytes().unwrap_or_default()),
            false => Self::Once(body),
        }
    }
}

impl Payload {
    /// The body of the next attempt; `None` if there is no more of it. A stream is kept up to `keep` bytes.
    pub(crate) fn attempt(&mut self, keep: usize) -> Option<(RequestBody, Sent)> {
        let shared = match self {
            Self::Bytes(bytes) => return Some((RequestBody::from(bytes.clone()), Sent::Bytes)),
            Self::Made(make) => {
                let body = make();
                if let Kind::Bytes(_) = &body.0 {
                    return Some((body, Sent::Bytes));
                }
                let source = Source::new(body, 0);
                return Some((Reading::of(&source), Sent::Made(source)));
            }
            Self::Once(body) => {
                let source = Source::new(std::mem::take(body), keep);
                *self = Self::Shared(Arc::clone(&source));
                source
            }
            Self::Shared(source) => Arc::clone(source),
        };
        let may_be_sent = !is_spent(&shared);
        may_be_sent.then(|| (Reading::of(&shared), Sent::Shared(shared)))
    }

    /// All of it, where that is in memory.
    pub(crate) fn in_memory(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Made(_) | Self::Once(_) | Self::Shared(_) => None,
        }
    }

    /// Whether it may come to be spent.
    pub(crate) fn is_one_stream(&self) -> bool {
        matches!(self, Self::Once(_) | Self::Shared(_))
    }
}

/// Shows how long it is, if that is known, and nothing of it.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Made(_) => f.write_str("made for each attempt"),
            Self::Once(_) | Self::Shared(_) => f.write_str("a stream"),
        }
    }
}

impl Sent {
    /// Whether it cannot be sent once more.
    pub(crate) fn is_spent(&self) -> bool {
        match self {
            Self::Bytes | Self::Made(_) => false,
            Self::Shared(source) => is_spent(source),
        }
    }

    /// Why the body could not be read to its end, if that is why. Told once.
    pub(crate) fn take_failure(&self) -> Option<BoxError> {
        match self {
            Self::Bytes => None,
            Self::Made(source) | Self::Shared(source) => lock(source).failure.take(),
        }
    }
}

/// A stream, and what was read of it as long as that is not too much to be sent again.
pub(crate) struct Source {
    rest: RequestBody,
    kept: BytesMut,
    keep: usize,
    /// More was read than is kept, or it has failed.
    is_spent: bool,
    has_ended: bool,
    failure: Option<BoxError>,
    /// Counts the attempts: only the last one reads.
    attempts: u64,
}

impl Source {
    fn new(body: RequestBody, keep: usize) -> Arc<Mutex<Self>> {
        let (kept, failure) = (BytesMut::new(), None);
        let source = Self { rest: body, kept, keep, is_spent: false, has_ended: false, failure, attempts: 0 };
        Arc::new(Mutex::new(source))
    }

    /// The next part that nobody has read yet.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match ready!(next_data(Pin::new(&mut self.rest), cx)) {
            Some(Ok(data)) => {
                if self.is_spent || data.len() > self.keep - self.kept.len() {
                    self.is_spent = true;
                    self.kept = BytesMut::new();
                } else {
                    self.kept.extend_from_slice(&data);
                }
                Poll::Ready(Some(Ok(data)))
            }
            Some(Err(error)) => {
                let told = error.to_string();
                (self.is_spent, self.has_ended, self.failure) = (true, true, Some(error));
                Poll::Ready(Some(Err(told.into())))
            }
            None => {
                self.has_ended = true;
                Poll::Ready(None)
            }
        }
    }
}

/// Whether a stream cannot be sent once more. One that has panicked under the lock may have lost a part, and go on behind it.
fn is_spent(source: &Mutex<Source>) -> bool {
    source.is_poisoned() || lock(source).is_spent
}

/// What an attempt reads: first what was kept of the attempts before, and then the rest.
struct Reading {
    source: Arc<Mutex<Source>>,
    attempt: u64,
    /// How much it has had of what is kept.
    at: usize,
}

impl Reading {
    fn of(source: &Arc<Mutex<Source>>) -> RequestBody {
        let attempt = {
            let mut source = lock(source);
            source.attempts += 1;
            source.attempts
        };
        RequestBody::boxed(Self { source: Arc::clone(source), attempt, at: 0 })
    }
}

impl Body for Reading {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.source.is_poisoned() {
            return Poll::Ready(Some(Err("the stream has panicked".into())));
        }
        let mut source = lock(&this.source);
        if source.attempts != this.attempt {
            // The transport still holds the body of an attempt that was given up. What it read now, the other would miss.
            return Poll::Ready(Some(Err("another attempt sends the body".into())));
        }
        let data = match source.kept.get(this.at..) {
            Some(kept) if !kept.is_empty() => Some(Ok(Bytes::copy_from_slice(kept))),
            _ => ready!(source.read(cx)),
        };
        if let Some(Ok(data)) = &data {
            this.at = this.at.saturating_add(data.len());
        }
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        let source = lock(&self.source);
        let has_had_all = self.at >= source.kept.len();
        source.attempts == self.attempt && has_had_all && (source.has_ended || source.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let source = lock(&self.source);
        let kept = u64::try_from(source.kept.len().saturating_sub(self.at)).unwrap_or(u64::MAX);
        let rest = source.rest.size_hint();
        let mut hint = SizeHint::new();
        // A lower bound never exceeds the upper one here: to both, the same is added.
        hint.set_lower(kept.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(kept.saturating_add(upper));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    fn two_parts() -> RequestBody {
        RequestBody::stream(stream::iter(["ab", "cd"].map(|part| Ok::<_, BoxError>(Bytes::from(part)))))
    }

    #[test]
    fn only_the_last_attempt_reads() {
        let mut payload = Payload::from(two_parts());
        let (mut given_up, _) = payload.attempt(8).expect("nothing has left");
        let (last, _) = payload.attempt(8).expect("nothing has left");
        assert!(given_up.frame().now_or_never().flatten().is_some_and(|frame| frame.is_err()));
        let whole = last.collect().now_or_never().and_then(Result::ok).expect("all is there");
        assert_eq!(whole.to_bytes(), "abcd");
    }

    #[test]
    fn what_reaches_the_length_is_held_back_until_the_end() {
        let mut body = two_parts().with_length(2);
        assert!(body.frame().now_or_never().flatten().is_some_and(|frame| frame.is_err()));
    }
}
