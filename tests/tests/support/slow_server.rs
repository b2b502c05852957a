//! A server that takes its time, and counts how many requests it has at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Answers every request 200, after so long.
pub(crate) struct SlowServer {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    ends: AtomicBool,
}

impl SlowServer {
    pub(crate) fn start(takes: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let counts = Arc::new(Counts::default());
        let server = Self { address, counts: Arc::clone(&counts) };
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if counts.ends.load(Ordering::Acquire) {
                    return;
                }
                let counts = Arc::clone(&counts);
                thread::spawn(move || {
                    // Whatever breaks is the client's, and ends the connection.
                    let _ = serve(stream, takes, &counts);
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::Acquire)
    }

    /// How many it had at once, at most.
    pub(crate) fn most(&self) -> usize {
        self.counts.most.load(Ordering::Acquire)
    }
}

impl Drop for SlowServer {
    fn drop(&mut self) {
        self.counts.ends.store(true, Ordering::Release);
        // It waits for somebody to come.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, takes: Duration, counts: &Counts) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        counts.requests.fetch_add(1, Ordering::AcqRel);
        let now = counts.now.fetch_add(1, Ordering::AcqRel) + 1;
        counts.most.fetch_max(now, Ordering::AcqRel);
        thread::sleep(takes);
        // Before the answer: whoever has it may send the next.
        counts.now.fetch_sub(1, Ordering::AcqRel);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")?;
    }
}
