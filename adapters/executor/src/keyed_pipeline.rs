use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use steadfast_core::event::Observer;
use steadfast_core::rate_limit::Refusal;
use steadfast_core::time::{Clock, Instant};

use crate::line::Line;
use crate::lock;
use crate::pipeline::SharedPipeline;
use crate::sync::{Arc, Mutex};

/// How soon it looks again whether a key can be forgotten, where calls are made for keys and nobody knows when they end.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One pipeline for many keys, each of which has limits of its own: customers, accounts, hosts.
///
/// ```
/// use steadfast_core::outcome::Outcome;
/// use steadfast_core::pipeline::{CallOptions, Pipeline};
/// use steadfast_core::rate_limit::{Quota, TokenBucket};
/// use steadfast_core::time::{Clock, Instant, ManualClock};
/// use steadfast_executor::{KeyedPipeline, Line, SharedPipeline};
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let pipeline = SharedPipeline::new(Pipeline::standard(), &clock);
/// let quota = Quota::per_second(1)?;
/// let customers = KeyedPipeline::new(pipeline, 10_000, move || Line::before(TokenBucket::new(quota)));
///
/// for customer in ["ann", "bob"] {
///     let pipeline = customers.of(customer)?;
///     let call = pipeline.call(CallOptions::idempotent(), |_: &_| Outcome::success(), |_attempt| async { "hello" });
///     assert_eq!(clock.drive(call), Some(Ok("hello")));
/// }
/// assert_eq!(clock.now(), Instant::EPOCH, "neither waits for the other");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What servers tell of their limits, and ask callers to wait, holds back that key. Retries and hedges, their budget and the
/// circuit breaker are everybody's: an outage is the server's and no key's, and a flood of new keys brings none of them anew.
///
/// # Which keys are forgotten
///
/// When there is room for no more, those are forgotten whose limits are at rest: their buckets are full, no server's word
/// holds them back, and nobody has what [`of`](Self::of) returned for them. Forgetting one changes nothing, but for what
/// adaptive limits have learned. So a flood of keys neither exhausts memory nor makes it forget a hot key: at the bound, it
/// is new keys that are refused.
///
/// # Memory
///
/// A key, and a line, which takes about a kilobyte with one rate limit.
///
/// # When not to use it
///
/// Where nobody waits, [`KeyedRateLimit`](crate::KeyedRateLimit) takes far less memory.
pub struct KeyedPipeline<Q, T, O = (), const K: usize = 1> {
    pipeline: SharedPipeline<T, O, K>,
    line: Box<dyn Fn() -> Line<K> + Send + Sync>,
    max_keys: usize,
    table: Mutex<Table<Q, K>>,
}

struct Table<Q, const K: usize> {
    lines: HashMap<Q, Arc<Mutex<Line<K>>>>,
    /// Until then it need not look for room again.
    no_room_until: Instant,
}

impl<Q: Eq + Hash, T: Clock + Clone, O: Observer + Clone, const K: usize> KeyedPipeline<Q, T, O, K> {
    /// Room for `max_keys` keys, each with a line that `line` makes: limits as they are before their first call. Those of
    /// `pipeline` itself are nobody's.
    pub fn new(
        pipeline: SharedPipeline<T, O, K>,
        max_keys: usize,
        line: impl Fn() -> Line<K> + Send + Sync + 'static,
    ) -> Self {
        let table = Table { lines: HashMap::new(), no_room_until: Instant::EPOCH };
        Self { pipeline, line: Box::new(line), max_keys, table: Mutex::new(table) }
    }

    /// The pipeline with the limits of this key, for a call or for several. The key is remembered for as long as somebody
    /// has it.
    ///
    /// # Errors
    /// [`Refusal::TableFull`] for a key that is not known, while as many others as there is room for are not at rest. Its time
    /// is the one at which another is, or at which it is worth asking whether the calls of one have ended.
    pub fn of<B>(&self, key: &B) -> Result<SharedPipeline<T, O, K>, Refusal>
    where
        Q: Borrow<B>,
        B: Eq + Hash + ToOwned<Owned = Q> + ?Sized,
    {
        let known = lock(&self.table).lines.get(key).map(Arc::clone);
        let line = match known {
            Some(line) => line,
            None => self.add(key.to_owned())?,
        };
        Ok(self.pipeline.with_own(Some(line)))
    }

