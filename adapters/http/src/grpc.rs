//! What a status of gRPC says about an attempt.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::outcome::Outcome;
//! use steadfast_http::grpc;
//!
//! assert_eq!(grpc::classify(0, None), Outcome::success());
//! assert_eq!(grpc::classify(14, None), Outcome::transient());
//! assert_eq!(grpc::classify(14, Some(b"250")), Outcome::transient().with_retry_after(Duration::from_millis(250)));
//! assert_eq!(grpc::classify(14, Some(b"-1")), Outcome::transient().without_retry());
//! ```
//!
//! # Which status is which outcome
//!
//! | `grpc-status` | Outcome | Reason |
//! | --- | --- | --- |
//! | 0 `OK` | success | |
//! | 2 `UNKNOWN`, 13 `INTERNAL` | transient | What a server says that broke, as HTTP's 500. |
//! | 4 `DEADLINE_EXCEEDED` | timed out | It took too long, here or behind the server, and may have been acted on. |
//! | 8 `RESOURCE_EXHAUSTED` | throttled | "A per-user quota", most of the time. It does not prove that nothing was done. |
//! | 14 `UNAVAILABLE` | transient | "Most likely a transient condition": the one that is meant to be retried. |
//! | 1 `CANCELLED` | permanent | Somebody wanted it to end. |
//! | 10 `ABORTED` | permanent | "Retry at a higher level": what was read is no longer true. |
//! | 15 `DATA_LOSS` | permanent | "Unrecoverable". |
//! | 3, 5, 6, 7, 9, 11, 12, 16 | permanent | The call is at fault, not the server. |
//! | any other | transient | Unknown ones read as 2 `UNKNOWN`. |
//!
//! By `doc/statuscodes.md` of gRPC. None of them proves that nothing was done: even `UNAVAILABLE` comes when a connection breaks
//! under a call that was sent ("not always safe to retry non-idempotent operations"). So what is not idempotent is not
//! repeated, unless its transport knows that it was never sent.
//!
//! # Pushback
//!
//! `grpc-retry-pushback-ms` (proposal A6) is the server's word on the next attempt: so many milliseconds, or none at all if it is
//! negative or cannot be read.
//!
//! # When not to use it
//!
//! On the head of a response: its status is 200, and gRPC's own comes in the trailers, after the messages. It is known where the
//! call has ended.

use core::time::Duration;

use steadfast_core::outcome::Outcome;

use crate::RetryAfter;

/// The field in which a server says when to try again, if at all.
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The outcome of an attempt that ended with this `grpc-status`, and with this value of [`RETRY_PUSHBACK`] if there was one.
pub fn classify(status: u32, pushback: Option<&[u8]>) -> Outcome {
    let outcome = match status {
        0 => Outcome::success(),
        4 => Outcome::timed_out(),
        8 => Outcome::throttled(),
        1 | 3 | 5..=7 | 9..=12 | 15 | 16 => Outcome::permanent(),
        _ => Outcome::transient(),
    };
    match pushback.map(pushback_of) {
        None => outcome,
        Some(Some(delay)) => outcome.with_retry_after(delay),
        Some(None) => outcome.without_retry(),
    }
}

/// An integer of milliseconds, at most a day as with any other word of a server on how long to wait.
fn pushback_of(value: &[u8]) -> Option<Duration> {
    let is_integer = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    match RetryAfter::parse_millis(value).filter(|_| is_integer)? {
        RetryAfter::Delay(delay) => Some(delay),
        RetryAfter::At(_) => None, // It is a number.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_outcome() {
        const TRANSIENT: Outcome = Outcome::transient();
        const PERMANENT: Outcome = Outcome::permanent();
        let outcomes = [
            Outcome::success(),
            PERMANENT,
            TRANSIENT,
            PERMANENT,
            Outcome::timed_out(),
            PERMANENT,
            PERMANENT,
            PERMANENT,
            Outcome::throttled(),
            PERMANENT,
            PERMANENT,
            PERMANENT,
            PERMANENT,
            TRANSIENT,
            TRANSIENT,
            PERMANENT,
            PERMANENT,
            TRANSIENT,
        ];
        for (status, want) in (0..).zip(outcomes) {
            assert_eq!(classify(status, None), want, "{status}");
        }
        assert_eq!(classify(u32::MAX, None), TRANSIENT);
    }

    #[test]
    fn pushback_is_kept_or_forbids() {
        let (unavailable, ms) = (Outcome::transient(), Duration::from_millis);
        let after = |delay| unavailable.with_retry_after(delay);
        for (value, want) in [
            ("0", after(ms(0))),
            ("1500", after(ms(1500))),
            ("99999999999999999999", after(RetryAfter::LONGEST)),
            ("-1", unavailable.without_retry()),
            ("1.5", unavailable.without_retry()),
            ("soon", unavailable.without_retry()),
            ("", unavailable.without_retry()),
        ] {
            assert_eq!(classify(14, Some(value.as_bytes())), want, "{value}");
        }
    }
}
