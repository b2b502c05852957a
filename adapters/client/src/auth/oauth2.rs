use std::fmt;
use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use event_listener::Event;
use futures_util::future::select;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use steadfast_core::time::{Instant, Timer};
use url::Url;
use url::form_urlencoded;

use super::lock;
use super::token_life::{Fetch, Need, TokenLife};
use crate::answer::Answer;
use crate::body::RequestBody;
use crate::client::without_secrets;
use crate::error::{Error, What};
use crate::guard::Patience;
use crate::json_error::JsonError;
use crate::transport::{BoxError, Transport};

/// The words by which token servers refuse (RFC 6749 §4.1.2.1 and §5.2, RFC 8707 §2). Any other may hold what it was sent.
const REFUSALS: [&str; 10] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// The longest answer of a token server that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// What an application shows to a token server to be given tokens (RFC 6749 §4.4).
#[derive(Clone)]
pub struct ClientCredentials {
    url: Url,
    id: String,
    secret: SecretString,
    scope: Option<String>,
    audience: Option<String>,
}

impl ClientCredentials {
    /// The application's id and secret, and where they are shown.
    ///
    /// # Errors
    /// If the URL is none, or neither `https` nor `http`.
    pub fn new(token_url: &str, id: &str, secret: impl Into<SecretString>) -> Result<Self, Error> {
        let invalid =
            |reason: String| Error::InvalidRequest { field: "token_url", value: without_secrets(token_url), reason };
        let url = Url::parse(token_url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("which does not begin with http:// or https://".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("which has a user's name or password: id and secret are given beside it".to_owned()));
        }
        Ok(Self { url, id: id.to_owned(), secret: secret.into(), scope: None, audience: None })
    }

    /// What the tokens are to allow, as the API names it. Default: what the server gives.
    #[must_use]
    pub fn scope(self, scope: impl Into<String>) -> Self {
        Self { scope: Some(scope.into()), ..self }
    }

    /// What is posted to the token server.
    fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [("scope", &self.scope), ("audience", &self.audience)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        form.finish()
    }

    /// For which API the tokens are, where the server has more than one.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }
}

/// Shows the id, and not the secret.
impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, id, scope, audience, secret: _ } = self;
        f.debug_struct("ClientCredentials")
            .field("url", &url.as_str())
            .field("id", id)
            .field("scope", scope)
            .field("audience", audience)
            .finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokenError {
    /// The token server could not be asked, or its answer broke off.
    Connection(BoxError),
    /// It gives none: the credentials or the scope are wrong (400, 401, 403). Its word for it, if that is one of
    /// the standard's: any other might repeat a secret.
    Refused(StatusCode, Option<String>),
    /// It failed (any other status).
    Failed(StatusCode),
    /// Its answer is no token.
    Decode(JsonError),
    /// The token holds a character that a header field cannot.
    Unusable,
}

impl TokenError {
    /// Whether another attempt may bring one.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Failed(_) => true,
            Self::Refused(..) | Self::Decode(_) | Self::Unusable => false,
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(source) => write!(f, "no token: the token server could not be asked: {source}"),
            Self::Refused(status, Some(word)) => write!(f, "no token: the token server refuses: {status}, {word}"),
            Self::Refused(status, None) => write!(f, "no token: the token server refuses: {status}"),
            Self::Failed(status) => write!(f, "no token: the token server failed: {status}"),
            // The position is told, and nothing of what was read.
            Self::Decode(source) => {
                write!(f, "no token: the answer is none, at line {} column {}", source.line(), source.column())
            }
            Self::Unusable => f.write_str("no token: it cannot be sent in a header field"),
        }
    }
}

impl std::error::Error for TokenError {}

/// The tokens of one client, shared by all its calls.
pub(crate) struct Tokens {
    credentials: ClientCredentials,
    life: Mutex<TokenLife>,
    changed: Event,
}

/// Which token a request was sent with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used(u64);

