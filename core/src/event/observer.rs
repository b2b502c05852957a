use core::fmt;

use super::Event;
use crate::time::Instant;

/// What is told of an attempt, as numbers stay numbers on their way to a span.
#[derive(Clone, Copy)]
pub enum Detail<'a> {
    /// A number: a status, a port.
    Number(u64),
    /// Words. They are written only if somebody reads them.
    Words(&'a dyn fmt::Display),
}

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Words(words) => words.fmt(f),
        }
    }
}

impl fmt::Debug for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where an adapter carries events to logs, metrics or a test.
///
/// It is called after every lock is released, from whichever task or thread drives the call. `()` observes nothing, and a
/// call that it observes costs nothing more; a pair of observers is both, one after the other.
///
/// An observer has no opinion: what it does has no effect on any call.
///
/// # Which call
///
/// What an observer keeps of a call is a value of its own type [`Call`](Self::Call), which goes with the call: made when that
/// starts, handed in with each of its events, dropped when it has ended or was dropped itself. So an adapter keeps a span in
/// it, or when an attempt started, and has no table to look anything up in. Here, each line of a log says whose it is:
///
/// ```
/// use core::cell::{Cell, RefCell};
/// use steadfast_core::event::{Event, Observer};
/// use steadfast_core::outcome::Outcome;
/// use steadfast_core::pipeline::{CallOptions, Pipeline};
/// use steadfast_core::run::Runner;
/// use steadfast_core::time::{Instant, ManualClock};
///
/// #[derive(Default)]
/// struct Numbered {
///     calls: Cell<u32>,
///     lines: RefCell<Vec<String>>,
/// }
///
/// impl Observer for Numbered {
///     type Call = u32;
///
///     fn observe(&self, now: Instant, event: &Event) {
///         self.lines.borrow_mut().push(format!("{now}: {event}"));
///     }
///
///     fn observe_call(&self, now: Instant, call: &mut u32, event: &Event) {
///         if let Event::CallStarted { .. } = event {
///             self.calls.set(self.calls.get() + 1);
///             *call = self.calls.get();
///         }
///         self.lines.borrow_mut().push(format!("{now}: call {call}: {event}"));
///     }
/// }
///
/// let (pipeline, clock, observer) = (RefCell::new(Pipeline::standard()), ManualClock::new(), Numbered::default());
/// let runner = Runner { pipeline: &pipeline, timer: &&clock, observer: &observer };
/// for _ in 0..2 {
///     let call = runner.call(CallOptions::idempotent(), || 0, |_: &u8| Outcome::success(), |_attempt| async { 7 });
///     assert_eq!(clock.drive(call), Some(Ok(7)));
/// }
/// assert_eq!(observer.lines.borrow().last().map(String::as_str), Some("0ns: call 2: succeeded, attempts: 1"));
/// ```
pub trait Observer {
    /// What is kept of one call, from its start to its end; `()` for nothing. It begins as its default.
    type Call: Default;

    /// Takes note of something that belongs to no call: somebody changed the breaker's mode, or a fallback answered.
    fn observe(&self, now: Instant, event: &Event);

    /// Takes note of something that happened to a call. The first is [`Event::CallStarted`], the last
    /// [`Event::Succeeded`], [`Event::Rejected`] or [`Event::Abandoned`].
    ///
    /// By default, it is [observed](Self::observe) like everything else.
    fn observe_call(&self, now: Instant, call: &mut Self::Call, event: &Event) {
        let _ = call;
        self.observe(now, event);
    }

    /// Takes note of a detail of an attempt that is under way, which policies know nothing of and somebody else does: what
    /// it sends and where, or what came back. Names are those of
    /// [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/), where it has one.
    ///
    /// A value holds no secret: whoever tells it has seen to that. By default, nobody cares.
    fn detail(&self, call: &mut Self::Call, attempt: u32, name: &'static str, value: Detail<'_>) {
        let _ = (call, attempt, name, value);
    }

    /// Runs a piece of an attempt: makes its future, or polls it once. An adapter does so within its span, and whatever
    /// has to be the same afterwards, it sees to that itself, also if `piece` panics.
    ///
    /// By default, it runs and that is all.
    #[inline]
    fn within<R>(&self, call: &mut Self::Call, attempt: u32, piece: impl FnOnce() -> R) -> R {
        let _ = (call, attempt);
        piece()
    }
}

impl Observer for () {
    type Call = ();

    #[inline]
    fn observe(&self, _now: Instant, _event: &Event) {}
}

impl<O: Observer + ?Sized> Observer for &O {
    type Call = O::Call;

    #[inline]
    fn observe(&self, now: Instant, event: &Event) {
        (**self).observe(now, event);
    }

    #[inline]
    fn observe_call(&self, now: Instant, call: &mut O::Call, event: &Event) {
        (**self).observe_call(now, call, event);
    }

    #[inline]
    fn detail(&self, call: &mut O::Call, attempt: u32, name: &'static str, value: Detail<'_>) {
        (**self).detail(call, attempt, name, value);
    }

    #[inline]
    fn within<R>(&self, call: &mut O::Call, attempt: u32, piece: impl FnOnce() -> R) -> R {
        (**self).within(call, attempt, piece)
    }
}

/// Both, in this order: spans and metrics, say. For more, put pairs into pairs.
impl<A: Observer, B: Observer> Observer for (A, B) {
    type Call = (A::Call, B::Call);

    fn observe(&self, now: Instant, event: &Event) {
        self.0.observe(now, event);
        self.1.observe(now, event);
    }

    fn observe_call(&self, now: Instant, call: &mut Self::Call, event: &Event) {
        self.0.observe_call(now, &mut call.0, event);
        self.1.observe_call(now, &mut call.1, event);
    }

    fn detail(&self, call: &mut Self::Call, attempt: u32, name: &'static str, value: Detail<'_>) {
        self.0.detail(&mut call.0, attempt, name, value);
        self.1.detail(&mut call.1, attempt, name, value);
    }

    fn within<R>(&self, call: &mut Self::Call, attempt: u32, piece: impl FnOnce() -> R) -> R {
        self.0.within(&mut call.0, attempt, || self.1.within(&mut call.1, attempt, piece))
    }
}
