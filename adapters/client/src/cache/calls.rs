use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{HeaderMap, Method, StatusCode};
use steadfast_core::event::Observer;
use steadfast_core::outcome::Idempotency;
use steadfast_core::rejected::Rejected;
use steadfast_core::run::{CallError, History, LastAttempt};
use steadfast_core::time::{Instant, Timer};
use steadfast_executor::Flight;
use steadfast_http::cache::validation::is_safe;
use steadfast_http::cache::{RequestFields, Use};

use super::fills::{End, Identity, Part};
use super::keeper::{Keeper, Spoils};
use super::resource::{Came, Variant};
use super::status::{CacheStatus, WhyStale};
use crate::answer::Answer;
use crate::call::{Brought, Call};
use crate::error::Error;
use crate::exchange::{Extent, Tried};
use crate::transport::Transport;

/// How long one call waits for the answer to another at most. What takes longer may be a future that nobody polls any more.
const LONGEST_FOLLOW: Duration = Duration::from_secs(30);

/// What came of following.
enum Followed {
    /// Whoever led has left.
    Leads,
    End(End),
    /// It took too long.
    GaveUp,
}

/// What a request says of what is kept.
enum Said {
    /// This is the answer now, or that there is none for whoever asked.
    Answer,
    /// There was no answer, for a reason that has nothing to do with who asked for what.
    Failure,
    Nothing,
}

/// One request that may be answered from the cache, while it is made.
struct Wanted<'a> {
    keeper: &'a Keeper,
    key: super::CacheKey,
    fields: RequestFields,
    /// All that it has but the call's name.
    identity: Identity,
    is_head: bool,
}

