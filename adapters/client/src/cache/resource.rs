use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AGE, CONNECTION, CONTENT_LENGTH, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use steadfast_core::time::Instant;
use steadfast_http::cache::validation::{Validators, confirms, corresponds, is_replaced, stays};
use steadfast_http::cache::{Kept, RequestFields, ResponseFields, Use};
use steadfast_http::date::{self, UnixTime};

use crate::answer::{Answer, Head};

/// How many responses of one URL are kept, which vary by what their requests had.
const MAX_VARIANTS: usize = 8;

/// By how many fields a response may vary. What varies by more is found again by nobody.
const MAX_VARY: usize = 32;

/// What a field takes beside its content, in the table that it is in.
const FIELD_OVERHEAD: usize = 128;

/// What a response takes beside its content: tables and counters, about.
const OVERHEAD: usize = 512;

/// What is kept of one URL: its latest responses, at most eight that differ by what their requests had.
///
/// Only its size is anybody's business but the cache's.
#[derive(Default)]
pub struct Resource {
    /// The latest first.
    variants: Vec<Arc<Variant>>,
}

impl Resource {
    /// How much memory it takes, about: never less than its bodies and fields.
    pub fn bytes(&self) -> usize {
        self.variants.iter().map(|variant| variant.bytes()).fold(OVERHEAD, usize::saturating_add)
    }

    /// The latest response that answers such a request.
    pub(super) fn find(&self, asked: &HeaderMap, ignored: &[HeaderName]) -> Option<&Arc<Variant>> {
        self.variants.iter().find(|variant| variant.answers(asked, ignored))
    }

    /// The same with this response as the latest, in place of all that answer the same request. `None` if one of those was asked
    /// for later, and only came earlier (RFC 9111 §4: a MUST).
    pub(super) fn with(&self, variant: &Arc<Variant>, asked: &HeaderMap, ignored: &[HeaderName]) -> Option<Self> {
        let is_late = self.find(asked, ignored).is_some_and(|other| other.sent > variant.sent);
        let others = self.variants.iter().filter(|other| !other.answers(asked, ignored));
        let variants = [variant].into_iter().chain(others).take(MAX_VARIANTS);
        (!is_late).then(|| Self { variants: variants.cloned().collect() })
    }

    /// The same without what answers this request; `None` if nothing is left.
    pub(super) fn without(&self, asked: &HeaderMap, ignored: &[HeaderName]) -> Option<Self> {
        let others = self.variants.iter().filter(|other| !other.answers(asked, ignored));
        let variants = Vec::from_iter(others.cloned());
        (!variants.is_empty()).then_some(Self { variants })
    }
}

/// Shows nothing of what is kept.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource").field("responses", &self.variants.len()).field("bytes", &self.bytes()).finish()
    }
}

/// One response, and the requests that it answers.
#[derive(Clone)]
pub(crate) struct Variant {
    /// What its request had, as far as that matters.
    asked: HeaderMap,
    /// By which of it the server says that the response varies.
    vary: Vec<HeaderName>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    kept: Kept,
    /// When its request was sent, or that by which it was renewed.
    sent: Instant,
    /// When it came.
    at: Instant,
    /// It varies by a field that is only added when a request is sent, and not always as the same: nobody can tell from a request
    /// whether it answers it.
    varies_unseen: bool,
    /// Nobody knew the time when it came, so nobody knows how old it was.
    is_timeless: bool,
}

/// What there is to know of a response when it comes, apart from what it says.
#[derive(Clone, Copy)]
pub(super) struct Came {
    /// When its request was sent.
    pub(super) sent: Instant,
    pub(super) at: Instant,
    /// What time that is on the wall, if anybody knows.
    pub(super) wall: Option<UnixTime>,
    /// For how long it may be taken for fresh, where it does not say so itself.
    pub(super) longest_guess: Duration,
}

