use super::{Level, Quota, Refusal};
use crate::time::Instant;

/// A quota for each key, in a table of fixed size.
///
/// ```
/// use steadfast_core::rate_limit::{KeyedRateLimit, Quota};
/// use steadfast_core::time::Instant;
///
/// let mut limit = KeyedRateLimit::<&str, 16>::new(Quota::per_minute(1)?);
/// let now = Instant::EPOCH;
/// assert!(limit.try_acquire(now, &"ann", 1).is_ok());
/// assert!(limit.try_acquire(now, &"bob", 1).is_ok());
/// assert!(limit.try_acquire(now, &"ann", 1).is_err());
/// # Ok::<(), steadfast_core::settings::InvalidSetting>(())
/// ```
///
/// It has room for `N` keys, and searches them one by one: right for tens of them. A key whose bucket is full again
/// gives its place to a new one, since forgetting it changes nothing. So a flood of keys cannot exhaust memory, and
/// cannot make it forget a key that has spent something: when no place is free, it is the new key that is refused.
///
/// # When not to use it
///
/// For thousands of keys: `steadfast-executor` has a table that hashes, grows to a bound, and is shared by threads.
#[derive(Debug)]
pub struct KeyedRateLimit<K, const N: usize> {
    quota: Quota,
    table: [Option<(K, Level)>; N],
    /// The latest time at which a key was forgotten. Should the clock step back before it, no unknown key is admitted
    /// until it has caught up: it may be that one, and not have been full yet.
    forgotten_at: Instant,
}

impl<K: Clone + Eq, const N: usize> KeyedRateLimit<K, N> {
    /// A table without keys, each of which starts with a full bucket.
    pub const fn new(quota: Quota) -> Self {
        Self { quota, table: [const { None }; N], forgotten_at: Instant::EPOCH }
    }

    /// The quota that each key has.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Takes `n` tokens of `key`, or takes none and says when to come back.
    ///
    /// # Errors
    /// As [`TokenBucket::try_acquire`](super::TokenBucket::try_acquire), and [`Refusal::TableFull`] for a key that is
    /// not there while `N` others have spent something.
    pub fn try_acquire(&mut self, now: Instant, key: &K, n: u32) -> Result<(), Refusal> {
        let quota = self.quota;
        if let Some(level) = self.level_mut(key) {
            return level.try_acquire(&quota, now, n);
        }
        let mut level = Level::FULL;
        level.try_acquire(&quota, now, n)?;
        *self.place(now)? = Some((key.clone(), level));
        Ok(())
    }

    /// How many tokens of `key` could be taken at `now`, if there is a place for it.
    pub fn available(&self, now: Instant, key: &K) -> u32 {
        let entry = self.table.iter().flatten().find(|(other, _)| other == key);
        entry.map_or(self.quota.burst(), |(_, level)| level.available(&self.quota, now))
    }

    /// Admits nothing of `key` before `until`, because the server said so.
    ///
    /// # Errors
    /// [`Refusal::TableFull`] if the key is not there and cannot be remembered.
    pub fn block_until(&mut self, now: Instant, key: &K, until: Instant) -> Result<(), Refusal> {
        let quota = self.quota;
        if let Some(level) = self.level_mut(key) {
            level.block_until(&quota, until);
            return Ok(());
        }
        let mut level = Level::FULL;
        level.block_until(&quota, until);
        *self.place(now)? = Some((key.clone(), level));
        Ok(())
    }

    /// How many keys have spent something that has not come back by `now`.
    pub fn len(&self, now: Instant) -> usize {
        self.table.iter().flatten().filter(|(_, level)| !level.is_full(&self.quota, now)).count()
    }

    /// Whether none has.
    pub fn is_empty(&self, now: Instant) -> bool {
        self.len(now) == 0
    }

    fn level_mut(&mut self, key: &K) -> Option<&mut Level> {
        self.table.iter_mut().flatten().find(|(other, _)| other == key).map(|(_, level)| level)
    }

