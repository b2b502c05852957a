use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use steadfast_core::event::Detail;
use steadfast_core::limits::Told;
use steadfast_core::outcome::{Classified, Outcome};
use steadfast_core::pipeline;
use steadfast_executor::Operation;
use tower_service::Service;

use crate::protocol::Protocol;

/// A request that is sent as often as its call has attempts.
#[derive(Debug)]
pub struct Repeated<S, P, Request> {
    /// Never polled itself: whatever its readiness takes is a clone's.
    pub(crate) service: S,
    pub(crate) protocol: Arc<P>,
    /// What the next attempt sends, if there is anything left.
    pub(crate) next: Option<Request>,
    /// And the one after that, if it was made already.
    pub(crate) spare: Option<Request>,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Tried<Response, Error> {
    Answered(Result<Response, Error>),
    /// The service did not become ready: it was never asked.
    NotReady(Error),
    /// There was no request to send any more.
    NothingLeft,
}

/// What the protocol has said of an answer, or we have where there is none.
#[derive(Debug)]
pub struct Said<C> {
    said: Result<C, Outcome>,
    /// There is no request for another attempt.
    is_last: bool,
}

impl<C: Classified> Classified for Said<C> {
    fn outcome(&self) -> Outcome {
        let outcome = match &self.said {
            Ok(said) => said.outcome(),
            Err(ours) => *ours,
        };
        if self.is_last { outcome.without_retry() } else { outcome }
    }

    fn told(&self) -> Option<&Told> {
        self.said.as_ref().ok().and_then(Classified::told)
    }

    fn details(&self, note: &mut dyn FnMut(&'static str, Detail<'_>)) {
        if let Ok(said) = &self.said {
            said.details(note);
        }
    }
}

impl<S, P, Request> Operation for Repeated<S, P, Request>
where
    S: Service<Request> + Clone,
    P: Protocol<Request, S::Response, S::Error>,
{
    type Output = Tried<S::Response, S::Error>;
    type Attempt = Try<S, Request>;
    type Classified = Said<P::Classified>;

    fn attempt(&mut self, _attempt: pipeline::Attempt) -> Try<S, Request> {
        let Some(request) = self.next.take() else {
            return Try::NothingLeft;
        };
        self.next = self.spare.take().or_else(|| self.protocol.repeat(&request));
        Try::GettingReady { service: self.service.clone(), request: Some(request) }
    }

    fn classify(&self, tried: &Self::Output) -> Self::Classified {
        let said = match tried {
            Tried::Answered(result) => Ok(self.protocol.classify(result.as_ref())),
            Tried::NotReady(_) => Err(Outcome::transient().not_processed()),
            // It says nothing of the server, and the policies are to learn nothing from it.
            Tried::NothingLeft => Err(Outcome::throttled().not_processed()),
        };
        Said { said, is_last: self.next.is_none() }
    }
}

pin_project! {
    /// One attempt: the service is made ready, and then called.
    #[project = Stage]
    pub enum Try<S, Request>
    where
        S: Service<Request>,
    {
        GettingReady { service: S, request: Option<Request> },
        Called { #[pin] answer: S::Future },
        NothingLeft,
    }
}

impl<S: Service<Request>, Request> Future for Try<S, Request> {
    type Output = Tried<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let answer = match self.as_mut().project() {
                Stage::GettingReady { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Tried::NotReady(error));
                    }
                    match request.take() {
                        Some(request) => service.call(request),
                        None => return Poll::Ready(Tried::NothingLeft), // Its call has panicked before.
                    }
                }
                Stage::Called { answer } => return answer.poll(cx).map(Tried::Answered),
                Stage::NothingLeft => return Poll::Ready(Tried::NothingLeft),
            };
            self.set(Self::Called { answer });
        }
    }
}
