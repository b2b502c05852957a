use std::fmt;

use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LENGTH, HeaderMap, LOCATION, USER_AGENT};
use http::{HeaderName, Method, StatusCode};
use steadfast_http::redirect::{self, Next};
use url::Url;

/// How many redirects of a call are followed unless told otherwise.
const AT_MOST: u32 = 5;

/// Fields that go to another origin too. Any other may hold a secret, as `X-Api-Key` does, and nobody can list those.
pub(crate) const HARMLESS: [HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, USER_AGENT];

/// Which redirects a client follows.
///
/// ```
/// use steadfast_client::Redirects;
///
/// let redirects = Redirects::same_origin().at_most(3);
/// # let _ = redirects;
/// ```
///
/// | | Default | Why |
/// | --- | --- | --- |
/// | which | [`none`](Self::none) | an API that answers with a redirect has moved, or sends whoever is not logged in to a page for people; followed in silence, a POST becomes a GET that succeeds and has done nothing |
/// | at most | 5 | what RFC 2068 §10.3 recommended, and RFC 9110 §15.4 remembers; each takes a token and time |
///
/// # What follows what
///
/// RFC 9110 §15.4, as [`steadfast_http::redirect`] has it: after a 301 or a 302 a POST becomes a GET, after a 303 everything
/// but a HEAD does, and after a 307 or a 308 nothing changes. A `Retry-After` is waited for (§10.2.3).
///
/// Each request goes through the whole pipeline, so that limits and breaker see it, and has retries of its own; the deadline
/// is one for all. A redirect is a success to the policies: the server is well.
///
/// # What another origin learns
///
/// Only a GET or a HEAD goes there, and only with `Accept`, `Accept-Encoding`, `Accept-Language` and `User-Agent`: no
/// authorization, no cookie, no key in a header or a query, no other field and no body. That holds for the rest of the call,
/// even if it leads back. From `https` nothing goes to `http`, whoever says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Redirects {
    reach: Reach,
    at_most: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    Nowhere,
    SameOrigin,
    AnyOrigin,
}

impl Redirects {
    /// Follows none: a redirect is [`Error::Redirect`](crate::Error::Redirect), and the response's `Location` is in it.
    pub const fn none() -> Self {
        Self { reach: Reach::Nowhere, at_most: AT_MOST }
    }

    /// Follows what leads to the origin of the base URL: the same scheme, host and port.
    pub const fn same_origin() -> Self {
        Self { reach: Reach::SameOrigin, at_most: AT_MOST }
    }

    /// Follows to any origin, without what may be secret.
    pub const fn any_origin() -> Self {
        Self { reach: Reach::AnyOrigin, at_most: AT_MOST }
    }

    /// Follows so many in one call. Zero follows none.
    #[must_use]
    pub const fn at_most(self, redirects: u32) -> Self {
        Self { at_most: redirects, ..self }
    }
}

impl Default for Redirects {
    fn default() -> Self {
        Self::none()
    }
}

/// Why a redirect was not followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NotFollowed {
    /// The client follows none.
    Never,
    /// It is none that anybody follows: a 300, 305 or 306.
    NotARedirect,
    /// It says nowhere to go, or more than one place, or one that is no place for requests.
    NoLocation,
    /// It leads to another origin, and the client follows none there.
    OtherOrigin,
    /// It leads from `https` to `http`, where all can read along.
    Insecure,
    /// It leads to another origin with a method that may change something there.
    UnsafeElsewhere,
    /// It leads to where the call has been.
    Loop,
    /// As many were followed as may be.
    TooMany {
        /// How many that is.
        at_most: u32,
    },
    /// The request's body was a stream, which is gone.
    BodyIsGone,
    /// The server asks for a wait that is longer than the deadline.
    TooLate,
}

impl fmt::Display for NotFollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("redirects are not followed"),
            Self::NotARedirect => f.write_str("a redirect that nobody follows"),
            Self::NoLocation => f.write_str("a redirect that does not say where to"),
            Self::OtherOrigin => f.write_str("redirects to another origin are not followed"),
            Self::Insecure => f.write_str("redirects from https to http are not followed"),
            Self::UnsafeElsewhere => f.write_str("redirects to another origin are followed for GET and HEAD only"),
            Self::Loop => f.write_str("the redirects go in a circle"),
            Self::TooMany { at_most } => write!(f, "no more than {at_most} redirects are followed"),
            Self::BodyIsGone => f.write_str("the body was a stream, and cannot be sent to where the redirect leads"),
            Self::TooLate => f.write_str("the redirect may be followed only after the deadline"),
        }
    }
}

/// A call on its way from one place to the next.
pub(crate) struct Journey {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Whether it has never been at another origin than that of the base URL: else no secret goes with it any more.
    pub(crate) at_home: bool,
    /// Where it has been, as what.
    been: Vec<(Method, Url)>,
}

