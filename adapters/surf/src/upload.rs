use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_io::{AsyncBufRead, AsyncRead};
use http_body::Body;
use steadfast_client::RequestBody;

/// A request's body, as surf reads it: its next part is asked for when the one before has been read.
#[derive(Debug)]
pub(crate) struct Upload {
    body: RequestBody,
    part: Bytes,
}

impl Upload {
    pub(crate) fn new(body: RequestBody) -> Self {
        Self { body, part: Bytes::new() }
    }
}

impl AsyncBufRead for Upload {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        // An empty part is not the end, which is what surf would take it for.
        while this.part.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => this.part = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => break,
            }
        }
        Poll::Ready(Ok(&this.part))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        let amount = amount.min(self.part.len());
        self.part.advance(amount);
    }
}

impl AsyncRead for Upload {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let part = ready!(self.as_mut().poll_fill_buf(cx))?;
        let length = part.len().min(buffer.len());
        let (Some(read), Some(into)) = (part.get(..length), buffer.get_mut(..length)) else {
            return Poll::Ready(Ok(0));
        };
        into.copy_from_slice(read);
        self.consume(length);
        Poll::Ready(Ok(length))
    }
}
