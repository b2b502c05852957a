//! The station on this very machine: the same core, on a clock that is moved by hand.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use steadfast_core::time::{Clock, Instant, ManualClock, ManualSleep, Timer};
use steadfast_station::{Link, Log, Tally, WITHOUT_BUDGET, Witness, drill};

use crate::server::Server;

/// What a run said, what it counted, and the server that it talked to.
pub struct Run {
    pub said: String,
    pub tally: Tally,
    pub server: Server,
}

/// Runs the station here.
pub fn run(seed: u64, readings: u32) -> Result<Run, String> {
    let clock = ManualClock::new();
    let line = Line {
        clock: &clock,
        server: RefCell::new(Server::new(seed)),
        received: RefCell::default(),
        bell: RefCell::default(),
        said: RefCell::default(),
    };
    let run = clock.drive(steadfast_station::run(&Ticking(&clock), &line, &line, seed, readings));
    let tally = run.ok_or("on the host it waits for ever")?;
    Ok(Run { said: line.said.into_inner(), tally, server: line.server.into_inner() })
}

/// Runs the drill here, and sees to it that there is all in it that the policies can decide.
pub fn drill() -> Result<(), String> {
    let (mut pipeline, witness) = (WITHOUT_BUDGET, Witness::new(&()));
    let decided = drill::drill(&mut pipeline, &witness);
    if !witness.tally().has_everything() {
        return Err(format!("not everything happened in the drill that should: {:?}", witness.tally()));
    }
    if decided != drill::DECIDED {
        return Err(format!("the drill decides {decided:#018x} here, and {:#018x} before", drill::DECIDED));
    }
    Ok(())
}

/// Ticks once a microsecond, as embassy's clock on the target does, and rounds up as its timer does.
struct Ticking<'a>(&'a ManualClock);

impl Clock for Ticking<'_> {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl<'a> Timer for Ticking<'a> {
    type Sleep = ManualSleep<'a>;

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        let ticks = deadline.as_nanos().div_ceil(1_000);
        self.0.sleep_until(Instant::from_nanos(ticks.saturating_mul(1_000)))
    }
}

struct Line<'a> {
    clock: &'a ManualClock,
    server: RefCell<Server>,
    received: RefCell<VecDeque<u8>>,
    /// Moves the clock to when the next bytes arrive.
    bell: RefCell<Option<ManualSleep<'a>>>,
    said: RefCell<String>,
}

impl Line<'_> {
    fn take_what_arrived(&self) {
        self.received.borrow_mut().extend(self.server.borrow_mut().arrived(self.clock.now()));
    }
}

impl Link for Line<'_> {
    fn send(&self, bytes: &[u8]) {
        self.server.borrow_mut().receive(self.clock.now(), bytes);
    }

    fn receive(&self) -> impl Future<Output = u8> {
        poll_fn(|cx| {
            self.take_what_arrived();
            if let Some(byte) = self.received.borrow_mut().pop_front() {
                return Poll::Ready(byte);
            }
            let next = self.server.borrow().next_arrival();
            let mut bell = self.bell.borrow_mut();
            *bell = next.map(|next| self.clock.sleep_until(next));
            let rings = bell.as_mut().is_some_and(|bell| Pin::new(bell).poll(cx).is_ready());
            assert!(!rings, "what is there was taken above");
            Poll::Pending
        })
    }

    fn discard(&self) {
        self.take_what_arrived();
        self.received.borrow_mut().clear();
    }
}

impl Log for Line<'_> {
    fn line(&self, now: Instant, what: fmt::Arguments<'_>) {
        let _ = writeln!(self.said.borrow_mut(), "{} {what}", now.as_nanos());
    }
}
