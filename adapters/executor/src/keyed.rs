use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use steadfast_core::rate_limit::{Level, Quota, Refusal};
use steadfast_core::time::{Clock, Instant};

use crate::lock;
use crate::sync::Mutex;

/// Over how many locks the keys are spread, so that threads rarely meet at one.
const SHARDS: usize = 32;

/// How many keys a shard remembers before it looks for the first time which of them it may forget.
const FIRST_SWEEP: usize = 64;

/// A quota for each key, in a table that grows to a bound and is shared by threads.
///
/// ```
/// use steadfast_core::rate_limit::Quota;
/// use steadfast_core::time::ManualClock;
/// use steadfast_executor::KeyedRateLimit;
///
/// let clock = ManualClock::new(); // Or the timer of your runtime.
/// let limit = KeyedRateLimit::new(Quota::per_minute(1)?, 10_000, &clock);
/// assert!(limit.try_acquire("ann", 1).is_ok());
/// assert!(limit.try_acquire("bob", 1).is_ok());
/// assert!(limit.try_acquire("ann", 1).is_err());
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// A key whose bucket is full again is forgotten when room is needed, since forgetting it changes nothing: the memory it
/// takes is that of the keys which have spent something lately, and never more than the bound. So a flood of keys can
/// neither exhaust memory nor make it forget a hot key: at the bound, it is new keys that are refused.
///
/// # Memory
///
/// The key, eight bytes, and what the hash table adds: 2.3 bytes at the least, and up to as much again while it grows.
///
/// # Hostile keys
///
/// Keys are hashed by [foldhash](foldhash::quality), several times as fast as `std`'s `SipHash`, with a seed from the
/// operating system that is another for each limit. Nobody sees a hash or the order of the table, so there is no list of
/// keys that collide everywhere. It is no cipher, and who can time thousands of calls to the nanosecond might find the
/// seed out; what that is worth is bounded: keys that collide share one shard of 32, in which no more than its part of
/// `max_keys` is ever looked at, while those in the other shards notice nothing. Where even that is too much, pass
/// `std`'s [`RandomState`] to [`with_hasher`](Self::with_hasher).
///
/// # When not to use it
///
/// Where callers wait: it admits or refuses. Keep a [`RateLimit`](crate::RateLimit) for each of a few keys instead.
pub struct KeyedRateLimit<K, C, S = SeedableRandomState> {
    quota: Quota,
    max_keys_per_shard: usize,
    shards: Box<[Mutex<Shard<K>>]>,
    hasher: S,
    clock: C,
}

struct Shard<K> {
    table: HashTable<(K, Level)>,
    /// At this many keys it looks which of them it may forget.
    sweep_at: usize,
    /// Until then it need not look for room again: none of its keys can be forgotten before.
    no_room_until: Instant,
    /// The latest time at which keys were forgotten. Should the clock step back before it, no unknown key is admitted
    /// until it has caught up: it may be one of those, and not have been full yet.
    forgotten_at: Instant,
}

impl<K: Eq + Hash, C: Clock> KeyedRateLimit<K, C> {
    /// Room for about `max_keys` keys, each of which starts with a full bucket.
    ///
    /// Keys are spread over 32 shards by their hash, and each has its share of the room.
    pub fn new(quota: Quota, max_keys: usize, clock: C) -> Self {
        // Of all that `std` offers, this draws on the operating system.
        let seed = RandomState::new().hash_one(0);
        Self::with_hasher(quota, max_keys, clock, SeedableRandomState::with_seed(seed, SharedSeed::global_random()))
    }
}

impl<K: Eq + Hash, C: Clock, S: BuildHasher> KeyedRateLimit<K, C, S> {
    /// The same with another hasher: see [Hostile keys](Self#hostile-keys).
    pub fn with_hasher(quota: Quota, max_keys: usize, clock: C, hasher: S) -> Self {
        let shard = || Shard {
            table: HashTable::new(),
            sweep_at: FIRST_SWEEP,
            no_room_until: Instant::EPOCH,
            forgotten_at: Instant::EPOCH,
        };
        let shards = (0..SHARDS).map(|_| Mutex::new(shard())).collect();
        Self { quota, max_keys_per_shard: max_keys.div_ceil(SHARDS), shards, hasher, clock }
    }

