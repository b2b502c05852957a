//! What an attempt has to get before it starts, as one: tokens of every rate limit, and a slot to run in.
//!
//! ```
//! use steadfast_core::concurrency::ConcurrencyLimit;
//! use steadfast_core::limits::{Admission, Limiter, Limits};
//! use steadfast_core::outcome::OutcomeKind;
//! use steadfast_core::rate_limit::{Quota, TokenBucket};
//! use steadfast_core::time::Instant;
//!
//! let bucket = TokenBucket::new(Quota::per_second(100)?);
//! let mut limits = Limits::from(bucket).with_concurrency_limit(ConcurrencyLimit::fixed(5).build()?);
//!
//! let now = Instant::EPOCH;
//! let mut ticket = limits.join(now, 1, 0, Instant::MAX).expect("a token is never too much to ask");
//! assert_eq!(limits.poll(now, &mut ticket), Admission::Granted);
//! limits.finish(now, ticket, OutcomeKind::Success);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! [`Limiter`] is the port through which a [`Call`](crate::pipeline::Call) waits for them, and [`Limits`] what a
//! [`Pipeline`](crate::pipeline::Pipeline) has unless an adapter puts something else in its place.
//!
//! # One thing, not two
//!
//! Somebody who first waits for tokens and then, with the tokens in hand, for a slot, comes back with others like it as
//! soon as slots come free, and together they exceed the burst. So tokens and slot are granted at the same time, or
//! neither is.
//!
//! # Defaults
//!
//! None: [`Limits::none`] admits everything, and each limit that is added has the settings of its own page. [`ServerLimits`] has one
//! setting, and its reason.
//!
//! # States
//!
//! ```text
//!         ┌── poll: nothing is there, wait ──┐
//! join ──▶ Waiting ◀─────────────────────────┘
//! Waiting ── poll: all of it is there ───▶ Granted ── finish, abandon ──▶ gone, and the slot is free
//! Waiting ── leave, or it can never be ──▶ gone, and what was taken is given back
//! Granted ── leave ──────────────────────▶ gone, and what was taken is given back
//! ```
//!
//! # When not to use it
//!
//! Where callers are to be served in the order in which they came, and wait for a slot too: `steadfast-executor` has a line that
//! stands behind the same port. Where one limit is all there is, it needs no port around it.

use core::cmp;
use core::fmt;

use crate::concurrency::{self, ConcurrencyLimit, Permit, Recorded};
use crate::outcome::OutcomeKind;
use crate::rate_limit::{self, AdaptiveRate, RateLimits, Reservations, TokenBucket};
use crate::time::Instant;

mod bucket;
mod inspect;
mod limiter;
mod reconfigure;
mod server_limits;
#[cfg(test)]
mod tests;
mod ticket;

pub use inspect::{Inspect, Slots, Snapshot, Tokens};
pub use limiter::{Admission, Learned, Limiter, Refusal, Woken};
pub use reconfigure::Reconfigure;
pub use server_limits::{Remaining, Sent, ServerLimits, Told};
pub use ticket::Ticket;

/// What one of several rate limits counts, where a call's weight is a single number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Counts {
    /// Each call as one, whatever it weighs.
    Calls,
    /// Each call as what it weighs.
    Weight,
}

/// `K` rate limits, an adaptive rate, and a concurrency limit, each of which may be missing.
///
/// Without a line before them, callers wait for tokens by reservation: each holds its own time from the start, in the
/// order in which they came. It is those times that keep to the quota; callers that come late to theirs may meet. Nobody
/// waits for a slot: who finds none when its tokens are ready is refused. `steadfast-executor` has a line for both.
#[derive(Debug)]
pub struct Limits<const K: usize = 1> {
    rates: Option<RateLimits<K>>,
    counts: [Counts; K],
    adaptive_rate: Option<AdaptiveRate>,
    concurrency: Option<ConcurrencyLimit>,
    /// Until when a server wants to be left alone. Rate limits know it too, and start anew from there.
    blocked_until: Instant,
}

