//! A server that remembers every request, and answers as many as it is told to.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_tests::loopback::Loopback;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Far longer than anything here takes, so that a hang fails instead of hanging the run.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) method: String,
    /// The number of the line, which is the last segment of the path.
    pub(super) line: u64,
    pub(super) key: Option<String>,
}

#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    thread: Loopback,
}

#[derive(Debug)]
struct Shared {
    received: Mutex<Vec<Received>>,
    another: Condvar,
    /// Answers that may be given on connections from now on. Requests beyond wait for more.
    answers: Mutex<Arc<Semaphore>>,
}

impl Server {
    /// Starts a server that answers nothing until it [may](Self::answer).
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            another: Condvar::new(),
            answers: Mutex::new(Arc::new(Semaphore::new(0))),
        });
        let thread = Loopback::serve("counting-server", {
            let shared = Arc::clone(&shared);
            async move |listener: TcpListener| {
                while let Ok((stream, _)) = listener.accept().await {
                    // It ends when the client has gone, which is what is asked for.
                    tokio::spawn(serve(stream, Arc::clone(&shared)));
                }
            }
        });
        Self { shared, thread: thread.expect("a free port") }
    }

    pub(super) fn url(&self) -> String {
        self.thread.url()
    }

    /// Lets it answer so many requests more.
    pub(super) fn answer(&self, requests: usize) {
        self.shared.answers().add_permits(requests);
    }

    /// Answers nothing on connections that come from now on. What those of a client that was killed wait for, they take from
    /// nobody.
    pub(super) fn begin_anew(&self) {
        *self.shared.answers() = Arc::new(Semaphore::new(0));
    }

    /// Everything that came so far.
    pub(super) fn received(&self) -> Vec<Received> {
        self.shared.received().clone()
    }

    /// Waits until so many requests have come.
    pub(super) fn wait_for(&self, requests: usize) {
        let received = self.shared.received();
        let waited = self.shared.another.wait_timeout_while(received, PATIENCE, |received| received.len() < requests);
        let (received, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "{} requests came, and not {requests}", received.len());
    }
}

impl Shared {
    fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> MutexGuard<'_, Arc<Semaphore>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let answers = Arc::clone(&shared.answers());
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let line = request.line;
        shared.received().push(request);
        shared.another.notify_all();
        let Ok(permit) = answers.acquire().await else { break };
        permit.forget();
        // Some take longer than others, so that they do not end in order.
        tokio::time::sleep(Duration::from_millis(line * 7 % 5)).await;
        let body = format!(r#"{{"line":{line}}}"#);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all((head + &body).as_bytes()).await?;
    }
    Ok(())
}

/// The next request, or `None` if there is none.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Received>> {
    let mut first = String::new();
    if stream.read_line(&mut first).await? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let line = words.next().and_then(|path| path.rsplit('/').next()?.parse().ok()).unwrap_or_default();
    let (mut key, mut length) = (None, 0);
    loop {
        let mut field = String::new();
        stream.read_line(&mut field).await?;
        match field.trim_end().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("idempotency-key") => key = Some(value.to_owned()),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
        }
    }
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(Some(Received { method, line, key }))
}
