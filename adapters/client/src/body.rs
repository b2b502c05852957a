use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Full, StreamBody};

use crate::transport::BoxError;

mod payload;

pub(crate) use payload::{Payload, Sent};

/// What a request carries: bytes in memory, or a stream.
///
/// ```
/// use futures_util::stream;
/// use http_body::Body;
/// use steadfast_client::RequestBody;
///
/// let small = RequestBody::from("in memory");
/// assert_eq!(small.size_hint().exact(), Some(9));
///
/// let parts = ["as ", "it ", "comes"].map(|part| Ok::<_, std::io::Error>(part.into()));
/// let large = RequestBody::stream(stream::iter(parts));
/// assert_eq!(large.size_hint().exact(), None);
/// ```
///
/// A stream is asked for its next part when the one before has left, so it is in memory one part at a time. A transport
/// reads the length from [`size_hint`](Body::size_hint): where it is known, it goes into `Content-Length`, and where it is not,
/// the body is sent in chunks.
///
/// If a stream fails, the transport breaks off, so that the server cannot take a part of the body for the whole.
pub struct RequestBody(Kind);

enum Kind {
    Bytes(Full<Bytes>),
    // Transports ask for `Sync`, and a stream need not be: a lock that nobody else has makes it so.
    Stream(Mutex<Boxed>),
}

/// A body of which only the data counts.
type Boxed = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

impl RequestBody {
    /// A body that comes in parts, of which nobody knows how many there are.
    pub fn stream<E: Into<BoxError>>(stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self {
        Self::boxed(StreamBody::new(stream.map(|part| part.map(Frame::data).map_err(Into::into))))
    }

    /// Any other body. Its length is what its `size_hint` says exactly; trailers are not sent.
    pub fn wrap<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        use http_body_util::BodyExt;
        let length = body.size_hint().exact();
        let body = Self::boxed(body.map_err(Into::into));
        match length {
            Some(length) => body.with_length(length),
            None => body,
        }
    }

    /// The same body, which is so many bytes long.
    ///
    /// A stream that turns out longer or shorter fails, before the server can take what has left for the whole. Whether one of
    /// zero bytes is empty shows only at its end, so it is sent in chunks.
    #[must_use]
    pub fn with_length(self, bytes: u64) -> Self {
        Self::boxed(Measured { body: self, told: bytes, left: bytes, last: None, has_ended: false })
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.0, Kind::Bytes(_))
    }

    /// What of it nobody has read yet, if that is in memory.
    pub(crate) fn into_bytes(self) -> Option<Bytes> {
        use http_body_util::BodyExt;
        match self.0 {
            Kind::Bytes(bytes) => {
                let collected = bytes.collect().now_or_never()?;
                Some(collected.unwrap_or_else(|never| match never {}).to_bytes())
            }
            Kind::Stream(_) => None,
        }
    }

    fn boxed(body: impl Body<Data = Bytes, Error = BoxError> + Send + 'static) -> Self {
        Self(Kind::Stream(Mutex::new(Box::pin(body))))
    }
}

impl Default for RequestBody {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Bytes(Full::new(bytes)))
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<&'static str> for RequestBody {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<&'static [u8]> for RequestBody {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from(Bytes::from_static(bytes))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Bytes(bytes) => Pin::new(bytes).poll_frame(cx).map_err(|never| match never {}),
            Kind::Stream(stream) => stream.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Bytes(bytes) => bytes.is_end_stream(),
            Kind::Stream(stream) => lock(stream).is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Bytes(bytes) => bytes.size_hint(),
            Kind::Stream(stream) => lock(stream).size_hint(),
        }
    }
}

/// Shows how long it is, and nothing of it.
impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("length", &self.size_hint().exact()).finish_non_exhaustive()
    }
}

/// A body that has to be as long as was said.
///
/// The part that reaches the length is held back until the body has ended behind it: with all that was announced, the server would
/// take the request for whole, whatever is left of the body.
struct Measured {
    body: RequestBody,
    told: u64,
    left: u64,
    last: Option<Bytes>,
    has_ended: bool,
}

impl Body for Measured {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while !this.has_ended {
            let length = |data: &Bytes| u64::try_from(data.len()).unwrap_or(u64::MAX);
            match ready!(next_data(Pin::new(&mut this.body), cx)) {
                Some(Ok(data)) => {
                    let Some(left) = this.left.checked_sub(length(&data)) else {
                        this.has_ended = true;
                        let error = format!("it is longer than the {} bytes that were told", this.told);
                        return Poll::Ready(Some(Err(error.into())));
                    };
                    this.left = left;
                    if left > 0 {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    this.last = Some(data);
                }
                Some(Err(error)) => {
                    this.has_ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.has_ended = true;
                    if this.left > 0 {
                        let error = format!("it is shorter than the {} bytes that were told", this.told);
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
            }
        }
        Poll::Ready(this.last.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended && self.last.is_none() || self.told == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.told == 0 && !self.is_end_stream() {
            // Nobody reads a body that is said to be empty, so nobody would see that it is not.
            return SizeHint::new();
        }
        let held = self.last.as_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        SizeHint::with_exact(self.left.saturating_add(held))
    }
}

/// The next part of a body that is not empty. Trailers say nothing that is passed on.
fn next_data(mut body: Pin<&mut RequestBody>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
    loop {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                Ok(_) | Err(_) => {}
            },
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}

/// Locks, also after a stream of the user's has panicked under the lock: it is polled again only if the user's task goes on.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
