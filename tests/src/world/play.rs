use std::mem;
use std::time::Duration;

use fastrand::Rng;
use steadfast_core::event::{Events, Observer};
use steadfast_core::outcome::Outcome;
use steadfast_core::pipeline::{Call, Pipeline, Step};
use steadfast_core::rate_limit::RateLimiter;
use steadfast_core::rejected::Rejected;
use steadfast_core::time::Instant;

use super::World;
use super::agenda::{Agenda, Due};
use super::report::{Attempts, Report, Second};
use super::server::{Answer, Fate, Shift};
use super::tally::{Histogram, Refusals, second_of};

/// How long calls may go on after the last was begun. What has not ended by then is abandoned.
const DRAIN: Duration = Duration::from_secs(600);

/// A world being played: every client's pipeline and every call under way. See [`World::start`].
///
/// A call has one entry in the agenda at a time, which is whatever comes first: the answer, the end of the attempt's
/// time, the end of a wait, or the end of its caller's patience. All of these are known when the one before is over,
/// so nothing is ever entered in vain. Places of calls that have ended are used again: in a steady world, nothing is
/// allocated.
#[derive(Debug)]
pub struct Play<'w, L: RateLimiter, O> {
    world: &'w World,
    observer: &'w O,
    now: Instant,
    agenda: Agenda,
    server: Shift<'w>,
    clients: Vec<Client<L>>,
    calls: Vec<Option<UnderWay<L::Ticket>>>,
    free: Vec<usize>,
    events: Events,
    report: Report,
    refusals: Refusals,
    outage: Option<(Instant, Instant)>,
}

#[derive(Debug)]
struct Client<L> {
    pipeline: Pipeline<L>,
    /// For the pipeline's decisions, and nothing else: so the same calls draw the same numbers under any driver.
    entropy: Rng,
    arrivals: Rng,
    made: usize,
    not_before: Instant,
}

#[derive(Debug)]
struct UnderWay<T> {
    call: Call<T>,
    client: usize,
    begun: Instant,
    gives_up: Instant,
    not_before: Instant,
    next: Next,
}

/// What happens to a call when it is due.
#[derive(Debug)]
enum Next {
    Ask,
    Answer(Outcome),
    TimeOut,
    GiveUp,
}

