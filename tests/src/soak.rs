//! Very many calls of the client, of every kind and with every end, and then the question what is left of them.
//!
//! The calls go to a [`FaultyServer`](crate::faulty_server), 96 at once with slots for 64: so a third waits in line. Of ten,
//! five are read whole, one is a POST, one a stream that is read whole, one a stream that is dropped in the middle, one is for
//! what is not there, and one is dropped after some number of polls. There are hedges, retries, a breaker and timeouts.
//!
//! | What | Has to be | Why |
//! | --- | --- | --- |
//! | calls under way, calls in line | none | |
//! | tokens and slots | as many as at the start: so many calls start at once, and one more waits | |
//! | connections that the server has open | none, when the client is dropped | |
//! | descriptors of the process | as many as after the warm-up | what a runtime opens once for all, it keeps |
//! | memory | 8 bytes more for each call, at most | see [`Left::leaks`] |
//!
//! The last two are asked of Linux, and of the whole process: they mean something where nothing else runs in it. Where
//! nobody tells, they are not judged.

use std::error::Error;
use std::fs;
use std::future::ready;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, stream};
use steadfast_client::{ApiClient, Error as CallError};
use steadfast_core::backoff::Backoff;
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::concurrency::ConcurrencyLimit;
use steadfast_core::hedge::Hedge;
use steadfast_core::pipeline::Pipeline;
use steadfast_core::rate_limit::{Quota, TokenBucket};
use steadfast_core::retry::Retry;
use steadfast_core::retry::budget::Budget;

use crate::conformance::transport::{Stack, polled};
use crate::faulty_server::{Faults, FaultyServer, Settings};

/// Slots, and tokens in the bucket.
const SLOTS: u32 = 64;

/// Calls under way or in line at a time.
const AT_ONCE: usize = 96;

/// Calls that are made before anything is measured.
const WARM_UP: u64 = 500;

/// How often memory is measured.
const SLICES: u32 = 20;

/// How many items are asked for: few, so that the server remembers all of them after the first slices.
const ITEMS: u64 = 500;

/// Less than the smallest allocation, which takes 32 bytes.
const MOST_PER_CALL: u64 = 8;

/// What an allocator asks the system for at a time, and may or may not have asked for yet.
const MOST_OF_ALLOCATOR: u64 = 256 * 1024;

const MS: Duration = Duration::from_millis(1);

type Client<S> = ApiClient<<S as Stack>::Transport, <S as Stack>::Timer>;

/// When to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Length {
    /// After so many calls.
    Calls(u64),
    /// After so long.
    Time(Duration),
}

/// How calls ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ends {
    /// With what was asked for.
    pub answered: u64,
    /// With an error.
    pub failed: u64,
    /// Dropped before their end.
    pub dropped: u64,
}

impl Ends {
    /// All of them.
    pub fn calls(&self) -> u64 {
        self.answered + self.failed + self.dropped
    }
}

/// What is left after the last call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Left {
    /// How the calls ended.
    pub ends: Ends,
    /// How many requests the server saw, and how many of them it failed.
    pub requests: (u64, u64),
    /// Calls that the client takes for under way.
    pub running: usize,
    /// Calls in line, when all had ended; when all slots and tokens were taken again; and with one call more than those.
    pub waiting: [usize; 3],
    /// Connections that the server had open when the client was dropped, and that did not close.
    pub connections: usize,
    /// Descriptors of the process: after the warm-up, and at the end.
    pub descriptors: Option<(usize, usize)>,
    /// Bytes of memory that the process has, with the calls made until then; as often as it was measured.
    pub memory: Vec<(u64, u64)>,
}

