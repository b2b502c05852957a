//! How many requests a server says are left, and until when: `RateLimit`, `X-RateLimit-*` and what vendors make of them.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::limits::{Counts, Remaining, Told};
//! use steadfast_http::RateLimitFields;
//!
//! let mut fields = RateLimitFields::new();
//! for (name, value) in [
//!     ("RateLimit", r#""burst";r=7;t=30"#),
//!     ("x-ratelimit-remaining-tokens", "149984"),
//!     ("x-ratelimit-reset-tokens", "6m0s"),
//! ] {
//!     fields.read(name.as_bytes(), value.as_bytes(), None);
//! }
//!
//! let told = fields.told(None);
//! let left: Vec<_> = told.iter().map(|limit| (limit.counts, limit.left, limit.reset_in.as_secs())).collect();
//! assert_eq!(left, [(Counts::Calls, 7, 30), (Counts::Weight, 149_984, 360)]);
//! ```
//!
//! # What is read
//!
//! Names in any case. What a limit holds in all, and how much of it is used, is not read: what is left says more.
//!
//! | Fields | Who | Read as |
//! | --- | --- | --- |
//! | `RateLimit: "name";r=50;t=30;pk=:…:`, a list | draft-ietf-httpapi-ratelimit-headers-08 to -11, §4 | each item with an `r`; a limit for each name and partition key; the name may be a token, as it was in -08 |
//! | `RateLimit-Policy: "name";q=100;w=60;qu="…"` | the same, §3 | the unit of `r`, and `w` where an item has no `t` |
//! | `RateLimit: limit=100, remaining=50, reset=5` | draft -05 to -07 | one limit |
//! | `RateLimit-Remaining`, `-Reset` | draft -00 to -06, GitLab, Kong | one limit |
//! | `X-RateLimit-Remaining`, `-Reset`; `X-Rate-Limit-…` | GitHub, Reddit, Discord; Twitter, Okta | one limit for each `-Resource` or `-Bucket` |
//! | the same with a list of numbers: `1, 14999` | Brave | a limit for each place in the list |
//! | `X-RateLimit-Reset-After`, `-Reset-Ms` | Discord and others | before `-Reset` |
//! | `x-ratelimit-remaining-requests`, `-reset-requests`, and with `-tokens` or any other word | `OpenAI`, Groq, Cerebras | a limit for each word |
//! | `anthropic-ratelimit-requests-remaining`, `-reset`, and with `input-tokens` or any other words | Anthropic | a limit for each |
//!
//! A limit counts what a call weighs if its word or its unit says `token`, and calls otherwise. Of other units, as the
//! draft's `content-bytes`, only zero is heeded, and that nothing is left of `concurrent-requests` holds nobody back: it
//! is no rate. A limit without a number, or without a reset, is none.
//!
//! # Which reset
//!
//! | Value | Read as | Who |
//! | --- | --- | --- |
//! | a number below 1,000,000,000 | seconds from now, to the millisecond, rounded up | the drafts, Reddit, Discord's `-After` |
//! | from there, below 100,000,000,000 | seconds since 1970 | GitHub, GitLab, Twitter, Discord |
//! | from there, a thousand times as much for each | milliseconds, microseconds, nanoseconds since 1970 | |
//! | `1s`, `6m0s`, `20ms`, `1h2m3.5s` | that long from now | `OpenAI`, Groq |
//! | `1994-11-06T08:49:37Z` | RFC 3339 | Anthropic |
//! | a date of HTTP | RFC 9110 §5.6.7 | GitLab's `-ResetTime` is not read, its `-Reset` is |
//!
//! That a number of milliseconds from now is meant, only a name that ends in `-ms` can say. Points in time need a `now`,
//! best of the server's own clock: see [`retry_after`](crate::retry_after). Without one, they are no reset.
//!
//! # With `Retry-After`
//!
//! "The `Retry-After` field MUST take precedence" (draft, on receiving the fields): it takes the place of the reset of
//! every limit of which nothing is left.
//!
//! # Bounds
//!
//! Eight limits and eight policies in one response; what comes after those is left out. Numbers saturate. A list or
//! dictionary with a fault in it is ignored as a whole (RFC 9651 §4.2; the draft: "malformed fields MUST be ignored").
//! Names and partition keys are kept as a hash of 32 bits: two limits that share one are taken for one, and the smaller
//! number counts.
//!
//! # When not to use it
//!
//! For limits that are told in the body, or as a share (`32/40`).

use core::time::Duration;

use steadfast_core::limits::{Counts, Remaining, Told};

