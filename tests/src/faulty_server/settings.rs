//! How often the server fails, in which ways, and what it lets through.

use std::io;
use std::time::Duration;

/// What a [`FaultyServer`](super::FaultyServer) does to its clients.
///
/// | Setting | Default | Reason |
/// | --- | --- | --- |
/// | `seed` | 0 | the same faults in every run |
/// | `faults` | 14 % in all | see [`Faults`] |
/// | `most_failures_in_a_row` | 2 | three attempts always suffice |
/// | `requests_per_second` | 100 | slow enough that a client without a limit of its own meets it |
/// | `burst` | 20 | a fifth of a second: room for the jitter of a client that keeps to the rate |
/// | `longest_stall` | 10 s | longer than any sensible attempt timeout |
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What the faults are drawn from: with the same seed, the same path meets the same faults in the same order.
    pub seed: u64,
    /// How large a share of the admitted requests meets each fault.
    pub faults: Faults,
    /// After so many failures in a row a path is answered in full. A 429 is no failure and does not count.
    pub most_failures_in_a_row: u32,
    /// How many requests per second are admitted for good; the rest get a 429. Zero admits one burst and no more.
    pub requests_per_second: u32,
    /// How many requests are admitted at once after a pause.
    pub burst: u32,
    /// How long a stalled request is left hanging before its connection is closed, if the client does not leave first.
    pub longest_stall: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            faults: Faults::default(),
            most_failures_in_a_row: 2,
            requests_per_second: 100,
            burst: 20,
            longest_stall: Duration::from_secs(10),
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> io::Result<()> {
        match self.faults.percent() {
            0..=100 => Ok(()),
            percent => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("faults: they add up to {percent} % of the requests, and 100 % is all there are"),
            )),
        }
    }
}

/// How many of a hundred admitted requests meet each fault.
///
/// The default fails one request in seven: 6 % unavailable, 3 % reset, 3 % cut short, 2 % stalled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Faults {
    /// Answered 503, without a `Retry-After`.
    pub unavailable: u8,
    /// Connection reset (a TCP RST) before a byte of the answer.
    pub reset: u8,
    /// Half of the body that `Content-Length` announces, then the end of the connection.
    pub cut_short: u8,
    /// Silence, until the client leaves or [`Settings::longest_stall`] is over.
    pub stall: u8,
}

impl Faults {
    /// A server that never fails, but still keeps to its rate limit.
    pub const NONE: Self = Self { unavailable: 0, reset: 0, cut_short: 0, stall: 0 };

    fn percent(&self) -> u32 {
        self.shares().map(|(share, _)| u32::from(share)).iter().sum()
    }

    /// The fault that belongs to a `roll` between 0 and 99, each equally likely.
    pub(super) fn pick(&self, roll: u64) -> Option<Fault> {
        let mut reached = 0;
        self.shares().into_iter().find_map(|(share, fault)| {
            reached += u64::from(share);
            (roll < reached).then_some(fault)
        })
    }

    fn shares(&self) -> [(u8, Fault); 4] {
        [
            (self.unavailable, Fault::Unavailable),
            (self.reset, Fault::Reset),
            (self.cut_short, Fault::CutShort),
            (self.stall, Fault::Stall),
        ]
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self { unavailable: 6, reset: 3, cut_short: 3, stall: 2 }
    }
}

/// A way to fail that a client can survive by trying again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Unavailable,
    Reset,
    CutShort,
    Stall,
}
