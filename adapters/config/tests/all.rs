//! One module per subject.

#[cfg(feature = "client")]
mod client;
mod errors;
mod pipelines;
#[cfg(feature = "schema")]
mod schema;
mod words;
