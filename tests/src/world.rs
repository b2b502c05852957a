//! A simulated world: clients, a server, and trouble, on simulated time and from one seed.
//!
//! ```
//! use steadfast_core::circuit_breaker::CircuitBreaker;
//! use steadfast_tests::world::{World, millis, minutes, only, seconds};
//!
//! let breaker = CircuitBreaker::builder().failure_threshold(5).open_for(seconds(30)).open_jitter(0).build()?;
//! let world = World::outage(minutes(1)..minutes(21)).caller_every(millis(10));
//! let report = world.play(only(breaker));
//!
//! // Five failures open it, and a probe goes out every 30 s; that of the 40th time finds the server well again.
//! assert_eq!(report.attempts_during_outage, 5 + (1_260 - 60) / 30 - 1);
//! # Ok::<(), steadfast_core::settings::InvalidSetting>(())
//! ```
//!
//! [`World`] is the script: who calls when ([`Arrivals`]), what the server can do ([`Server`]), what is wrong with it
//! when ([`Condition`]). [`World::play`] puts a [`Pipeline`] into the hands of each client, and drives the very same
//! [`Call`](steadfast_core::pipeline::Call)s as [`run`](steadfast_core::run) does. The [`Report`] says what came of it: a
//! pure function of world and fleet.
//!
//! # Defaults
//!
//! | Setting | Default | Why |
//! | --- | --- | --- |
//! | `clients` | 1 | the smallest world in which something can go wrong |
//! | `arrivals` | one call a second, evenly spread | easy to count |
//! | `server` | [tireless](Server::tireless) | policies are tested without queues |
//! | `lasting` | a minute, or a minute more than the last phase | what comes after trouble is worth seeing |
//! | `options` | idempotent | nothing is repeated otherwise |
//! | `patience` | without end | the pipeline has a deadline |
//! | `entropy` | drawn from the seed, for each client apart | clients must not agree by chance |
//! | `seed` | 0 | |
//!
//! # Time
//!
//! It moves from one event to the next: an hour in which nothing happens costs nothing. An attempt arrives at the server
//! in the moment it starts; the way back takes the server's latency. Where an answer arrives in the same nanosecond in
//! which its attempt's time is over, the answer wins, as in `run`.
//!
//! # When not to use it
//!
//! For what belongs to a runtime: futures that are dropped at an await point, a timer that is late, threads.

mod agenda;
mod arrivals;
mod bells;
mod clients;
mod log;
mod play;
mod report;
mod script;
mod server;
mod tally;
#[cfg(test)]
mod tests;
mod under_way;

pub use arrivals::Arrivals;
pub use clients::ClientKind;
pub use log::DecisionLog;
pub use play::Play;
pub use report::{Attempts, Report, Second};
pub use script::Condition;
pub use server::{ScriptedAnswer, Server, Service};

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use steadfast_core::circuit_breaker::CircuitBreaker;
use steadfast_core::event::Observer;
use steadfast_core::limits::Limiter;
use steadfast_core::pipeline::{CallOptions, Pipeline};
use steadfast_core::retry::Retry;
use steadfast_core::time::Instant;

use play::Stream;
use script::{Phase, Script};

/// Who calls whom, and what goes wrong. See the [module](self) for the defaults.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "nothing happens until it is played"]
pub struct World {
    clients: usize,
    arrivals: Arrivals,
    server: Server,
    script: Script,
    lasts: Option<Duration>,
    options: CallOptions,
    patience: Option<Duration>,
    entropy: Option<u64>,
    seed: u64,
}

impl World {
    /// A world without trouble.
    pub fn new() -> Self {
        Self {
            clients: 1,
            arrivals: Arrivals::Every(seconds(1)),
            server: Server::tireless(),
            script: Script::default(),
            lasts: None,
            options: CallOptions::idempotent(),
            patience: None,
            entropy: None,
            seed: 0,
        }
    }

    /// A world whose server is down for a while: it refuses connections.
    pub fn outage(when: Range<Duration>) -> Self {
        Self::new().with(when, Condition::Refuses)
    }

