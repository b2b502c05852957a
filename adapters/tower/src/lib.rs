//! The pipeline as a [`Layer`](tower_layer::Layer) and [`Service`](tower_service::Service) of tower.
//!
//! ```
//! use std::cell::Cell;
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use steadfast_core::pipeline::Pipeline;
//! use steadfast_core::time::ManualClock;
//! use steadfast_executor::SharedPipeline;
//! use steadfast_tower::{Http, SteadfastLayer};
//! use tower::{Service, ServiceBuilder, service_fn};
//!
//! let clock = ManualClock::new(); // Or the timer of your runtime.
//! let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
//!
//! let asked = Cell::new(0);
//! let mut service = ServiceBuilder::new()
//!     .layer(SteadfastLayer::new(pipeline, Http::new()))
//!     .service(service_fn(|_: Request<String>| {
//!         asked.set(asked.get() + 1);
//!         let response = Response::builder().status(if asked.get() == 1 { 503 } else { 200 }).body(());
//!         std::future::ready(Ok::<_, Infallible>(response.unwrap()))
//!     }));
//!
//! let request = Request::get("/items/7").body(String::new()).unwrap();
//! let response = clock.drive(service.call(request)).expect("it ends").expect("the second attempt is answered");
//! assert_eq!(response.status(), 200);
//! ```
//!
//! # What is a [`Protocol`]
//!
//! tower's services know nothing of their requests. A [`Protocol`] says what one is: how it is repeated, whether it may be, and
//! how an attempt ended that was answered so. [`Http`] knows for `http::Request`; [`protocol`] takes closures for all others.
//!
//! # Readiness
//!
//! The service is always ready, and [`poll_ready`](tower_service::Service::poll_ready) takes nothing: no permit, no token, no
//! place in line. So nothing is kept by a caller who never calls.
//!
//! The service within is made ready by each attempt, when its turn has come, and nothing that its readiness has taken is kept
//! while somebody waits for a limit or for a backoff to end. It would be, if this service were as ready as the one within: a
//! call with the last permit of an inner limit would wait in line for our slot, behind one that has the slot and waits for
//! the permit. That an attempt waits for readiness counts as a part of it, and is cut off by its timeout. An attempt of which the
//! service was not ready has never been sent, so it may be repeated whatever its request is.
//!
//! A clone of a service that is ready need not be ready itself, which is where many layers go wrong. Here a clone is made for
//! each attempt, polled until it is ready, and then called: that very one.
//!
//! # What comes back
//!
//! What the service answered last is returned as it is, also where it is a failure that would be worth another attempt: a
//! response with status 503 is a response. Of a call that has no answer, [`Error`] says why.
//!
//! # Cancel safety
//!
//! The future may be dropped at any time. What it holds goes back: its place in line, tokens that it has not used, its slot, the
//! breaker's permit, and the inner service with its own.
//!
//! # When not to use it
//!
//! Beside tower's own retry, rate limit, timeout or hedge: what one of them does is not known to the other, and the product of both
//! is what the server sees. And where a body breaks off: an attempt has ended when the response's head is there, as with every
//! layer of tower. `steadfast-client` reads bodies, and repeats that too.

mod attempt;
mod error;
mod http;
mod protocol;
mod service;

pub use self::error::Error;
pub use self::http::{Bodies, Cloned, Ended, Http, Never, NeverSent};
pub use self::protocol::{ByClosures, Protocol, protocol};
pub use self::service::{ResponseFuture, Steadfast, SteadfastLayer};