impl Journey {
    pub(crate) const fn new(method: Method, url: Url) -> Self {
        Self { method, url, at_home: true, been: Vec::new() }
    }

    /// How many redirects were followed.
    pub(crate) fn redirects(&self) -> u32 {
        u32::try_from(self.been.len()).unwrap_or(u32::MAX)
    }

    /// Where it began.
    pub(crate) fn began(&self) -> (&Method, &Url) {
        self.been.first().map_or((&self.method, &self.url), |(method, url)| (method, url))
    }

    /// Goes on to where a response says, if it may. `secret` tells of a parameter of the query whether it is one that the
    /// client adds itself, and the body is gone if it was a stream that has left.
    pub(crate) fn follow(
        &mut self,
        redirects: Redirects,
        status: StatusCode,
        headers: &HeaderMap,
        body_is_gone: bool,
        secret: impl Fn(&str, &str) -> bool,
    ) -> Result<Next, NotFollowed> {
        if redirects.reach == Reach::Nowhere || redirects.at_most == 0 {
            return Err(NotFollowed::Never);
        }
        let next = redirect::next(status.as_u16(), self.method.as_str().as_bytes()).ok_or(NotFollowed::NotARedirect)?;
        let mut url = location(&self.url, headers).ok_or(NotFollowed::NoLocation)?;
        without(&mut url, secret);
        let method = match next {
            Next::Same => self.method.clone(),
            Next::Get => Method::GET,
        };
        if self.url.scheme() == "https" && url.scheme() == "http" {
            return Err(NotFollowed::Insecure);
        }
        let stays = self.url.origin() == url.origin();
        if !stays && redirects.reach == Reach::SameOrigin {
            return Err(NotFollowed::OtherOrigin);
        }
        if !stays && !matches!(method, Method::GET | Method::HEAD) {
            return Err(NotFollowed::UnsafeElsewhere);
        }
        if self.redirects() >= redirects.at_most {
            return Err(NotFollowed::TooMany { at_most: redirects.at_most });
        }
        let been = (self.method.clone(), self.url.clone());
        if (&been.0, &been.1) == (&method, &url) || self.been.contains(&(method.clone(), url.clone())) {
            return Err(NotFollowed::Loop);
        }
        let stays_home = self.at_home && stays;
        // A body of a GET is rare, and no business of another origin.
        let next = if stays_home { next } else { Next::Get };
        if body_is_gone && next == Next::Same {
            return Err(NotFollowed::BodyIsGone);
        }
        self.been.push(been);
        (self.method, self.url, self.at_home) = (method, url, stays_home);
        Ok(next)
    }

    /// Takes out of a request's fields what must not go with it to where it is now.
    pub(crate) fn strip(&self, next: Next, headers: &mut HeaderMap) {
        let describes_content = |name: &HeaderName| {
            // RFC 9110 §15.4: content-specific fields, by what their names begin with, and the digest of RFC 9530.
            name.as_str().starts_with("content-") || matches!(name.as_str(), "digest" | "repr-digest" | "last-modified")
        };
        let goes = |name: &HeaderName| match (self.at_home, next) {
            (false, _) => HARMLESS.contains(name),
            (true, Next::Get) => !describes_content(name) && name != "idempotency-key",
            // Counted anew by the transport.
            (true, Next::Same) => name != CONTENT_LENGTH,
        };
        let gone: Vec<_> = headers.keys().filter(|name| !goes(name)).cloned().collect();
        for name in gone {
            headers.remove(name);
        }
    }
}

/// Where a response says to go, seen from where it came from (RFC 9110 §10.2.2).
fn location(from: &Url, headers: &HeaderMap) -> Option<Url> {
    let mut fields = headers.get_all(LOCATION).iter();
    // More than one is nobody's wish, but somebody's attack.
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let mut url = from.join(std::str::from_utf8(field.as_bytes()).ok()?).ok()?;
    // A user's name and password in a URL would be sent as ours (RFC 9110 §4.2.4).
    let serves = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    url.set_fragment(None);
    serves.then_some(url)
}

/// Takes the parameters out of a URL's query that are secret, and leaves every other as it is encoded.
pub(crate) fn without(url: &mut Url, secret: impl Fn(&str, &str) -> bool) {
    let Some(query) = url.query() else { return };
    let is_secret =
        |parameter: &&str| url::form_urlencoded::parse(parameter.as_bytes()).any(|(name, value)| secret(&name, &value));
    if query.split('&').any(|parameter| is_secret(&parameter)) {
        let rest: Vec<_> = query.split('&').filter(|parameter| !is_secret(parameter)).collect();
        let rest = rest.join("&");
        url.set_query(Some(&*rest).filter(|rest| !rest.is_empty()));
    }
}
