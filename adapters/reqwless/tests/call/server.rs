//! A server on loopback that plays a script on each connection, byte by byte, and remembers what it read.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server does next on a connection. After its last step, it closes it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads one request with its body.
    Read,
    /// Writes these bytes.
    Write(String),
    /// Does nothing for so long. What was written is on its way meanwhile.
    Pause(Duration),
    /// Waits until the client has closed the connection.
    Stall,
}

/// Accepts as many connections as it has scripts, and then no more.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    thread: thread::JoinHandle<io::Result<()>>,
}

impl Server {
    /// Each connection plays one of these scripts, in their order.
    pub(crate) fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let thread = thread::spawn({
            let requests = Arc::clone(&requests);
            move || {
                for script in scripts {
                    play(BufReader::new(listener.accept()?.0), &script, &requests)?;
                }
                Ok(())
            }
        });
        Self { address, requests, thread }
    }

    /// To each request, on a connection of its own, one of these answers; then it waits until the client is gone.
    pub(crate) fn answering(answers: &[&str]) -> Self {
        let script = |answer: &&str| vec![Step::Read, Step::Write((*answer).to_owned()), Step::Stall];
        Self::start(answers.iter().map(script).collect())
    }

    /// The same, and it closes each connection after its answer.
    pub(crate) fn answering_and_closing(answers: &[&str]) -> Self {
        let script = |answer: &&str| vec![Step::Read, Step::Write((*answer).to_owned())];
        Self::start(answers.iter().map(script).collect())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests, once all scripts have been played: as many connections were made, and all are closed.
    pub(crate) fn requests(self) -> Vec<String> {
        self.thread.join().expect("the server does not panic").expect("the client holds on until it is answered");
        let mut requests = self.requests.lock().expect("the server has ended");
        std::mem::take(&mut *requests)
    }
}

/// The URL of a port on which nobody listens any more.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    format!("http://{}/", listener.local_addr().expect("it is bound"))
}

fn play(mut stream: BufReader<TcpStream>, script: &[Step], requests: &Mutex<Vec<String>>) -> io::Result<()> {
    for step in script {
        match step {
            Step::Read => {
                let request = read(&mut stream)?;
                requests.lock().expect("nothing panics under it").push(request);
            }
            // A client that has closed already wants nothing more.
            Step::Write(text) => drop(stream.get_mut().write_all(text.as_bytes())),
            Step::Pause(duration) => thread::sleep(*duration),
            // An end or a reset: either way it is gone.
            Step::Stall => drop(stream.read(&mut [0])),
        }
    }
    Ok(())
}

/// One request: its head, an empty line, its body.
fn read(stream: &mut impl BufRead) -> io::Result<String> {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if stream.read_line(&mut request)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let fields = request.lines().filter_map(|line| line.split_once(": "));
    let length = fields.filter(|field| field.0.eq_ignore_ascii_case("content-length")).map(|field| field.1).next();
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    stream.read_exact(&mut body)?;
    Ok(request + &String::from_utf8(body).expect("the tests send text"))
}
