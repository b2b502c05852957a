//! A small HTTP/1.1 server behind a bad line, and what it saw. Which fault comes next, the seed decides.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use steadfast_core::time::Instant;
use steadfast_station::mix;

const OUTAGE: Range<Instant> = Instant::from_nanos(40_000_000_000)..Instant::from_nanos(65_000_000_000);

/// Unix time at the start of a run: Sun, 06 Nov 1994 08:49:37 GMT, with seconds to spare until the next minute.
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const TWO_SECONDS_LATER: &str = "Sun, 06 Nov 1994 08:49:39 GMT";

/// The server, the line to it, and the time at which what arrives.
pub struct Server {
    seed: u64,
    unread: Vec<u8>,
    arrivals: VecDeque<(Instant, Vec<u8>)>,
    held_until: Instant,
    requests: Vec<(Instant, String)>,
    stored: BTreeSet<String>,
    complaints: Vec<String>,
}

impl Server {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            unread: Vec::new(),
            arrivals: VecDeque::new(),
            held_until: Instant::EPOCH,
            requests: Vec::new(),
            stored: BTreeSet::new(),
            complaints: Vec::new(),
        }
    }

    /// Takes what the station sends, and answers each request that is whole.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        while let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
            let len = field(&head, "content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
            if self.unread.len() < end + 4 + len {
                return;
            }
            self.unread.drain(..end + 4 + len);
            self.answer(now, &head);
        }
    }

    fn answer(&mut self, now: Instant, head: &str) {
        let reading =
            head.strip_prefix("PUT /readings/").and_then(|rest| rest.split_once(' ')).map(|(number, _)| number);
        let (Some(reading), Some(attempt)) = (reading, field(head, "attempt")) else {
            self.complaints.push(format!("not a request: {head:?}"));
            return;
        };
        if now < self.held_until {
            self.complaints
                .push(format!("early: {reading}/{attempt} at {now}, asked to wait until {}", self.held_until));
        }
        self.requests.push((now, format!("{reading}/{attempt}")));
        let dice = mix(self.seed ^ mix(self.requests.len() as u64));
        let delay = Duration::from_millis(20 + (dice >> 32) % 100);
        let whole = |status: &str, fields: &str| {
            format!("HTTP/1.1 {status}\r\nAnswers: {reading}/{attempt}\r\n{fields}Content-Length: 3\r\n\r\nok\n")
                .into_bytes()
        };
        let fault = if OUTAGE.contains(&now) { dice % 24 } else { dice % 200 };
        let (delay, bytes, hold) = match fault {
            0..6 => (delay, Vec::new(), 0),                           // Silence.
            6..12 => (delay, mix(dice).to_le_bytes().repeat(5), 0),   // Noise.
            12..16 => (delay, whole("200 OK", "")[..40].to_vec(), 0), // The line breaks in the head.
            16..20 => (delay, whole("500 Internal Server Error", ""), 0),
            20..24 => (delay, whole("503 Service Unavailable", "Retry-After: 1\r\n"), 1_000),
            24..28 => (delay, whole("429 Too Many Requests", "retry-after-ms: 750\r\n"), 750),
            28..30 => {
                let fields = format!("Date: {DATE}\r\nRetry-After: {TWO_SECONDS_LATER}\r\n");
                (delay, whole("503 Service Unavailable", &fields), 2_000)
            }
            30..32 => (Duration::from_millis(2_150), whole("200 OK", ""), 0), // After the timeout.
            _ => (delay, whole("200 OK", ""), 0),
        };
        if fault >= 30 {
            self.stored.insert(reading.to_owned());
        }
        let at = now + delay;
        if hold > 0 {
            self.held_until = at + Duration::from_millis(hold);
        }
        let place = self.arrivals.partition_point(|(other, _)| *other <= at);
        self.arrivals.insert(place, (at, bytes));
    }

    /// When something arrives at the station next.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.arrivals.front().map(|(at, _)| *at)
    }

    /// What has arrived there by now, once.
    pub fn arrived(&mut self, now: Instant) -> Vec<u8> {
        let arrived = self.arrivals.partition_point(|(at, _)| *at <= now);
        self.arrivals.drain(..arrived).flat_map(|(_, bytes)| bytes).collect()
    }

    /// Everything that a server may complain about: too early, too often, or said to be stored and is not.
    pub fn complaints(&self, delivered: u32) -> Vec<String> {
        let mut complaints = self.complaints.clone();
        for (first, (from, what)) in self.requests.iter().enumerate() {
            for (last, (to, _)) in self.requests.iter().enumerate().skip(first) {
                // A burst of four, and one more each half second.
                if (last - first + 1) as u128 > 4 + (*to - *from).as_nanos() / 500_000_000 {
                    complaints
                        .push(format!("over the limit: {} requests from {from} ({what}) to {to}", last - first + 1));
                }
            }
        }
        if self.stored.len() < delivered as usize {
            complaints.push(format!("{delivered} delivered, {} stored", self.stored.len()));
        }
        complaints
    }

    /// Every request and when it came, to be compared.
    pub fn ledger(&self) -> String {
        self.requests.iter().fold(String::new(), |mut ledger, (at, what)| {
            let _ = writeln!(ledger, "{at} {what}");
            ledger
        })
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(field, _)| *field == name).map(|(_, value)| value)
}
