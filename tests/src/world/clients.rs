use std::time::Duration;

use steadfast_core::backoff::{Backoff, Jitter};
use steadfast_core::pipeline::Pipeline;
use steadfast_core::retry::Retry;
use steadfast_core::retry::budget::Budget;

/// How programs react when a call fails, from what is written in a minute to what this project is for.
///
/// All of them make up to four attempts, each of up to 10 s, within 30 s; all but one have neither a
/// circuit breaker nor a retry budget. So they differ
/// in when they try again, and the last one in whether it does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientKind {
    /// Tries again at once.
    ImmediateRetry,
    /// Waits 100 ms, then 200 ms, then 400 ms.
    Backoff,
    /// Waits anywhere from nothing to 100 ms, then to 200 ms, then to 400 ms.
    BackoffWithJitter,
    /// What this library does when it is told nothing.
    Standard,
}

impl ClientKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ImmediateRetry, Self::Backoff, Self::BackoffWithJitter, Self::Standard];

    /// The pipeline of one client.
    pub fn pipeline(self) -> Pipeline {
        match self {
            Self::ImmediateRetry => {
                // A backoff is longer than nothing; a nanosecond is as good as nothing.
                let instant = Duration::from_nanos(1);
                unguarded(Backoff::builder().base(instant).cap(instant).jitter(Jitter::None).build())
            }
            Self::Backoff => unguarded(Backoff::builder().jitter(Jitter::None).build()),
            Self::BackoffWithJitter => unguarded(Backoff::builder().jitter(Jitter::Full).build()),
            Self::Standard => Pipeline::standard(),
        }
    }
}

/// A pipeline that repeats what fails, and knows no other policy.
fn unguarded(backoff: Result<Backoff, steadfast_core::settings::InvalidSetting>) -> Pipeline {
    let build = || {
        let retry = Retry::builder().backoff(backoff?).build()?;
        Pipeline::builder().retry(retry).budget(Budget::unlimited()).without_circuit_breaker().build()
    };
    build().expect("settings within their ranges")
}