/// What was granted of [`Limits`], all at once.
#[derive(Debug)]
#[must_use = "its tokens are spent, and its slot stays taken until its lease ends"]
pub struct Grant<const K: usize = 1> {
    reservations: Option<Reservations<K>>,
    permit: Option<Permit>,
    /// Whether the adaptive rate gave a token for it.
    paced: bool,
}

/// What is missing for a [`Grant`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// Tokens. They are there at this instant, if nobody else takes any; [`Instant::MAX`] is beyond the end of the clock.
    Tokens(Instant),
    /// A slot. One is free at this instant even if every permit was lost.
    Slot(Instant),
    /// More tokens than there can ever be.
    Never(rate_limit::Refusal),
}

impl From<Missing> for Admission {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Tokens(ready_at) => Self::Wait(ready_at),
            Missing::Slot(at_latest) => Self::WaitForSlot(at_latest),
            Missing::Never(refusal) => Self::Refused(refusal.into()),
        }
    }
}

impl<const K: usize> Grant<K> {
    /// Whether a slot is part of it.
    pub const fn has_slot(&self) -> bool {
        self.permit.is_some()
    }
}

impl<const K: usize> Limits<K> {
    /// No limit at all, until one is added.
    pub const fn none() -> Self {
        Self {
            rates: None,
            counts: [Counts::Weight; K],
            adaptive_rate: None,
            concurrency: None,
            blocked_until: Instant::EPOCH,
        }
    }

    /// The same without rate limits, with room for any number of them.
    #[must_use]
    pub const fn without_rate_limits<const N: usize>(self) -> Limits<N> {
        let Self { rates: _, counts: _, adaptive_rate, concurrency, blocked_until } = self;
        Limits { rates: None, counts: [Counts::Weight; N], adaptive_rate, concurrency, blocked_until }
    }

    /// The same with these rate limits, each of which counts calls or their weight.
    #[must_use]
    pub const fn with_rate_limits<const N: usize>(self, rates: RateLimits<N>, counts: [Counts; N]) -> Limits<N> {
        let Self { rates: _, counts: _, adaptive_rate, concurrency, blocked_until } = self;
        Limits { rates: Some(rates), counts, adaptive_rate, concurrency, blocked_until }
    }

    /// The same with a rate that follows what the server bears. It counts calls, whatever they weigh.
    #[must_use]
    pub const fn with_adaptive_rate(self, rate: AdaptiveRate) -> Self {
        Self { adaptive_rate: Some(rate), ..self }
    }

    /// The same with only so many attempts at once.
    #[must_use]
    pub const fn with_concurrency_limit(self, limit: ConcurrencyLimit) -> Self {
        Self { concurrency: Some(limit), ..self }
    }

    /// The rate limits, if there are any.
    pub const fn rate_limits(&self) -> Option<&RateLimits<K>> {
        self.rates.as_ref()
    }

    /// The rate limits, if there are any, to change a quota or to block one.
    pub const fn rate_limits_mut(&mut self) -> Option<&mut RateLimits<K>> {
        self.rates.as_mut()
    }

    /// The adaptive rate, if there is one.
    pub const fn adaptive_rate(&self) -> Option<&AdaptiveRate> {
        self.adaptive_rate.as_ref()
    }

    /// The concurrency limit, if there is one.
    pub const fn concurrency_limit(&self) -> Option<&ConcurrencyLimit> {
        self.concurrency.as_ref()
    }

    /// The concurrency limit, if there is one, to change its bounds.
    pub const fn concurrency_limit_mut(&mut self) -> Option<&mut ConcurrencyLimit> {
        self.concurrency.as_mut()
    }

    /// What a call that weighs `n` takes of each rate limit.
    pub fn weights(&self, n: u32) -> [u32; K] {
        self.counts.map(|counts| match counts {
            Counts::Calls => 1,
            Counts::Weight => n,
        })
    }

    /// What a call weighs that takes so much of each rate limit; 1 where all of them count calls.
    pub fn weight(&self, weights: [u32; K]) -> u32 {
        let mut counted = self.counts.into_iter().zip(weights);
        counted.find(|(counts, _)| *counts == Counts::Weight).map_or(1, |(_, weight)| weight)
    }

