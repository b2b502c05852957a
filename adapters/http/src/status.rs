//! What a status code says about an attempt.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::outcome::Outcome;
//! use steadfast_http::classify;
//!
//! let second = Duration::from_secs(1);
//! assert_eq!(classify(204, None), Outcome::success());
//! assert_eq!(classify(503, Some(second)), Outcome::transient().with_retry_after(second));
//! assert_eq!(classify(429, None), Outcome::throttled().not_processed());
//! assert_eq!(classify(404, None), Outcome::permanent());
//! ```
//!
//! # Which status is which outcome
//!
//! | Status | Outcome | Reason | RFC |
//! | --- | --- | --- | --- |
//! | 101 | success | The upgrade that was asked for. | 9110 §15.2.2 |
//! | other 1xx | transient | Interim: if it is the last word, the answer was lost. | 9110 §15.2 |
//! | 2xx | success | It did what was asked. | 9110 §15.3 |
//! | 3xx | success | The server answered: 304 confirms a copy, the others name a place that the caller chose not to go to. | 9110 §15.4 |
//! | 403, 413 with a `Retry-After` | throttled | 413: "the condition is temporary". 403: how GitHub says 429. | 9110 §15.5.14 |
//! | 408 | transient | The server gave up waiting for the request. | 9110 §15.5.9 |
//! | 421 | transient, not processed | Wrong connection: the client may repeat any method on another. | 9110 §15.5.20 |
//! | 425 | transient, not processed | Unwilling to process what may be a replay: repeat it after the handshake. | 8470 §5.2 |
//! | 429 | throttled, not processed | The server is well and asks for fewer calls. | 6585 §4 |
//! | other 4xx | permanent | The request is at fault; an unknown one reads as 400. | 9110 §15 |
//! | 500, 502, 503, 504 | transient | Broken, overloaded, or cut off from the server behind it: it may pass. | 9110 §15.6 |
//! | 501, 505 | permanent | The server does not know this method, or this version of HTTP. | 9110 §15.6.2, §15.6.6 |
//! | 506, 508, 510 | permanent | A server configured into a loop, or an extension that the request lacks. | 2295 §8.1, 5842 §7.2, 2774 §7 |
//! | 507 | permanent | Out of space: "MUST NOT be repeated until it is requested by a separate user action". | 4918 §11.5 |
//! | 511 | permanent | A captive portal: somebody has to sign in first. | 6585 §6 |
//! | other 5xx | transient | An unknown one reads as 500: 520 to 530 of Cloudflare, 529 for "overloaded". | 9110 §15 |
//! | below 100, above 599 | transient | Invalid: to be processed as if it were a 5xx. | 9110 §15 |
//!
//! # Where others decide otherwise
//!
//! **503 with a `Retry-After` is transient.** The server says that it is not well, and the circuit breaker must count
//! it: as throttled, an outage page with a fixed `Retry-After: 120` would keep the breaker closed all through the
//! outage. The hint is kept all the same. It may have been processed: proxies also answer 503 when the server behind
//! them breaks off half-way.
//!
//! **429 was not processed**, so a POST may be repeated. RFC 6585 does not say so in words, but a limiter that lets
//! the work be done limits nothing, and practice agrees: the SDKs of AWS and `OpenAI` repeat a throttled request
//! whatever its method, and Stripe documents that its limiters run before its idempotency layer (though its own
//! clients repeat a 429 only when another field tells them to). An API that counts the cost after the work, and then
//! answers 429, needs a classifier of its own.
//!
//! **Nothing else proves it.** 408 does in the RFC, which has it mean an incomplete request, but frameworks send it
//! for slow handlers too; 403 and 413 may come when half the content has been used.
//!
//! **409 is permanent.** The SDKs of Stripe and `OpenAI` repeat it because theirs means a lock; in general it means
//! that the caller has to look at the new state first (RFC 9110 §15.5.10).
//!
//! # When not to use it
//!
//! When the API says more than its status: errors inside a 200, throttling inside a 400 or a 503. Read the body, build
//! the [`Outcome`] yourself, and leave the rest to [`classify`]. A redirect that is followed is not an outcome at all.

use core::time::Duration;

use steadfast_core::outcome::Outcome;

/// The outcome of an attempt that was answered with `status`, and with how long to wait if a field said so.
///
/// The table in the [module's page](self) has every status with its reason. [`RetryAfter`](crate::RetryAfter) reads
/// the field; whatever the status, the hint is passed on.
pub const fn classify(status: u16, retry_after: Option<Duration>) -> Outcome {
    let outcome = match status {
        101 | 200..=399 => Outcome::success(),
        403 | 413 if retry_after.is_some() => Outcome::throttled(),
        408 => Outcome::transient(),
        421 | 425 => Outcome::transient().not_processed(),
        429 => Outcome::throttled().not_processed(),
        400..=499 | 501 | 505..=508 | 510 | 511 => Outcome::permanent(),
        _ => Outcome::transient(),
    };
    match retry_after {
        Some(delay) => outcome.with_retry_after(delay),
        None => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Outcome, classify};

    const HINT: Duration = Duration::from_secs(7);
    const SUCCESS: Outcome = Outcome::success();
    const TRANSIENT: Outcome = Outcome::transient();
    const THROTTLED: Outcome = Outcome::throttled();
    const PERMANENT: Outcome = Outcome::permanent();

    /// Every status in each range is `want`, without and with a hint.
    fn check(table: &[(core::ops::RangeInclusive<u16>, Outcome)]) {
        for (range, want) in table {
            for status in range.clone() {
                assert_eq!(classify(status, None), *want, "{status}");
                check_hinted(status, *want);
            }
        }
    }

    fn check_hinted(status: u16, want: Outcome) {
        let got = classify(status, Some(HINT));
        assert_eq!(got, want.with_retry_after(HINT), "{status} with a hint");
    }

    #[test]
    fn every_status_has_its_outcome() {
        check(&[
            (0..=100, TRANSIENT),
            (101..=101, SUCCESS),
            (102..=199, TRANSIENT),
            (200..=399, SUCCESS),
            (400..=402, PERMANENT),
            (404..=407, PERMANENT),
            (408..=408, TRANSIENT),
            (409..=412, PERMANENT),
            (414..=420, PERMANENT),
            (421..=421, TRANSIENT.not_processed()),
            (422..=424, PERMANENT),
            (425..=425, TRANSIENT.not_processed()),
            (426..=428, PERMANENT),
            (429..=429, THROTTLED.not_processed()),
            (430..=499, PERMANENT),
            (500..=500, TRANSIENT),
            (501..=501, PERMANENT),
            (502..=504, TRANSIENT),
            (505..=508, PERMANENT),
            (509..=509, TRANSIENT),
            (510..=511, PERMANENT),
            (512..=u16::MAX, TRANSIENT),
        ]);
    }

    #[test]
    fn a_hint_turns_two_refusals_into_throttling() {
        for status in [403, 413] {
            assert_eq!(classify(status, None), PERMANENT, "{status}");
            check_hinted(status, THROTTLED);
        }
    }
}
