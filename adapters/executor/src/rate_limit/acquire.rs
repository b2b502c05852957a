use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use steadfast_core::limits::Limiter;
use steadfast_core::rate_limit::Refusal;
use steadfast_core::time::{Instant, Timer};

use super::{Held, RateLimit};
use crate::demand::Demand;
use crate::line::{Granted, Line, Place, Ticket, Turn};
use crate::sync::MutexGuard;

pin_project! {
    /// The future of [`RateLimit::acquire`].
    ///
    /// Written by hand, not as an `async fn`: who need not wait, as most, is through without setting up what it takes to,
    /// and for who has to, everything is stored once. It is in every task that waits, and tasks are moved about.
    pub(super) struct Acquire<P, S> {
        asks: P,
        #[pin]
        sleep: Option<S>,
        // Tells something only while there is a sleep.
        sleeps_until: Instant,
    }
}

/// Somebody who asks. Its place in line, if it has one, is given back when it is dropped.
pub(super) struct Asks<'a, T: Timer, const K: usize> {
    limit: &'a RateLimit<T, K>,
    demand: Demand<K>,
    stage: Stage,
}

/// How far it has come.
enum Stage {
    /// Nobody has polled it.
    New,
    InLine(Place),
    /// It has had its answer.
    Over,
}

impl<'a, T: Timer, const K: usize> Acquire<Asks<'a, T, K>, T::Sleep> {
    pub(super) const fn new(limit: &'a RateLimit<T, K>, demand: Demand<K>) -> Self {
        let asks = Asks { limit, demand, stage: Stage::New };
        Self { asks, sleep: None, sleeps_until: Instant::EPOCH }
    }

    #[inline(never)] // So that what everybody runs stays small.
    fn poll_again(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Held<'a, T, K>, Refusal>> {
        let asks = self.as_mut().project().asks;
        let Stage::InLine(place) = asks.stage else {
            // It has had its answer, and there is no other.
            return Poll::Ready(Err(Refusal::not_yet(None)));
        };
        let limit = asks.limit;
        let (mut line, now) = limit.lock();
        if let Some((granted, waker)) = line.take_as_first(now, place, asks.demand.weights) {
            asks.stage = Stage::Over;
            limit.unlock(line);
            drop(waker);
            return Poll::Ready(Ok(Held::new(limit, granted)));
        }
        let answer = asks.ask(place, line, now, cx);
        self.wait(answer, cx)
    }

    /// Acts on an answer: sleeps until it says, and asks again.
    #[inline(never)] // So that what everybody runs stays small.
    fn wait(
        self: Pin<&mut Self>,
        mut answer: ControlFlow<Result<Granted<K>, Refusal>, Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Held<'a, T, K>, Refusal>> {
        let mut this = self.project();
        let limit = this.asks.limit;
        // At most twice: once as woken, and once more if that brought the sleep to its end.
        for asked in 1..=2 {
            let until = match answer {
                ControlFlow::Break(answer) => return Poll::Ready(answer.map(|granted| Held::new(limit, granted))),
                ControlFlow::Continue(until) => until,
            };
            if this.sleep.is_none() || *this.sleeps_until != until {
                *this.sleeps_until = until;
                this.sleep.set(Some(limit.timer.sleep_until(until)));
            }
            let asleep: Option<Pin<&mut T::Sleep>> = this.sleep.as_mut().as_pin_mut();
            if asleep.is_some_and(|sleep| sleep.poll(cx).is_pending()) {
                return Poll::Pending;
            }
            this.sleep.set(None);
            let (1, Stage::InLine(place)) = (asked, &this.asks.stage) else {
                break;
            };
            let (line, now) = limit.lock();
            answer = this.asks.ask(*place, line, now, cx);
        }
        // The timer says that the time has come, and the clock that it has not. Let others run meanwhile.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<'a, T: Timer, const K: usize> Future for Acquire<Asks<'a, T, K>, T::Sleep> {
    type Output = Result<Held<'a, T, K>, Refusal>;

    #[allow(clippy::inline_always)] // What is granted would go through memory twice more.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let asks = self.as_mut().project().asks;
        if !matches!(asks.stage, Stage::New) {
            return self.poll_again(cx);
        }
        let limit = asks.limit;
        let (mut line, now) = limit.lock();
        if let Some(granted) = line.take_at_once(now, &asks.demand) {
            asks.stage = Stage::Over;
            drop(line);
            return Poll::Ready(Ok(Held::new(limit, granted)));
        }
        let answer = asks.join(line, now, cx);
        self.wait(answer, cx)
    }
}

impl<'a, T: Timer, const K: usize> Asks<'a, T, K> {
    /// Joins the line, since it was not let through at once. Whoever moves it forward finds our waker.
    fn join(
        &mut self,
        mut line: MutexGuard<'a, Line<K>>,
        now: Instant,
        cx: &Context<'_>,
    ) -> ControlFlow<Result<Granted<K>, Refusal>, Instant> {
        self.stage = Stage::Over;
        let turn = line.enter(now, self.demand, Some(cx.waker()));
        self.limit.unlock(line);
        let (place, until) = match turn {
            Ok(Turn::Wait(place, until)) => (place, until),
            Ok(Turn::WaitForSlot(place, at_latest)) => (place, at_latest.min(self.demand.deadline)),
            Ok(Turn::Granted(granted)) => return ControlFlow::Break(Ok(granted)),
            Err(refusal) => return ControlFlow::Break(Err(refusal)),
        };
        self.stage = Stage::InLine(place);
        ControlFlow::Continue(until)
    }

    /// How the place stands; if it still has to wait, whoever moves it forward finds our waker.
    fn ask(
        &mut self,
        place: Place,
        mut line: MutexGuard<'a, Line<K>>,
        now: Instant,
        cx: &Context<'_>,
    ) -> ControlFlow<Result<Granted<K>, Refusal>, Instant> {
        let Demand { weights, deadline, .. } = self.demand;
        let answer = match line.ask(now, place, weights) {
            Ok(Turn::Wait(_, until)) if until < deadline => ControlFlow::Continue(until),
            Ok(Turn::WaitForSlot(_, at_latest)) if now < deadline => ControlFlow::Continue(at_latest.min(deadline)),
            Ok(Turn::Wait(_, retry_at) | Turn::WaitForSlot(_, retry_at)) => {
                line.leave(now, Ticket::waiting(place, weights));
                ControlFlow::Break(Err(Refusal::NotYet { retry_at }))
            }
            Ok(Turn::Granted(granted)) => ControlFlow::Break(Ok(granted)),
            Err(refusal) => ControlFlow::Break(Err(refusal)),
        };
        if answer.is_continue() {
            line.leave_waker(place, cx.waker());
        }
        self.limit.unlock(line);
        if answer.is_break() {
            self.stage = Stage::Over;
        }
        answer
    }

    #[cold]
    fn leave(&mut self, place: Place) {
        self.limit.with(|line, now| line.leave(now, Ticket::waiting(place, self.demand.weights)));
    }
}

impl<T: Timer, const K: usize> Drop for Asks<'_, T, K> {
    #[inline]
    fn drop(&mut self) {
        if let Stage::InLine(place) = self.stage {
            self.leave(place);
        }
    }
}
