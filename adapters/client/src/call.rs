use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use steadfast_core::event::Observer;
use steadfast_core::limits::Told;
use steadfast_core::outcome::Idempotency;
use steadfast_core::pipeline::Attempt;
use steadfast_core::run::{CallError, LastAttempt};
use steadfast_core::time::{Instant, Timer};
use steadfast_executor::Flight;
use steadfast_http::idempotency;
use steadfast_http::redirect::Next;
use url::Url;

use crate::about::{About, Judged};
use crate::answer::{Answer, Head};
use crate::any_pipeline::AnySpent;
use crate::body::{Payload, RequestBody};
use crate::client::ApiClient;
use crate::endpoints::OnePipeline;
use crate::error::{Error, Failure, Named};
use crate::exchange::{self, Called, Extent, Outgoing, Tried};
use crate::guard::Patience;
use crate::overrides::{Key, Overrides};
use crate::redirect::{Journey, NotFollowed, Redirects};
use crate::transport::Transport;

/// What one request brought, with what it took of the limits; or why it ended without success.
pub(crate) type Brought<B, C, O> = Result<(Tried<B>, Option<AnySpent<C, O>>), CallError<Tried<B>>>;

/// One call, from its first request to its last: as many as redirects make it.
pub(crate) struct Call<'a, T, C, O> {
    pub(crate) client: &'a ApiClient<T, C, O>,
    pub(crate) journey: Journey,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) overrides: Overrides,
    redirects: Redirects,
    pub(crate) extent: Extent,
    /// The pipeline of the key that it names.
    keyed: Option<OnePipeline<C, O>>,
    started: Instant,
    patience: Patience,
    /// The field of a key that was minted: it makes a request idempotent, whatever its name.
    key: Option<HeaderName>,
    name: Option<HeaderValue>,
    /// How many attempts were started.
    attempts: AtomicU32,
    /// Whether a token was refused already: a call is given one more, and not one after the other.
    refused: AtomicBool,
    /// Whether part of its time was gone before its request.
    pub(crate) has_waited: bool,
    /// Whether it is there to renew what is kept, and not to be answered by it.
    pub(crate) revalidates: bool,
}

impl<'a, T: Transport, C: Timer, O: Observer> Call<'a, T, C, O> {
    pub(crate) fn new(
        client: &'a ApiClient<T, C, O>,
        journey: Journey,
        mut headers: HeaderMap,
        payload: Payload,
        overrides: Overrides,
        extent: Extent,
        keyed: Option<OnePipeline<C, O>>,
    ) -> Self {
        for (name, value) in client.default_headers() {
            if !headers.contains_key(name) {
                headers.insert(name, value.clone());
            }
        }
        let key = mint_key(client, &journey, &mut headers, &overrides);
        let name = name_of(client, &mut headers);
        let redirects = overrides.redirects.unwrap_or(client.redirects());
        let started = client.timer().now();
        let read_timeout = overrides.read_timeout.unwrap_or(client.read_timeout());
        let patience = Patience { read_timeout, deadline: Instant::MAX };
        let (attempts, refused) = (AtomicU32::new(0), AtomicBool::new(false));
        let this = Self {
            client,
            journey,
            headers,
            payload,
            overrides,
            redirects,
            extent,
            keyed,
            started,
            patience,
            key,
            name,
            attempts,
            refused,
            has_waited: false,
            revalidates: false,
        };
        // What is read whole ends with its attempt.
        let deadline = match extent {
            Extent::Whole | Extent::HeadOfEndless => Instant::MAX,
            Extent::Head => this.deadline(),
        };
        Self { patience: Patience { deadline, ..this.patience }, ..this }
    }

    /// The same, to renew what is kept.
    pub(crate) fn revalidating(self) -> Self {
        Self { revalidates: true, ..self }
    }

    /// Makes the call: reads so much of the last response as is wanted.
    pub(crate) async fn make(mut self) -> Result<Called<T::Body, C, O>, Error> {
        let flight = self.client.in_flight().enter();
        let result = flight.run(self.go(&flight)).await;
        let elapsed = self.elapsed();
        let (target, attempts) = (self.named(), self.attempts.load(Ordering::Relaxed));
        match result {
            Ok(Ok((tried, spent))) => {
                let (started, patience, redirects) = (self.started, self.patience, self.journey.redirects());
                Ok(Called {
                    tried: Tried { number: attempts, ..tried },
                    spent,
                    target,
                    started,
                    elapsed,
                    patience,
                    redirects,
                    url: self.journey.url,
                    flight,
                })
            }
            Ok(Err(error)) => Err(error),
            Err(why) => Err(Error::of_shut_down(target, attempts, elapsed, why)),
        }
    }

