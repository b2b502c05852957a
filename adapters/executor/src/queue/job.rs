use std::cmp::Ordering;
use std::fmt;

/// A job in line: higher priorities first, and then the order of joining.
pub(super) struct Waiting<J> {
    pub(super) priority: u8,
    pub(super) number: u64,
    pub(super) job: J,
}

impl<J> Ord for Waiting<J> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.priority.cmp(&other.priority).then(other.number.cmp(&self.number))
    }
}

impl<J> PartialOrd for Waiting<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> PartialEq for Waiting<J> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<J> Eq for Waiting<J> {}

/// Why a job was not accepted; it comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotAccepted<J> {
    /// There is no room.
    Full(J),
    /// The queue is closed.
    Closed(J),
}

impl<J> NotAccepted<J> {
    /// The job.
    pub fn into_job(self) -> J {
        match self {
            Self::Full(job) | Self::Closed(job) => job,
        }
    }
}

impl<J> fmt::Display for NotAccepted<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("queue: there is no room for another job"),
            Self::Closed(_) => f.write_str("queue: it is closed"),
        }
    }
}

impl<J: fmt::Debug> std::error::Error for NotAccepted<J> {}
