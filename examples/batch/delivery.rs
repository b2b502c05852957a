//! What came of a line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A line of the output.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Delivery {
    /// The number of the line in the input, from 1.
    pub(crate) line: u64,
    /// What the request is called, if it has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Value>,
    pub(crate) fate: Fate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
    /// JSON as it is, anything else as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fate {
    /// The server has answered, with whichever status.
    Answered,
    /// There is no whole answer, after all attempts. If the request is not idempotent, the server has not seen it.
    Failed,
    /// The line is no request, so nothing was sent.
    Refused,
    /// It was sent, or was about to be, no whole answer is known, and it must not be sent twice: only the server can tell.
    Unknown,
}

impl Delivery {
    pub(crate) fn new(line: u64, fate: Fate) -> Self {
        Self { line, id: None, fate, status: None, attempts: None, body: None, error: None }
    }

    pub(crate) fn refused(line: u64, reason: String) -> Self {
        Self { error: Some(reason), ..Self::new(line, Fate::Refused) }
    }
}
