use core::time::Duration;

use super::request::RequestFields;

/// What a response that is kept may be used for, and for how long.
///
/// ```text
///   comes       fresh               stale, and served while somebody validates it
///     ├───────────────────────────┼──────────────────────────┤
///     0                        lifetime        stale-while-revalidate
///                                 ├───────────────────────────────────────┤
///                                    stands in for an error    stale-if-error
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kept {
    pub(super) lifetime: Duration,
    /// How old it was when it came.
    pub(super) age: Duration,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    pub(super) stale_while_revalidate: Duration,
    pub(super) stale_if_error: Duration,
}

/// What a response that is kept is good for now (RFC 9111 §4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// It is the answer.
    Fresh,
    /// It is the answer: it is stale, and the request takes such (`max-stale`).
    Stale,
    /// It may be the answer, if somebody else validates it at the same time (RFC 5861 §3).
    WhileRevalidating,
    /// It is the answer if the server says so.
    Validate,
}

impl Kept {
    /// How old it is, so long after it came (§4.2.3).
    pub fn age(&self, since: Duration) -> Duration {
        self.age.saturating_add(since)
    }

    /// What it is good for at this age, for this request.
    pub fn judge(&self, request: &RequestFields, age: Duration) -> Use {
        let RequestFields { max_age, max_stale, min_fresh, .. } = *request;
        let is_too_old = max_age.is_some_and(|max_age| age > max_age);
        let ends_too_soon = min_fresh.is_some_and(|min_fresh| self.lifetime.saturating_sub(age) < min_fresh);
        if self.no_cache || request.wants_validation() || is_too_old || ends_too_soon {
            return Use::Validate;
        }
        if self.lifetime > age {
            return Use::Fresh;
        }
        let staleness = self.staleness(age);
        // §4.2.4, §5.2.2.2: nobody's permission counts against these.
        if self.must_revalidate {
            return Use::Validate;
        }
        if max_stale.is_some_and(|max_stale| staleness <= max_stale) {
            return Use::Stale;
        }
        // A request that says how old or how fresh it wants its answer takes none of which the server alone knows.
        if request.takes_what_is_fresh() && max_stale.is_none() && staleness < self.stale_while_revalidate {
            return Use::WhileRevalidating;
        }
        Use::Validate
    }

    /// Whether it may be the answer at this age though it was not validated, since that failed: with this status, or with none
    /// at all (RFC 5861 §4).
    ///
    /// Any 500, 502, 503 or 504 is a failure there, and so is no answer, which a cache would pass on as one of these. A 429 is
    /// none of them, and counts only where the request itself takes stale answers.
    pub fn stands_in(&self, request: &RequestFields, age: Duration, status: Option<u16>) -> bool {
        // RFC 9111 §4.2.4.
        if self.no_cache || self.must_revalidate || request.wants_validation() {
            return false;
        }
        let by_request = request.stale_if_error.unwrap_or_default();
        let limit = match status {
            None | Some(500 | 502 | 503 | 504) => self.stale_if_error.max(by_request),
            Some(429) => by_request,
            Some(_) => Duration::ZERO,
        };
        !limit.is_zero() && self.staleness(age) <= limit
    }

    fn staleness(&self, age: Duration) -> Duration {
        age.saturating_sub(self.lifetime)
    }

    /// Whether it could be the answer to a request that asks for nothing special.
    pub fn is_fresh(&self, age: Duration) -> bool {
        self.judge(&RequestFields::new(), age) == Use::Fresh
    }
}