use crate::date::UnixTime;
use crate::retry_after::decimal;

mod names;
mod reset;
mod structured;
#[cfg(test)]
mod tests;

use names::{Hash, Means};
use structured::{Bare, Parameters};

/// How many limits and how many policies of one response are read.
const MOST: usize = 8;

/// What the fields of one response say of its server's limits. See the [module](self) for which fields those are.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimitFields {
    limits: [Option<Limit>; MOST],
    policies: [Option<Policy>; MOST],
    /// Of what vendors' limits without a word of their own are: a bucket, or a kind of resource.
    scope: Hash,
}

/// As much of a limit as was read so far.
#[derive(Clone, Copy, Debug)]
struct Limit {
    which: Hash,
    unit: Unit,
    left: Option<u32>,
    reset_in: Option<Duration>,
    /// Whether a field said it that goes before others.
    is_exact: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unit {
    Requests,
    Tokens,
    /// It comes and goes with what is under way.
    Concurrency,
    Other,
    /// What the policy of this name says.
    OfPolicy(Hash),
}

/// What a `RateLimit-Policy` adds to what `RateLimit` says.
#[derive(Clone, Copy, Debug)]
struct Policy {
    name: Hash,
    unit: Unit,
    window: Option<Duration>,
}

impl RateLimitFields {
    /// None yet.
    pub const fn new() -> Self {
        Self { limits: [None; MOST], policies: [None; MOST], scope: Hash::NONE }
    }

    /// Reads the field `name: value`, if it is one that says something of a limit. `now` is for points in time.
    pub fn read(&mut self, name: &[u8], value: &[u8], now: Option<UnixTime>) {
        match names::meaning(name) {
            Some(Means::Limits) => self.read_limits(value),
            Some(Means::Policies) => self.read_policies(value),
            Some(Means::Remaining(which, unit)) => {
                for (which, value) in numbers(which, value) {
                    // A fraction of one is none.
                    let whole = value.split(|byte| *byte == b'.').next().filter(|_| decimal(value, 0).is_some());
                    if let Some(left) = whole.and_then(|whole| decimal(whole, 0)) {
                        self.add(which, unit, |limit| limit.and_left(left));
                    }
                }
            }
            Some(Means::Reset(which, unit)) => {
                for (which, value) in numbers(which, value) {
                    if let Some(reset_in) = reset::reset_in(value, now) {
                        self.add(which, unit, |limit| limit.and_reset(reset_in, false));
                    }
                }
            }
            Some(Means::ResetAfter(which, unit)) => {
                if let Some(reset_in) = reset::reset_in(value, now) {
                    self.add(which, unit, |limit| limit.and_reset(reset_in, true));
                }
            }
            Some(Means::ResetMillis(which, unit)) => {
                if let Some(reset_in) = reset::reset_in_millis(value, now) {
                    self.add(which, unit, |limit| limit.and_reset(reset_in, true));
                }
            }
            Some(Means::Scope) => self.scope = self.scope.and(value.trim_ascii()),
            None => {}
        }
    }

    /// The limits of which both was said: how many are left, and until when. `retry_after` is how long the response asks
    /// to wait, if it does: see [`RetryAfter`](crate::RetryAfter).
    pub fn told(&self, retry_after: Option<Duration>) -> Told {
        self.limits.iter().flatten().filter_map(|limit| self.remaining(limit, retry_after)).collect()
    }

    fn remaining(&self, limit: &Limit, retry_after: Option<Duration>) -> Option<Remaining> {
        let left = limit.left?;
        let (which, unit, window) = match limit.unit {
            Unit::OfPolicy(name) => {
                let policy = self.policies.iter().flatten().find(|policy| policy.name == name);
                let (unit, window) = policy.map_or((Unit::Requests, None), |policy| (policy.unit, policy.window));
                (limit.which, unit, window)
            }
            unit => (limit.which.with(self.scope), unit, None),
        };
        let counts = match unit {
            Unit::Tokens => Counts::Weight,
            Unit::Requests => Counts::Calls,
            Unit::Other if left == 0 => Counts::Calls,
            Unit::Other | Unit::Concurrency | Unit::OfPolicy(_) => return None,
        };
        let reset_in = retry_after.filter(|_| left == 0).or(limit.reset_in).or(window)?;
        Some(Remaining { which: which.number(), counts, left, reset_in })
    }

    /// Adds what was said of a limit, if there is room for it.
    fn add(&mut self, which: Hash, unit: Unit, said: impl FnOnce(&mut Limit)) {
        let is_its = |place: &&mut Option<Limit>| place.is_none_or(|limit| limit.which == which);
        if let Some(place) = self.limits.iter_mut().find(is_its) {
            said(place.get_or_insert(Limit { which, unit, left: None, reset_in: None, is_exact: false }));
        }
    }

