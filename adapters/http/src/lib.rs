//! What status codes, header fields and methods of HTTP mean to a policy, parsed from bytes.
//!
//! ```
//! use core::time::Duration;
//! use steadfast_core::outcome::{Idempotency, Outcome};
//! use steadfast_http::date::UnixTime;
//! use steadfast_http::{RetryAfter, classify, idempotency};
//!
//! let now = UnixTime::from_secs(1_767_225_600);
//! let fields: [(&[u8], &[u8]); 2] = [(b"content-length", b"0"), (b"retry-after", b"7")];
//!
//! let hints = fields.iter().filter_map(|(name, value)| RetryAfter::from_field(name, value, now));
//! let longest = hints.map(|hint| hint.delay_from(now)).max();
//!
//! let seven = Duration::from_secs(7);
//! assert_eq!(classify(429, longest), Outcome::throttled().not_processed().with_retry_after(seven));
//! assert_eq!(idempotency::of_method(b"POST"), Idempotency::NotIdempotent);
//! ```
//!
//! Every function takes plain numbers and bytes, so that a client on a server and firmware without an allocator read
//! the same words the same way. No input panics; what cannot be read is `None`, and the caller's own backoff decides.
#![no_std]

pub mod cache;
pub mod date;
pub mod grpc;
pub mod head;
pub mod idempotency;
pub mod rate_limit_fields;
pub mod redirect;
pub mod retry_after;
pub mod status;

pub use rate_limit_fields::RateLimitFields;
pub use retry_after::RetryAfter;
pub use status::classify;
