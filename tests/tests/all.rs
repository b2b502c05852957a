//! One module per subject.

mod client;
mod faulty_server;
mod timers;
