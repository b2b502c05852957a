//! One module per subject.

mod adapters;
mod attacks;
mod attacks_calls;
mod backoff_retry;
mod blocking;
mod budget;
mod call;
mod cancel;
mod circuit_breaker;
mod client;
mod client_cancel;
mod extremes;
mod faulty_server;
mod firmware;
mod hedge;
#[cfg(target_os = "linux")]
mod hidden_threads;
mod limits;
mod line;
mod line_changes;
mod ports;
mod promises;
mod reconfigure;
mod redirects;
mod refunds;
mod risks;
mod server_limits;
mod soak;
mod stack;
mod streams;
mod support;
mod threads;
mod timers;
mod token_bucket;
mod transports;
mod world;
