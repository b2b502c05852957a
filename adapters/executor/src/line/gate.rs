use steadfast_core::limits::{Grant, Learned, Limits, Missing, Sent, ServerLimits, Told};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::time::Instant;

/// One's own limits, and those that the server tells of: all or nothing.
#[derive(Debug)]
pub(super) struct Gate<const K: usize> {
    pub(super) own: Limits<K>,
    pub(super) server: Option<ServerLimits>,
}

/// What was granted of both.
#[derive(Debug)]
#[must_use = "its tokens are spent, and its slot stays taken until its lease ends"]
pub(crate) struct Granted<const K: usize> {
    grant: Grant<K>,
    sent: Option<Sent>,
}

impl<const K: usize> Granted<K> {
    /// Whether somebody waits for it to be handed back.
    pub(crate) const fn is_waited_for(&self) -> bool {
        self.grant.has_slot() || self.sent.is_some()
    }
}

impl<const K: usize> Gate<K> {
    /// Takes what is asked for of each, if all of it is there now.
    #[inline]
    pub(super) fn try_take(&mut self, now: Instant, weights: [u32; K]) -> Result<Granted<K>, Missing> {
        let Some(server) = &mut self.server else {
            return Ok(Granted { grant: self.own.try_take(now, weights)?, sent: None });
        };
        let weight = self.own.weight(weights);
        server.check(now, weight)?;
        let grant = self.own.try_take(now, weights)?;
        Ok(Granted { grant, sent: Some(server.take(now, weight)) })
    }

    /// The same, if there are only tokens to take. Otherwise nothing has changed.
    #[allow(clippy::inline_always)] // Passing what is granted through memory would take longer than the decision.
    #[inline(always)]
    pub(super) fn try_take_tokens(&mut self, now: Instant, weights: [u32; K]) -> Option<Granted<K>> {
        if self.server.is_some() {
            return None;
        }
        Some(Granted { grant: self.own.try_take_tokens(now, weights)?, sent: None })
    }

    /// Lets what was granted be used at `now`. See [`Limits::renew`].
    pub(super) fn renew(&mut self, now: Instant, granted: &mut Granted<K>) -> bool {
        self.own.renew(now, &mut granted.grant)
    }

    /// Gives back what was not used.
    pub(super) fn give_back(&mut self, now: Instant, granted: Granted<K>) {
        self.settle(now, granted, [0; K]);
    }

    /// Settles with what was used in truth.
    pub(super) fn settle(&mut self, now: Instant, granted: Granted<K>, used: [u32; K]) {
        self.own.settle(now, granted.grant, used);
        if let (Some(sent), Some(server)) = (granted.sent, &mut self.server) {
            if used == [0; K] { server.give_back(sent) } else { server.abandon(sent) }
        }
    }

    /// Forgets what was granted to somebody who never used it, and who never will.
    pub(super) fn forget(&mut self, granted: Granted<K>) {
        self.own.abandon_grant(granted.grant);
        if let (Some(sent), Some(server)) = (granted.sent, &mut self.server) {
            server.give_back(sent);
        }
    }

    /// Tells what the response said that came of it. Returns until when everybody is held back for it.
    pub(super) fn tell(&mut self, now: Instant, granted: &Granted<K>, told: &Told) -> Option<Instant> {
        match (&granted.sent, &mut self.server) {
            (Some(sent), Some(server)) => server.tell(now, sent, told),
            _ => None,
        }
    }

    /// Tells how the attempt ended that had it. Its tokens can still be settled.
    pub(super) fn finish(&mut self, now: Instant, granted: &mut Granted<K>, outcome: OutcomeKind) -> Learned {
        if let (Some(sent), Some(server)) = (granted.sent.take(), &mut self.server) {
            server.finish(sent, outcome);
        }
        self.own.finish_grant(now, &mut granted.grant, outcome)
    }

    /// Tells that the attempt that had it was dropped.
    pub(super) fn abandon(&mut self, granted: Granted<K>) {
        if let (Some(sent), Some(server)) = (granted.sent, &mut self.server) {
            server.abandon(sent);
        }
        self.own.abandon_grant(granted.grant);
    }

    /// Whether the end of an attempt lets others go: it frees its slot, or is what a limit of the server's waits for.
    pub(super) fn is_freed_by(&self, granted: &Granted<K>) -> bool {
        granted.grant.has_slot() || self.server.as_ref().is_some_and(ServerLimits::knows_any)
    }
}
