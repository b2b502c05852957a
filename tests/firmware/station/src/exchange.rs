//! One HTTP/1.1 exchange over a link: a request out, and an answer in, without an allocator.

use core::fmt::{self, Write};
use core::time::Duration;

use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::Attempt;
use steadfast_http::date::{self, UnixTime};
use steadfast_http::{RetryAfter, classify};

use crate::Link;

/// The longest head of an answer that is read.
const HEAD: usize = 256;

/// Text in fixed memory. What does not fit is refused.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status { status: u16, retry_after: Option<Duration> },
    Garbled,
}

impl Answer {
    pub(crate) fn outcome(&self) -> Outcome {
        match *self {
            Self::Status { status, retry_after } => classify(status, retry_after),
            Self::Garbled => Outcome::transient(),
        }
    }
}

/// Reports a reading, and returns what came back. Silence it waits out: the attempt's timeout ends it.
pub(crate) async fn put(link: &impl Link, number: u32, millidegrees: i32, attempt: Attempt) -> Answer {
    link.discard();
    let (mut body, mut request) = (Text::<16>::new(), Text::<HEAD>::new());
    let attempt = attempt.number;
    let written = write!(body, "{millidegrees}").and_then(|()| {
        let (len, body) = (body.bytes().len(), body.as_str());
        write!(
            request,
            "PUT /readings/{number} HTTP/1.1\r\nhost: station\r\nattempt: {attempt}\r\ncontent-length: {len}\r\n\r\n{body}"
        )
    });
    debug_assert!(written.is_ok(), "all numbers are short");
    link.send(request.bytes());
    loop {
        let mut head = Text::<HEAD>::new();
        while !head.bytes().ends_with(b"\r\n\r\n") {
            if !head.push(link.receive().await) || !may_begin_an_answer(head.bytes()) {
                return Answer::Garbled;
            }
        }
        let Some(parsed) = Head::parse(head.bytes()) else { return Answer::Garbled };
        for _ in 0..parsed.content_length {
            link.receive().await;
        }
        // The answer to an attempt that was given up may come while this one waits for its own.
        if parsed.answers == Some((number, attempt)) {
            return Answer::Status { status: parsed.status, retry_after: parsed.retry_after };
        }
    }
}

fn may_begin_an_answer(bytes: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/1.1 ";
    bytes.iter().zip(VERSION).all(|(got, want)| got == want)
}

/// What of a head matters here.
struct Head {
    status: u16,
    retry_after: Option<Duration>,
    content_length: u32,
    /// Which reading and which attempt it answers.
    answers: Option<(u32, u32)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let status = number(lines.next()?.get(9..12)?)?;
        let fields = || lines.clone().filter_map(|line| line.split_at_checked(line.iter().position(|b| *b == b':')?));
        let value = |name: &[u8]| {
            fields().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value[1..].trim_ascii())
        };
        // The station has no clock of its own that knows the date.
        let now = value(b"date").and_then(|date| date::parse(date, UnixTime::EPOCH)).unwrap_or(UnixTime::EPOCH);
        let hints = fields().filter_map(|(name, value)| RetryAfter::from_field(name, &value[1..], now));
        let answers = value(b"answers").and_then(|answers| {
            let slash = answers.iter().position(|byte| *byte == b'/')?;
            Some((number(&answers[..slash])?, number(&answers[slash + 1..])?))
        });
        Some(Self {
            status: u16::try_from(status).ok()?,
            retry_after: hints.map(|hint| hint.delay_from(now)).max(),
            content_length: value(b"content-length").map_or(Some(0), number)?,
            answers,
        })
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

impl<const N: usize> Text<N> {
    /// None yet.
    pub const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// What there is.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Adds a byte if there is room.
    fn push(&mut self, byte: u8) -> bool {
        let free = self.bytes.get_mut(self.len);
        self.len += usize::from(free.is_some());
        free.map(|free| *free = byte).is_some()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| self.push(byte)) { Ok(()) } else { Err(fmt::Error) }
    }
}
