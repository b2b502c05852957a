//! The suite that every transport runs: both backends, on smol and on tokio.

use std::future::Future;

use steadfast_smol::SmolTimer;
use steadfast_surf::SurfTransport;
use steadfast_tests::conformance::transport::{Limitation, Stack, Task, on_tokio};
use steadfast_tokio::TokioTimer;

const OF_H1: &[Limitation] = &[
    Limitation::NoKeepAlive,
    Limitation::NoOtherMethods,
    Limitation::NoOtherStatuses,
    Limitation::OnlyAsciiFields,
    Limitation::NoHttp10,
    Limitation::NoBodyWithoutLength,
    Limitation::NoInterimResponses,
    Limitation::NoChunkExtensions,
];

const OF_CURL: &[Limitation] = &[
    Limitation::NoKeepAlive,
    Limitation::NoOtherMethods,
    Limitation::NoOtherStatuses,
    Limitation::NoHead,
    Limitation::OnlyAsciiFields,
    Limitation::ListsInOneField,
    Limitation::HalfHeadIsBrokenBody,
    Limitation::HeadComesWithBody,
    Limitation::DroppedWithTransport,
];

fn transport(curl: bool) -> SurfTransport {
    if curl { SurfTransport::curl().expect("libcurl is there") } else { SurfTransport::h1() }
}

struct OnSmol<const CURL: bool>;

impl<const CURL: bool> Stack for OnSmol<CURL> {
    type Transport = SurfTransport;
    type Timer = SmolTimer;

    const LIMITATIONS: &'static [Limitation] = if CURL { OF_CURL } else { OF_H1 };

    fn run<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    fn transport() -> SurfTransport {
        transport(CURL)
    }

    fn timer() -> SmolTimer {
        SmolTimer::new()
    }

    fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Box::pin(smol::spawn(future))
    }
}

struct OnTokio<const CURL: bool>;

impl<const CURL: bool> Stack for OnTokio<CURL> {
    type Transport = SurfTransport;
    type Timer = TokioTimer;

    const LIMITATIONS: &'static [Limitation] = if CURL { OF_CURL } else { OF_H1 };

    fn run<F: Future>(future: F) -> F::Output {
        on_tokio::run(future)
    }

    fn transport() -> SurfTransport {
        transport(CURL)
    }

    fn timer() -> TokioTimer {
        TokioTimer::new()
    }

    fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        on_tokio::spawn(future)
    }
}

mod smol_h1 {
    steadfast_tests::transport_conformance!(crate::OnSmol<false>);
}

mod smol_curl {
    steadfast_tests::transport_conformance!(crate::OnSmol<true>);
}

mod tokio_h1 {
    steadfast_tests::transport_conformance!(crate::OnTokio<false>);
}

mod tokio_curl {
    steadfast_tests::transport_conformance!(crate::OnTokio<true>);
}
