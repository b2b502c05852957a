//! What header fields say about keeping a response and using it again: a private cache's decisions, of RFC 9111 and RFC 5861.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_http::cache::{RequestFields, ResponseFields, Use};
//! use steadfast_http::date::UnixTime;
//!
//! let now = UnixTime::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
//! let mut response = ResponseFields::new();
//! for (name, value) in [
//!     (&b"date"[..], &b"Sun, 06 Nov 1994 08:49:37 GMT"[..]),
//!     (b"cache-control", b"max-age=60, stale-if-error=600"),
//!     (b"age", b"10"),
//! ] {
//!     response.read(name, value, now);
//! }
//! assert!(response.may_be_stored(200));
//!
//! // It took two seconds to come, and goes by nobody's guess.
//! let kept = response.kept(200, now, Duration::from_secs(2), Duration::ZERO);
//! let age = |later| kept.age(Duration::from_secs(later));
//! assert_eq!(age(0), Duration::from_secs(12));
//!
//! let request = RequestFields::new();
//! assert_eq!(kept.judge(&request, age(47)), Use::Fresh);
//! assert_eq!(kept.judge(&request, age(48)), Use::Validate);
//! assert!(kept.stands_in(&request, age(648), Some(503)));
//! ```
//!
//! A cache is told what it needs to know and does the rest itself: it keeps, finds, sends, and merges by
//! [`stays`](validation::stays) and [`is_replaced`](validation::is_replaced). Here nothing is kept, and no clock is read.
//!
//! # What is read, and how
//!
//! | Field or directive | Read as | Source |
//! | --- | --- | --- |
//! | names of directives | in any case; arguments as tokens or in quotes | RFC 9111 §5.2 |
//! | a number of seconds that no integer holds | the greatest there is | §1.2.2, a MUST |
//! | `max-age` that is no number, or twice and not the same | stale | §4.2.1 |
//! | `max-age` beside `Expires` | `max-age` | §5.3, a MUST |
//! | `Expires` that is no date, such as `0`, or twice and not the same | in the past | §5.3, a MUST; §4.2.1 |
//! | `Expires` without a `Date` | counted from when the response came | RFC 9110 §6.6.1 |
//! | `Age` that is no number | nothing | §5.1; of a list, the first |
//! | `no-cache` and `private` with names of fields | as without: for the whole response | §5.2.2.4; whoever serves less, serves nothing wrong |
//! | `s-maxage`, `proxy-revalidate`, `private` without names | nothing | §5.2.2: they are for shared caches |
//! | `must-understand` | `no-store` beside it does not count, if the status is one that we know | §5.2.2.3 |
//! | `immutable` | nothing: what is fresh is validated only if the request asks for it, which overrides it | RFC 8246 §2 |
//! | `stale-while-revalidate`, `stale-if-error` that are no number, or twice | the least of them; else nothing | RFC 5861: they permit, and in doubt do not |
//! | of a request: `max-age`, `min-fresh` that are no number | never satisfied | they restrict, and in doubt do |
//! | of a request: `Pragma: no-cache` without a `Cache-Control` | `no-cache` | §5.4 |
//!
//! Where neither a lifetime nor `Expires` is told, there is one to be guessed (§4.2.2): a tenth of the time since the response
//! was last modified, and no more than the caller allows.
//!
//! # When not to use it
//!
//! In a cache that several users share: it must not keep what is `private` or came with `Authorization`, and is told more.

mod directives;
mod kept;
mod request;
mod response;
#[cfg(test)]
mod tests;
pub mod validation;

pub use kept::{Kept, Use};
pub use request::RequestFields;
pub use response::ResponseFields;
