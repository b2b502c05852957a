//! What no single crate of steadfast can prove alone, and the tools to prove it with.
//!
//! [`FaultyServer`](faulty_server::FaultyServer) fails as real servers do and remembers what its clients did; the
//! tests that use it are modules of `tests/all.rs`.

pub mod faulty_server;
pub mod peak;

/// The README's example compiles, or this does not.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