impl<T: Transport, C: Timer, O: Observer> Call<'_, T, C, O> {
    /// One request: answered from the cache, or by the server.
    pub(crate) async fn request(&mut self, flight: &Flight) -> Result<Brought<T::Body, C, O>, Error> {
        let client = self.client;
        let Some(keeper) = client.cache().filter(|_| self.journey.at_home) else { return self.ask(flight, None).await };
        if !is_safe(self.journey.method.as_str().as_bytes()) {
            let spoils = Spoils::new(keeper, self.journey.url.clone());
            let brought = self.ask(flight, None).await?;
            match (&brought, whole(&brought)) {
                (Err(CallError { last: LastAttempt::NotMade, .. }), _) => spoils.was_not_made(),
                (_, Some((status, headers))) => spoils.answered(status, headers),
                (_, None) => drop(spoils),
            }
            return Ok(brought);
        }
        match self.wanted(keeper) {
            Some(wanted) => self.through(wanted, flight).await,
            None => self.ask(flight, None).await,
        }
    }

    /// What is wanted of the cache; `None` if the request goes past it.
    fn wanted<'k>(&self, keeper: &'k Keeper) -> Option<Wanted<'k>> {
        let is_head = self.journey.method == Method::HEAD;
        let mut fields = RequestFields::new();
        self.headers.iter().for_each(|(name, value)| fields.read(name.as_str().as_bytes(), value.as_bytes()));
        let is_for_it = (is_head || self.journey.method == Method::GET)
            && matches!(self.extent, Extent::Whole)
            && self.payload.in_memory().is_some_and(bytes::Bytes::is_empty)
            && !fields.asks_for_less()
            && !self.overrides.past_cache
            // A GET that does something: each is to be made, once.
            && self.overrides.idempotency != Some(Idempotency::NotIdempotent);
        let (key, identity) = (keeper.key(&self.journey.url), keeper.identity(&self.headers, &self.overrides));
        is_for_it.then_some(Wanted { keeper, key, fields, identity, is_head })
    }

    async fn through(&mut self, wanted: Wanted<'_>, flight: &Flight) -> Result<Brought<T::Body, C, O>, Error> {
        let Wanted { keeper, key, fields, identity, is_head } = &wanted;
        let client = self.client;
        let mut found = keeper.find(key, &self.headers);
        if let Some(answer) = found.as_ref().and_then(|variant| self.kept(&wanted, variant)) {
            return Ok(answer);
        }
        if fields.wants_only_cached() {
            return Err(Error::NotCached(self.failure()));
        }
        let priority = self.overrides.priority();
        let may_follow = !is_head && fields.takes_what_is_fresh() && !fields.forbids_storing();
        let mut part = match may_follow {
            true => keeper.fills.join(key, identity, priority),
            false => keeper.fills.lead(key, identity.clone(), priority, false),
        };
        if !part.leads() {
            let followed = Self::await_other(client.timer(), self.deadline(), &mut part).await;
            self.has_waited = true;
            let now = self.client.timer().now();
            let alone = match followed {
                Followed::Leads => false,
                Followed::End(End::Brought(variant)) => {
                    let is_ours = keeper.answers(&variant, &self.headers);
                    if is_ours && variant.judge(fields, now, (self.client.wall_clock())()) == Use::Fresh {
                        return Ok(self.answered(&variant, CacheStatus::Collapsed { age: variant.age(now) }, *is_head));
                    }
                    true
                }
                Followed::End(End::Failed(status)) => {
                    if let Some(tried) = found.as_ref().and_then(|variant| self.stand_in(&wanted, variant, status)) {
                        return Ok(Ok((tried, None)));
                    }
                    true
                }
                Followed::End(End::Nothing) | Followed::GaveUp => true,
            };
            if alone {
                part = keeper.fills.lead(key, identity.clone(), priority, false);
            }
            found = keeper.find(key, &self.headers);
        }
        self.fetch(&wanted, part, found, flight).await
    }

    /// What is kept, if it is an answer as it is.
    fn kept(&self, wanted: &Wanted<'_>, variant: &Variant) -> Option<Brought<T::Body, C, O>> {
        let now = self.client.timer().now();
        let age = variant.age(now);
        let stale = |why| CacheStatus::Stale { age, why };
        let status = match variant.judge(&wanted.fields, now, (self.client.wall_clock())()) {
            Use::Fresh => CacheStatus::Hit { age },
            Use::Stale => stale(WhyStale::Accepted),
            Use::WhileRevalidating if !self.revalidates => {
                let left = wanted.keeper.leave(&wanted.key, &self.journey.url, &wanted.identity, &self.overrides);
                left.then(|| stale(WhyStale::Revalidating))?
            }
            Use::WhileRevalidating | Use::Validate => return None,
        };
        Some(self.answered(variant, status, wanted.is_head))
    }

    /// Waits for the answer to another call: no longer than leaves time for an own one. It is no method, since a reference
    /// to a call may not go to another thread.
    async fn await_other(timer: &C, deadline: Instant, part: &mut Part<'_>) -> Followed {
        let now = timer.now();
        let until = now + ((deadline - now) / 2).min(LONGEST_FOLLOW);
        match select(pin!(part.follow()), pin!(timer.sleep_until(until))).await {
            Either::Left((Some(end), _)) => Followed::End(end),
            Either::Left((None, _)) => Followed::Leads,
            Either::Right(((), _)) => Followed::GaveUp,
        }
    }

    /// Asks the server, on condition that what is kept is not the answer any more.
    async fn fetch(
        &mut self,
        wanted: &Wanted<'_>,
        part: Part<'_>,
        found: Option<Arc<Variant>>,
        flight: &Flight,
    ) -> Result<Brought<T::Body, C, O>, Error> {
        let Wanted { keeper, key, fields, is_head, .. } = wanted;
        let mut condition = found.clone().filter(|_| !is_head);
        let (brought, sent) = loop {
            let mut headers = self.headers.clone();
            let is_conditional = condition.as_ref().is_some_and(|variant| variant.put_conditions(&mut headers));
            let brought = self.ask(flight, is_conditional.then_some(headers)).await?;
            let sent = brought.as_ref().map_or_else(sent_of, |(tried, _)| tried.sent);
            let told = match (&condition, whole(&brought)) {
                (Some(variant), Some((StatusCode::NOT_MODIFIED, told))) if is_conditional => (variant, told),
                _ => break (brought, sent),
            };
            let renewed = told.0.confirmed(self.came(keeper, sent), told.1).and_then(|variant| keeper.fits(variant));
            if let Some(variant) = renewed.map(Arc::new) {
                let answer = self.answered(&variant, CacheStatus::Validated, *is_head);
                if !fields.forbids_storing() {
                    keeper.conclude(part, key, &self.headers, End::Brought(variant));
                }
                return Ok(answer);
            }
            // It is not what is kept that the server means, or it is not to be kept any more.
            condition = None;
            self.has_waited = true;
        };
        match said(&brought) {
            Said::Answer => {}
            // Nor to those who follow: each may have better luck.
            Said::Nothing => return Ok(brought),
            Said::Failure => {
                let status = whole(&brought).map(|(status, _)| status);
                let stale = || found.as_ref().and_then(|variant| self.stand_in(wanted, variant, status));
                let brought = self.pipeline().shared.fall_back(brought, |_| stale().map(|tried| (tried, None)));
                keeper.conclude(part, key, &self.headers, End::Failed(status));
                return Ok(brought);
            }
        }
        if fields.forbids_storing() {
            return Ok(with_status(brought, None));
        }
        let came = self.came(keeper, sent);
        let kept = match (whole_body(&brought), &found) {
            (Some((StatusCode::OK, told, _)), Some(variant)) if *is_head => {
                variant.updated_by_head(came, told).and_then(|variant| keeper.fits(variant)).map(Arc::new)
            }
            (Some(answer), _) if !is_head => {
                let auth = self.client.auth();
                let is_unseen = |name: &_| auth.adds_unseen(name, &self.headers);
                keeper.variant(came, answer, &self.headers, is_unseen)
            }
            _ => None,
        };
        let body = kept.as_ref().filter(|_| !is_head).map(|variant| variant.body().clone());
        keeper.conclude(part, key, &self.headers, kept.map_or(End::Nothing, End::Brought));
        Ok(with_status(brought, body))
    }

    fn came(&self, keeper: &Keeper, sent: Instant) -> Came {
        let (at, wall) = (self.client.timer().now(), (self.client.wall_clock())());
        Came { sent, at, wall, longest_guess: keeper.longest_guess() }
    }

    /// What is kept, in place of an error.
    fn stand_in(&self, wanted: &Wanted<'_>, variant: &Variant, status: Option<StatusCode>) -> Option<Tried<T::Body>> {
        let now = self.client.timer().now();
        let can = variant.stands_in(&wanted.fields, now, (self.client.wall_clock())(), status);
        let cache = CacheStatus::Stale { age: variant.age(now), why: WhyStale::Failed };
        can.then(|| self.tried(variant, cache, wanted.is_head))
    }

    fn tried(&self, variant: &Variant, cache: CacheStatus, is_head: bool) -> Tried<T::Body> {
        let age = match cache {
            CacheStatus::Hit { age } | CacheStatus::Collapsed { age } | CacheStatus::Stale { age, .. } => Some(age),
            CacheStatus::Bypassed | CacheStatus::Missed | CacheStatus::Validated => None,
        };
        let sent = self.client.timer().now();
        Tried { number: 0, answer: variant.answer(age, is_head), is_spent: false, body: None, sent, cache }
    }

    /// What is kept, as what the pipeline would have made of it.
    #[allow(clippy::result_large_err)] // As the pipeline returns it.
    fn answered(&self, variant: &Variant, cache: CacheStatus, is_head: bool) -> Brought<T::Body, C, O> {
        let tried = self.tried(variant, cache, is_head);
        if tried.answer.status().is_some_and(|status| status.is_success()) {
            return Ok((tried, None));
        }
        let (history, elapsed) = (History::default(), Duration::ZERO);
        let last = LastAttempt::Returned(tried);
        Err(CallError { rejected: Rejected::Permanent, last, attempts: 0, elapsed, history })
    }
}

