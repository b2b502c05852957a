use core::time::Duration;

use super::directives::{Argument, Directives};

/// What the fields of a request say about answers from a cache (RFC 9111 §5.2.1, RFC 5861 §4).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestFields {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) max_stale: Option<Duration>,
    pub(super) min_fresh: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    has_cache_control: bool,
    pragma_no_cache: bool,
    asks_for_less: bool,
}

impl RequestFields {
    /// Of a request without any.
    pub const fn new() -> Self {
        Self {
            no_store: false,
            no_cache: false,
            only_if_cached: false,
            max_age: None,
            max_stale: None,
            min_fresh: None,
            stale_if_error: None,
            has_cache_control: false,
            pragma_no_cache: false,
            asks_for_less: false,
        }
    }

    /// Reads one field. Any that says nothing of caches is passed over.
    pub fn read(&mut self, name: &[u8], value: &[u8]) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"cache-control") {
            self.has_cache_control = true;
            Directives(value).for_each(|(name, argument)| self.directive(name, argument));
        } else if is(b"pragma") {
            self.pragma_no_cache |= Directives(value).any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"));
        } else if name.get(..3).is_some_and(|begins| begins.eq_ignore_ascii_case(b"if-")) || is(b"range") {
            self.asks_for_less = true;
        }
    }

    fn directive(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let least = |one: Option<Duration>, other: Duration| Some(one.map_or(other, |one| one.min(other)));
        if is(b"no-store") {
            self.no_store = true;
        } else if is(b"no-cache") {
            self.no_cache = true;
        } else if is(b"only-if-cached") {
            self.only_if_cached = true;
        } else if is(b"max-age") {
            self.max_age = least(self.max_age, argument.seconds().unwrap_or(Duration::ZERO));
        } else if is(b"min-fresh") {
            let seconds = argument.seconds().unwrap_or(Duration::MAX);
            self.min_fresh = Some(self.min_fresh.map_or(seconds, |other| other.max(seconds)));
        } else if is(b"max-stale") {
            let seconds = match argument {
                // However stale (§5.2.1.2).
                Argument::None => Some(Duration::MAX),
                Argument::Text(_) | Argument::Broken => argument.seconds(),
            };
            self.max_stale = least(self.max_stale, seconds.unwrap_or(Duration::ZERO));
        } else if is(b"stale-if-error") {
            self.stale_if_error = least(self.stale_if_error, argument.seconds().unwrap_or(Duration::ZERO));
        }
    }

    /// Whether no part of the answer may be kept (§5.2.1.5).
    pub const fn forbids_storing(&self) -> bool {
        self.no_store
    }

    /// Whether it wants an answer from the cache or none at all (§5.2.1.7).
    pub const fn wants_only_cached(&self) -> bool {
        self.only_if_cached
    }

    /// Whether it wants only part of a response, or one under conditions of its own: `Range`, `If-None-Match` and their kin.
    pub const fn asks_for_less(&self) -> bool {
        self.asks_for_less
    }

    /// Whether it wants nothing that was not validated for it (§5.2.1.4, §5.4).
    pub const fn wants_validation(&self) -> bool {
        self.no_cache || self.pragma_no_cache && !self.has_cache_control
    }

    /// Whether any answer that is fresh will do: it asks for none that is younger or lasts longer.
    pub const fn takes_what_is_fresh(&self) -> bool {
        !self.wants_validation() && self.max_age.is_none() && self.min_fresh.is_none()
    }
}