    /// A place for a new key: an empty one, or that of a key which need not be remembered.
    fn place(&mut self, now: Instant) -> Result<&mut Option<(K, Level)>, Refusal> {
        if now < self.forgotten_at {
            return Err(Refusal::NotYet { retry_at: self.forgotten_at });
        }
        let quota = self.quota;
        let spent = |slot: &Option<(K, Level)>| slot.as_ref().is_some_and(|(_, level)| !level.is_full(&quota, now));
        let retry_at = self.table.iter().flatten().map(|(_, level)| level.full_at(&quota)).min();
        let Some(place) = self.table.iter_mut().find(|slot| !spent(slot)) else {
            return Err(Refusal::TableFull { retry_at: retry_at.unwrap_or(Instant::MAX) });
        };
        if place.is_some() {
            self.forgotten_at = now;
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    /// One token per ten seconds and key, room for two keys.
    fn table() -> KeyedRateLimit<char, 2> {
        KeyedRateLimit::new(Quota::new(1, core::time::Duration::from_secs(10)).unwrap())
    }

    /// Asks at each second for one token of a key, and compares the answers.
    fn check(script: &[(u64, char, Result<(), Refusal>)]) {
        let mut table = table();
        for (line, (now, key, want)) in script.iter().enumerate() {
            assert_eq!(table.try_acquire(s(*now), key, 1), *want, "line {line}: {key} at {now}");
        }
    }

    const fn not_yet(secs: u64) -> Result<(), Refusal> {
        Err(Refusal::NotYet { retry_at: s(secs) })
    }

    const fn table_full(secs: u64) -> Result<(), Refusal> {
        Err(Refusal::TableFull { retry_at: s(secs) })
    }

    #[test]
    fn each_key_has_its_own_quota() {
        check(&[(0, 'a', Ok(())), (1, 'b', Ok(())), (2, 'a', not_yet(10)), (2, 'b', not_yet(11)), (10, 'a', Ok(()))]);
    }

    #[test]
    fn a_flood_of_keys_makes_it_forget_nobody_who_has_spent() {
        check(&[
            (0, 'a', Ok(())),
            (1, 'b', Ok(())),
            (2, 'c', table_full(10)),
            (3, 'd', table_full(10)),
            (9, 'a', not_yet(10)),
            (10, 'c', Ok(())), // In the place of `a`, whose bucket is full again.
            (10, 'a', table_full(11)),
            (11, 'a', Ok(())),
        ]);
    }

    #[test]
    fn what_was_refused_takes_no_place() {
        let mut table = table();
        assert_eq!(table.try_acquire(s(0), &'a', 2), Err(Refusal::Never { tokens: 2, burst: 1 }));
        assert!(table.is_empty(s(0)));
        assert_eq!(table.try_acquire(s(0), &'b', 1), Ok(()));
        assert_eq!((table.len(s(0)), table.len(s(10))), (1, 0));
        assert_eq!((table.is_empty(s(0)), table.is_empty(s(10))), (false, true));
        assert_eq!((table.available(s(0), &'a'), table.available(s(0), &'b')), (1, 0));
    }

    #[test]
    fn a_block_is_kept_for_its_key_alone() {
        let mut table = table();
        assert_eq!(table.block_until(s(0), &'a', s(30)), Ok(()));
        assert_eq!(table.block_until(s(0), &'a', s(20)), Ok(()));
        assert_eq!(table.try_acquire(s(29), &'a', 1), not_yet(30));
        assert_eq!(table.try_acquire(s(29), &'b', 1), Ok(()));
        assert_eq!(table.block_until(s(29), &'c', s(40)), table_full(30));
        assert_eq!(table.try_acquire(s(30), &'a', 1), Ok(()));
    }

    #[test]
    fn a_table_without_places_admits_nobody() {
        let mut table = KeyedRateLimit::<u8, 0>::new(Quota::per_second(1).unwrap());
        assert_eq!(table.try_acquire(s(0), &1, 1), Err(Refusal::TableFull { retry_at: Instant::MAX }));
    }
}
