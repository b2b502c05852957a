use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use steadfast_core::time::{Instant, Timer};

use crate::transport::BoxError;

/// How long may be waited for a response's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the next part, from when somebody waits for it.
    pub(crate) read_timeout: Duration,
    /// For all of it.
    pub(crate) deadline: Instant,
}

impl Patience {
    /// As long as the attempt has time.
    pub(crate) const UNLIMITED: Self = Self { read_timeout: Duration::MAX, deadline: Instant::MAX };
}

/// Why a body came to no end.
#[derive(Debug)]
pub(crate) enum Broke {
    Connection(BoxError),
    Stalled,
    DeadlineExceeded,
}

/// A response's body, under guard: it ends, one way or another, for whoever waits for it.
///
/// Nothing is read that nobody asks for, so a caller who takes his time holds up the server, and is not himself timed.
pub(crate) struct Guarded<P, C: Timer> {
    /// `None` when it has ended. Its connection is free then, or closed.
    body: Option<Pin<P>>,
    patience: Patience,
    waits_since: Option<Instant>,
    sleep: Option<(Instant, Pin<Box<C::Sleep>>)>,
}

impl<P, C> Guarded<P, C>
where
    P: DerefMut<Target: Body<Data = Bytes, Error: Into<BoxError>>>,
    C: Timer,
{
    pub(crate) fn new(body: Pin<P>, patience: Patience) -> Self {
        Self { body: Some(body), patience, waits_since: None, sleep: None }
    }

    /// The next part, which is never empty; `None` at the end, and after an error.
    pub(crate) fn poll_next(&mut self, timer: &C, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broke>>> {
        let next = self.poll(timer, cx);
        if let Poll::Ready(None | Some(Err(_))) = next {
            self.body = None;
            self.sleep = None;
        }
        next
    }

    fn poll(&mut self, timer: &C, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broke>>> {
        let Patience { read_timeout, deadline } = self.patience;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if timer.now() >= deadline {
            return Poll::Ready(Some(Err(Broke::DeadlineExceeded)));
        }
        // A sleep may be of an earlier wait, and end early for this one; and a timer may say that the time has come while the clock
        // says that it has not.
        for _ in 0..3 {
            while let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                self.waits_since = None;
                match frame {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                        Ok(_) | Err(_) => {} // Trailers say nothing that we use.
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(Broke::Connection(error.into())))),
                    None => return Poll::Ready(None),
                }
            }
            let now = timer.now();
            let until = *self.waits_since.get_or_insert(now) + read_timeout;
            if now >= deadline {
                return Poll::Ready(Some(Err(Broke::DeadlineExceeded)));
            }
            if now >= until {
                return Poll::Ready(Some(Err(Broke::Stalled)));
            }
            let until = until.min(deadline);
            let (_, sleep) = match &mut self.sleep {
                Some(earlier) if now < earlier.0 && earlier.0 <= until => earlier,
                other => other.insert((until, Box::pin(timer.sleep_until(until)))),
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
        // Let others run meanwhile.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
