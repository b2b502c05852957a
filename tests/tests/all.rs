//! One module per subject.

mod faulty_server;
mod client;
mod timers;