    fn read_limits(&mut self, value: &[u8]) {
        let mut read = *self;
        if structured::list(value, |item, parameters| read.read_item(item, parameters)).is_some() {
            *self = read;
            return;
        }
        let (mut remaining, mut reset) = (None, None);
        let read = structured::dictionary(value, |key, item| match key {
            b"remaining" => remaining = item.count(),
            b"reset" => reset = item.count(),
            _ => {}
        });
        if let (Some(()), Some(left), Some(seconds)) = (read, remaining, reset) {
            self.add(Hash::of(b"ratelimit"), Unit::Requests, |limit| {
                limit.and_left(left);
                limit.and_reset(Duration::from_secs(seconds), false);
            });
        }
    }

    /// A service limit item (§4.1 of the draft).
    fn read_item(&mut self, item: Bare<'_>, parameters: Parameters<'_>) {
        let (mut left, mut reset_in, mut partition) = (None, None, Hash::NONE);
        for (key, value) in parameters {
            match (key, value) {
                (b"r", value) => left = value.count(),
                (b"t", value) => reset_in = value.count().map(Duration::from_secs),
                (b"pk", Bare::Bytes(key) | Bare::String(key) | Bare::Token(key)) => partition = Hash::of(key),
                _ => {}
            }
        }
        if let (Some(name), Some(left)) = (item.name(), left) {
            let policy = Hash::of(name);
            let which = Hash::of(b"ratelimit").with(policy).with(partition);
            self.add(which, Unit::OfPolicy(policy), |limit| {
                limit.and_left(left);
                if let Some(reset_in) = reset_in {
                    limit.and_reset(reset_in, false);
                }
            });
        }
    }

    /// Quota policy items (§3.1 of the draft).
    fn read_policies(&mut self, value: &[u8]) {
        let mut policies = self.policies;
        let read = structured::list(value, |item, parameters| {
            let Some(name) = item.name().map(Hash::of) else {
                return; // Of an earlier draft, where a policy is known by its quota.
            };
            let mut policy = Policy { name, unit: Unit::Requests, window: None };
            let mut quota = None;
            for (key, value) in parameters {
                match (key, value) {
                    (b"q", value) => quota = value.count(),
                    // §3.1.3: none is of no length.
                    (b"w", value) => {
                        policy.window = value.count().filter(|seconds| *seconds > 0).map(Duration::from_secs);
                    }
                    (b"qu", Bare::String(unit) | Bare::Token(unit)) => policy.unit = Unit::of(unit),
                    _ => {}
                }
            }
            if quota.is_none() {
                return; // §3.1: it is required.
            }
            let is_its = |place: &&mut Option<Policy>| place.is_none_or(|known| known.name == name);
            if let Some(place) = policies.iter_mut().find(is_its) {
                *place = Some(policy);
            }
        });
        if read.is_some() {
            self.policies = policies;
        }
    }
}

/// The items of a list of numbers, of which each place is a limit of its own. What is none, is one item: a date has commas, too.
fn numbers(which: Hash, value: &[u8]) -> impl Iterator<Item = (Hash, &[u8])> {
    let is_list = value.iter().all(|byte| byte.is_ascii_digit() || b" \t,.".contains(byte));
    let items = value.split(move |byte| is_list && *byte == b',').zip(0_u8..);
    items.map(move |(item, place)| (if place == 0 { which } else { which.and(b",").and(&[place]) }, item))
}

impl Unit {
    /// A quota unit of the draft's registry (§3.1), or of anybody's own.
    fn of(name: &[u8]) -> Self {
        match name {
            b"request" | b"requests" => Self::Requests,
            b"concurrent-requests" => Self::Concurrency,
            other if names::says_token(other) => Self::Tokens,
            _ => Self::Other,
        }
    }
}

impl Limit {
    /// Said twice, the smaller number counts.
    fn and_left(&mut self, left: u64) {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        self.left = Some(self.left.map_or(left, |known| known.min(left)));
    }

    /// Said twice, the later reset counts, unless one of them is exact.
    fn and_reset(&mut self, reset_in: Duration, is_exact: bool) {
        let known = self.reset_in.filter(|_| self.is_exact == is_exact);
        if self.is_exact <= is_exact {
            self.reset_in = Some(known.map_or(reset_in, |known| known.max(reset_in)));
            self.is_exact = is_exact;
        }
    }
}