    /// The same world, where this is wrong with the server for a while. Of conditions that overlap, the one that was
    /// added last holds.
    pub fn with(mut self, when: Range<Duration>, condition: Condition) -> Self {
        self.script.add(Phase { from: Instant::EPOCH + when.start, until: Instant::EPOCH + when.end, condition });
        self
    }

    /// The same world, with so many clients, each with a pipeline of its own.
    pub fn clients(self, clients: usize) -> Self {
        Self { clients, ..self }
    }

    /// The same world, where each client makes a call this often; clients are evenly spread.
    pub fn caller_every(self, period: Duration) -> Self {
        self.arrivals(Arrivals::Every(period))
    }

    /// The same world, with clients that call then.
    pub fn arrivals(self, arrivals: Arrivals) -> Self {
        Self { arrivals, ..self }
    }

    /// The same world, with another server.
    pub fn server(self, server: Server) -> Self {
        Self { server, ..self }
    }

    /// The same world, in which no call is begun from this time on.
    pub fn lasting(self, time: Duration) -> Self {
        Self { lasts: Some(time), ..self }
    }

    /// The same world, with other calls.
    pub fn options(self, options: CallOptions) -> Self {
        Self { options, ..self }
    }

    /// The same world, where callers give up a call after this time, whatever its pipeline thinks.
    pub fn patience(self, time: Duration) -> Self {
        Self { patience: Some(time), ..self }
    }

    /// The same world, with other dice.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same world, where pipelines are given this number whenever they ask for a random one: for comparing drivers,
    /// which need not ask equally often.
    pub fn entropy(self, always: u64) -> Self {
        Self { entropy: Some(always), ..self }
    }

    /// Plays it all, with a pipeline for each client from its number.
    pub fn play<L: Limiter>(&self, fleet: impl FnMut(usize) -> Pipeline<L>) -> Report {
        self.start(fleet, &()).finish()
    }

    /// Plays it all, and tells `observer` every decision.
    pub fn play_observed<L: Limiter, O: Observer>(
        &self,
        fleet: impl FnMut(usize) -> Pipeline<L>,
        observer: &O,
    ) -> Report {
        self.start(fleet, observer).finish()
    }

    /// Sets the scene, and leaves it to the caller how far to play.
    pub fn start<'w, L: Limiter, O: Observer>(
        &'w self,
        fleet: impl FnMut(usize) -> Pipeline<L>,
        observer: &'w O,
    ) -> Play<'w, L, O> {
        Play::new(self, fleet, observer)
    }

    fn end(&self) -> Instant {
        match self.lasts {
            Some(lasts) => Instant::EPOCH + lasts,
            None => self.script.end() + minutes(1),
        }
    }

    /// A generator of its own for each purpose and client.
    fn stream(&self, purpose: Stream, client: usize) -> Rng {
        let purpose = match purpose {
            Stream::Arrivals => 1,
            Stream::Entropy => 2,
            Stream::Server => 3,
        };
        // Each generator is seeded with what another one says, so that neighbours are as far apart as any.
        [purpose, client as u64]
            .into_iter()
            .fold(Rng::with_seed(self.seed), |mut dice, number| Rng::with_seed(dice.u64(..) ^ number))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A fleet of one, whose pipeline has this breaker and no other policy: a call is one attempt, and takes what it takes.
///
/// # Panics
/// If a second client is asked for.
pub fn only(breaker: CircuitBreaker) -> impl FnMut(usize) -> Pipeline {
    let retry = Retry::builder().max_attempts(1).build();
    let pipeline = Pipeline::builder().without_attempt_timeout().without_deadline().circuit_breaker(breaker);
    let mut pipeline = Some(retry.and_then(|retry| pipeline.retry(retry).build()).expect("nothing that contradicts"));
    move |_| pipeline.take().expect("one breaker is for one client")
}

/// So many milliseconds.
pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many seconds.
pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many minutes.
pub const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}