impl Left {
    /// What is left that should not be, in words; nothing if all is well.
    ///
    /// Memory has grown if the least of the last quarter is above the most of the second quarter, by 8 bytes for each call
    /// between. So a peak in one of them is nothing, and the first quarter is for what fills once: pools, caches, an
    /// allocator's arenas. A quarter of a megabyte is granted besides, since memory comes from the system in pieces.
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        let mut check = |holds: bool, leak: String| {
            if !holds {
                leaks.push(leak);
            }
        };
        // On a machine that is busy with other work, many calls end by a timeout or by the breaker.
        check(self.ends.answered > self.ends.calls() / 10, format!("few calls were answered: {:?}", self.ends));
        check(self.requests.1 > 0, "no request met a fault".to_owned());
        check(self.running == 0, format!("{} calls are still under way", self.running));
        check(self.waiting == [0, 0, 1], format!("calls in line, where 0, 0 and 1 should be: {:?}", self.waiting));
        check(self.connections == 0, format!("{} connections are still open", self.connections));
        if let Some((before, after)) = self.descriptors {
            check(after <= before, format!("{before} descriptors became {after}"));
        }
        if let Some((grown, granted)) = self.grown() {
            check(grown <= granted, format!("memory grew by {grown} bytes, and {granted} are granted"));
        }
        leaks
    }

    /// By how many bytes memory has grown, and how many are granted.
    pub fn grown(&self) -> Option<(u64, u64)> {
        let quarter = self.memory.len() / 4;
        let early = self.memory.get(quarter..2 * quarter)?;
        let late = self.memory.get(self.memory.len() - quarter..)?;
        let (most, least) = (early.iter().map(|(_, bytes)| bytes).max()?, late.iter().map(|(_, bytes)| bytes).min()?);
        let between = late.first()?.0 - early.last()?.0;
        Some((least.saturating_sub(*most), between * MOST_PER_CALL + MOST_OF_ALLOCATOR))
    }
}

/// Makes the calls on a runtime and a transport, and says what is left of them. `tell` is told after each twentieth how
/// many calls were made and how many bytes the process has.
///
/// # Errors
/// If there is no server or no client to be had.
pub fn soak<S: Stack>(length: Length, mut tell: impl FnMut(u64, u64)) -> Result<Left, Box<dyn Error>> {
    let server = server()?;
    let mut left = Left::default();
    S::run(async {
        calls::<S>(&client::<S>(&server.url())?, 0, Length::Calls(WARM_UP)).await;
        S::comes_true(|| server.report().open_connections == 0).await;
        let before = descriptors();

        let client = client::<S>(&server.url())?;
        for slice in 0..SLICES {
            let length = match length {
                Length::Calls(calls) => {
                    Length::Calls(calls * u64::from(slice + 1) / u64::from(SLICES) - left.ends.calls())
                }
                Length::Time(time) => Length::Time(time / SLICES),
            };
            let ends = calls::<S>(&client, left.ends.calls(), length).await;
            left.ends.answered += ends.answered;
            left.ends.failed += ends.failed;
            left.ends.dropped += ends.dropped;
            if let Some(bytes) = memory() {
                left.memory.push((left.ends.calls(), bytes));
                tell(left.ends.calls(), bytes);
            }
        }
        left.running = client.running();
        left.waiting = all_at_once::<S>(&client).await;
        left.running += client.running();
        drop(client);
        // Both, because the server may not have accepted yet what was connected and closed at once.
        let is_over = || server.report().open_connections == 0 && descriptors() <= before;
        S::comes_true(is_over).await;
        left.connections = server.report().open_connections;
        left.descriptors = before.zip(descriptors());
        Ok::<(), Box<dyn Error>>(())
    })?;
    let report = server.report();
    left.requests = (report.requests, report.unavailable + report.reset + report.cut_short + report.stalled);
    Ok(left)
}

fn server() -> Result<FaultyServer, Box<dyn Error>> {
    let faults = Faults { unavailable: 6, reset: 3, cut_short: 3, stall: 1 };
    let settings = Settings { faults, requests_per_second: 100_000, burst: 100_000, ..Settings::default() };
    Ok(FaultyServer::start(settings)?)
}

