use std::time::Duration;

use fastrand::Rng;
use steadfast_core::event::{Event, Events, Observer};
use steadfast_core::limits::Limiter;
use steadfast_core::pipeline::{Attempt, Call, Hedged, Pipeline, Step};
use steadfast_core::rejected::Rejected;
use steadfast_core::time::Instant;

use super::World;
use super::agenda::{Agenda, Due};
use super::bells::Bells;
use super::report::Report;
use super::server::{Fate, Shift};
use super::tally::{Refusals, second_of};
use super::under_way::{LANES, Made, UnderWay};

/// How long calls may go on after the last was begun. What has not ended by then is abandoned.
const DRAIN: Duration = Duration::from_secs(600);

/// A world being played: every client's pipeline and every call under way. See [`World::start`].
///
/// Each call is driven as [`run`](steadfast_core::run) drives it: answers before anything else, then the question what
/// to do next, then the end of an attempt's time. It has one valid entry in the agenda, for whatever comes first: an
/// answer, the end of what it was told to wait for, or the end of its caller's patience. Places of calls that have
/// ended are used again: in a steady world, nothing is allocated.
#[derive(Debug)]
pub struct Play<'w, L: Limiter, O> {
    world: &'w World,
    observer: &'w O,
    now: Instant,
    agenda: Agenda,
    server: Shift<'w>,
    clients: Vec<Client<L>>,
    calls: Vec<Option<UnderWay<L::Ticket>>>,
    free: Vec<usize>,
    bells: Bells,
    /// Whether a bell may have rung that was not answered.
    has_rung: bool,
    events: Events,
    report: Report,
    refusals: Refusals,
    outage: Option<(Instant, Instant)>,
}

#[derive(Debug)]
struct Client<L> {
    pipeline: Pipeline<L>,
    dice: Dice,
    arrivals: Rng,
    made: usize,
    not_before: Instant,
}

/// For the decisions of a client's pipeline, and nothing else.
#[derive(Debug)]
struct Dice {
    always: Option<u64>,
    drawn: Rng,
}

impl Dice {
    fn roll(&mut self) -> u64 {
        self.always.unwrap_or_else(|| self.drawn.u64(..))
    }
}

impl<'w, L: Limiter, O: Observer> Play<'w, L, O> {
    pub(super) fn new(world: &'w World, fleet: impl FnMut(usize) -> Pipeline<L>, observer: &'w O) -> Self {
        let pipelines = (0..world.clients).map(fleet).enumerate();
        let mut agenda = Agenda::default();
        let clients = pipelines
            .map(|(index, pipeline)| {
                let mut arrivals = world.stream(Stream::Arrivals, index);
                if let Some(first) = world.arrivals.first(index, world.clients, &mut arrivals) {
                    agenda.enter_caller(first, index);
                }
                let dice = Dice { always: world.entropy, drawn: world.stream(Stream::Entropy, index) };
                Client { pipeline, dice, arrivals, made: 0, not_before: Instant::EPOCH }
            })
            .collect();
        let seconds = second_of(world.end() + Duration::from_nanos(999_999_999));
        let outage = world.script.outage();
        let report = Report::blank(seconds, outage, world.arrivals.period().map(|period| (world.clients, period)));
        Self {
            world,
            observer,
            now: Instant::EPOCH,
            agenda,
            server: Shift::new(&world.server, &world.script, world.stream(Stream::Server, 0)),
            clients,
            calls: Vec::new(),
            free: Vec::new(),
            bells: Bells::default(),
            has_rung: false,
            events: Events::new(),
            report,
            refusals: Refusals::default(),
            outage,
        }
    }

    /// Plays on, up to `end` and without what is due then. Returns how many calls have succeeded since the beginning.
    pub fn run_until(&mut self, end: Instant) -> u64 {
        while let Some((now, due)) = self.agenda.next_before(end) {
            self.now = now;
            match due {
                Due::Caller(client) => self.begin(client),
                Due::Call(place, entry) => {
                    if self.calls[place].as_ref().is_some_and(|under_way| under_way.entry == entry) {
                        self.go_on(place);
                    }
                }
            }
            while self.has_rung {
                match self.bells.next() {
                    Some(place) => self.go_on(place),
                    None => self.has_rung = false,
                }
            }
        }
        self.report.succeeded
    }

