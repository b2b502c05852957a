use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_io::AsyncRead;
use http_body::{Body, Frame, SizeHint};

use crate::catch;

/// How much is read at once.
const PIECE: usize = 8 * 1024;

/// A response's body, as it arrives. Dropped before its end, it closes its connection.
#[derive(Debug)]
pub struct SurfBody(State);

#[derive(Debug)]
enum State {
    /// There is no more.
    Ended,
    /// More may come.
    Reading { body: surf::Body, left: Left },
    /// Nobody knows what it was.
    Unreadable,
}

/// What is still to come.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// This much, by the length that the response gave.
    Exactly(usize),
    /// Something: nothing tells an empty body from one whose head was cut short.
    Something,
    /// Anything.
    Anything,
}

impl SurfBody {
    pub(crate) fn empty() -> Self {
        Self(State::Ended)
    }

    /// A body that ends with its connection, which async-h1 passes off as an empty one.
    pub(crate) fn unreadable() -> Self {
        Self(State::Unreadable)
    }

    /// A body that is not empty if it `is_some` and has no length.
    pub(crate) fn new(body: surf::Body, is_some: bool) -> Self {
        let left = match body.len() {
            Some(0) => return Self::empty(),
            Some(length) => Left::Exactly(length),
            None if is_some => Left::Something,
            None => Left::Anything,
        };
        Self(State::Reading { body, left })
    }
}

impl Body for SurfBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut piece = [0; PIECE];
        let result = match &mut self.0 {
            State::Ended => return Poll::Ready(None),
            State::Unreadable => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the body has no length, and surf's h1 client does not read such a one",
            )),
            State::Reading { body, left } => {
                let read = match catch(|| Pin::new(body).poll_read(cx, &mut piece)) {
                    Ok(read) => ready!(read),
                    Err(panic) => Err(panic),
                };
                match (read, *left) {
                    (Ok(0), Left::Exactly(1..) | Left::Something) => Err(io::ErrorKind::UnexpectedEof.into()),
                    (Ok(length), Left::Exactly(of)) => {
                        *left = Left::Exactly(of.saturating_sub(length));
                        Ok((length, of <= length))
                    }
                    (Ok(length), Left::Something | Left::Anything) => {
                        *left = Left::Anything;
                        Ok((length, length == 0))
                    }
                    (Err(error), _) => Err(error),
                }
            }
        };
        if !matches!(result, Ok((_, false))) {
            // Gives the connection back, or closes it.
            self.0 = State::Ended;
        }
        let frame = |piece: &[u8]| (!piece.is_empty()).then(|| Frame::data(Bytes::copy_from_slice(piece)));
        Poll::Ready(result.map(|(length, _)| frame(piece.get(..length).unwrap_or_default())).transpose())
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Ended => SizeHint::with_exact(0),
            State::Reading { left: Left::Exactly(left), .. } => {
                SizeHint::with_exact(u64::try_from(*left).unwrap_or(u64::MAX))
            }
            State::Reading { left: Left::Something | Left::Anything, .. } | State::Unreadable => SizeHint::default(),
        }
    }
}
