use std::time::Duration;

use secrecy::SecretString;
use steadfast_core::time::Instant;

/// How long a fetch may be out before another is allowed: only one whose future is never polled again runs into it.
const LEASE: Duration = Duration::from_secs(60);

/// How long nobody tries again to replace a token that still works, after a fetch has failed.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a token is used whose server does not say. RFC 6749 §5.1 recommends that it does.
const UNKNOWN_LIFE: Duration = Duration::from_secs(60 * 60);

/// The life of an access token that all calls of a client share, as a state machine.
///
/// ```text
///            fetched                     refresh_at                   expires_at
/// ┌────────┐ ─────▶ ┌───────┐ ────────────────────▶ ┌───────┐ ──────────────────▶ ┌─────────┐
/// │ Absent │        │ Fresh │                       │ Stale │                     │ Expired │
/// └────────┘ ◀───── └───────┘ ◀──────────────────── └───────┘                     └─────────┘
///            rejected (401)                 fetched
/// ```
///
/// A stale token still works: whoever asks first fetches another, and everybody else goes on with the old one. Without a
/// token that works, everybody waits for the one who fetches.
///
/// Invariants, each the name of a test:
/// - *one fetches for all*: while a fetch is out, nobody is told to begin another.
/// - *a lost fetch is replaced*: one that never reports keeps nobody from fetching for longer than its lease.
/// - *only the token that was rejected is dropped*: late news about an earlier one changes nothing.
#[derive(Debug)]
pub(super) struct TokenLife {
    token: Option<Token>,
    /// Counts the tokens, so that late news about an earlier one is recognised.
    generation: u64,
    /// Until when the fetch that is out keeps others from beginning one.
    fetching: Option<Instant>,
    /// Counts the fetches, likewise.
    fetches: u64,
}

#[derive(Debug)]
struct Token {
    secret: SecretString,
    refresh_at: Instant,
    expires_at: Instant,
}

/// What somebody who needs a token does next.
#[derive(Debug)]
pub(super) enum Need {
    /// Use this one. Its number tells which it is, should it be rejected.
    Use(SecretString, u64),
    /// Fetch one, and say how that ended.
    Fetch(Fetch),
    /// Wait for the one who fetches; until then at the latest.
    Wait(Instant),
}

/// Leave to fetch a token for everybody.
#[derive(Debug)]
#[must_use = "say how it ended, or everybody waits until its lease does"]
pub(super) struct Fetch(u64);

impl TokenLife {
    pub(super) const fn new() -> Self {
        Self { token: None, generation: 0, fetching: None, fetches: 0 }
    }

    pub(super) fn ask(&mut self, now: Instant) -> Need {
        let fetching = self.fetching.filter(|lease| now < *lease);
        match (&self.token, fetching) {
            (Some(token), _) if now < token.refresh_at => Need::Use(token.secret.clone(), self.generation),
            (Some(token), Some(_)) if now < token.expires_at => Need::Use(token.secret.clone(), self.generation),
            (_, Some(lease)) => Need::Wait(lease),
            (_, None) => {
                self.fetching = Some(now + LEASE);
                self.fetches += 1;
                Need::Fetch(Fetch(self.fetches))
            }
        }
    }

    /// The token that is there, if it still works: for whoever could not fetch another.
    pub(super) fn still_works(&self, now: Instant) -> Option<(SecretString, u64)> {
        let token = self.token.as_ref().filter(|token| now < token.expires_at)?;
        Some((token.secret.clone(), self.generation))
    }

    /// Which token was fetched last.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// A fetch has brought a token, which lives for so long from `now`.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a fetch ends once.
    pub(super) fn fetched(&mut self, now: Instant, fetch: Fetch, secret: SecretString, life: Option<Duration>) {
        let life = life.unwrap_or(UNKNOWN_LIFE);
        // Early enough that no request is under way with a token that expires, and never at once.
        let refresh_at = now + life.saturating_sub(Duration::from_secs(60).min(life / 5));
        self.token = Some(Token { secret, refresh_at, expires_at: now + life });
        self.generation += 1;
        self.ended(fetch);
    }