    /// The quota that each key has.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Takes `n` tokens of `key`, or takes none and says when to come back.
    ///
    /// # Errors
    /// [`Refusal::NotYet`] until they are there; [`Refusal::Never`] if `n` is more than the burst;
    /// [`Refusal::TableFull`] for a key that is not known while as many others as there is room for have spent
    /// something.
    pub fn try_acquire(&self, key: K, n: u32) -> Result<(), Refusal> {
        let (quota, now) = (&self.quota, self.clock.now());
        self.with_level(now, key, |level| level.try_acquire(quota, now, n))?
    }

    /// Admits nothing of `key` before `until`, because the server said so.
    ///
    /// # Errors
    /// [`Refusal::TableFull`] if the key is not known and cannot be remembered.
    pub fn block_until(&self, key: K, until: Instant) -> Result<(), Refusal> {
        self.with_level(self.clock.now(), key, |level| level.block_until(&self.quota, until))
    }

    /// How many tokens of `key` could be taken now, if there is room for it.
    pub fn available(&self, key: &K) -> u32 {
        let now = self.clock.now();
        let (hash, shard) = self.shard(key);
        let shard = lock(shard);
        let known = shard.table.find(hash, |(other, _)| other == key);
        known.map_or(self.quota.burst(), |(_, level)| level.available(&self.quota, now))
    }

    /// How many keys are remembered, those included that may be forgotten when room is needed.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).table.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: &K) -> (u64, &Mutex<Shard<K>>) {
        let hash = self.hasher.hash_one(key);
        // Bits from the middle: the table itself uses both ends.
        let index = usize::try_from(hash >> 32 & 0xffff).unwrap_or_default() % SHARDS;
        (hash, &self.shards[index])
    }

    /// Lends out the level of `key`, which is remembered if that leaves it less than full.
    fn with_level<R>(&self, now: Instant, key: K, f: impl FnOnce(&mut Level) -> R) -> Result<R, Refusal> {
        let (hash, shard) = self.shard(&key);
        let mut shard = lock(shard);
        if let Some((_, level)) = shard.table.find_mut(hash, |(other, _)| *other == key) {
            return Ok(f(level));
        }
        let rehash = |(key, _): &(K, Level)| self.hasher.hash_one(key);
        shard.make_room(&self.quota, now, self.max_keys_per_shard)?;
        let mut level = Level::FULL;
        let result = f(&mut level);
        if !level.is_full(&self.quota, now) {
            if let Entry::Vacant(place) = shard.table.entry(hash, |(other, _)| *other == key, rehash) {
                place.insert((key, level));
            }
        }
        Ok(result)
    }
}

impl<K> Shard<K> {
    /// Makes sure that there is room for one more key, by forgetting those whose buckets are full again.
    fn make_room(&mut self, quota: &Quota, now: Instant, max_keys: usize) -> Result<(), Refusal> {
        if now < self.forgotten_at {
            return Err(Refusal::NotYet { retry_at: self.forgotten_at });
        }
        if self.table.len() < self.sweep_at.min(max_keys) {
            return Ok(());
        }
        if now < self.no_room_until {
            return Err(Refusal::TableFull { retry_at: self.no_room_until });
        }
        let mut first_full = Instant::MAX;
        self.table.retain(|(_, level)| {
            let keep = !level.is_full(quota, now);
            if keep {
                first_full = first_full.min(level.full_at(quota));
            }
            keep
        });
        self.forgotten_at = now;
        // Next when it has doubled: each key pays for looking at two others, however many there are.
        self.sweep_at = (self.table.len() * 2).max(FIRST_SWEEP);
        if self.table.len() >= max_keys {
            self.no_room_until = first_full;
            return Err(Refusal::TableFull { retry_at: first_full });
        }
        Ok(())
    }
}