    fn add(&self, key: Q) -> Result<Arc<Mutex<Line<K>>>, Refusal> {
        // The user's code, and so before the lock. If somebody else is faster, this is for nothing.
        let made = Arc::new(Mutex::new((self.line)()));
        let mut table = lock(&self.table);
        if let Some(line) = table.lines.get(&key) {
            return Ok(Arc::clone(line));
        }
        table.make_room(self.pipeline.timer().now(), self.max_keys)?;
        table.lines.insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// How many keys are remembered, those included that may be forgotten when room is needed.
    pub fn len(&self) -> usize {
        lock(&self.table).lines.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many calls wait in line, of all keys.
    pub fn waiting(&self) -> usize {
        lock(&self.table).lines.values().map(|line| lock(line).len()).sum()
    }
}

impl<Q, const K: usize> Table<Q, K> {
    /// Makes sure that there is room for one more key, by forgetting those that are at rest.
    fn make_room(&mut self, now: Instant, max_keys: usize) -> Result<(), Refusal> {
        if self.lines.len() < max_keys {
            return Ok(());
        }
        if now < self.no_room_until {
            return Err(Refusal::TableFull { retry_at: self.no_room_until });
        }
        let mut room_at = Instant::MAX;
        self.lines.retain(|_, line| {
            // Nobody else can come by it meanwhile: this table is where one comes by it.
            let rests_at = if Arc::strong_count(line) > 1 { now + LOOK_AGAIN } else { lock(line).at_rest_at(now) };
            room_at = room_at.min(rests_at);
            rests_at > now
        });
        if self.lines.len() < max_keys {
            return Ok(());
        }
        self.no_room_until = room_at;
        Err(Refusal::TableFull { retry_at: room_at })
    }
}

/// Shows no key: they may be secrets, and many.
impl<Q, T: fmt::Debug, O: fmt::Debug, const K: usize> fmt::Debug for KeyedPipeline<Q, T, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedPipeline").field("max_keys", &self.max_keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;
    use futures_util::future::join;
    use steadfast_core::outcome::Outcome;
    use steadfast_core::pipeline::{CallOptions, Pipeline};
    use steadfast_core::rate_limit::{Quota, TokenBucket};
    use steadfast_core::time::ManualClock;

    use super::*;

    type Keyed<'a> = KeyedPipeline<String, &'a ManualClock>;

    /// One call a second for each key, and so much room.
    fn keyed(clock: &ManualClock, max_keys: usize) -> Keyed<'_> {
        let pipeline = SharedPipeline::with_seed(Pipeline::standard(), clock, 7);
        let quota = Quota::per_second(1).unwrap();
        KeyedPipeline::new(pipeline, max_keys, move || Line::before(TokenBucket::new(quota)))
    }

    fn call(keyed: &Keyed<'_>, key: &str, outcome: Outcome) -> Result<(), Refusal> {
        let pipeline = keyed.of(key)?;
        let options = CallOptions::idempotent().with_max_attempts(1);
        let _ = pipeline.timer().drive(pipeline.call(options, |(): &()| outcome, |_| ready(()))).expect("it ends");
        Ok(())
    }