    /// Takes what an attempt with these weights has to get, if all of it is there now.
    ///
    /// # Errors
    /// With what is missing; then nothing was taken.
    #[inline]
    pub fn try_take(&mut self, now: Instant, weights: [u32; K]) -> Result<Grant<K>, Missing> {
        if now < self.blocked_until && self.rates.is_none() {
            return Err(Missing::Tokens(self.blocked_until));
        }
        // Only looked at: who finds no tokens must not count as in flight.
        self.look_for_slot(now).map_err(|refusal| Missing::Slot(refusal.at_latest))?;
        let mut grant = Grant { reservations: None, permit: None, paced: false };
        if let Some(rates) = &mut self.rates {
            grant.reservations = rates.reserve_now(now, weights);
            if grant.reservations.is_none() {
                return Err(match rates.ready_at(now, weights) {
                    Ok(ready_at) => Missing::Tokens(ready_at.unwrap_or(Instant::MAX)),
                    Err(never) => Missing::Never(never.refusal),
                });
            }
        }
        match self.try_take_pace(now, &mut grant) {
            Ok(()) => {
                self.take_slot(now, &mut grant);
                Ok(grant)
            }
            Err(missing) => {
                self.give_back(now, grant);
                Err(missing)
            }
        }
    }

    /// The same, where tokens are all that it takes and they are there; otherwise nothing has changed, and
    /// [`try_take`](Self::try_take) says why.
    #[allow(clippy::inline_always)] // Passing what is granted through memory would take longer than the decision.
    #[inline(always)]
    pub fn try_take_tokens(&mut self, now: Instant, weights: [u32; K]) -> Option<Grant<K>> {
        if self.concurrency.is_some() || self.adaptive_rate.is_some() {
            return None;
        }
        let reservations = self.rates.as_mut()?.reserve_now(now, weights)?;
        Some(Grant { reservations: Some(reservations), permit: None, paced: false })
    }

    #[inline]
    fn look_for_slot(&mut self, now: Instant) -> Result<(), concurrency::Refusal> {
        self.concurrency.as_mut().map_or(Ok(()), |limit| limit.check(now))
    }

    /// Takes the slot that was looked for.
    #[inline]
    fn take_slot(&mut self, now: Instant, grant: &mut Grant<K>) {
        grant.permit = self.concurrency.as_mut().map(|limit| limit.take(now));
    }

    #[inline]
    fn try_take_pace(&mut self, now: Instant, grant: &mut Grant<K>) -> Result<(), Missing> {
        let Some(rate) = &mut self.adaptive_rate else {
            return Ok(());
        };
        match rate.try_acquire(now, 1) {
            Ok(()) => {
                grant.paced = true;
                Ok(())
            }
            Err(rate_limit::Refusal::NotYet { retry_at }) => Err(Missing::Tokens(retry_at)),
            Err(never) => Err(Missing::Never(never)),
        }
    }

    /// Lets a grant be used at `now` that is from an earlier time, if the rate limits have room for that. See
    /// [`TokenBucket::renew`](crate::rate_limit::TokenBucket::renew).
    pub fn renew(&mut self, now: Instant, grant: &mut Grant<K>) -> bool {
        match (&mut self.rates, &mut grant.reservations) {
            (Some(rates), Some(reservations)) => rates.renew(now, reservations),
            _ => true,
        }
    }

    /// Gives back what was granted and not used.
    pub fn give_back(&mut self, now: Instant, grant: Grant<K>) {
        self.settle(now, grant, [0; K]);
    }

    /// Settles a grant with what was used in truth of each rate limit: see
    /// [`TokenBucket::commit`](crate::rate_limit::TokenBucket::commit). Its slot is free.
    pub fn settle(&mut self, now: Instant, grant: Grant<K>, used: [u32; K]) {
        let Grant { reservations, permit, paced } = grant;
        if let (Some(reservations), Some(rates)) = (reservations, &mut self.rates) {
            rates.commit(now, reservations, used);
        }
        if let (true, [0, ..] | [], Some(rate)) = (paced, &used[..], &mut self.adaptive_rate) {
            rate.give_back(now, 1);
        }
        if let (Some(permit), Some(limit)) = (permit, &mut self.concurrency) {
            limit.abandon(permit);
        }
    }

