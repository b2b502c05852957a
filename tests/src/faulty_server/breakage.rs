//! Faults that end the connection, done by hand on its socket.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What the service returns in place of an answer: hyper then lets go of the socket without writing to it.
#[derive(Debug)]
pub(super) enum Breakage {
    Reset,
    CutShort(Bytes),
    Stall,
}

impl Breakage {
    /// The breakage that made a connection end with `error`, if it was one.
    pub(super) fn behind(error: &hyper::Error) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    pub(super) async fn carry_out(&self, mut stream: TcpStream, longest_stall: Duration) -> io::Result<()> {
        match self {
            // Closing then sends a RST: there is no time left to say goodbye in.
            Self::Reset => stream.set_zero_linger(),
            Self::CutShort(body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(&[head.as_bytes(), &body[..length / 2]].concat()).await?;
                stream.shutdown().await
            }
            Self::Stall => {
                let mut ignored = tokio::io::sink();
                let until_the_client_leaves = tokio::io::copy(&mut stream, &mut ignored);
                tokio::time::timeout(longest_stall, until_the_client_leaves).await?.map(drop)
            }
        }
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server breaks this connection: {self:?}")
    }
}

impl Error for Breakage {}
