//! What the modules of this binary share: a world without a limit on sleepers, and short words for time and quotas.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;

use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use steadfast_core::rate_limit::{Quota, Refusal, TokenBucket};
use steadfast_core::time::{Clock, Instant, Timer};
use steadfast_executor::{Demand, RateLimit};

pub(crate) use alone::alone;

mod alone;
pub(crate) mod embassy;
pub(crate) mod slow_server;

/// So many nanoseconds after the epoch.
pub(crate) const fn ns(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// So many milliseconds after the epoch.
pub(crate) const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// So many milliseconds.
pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// `tokens` per `period`, `burst` of them at once.
pub(crate) fn quota(tokens: u32, period: Duration, burst: u32) -> Quota {
    Quota::new(tokens, period).and_then(|quota| quota.with_burst(burst)).expect("a quota that can be")
}

/// Ten a second, `burst` of them at once: a token every 100 ms.
pub(crate) fn ten_per_second(burst: u32) -> Quota {
    quota(10, Duration::from_secs(1), burst)
}

/// Ten a second, `burst` of them at once: a token every 100 ms.
pub(crate) fn bucket(burst: u32) -> TokenBucket {
    TokenBucket::new(ten_per_second(burst))
}

/// Waits for what is demanded, and spends it.
pub(crate) async fn wait<T: Timer>(limit: &RateLimit<T>, demand: impl Into<Demand>) -> Result<(), Refusal> {
    limit.acquire(demand).await.map(drop)
}

/// A clock that moves only when it is told to, and remembers every sleeper: `ManualClock` knows no more than 64, and a
/// line is worth testing with thousands.
#[derive(Clone, Debug, Default)]
pub(crate) struct World(Rc<Time>);

#[derive(Debug, Default)]
struct Time {
    now: Cell<Instant>,
    next_id: Cell<u64>,
    sleepers: RefCell<BTreeMap<(Instant, u64), Waker>>,
}

impl World {
    /// Moves the clock to `now` and wakes everybody whose time has come.
    pub(crate) fn set(&self, now: Instant) {
        self.0.now.set(now);
        loop {
            let due = self
                .0
                .sleepers
                .borrow_mut()
                .first_entry()
                .filter(|first| first.key().0 <= now)
                .map(OccupiedEntry::remove);
            match due {
                Some(waker) => waker.wake(),
                None => break,
            }
        }
    }

    /// When the next sleep ends.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let sleepers = self.0.sleepers.borrow();
        sleepers.first_key_value().map(|((deadline, _), _)| *deadline).filter(|deadline| *deadline < Instant::MAX)
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        self.0.now.get()
    }
}

impl Timer for World {
    type Sleep = Sleep;

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let id = self.0.next_id.get();
        self.0.next_id.set(id + 1);
        Sleep { time: Rc::clone(&self.0), deadline, id }
    }
}

/// A wait in a [`World`].
#[derive(Debug)]
pub(crate) struct Sleep {
    time: Rc<Time>,
    deadline: Instant,
    id: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.time.now.get() >= self.deadline {
            return Poll::Ready(());
        }
        self.time.sleepers.borrow_mut().insert((self.deadline, self.id), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.time.sleepers.borrow_mut().remove(&(self.deadline, self.id));
    }
}

/// Who was woken, in the order of waking.
type Woken = Arc<Mutex<Vec<usize>>>;

struct Bell {
    task: usize,
    raised: AtomicBool,
    woken: Woken,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.raised.swap(true, Ordering::Relaxed) {
            self.woken.lock().expect("nobody panics here").push(self.task);
        }
    }
}

/// One future, and what became of it.
pub(crate) struct Task<'a, R> {
    future: Option<Pin<Box<dyn Future<Output = R> + 'a>>>,
    bell: Arc<Bell>,
    /// When it returned, and what.
    pub(crate) done: Option<(Instant, R)>,
    /// How often it was polled.
    pub(crate) polls: u32,
}

/// A small executor over a [`World`]: polls only those that were woken, and notices who spins.
pub(crate) struct Tasks<'a, R> {
    pub(crate) world: World,
    pub(crate) tasks: Vec<Task<'a, R>>,
    woken: Woken,
}

impl<'a, R> Tasks<'a, R> {
    /// Nobody yet.
    pub(crate) fn new(world: &World) -> Self {
        Self { world: world.clone(), tasks: Vec::new(), woken: Woken::default() }
    }

    /// Adds a task and polls it once.
    pub(crate) fn spawn(&mut self, future: impl Future<Output = R> + 'a) -> usize {
        let task = self.tasks.len();
        let bell = Arc::new(Bell { task, raised: AtomicBool::new(false), woken: Arc::clone(&self.woken) });
        self.tasks.push(Task { future: Some(Box::pin(future)), bell, done: None, polls: 0 });
        self.poll(task);
        task
    }

    /// Polls one task.
    pub(crate) fn poll(&mut self, task: usize) {
        let Task { future, bell, done, polls } = &mut self.tasks[task];
        bell.raised.store(false, Ordering::Relaxed);
        if let Some(running) = future {
            *polls += 1;
            let waker = Waker::from(Arc::clone(bell));
            if let Poll::Ready(returned) = running.as_mut().poll(&mut Context::from_waker(&waker)) {
                *done = Some((self.world.now(), returned));
                *future = None;
            }
        }
    }

    /// Polls whoever was woken, until nobody is.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10 {
            let woken = core::mem::take(&mut *self.woken.lock().expect("nobody panics here"));
            if woken.is_empty() {
                return;
            }
            woken.into_iter().for_each(|task| self.poll(task));
        }
        panic!("somebody spins: woken ten times, and no time has passed");
    }

    /// Runs everybody, from the end of one sleep to the end of the next, until `end` or until nobody sleeps any more.
    pub(crate) fn run_until(&mut self, end: Instant) {
        self.settle();
        while let Some(next) = self.world.next_wake().filter(|next| *next <= end) {
            self.world.set(next);
            self.settle();
        }
    }

    /// Drops a future where it stands.
    pub(crate) fn cancel(&mut self, task: usize) {
        self.tasks[task].future = None;
    }

    /// Makes a future vanish without a word: nothing is dropped, nothing is polled again.
    pub(crate) fn leak(&mut self, task: usize) {
        core::mem::forget(self.tasks[task].future.take());
    }

    /// When a task returned.
    pub(crate) fn done_at(&self, task: usize) -> Option<Instant> {
        self.tasks[task].done.as_ref().map(|(at, _)| *at)
    }
}

/// So many cases of a property, the same in every run, and no files left behind.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() }
}