    /// How many tokens of each rate limit could be taken at `now`; `u32::MAX` where there is none.
    pub fn available(&self, now: Instant) -> [u32; K] {
        self.rates.as_ref().map_or([u32::MAX; K], |rates| rates.available(now))
    }

    /// When all rate limits have room, if nobody else takes any; `None` if that lies beyond the end of the clock.
    ///
    /// # Errors
    /// If one of them never has.
    pub fn ready_at(&self, now: Instant, weights: [u32; K]) -> Result<Option<Instant>, rate_limit::Refusal> {
        let Some(rates) = &self.rates else {
            return Ok(Some(now));
        };
        rates.ready_at(now, weights).map_err(|refused| refused.refusal)
    }

    /// When the last of so many tokens could be taken of each rate limit, if they are taken one after the other as they
    /// come in; `None` if that lies beyond the end of the clock. See [`RateLimits::ready_at_after`].
    pub fn ready_at_after(&self, now: Instant, tokens: [u64; K]) -> Option<Instant> {
        let Some(rates) = &self.rates else {
            return Some(now);
        };
        rates.ready_at_after(now, tokens)
    }

    /// When limits made anew would be the same as these, if nobody takes anything until then: the rate limits are full, and no
    /// server blocks them. [`Instant::MAX`] if that lies beyond the end of the clock.
    ///
    /// What adaptive limits have learned does not count, nor slots that are taken.
    pub fn at_rest_at(&self, now: Instant) -> Instant {
        let full_at = self.rates.as_ref().map_or(Some(now), |rates| {
            let bursts = rates.limits().each_ref().map(|limit| limit.quota().burst());
            rates.ready_at(now, bursts).ok().flatten()
        });
        full_at.map_or(Instant::MAX, |full_at| cmp::max(full_at, self.blocked_until))
    }

    /// Tells how the attempt ended that had the grant: its slot is free. Its tokens are spent, and can still be
    /// [settled](Self::settle).
    pub fn finish_grant(&mut self, now: Instant, grant: &mut Grant<K>, outcome: OutcomeKind) -> Learned {
        let concurrency = match (grant.permit.take(), &mut self.concurrency) {
            (Some(permit), Some(limit)) => limit.record(now, permit, outcome),
            _ => Recorded::Noted,
        };
        grant.paced = false;
        let pace = self.adaptive_rate.as_mut().and_then(|rate| rate.record(now, 1, outcome));
        Learned { concurrency, pace }
    }

    /// Tells that the attempt that had the grant was dropped: its slot is free, its tokens are spent.
    pub fn abandon_grant(&mut self, grant: Grant<K>) {
        if let (Some(permit), Some(limit)) = (grant.permit, &mut self.concurrency) {
            limit.abandon(permit);
        }
    }
}

/// The settings in words, a line for each limit, the last without its end.
impl<const K: usize> fmt::Display for Limits<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bucket, counts) in self.rates.iter().flat_map(RateLimits::limits).zip(self.counts) {
            match counts {
                Counts::Calls => writeln!(f, "rate limit: {bucket}, whatever a call weighs")?,
                Counts::Weight => writeln!(f, "rate limit: {bucket}")?,
            }
        }
        if self.rates.is_none() {
            f.write_str("rate limit: none\n")?;
        }
        match &self.adaptive_rate {
            Some(rate) => writeln!(f, "adaptive rate: {rate}")?,
            None => f.write_str("adaptive rate: none\n")?,
        }
        match &self.concurrency {
            Some(limit) => write!(f, "concurrency limit: {limit}"),
            None => f.write_str("concurrency limit: none"),
        }
    }
}

/// One rate limit, which counts weight, and nothing else.
impl From<TokenBucket> for Limits {
    fn from(bucket: TokenBucket) -> Self {
        Self::none().with_rate_limits(RateLimits::of([bucket]), [Counts::Weight])
    }
}
