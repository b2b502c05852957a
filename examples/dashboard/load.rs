//! Calls without end, to a server that fails as it is told, and what is known of them.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use steadfast::core::circuit_breaker::Window;
use steadfast::core::concurrency::ConcurrencyLimit;
use steadfast::core::event::RecentObserver;
use steadfast::core::share::Share;
use steadfast::http::{RetryAfter, classify, date::UnixTime};
use steadfast::{
    CallOptions, CircuitBreaker, Clock, Event, Instant, MetricsObserver, Observer, Outcome, Pipeline, Quota, Recent,
    SharedPipeline, TokenBucket, TokioTimer,
};
use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};

/// From one call to the next: 50 a second.
const BETWEEN_CALLS: Duration = Duration::from_millis(20);

/// What the server can be made to do, by the names of the page's buttons.
pub(crate) const FAULTS: [&str; 7] = ["none", "errors", "resets", "stalls", "short-bodies", "limit", "down"];

/// What an attempt can meet, by the names of the page's readings.
pub(crate) const MET: [&str; 7] =
    ["answered", "status_503", "connection_lost", "timed_out", "cut_short", "status_429", "not_connected"];

/// The load, the server, and the pipeline between them.
pub(crate) struct Load {
    pipeline: SharedPipeline<TokioTimer, (MetricsObserver, (Tally, RecentObserver<Story>))>,
    http: reqwest::Client,
    story: Story,
    target: Mutex<Target>,
}

/// Where calls go, whether or not anybody is there.
struct Target {
    fault: &'static str,
    url: String,
    server: Option<FaultyServer>,
}

impl Load {
    pub(crate) fn new() -> Result<Arc<Self>, Box<dyn Error>> {
        let server = FaultyServer::start(settings("none"))?;
        let story = Story::default();
        let observer = (MetricsObserver::new("dashboard"), (Tally::default(), Recent::observer(story.clone())));
        Ok(Arc::new(Self {
            pipeline: SharedPipeline::new(pipeline()?, TokioTimer::new()).with_observer(observer),
            http: reqwest::Client::builder().no_proxy().build()?,
            story,
            target: Mutex::new(Target { fault: "none", url: server.url(), server: Some(server) }),
        }))
    }

    /// Makes calls for as long as it is polled. A call ends by its deadline, so there are never more than 150 of them.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(BETWEEN_CALLS);
        let mut calls = tokio::task::JoinSet::new();
        for id in (0..1_000_u32).cycle() {
            ticks.tick().await;
            while calls.try_join_next().is_some() {}
            let load = Arc::clone(&self);
            calls.spawn(async move { load.call(id).await });
        }
    }

    async fn call(&self, id: u32) {
        let classify = |met: &Met| met.1;
        // How it ended is what the observers are there for.
        let _ = self.pipeline.call(CallOptions::idempotent(), classify, |_attempt| self.attempt(id)).await;
    }

    async fn attempt(&self, id: u32) -> Met {
        let url = format!("{}/items/{id}", lock(&self.target).url);
        let met = get(&self.http, &url).await;
        self.tally().note(met.0);
        met
    }

    fn tally(&self) -> &Tally {
        &self.pipeline.observer().1.0
    }

    /// Has the server do this from now on. `None` if there is no such fault.
    pub(crate) fn inject(&self, name: &str) -> Option<io::Result<()>> {
        let fault = FAULTS.into_iter().find(|fault| *fault == name)?;
        Some(lock(&self.target).turn_to(fault))
    }

    /// What the page draws: sums since the start, how each policy stands now, and the latest events.
    pub(crate) fn state(&self) -> Value {
        let now = self.pipeline.snapshot();
        let breaker = now.circuit_breaker.as_ref();
        let slots = now.limits.slots;
        let tokens = now.limits.rates.map(|[tokens]| tokens);
        let story: Vec<_> = self.story.with(|recent| recent.iter().map(ToString::to_string).collect());
        json!({
            "at_ms": self.pipeline.timer().now().as_nanos() / 1_000_000,
            "fault": lock(&self.target).fault,
            "sums": self.tally().sums(),
            "now": {
                "breaker": breaker.map(|breaker| breaker.state.as_str()),
                "breaker_in_words": breaker.map(ToString::to_string),
                "budget_left": now.budget_left,
                "in_flight": slots.map(|slots| slots.in_flight),
                "slots": slots.map(|slots| slots.limit),
                "waiting": now.limits.waiting,
                "tokens": tokens.map(|tokens| tokens.left),
                "burst": tokens.map(|tokens| tokens.burst),
                "held_for_ms": u64::try_from(now.limits.held_for.as_millis()).unwrap_or(u64::MAX),
            },
            "story": story,
        })
    }
}

impl Target {
    fn turn_to(&mut self, fault: &'static str) -> io::Result<()> {
        match (fault, &self.server) {
            // Nobody listens there any more. Whoever waited for an answer gets none.
            ("down", _) => self.server = None,
            (fault, Some(server)) => server.change(settings(fault))?,
            (fault, None) => {
                let server = FaultyServer::start(settings(fault))?;
                self.url = server.url();
                self.server = Some(server);
            }
        }
        self.fault = fault;
        Ok(())
    }
}

