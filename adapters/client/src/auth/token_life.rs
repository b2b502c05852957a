use std::time::Duration;

use secrecy::SecretString;
use steadfast_core::time::Instant;

/// How long a fetch may be out before another is allowed: only one whose future is never polled again runs into it.
const LEASE: Duration = Duration::from_secs(60);

/// How long nobody tries again to replace a token that still works, after a fetch has failed.
const PAUSE: Duration = Duration::from_secs(5);

/// For how long at least a token is kept that came in place of one that was refused, though it be refused as well.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// And for how long at most: as often as that, somebody asks whether the API has come to accept another one.
const LONGEST_RENEWAL_PAUSE: Duration = Duration::from_secs(5 * 60);

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
/// An API that refuses every token (its clock is wrong, or 401 is its word for "forbidden") is no reason to fetch one for each
/// call. The first that is refused is replaced at once. One that is refused soon after is kept, and whoever uses it is told what
/// the API says: for 5 s after that refusal, and for twice as long after each that follows, up to 5 minutes. When it was as long
/// again without a refusal, it begins anew.
///
/// Invariants, each the name of a test:
/// - *one fetches for all*: while a fetch is out, nobody is told to begin another.
/// - *a lost fetch is replaced*: one that never reports keeps nobody from fetching for longer than its lease.
/// - *only the token that was rejected is dropped*: late news about an earlier one changes nothing.
/// - *an api that refuses every token costs few*: no more fetches than pauses that have passed.
#[derive(Debug)]
pub(super) struct TokenLife {
    token: Option<Token>,
    /// Counts the tokens, so that late news about an earlier one is recognised.
    generation: u64,
    /// Until when the fetch that is out keeps others from beginning one.
    fetching: Option<Instant>,
    /// Counts the fetches, likewise.
    fetches: u64,
    /// The last time that a token was dropped because it was refused.
    renewed: Option<Renewed>,
}

#[derive(Clone, Copy, Debug)]
struct Renewed {
    at: Instant,
    /// For how long its successor is kept, whatever the API says.
    pause: Duration,
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
        Self { token: None, generation: 0, fetching: None, fetches: 0, renewed: None }
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

    /// The server does not accept this token, whatever its life was said to be. Whether there is another, or there is one to be
    /// fetched: else the next request would be refused as this was.
    pub(super) fn rejected(&mut self, now: Instant, generation: u64) -> bool {
        if generation != self.generation || self.token.is_none() {
            return true;
        }
        let pause = match self.renewed {
            Some(Renewed { at, pause }) if now < at + pause => return false,
            Some(Renewed { at, pause }) if now < at + pause + pause => (pause * 2).min(LONGEST_RENEWAL_PAUSE),
            Some(_) | None => RENEWAL_PAUSE,
        };
        self.renewed = Some(Renewed { at: now, pause });
        self.token = None;
        true
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
        assert!(life.rejected(s(1), first));
        assert!(life.rejected(s(1), first), "another is on its way");
        let again = fetch(&mut life, 1);
        life.fetched(s(2), again, "b".into(), None);
        assert!(life.rejected(s(2), first), "there is another");
        assert_eq!([3, 3539, 3542].map(|secs| told(&mut life, secs)), ["b", "b", "fetch"]);
    }

    /// The seconds at which a token is fetched, where the API refuses whatever it is shown, once a second from `begin`.
    fn fetches(life: &mut TokenLife, seconds: std::ops::Range<u64>) -> Vec<u64> {
        let mut fetches = Vec::new();
        for secs in seconds {
            for _ in 0..2 {
                match life.ask(s(secs)) {
                    Need::Fetch(fetch) => {
                        fetches.push(secs);
                        life.fetched(s(secs), fetch, "x".into(), Some(Duration::from_secs(1_000_000)));
                    }
                    Need::Use(_, generation) => drop(life.rejected(s(secs), generation)),
                    Need::Wait(_) => panic!("nobody else fetches"),
                }
            }
        }
        fetches
    }

    #[test]
    fn an_api_that_refuses_every_token_costs_few() {
        let mut life = TokenLife::new();
        // The first token, its successor, and then one when each pause is over: 5, 10, 20, 40, 80, 160 and from then on 300 s.
        assert_eq!(fetches(&mut life, 0..1_000), [0, 1, 5, 15, 35, 75, 155, 315, 615, 915]);
        // Refused again after all had been well for long: replaced at once, and then the pauses are short again.
        assert_eq!(fetches(&mut life, 5_000..5_010), [5_000, 5_005]);
        // Refused by some of its APIs only: just as much, and the others go on with what is there.
        let Need::Use(_, generation) = life.ask(s(5_010)) else { panic!("it is kept") };
        assert!(!life.rejected(s(5_010), generation));
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
