//! A transport that plays a script instead of sending anything.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use steadfast_client::{BoxError, RequestBody, Transport, TransportError};
use steadfast_core::time::{Clock, ManualClock, ManualSleep, Timer};

/// What the server does with one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Answers with this status, these fields and this body.
    Answers(u16, &'static [(&'static str, &'static str)], &'static str),
    /// Answers, and breaks off in the middle of the body.
    BreaksOff,
    /// Answers with a body that never ends.
    GoesOnForEver,
    /// Answers with a body in these parts.
    Streams(&'static [&'static str]),
    /// Answers with a body in these parts, of which each comes so many milliseconds after it is asked for.
    Slowly(&'static ManualClock, u64, &'static [&'static str]),
    /// Answers with these parts of a body, and then says nothing.
    Stalls(&'static [&'static str]),
    /// Answers with this field and this body, and then says nothing.
    StallsAs((&'static str, &'static str), &'static str),
    /// Answers with this field and this body, and then breaks off.
    BreaksAs((&'static str, &'static str), &'static str),
    /// Does this so many milliseconds after it has seen the request.
    Later(&'static ManualClock, u64, &'static Self),
    /// Cannot be reached.
    IsDown,
    /// Takes the request and closes the connection.
    Resets,
    /// Takes the request and says nothing.
    Hangs,
    /// Takes so many parts of the request's body, and closes the connection.
    ResetsAfter(usize),
    /// Takes so many parts of the request's body, and no more.
    HangsAfter(usize),
    /// Takes none of the request's body, and answers with this status.
    Refuses(u16),
}

/// One request as the server saw it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server that plays its script, and after that answers 200 with an empty object. It cannot leave its thread, and
/// the client has to work all the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Rc<Server>);

#[derive(Debug, Default)]
struct Server {
    script: RefCell<VecDeque<Does>>,
    seen: RefCell<Vec<Seen>>,
    /// What each request's body said of its length.
    lengths: RefCell<Vec<Option<u64>>>,
    /// Exchanges and bodies that somebody still holds.
    open: Cell<u32>,
}

impl Script {
    pub(crate) fn new(script: &[Does]) -> Self {
        let this = Self::default();
        this.0.script.borrow_mut().extend(script);
        this
    }

    /// Plays this next, behind what is left.
    pub(crate) fn then(&self, script: &[Does]) {
        self.0.script.borrow_mut().extend(script);
    }

    /// What was seen since this was last asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.seen.take()
    }

    /// What was said of the length of each body since this was last asked.
    pub(crate) fn lengths(&self) -> Vec<Option<u64>> {
        self.0.lengths.take()
    }

    /// How many exchanges and bodies somebody still holds.
    pub(crate) fn open(&self) -> u32 {
        self.0.open.get()
    }

    /// How many hold the transport, this one included.
    pub(crate) fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }
}

impl Transport for Script {
    type Body = Body;
    type Sending = Pin<Box<dyn Future<Output = Result<Response<Body>, TransportError>>>>;

