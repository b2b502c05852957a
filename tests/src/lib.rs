//! What no single crate of steadfast can prove alone, and the tools to prove it with.
//!
//! [`FaultyServer`](faulty_server::FaultyServer) fails as real servers do and remembers what its clients did;
//! [`ScriptedServer`](scripted_server::ScriptedServer) does what a script says, byte by byte;
//! [`World`](world::World) fails on simulated time, with a fleet of clients; [`conformance`] has what every
//! implementation of a port has to pass; [`soak`] asks what is left after very many calls. The tests that use them are modules of `tests/all.rs`.

pub mod conformance;
pub mod faulty_server;
pub mod loopback;
pub mod peak;
pub mod scripted_server;
pub mod soak;
#[cfg(feature = "stacks")]
pub mod stacks;
pub mod world;

/// The README's example compiles, or this does not.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
