use crate::time::Instant;

/// Tokens that were taken ahead of time, and when they may be used.
///
/// Give it back with [`TokenBucket::cancel`](super::TokenBucket::cancel) if they are not, or settle it with [`TokenBucket::commit`](super::TokenBucket::commit) if more or fewer
/// were: dropping it spends them as they are.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "the tokens are spent; use them at `ready_at` or give them back with `cancel`"]
pub struct Reservation {
    pub(super) ready_at: Instant,
    pub(super) tokens: u32,
    /// What the bucket was like before and after.
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) given_back: u64,
    pub(super) epoch: u32,
}

impl Reservation {
    /// When the tokens may be used; the instant of the reservation itself if they were there.
    pub const fn ready_at(&self) -> Instant {
        self.ready_at
    }

    /// How many they are.
    pub const fn tokens(&self) -> u32 {
        self.tokens
    }
}
