use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_net::TcpStream;
use futures_io::{AsyncRead, AsyncWrite};
use http_client::{Error, HttpClient, Request, Response, async_trait};

/// async-h1 takes heads of less than 8 KiB, but looks only at the ends of their lines.
const LONGEST_HEAD: usize = 8 * 1024;

/// A connection for each request.
#[derive(Debug)]
pub(crate) struct Plain;

#[async_trait]
impl HttpClient for Plain {
    async fn send(&self, mut request: Request) -> Result<Response, Error> {
        let host = request.url().host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = request.url().port_or_known_default().unwrap_or(80);
        let connected =
            async { TcpStream::connect((host, port)).await.and_then(|it| it.set_nodelay(true).map(|()| it)) };
        // Whatever the reason: nothing was sent, and no stream that was connected fails like this.
        let refused = |error| io::Error::new(io::ErrorKind::ConnectionRefused, error);
        let stream = connected.await.map_err(refused)?;
        request.insert_header("connection", "close");
        async_h1::connect(Bounded { stream, head: Some(0), line: 0 }, request).await
    }
}

/// A stream that fails when the head of the response is too long.
struct Bounded {
    stream: TcpStream,
    /// How much of it there was, and `None` at its end, which is an empty line.
    head: Option<usize>,
    /// How long its last line is by now.
    line: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let length = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        for byte in buffer.iter().take(length) {
            let Some(head) = &mut self.head else { break };
            *head += 1;
            if *head > LONGEST_HEAD {
                return Poll::Ready(Err(io::Error::other("the head of the response is too long")));
            }
            match byte {
                b'\n' if self.line == 0 => self.head = None,
                b'\n' => self.line = 0,
                b'\r' => {}
                _ => self.line += 1,
            }
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
