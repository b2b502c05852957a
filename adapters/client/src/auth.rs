use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;
use crate::redirect::HARMLESS;
use crate::request::header;
use crate::transport::BoxError;

mod oauth2;
mod token_life;

pub(crate) use oauth2::Tokens;
pub use oauth2::{ClientCredentials, TokenError};

/// How a client says who it is, on each of its requests.
///
/// ```
/// use steadfast_client::{Auth, ClientCredentials};
///
/// let key = Auth::api_key("x-api-key", "sk-…")?;
/// let token = Auth::bearer("eyJ…")?;
/// let password = Auth::basic("ann", "secret")?;
/// let oauth = Auth::oauth2(ClientCredentials::new("https://login.example.com/token", "my-app", "secret")?.scope("read"));
/// # let _ = (key, token, password, oauth);
/// # Ok::<(), steadfast_client::Error>(())
/// ```
///
/// What it adds goes to the origin of the client's base URL and nowhere else: the client refuses to send a request to
/// another, and [redirects](crate::Redirects) that lead there are followed without. It is shown nowhere: not in [`Debug`](fmt::Debug), not in errors.
#[derive(Clone)]
pub struct Auth(Kind);

#[derive(Clone)]
enum Kind {
    Nobody,
    Header(HeaderName, HeaderValue),
    Query(String, SecretString),
    Signer(Arc<dyn Sign + Send + Sync>),
    OAuth2(Arc<Tokens>),
}

/// Signs whole requests, for APIs that want more than a token: a digest of the body, a signature with a date.
pub trait Sign {
    /// Adds to the head of a request what shows who sends it. Called for each attempt.
    ///
    /// `body` is the whole body, or `None` if that is a stream, which nobody has read yet.
    ///
    /// # Errors
    /// If it cannot. The call fails then, and is not repeated.
    fn sign(&self, head: &mut Parts, body: Option<&Bytes>) -> Result<(), BoxError>;
}

impl<F: Fn(&mut Parts, Option<&Bytes>) -> Result<(), BoxError>> Sign for F {
    fn sign(&self, head: &mut Parts, body: Option<&Bytes>) -> Result<(), BoxError> {
        self(head, body)
    }
}

impl Auth {
    /// Says nothing.
    pub const fn none() -> Self {
        Self(Kind::Nobody)
    }

    /// A bearer token (RFC 6750).
    ///
    /// # Errors
    /// If it holds a character that a header field cannot.
    pub fn bearer(token: &str) -> Result<Self, Error> {
        Self::in_header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    /// A user and a password (RFC 7617).
    ///
    /// # Errors
    /// If the user's name holds a colon, which would end it.
    pub fn basic(user: &str, password: &str) -> Result<Self, Error> {
        if user.contains(':') {
            return Err(Error::InvalidRequest {
                field: "user",
                value: user.to_owned(),
                reason: "a name cannot hold a colon".to_owned(),
            });
        }
        Self::in_header(AUTHORIZATION.as_str(), &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// A key in a header field of this name.
    ///
    /// # Errors
    /// If the name is no header field's, or the key holds a character that one cannot.
    pub fn api_key(field: &str, key: &str) -> Result<Self, Error> {
        Self::in_header(field, key)
    }

    /// A key in the query, under this name.
    ///
    /// Where there is a choice, a header is the better place: servers and proxies write queries into their logs.
    pub fn api_key_in_query(name: impl Into<String>, key: impl Into<SecretString>) -> Self {
        Self(Kind::Query(name.into(), key.into()))
    }

    /// A signature over the whole request.
    pub fn signer(signer: impl Sign + Send + Sync + 'static) -> Self {
        Self(Kind::Signer(Arc::new(signer)))
    }

    /// OAuth 2.0 client credentials (RFC 6749 §4.4): a token that is fetched once for all calls before the first, again
    /// before it expires, and once more for a call that is told 401. Where an API refuses the new one as well, that is kept for 5 s
    /// at first, for twice as long each time after, and for 5 minutes at most: the token server is not asked for each such call.
    pub fn oauth2(credentials: ClientCredentials) -> Self {
        Self(Kind::OAuth2(Arc::new(Tokens::new(credentials))))
    }

    fn in_header(name: &str, value: &str) -> Result<Self, Error> {
        let (name, mut value) = header(name, value)?;
        value.set_sensitive(true);
        Ok(Self(Kind::Header(name, value)))
    }

    /// Where the token comes from, if one has to be fetched.
    pub(crate) const fn tokens(&self) -> Option<&Arc<Tokens>> {
        match &self.0 {
            Kind::OAuth2(tokens) => Some(tokens),
            Kind::Nobody | Kind::Header(..) | Kind::Query(..) | Kind::Signer(_) => None,
        }
    }

    /// Whether a parameter of a query is the key, or repeats it.
    pub(crate) fn is_secret_parameter(&self, name: &str, value: &str) -> bool {
        match &self.0 {
            Kind::Query(own, key) => name == own || value == key.expose_secret(),
            Kind::Nobody | Kind::Header(..) | Kind::Signer(_) | Kind::OAuth2(_) => false,
        }
    }

    /// Whether it may add this field to a request that has these, and not always as the same.
    pub(crate) fn adds_unseen(&self, field: &HeaderName, headers: &HeaderMap) -> bool {
        match &self.0 {
            Kind::Nobody | Kind::Header(..) | Kind::Query(..) => false,
            Kind::OAuth2(_) => *field == AUTHORIZATION && !headers.contains_key(field),
            // It may add whatever it likes, and in place of what is there. These four are no signatures.
            Kind::Signer(_) => !HARMLESS.contains(field),
        }
    }

    /// Adds to a request what shows who sends it. What the caller has set itself goes before.
    pub(crate) fn apply(&self, head: &mut Parts, body: Option<&Bytes>) -> Result<(), BoxError> {
        match &self.0 {
            Kind::Nobody | Kind::OAuth2(_) => Ok(()),
            Kind::Header(name, value) => {
                if !head.headers.contains_key(name) {
                    head.headers.insert(name, value.clone());
                }
                Ok(())
            }
            Kind::Query(name, key) => {
                let mut url: url::Url = head.uri.to_string().parse()?;
                if !url.query_pairs().any(|(other, _)| other == **name) {
                    url.query_pairs_mut().append_pair(name, key.expose_secret());
                    head.uri = url.as_str().parse()?;
                }
                Ok(())
            }
            Kind::Signer(signer) => signer.sign(head, body),
        }
    }
}

/// Shows what kind it is, and nothing of it.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Nobody => f.write_str("Auth::none"),
            Kind::Header(name, _) => write!(f, "Auth in the header {name}"),
            Kind::Query(name, _) => write!(f, "Auth in the query parameter {name}"),
            Kind::Signer(_) => f.write_str("Auth by signature"),
            Kind::OAuth2(tokens) => write!(f, "Auth by tokens from {}", tokens.url()),
        }
    }
}

/// Locks, also after another thread has panicked with the lock in hand: the state under it is whole between any two calls.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