    /// Plays to the end, waits for calls that are under way, abandons what hangs, and says what came of it all.
    pub fn finish(mut self) -> Report {
        let end = self.world.end() + DRAIN;
        self.run_until(end);
        self.now = end;
        for place in 0..self.calls.len() {
            if let Some(under_way) = self.calls[place].as_mut() {
                under_way.gives_up = end;
                self.go_on(place);
            }
        }
        for (policy, count) in self.refusals.by_policy() {
            *self.report.refusals.entry(policy).or_default() += count;
        }
        self.report
    }

    /// A client makes a call.
    fn begin(&mut self, index: usize) {
        let now = self.now;
        if now >= self.world.end() {
            return;
        }
        let client = &mut self.clients[index];
        client.made += 1;
        if let Some(next) = self.world.arrivals.next(now, client.made, &mut client.arrivals) {
            self.agenda.enter_caller(next, index);
        }
        self.report.calls += 1;
        self.report.calls_during_outage += u64::from(self.is_outage());
        if let Some(second) = self.report.seconds.get_mut(second_of(now)) {
            second.calls += 1;
        }
        let call = self.clients[index].pipeline.hedged_call(now, self.world.options);
        self.observer.observe(now, &Event::CallStarted { deadline: call.deadline() });
        let gives_up = self.world.patience.map_or(Instant::MAX, |patience| now + patience);
        let under_way = UnderWay {
            call,
            client: index,
            begun: now,
            gives_up,
            not_before: Instant::EPOCH,
            attempts: [None; LANES],
            entry: 0,
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.calls[place] = Some(under_way);
                place
            }
            None => {
                self.calls.push(Some(under_way));
                self.calls.len() - 1
            }
        };
        self.go_on(place);
    }

    /// Drives a call as far as it goes now, and enters when it goes on.
    fn go_on(&mut self, place: usize) {
        let now = self.now;
        while let Some(under_way) = self.calls[place].as_mut() {
            if let Some(made) = under_way.take_answered(now) {
                self.answer(place, &made);
                continue;
            }
            if now >= under_way.gives_up {
                // Changes nothing if the call has just ended.
                self.tell(place, |call, _, pipeline, events| call.abandon(now, pipeline, events));
            }
            let Some(step) =
                self.tell(place, |call, dice, pipeline, events| call.poll(now, dice.roll(), pipeline, events))
            else {
                return;
            };
            match step {
                Step::Wait(until) if until > now => return self.wait(place, until),
                Step::Wait(until) => assert!(self.time_out(place), "told at {now} to wait until {until}"),
                Step::Start(attempt) => self.start(place, attempt),
                Step::Done(result) => self.end(place, result),
            }
        }
    }

    /// Says something to a call, tells the observer what came of it, and rings for those whom it moved forward in line.
    fn tell<R>(
        &mut self,
        place: usize,
        say: impl FnOnce(&mut Call<L::Ticket, Hedged>, &mut Dice, &mut Pipeline<L>, &mut Events) -> R,
    ) -> Option<R> {
        let under_way = self.calls[place].as_mut()?;
        let Client { pipeline, dice, .. } = &mut self.clients[under_way.client];
        let said = say(&mut under_way.call, dice, pipeline, &mut self.events);
        self.events.report(self.now, self.observer);
        while let Some(woken) = pipeline.limits_mut().next_woken() {
            woken.let_go();
            self.has_rung = true;
        }
        Some(said)
    }

    /// An answer has come.
    fn answer(&mut self, place: usize, made: &Made) {
        let (now, outcome) = (self.now, made.answer.outcome);
        if let (Some(delay), Some(under_way)) = (outcome.retry_after(), self.calls[place].as_mut()) {
            let client = &mut self.clients[under_way.client];
            under_way.not_before = under_way.not_before.max(now + delay);
            client.not_before = client.not_before.max(now + delay);
        }
        self.note_end(made, true);
        self.tell(place, |call, dice, pipeline, events| {
            call.finish(now, dice.roll(), made.attempt.number, outcome, pipeline, events);
        });
    }

    /// Cancels the attempts whose time is over. False if there are none.
    fn time_out(&mut self, place: usize) -> bool {
        let now = self.now;
        let mut any = false;
        while let Some(made) = self.calls[place].as_mut().and_then(|under_way| under_way.take_late(now)) {
            any = true;
            self.note_end(&made, false);
            self.tell(place, |call, dice, pipeline, events| {
                call.time_out(now, dice.roll(), made.attempt.number, pipeline, events);
            });
        }
        any
    }

    /// An attempt arrives at the server.
    fn start(&mut self, place: usize, attempt: Attempt) {
        let Some(under_way) = self.calls[place].as_mut() else {
            return;
        };
        let not_before = self.clients[under_way.client].not_before;
        self.report.early += u64::from(self.now < under_way.not_before);
        self.report.early_for_client += u64::from(self.now < not_before);
        let answer = self.server.offer(self.now);
        let Some(lane) = under_way.attempts.iter_mut().find(|lane| lane.is_none()) else {
            unreachable!("a call has no more than {LANES} attempts under way");
        };
        *lane = Some(Made { attempt, started: self.now, answer });
        self.note_arrival(answer.fate);
    }

    /// Enters when the call goes on: when it was told to, when an answer comes, or when its caller gives up.
    fn wait(&mut self, place: usize, until: Instant) {
        let Some(under_way) = self.calls[place].as_mut() else {
            return;
        };
        let pipeline = &mut self.clients[under_way.client].pipeline;
        under_way.call.watch(pipeline, self.bells.of(place));
        let at = until.min(under_way.next_answer()).min(under_way.gives_up);
        under_way.entry = self.agenda.enter_call(at, place);
    }

    /// A call has ended: its place is free.
    fn end(&mut self, place: usize, result: Result<(), Rejected>) {
        let Some(under_way) = self.calls[place].take() else {
            return;
        };
        self.free.push(place);
        under_way.attempts.iter().flatten().for_each(|made| self.note_end(made, false));
        self.report.attempts_of_calls += u64::from(under_way.call.attempts());
        match result {
            Ok(()) => {
                self.report.succeeded += 1;
                self.report.latencies.note(self.now - under_way.begun);
                if let Some(second) = self.report.seconds.get_mut(second_of(under_way.begun)) {
                    second.succeeded += 1;
                }
                if let Some(second) = self.report.seconds.get_mut(second_of(self.now)) {
                    second.good += 1;
                }
            }
            Err(rejected) => {
                match rejected {
                    Rejected::Abandoned => self.report.abandoned += 1,
                    _ => self.report.rejected += 1,
                }
                self.refusals.note(rejected);
            }
        }
    }

    /// Counts an attempt that arrives. One that is served is counted when it is known whether anybody heard.
    fn note_arrival(&mut self, fate: Fate) {
        let during_outage = self.is_outage();
        let Report { attempts, seconds, attempts_during_outage, .. } = &mut self.report;
        *attempts_during_outage += u64::from(during_outage);
        match fate {
            Fate::Served => {}
            Fate::Failed => attempts.failed += 1,
            Fate::Refused => attempts.refused += 1,
            Fate::TurnedAway => attempts.turned_away += 1,
            Fate::Throttled => attempts.throttled += 1,
            Fate::Lost => attempts.lost += 1,
        }
        if let Some(second) = seconds.get_mut(second_of(self.now)) {
            second.attempts += 1;
        }
    }

    /// Counts an attempt that nobody awaits any more, if the server serves it.
    fn note_end(&mut self, made: &Made, heard: bool) {
        if made.answer.fate != Fate::Served {
            return;
        }
        let Report { attempts, seconds, .. } = &mut self.report;
        if heard {
            attempts.served += 1;
        } else {
            attempts.wasted += 1;
            if let Some(second) = seconds.get_mut(second_of(made.started)) {
                second.wasted += 1;
            }
        }
    }

    fn is_outage(&self) -> bool {
        self.outage.is_some_and(|(from, until)| from <= self.now && self.now < until)
    }
}

/// What a stream of random numbers is for. No two share theirs, so that a change to one changes no other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Arrivals,
    Entropy,
    Server,
}
