use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;
use steadfast_core::event::Observer;
use steadfast_core::pipeline::Attempt;
use steadfast_core::time::{Instant, Timer};
use steadfast_executor::Flight;
use url::Url;

use crate::about::Judged;
use crate::answer::{Answer, Head, is_success};
use crate::any_pipeline::AnySpent;
use crate::auth::Auth;
use crate::body::{RequestBody, Sent};
use crate::cache::CacheStatus;
use crate::client::ApiClient;
use crate::clock::WallClock;
use crate::error::Named;
use crate::guard::Patience;
use crate::transport::Transport;

/// Who we are to another origin.
static NOBODY: Auth = Auth::none();

/// What one attempt brought, and whether there can be another.
pub(crate) struct Tried<B> {
    pub(crate) number: u32,
    pub(crate) answer: Answer,
    /// The request's body was a stream, and what has left of it is not there to be sent again.
    pub(crate) is_spent: bool,
    /// The response's body, if no more than its head was wanted, and it means success.
    pub(crate) body: Option<Box<B>>,
    /// When it began.
    pub(crate) sent: Instant,
    pub(crate) cache: CacheStatus,
}

/// How much of a response is read before the attempt is over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    Whole,
    /// If it means success; whole otherwise.
    Head,
    /// The same, and for the body that follows there is no deadline.
    HeadOfEndless,
}

/// What a call brought, and what is told of it.
pub(crate) struct Called<B, C, O> {
    pub(crate) tried: Tried<B>,
    /// What it took of the limits, if it succeeded.
    pub(crate) spent: Option<AnySpent<C, O>>,
    pub(crate) target: Named,
    pub(crate) started: Instant,
    pub(crate) elapsed: Duration,
    pub(crate) patience: Patience,
    pub(crate) redirects: u32,
    /// Where the last request went.
    pub(crate) url: Url,
    pub(crate) flight: Flight,
}

impl<B> Tried<B> {
    /// How the attempt ended, and what the server told of its limits, in the words that policies understand.
    pub(crate) fn judged(&self, clock: WallClock) -> Judged {
        let outcome = self.answer.outcome();
        Judged {
            outcome: if self.is_spent { outcome.without_retry() } else { outcome },
            told: self.answer.told(clock),
            status: self.answer.head().map(|head| head.status),
            error: self.answer.error_type(),
        }
    }
}

/// What one attempt sends, beside its head.
pub(crate) struct Outgoing {
    /// `None` if there is no more of it.
    pub(crate) body: Option<(RequestBody, Sent)>,
    /// All of it, where that is in memory.
    pub(crate) in_memory: Option<Bytes>,
    pub(crate) is_one_stream: bool,
    /// Whether it goes to the origin of the base URL, and never left it: else nobody is told who we are.
    pub(crate) is_at_home: bool,
}

/// One attempt: sends the request and reads so much of the response.
pub(crate) async fn attempt<T: Transport, C: Timer, O: Observer>(
    client: &ApiClient<T, C, O>,
    attempt: Attempt,
    head: Parts,
    outgoing: Outgoing,
    refused: &AtomicBool,
    patience: Patience,
    extent: Extent,
) -> Tried<T::Body> {
    let Attempt { number, until } = attempt;
    let Outgoing { body, in_memory, is_one_stream, is_at_home } = outgoing;
    let (sent_at, cache) = (client.timer().now(), CacheStatus::Bypassed);
    let Some((body, sent)) = body else {
        let answer = Answer::BodyFailed("it was a stream, and cannot be sent again".into());
        return Tried { number, answer, is_spent: true, body: None, sent: sent_at, cache };
    };
    let auth = if is_at_home { client.auth() } else { &NOBODY };
    // For a body that is read here. The pipeline would end the attempt as well, and what its head has asked for would be lost.
    let patience = Patience { deadline: patience.deadline.min(until), ..patience };
    let exchange = pin!(exchange(client, auth, head, body, in_memory.as_ref(), refused, patience, extent));
    let (answer, body) = if is_one_stream {
        // The pipeline would end it as well, and then try again. Whether it can, is seen here and not there.
        match select(exchange, pin!(client.timer().sleep_until(until))).await {
            Either::Left((brought, _)) => brought,
            Either::Right(((), _)) => (Answer::TimedOut { head: None }, None),
        }
    } else {
        exchange.await
    };
    // Whatever came of a body that broke off in the middle, it is not the answer to the request that was meant.
    let (answer, body) = match sent.take_failure() {
        Some(error) => (Answer::BodyFailed(error), None),
        None => (answer, body),
    };
    Tried { number, answer, is_spent: sent.is_spent(), body, sent: sent_at, cache }
}

/// Says who we are, sends the request, and reads the response.
#[allow(clippy::too_many_arguments)] // All that an exchange is, called from one place.
async fn exchange<T: Transport, C: Timer, O: Observer>(
    client: &ApiClient<T, C, O>,
    auth: &Auth,
    mut head: Parts,
    body: RequestBody,
    in_memory: Option<&Bytes>,
    refused: &AtomicBool,
    patience: Patience,
    extent: Extent,
) -> (Answer, Option<Box<T::Body>>) {
    let transport = client.transport();
    let mut used = None;
    if let Some(tokens) = auth.tokens().filter(|_| !head.headers.contains_key(AUTHORIZATION)) {
        match tokens.authorization(transport, client.timer()).await {
            Ok((value, which)) => {
                head.headers.insert(AUTHORIZATION, value);
                used = Some((tokens, which));
            }
            Err(error) => return (Answer::NoToken(error), None),
        }
    }
    if let Err(error) = auth.apply(&mut head, in_memory) {
        return (Answer::NotSigned(error), None);
    }
    let answer = match transport.send(http::Request::from_parts(head, body)).await {
        Ok(response) if !matches!(extent, Extent::Whole) && is_success(response.status()) => {
            let (parts, body) = response.into_parts();
            let answer = Answer::Whole { head: Head::of(parts, client.wall_clock()), body: Bytes::new() };
            return (answer, Some(Box::new(body)));
        }
        Ok(response) => {
            let (timer, max_body, clock) = (client.timer(), client.max_body(), client.wall_clock());
            Answer::read(response, timer, max_body, patience, clock).await
        }
        Err(error) => Answer::Nothing(error),
    };
    let answer = match used {
        Some((tokens, which)) if answer.status() == Some(StatusCode::UNAUTHORIZED) => {
            let has_another = tokens.rejected(client.timer().now(), which);
            if refused.swap(true, Ordering::Relaxed) || !has_another { answer } else { answer.token_rejected() }
        }
        _ => answer,
    };
    (answer, None)
}