fn said<B, C, O>(brought: &Brought<B, C, O>) -> Said {
    let (tried, is_last_word) = match brought {
        Ok((tried, _)) => (tried, true),
        Err(CallError { last: LastAttempt::Returned(tried), rejected, .. }) => {
            (tried, *rejected == Rejected::Permanent)
        }
        Err(CallError { last: LastAttempt::NotMade | LastAttempt::TimedOut, .. }) => return Said::Failure,
    };
    match &tried.answer {
        Answer::Whole { .. } if is_last_word => Said::Answer,
        // Who may not have it any more is not given what is kept of it.
        Answer::TokenRejected { .. } => Said::Answer,
        Answer::Whole { .. }
        | Answer::Broken { .. }
        | Answer::Stalled { .. }
        | Answer::Nothing(_)
        | Answer::TimedOut { .. } => Said::Failure,
        Answer::TooLong { .. } | Answer::NoToken(_) | Answer::NotSigned(_) | Answer::BodyFailed(_) => Said::Nothing,
    }
}

/// The head of a whole response, if that is what came.
fn whole<B, C, O>(brought: &Brought<B, C, O>) -> Option<(StatusCode, &HeaderMap)> {
    whole_body(brought).map(|(status, headers, _)| (status, headers))
}

fn whole_body<B, C, O>(brought: &Brought<B, C, O>) -> Option<(StatusCode, &HeaderMap, &bytes::Bytes)> {
    match brought {
        Ok((tried, _)) | Err(CallError { last: LastAttempt::Returned(tried), .. }) => match &tried.answer {
            Answer::Whole { head, body } => Some((head.status, &head.headers, body)),
            _ => None,
        },
        Err(CallError { last: LastAttempt::NotMade | LastAttempt::TimedOut, .. }) => None,
    }
}

fn sent_of<B>(error: &CallError<Tried<B>>) -> Instant {
    match &error.last {
        LastAttempt::Returned(tried) => tried.sent,
        LastAttempt::NotMade | LastAttempt::TimedOut => Instant::MAX,
    }
}

/// The same, from the server, with a body that is shared with the cache.
#[allow(clippy::result_large_err)] // As the pipeline returns it.
fn with_status<B, C, O>(mut brought: Brought<B, C, O>, shared: Option<bytes::Bytes>) -> Brought<B, C, O> {
    if let Ok((tried, _)) | Err(CallError { last: LastAttempt::Returned(tried), .. }) = &mut brought {
        tried.cache = CacheStatus::Missed;
        if let (Answer::Whole { body, .. }, Some(shared)) = (&mut tried.answer, shared) {
            *body = shared;
        }
    }
    brought
}