    fn send(&self, request: Request<RequestBody>) -> Self::Sending {
        let does = self.0.script.borrow_mut().pop_front().unwrap_or(Does::Answers(200, &[], "{}"));
        let (server, open) = (Rc::clone(&self.0), Open::new(self));
        Box::pin(async move {
            if let Does::IsDown = does {
                return Err(TransportError::never_sent("connection refused"));
            }
            let (head, body) = request.into_parts();
            server.lengths.borrow_mut().push(body.size_hint().exact());
            let (does, later) = match does {
                Does::Later(clock, millis, does) => (*does, Some((clock, Duration::from_millis(millis)))),
                does => (does, None),
            };
            let body = match does {
                Does::ResetsAfter(parts) | Does::HangsAfter(parts) => first(body, parts).await,
                Does::Refuses(_) => Ok(Bytes::new()),
                // Nobody reads what is said to be empty. And a stream that panics ends the task of its connection.
                _ if body.is_end_stream() || body.size_hint().exact() == Some(0) => Ok(Bytes::new()),
                _ => match AssertUnwindSafe(body.collect()).catch_unwind().await {
                    Ok(body) => body.map(http_body_util::Collected::to_bytes),
                    Err(_) => Err("the connection is gone".into()),
                },
            };
            // What a real one does, too: it breaks off, and the server has no request that it could take for whole.
            let body = body.map_err(TransportError::maybe_processed)?;
            let seen = Seen { method: head.method, uri: head.uri.to_string(), headers: head.headers, body };
            server.seen.borrow_mut().push(seen);
            if let Some((clock, after)) = later {
                clock.sleep_until(clock.now() + after).await;
            }

            let mut response = Response::new(Body {
                frames: VecDeque::new(),
                then: Then::Ends,
                slowly: None,
                sleep: None,
                _open: open,
            });
            match does {
                Does::Answers(status, fields, body) => {
                    *response.status_mut() = StatusCode::from_u16(status).expect("the script has real ones");
                    for (name, value) in fields {
                        response.headers_mut().append(*name, value.parse().expect("the script has real ones"));
                    }
                    response.body_mut().frames.push_back(Ok(body));
                }
                Does::BreaksOff => response.body_mut().frames.extend([Ok("{\"na"), Err("connection reset")]),
                Does::GoesOnForEver => response.body_mut().then = Then::GoesOn,
                Does::Streams(parts) => response.body_mut().frames.extend(parts.iter().map(|part| Ok(*part))),
                Does::Slowly(clock, millis, parts) => {
                    response.body_mut().frames.extend(parts.iter().map(|part| Ok(*part)));
                    response.body_mut().slowly = Some((clock, Duration::from_millis(millis)));
                }
                Does::StallsAs((name, value), part) | Does::BreaksAs((name, value), part) => {
                    response.headers_mut().append(name, value.parse().expect("the script has real ones"));
                    response.body_mut().frames.push_back(Ok(part));
                    match does {
                        Does::BreaksAs(..) => response.body_mut().frames.push_back(Err("connection reset")),
                        _ => response.body_mut().then = Then::Stalls,
                    }
                }
                Does::Stalls(parts) => {
                    response.body_mut().frames.extend(parts.iter().map(|part| Ok(*part)));
                    response.body_mut().then = Then::Stalls;
                }
                Does::Refuses(status) => {
                    *response.status_mut() = StatusCode::from_u16(status).expect("the script has real ones");
                }
                Does::Resets | Does::IsDown | Does::ResetsAfter(_) | Does::Later(..) => {
                    return Err(TransportError::maybe_processed("connection reset"));
                }
                Does::Hangs | Does::HangsAfter(_) => pending().await,
            }
            Ok(response)
        })
    }
}

/// So many parts of a body.
async fn first(mut body: RequestBody, parts: usize) -> Result<Bytes, BoxError> {
    let mut first = Vec::new();
    for _ in 0..parts {
        let Some(frame) = body.frame().await.transpose()? else { break };
        first.extend(frame.into_data().unwrap_or_default());
    }
    Ok(first.into())
}

/// A response's body: so many frames, and what comes then.
#[derive(Debug)]
pub(crate) struct Body {
    frames: VecDeque<Result<&'static str, &'static str>>,
    then: Then,
    slowly: Option<(&'static ManualClock, Duration)>,
    sleep: Option<Pin<Box<ManualSleep<'static>>>>,
    _open: Open,
}

#[derive(Debug)]
enum Then {
    Ends,
    /// Zeros.
    GoesOn,
    Stalls,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some((clock, after)) = self.slowly {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(clock.sleep_until(clock.now() + after)));
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        let frame = match self.frames.pop_front() {
            Some(Ok(text)) => Some(Ok(Bytes::from_static(text.as_bytes()))),
            Some(Err(error)) => Some(Err(error.into())),
            None => match self.then {
                Then::Ends => None,
                Then::GoesOn => Some(Ok(Bytes::from_static(&[0; 1024]))),
                Then::Stalls => return Poll::Pending,
            },
        };
        Poll::Ready(frame.map(|frame| frame.map(Frame::data)))
    }
}

/// Counts as open for as long as it lives.
#[derive(Debug)]
struct Open(Rc<Server>);

impl Open {
    fn new(script: &Script) -> Self {
        script.0.open.set(script.0.open.get() + 1);
        Self(Rc::clone(&script.0))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}
