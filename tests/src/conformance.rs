//! One suite for each port: whoever implements it runs the same cases.

pub mod transport;