/// Quick enough that each fault shows, and is over, within two seconds.
fn pipeline() -> Result<Pipeline, steadfast::InvalidSetting> {
    // Retries do not fit between 50 calls a second and this: so there is somebody in line when the server fails.
    let limit = TokenBucket::new(Quota::per_second(60)?.with_burst(10)?);
    let breaker = CircuitBreaker::builder()
        .window(Window::Time(Duration::from_secs(4)))
        .minimum_calls(20)
        .open_for(Duration::from_millis(500))
        .probe_lease(Duration::from_secs(1))
        .recover_over(Duration::from_secs(1))
        .build()?;
    Pipeline::builder()
        .deadline(Duration::from_secs(3))
        .attempt_timeout(Duration::from_millis(400))
        .rate_limit(limit)
        .concurrency_limit(ConcurrencyLimit::fixed(16).build()?)
        .circuit_breaker(breaker)
        .build()
}

/// What the server does under this fault. Not to every request, so that there is something to repeat.
fn settings(fault: &str) -> Settings {
    let mut settings = Settings {
        faults: Faults::NONE,
        most_failures_in_a_row: u32::MAX,
        requests_per_second: 1_000,
        burst: 100,
        ..Settings::default()
    };
    match fault {
        "errors" => settings.faults.unavailable = 70,
        "resets" => settings.faults.reset = 70,
        "stalls" => settings.faults.stall = 70,
        "short-bodies" => settings.faults.cut_short = 70,
        "limit" => (settings.requests_per_second, settings.burst) = (10, 5),
        _ => {}
    }
    settings
}

/// What an attempt met, of [`MET`], and what that means to policies.
struct Met(&'static str, Outcome);

async fn get(http: &reqwest::Client, url: &str) -> Met {
    let response = match http.get(url).send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Met("not_connected", Outcome::transient().not_processed()),
        Err(_) => return Met("connection_lost", Outcome::transient()),
    };
    let status = response.status().as_u16();
    // This server names seconds and no date, so the time of day does not matter.
    let now = UnixTime::from_secs(0);
    let hints = response.headers().iter();
    let hints = hints.filter_map(|(name, value)| RetryAfter::from_field(name.as_ref(), value.as_bytes(), now));
    let retry_after = hints.map(|hint| hint.delay_from(now)).max();
    if response.bytes().await.is_err() {
        return Met("cut_short", Outcome::transient());
    }
    let met = match status {
        429 => "status_429",
        503 => "status_503",
        _ => "answered",
    };
    Met(met, classify(status, retry_after))
}

/// Sums since the start.
#[derive(Debug, Default)]
struct Tally {
    met: [AtomicU64; MET.len()],
    calls: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    attempts: AtomicU64,
    waits: AtomicU64,
    retries: AtomicU64,
    refused_by_breaker: AtomicU64,
    refused_by_budget: AtomicU64,
}

impl Tally {
    fn note(&self, what: &str) {
        if let Some(sum) = MET.iter().position(|met| *met == what).and_then(|index| self.met.get(index)) {
            add_one(sum);
        }
    }

    fn sums(&self) -> Value {
        let met = MET.iter().zip(&self.met).map(|(name, sum)| ((*name).to_owned(), read(sum)));
        json!({
            "met": met.collect::<serde_json::Map<_, _>>(),
            "calls": read(&self.calls),
            "succeeded": read(&self.succeeded),
            "failed": read(&self.failed),
            "attempts": read(&self.attempts),
            "waits": read(&self.waits),
            "retries": read(&self.retries),
            "refused_by_breaker": read(&self.refused_by_breaker),
            "refused_by_budget": read(&self.refused_by_budget),
        })
    }
}

impl Observer for Tally {
    type Call = ();

    fn observe(&self, _now: Instant, event: &Event) {
        match event {
            Event::CallStarted { .. } => add_one(&self.calls),
            Event::Succeeded { .. } => add_one(&self.succeeded),
            Event::AttemptStarted { .. } => add_one(&self.attempts),
            Event::WaitingForLimits { .. } => add_one(&self.waits),
            Event::RetryScheduled { .. } => add_one(&self.retries),
            // The attempt itself was dropped, and cannot say so.
            Event::AttemptTimedOut { .. } => self.note("timed_out"),
            Event::Rejected(rejected) => {
                add_one(&self.failed);
                match rejected.as_str() {
                    "circuit_open" => add_one(&self.refused_by_breaker),
                    "budget_spent" => add_one(&self.refused_by_budget),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// The last ten events.
#[derive(Clone, Default)]
struct Story(Arc<Mutex<Recent<10>>>);

impl Share for Story {
    type State = Recent<10>;

    fn with<R>(&self, f: impl FnOnce(&mut Recent<10>) -> R) -> R {
        f(&mut lock(&self.0))
    }
}

fn add_one(sum: &AtomicU64) {
    sum.fetch_add(1, Ordering::Relaxed);
}

fn read(sum: &AtomicU64) -> Value {
    sum.load(Ordering::Relaxed).into()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