#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Tokens {
    pub(super) fn new(credentials: ClientCredentials) -> Self {
        Self { credentials, life: Mutex::new(TokenLife::new()), changed: Event::new() }
    }

    pub(super) fn url(&self) -> &str {
        self.credentials.url.as_str()
    }

    /// The header field's value that says who we are, fetched first if need be: once for all who ask.
    ///
    /// Cancel safe: a fetch that is dropped is begun anew by the next who asks.
    pub(crate) async fn authorization<T: Transport, C: Timer>(
        &self,
        transport: &T,
        timer: &C,
    ) -> Result<(HeaderValue, Used), TokenError> {
        let (secret, which) = loop {
            let changed = self.changed.listen();
            let need = lock(&self.life).ask(timer.now());
            match need {
                Need::Use(secret, which) => break (secret, which),
                Need::Wait(until) => {
                    select(changed, pin!(timer.sleep_until(until))).await;
                }
                Need::Fetch(fetch) => break self.fetch(fetch, transport, timer).await?,
            }
        };
        let value = HeaderValue::try_from(format!("Bearer {}", secret.expose_secret()));
        let mut value = value.map_err(|_| TokenError::Unusable)?;
        value.set_sensitive(true);
        Ok((value, Used(which)))
    }

    /// The API does not accept the token that a request was sent with. Whether the next request would have another.
    pub(crate) fn rejected(&self, now: Instant, used: Used) -> bool {
        lock(&self.life).rejected(now, used.0)
    }

    /// Fetches a token for everybody, and returns it, whether it is over by now or not: fetched anew, it would be no better.
    /// Returns the old one if that fails and it still works.
    async fn fetch<T: Transport, C: Timer>(
        &self,
        fetch: Fetch,
        transport: &T,
        timer: &C,
    ) -> Result<(SecretString, u64), TokenError> {
        let mut out = Out { tokens: self, fetch: Some(fetch) };
        let asked_at = timer.now();
        match self.ask_server(transport, timer).await {
            Ok(Given { access_token, expires_in }) => {
                let secret = SecretString::from(access_token);
                let which = {
                    let mut life = lock(&self.life);
                    if let Some(fetch) = out.fetch.take() {
                        // From when it was asked for, so that no token is thought to live longer than it does.
                        life.fetched(asked_at, fetch, secret.clone(), expires_in.map(Duration::from_secs));
                    }
                    life.generation()
                };
                self.changed.notify(usize::MAX);
                Ok((secret, which))
            }
            Err(error) => {
                let now = timer.now();
                let old = {
                    let mut life = lock(&self.life);
                    if let Some(fetch) = out.fetch.take() {
                        life.failed(now, fetch);
                    }
                    life.still_works(now)
                };
                self.changed.notify(usize::MAX);
                old.ok_or(error)
            }
        }
    }

    async fn ask_server<T: Transport, C: Timer>(&self, transport: &T, timer: &C) -> Result<Given, TokenError> {
        let ClientCredentials { url, id, secret, .. } = &self.credentials;
        let mut request = Request::new(RequestBody::from(Bytes::from(self.credentials.form())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.as_str().parse().map_err(|error| TokenError::Connection(Box::new(error)))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, shown_by_basic(id, secret)?);
        let answer = match transport.send(request).await {
            Ok(response) => Answer::read(response, timer, MAX_ANSWER, Patience::UNLIMITED, || None).await,
            Err(error) => Answer::Nothing(error),
        };
        match answer.into_parts() {
            (What::Broke(source) | What::NotSigned(source) | What::BodyFailed(source), ..) => {
                Err(TokenError::Connection(source))
            }
            // Nobody needs a token to be given one.
            (What::NoToken(error), ..) => Err(error),
            (What::TimedOut | What::Stalled, ..) => Err(TokenError::Connection("no answer came in time".into())),
            (What::TooLong, ..) => Err(TokenError::Connection("the answer is too long".into())),
            (What::Answered(status), _, body) if status.is_success() => {
                serde_json::from_slice(&body).map_err(|error| TokenError::Decode(error.into()))
            }
            (What::Answered(status), _, body) if matches!(status.as_u16(), 400 | 401 | 403) => {
                let refusal = serde_json::from_slice::<Refusal>(&body).ok();
                let word = refusal.map(|refusal| refusal.error);
                Err(TokenError::Refused(status, word.filter(|word| REFUSALS.contains(&&**word))))
            }
            (What::Answered(status), ..) => Err(TokenError::Failed(status)),
        }
    }
}

/// RFC 6749 §2.3.1: both are encoded as in a form first, so that a colon in the id does no harm.
fn shown_by_basic(id: &str, secret: &SecretString) -> Result<HeaderValue, TokenError> {
    use base64::Engine;
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let both = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    let both = base64::engine::general_purpose::STANDARD.encode(both);
    let mut value = HeaderValue::try_from(format!("Basic {both}")).map_err(|_| TokenError::Unusable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A fetch that is out. Dropped, it lets the next one try, and tells everybody who waits for it.
struct Out<'a> {
    tokens: &'a Tokens,
    fetch: Option<Fetch>,
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            lock(&self.tokens.life).ended(fetch);
            self.tokens.changed.notify(usize::MAX);
        }
    }
}
