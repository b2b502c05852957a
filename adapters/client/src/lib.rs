//! An API client that survives: over any HTTP transport, on any runtime.
//!
//! The [`ApiClient`] makes each call through a [`Pipeline`](steadfast_core::pipeline::Pipeline): rate limited, retried
//! where that is safe, guarded by a circuit breaker, and over by its deadline. Requests leave through the [`Transport`]
//! port and waits through the [`Timer`](steadfast_core::time::Timer) port; this crate does no I/O of its own.
//!
//! ```
//! # use std::convert::Infallible;
//! # use std::future::{Ready, ready};
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use steadfast_client::{RequestBody, Transport, TransportError};
//! # use steadfast_core::time::ManualClock;
//! use steadfast_client::ApiClient;
//!
//! # struct Echo;
//! # impl Transport for Echo {
//! #     type Body = Full<Bytes>;
//! #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
//! #     fn send(&self, _: Request<RequestBody>) -> Self::Sending {
//! #         ready(Ok(Response::new(Full::new(Bytes::from(r#"{"name": "lamp"}"#)))))
//! #     }
//! # }
//! # #[derive(serde::Deserialize)]
//! # struct Item { name: String }
//! # let (transport, clock) = (Echo, ManualClock::new());
//! # let timer = &clock;
//! // `transport` and `timer` come from the adapters for your HTTP stack and your runtime.
//! let client = ApiClient::builder("https://api.example.com/v1", transport, timer).build()?;
//! # let call = async {
//! let item: Item = client.get("items/7").query("fields", "name").send().await?.json()?;
//! # assert_eq!(item.name, "lamp");
//! # Ok::<(), steadfast_client::Error>(())
//! # };
//! # clock.drive(call).expect("it ends")?;
//! # Ok::<(), steadfast_client::Error>(())
//! ```
//!
//! # What counts as what
//!
//! Statuses, hints and methods are read by `steadfast-http`. A connection that was never made was not processed, so
//! even a POST is tried again; one that broke later, or a body that came short, is repeated only where that is safe.
//!
//! # When not to use it
//!
//! Where a response is to be read by a retry in parts (`Range`): one that breaks off is fetched again from its beginning, or
//! not at all.

mod about;
mod answer;
mod any_pipeline;
mod auth;
mod body;
mod cache;
mod call;
mod client;
mod clock;
mod cost;
mod endpoints;
mod error;
mod events;
mod exchange;
mod faulty;
mod guard;
mod json_error;
mod lifecycle;
mod link;
mod minted;
mod multipart;
mod overrides;
mod pages;
mod reconfigure;
mod redirect;
mod request;
mod response;
mod snapshot;
mod streaming;
mod transport;

pub use any_pipeline::{AnyPipeline, LimitsPerKey};
pub use auth::{Auth, ClientCredentials, Sign, TokenError};
pub use body::RequestBody;
pub use cache::{Cache, CacheKey, CacheStatus, MemoryStore, Resource, Store, WhyStale, check_store};
pub use client::{ApiClient, ApiClientBuilder};
pub use error::{Error, Failure};
pub use events::{EventParser, EventStream, EventTooLong, ServerEvent};
pub use faulty::{FaultyBody, FaultySending, FaultyTransport};
pub use json_error::JsonError;
pub use minted::IdempotencyKeys;
pub use multipart::{Multipart, Part};
pub use pages::Pages;
pub use reconfigure::NotReconfigured;
pub use redirect::{NotFollowed, Redirects};
pub use request::RequestBuilder;
pub use response::Response;
pub use snapshot::EndpointSnapshot;
pub use steadfast_executor::Stopped;
pub use streaming::StreamingResponse;
pub use transport::{BoxError, Transport, TransportError};