    /// A fetch has failed. While a token still works, nobody tries again for a while; without one, the next who asks does.
    pub(super) fn failed(&mut self, now: Instant, fetch: Fetch) {
        if let Some(token) = &mut self.token {
            token.refresh_at = token.refresh_at.max((now + PAUSE).min(token.expires_at));
        }
        self.ended(fetch);
    }

    /// A fetch was dropped: the next who asks may try.
    #[allow(clippy::needless_pass_by_value)] // Taken by value: a fetch ends once.
    pub(super) fn ended(&mut self, fetch: Fetch) {
        if fetch.0 == self.fetches {
            self.fetching = None;
        }
    }

    /// The server does not accept this token, whatever its life was said to be.
    pub(super) fn rejected(&mut self, generation: u64) {
        if generation == self.generation {
            self.token = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn s(secs: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(secs)
    }

    fn fetch(life: &mut TokenLife, secs: u64) -> Fetch {
        match life.ask(s(secs)) {
            Need::Fetch(fetch) => fetch,
            other => panic!("{other:?} at {secs}"),
        }
    }

    /// A life that was given a token `a` of 100 seconds at 0.
    fn with_token() -> TokenLife {
        let mut life = TokenLife::new();
        let first = fetch(&mut life, 0);
        life.fetched(s(0), first, "a".into(), Some(Duration::from_secs(100)));
        life
    }

    /// What is told at this second: the token, "fetch", or until when to wait.
    fn told(life: &mut TokenLife, secs: u64) -> String {
        match life.ask(s(secs)) {
            Need::Use(secret, _) => secret.expose_secret().to_owned(),
            Need::Fetch(_) => "fetch".to_owned(),
            Need::Wait(until) => until.to_string(),
        }
    }

    #[test]
    fn one_fetches_for_all() {
        let mut life = TokenLife::new();
        assert_eq!([0, 1, 2].map(|secs| told(&mut life, secs)), ["fetch", "60s", "60s"]);
        let mut life = with_token();
        // Stale after 80 seconds: the first fetches, and the others use what is there until it expires.
        assert_eq!([79, 80, 81, 99, 100].map(|secs| told(&mut life, secs)), ["a", "fetch", "a", "a", "140s"]);
    }

    #[test]
    fn a_lost_fetch_is_replaced() {
        let mut life = TokenLife::new();
        let lost = fetch(&mut life, 0);
        assert_eq!([59, 60, 61].map(|secs| told(&mut life, secs)), ["60s", "fetch", "120s"]);
        // The lost one fails after all: the other is still out.
        life.ended(lost);
        assert_eq!(told(&mut life, 62), "120s");
    }

    #[test]
    fn a_fetch_that_fails_lets_the_next_one_try() {
        let mut life = TokenLife::new();
        let failed = fetch(&mut life, 0);
        life.ended(failed);
        assert_eq!(told(&mut life, 1), "fetch");
        let mut life = with_token();
        let failed = fetch(&mut life, 90);
        assert!(life.still_works(s(99)).is_some() && life.still_works(s(100)).is_none());
        life.failed(s(91), failed);
        assert_eq!([91, 95, 96].map(|secs| told(&mut life, secs)), ["a", "a", "fetch"]);
        let mut life = with_token();
        let failed = fetch(&mut life, 98);
        life.failed(s(98), failed);
        assert_eq!([99, 100].map(|secs| told(&mut life, secs)), ["a", "fetch"], "not beyond its end");
    }

    #[test]
    fn only_the_token_that_was_rejected_is_dropped() {
        let mut life = with_token();
        let Need::Use(_, first) = life.ask(s(1)) else { panic!("it is fresh") };
        life.rejected(first);
        let again = fetch(&mut life, 1);
        life.fetched(s(2), again, "b".into(), None);
        life.rejected(first);
        assert_eq!([3, 3539, 3542].map(|secs| told(&mut life, secs)), ["b", "b", "fetch"]);
    }

    #[test]
    fn lives_of_any_length_are_handled() {
        for life_of in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let mut life = TokenLife::new();
            let first = fetch(&mut life, 0);
            life.fetched(s(0), first, "a".into(), Some(life_of));
            assert_eq!(told(&mut life, 0) == "fetch", life_of.is_zero(), "{life_of:?}");
        }
    }
}