    /// One request after the other, until one is answered with something else than a redirect that is followed.
    #[allow(clippy::type_complexity)] // What came of it, and what it took of the limits.
    async fn go(&mut self, flight: &Flight) -> Result<(Tried<T::Body>, Option<AnySpent<C, O>>), Error> {
        loop {
            let (tried, spent) = match self.request(flight).await? {
                Ok(brought) => brought,
                Err(CallError { last: LastAttempt::Returned(tried), .. })
                    if self.overrides.any_status && tried.answer.is_whole() =>
                {
                    return Ok((tried, None));
                }
                Err(error) => {
                    let (attempts, elapsed) = (self.attempts.load(Ordering::Relaxed), self.elapsed());
                    return Err(Error::of_call(self.named(), CallError { attempts, elapsed, ..error }));
                }
            };
            let Answer::Whole { head, .. } = &tried.answer else { return Ok((tried, spent)) };
            if !head.status.is_redirection() || head.status == http::StatusCode::NOT_MODIFIED {
                return Ok((tried, spent));
            }
            if let Err(reason) = self.follow(head, tried.is_spent).await {
                if self.overrides.any_status {
                    return Ok((tried, spent));
                }
                let (_, head, body) = tried.answer.into_parts();
                let (target, elapsed) = (self.named(), self.elapsed());
                let attempts = self.attempts.load(Ordering::Relaxed);
                let failure =
                    Failure { target, attempts, elapsed, history: <_>::default(), rejected: None, head, body };
                return Err(Error::Redirect { reason, failure: Box::new(failure) });
            }
        }
    }

    /// One request through the whole pipeline, as often as that allows: with these fields, if they are not the call's own.
    pub(crate) async fn ask(
        &mut self,
        flight: &Flight,
        other: Option<HeaderMap>,
    ) -> Result<Brought<T::Body, C, O>, Error> {
        let uri = uri(&self.journey.url)?;
        let mut options = self.overrides.options(self.idempotency());
        if self.journey.redirects() > 0 || self.has_waited {
            options = options.with_deadline(self.deadline() - self.client.timer().now());
        }
        let Self { client, journey, headers, payload, overrides, extent, keyed, patience, attempts, refused, .. } =
            self;
        let headers = other.as_ref().unwrap_or(headers);
        let (client, extent, patience) = (*client, *extent, *patience);
        let (attempts, refused) = (&*attempts, &*refused);
        let is_one_stream = payload.is_one_stream();
        let counted = attempts.load(Ordering::Relaxed);
        let by_url = if journey.at_home { &journey.url } else { journey.began().1 };
        let pipeline = keyed.as_ref().unwrap_or_else(|| client.pipeline_of(by_url));
        let attempt = |attempt: Attempt| {
            let (mut head, ()) = http::Request::new(()).into_parts();
            (head.method, head.uri, head.headers) = (journey.method.clone(), uri.clone(), headers.clone());
            let number = counted.saturating_add(attempt.number);
            if let Some(field) = client.minted().attempt_count.as_ref().filter(|_| journey.at_home) {
                head.headers.insert(field, HeaderValue::from(number));
            }
            let outgoing = Outgoing {
                body: payload.attempt(client.max_replay()),
                in_memory: payload.in_memory().cloned(),
                is_one_stream,
                is_at_home: journey.at_home,
            };
            let starts = flight.start();
            if starts {
                attempts.store(number, Ordering::Relaxed);
                overrides.begun.iter().for_each(|begun| begun.store(true, Ordering::Relaxed));
            }
            async move {
                if !starts {
                    // Shut down in this moment: the flight ends before anything is sent.
                    pending::<()>().await;
                }
                exchange::attempt(client, attempt, head, outgoing, refused, patience, extent).await
            }
        };
        let at_home = journey.at_home;
        let classify = |tried: &Tried<T::Body>| {
            let judged = tried.judged(client.wall_clock());
            // The limits of another origin are none of this pipeline's.
            if at_home { judged } else { Judged { told: Told::NOTHING, ..judged } }
        };
        let about = About { method: &journey.method, url: &journey.url, counted };
        // Room for two attempts at once only where there may be two. One stream cannot be read by both.
        let brought = if pipeline.hedges && !is_one_stream {
            Box::pin(pipeline.shared.call_hedged(about, options, classify, attempt)).await
        } else {
            pipeline.shared.call(about, options, classify, attempt).await
        };
        Ok(brought.map(|(tried, spent)| (tried, Some(spent))))
    }