    fn at(millis: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn each_key_has_limits_of_its_own() {
        let clock = ManualClock::new();
        let keyed = keyed(&clock, 100);
        for key in ["ann", "bob", "eve"] {
            call(&keyed, key, Outcome::success()).unwrap();
        }
        assert_eq!((clock.now(), keyed.len()), (at(0), 3));
        call(&keyed, "bob", Outcome::success()).unwrap();
        assert_eq!(clock.now(), at(1000));
    }

    #[test]
    fn what_the_server_asks_of_one_key_holds_back_that_key() {
        let clock = ManualClock::new();
        let keyed = keyed(&clock, 100);
        call(&keyed, "ann", Outcome::throttled().with_retry_after(Duration::from_secs(9))).unwrap();
        call(&keyed, "bob", Outcome::success()).unwrap();
        assert_eq!(clock.now(), at(0));
        call(&keyed, "ann", Outcome::success()).unwrap();
        assert_eq!(clock.now(), at(9000));
    }

    #[test]
    fn at_the_bound_new_keys_are_refused_and_known_ones_keep_their_limits() {
        let clock = ManualClock::new();
        let (none, keyed) = (keyed(&clock, 0), keyed(&clock, 10));
        call(&keyed, "hot", Outcome::throttled().with_retry_after(Duration::from_secs(3600))).unwrap();
        let mut refused = 0;
        for number in 0..10_000 {
            match call(&keyed, &number.to_string(), Outcome::success()) {
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::TableFull { retry_at: at(1000) });
                    refused += 1;
                }
                Ok(()) => assert!(number < 9),
            }
        }
        assert_eq!((refused, keyed.len(), clock.now()), (10_000 - 9, 10, at(0)));
        // Coming back when told works, and the hot one is not forgotten for it.
        clock.set(at(1000));
        call(&keyed, "new", Outcome::success()).unwrap();
        assert_eq!(keyed.len(), 2);
        let hot = keyed.of("hot").unwrap();
        assert_eq!(hot.with_policies(|pipeline, now| pipeline.limits_mut().available(now)), [0]);
        assert_eq!(none.of("ann").map(drop), Err(Refusal::TableFull { retry_at: Instant::MAX }));
    }

    #[test]
    fn a_key_is_not_forgotten_while_somebody_calls_for_it() {
        let clock = ManualClock::new();
        let keyed = keyed(&clock, 1);
        let ann = keyed.of("ann").unwrap();
        let mut under_way = Box::pin(ann.call(CallOptions::idempotent(), |(): &()| Outcome::success(), |_| pending()));
        assert!(under_way.as_mut().now_or_never().is_none());
        // Her tokens are back, and she is not done.
        clock.set(at(5000));
        assert_eq!(keyed.of("bob").map(drop), Err(Refusal::TableFull { retry_at: at(5100) }));
        let (again, other) = (keyed.of("ann").unwrap(), keyed.of("ann").unwrap());
        let call = |pipeline: SharedPipeline<_>| async move {
            let call = pipeline.call(CallOptions::idempotent(), |(): &()| Outcome::success(), |_| ready(()));
            call.await.unwrap();
        };
        clock.drive(join(call(again), call(other))).unwrap();
        assert_eq!(clock.now(), at(6000), "one line for all of her calls");
        drop(under_way);
        drop(ann);
        clock.set(at(7000));
        assert!(keyed.of("bob").is_ok());
        assert_eq!(keyed.len(), 1);
    }

    #[test]
    fn an_outage_is_everybodys() {
        let clock = ManualClock::new();
        let keyed = keyed(&clock, 10_000);
        let mut sent = 0;
        for number in 0..1000 {
            let pipeline = keyed.of(&number.to_string()).unwrap();
            let attempt = |_| {
                sent += 1;
                ready(())
            };
            let call =
                pipeline.call(CallOptions::idempotent().with_max_attempts(1), |(): &()| Outcome::transient(), attempt);
            assert!(clock.drive(call).unwrap().is_err());
        }
        assert!(sent < 50, "{sent} were sent to a server that is down");
    }

    #[test]
    fn a_line_takes_about_a_kilobyte() {
        let size = size_of::<Mutex<Line>>();
        assert!((512..1280).contains(&size), "{size}");
    }

    #[test]
    fn no_key_is_shown() {
        let clock = ManualClock::new();
        let keyed = keyed(&clock, 10);
        call(&keyed, "secret", Outcome::success()).unwrap();
        assert!(!format!("{keyed:?}").contains("secret"));
        assert_eq!((keyed.waiting(), keyed.is_empty()), (0, false));
    }
}
