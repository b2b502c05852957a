//! The stacks that the client runs on: a runtime, its timer, and a transport. What holds for one has to hold for all.

use std::future::Future;

use crate::conformance::transport::{Stack, Task, on_tokio};
use steadfast::{HyperSmolTransport, HyperTokioTransport, ReqwestTransport, SmolTimer, TokioTimer};

/// reqwest, on tokio.
#[derive(Debug)]
pub struct Reqwest;

impl Stack for Reqwest {
    type Transport = ReqwestTransport;
    type Timer = TokioTimer;

    fn run<F: Future>(future: F) -> F::Output {
        on_tokio::run(future)
    }

    fn transport() -> ReqwestTransport {
        ReqwestTransport::new().expect("no TLS is set up")
    }

    fn timer() -> TokioTimer {
        TokioTimer::new()
    }

    fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        on_tokio::spawn(future)
    }
}

/// hyper, on tokio.
#[derive(Debug)]
pub struct HyperTokio;

impl Stack for HyperTokio {
    type Transport = HyperTokioTransport;
    type Timer = TokioTimer;

    fn run<F: Future>(future: F) -> F::Output {
        on_tokio::run(future)
    }

    fn transport() -> HyperTokioTransport {
        HyperTokioTransport::new().expect("no TLS is set up")
    }

    fn timer() -> TokioTimer {
        TokioTimer::new()
    }

    fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        on_tokio::spawn(future)
    }
}

/// hyper, on smol.
#[derive(Debug)]
pub struct HyperSmol;

impl Stack for HyperSmol {
    type Transport = HyperSmolTransport;
    type Timer = SmolTimer;

    fn run<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    fn transport() -> HyperSmolTransport {
        HyperSmolTransport::new().expect("no TLS is set up")
    }

    fn timer() -> SmolTimer {
        SmolTimer::new()
    }

    fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        // A task of smol's is cancelled when it is dropped, as it is.
        Box::pin(smol::spawn(future))
    }
}