impl<'w, L: RateLimiter, O: Observer> Play<'w, L, O> {
    pub(super) fn new(world: &'w World, fleet: impl FnMut(usize) -> Pipeline<L>, observer: &'w O) -> Self {
        let pipelines = (0..world.clients).map(fleet).enumerate();
        let mut agenda = Agenda::default();
        let clients = pipelines
            .map(|(index, pipeline)| {
                let mut arrivals = world.stream(Stream::Arrivals, index);
                if let Some(first) = world.arrivals.first(index, world.clients, &mut arrivals) {
                    agenda.enter(first, Due::Caller(index));
                }
                let entropy = world.stream(Stream::Entropy, index);
                Client { pipeline, entropy, arrivals, made: 0, not_before: Instant::EPOCH }
            })
            .collect();
        let seconds = second_of(world.end() + Duration::from_nanos(999_999_999));
        let outage = world.script.outage();
        let report = Report {
            seconds: vec![Second::default(); seconds],
            calls: 0,
            succeeded: 0,
            rejected: 0,
            abandoned: 0,
            attempts: Attempts::default(),
            attempts_of_calls: 0,
            attempts_during_outage: 0,
            calls_during_outage: 0,
            early: 0,
            early_for_client: 0,
            refusals: std::collections::BTreeMap::new(),
            latencies: Histogram::new(),
            outage: outage.map(|(from, until)| second_of(from)..second_of(until)),
            rate: world.arrivals.period().map(|period| (world.clients, period)),
        };
        Self {
            world,
            observer,
            now: Instant::EPOCH,
            agenda,
            server: Shift::new(&world.server, &world.script, world.stream(Stream::Server, 0)),
            clients,
            calls: Vec::new(),
            free: Vec::new(),
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
                Due::Call(place) => self.go_on(place),
            }
        }
        self.report.succeeded
    }

    /// Plays to the end, waits for calls that are under way, abandons what hangs, and says what came of it all.
    pub fn finish(mut self) -> Report {
        let end = self.world.end() + DRAIN;
        self.run_until(end);
        self.now = end;
        (0..self.calls.len()).for_each(|place| self.give_up(place));
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
            self.agenda.enter(next, Due::Caller(index));
        }
        self.report.calls += 1;
        self.report.calls_during_outage += u64::from(self.is_outage());
        if let Some(second) = self.report.seconds.get_mut(second_of(now)) {
            second.calls += 1;
        }
        let call = self.clients[index].pipeline.call(now, self.world.options);
        let gives_up = self.world.patience.map_or(Instant::MAX, |patience| now + patience);
        let under_way =
            UnderWay { call, client: index, begun: now, gives_up, not_before: Instant::EPOCH, next: Next::Ask };
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
        self.ask(place);
    }

    /// What was entered for a call is due.
    fn go_on(&mut self, place: usize) {
        let Self { calls, clients, events, now, observer, .. } = self;
        let Some(under_way) = calls[place].as_mut() else {
            unreachable!("a call that has ended has no entry");
        };
        let client = &mut clients[under_way.client];
        match mem::replace(&mut under_way.next, Next::Ask) {
            Next::Ask => {}
            Next::Answer(outcome) => {
                if let Some(delay) = outcome.retry_after() {
                    under_way.not_before = *now + delay;
                    client.not_before = client.not_before.max(*now + delay);
                }
                let entropy = client.entropy.u64(..);
                under_way.call.finish(*now, entropy, outcome, &mut client.pipeline, events);
            }
            Next::TimeOut => {
                let entropy = client.entropy.u64(..);
                under_way.call.time_out(*now, entropy, &mut client.pipeline, events);
            }
            Next::GiveUp => return self.give_up(place),
        }
        events.report(*now, *observer);
        self.ask(place);
    }

    /// Asks a call for its next step, and takes it.
    fn ask(&mut self, place: usize) {
        let now = self.now;
        let Some(under_way) = self.calls[place].as_mut() else {
            return;
        };
        let client = &mut self.clients[under_way.client];
        let step = under_way.call.poll(now, &mut client.pipeline, &mut self.events);
        self.events.report(now, self.observer);
        match step {
            Step::Wait(until) => {
                assert!(until > now, "told at {now} to wait until {until}");
                self.enter(place, until);
            }
            Step::Start(attempt) => {
                self.report.early += u64::from(now < under_way.not_before);
                self.report.early_for_client += u64::from(now < client.not_before);
                let until = attempt.until.min(under_way.gives_up);
                let answer = self.server.offer(now);
                let heard = answer.at <= until;
                let at = if heard { answer.at } else { attempt.until };
                under_way.next = if heard { Next::Answer(answer.outcome) } else { Next::TimeOut };
                self.note_attempt(&answer, heard);
                self.enter(place, at);
            }
            Step::Done(result) => self.end(place, result),
        }
    }

    /// Enters when a call goes on, or when its caller gives it up if that is earlier.
    fn enter(&mut self, place: usize, at: Instant) {
        let Some(under_way) = self.calls[place].as_mut() else {
            return;
        };
        let gives_up = under_way.gives_up;
        if gives_up < at {
            under_way.next = Next::GiveUp;
        }
        self.agenda.enter(at.min(gives_up), Due::Call(place));
    }

    /// The caller of a call gives it up.
    fn give_up(&mut self, place: usize) {
        if let Some(under_way) = self.calls[place].as_mut() {
            let pipeline = &mut self.clients[under_way.client].pipeline;
            under_way.call.abandon(self.now, pipeline, &mut self.events);
            self.events.report(self.now, self.observer);
            self.end(place, Err(Rejected::Abandoned));
        }
    }

    /// A call has ended: its place is free.
    fn end(&mut self, place: usize, result: Result<(), Rejected>) {
        let Some(under_way) = self.calls[place].take() else {
            return;
        };
        self.free.push(place);
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

    fn note_attempt(&mut self, answer: &Answer, heard: bool) {
        let during_outage = self.is_outage();
        let Report { attempts, seconds, attempts_during_outage, .. } = &mut self.report;
        *attempts_during_outage += u64::from(during_outage);
        let wasted = answer.fate == Fate::Served && !heard;
        let count = match answer.fate {
            Fate::Served if wasted => &mut attempts.wasted,
            Fate::Served => &mut attempts.served,
            Fate::Failed => &mut attempts.failed,
            Fate::Refused => &mut attempts.refused,
            Fate::TurnedAway => &mut attempts.turned_away,
            Fate::Throttled => &mut attempts.throttled,
            Fate::Lost => &mut attempts.lost,
        };
        *count += 1;
        if let Some(second) = seconds.get_mut(second_of(self.now)) {
            second.attempts += 1;
            second.wasted += u32::from(wasted);
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
