//! The stacks that the client runs on: a runtime, its timer, and a transport. What holds for one has to hold for all.

use std::future::Future;

use steadfast::{HyperSmolTransport, HyperTokioTransport, ReqwestTransport, SmolTimer, TokioTimer};
use steadfast_tests::conformance::transport::{Stack, Task, on_tokio};

#[derive(Debug)]
pub(crate) struct Reqwest;

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

#[derive(Debug)]
pub(crate) struct HyperTokio;

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

#[derive(Debug)]
pub(crate) struct HyperSmol;

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

/// A test for each of these functions on each stack, in modules named after the stacks. The functions are generic over the
/// stack, and beside where this stands.
macro_rules! on_every_stack {
    ($($case:ident)*) => {
        crate::stack::on_every_stack!(reqwest, Reqwest: $($case)*);
        crate::stack::on_every_stack!(hyper_tokio, HyperTokio: $($case)*);
        crate::stack::on_every_stack!(hyper_smol, HyperSmol: $($case)*);
    };
    ($module:ident, $stack:ident: $($case:ident)*) => {
        mod $module {
            use steadfast_tests::conformance::transport::Stack;

            use crate::stack::$stack;

            $(#[test]
            fn $case() {
                $stack::run(super::$case::<$stack>());
            })*
        }
    };
}

pub(crate) use on_every_stack;