fn client<S: Stack>(url: &str) -> Result<Client<S>, Box<dyn Error>> {
    let pipeline = Pipeline::builder()
        .attempt_timeout(1000 * MS)
        .rate_limit(TokenBucket::new(Quota::per_second(10_000)?.with_burst(SLOTS)?))
        .concurrency_limit(ConcurrencyLimit::fixed(SLOTS).build()?)
        .circuit_breaker(CircuitBreaker::builder().failure_threshold(8).open_for(20 * MS).build()?)
        .retry(Retry::builder().max_attempts(4).backoff(Backoff::builder().base(MS).cap(5 * MS).build()?).build()?)
        .budget(Budget::unlimited())
        .hedge(Hedge::builder().after(200 * MS).build()?)
        .build()?;
    Ok(ApiClient::builder(url, S::transport(), S::timer()).pipeline(pipeline).build()?)
}

/// So many calls, or calls for so long. `first` is the number of the first.
async fn calls<S: Stack>(client: &Client<S>, first: u64, length: Length) -> Ends {
    let start = Instant::now();
    let last = |number: u64| match length {
        Length::Calls(calls) => number - first >= calls,
        Length::Time(time) => start.elapsed() >= time,
    };
    let numbers = stream::iter(first..).take_while(|number| ready(!last(*number)));
    let ends = numbers.map(|number| call::<S>(client, number)).buffer_unordered(AT_ONCE);
    ends.fold(Ends::default(), |mut ends, end| {
        match end {
            Some(Ok(())) => ends.answered += 1,
            Some(Err(_)) => ends.failed += 1,
            None => ends.dropped += 1,
        }
        ready(ends)
    })
    .await
}

/// One call, of the kind that its number says, and how it ended; `None` if it was dropped before.
async fn call<S: Stack>(client: &Client<S>, number: u64) -> Option<Result<(), CallError>> {
    let item = format!("items/{}", number % ITEMS);
    match number % 10 {
        0 => {
            let post = client.post("items").header("idempotency-key", &number.to_string()).json(&number);
            Some(post.send().await.map(drop))
        }
        1 => Some(match client.get(&item).send_streaming().await {
            Err(error) => Err(error),
            Ok(mut response) => loop {
                match response.chunk().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            },
        }),
        2 => match client.get(&item).send_streaming().await {
            Err(error) => Some(Err(error)),
            Ok(response) => {
                drop(response);
                None
            }
        },
        3 => match client.get("nothing/here").send().await {
            Err(CallError::NotFound(_)) => Some(Ok(())),
            other => Some(other.map(drop)),
        },
        4 => {
            let polls = usize::try_from(number / 10 % 12).unwrap_or_default();
            polled(Box::pin(client.get(&item).send()).as_mut(), polls).await.map(|result| result.map(drop))
        }
        _ => Some(client.get(&item).send().await.map(drop)),
    }
}

/// How many calls wait in line: when there is none; when there are as many as there are slots and tokens; and with one more.
async fn all_at_once<S: Stack>(client: &Client<S>) -> [usize; 3] {
    let nobody = client.waiting();
    // Until every token is back, at ten in a millisecond, and the breaker has closed if it was open.
    S::pass(100 * MS).await;
    let mut calls: Vec<_> = (0..=SLOTS).map(|_| Box::pin(client.get("items/0").send())).collect();
    let mut waiting = calls.iter_mut().map(|call| {
        let _ = call.as_mut().now_or_never();
        client.waiting()
    });
    let all = waiting.by_ref().take(SLOTS as usize).last().unwrap_or_default();
    [nobody, all, waiting.last().unwrap_or_default()]
}

/// How much memory this process has of the machine's, in bytes.
fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// How many descriptors this process has open.
fn descriptors() -> Option<usize> {
    // One is that of the folder itself, each time.
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}
