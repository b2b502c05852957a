//! A TCP server on loopback that plays a script, byte by byte, whatever HTTP has to say of it.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use steadfast_tests::scripted_server::{ScriptedServer, Step};
//!
//! let server = ScriptedServer::start(vec![vec![Step::Read, Step::write("HTTP/1.1 200 OK\r\n")]])?;
//! let mut connection = TcpStream::connect(server.address())?;
//! connection.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
//! let mut answer = String::new();
//! connection.read_to_string(&mut answer)?;
//! assert_eq!(answer, "HTTP/1.1 200 OK\r\n");
//! assert_eq!(server.requests()[0].line(), "GET / HTTP/1.1");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Each connection plays one script; those beyond the last one play the last one. After its script, the server closes
//! the connection. It counts the connections that it accepted and those that are still open: the only witness that a
//! client which went away has closed its socket.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::loopback::Loopback;

/// Far longer than anything here takes, so that a hang fails instead of hanging the run.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a connection may take: longer than anybody waits for its end, so that this is not taken for the client's
/// doing, and not for ever, so that a client that waits for what does not come is told.
const LONGEST: Duration = Duration::from_secs(60);

/// What the server does next on a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Reads one request with its body, and remembers it.
    Read,
    /// Reads a request's head and leaves the body where it is.
    ReadHead,
    /// Writes these bytes.
    Write(Cow<'static, [u8]>),
    /// Does nothing for so long. What was written before is on its way meanwhile, by itself.
    Pause(Duration),
    /// Is silent until the client has closed the connection. What still comes is read and forgotten: behind bytes that
    /// nobody reads, TCP does not deliver that the client has closed.
    Drain,
    /// Ends the connection with a RST.
    Reset,
}

impl Step {
    /// Writes these bytes.
    pub fn write(bytes: impl Into<Cow<'static, str>>) -> Self {
        Self::Write(match bytes.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Everything before the body, without the empty line.
    pub head: String,
    /// The body, without the frames of a chunked one.
    pub body: Vec<u8>,
}

impl Received {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The values of all fields with this name in lower case, in the order in which they came.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct ScriptedServer {
    seen: Arc<Seen>,
    thread: Loopback,
}

#[derive(Debug, Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    written: AtomicUsize,
    requests: Mutex<Vec<Received>>,
}

impl ScriptedServer {
    /// Starts a server on a free port of 127.0.0.1 that plays these scripts, and returns when it accepts connections.
    pub fn start(scripts: Vec<Vec<Step>>) -> io::Result<Self> {
        let seen = Arc::new(Seen::default());
        let thread = Loopback::serve("scripted-server", {
            let seen = Arc::clone(&seen);
            move |listener| accept(listener, scripts, seen)
        })?;
        Ok(Self { seen, thread })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.thread.address()
    }

    /// `http://` and the address, without a slash at the end.
    pub fn url(&self) -> String {
        self.thread.url()
    }

    /// How many connections were accepted.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// How many bytes were written, on all connections.
    pub fn written(&self) -> usize {
        self.seen.written.load(Ordering::SeqCst)
    }

    /// What was read, in the order in which it was whole.
    pub fn requests(&self) -> Vec<Received> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server comes to have `open` connections within a time that means never.
    pub fn comes_to(&self, open: usize) -> bool {
        let start = Instant::now();
        while self.open() != open {
            if start.elapsed() > PATIENCE {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

/// Plays to one connection after the other, until none can be accepted.
async fn accept(listener: TcpListener, scripts: Vec<Vec<Step>>, seen: Arc<Seen>) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = seen.accepted.fetch_add(1, Ordering::SeqCst);
        seen.open.fetch_add(1, Ordering::SeqCst);
        let script = scripts.get(number).or(scripts.last()).cloned().unwrap_or_default();
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            // That it fails when the client has left already is fine: it wanted nothing more.
            let _ = tokio::time::timeout(LONGEST, play(stream, script, &seen)).await;
            seen.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Plays a script to its end; the connection is closed when this returns.
async fn play(stream: TcpStream, script: Vec<Step>, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    for step in script {
        match step {
            Step::Read | Step::ReadHead => {
                let head = read_head(&mut stream).await?;
                let mut request = Received { head, body: Vec::new() };
                if matches!(step, Step::Read) {
                    request.body = read_body(&mut stream, &request).await?;
                }
                seen.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            }
            Step::Write(bytes) => {
                for piece in bytes.chunks(64 * 1024) {
                    stream.write_all(piece).await?;
                    seen.written.fetch_add(piece.len(), Ordering::SeqCst);
                }
            }
            Step::Pause(duration) => tokio::time::sleep(duration).await,
            Step::Drain => tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)?,
            Step::Reset => {
                // Closing then sends a RST: there is no time left to say goodbye in.
                stream.get_ref().set_zero_linger()?;
                return Ok(());
            }
        }
    }
    stream.shutdown().await
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut lines = Vec::new();
    loop {
        match read_line(stream).await? {
            line if line.is_empty() => return Ok(lines.join("\n")),
            line => lines.push(line),
        }
    }
}

async fn read_body(stream: &mut BufReader<TcpStream>, request: &Received) -> io::Result<Vec<u8>> {
    let length = |text: &str, radix| usize::from_str_radix(text, radix).map_err(io::Error::other);
    let mut body = Vec::new();
    if request.values("transfer-encoding").contains(&"chunked") {
        loop {
            let size = length(&read_line(stream).await?, 16)?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..]).await?;
            read_line(stream).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    if let Some(size) = request.values("content-length").first() {
        body.resize(length(size, 10)?, 0);
        stream.read_exact(&mut body).await?;
    }
    Ok(body)
}
