use core::time::Duration;

use super::directives::{Argument, Directives, seconds};
use super::kept::Kept;
use crate::date::{self, UnixTime};

/// Statuses that may be kept without being told for how long (RFC 9110 §15.1), but for those that are a part (206) or a step to
/// elsewhere (3xx).
const KNOWN: [u16; 8] = [200, 203, 204, 404, 405, 410, 414, 501];

/// What the fields of a response say about keeping it (RFC 9111 §5).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResponseFields {
    no_store: bool,
    no_cache: bool,
    must_revalidate: bool,
    must_understand: bool,
    public: bool,
    private: bool,
    max_age: Said<Duration>,
    stale_while_revalidate: Option<Duration>,
    stale_if_error: Option<Duration>,
    expires: Said<UnixTime>,
    age: Option<Duration>,
    date: Option<UnixTime>,
    last_modified: Option<UnixTime>,
    varies_by_anything: bool,
}

/// What may be said once, or more than once if it is the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Said<T> {
    #[default]
    Nothing,
    This(T),
    /// No value at all, or two that differ.
    Nonsense,
}

impl<T: Copy + PartialEq> Said<T> {
    fn and(self, said: Option<T>) -> Self {
        match (self, said) {
            (Self::Nothing, Some(said)) => Self::This(said),
            (Self::This(one), Some(said)) if one == said => self,
            (Self::Nothing | Self::This(_) | Self::Nonsense, _) => Self::Nonsense,
        }
    }
}

impl ResponseFields {
    /// Of a response without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one field. Any that says nothing of caches is passed over. `now` places dates with a year of two digits.
    pub fn read(&mut self, name: &[u8], value: &[u8], now: UnixTime) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"cache-control") {
            Directives(value).for_each(|(name, argument)| self.directive(name, argument));
        } else if is(b"expires") {
            self.expires = self.expires.and(date::parse(value, now));
        } else if is(b"date") {
            self.date = date::parse(value, now);
        } else if is(b"last-modified") {
            self.last_modified = date::parse(value, now);
        } else if is(b"age") {
            // The first, if it was told more than once (§5.1).
            let first = value.split(|byte| *byte == b',').next().unwrap_or_default();
            self.age = self.age.or(seconds(first.trim_ascii()));
        } else if is(b"vary") {
            self.varies_by_anything |= value.split(|byte| *byte == b',').any(|member| member.trim_ascii() == b"*");
        }
    }

    fn directive(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let permitted = |before: Option<Duration>| {
            let seconds = argument.seconds().unwrap_or(Duration::ZERO);
            Some(before.map_or(seconds, |before| before.min(seconds)))
        };
        if is(b"no-store") {
            self.no_store = true;
        } else if is(b"no-cache") {
            self.no_cache = true;
        } else if is(b"must-revalidate") {
            self.must_revalidate = true;
        } else if is(b"must-understand") {
            self.must_understand = true;
        } else if is(b"public") {
            self.public = true;
        } else if is(b"private") {
            self.private = true;
        } else if is(b"max-age") {
            self.max_age = self.max_age.and(argument.seconds());
        } else if is(b"stale-while-revalidate") {
            self.stale_while_revalidate = permitted(self.stale_while_revalidate);
        } else if is(b"stale-if-error") {
            self.stale_if_error = permitted(self.stale_if_error);
        }
    }

    /// Whether a private cache may keep the response to a `GET`, if it has this status and has come whole (§3).
    ///
    /// What varies by anything (§4.1) could never be found again, and is not worth keeping. Nor are redirects and parts.
    pub fn may_be_stored(&self, status: u16) -> bool {
        let knows = KNOWN.contains(&status);
        knows && (!self.no_store || self.must_understand) && !self.varies_by_anything
    }

    /// When it was sent, if it says so.
    pub const fn date(&self) -> Option<UnixTime> {
        self.date
    }

    /// What it is to be used by, from now on: it came just `now`, so long after its request was sent, and where it does not say
    /// how long it is fresh, that may be guessed up to `longest_guess`.
    pub fn kept(&self, status: u16, now: UnixTime, since_request: Duration, longest_guess: Duration) -> Kept {
        let date = self.date.unwrap_or(now);
        // §4.2.3. By how much clocks differ, nobody knows: the greater counts.
        let age = (now - date).max(self.age.unwrap_or_default().saturating_add(since_request));
        Kept {
            lifetime: self.lifetime(status, date, longest_guess),
            age,
            no_cache: self.no_cache,
            must_revalidate: self.must_revalidate,
            stale_while_revalidate: self.stale_while_revalidate.unwrap_or_default(),
            stale_if_error: self.stale_if_error.unwrap_or_default(),
        }
    }

    /// §4.2.1: what is told, in this order, and else what is guessed.
    fn lifetime(&self, status: u16, date: UnixTime, longest_guess: Duration) -> Duration {
        match (self.max_age, self.expires, self.last_modified) {
            (Said::This(max_age), _, _) => max_age,
            (Said::Nonsense, _, _) | (Said::Nothing, Said::Nonsense, _) => Duration::ZERO,
            (Said::Nothing, Said::This(expires), _) => expires - date,
            // §4.2.2: a status that is not known may be guessed at if it is said to be public or private. Ours are all known.
            (Said::Nothing, Said::Nothing, Some(modified)) if KNOWN.contains(&status) => {
                ((date - modified) / 10).min(longest_guess)
            }
            (Said::Nothing, Said::Nothing, _) => Duration::ZERO,
        }
    }
}
