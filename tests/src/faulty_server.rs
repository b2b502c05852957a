//! An HTTP/1.1 server on loopback that fails as real ones do, and remembers what its clients did.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use steadfast_tests::faulty_server::{FaultyServer, Settings};
//!
//! let server = FaultyServer::start(Settings { seed: 7, ..Settings::default() })?;
//! let mut connection = TcpStream::connect(server.address())?;
//! connection.write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
//!
//! let mut answer = String::new();
//! connection.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"));
//! assert_eq!(server.report().client_errors, 1);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! It serves `GET /items/N` (JSON with the fields `id` and `name`, about two kilobytes) and `POST /items` (the JSON
//! that was posted); anything else is answered 404. Each request is put through these, in this order:
//!
//! 1. Is it one that can be answered? If not: 404, 400 or 413.
//! 2. The server's own rate limit. Above it: 429 with `Retry-After: 1`.
//! 3. A fault, drawn from the seed, the path and how many requests for the path were admitted before: a run repeats
//!    itself however its requests overlap.
//! 4. The answer.
//!
//! The server has a thread and a runtime of its own: see [`Loopback`].

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::loopback::Loopback;

mod breakage;
mod catalogue;
mod ledger;
mod settings;

use breakage::Breakage;
use catalogue::Found;
use ledger::{Answer, Ledger};
use settings::Fault;

pub use ledger::Report;
pub use settings::{Faults, Settings};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct FaultyServer {
    ledger: Arc<Mutex<Ledger>>,
    thread: Loopback,
}

impl FaultyServer {
    /// Starts a server on a free port of 127.0.0.1, and returns when it accepts connections.
    pub fn start(settings: Settings) -> io::Result<Self> {
        settings.check()?;
        let ledger = Arc::new(Mutex::new(Ledger::new(settings, Instant::now())));
        let thread = Loopback::serve("faulty-server", {
            let ledger = Arc::clone(&ledger);
            move |listener| accept(listener, ledger, settings.longest_stall)
        })?;
        Ok(Self { ledger, thread })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.thread.address()
    }

    /// `http://` and the address, without a slash at the end.
    pub fn url(&self) -> String {
        self.thread.url()
    }

    /// Goes over to other settings for the requests that come, but for `longest_stall`, which stays as it was. The rate limit
    /// begins with a full burst.
    ///
    /// # Errors
    /// As [`start`](Self::start), and then nothing has changed.
    pub fn change(&self, settings: Settings) -> io::Result<()> {
        settings.check()?;
        open(&self.ledger).change(settings, Instant::now());
        Ok(())
    }

    /// What the server saw and did so far.
    pub fn report(&self) -> Report {
        open(&self.ledger).report()
    }
}

async fn accept(listener: TcpListener, ledger: Arc<Mutex<Ledger>>, longest_stall: Duration) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&ledger), longest_stall));
            }
            // Out of file descriptors, most likely, and then the next accept fails as well: give the others time to end.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(stream: TcpStream, ledger: Arc<Mutex<Ledger>>, longest_stall: Duration) {
    open(&ledger).connection_opened();
    let service = service_fn(|request| answer(request, &ledger));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = (&mut connection).await;
    let stream = connection.into_parts().io.into_inner();
    if let Some(breakage) = ended.as_ref().err().and_then(Breakage::behind) {
        // That this fails when the client has left already is fine: it wanted nothing more.
        let _ = breakage.carry_out(stream, longest_stall).await;
    }
    open(&ledger).connection_closed();
}

async fn answer(request: Request<Incoming>, ledger: &Mutex<Ledger>) -> Result<Response<Full<Bytes>>, Breakage> {
    let Found { path, body } = match catalogue::look_up(request).await {
        Ok(found) => found,
        Err((status, reason)) => {
            open(ledger).turn_away(Instant::now());
            return Ok(error_response(status, reason));
        }
    };
    let answer = open(ledger).receive(Instant::now(), &path);
    match answer {
        Answer::InFull => Ok(json_response(StatusCode::OK, body)),
        Answer::Rejected => {
            let mut response = error_response(StatusCode::TOO_MANY_REQUESTS, "above the rate limit");
            response.headers_mut().insert(RETRY_AFTER, ledger::RETRY_AFTER.as_secs().into());
            Ok(response)
        }
        Answer::Fails(Fault::Unavailable) => Ok(error_response(StatusCode::SERVICE_UNAVAILABLE, "try again")),
        Answer::Fails(Fault::Reset) => Err(Breakage::Reset),
        Answer::Fails(Fault::CutShort) => Err(Breakage::CutShort(body)),
        Answer::Fails(Fault::Stall) => Err(Breakage::Stall),
    }
}

fn json_response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn error_response(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    json_response(status, json!({ "error": reason }).to_string().into())
}

fn open(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