/// Shows no key: they may be secrets, and many.
impl<K, C, S> fmt::Debug for KeyedRateLimit<K, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimit").field("quota", &self.quota).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, Hasher};
    use std::time::Duration;

    use steadfast_core::time::ManualClock;

    use super::*;

    /// One token a second and key, with a burst of two, and so much room.
    fn limit(clock: &ManualClock, max_keys: usize) -> KeyedRateLimit<u32, &ManualClock> {
        KeyedRateLimit::new(Quota::per_second(1).and_then(|quota| quota.with_burst(2)).unwrap(), max_keys, clock)
    }

    fn not_yet(secs: u64) -> Result<(), Refusal> {
        Err(Refusal::NotYet { retry_at: Instant::EPOCH + Duration::from_secs(secs) })
    }

    #[test]
    fn each_key_has_its_own_quota() {
        let clock = ManualClock::new();
        let limit = limit(&clock, 4000);
        for key in 0..1000 {
            assert_eq!([2, 1].map(|n| limit.try_acquire(key, n)), [Ok(()), not_yet(1)], "{key}");
            assert_eq!((limit.available(&key), limit.available(&(key + 1))), (0, 2));
        }
        assert_eq!(limit.try_acquire(7, 3), Err(Refusal::Never { tokens: 3, burst: 2 }));
        assert_eq!(limit.try_acquire(1_000_000, 3), Err(Refusal::Never { tokens: 3, burst: 2 }));
    }

    #[test]
    fn a_flood_of_keys_takes_no_more_memory_than_those_that_have_spent_lately() {
        let clock = ManualClock::new();
        let limit = limit(&clock, 1_000_000);
        // A hundred new keys at a time, each full again ten times later.
        for key in 0..100_000 {
            assert_eq!(limit.try_acquire(key, 1), Ok(()));
            clock.advance(Duration::from_millis(1));
        }
        assert!(limit.len() <= 2 * (1000 + SHARDS * FIRST_SWEEP), "{} keys are remembered", limit.len());
    }

    #[test]
    fn at_the_bound_new_keys_are_refused_and_known_ones_keep_their_limits() {
        let clock = ManualClock::new();
        let limit = limit(&clock, 320);
        assert_eq!(limit.try_acquire(u32::MAX, 2), Ok(()), "a hot key");
        let answers: Vec<_> = (0..10_000).map(|key| limit.try_acquire(key, 1)).collect();
        assert!(limit.len() <= 320, "{}", limit.len());
        let second = Instant::EPOCH + Duration::from_secs(1);
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        assert!(refused >= 10_000 - 320);
        assert!(answers.iter().flatten().count() > 200, "most of the room is used");
        assert!(
            answers
                .iter()
                .filter_map(|answer| answer.err())
                .all(|refusal| { matches!(refusal, Refusal::TableFull { retry_at } if retry_at >= second) })
        );
        assert_eq!(limit.try_acquire(u32::MAX, 1), not_yet(1), "the hot key is not forgotten");
        // Coming back when told works.
        clock.set(second + Duration::from_secs(1));
        assert_eq!(limit.try_acquire(20_000, 1), Ok(()));
    }

    #[test]
    fn what_was_refused_is_not_remembered_and_a_block_is() {
        let clock = ManualClock::new();
        let limit = limit(&clock, 1000);
        assert!(limit.try_acquire(1, 3).is_err() && limit.try_acquire(1, 0).is_ok());
        assert!(limit.is_empty());
        assert_eq!(limit.block_until(1, Instant::EPOCH + Duration::from_secs(9)), Ok(()));
        assert_eq!((limit.try_acquire(1, 1), limit.try_acquire(2, 1)), (not_yet(9), Ok(())));
        assert_eq!((limit.len(), limit.is_empty()), (2, false));
        let debugged = format!("{limit:?}");
        assert!(debugged.contains("period") && !debugged.contains("keys"), "{debugged}");
        let none = KeyedRateLimit::new(limit.quota(), 0, &clock);
        assert_eq!(none.try_acquire("a", 1), Err(Refusal::TableFull { retry_at: Instant::MAX }));
        assert_eq!((none.len(), none.is_empty()), (0, true));
    }

    /// Hashes everything to the same, as the worst of attackers would.
    #[derive(Default)]
    struct Colliding;

    impl Hasher for Colliding {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, _bytes: &[u8]) {}
    }

    #[test]
    fn keys_that_collide_keep_their_limits_and_have_one_shard_between_them() {
        let clock = ManualClock::new();
        let hasher = BuildHasherDefault::<Colliding>::default();
        let limit = KeyedRateLimit::with_hasher(Quota::per_second(1).unwrap(), 10 * SHARDS, &clock, hasher);
        let refused = Err(Refusal::TableFull { retry_at: Instant::EPOCH + Duration::from_secs(1) });
        for key in 0..100 {
            assert_eq!(limit.try_acquire(key, 1), if key < 10 { Ok(()) } else { refused }, "{key}");
        }
        for key in 0..10 {
            assert_eq!(limit.try_acquire(key, 1), not_yet(1), "{key}");
        }
    }

    #[test]
    fn threads_share_it() {
        struct Still;
        impl Clock for Still {
            fn now(&self) -> Instant {
                Instant::EPOCH
            }
        }
        let limit =
            KeyedRateLimit::new(Quota::per_second(1).and_then(|quota| quota.with_burst(500)).unwrap(), 10, Still);
        let take = || (0..1000).filter(|_| limit.try_acquire('a', 1).is_ok()).count();
        let admitted: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(admitted, 500);
    }
}
