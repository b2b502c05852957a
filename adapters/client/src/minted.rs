use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::error::Error;
use crate::request::header;

/// How a client mints an `Idempotency-Key`: once for each call, and the same for all of its attempts, so that the server
/// recognises the second one, and a POST can be repeated.
///
/// ```
/// use steadfast_client::IdempotencyKeys;
///
/// let keys = IdempotencyKeys::raw(); // Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324
/// let keys = IdempotencyKeys::quoted(); // Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"
/// let keys = IdempotencyKeys::raw().in_field("PayPal-Request-Id")?;
/// # let _ = keys;
/// # Ok::<(), steadfast_client::Error>(())
/// ```
///
/// Each is a random UUID (RFC 9562 §5.4), as draft-ietf-httpapi-idempotency-key-header §2.2 recommends.
///
/// # When not to use it
///
/// With a server that does not know the field: it acts twice, and the client believes that it does not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdempotencyKeys {
    field: HeaderName,
    form: Form,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Raw,
    Quoted,
}

impl IdempotencyKeys {
    /// The key as it is: for Stripe, and most that came before the draft.
    pub const fn raw() -> Self {
        Self { field: HeaderName::from_static("idempotency-key"), form: Form::Raw }
    }

    /// The key in quotes, as a string of a structured field (RFC 9651 §3.3.3): for servers that keep to the draft (§2.1).
    pub const fn quoted() -> Self {
        Self { field: HeaderName::from_static("idempotency-key"), form: Form::Quoted }
    }

    /// The same in a field of another name.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], if that is no header field's.
    pub fn in_field(self, name: &str) -> Result<Self, Error> {
        Ok(Self { field: header(name, "")?.0, ..self })
    }

    pub(crate) fn field(&self) -> &HeaderName {
        &self.field
    }

    fn value(&self, id: u128) -> HeaderValue {
        match self.form {
            Form::Raw => value(uuid(id)),
            Form::Quoted => value(format_args!("\"{}\"", uuid(id))),
        }
    }
}

/// What a client adds to each call of its own accord, if it is asked to.
#[derive(Clone)]
pub(crate) struct Minted {
    pub(crate) keys: Option<IdempotencyKeys>,
    /// The field in which each call has a name.
    pub(crate) request_id: Option<HeaderName>,
    /// The field in which each attempt has its number.
    pub(crate) attempt_count: Option<HeaderName>,
    /// What keys and names are drawn from; `None` where nothing is there to draw from.
    pub(crate) identifiers: Option<Identifiers>,
}

/// Draws a number that nobody has drawn before.
pub(crate) type Identifiers = Arc<dyn Fn() -> u128 + Send + Sync>;

impl Minted {
    /// Nothing, until it is asked for.
    pub(crate) fn nothing() -> Self {
        Self { keys: None, request_id: None, attempt_count: None, identifiers: system() }
    }

    /// That what is to be drawn has something to draw from.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let field = match self {
            Self { identifiers: None, keys: Some(_), .. } => "idempotency_keys",
            Self { identifiers: None, request_id: Some(_), .. } => "request_ids",
            _ => return Ok(()),
        };
        let (value, reason) =
            ("random".to_owned(), "and this platform has nothing random: set `identifiers`".to_owned());
        Err(Error::InvalidRequest { field, value, reason })
    }

    /// A fresh key.
    pub(crate) fn key(&self, keys: &IdempotencyKeys) -> Option<HeaderValue> {
        self.identifiers.as_ref().map(|draw| keys.value(draw()))
    }

    /// A fresh name for a call.
    pub(crate) fn name(&self) -> Option<HeaderValue> {
        self.identifiers.as_ref().map(|draw| value(uuid(draw())))
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, request_id, attempt_count, identifiers: _ } = self;
        f.debug_struct("Minted")
            .field("keys", keys)
            .field("request_id", request_id)
            .field("attempt_count", attempt_count)
            .finish_non_exhaustive()
    }
}

/// From the operating system, by way of what the standard library seeds its hash tables with: a key of 128 bits for each
/// thread, under which no input is hashed twice.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
#[allow(clippy::unnecessary_wraps)] // Elsewhere there is none.
fn system() -> Option<Identifiers> {
    use std::hash::{BuildHasher, RandomState};
    Some(Arc::new(|| {
        // Each has another key. The process is hashed too, since one that forks has its keys twice.
        let (high, low) = (RandomState::new(), RandomState::new());
        let half = |state: RandomState| u128::from(state.hash_one(std::process::id()));
        half(high) << 64 | half(low)
    }))
}

/// None: there the standard library's seed is always the same.
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
fn system() -> Option<Identifiers> {
    None
}

/// A number as a UUID of version 4, with its six bits that tell so.
fn uuid(id: u128) -> String {
    let id = id & !(0xF << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let hex = format!("{id:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn value(text: impl fmt::Display) -> HeaderValue {
    // Hexadecimal digits, hyphens and quotes can always be.
    HeaderValue::try_from(text.to_string()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_uuid_of_version_4_raw_or_in_quotes() {
        for (id, want) in [
            (0, "00000000-0000-4000-8000-000000000000"),
            (u128::MAX, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (0x8e03_978e_40d5_13dd_3c93_6894_a57f_9324, "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ] {
            assert_eq!(IdempotencyKeys::raw().value(id), want);
            assert_eq!(IdempotencyKeys::quoted().value(id), format!("\"{want}\""));
        }
    }

    #[test]
    fn no_two_are_drawn_alike() {
        let draw = system().expect("this platform has a source");
        let other = std::thread::spawn(|| Vec::from_iter((0..10_000).map(|_| system().map(|draw| draw()))));
        let mut drawn = Vec::from_iter((0..10_000).map(|_| Some(draw())));
        drawn.extend(other.join().expect("it draws"));
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 20_000);
        // Each bit is set about half the time: at 20,000 draws, 500 is seven standard deviations.
        for bit in 0..128 {
            let set = drawn.iter().flatten().filter(|id| **id >> bit & 1 == 1).count();
            assert!(set.abs_diff(10_000) < 500, "bit {bit} is set in {set}");
        }
    }

    #[test]
    fn where_nothing_is_random_keys_are_refused() {
        let nothing = Minted { identifiers: None, ..Minted::nothing() };
        assert!(nothing.check().is_ok());
        for (minted, field) in [
            (Minted { keys: Some(IdempotencyKeys::raw()), ..nothing.clone() }, "idempotency_keys"),
            (Minted { request_id: Some(HeaderName::from_static("x-request-id")), ..nothing.clone() }, "request_ids"),
        ] {
            let error = minted.check().expect_err("two processes would draw the same");
            assert!(error.to_string().starts_with(&format!("invalid request: {field} is ")), "{error}");
        }
    }
}
