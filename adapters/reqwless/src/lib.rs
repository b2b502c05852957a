//! HTTP calls from firmware that survive a bad link: steadfast's policies over reqwless, without an allocator.
//!
//! ```no_run
//! use core::cell::RefCell;
//! use embassy_net::Stack;
//! use embassy_net::dns::DnsSocket;
//! use embassy_net::tcp::client::{TcpClient, TcpClientState};
//! use reqwless::client::HttpClient;
//! use steadfast_core::pipeline::Pipeline;
//! use steadfast_core::run::Runner;
//! use steadfast_core::time::Timer;
//! use steadfast_reqwless::{Buffers, Error, Request, call, reqwless};
//!
//! /// Not run here, since it needs a network card; the timer is that of `steadfast-embassy`.
//! async fn report(
//!     stack: Stack<'static>,
//!     timer: &impl Timer,
//!     pipeline: &RefCell<Pipeline>, // One for all requests to that server.
//!     random: impl FnMut() -> u64,
//!     reading: &[u8],
//! ) -> Result<u16, Error> {
//!     let sockets = TcpClientState::<1, 1024, 1024>::new();
//!     let (tcp, dns) = (TcpClient::new(stack, &sockets), DnsSocket::new(stack));
//!     let mut client = HttpClient::new(&tcp, &dns);
//!
//!     let runner = Runner { pipeline, timer, observer: &() };
//!     let request = Request::put("http://example.org/sensors/7", reading);
//!     let buffers = Buffers { head: &mut [0; 512], body: &mut [0; 128] };
//!     let response = call(&runner, &mut client, &request, random, buffers).await?;
//!     Ok(response.status)
//! }
//! ```
//!
//! [`call`] makes one call as the [`Pipeline`] has it: with retries, a deadline, a circuit breaker and a rate limit, and
//! in the server's own time where a response says `Retry-After`. What `ApiClient` is to an application, this is to
//! firmware.
//!
//! | Part | Value | Why |
//! | --- | --- | --- |
//! | connections | one for each attempt | the retry of a broken exchange needs a new one anyway, and an idle one holds a socket's buffers |
//! | head of a response | has to fit [`Buffers::head`], with 64 fields at most | it is where every read goes; 512 bytes hold most |
//! | body of a success | has to fit [`Buffers::body`] | there is nowhere else to put it |
//! | other bodies | not read | the status decides, however long an error page is |
//! | redirects | not followed; a 3xx is a success | its `Location` could lead anywhere |
//! | time limits | none here | the pipeline's attempt timeout drops the attempt, and with it the connection |
//!
//! A response to `HTTP/1.1` without a length ends with its connection: one that is cut short then looks whole, unless the
//! connection was reset.
//!
//! # TLS
//!
//! Is reqwless's own business: turn on one of its features in your own manifest, and give its client a `TlsConfig`.
//! Its default, `embedded-tls`, does not build with today's releases of what it depends on.
//!
//! # When not to use it
//!
//! Where there is an allocator and an operating system: `ApiClient` of `steadfast-client` does more. For a body that is
//! larger than memory, or a response whose fields matter: drive [`Runner::call`](steadfast_core::run::Runner::call) with
//! an attempt of your own, and take [`Failure::outcome`] for what fails.
//!
//! Rust 1.91 is needed, as by reqwless; the rest of steadfast needs 1.85.
#![no_std]

use core::cell::{Cell, RefCell};
use core::fmt;

use embedded_nal_async::{Dns, TcpConnect};
use reqwless::client::HttpClient;
use steadfast_core::event::Observer;
use steadfast_core::limits::Limiter;
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{Attempt, Pipeline};
use steadfast_core::run::{CallError, LastAttempt, Runner};
use steadfast_core::share::Share;
use steadfast_core::time::Timer;

mod exchange;
mod failure;
mod request;

use exchange::exchange;
pub use failure::{Error, Failure};
pub use request::Request;
pub use reqwless;

/// Where a response goes.
#[derive(Debug)]
pub struct Buffers<'a> {
    /// Has to hold the status line and all header fields. Of no use afterwards.
    pub head: &'a mut [u8],
    /// Has to hold the body. Empty if none is expected.
    pub body: &'a mut [u8],
}

/// An answer that the classification calls a success.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    /// 101, or from 200 to 399.
    pub status: u16,
    /// The whole body.
    pub body: &'a [u8],
    /// How many attempts were made, this one included.
    pub attempts: u32,
}

/// Shows no body: secrets may be in it.
impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body, attempts } = self;
        f.debug_struct("Response")
            .field("status", status)
            .field("body_len", &body.len())
            .field("attempts", attempts)
            .finish()
    }
}

/// Makes one call: waits for its turn, sends the request, and repeats it as the pipeline allows.
///
/// `entropy` gives a uniformly random number each time, from the chip's own generator or from a generator that it seeded:
/// devices that failed together must not come back together.
///
/// Cancel safe: dropped, it closes its connection and gives back what it held of limits and breaker.
///
/// # Errors
/// [`Error::InvalidRequest`] before the first attempt; [`Error::Failed`] when no further attempt is made.
// One attempt at a time: the one before has ended, or was dropped and its borrow with it.
#[allow(clippy::await_holding_refcell_ref)]
pub async fn call<'buf, S, C, O, L, T, D>(
    runner: &Runner<'_, S, C, O>,
    client: &mut HttpClient<'_, T, D>,
    request: &Request<'_>,
    entropy: impl FnMut() -> u64,
    buffers: Buffers<'buf>,
) -> Result<Response<'buf>, Error>
where
    S: Share<State = Pipeline<L>>,
    C: Timer,
    O: Observer,
    L: Limiter,
    T: TcpConnect,
    D: Dns,
{
    let host = request.check().map_err(|field| Error::InvalidRequest { field })?;
    let workplace = RefCell::new((client, buffers));
    let answer = Cell::new(Answer::default());
    let (workplace_ref, answer_ref) = (&workplace, &answer);
    let attempt = |attempt: Attempt| async move {
        let (client, buffers) = &mut *workplace_ref.borrow_mut();
        let (status, body_len) = exchange(client, request, host, buffers).await?;
        answer_ref.set(Answer { status, body_len, attempts: attempt.number });
        Ok(())
    };
    let classify = |result: &Result<(), Failure>| match result {
        Ok(()) => Outcome::success(),
        Err(failure) => failure.outcome(),
    };
    // What it returns is what the classification above calls a success.
    let _: Result<(), Failure> = runner.call(request.options(), entropy, classify, attempt).await.map_err(failed)?;
    let (Answer { status, body_len, attempts }, (_, Buffers { body, .. })) = (answer.get(), workplace.into_inner());
    // As much of it as was read.
    let body = body.get(..body_len).unwrap_or_default();
    Ok(Response { status, body, attempts })
}

/// What the attempt that succeeded left behind.
#[derive(Clone, Copy, Default)]
struct Answer {
    status: u16,
    body_len: usize,
    attempts: u32,
}

fn failed(error: CallError<Result<(), Failure>>) -> Error {
    let CallError { rejected, last, attempts, elapsed, history } = error;
    let last = match last {
        LastAttempt::Returned(Err(failure)) => LastAttempt::Returned(failure),
        LastAttempt::TimedOut => LastAttempt::TimedOut,
        // A success ends its call without an error, so there is none of the second kind.
        LastAttempt::NotMade | LastAttempt::Returned(Ok(())) => LastAttempt::NotMade,
    };
    Error::Failed(CallError { rejected, last, attempts, elapsed, history })
}
