//! One suite for each port: whatever stands behind a port runs all of its scripts, on its own clock and runtime.

pub mod limiter;
pub mod timer;
pub mod transport;