impl Variant {
    /// A response that has come, if it may be kept.
    pub(super) fn of(
        came: Came,
        status: StatusCode,
        headers: &HeaderMap,
        body: &Bytes,
        asked: &HeaderMap,
        ignored: &[HeaderName],
        is_unseen: impl Fn(&HeaderName) -> bool,
    ) -> Option<Self> {
        let vary = vary(headers)?;
        let mut kept_headers = HeaderMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| stays_here(headers, name)) {
            kept_headers.try_append(name.clone(), value.clone()).ok()?;
        }
        put_date(&mut kept_headers, came.wall)?;
        let told = told(&kept_headers, came.wall);
        if !told.may_be_stored(status.as_u16()) {
            return None;
        }
        let asked = asked.iter().filter(|(name, _)| vary.contains(name) || !ignored.contains(name));
        let (varies_unseen, is_timeless) = (vary.iter().any(is_unseen), came.wall.is_none());
        Some(Self {
            asked: asked.map(|(name, value)| (name.clone(), value.clone())).collect(),
            vary,
            status,
            kept: kept(&told, status, came),
            headers: kept_headers,
            body: body.clone(),
            sent: came.sent,
            at: came.at,
            varies_unseen,
            is_timeless,
        })
    }

    /// The same after a 304, if that means this one; an update may say that it is not to be kept any more.
    pub(super) fn confirmed(&self, came: Came, told: &HeaderMap) -> Option<Self> {
        let confirmed = confirms(validators(&self.headers), validators(told));
        confirmed.then(|| self.updated(came, told)).flatten()
    }

    /// The same after the answer to a `HEAD`, if that means this one.
    pub(super) fn updated_by_head(&self, came: Came, told: &HeaderMap) -> Option<Self> {
        let length = told.get(CONTENT_LENGTH).map(|length| length.to_str().ok().and_then(|length| length.parse().ok()));
        let length = length.map(|length| length.unwrap_or(u64::MAX));
        let own = u64::try_from(self.body.len()).unwrap_or(u64::MAX);
        let speaks_of_it = corresponds(validators(&self.headers), validators(told), own, length);
        speaks_of_it.then(|| self.updated(came, told)).flatten()
    }

    /// RFC 9111 §3.2: each field that was told takes the place of all of its name.
    fn updated(&self, came: Came, told: &HeaderMap) -> Option<Self> {
        let replaced = |name: &HeaderName| is_replaced(name.as_str().as_bytes()) && stays_here(told, name);
        let mut headers = HeaderMap::new();
        // How old it is, and when it was sent, is said of this answer or not at all.
        let stays = |name: &HeaderName| *name != AGE && *name != DATE && (!told.contains_key(name) || !replaced(name));
        let before = self.headers.iter().filter(|(name, _)| stays(name));
        for (name, value) in before.chain(told.iter().filter(|(name, _)| replaced(name))) {
            headers.try_append(name.clone(), value.clone()).ok()?;
        }
        put_date(&mut headers, came.wall)?;
        let told = self::told(&headers, came.wall);
        // What it varies by may have changed as well; by what its request had, nobody knows then.
        let varies_as_before = vary(&headers).is_some_and(|vary| vary.iter().all(|name| self.vary.contains(name)));
        (varies_as_before && told.may_be_stored(self.status.as_u16())).then(|| Self {
            asked: self.asked.clone(),
            vary: self.vary.clone(),
            status: self.status,
            kept: kept(&told, self.status, came),
            headers,
            body: self.body.clone(),
            sent: came.sent,
            at: came.at,
            varies_unseen: self.varies_unseen,
            is_timeless: came.wall.is_none(),
        })
    }

    /// The same with a body that holds no more memory than it is long.
    pub(super) fn trimmed(self) -> Self {
        Self { body: Bytes::copy_from_slice(&self.body), ..self }
    }

    pub(super) fn bytes(&self) -> usize {
        let fields = |headers: &HeaderMap| {
            headers
                .iter()
                .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
                .fold(0, usize::saturating_add)
        };
        OVERHEAD
            .saturating_add(self.body.len())
            .saturating_add(fields(&self.headers))
            .saturating_add(fields(&self.asked))
    }

    /// Whether a request with these fields could have had this response (RFC 9111 §4.1): it has the same in all that the
    /// response varies by, and in every field besides that may say who asks.
    pub(super) fn answers(&self, asked: &HeaderMap, ignored: &[HeaderName]) -> bool {
        let matters = |name: &HeaderName| self.vary.contains(name) || !ignored.contains(name);
        let same = |name: &HeaderName| asked.get_all(name).iter().eq(self.asked.get_all(name));
        asked.keys().filter(|name| matters(name)).all(same) && self.asked.keys().all(same)
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        self.kept.age(now - self.at)
    }

    /// What it is good for now, if anybody knows what time it is: a cache without a clock uses nothing that was not validated
    /// (RFC 9111 §4).
    pub(super) fn judge(&self, request: &RequestFields, now: Instant, wall: Option<UnixTime>) -> Use {
        if !self.is_judged(wall) {
            return Use::Validate;
        }
        self.kept.judge(request, self.age(now))
    }

    fn is_judged(&self, wall: Option<UnixTime>) -> bool {
        wall.is_some() && !self.is_timeless && !self.varies_unseen
    }

    /// Whether it is better than the error that this call ended with: one with this status, or none. What is kept of an error
    /// never is.
    pub(super) fn stands_in(
        &self,
        request: &RequestFields,
        now: Instant,
        wall: Option<UnixTime>,
        status: Option<StatusCode>,
    ) -> bool {
        let can = self.is_judged(wall) && self.status.is_success();
        can && self.kept.stands_in(request, self.age(now), status.map(|status| status.as_u16()))
    }

    /// Asks whether this is still the answer (§4.3.1). `false` if nothing is known by which to ask.
    pub(super) fn put_conditions(&self, request: &mut HeaderMap) -> bool {
        let mut has_conditions = false;
        for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = self.headers.get(validator) {
                has_conditions |= request.try_insert(condition, value.clone()).is_ok();
            }
        }
        has_conditions
    }

    /// It as the answer to a call: with its age (§4), or as it has just been told.
    pub(super) fn answer(&self, age: Option<Duration>, is_head: bool) -> Answer {
        let mut headers = self.headers.clone();
        if let Some(age) = age {
            // One field too many is none: it is the answer all the same, and the age is told elsewhere.
            let _ = headers.try_insert(AGE, HeaderValue::from(age.as_secs()));
        }
        let body = if is_head { Bytes::new() } else { self.body.clone() };
        Answer::Whole { head: Head { status: self.status, headers, retry_after: None }, body }
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Shows no header value and no body: secrets may be in either.
impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variant")
            .field("status", &self.status)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The names of the fields that a response varies by; `None` if one of them is no name, or they are too many.
fn vary(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let members = headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    names.map(|name| HeaderName::from_bytes(name).ok()).try_fold(Vec::new(), |mut names, name| {
        let name = name?;
        if !names.contains(&name) {
            names.push(name);
        }
        (names.len() <= MAX_VARY).then_some(names)
    })
}

/// When it was sent, where it does not say so (RFC 9110 §6.6.1). `None` if there is no room for it.
fn put_date(headers: &mut HeaderMap, wall: Option<UnixTime>) -> Option<()> {
    if let (None, Some(date)) = (headers.get(DATE), wall.and_then(date::format)) {
        headers.try_insert(DATE, HeaderValue::from_bytes(&date).ok()?).ok()?;
    }
    Some(())
}

fn told(headers: &HeaderMap, wall: Option<UnixTime>) -> ResponseFields {
    let mut told = ResponseFields::new();
    let now = wall.unwrap_or(UnixTime::EPOCH);
    headers.iter().for_each(|(name, value)| told.read(name.as_str().as_bytes(), value.as_bytes(), now));
    told
}

fn kept(told: &ResponseFields, status: StatusCode, came: Came) -> Kept {
    // Without a clock, all that this says of time is of no use, and none is made of it.
    let wall = came.wall.or(told.date()).unwrap_or(UnixTime::EPOCH);
    told.kept(status.as_u16(), wall, came.at - came.sent, came.longest_guess)
}

fn validators(headers: &HeaderMap) -> Validators<'_> {
    let value = |name| headers.get(name).map(HeaderValue::as_bytes);
    Validators { etag: value(ETAG), last_modified: value(LAST_MODIFIED) }
}

/// Whether a field of a response is kept with it (§3.1): not if it is about the connection, or `Connection` says so.
fn stays_here(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    stays(name.as_str().as_bytes())
        && !options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}