    /// Goes on to where a response says, when it says.
    async fn follow(&mut self, head: &Head, is_spent: bool) -> Result<(), NotFollowed> {
        let Self { client, journey, headers, payload, redirects, key, .. } = self;
        let secret = |name: &str, value: &str| client.auth().is_secret_parameter(name, value);
        let next = journey.follow(*redirects, head.status, &head.headers, is_spent, secret)?;
        journey.strip(next, headers);
        if let Next::Get = next {
            *payload = RequestBody::default().into();
            if let Some(key) = key.take() {
                headers.remove(key);
            }
        }
        // RFC 9110 §10.2.3: the least time before the redirected request.
        let until = self.client.timer().now() + head.retry_after.unwrap_or_default();
        if until >= self.deadline() && head.retry_after.is_some() {
            return Err(NotFollowed::TooLate);
        }
        while self.client.timer().now() < until {
            self.client.timer().sleep_until(until).await;
        }
        Ok(())
    }

    fn idempotency(&self) -> Idempotency {
        if self.key.is_some() {
            return Idempotency::Idempotent;
        }
        idempotency_of(&self.journey.method, &self.headers)
    }

    /// By when all of it has to end.
    pub(crate) fn deadline(&self) -> Instant {
        let options = self.overrides.options(Idempotency::NotIdempotent);
        let pipeline = self.keyed.as_ref().unwrap_or_else(|| self.client.pipeline_of(self.journey.began().1));
        pipeline.shared.deadline_of(self.started, &options)
    }

    /// The pipeline that its next request goes through.
    pub(crate) fn pipeline(&self) -> &OnePipeline<C, O> {
        let by_url = if self.journey.at_home { &self.journey.url } else { self.journey.began().1 };
        self.keyed.as_ref().unwrap_or_else(|| self.client.pipeline_of(by_url))
    }

    fn elapsed(&self) -> Duration {
        self.client.timer().now() - self.started
    }

    /// The call, for an error that comes of no attempt.
    pub(crate) fn failure(&self) -> Box<Failure> {
        let (target, attempts, elapsed) = (self.named(), self.attempts.load(Ordering::Relaxed), self.elapsed());
        let (history, body) = (<_>::default(), <_>::default());
        Box::new(Failure { target, attempts, elapsed, history, rejected: None, head: None, body })
    }

    fn named(&self) -> Named {
        let (method, url) = self.journey.began();
        let mut shown = format!("{method} {}", show(url));
        if self.journey.redirects() > 0 {
            shown = format!("{shown}, redirected to {} {}", self.journey.method, show(&self.journey.url));
        }
        Named { shown, id: self.name.clone() }
    }
}

pub(crate) fn idempotency_of(method: &Method, headers: &HeaderMap) -> Idempotency {
    let fields = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    idempotency::of_request(method.as_str().as_bytes(), fields)
}

/// Gives a request a key, if it is to have one and has none yet. Returns the field that it is in.
fn mint_key<T, C, O>(
    client: &ApiClient<T, C, O>,
    journey: &Journey,
    headers: &mut HeaderMap,
    overrides: &Overrides,
) -> Option<HeaderName> {
    let by_method = idempotency::of_method(journey.method.as_str().as_bytes());
    let keys = match &overrides.key {
        Key::Mint(keys) => Some(keys),
        Key::AsTheClientSays => client.minted().keys.as_ref().filter(|_| by_method == Idempotency::NotIdempotent),
        Key::None => None,
    }?;
    // One that is empty is none: no server can tell such a request from the next.
    if headers.get_all(keys.field()).iter().all(|key| key.as_bytes().trim_ascii().is_empty()) {
        headers.insert(keys.field(), client.minted().key(keys)?);
    }
    Some(keys.field().clone())
}

/// Gives a request a name, if it is to have one and has none yet. Returns it.
fn name_of<T, C, O>(client: &ApiClient<T, C, O>, headers: &mut HeaderMap) -> Option<HeaderValue> {
    let field = client.minted().request_id.as_ref()?;
    if !headers.contains_key(field) {
        headers.insert(field, client.minted().name()?);
    }
    headers.get(field).cloned()
}

fn uri(url: &Url) -> Result<Uri, Error> {
    url.as_str().parse().map_err(|error: http::uri::InvalidUri| Error::InvalidRequest {
        field: "url",
        value: show(url),
        reason: error.to_string(),
    })
}

/// A URL as it may be printed: without its query and without a user's name and password, where secrets are.
pub(crate) fn show(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
