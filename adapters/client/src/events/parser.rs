use std::fmt;
use std::time::Duration;

/// The longest event, and the longest line, unless told otherwise.
const MAX_EVENT: usize = 1024 * 1024;

/// One event that a server sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerEvent {
    /// What kind it is: `message`, if the server does not say.
    pub event: String,
    /// What it says, line by line. What it means is between you and the API: some end with a `[DONE]`.
    pub data: String,
    /// The id of the last event that had one, up to this; empty if none had.
    pub id: String,
}

/// Turns the bytes of a `text/event-stream` into events (WHATWG HTML, 9.2.5 and 9.2.6).
///
/// ```
/// use steadfast_client::EventParser;
///
/// let mut parser = EventParser::new();
/// let mut bytes = &b"event: price\ndata: 7\nid: 1\n\ndata: half an ev"[..];
/// let event = parser.next(&mut bytes)?.expect("there is a whole one");
/// assert_eq!((&*event.event, &*event.data, &*event.id), ("price", "7", "1"));
/// assert!(parser.next(&mut bytes)?.is_none() && bytes.is_empty());
///
/// let mut bytes = &b"ent\n\n"[..];
/// assert_eq!(parser.next(&mut bytes)?.expect("the rest of it").data, "half an event");
/// # Ok::<(), steadfast_client::EventTooLong>(())
/// ```
///
/// Bytes go in as they come, and events come out: there is no I/O here and no time.
///
/// ```text
///             field                      empty line
/// Between ──────────▶ Within an event ──────────────▶ Between, and out it comes, if it has data
/// ```
///
/// | Setting | Default | Why |
/// | --- | --- | --- |
/// | longest event | 1 MiB | larger than any that is meant well; what never ends must not fill the memory |
///
/// Invariants, each the name of a test:
/// - *however the bytes are split, the events are the same*.
/// - *neither a line nor an event grows without bound*.
/// - *an event that is cut short is none*.
pub struct EventParser {
    max_event: usize,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// The last line ended with a CR, so a LF that follows belongs to it.
    after_cr: bool,
    /// No line was whole yet: the first may begin with a byte order mark.
    at_start: bool,
    event: String,
    data: String,
    has_data: bool,
    /// Of the event that is being read.
    id: String,
    /// Of the events that have been read.
    last_event_id: String,
    retry: Option<Duration>,
}

/// An event, or a line of it, is longer than the parser keeps. What follows cannot be told apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EventTooLong {
    /// How long it may be.
    pub max_event: usize,
}

impl fmt::Display for EventTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event is longer than {} bytes", self.max_event)
    }
}

impl std::error::Error for EventTooLong {}

impl Default for EventParser {
    fn default() -> Self {
        Self::new()
    }
}

impl EventParser {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self {
            max_event: MAX_EVENT,
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            event: String::new(),
            data: String::new(),
            has_data: false,
            id: String::new(),
            last_event_id: String::new(),
            retry: None,
        }
    }

    /// With this bound for the bytes of a line, and of an event's data. Default: 1 MiB.
    #[must_use]
    pub fn with_max_event(self, bytes: usize) -> Self {
        Self { max_event: bytes, ..self }
    }

    /// At the beginning of a stream that goes on behind the event with this id.
    #[must_use]
    pub fn with_last_event_id(self, id: &str) -> Self {
        Self { id: id.to_owned(), last_event_id: id.to_owned(), ..self }
    }

    /// The next event in `bytes`, and takes away what it has read of them; `None` when they are all read.
    ///
    /// What is left of an event when the stream ends is not one (9.2.6), and is forgotten with the parser.
    ///
    /// # Errors
    /// If a line or an event is longer than the bound. The parser is of no use then.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<ServerEvent>, EventTooLong> {
        loop {
            if self.after_cr && !bytes.is_empty() {
                *bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
                self.after_cr = false;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.fits(self.line.len(), piece.len())?;
            let Some((ending, rest)) = rest.split_first() else {
                self.line.extend_from_slice(piece);
                *bytes = &[];
                return Ok(None);
            };
            self.after_cr = *ending == b'\r';
            *bytes = rest;
            let event = if self.line.is_empty() {
                self.end_of_line(piece)?
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(piece);
                let event = self.end_of_line(&line)?;
                line.clear();
                self.line = line;
                event
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// The id to name when the stream is to go on where it ended; empty if no event had one.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How long to wait before asking again, if the server has said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn fits(&self, length: usize, more: usize) -> Result<(), EventTooLong> {
        let fits = length.checked_add(more).is_some_and(|sum| sum <= self.max_event);
        fits.then_some(()).ok_or(EventTooLong { max_event: self.max_event })
    }

    fn end_of_line(&mut self, line: &[u8]) -> Result<Option<ServerEvent>, EventTooLong> {
        let line = match std::mem::take(&mut self.at_start) {
            true => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            false => line,
        };
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        // A line is whole, and its ends are ASCII: so what is no UTF-8 is replaced as it would be in the whole stream.
        let line = String::from_utf8_lossy(line);
        // A comment has a name that is empty, and means nothing.
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                // What replaces bytes that are no UTF-8 is longer than they were.
                self.fits(self.data.len() + usize::from(self.has_data), value.len())?;
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // More digits than there is time mean: never mind how long.
                self.retry = Some(Duration::from_millis(value.parse().unwrap_or(u64::MAX)));
            }
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<ServerEvent> {
        self.id.clone_into(&mut self.last_event_id);
        let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(ServerEvent { event, data, id: self.last_event_id.clone() })
    }
}

/// Shows how far it has read, and nothing of what it has read.
impl fmt::Debug for EventParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventParser")
            .field("max_event", &self.max_event)
            .field("held", &(self.line.len() + self.data.len()))
            .finish_non_exhaustive()
    }
}
