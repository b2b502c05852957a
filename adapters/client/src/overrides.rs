use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use steadfast_core::outcome::Idempotency;
use steadfast_core::pipeline::CallOptions;

use crate::cost::Cost;
use crate::minted::IdempotencyKeys;
use crate::redirect::Redirects;
use crate::request::RequestBuilder;

/// What one call has otherwise than its client and its pipeline say.
#[derive(Clone, Debug)]
pub(crate) struct Overrides {
    pub(crate) idempotency: Option<Idempotency>,
    weight: NonZeroU32,
    priority: u8,
    deadline: Option<Duration>,
    attempt_timeout: Option<Duration>,
    max_attempts: Option<u32>,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) redirects: Option<Redirects>,
    pub(crate) key: Key,
    /// Whether a response with any status is what was asked for.
    pub(crate) any_status: bool,
    pub(crate) cost: Option<Cost>,
    /// Whether it is neither answered from the cache nor kept there.
    pub(crate) past_cache: bool,
    /// Whose limits it goes by.
    pub(crate) limit_key: Option<LimitKey>,
    /// Told as soon as anything may have been sent, by whoever must not send it again.
    pub(crate) begun: Option<Arc<AtomicBool>>,
}

/// The key whose limits a call goes by. It may be a secret.
#[derive(Clone)]
pub(crate) struct LimitKey(pub(crate) Arc<str>);

impl fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitKey")
    }
}

/// Whether a key is minted for a call.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    AsTheClientSays,
    Mint(IdempotencyKeys),
    None,
}

impl Overrides {
    pub(crate) const fn none() -> Self {
        Self {
            idempotency: None,
            weight: NonZeroU32::MIN,
            priority: 0,
            deadline: None,
            attempt_timeout: None,
            max_attempts: None,
            read_timeout: None,
            redirects: None,
            key: Key::AsTheClientSays,
            any_status: false,
            cost: None,
            limit_key: None,
            begun: None,
            past_cache: false,
        }
    }

    pub(crate) fn priority(&self) -> u8 {
        self.priority
    }

    /// The same in the pipeline's words, for a request of this kind.
    pub(crate) fn options(&self, idempotency: Idempotency) -> CallOptions {
        let options = CallOptions::new(self.idempotency.unwrap_or(idempotency));
        let mut options = options.with_weight(self.weight).with_priority(self.priority);
        if let Some(time) = self.deadline {
            options = options.with_deadline(time);
        }
        if let Some(time) = self.attempt_timeout {
            options = options.with_attempt_timeout(time);
        }
        if let Some(attempts) = self.max_attempts {
            options = options.with_max_attempts(attempts);
        }
        options
    }
}

/// # What this call has otherwise
///
/// | Override | Default | Range |
/// | --- | --- | --- |
/// | `deadline` | the pipeline's | zero is over at once |
/// | `attempt_timeout` | the pipeline's | cut to the deadline |
/// | `read_timeout` | the client's | zero waits for nothing |
/// | `max_attempts` | the pipeline's | at most the pipeline's; 0 counts as 1 |
/// | `weight` | 1 token | at least 1 |
/// | `cost` | its weight | 0 and more |
/// | `limit_key` | none: by the URL | of a client with limits [per key](crate::ApiClientBuilder::per_key) |
/// | `priority` | 0, the lowest | 0 to 255 |
/// | `idempotency` | by method and headers (RFC 9110 §9.2.2) | |
/// | `idempotency_key` | as the client says | |
/// | `redirects` | the client's | |
/// | `without_cache` | the client's [`Cache`](crate::Cache), and what the call's `Cache-Control` says | |
///
/// How long it may take to connect is a part of the attempt's time; where it is to be less than that, it is a setting of the
/// transport, which alone knows when it connects.
impl<T, C, O> RequestBuilder<'_, T, C, O> {
    /// By when the whole call has to end, from its start, with all its waits, retries and redirects.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.overrides.deadline = Some(time);
        self
    }

    /// How long each attempt may take. No attempt outlasts the deadline.
    pub fn attempt_timeout(mut self, time: Duration) -> Self {
        self.overrides.attempt_timeout = Some(time);
        self
    }

    /// For how long nothing may come of the response's body while it is read. Default: the client's.
    ///
    /// Zero waits for nothing: what is not there when the head is, counts as stalled.
    pub fn read_timeout(mut self, time: Duration) -> Self {
        self.overrides.read_timeout = Some(time);
        self
    }

    /// How many attempts may be made, the first included, if the pipeline allows as many. Where redirects are followed, that
    /// counts for each request anew.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.overrides.max_attempts = Some(attempts);
        self
    }

    /// One attempt, whatever comes of it.
    pub fn without_retry(self) -> Self {
        self.max_attempts(1)
    }

    /// How many tokens of the rate limit each attempt takes. Default: 1.
    pub fn weight(mut self, tokens: NonZeroU32) -> Self {
        self.overrides.weight = tokens;
        self
    }

    /// Goes by the limits of this key, of a client that has limits [per key](crate::ApiClientBuilder::per_key); else it cannot be
    /// sent. It is shown nowhere.
    pub fn limit_key(mut self, key: &str) -> Self {
        self.overrides.limit_key = Some(LimitKey(key.into()));
        self
    }

    /// Goes before all in line for a limit that have a lower priority. Default: 0, the lowest.
    pub fn priority(mut self, priority: u8) -> Self {
        self.overrides.priority = priority;
        self
    }

    /// Says whether the call may be repeated, where its method and headers do not tell: a `POST` that only reads.
    pub fn idempotency(mut self, idempotency: Idempotency) -> Self {
        self.overrides.idempotency = Some(idempotency);
        self
    }

    /// Mints a key for this call, whatever its method, so that it can be repeated: see [`IdempotencyKeys`]. A key that is set
    /// as a header goes before.
    pub fn idempotency_key(mut self, keys: IdempotencyKeys) -> Self {
        self.overrides.key = Key::Mint(keys);
        self
    }

    /// Mints none for this call, even if the client does.
    pub fn without_idempotency_key(mut self) -> Self {
        self.overrides.key = Key::None;
        self
    }

    /// Goes past the client's [`Cache`](crate::Cache): is not answered from it, not kept there, and waits for no other call. What is
    /// kept stays. A `Cache-Control` of the call's own says less than that, and says it to the server too.
    pub fn without_cache(mut self) -> Self {
        self.overrides.past_cache = true;
        self
    }

    /// Which redirects are followed.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.overrides.redirects = Some(redirects);
        self
    }
}
