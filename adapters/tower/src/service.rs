use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use steadfast_core::event::Observer;
use steadfast_core::rejected::Rejected;
use steadfast_core::run::{CallError, LastAttempt};
use steadfast_core::time::Timer;
use steadfast_executor::{OwnedCall, SharedPipeline};
use tower_layer::Layer;
use tower_service::Service;

use crate::attempt::{Repeated, Tried};
use crate::error::Error;
use crate::protocol::Protocol;

/// Puts a pipeline before services: all that it is put before share its limits, its breaker and its budget.
pub struct SteadfastLayer<P, T, O = (), const K: usize = 1> {
    pipeline: SharedPipeline<T, O, K>,
    protocol: Arc<P>,
}

/// A service behind a pipeline. Clones share the pipeline.
///
/// See the [crate](crate) for what it promises of readiness and cancellation.
pub struct Steadfast<S, P, T, O = (), const K: usize = 1> {
    inner: S,
    pipeline: SharedPipeline<T, O, K>,
    protocol: Arc<P>,
}

impl<P, T, O, const K: usize> SteadfastLayer<P, T, O, K> {
    /// A layer whose services make their calls through `pipeline`.
    pub fn new(pipeline: SharedPipeline<T, O, K>, protocol: P) -> Self {
        Self { pipeline, protocol: Arc::new(protocol) }
    }
}

impl<S, P, T, O, const K: usize> Steadfast<S, P, T, O, K> {
    /// The service `inner` behind `pipeline`.
    pub fn new(inner: S, pipeline: SharedPipeline<T, O, K>, protocol: P) -> Self {
        Self { inner, pipeline, protocol: Arc::new(protocol) }
    }

    /// The pipeline: what it is set to, and to change that while calls go through it.
    pub const fn pipeline(&self) -> &SharedPipeline<T, O, K> {
        &self.pipeline
    }
}

impl<S, P, T: Clone, O: Clone, const K: usize> Layer<S> for SteadfastLayer<P, T, O, K> {
    type Service = Steadfast<S, P, T, O, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Steadfast { inner, pipeline: self.pipeline.clone(), protocol: Arc::clone(&self.protocol) }
    }
}

impl<S, P, T, O, Request, const K: usize> Service<Request> for Steadfast<S, P, T, O, K>
where
    S: Service<Request> + Clone,
    P: Protocol<Request, S::Response, S::Error>,
    T: Timer + Clone,
    O: Observer + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<OwnedCall<SharedPipeline<T, O, K>, Repeated<S, P, Request>>>;

    /// Always ready, and takes nothing: see [readiness](crate#readiness).
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut options = self.protocol.options(&request);
        let spare = self.protocol.repeat(&request);
        if spare.is_none() {
            // Neither repeated nor hedged: there is only the one.
            options = options.with_max_attempts(1);
        }
        let (service, protocol) = (self.inner.clone(), Arc::clone(&self.protocol));
        let repeated = Repeated { service, protocol, next: Some(request), spare };
        ResponseFuture { call: self.pipeline.call_owned(options, repeated) }
    }
}

pin_project! {
    /// The answer of a [`Steadfast`] service, some time. It is `Send` when its parts are, and in no box.
    #[must_use = "a call does nothing unless it is polled"]
    pub struct ResponseFuture<C> {
        #[pin]
        call: C,
    }
}

impl<S, P, T, O, Request, const K: usize> Future
    for ResponseFuture<OwnedCall<SharedPipeline<T, O, K>, Repeated<S, P, Request>>>
where
    S: Service<Request> + Clone,
    P: Protocol<Request, S::Response, S::Error>,
    T: Timer + Clone,
    O: Observer + Clone,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut call = self.project().call;
        let (rejected, attempts, last) = match ready!(call.as_mut().poll(cx)) {
            Ok(Tried::Answered(Ok(response))) => return Poll::Ready(Ok(response)),
            // A protocol may call an error a success: nothing else is to be done.
            Ok(tried) => (Rejected::Permanent, 1, LastAttempt::Returned(tried)),
            Err(CallError { rejected, attempts, last, .. }) => (rejected, attempts, last),
        };
        Poll::Ready(match last {
            LastAttempt::Returned(Tried::Answered(Ok(mut response))) => {
                call.operation().protocol.note_end(&mut response, rejected, attempts);
                Ok(response)
            }
            LastAttempt::Returned(Tried::Answered(Err(source)) | Tried::NotReady(source)) => {
                Err(Error::Service { source, rejected, attempts })
            }
            // An attempt without a request is begun only after one that was cancelled, since that tells nobody that it had the last.
            LastAttempt::Returned(Tried::NothingLeft) => {
                Err(Error::TimedOut { rejected, attempts: attempts.saturating_sub(1) })
            }
            LastAttempt::TimedOut => Err(Error::TimedOut { rejected, attempts }),
            LastAttempt::NotMade => Err(Error::Rejected(rejected)),
        })
    }
}

impl<P, T: Clone, O: Clone, const K: usize> Clone for SteadfastLayer<P, T, O, K> {
    fn clone(&self) -> Self {
        Self { pipeline: self.pipeline.clone(), protocol: Arc::clone(&self.protocol) }
    }
}

impl<S: Clone, P, T: Clone, O: Clone, const K: usize> Clone for Steadfast<S, P, T, O, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), pipeline: self.pipeline.clone(), protocol: Arc::clone(&self.protocol) }
    }
}

impl<P, T, O, const K: usize> fmt::Debug for SteadfastLayer<P, T, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteadfastLayer").finish_non_exhaustive()
    }
}

impl<S, P, T, O, const K: usize> fmt::Debug for Steadfast<S, P, T, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steadfast").finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for ResponseFuture<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
