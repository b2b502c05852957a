use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderValue;
use http_body::Body;
use http_body_util::BodyDataStream;

use crate::body::RequestBody;
use crate::error::Error;
use crate::request::header;

/// A form with files (RFC 7578), for [`multipart`](crate::RequestBuilder::multipart).
///
/// ```
/// use steadfast_client::{Multipart, Part};
///
/// let form = Multipart::new()
///     .text("title", "Lamp")
///     .part("photo", Part::new(vec![0xff, 0xd8]).file_name("lamp.jpg").content_type("image/jpeg"));
/// assert!(form.content_type().starts_with("multipart/form-data; boundary="));
/// ```
///
/// Parts in memory make a body in memory, which can be sent again. With a part that is a stream, the whole is one, and is
/// treated as [`body`](crate::RequestBuilder::body) treats such. Its length is known if that of each part is.
///
/// Parts are told apart by a boundary that no part may contain. It has 128 random bits, so whoever writes the content cannot guess
/// it and pass off what he wrote as a part of its own.
pub struct Multipart {
    boundary: String,
    parts: Vec<(Bytes, RequestBody)>,
    mistake: Option<Error>,
}

/// One part of a [`Multipart`] form.
#[derive(Debug)]
#[must_use = "a part is nothing without its form"]
pub struct Part {
    body: RequestBody,
    file_name: Option<String>,
    content_type: Option<Result<HeaderValue, Error>>,
}

impl Part {
    /// A part with this content: bytes, or a [`RequestBody::stream`].
    pub fn new(body: impl Into<RequestBody>) -> Self {
        Self { body: body.into(), file_name: None, content_type: None }
    }

    /// The name of the file that it is, as the server is told: any text will do.
    pub fn file_name(self, name: impl Into<String>) -> Self {
        Self { file_name: Some(name.into()), ..self }
    }

    /// What it is. Default: nothing is said, which is text (RFC 7578 §4.4).
    ///
    /// If it cannot be a header field's value, sending the form is an error.
    pub fn content_type(self, media_type: &str) -> Self {
        let value = header("content-type", media_type).map(|(_, value)| value);
        Self { content_type: Some(value), ..self }
    }
}

impl Default for Multipart {
    fn default() -> Self {
        Self::new()
    }
}

impl Multipart {
    /// An empty form. Its boundary is drawn from the operating system's randomness, and on `wasm32-unknown-unknown`, where there is
    /// none, is always the same: give it [entropy](Self::with_entropy) there.
    pub fn new() -> Self {
        // Hashes under keys that the operating system has drawn: the randomness that the standard library has.
        Self::with_entropy([(); 2].map(|()| RandomState::new().build_hasher().finish()))
    }

    /// An empty form whose boundary is made of these bits: for tests, and for bodies that are made again.
    pub fn with_entropy([high, low]: [u64; 2]) -> Self {
        Self { boundary: format!("steadfast-{high:016x}{low:016x}"), parts: Vec::new(), mistake: None }
    }

    /// Adds a field with a text.
    #[must_use]
    pub fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.part(name, Part::new(value.into()))
    }

    /// Adds a part under this name. Several may have the same.
    #[must_use]
    pub fn part(mut self, name: &str, part: Part) -> Self {
        let Part { body, file_name, content_type } = part;
        let mut head = format!("--{}\r\nContent-Disposition: form-data; name=\"{}\"", self.boundary, escaped(name));
        if let Some(file_name) = file_name {
            head += &format!("; filename=\"{}\"", escaped(&file_name));
        }
        let mut head = head.into_bytes();
        match content_type {
            Some(Ok(media_type)) => {
                head.extend_from_slice(b"\r\nContent-Type: ");
                head.extend_from_slice(media_type.as_bytes());
            }
            Some(Err(mistake)) => self.mistake = self.mistake.or(Some(mistake)),
            None => {}
        }
        head.extend_from_slice(b"\r\n\r\n");
        self.parts.push((head.into(), body));
        self
    }

    /// The value of the `Content-Type` that goes with it.
    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The whole form as a body.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], if the content type of a part cannot be one.
    pub fn into_body(self) -> Result<RequestBody, Error> {
        let Self { boundary, parts, mistake } = self;
        if let Some(mistake) = mistake {
            return Err(mistake);
        }
        let mut pieces = Vec::new();
        for (head, body) in parts {
            pieces.extend([RequestBody::from(head), body, RequestBody::from("\r\n")]);
        }
        pieces.push(RequestBody::from(format!("--{boundary}--\r\n")));
        if pieces.iter().all(RequestBody::is_in_memory) {
            let whole: Vec<u8> = pieces.into_iter().filter_map(RequestBody::into_bytes).flatten().collect();
            return Ok(RequestBody::from(whole));
        }
        let lengths = pieces.iter().map(|piece| piece.size_hint().exact());
        let length = lengths.reduce(|sum, length| sum?.checked_add(length?)).flatten();
        let body = RequestBody::stream(stream::iter(pieces).map(BodyDataStream::new).flatten());
        Ok(match length {
            Some(length) => body.with_length(length),
            None => body,
        })
    }
}

/// Shows how many parts there are, and nothing of them.
impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

/// A name between quotation marks: what would end it is encoded as browsers do (WHATWG HTML, "multipart/form-data encoding algorithm"),
/// and nothing else is, so that servers read any other name as it is.
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
