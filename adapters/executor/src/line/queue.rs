use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use steadfast_core::time::Instant;

use super::ticket::Place;

/// Those who wait, in the order in which they are served.
///
/// Sorted by place, in one piece of memory: nearly everybody joins at the end and is served at the front. Whoever leaves
/// from anywhere else is only marked, so that a line which everybody leaves takes no time with the square of its length.
#[derive(Debug)]
pub(super) struct Queue<const K: usize> {
    /// The first is never one that has left.
    waiters: VecDeque<Waiter<K>>,
    /// How many of them have left. Never more than half.
    left: usize,
    /// How many tokens of each limit those who wait ask for, all together.
    queued: [u64; K],
}

#[derive(Debug)]
pub(super) struct Waiter<const K: usize> {
    pub(super) place: Place,
    pub(super) weights: [u32; K],
    /// When it was told to ask again.
    pub(super) until: Instant,
    /// Whether it was told to wait for a slot, and that time is only the latest.
    pub(super) for_slot: bool,
    pub(super) waker: Option<Waker>,
    /// Whether it has left, and only its place is still here.
    has_left: bool,
}

impl<const K: usize> Waiter<K> {
    pub(super) const fn new(place: Place, weights: [u32; K], until: Instant) -> Self {
        Self { place, weights, until, for_slot: false, waker: None, has_left: false }
    }
}

impl<const K: usize> Queue<K> {
    pub(super) const fn new() -> Self {
        Self { waiters: VecDeque::new(), left: 0, queued: [0; K] }
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len() - self.left
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        // Not all of them have left, or the first would have.
        self.waiters.is_empty()
    }

    #[inline]
    pub(super) fn first(&self) -> Option<&Waiter<K>> {
        self.waiters.front()
    }

    #[inline]
    pub(super) fn first_mut(&mut self) -> Option<&mut Waiter<K>> {
        self.waiters.front_mut()
    }

    pub(super) fn get(&self, place: Place) -> Option<&Waiter<K>> {
        self.waiters.get(self.index_of(place)?)
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Waiter<K>> {
        let index = self.index_of(place)?;
        self.waiters.get_mut(index)
    }

    /// Adds somebody whose place nobody has.
    pub(super) fn insert(&mut self, waiter: Waiter<K>) {
        add(&mut self.queued, waiter.weights);
        if self.waiters.back().is_none_or(|last| last.place < waiter.place) {
            self.waiters.push_back(waiter);
        } else {
            // Moves those before it or those behind it, whichever are fewer: the urgent ones, as a rule.
            let index = self.waiters.partition_point(|other| other.place < waiter.place);
            self.waiters.insert(index, waiter);
        }
    }

    pub(super) fn pop_first(&mut self) -> Option<Waiter<K>> {
        let first = self.waiters.pop_front()?;
        subtract(&mut self.queued, first.weights);
        while self.waiters.front().is_some_and(|next| next.has_left) {
            self.waiters.pop_front();
            self.left -= 1;
        }
        Some(first)
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Waiter<K>> {
        let index = self.index_of(place)?;
        if index == 0 {
            return self.pop_first();
        }
        let waiter = self.waiters.get_mut(index)?;
        let mark = Waiter { has_left: true, ..Waiter::new(place, waiter.weights, waiter.until) };
        let waiter = mem::replace(waiter, mark);
        subtract(&mut self.queued, waiter.weights);
        self.left += 1;
        // Each who leaves pays for looking at two others, however many there are.
        if self.left > self.waiters.len() / 2 {
            self.waiters.retain(|waiter| !waiter.has_left);
            self.left = 0;
        }
        Some(waiter)
    }

    /// Removes everybody who asks for more than `most` tokens of one limit, and returns whom to wake.
    pub(super) fn remove_above(&mut self, limit: usize, most: u32) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.waiters.retain_mut(|waiter| {
            let hopeless = !waiter.has_left && waiter.weights[limit] > most;
            if hopeless {
                subtract(&mut self.queued, waiter.weights);
                wakers.extend(waiter.waker.take());
            }
            !waiter.has_left && !hopeless
        });
        self.left = 0;
        wakers
    }

    /// Forgets what everybody was told, so that they are told anew, and returns whom to wake.
    pub(super) fn outdate(&mut self) -> Vec<Waker> {
        self.waiters.iter_mut().for_each(|waiter| waiter.until = Instant::EPOCH);
        self.take_wakers()
    }

    /// Everybody who waits, to be woken. They keep what they were told.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        self.waiters.iter_mut().filter_map(|waiter| waiter.waker.take()).collect()
    }

    /// How many tokens of each limit those before a place ask for, all together.
    pub(super) fn ahead_of(&self, place: Place) -> [u64; K] {
        if self.waiters.back().is_none_or(|last| last.place < place) {
            // Somebody who joins at the end, as most do, has everybody ahead, and need not count them.
            return self.queued;
        }
        let mut ahead = [0; K];
        let before = self.waiters.iter().take_while(|waiter| waiter.place < place);
        before.filter(|waiter| !waiter.has_left).for_each(|waiter| add(&mut ahead, waiter.weights));
        ahead
    }

    /// Where somebody waits, if they do.
    fn index_of(&self, place: Place) -> Option<usize> {
        let last = self.waiters.len().checked_sub(1)?;
        // It is mostly the first that asks, or who has just joined.
        let index = if self.waiters[0].place == place {
            0
        } else if self.waiters[last].place == place {
            last
        } else {
            self.waiters.binary_search_by_key(&place, |waiter| waiter.place).ok()?
        };
        (!self.waiters[index].has_left).then_some(index)
    }
}

pub(super) fn add<const K: usize>(sum: &mut [u64; K], weights: [u32; K]) {
    sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum = sum.saturating_add(weight.into()));
}

fn subtract<const K: usize>(sum: &mut [u64; K], weights: [u32; K]) {
    sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum = sum.saturating_sub(weight.into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places 0 to `n`, which ask for one each.
    fn queue(n: u64) -> Queue<1> {
        let mut queue = Queue::new();
        (0..n).for_each(|joined| queue.insert(waiter(0, joined)));
        queue
    }

    fn waiter(priority: u8, joined: u64) -> Waiter<1> {
        Waiter::new(Place::new(priority, joined), [1], Instant::EPOCH)
    }

    /// The places of those who are left, from first to last.
    fn drain(mut queue: Queue<1>) -> Vec<Place> {
        std::iter::from_fn(|| queue.pop_first().map(|waiter| waiter.place)).collect()
    }

    #[test]
    fn who_leaves_is_not_found_again_and_takes_up_no_room() {
        let mut line = queue(1_000);
        for joined in (1..1_000).rev() {
            let place = Place::new(0, joined);
            assert!(line.remove(place).is_some() && line.remove(place).is_none() && line.get(place).is_none());
            assert_eq!((line.len() as u64, line.ahead_of(Place::LAST)), (joined, [joined]));
            assert!(line.waiters.len() <= 2 * line.len(), "{} for {}", line.waiters.len(), line.len());
        }
        assert_eq!(drain(line), [Place::new(0, 0)]);
    }

    #[test]
    fn the_first_is_never_one_that_has_left() {
        let mut line = queue(5);
        assert!([1, 2].iter().all(|joined| line.remove(Place::new(0, *joined)).is_some()));
        assert_eq!((line.ahead_of(Place::new(0, 4)), line.waiters.len()), ([2], 5), "they are only marked");
        line.pop_first();
        assert_eq!(line.first().map(|first| first.place), Some(Place::new(0, 3)));
        assert_eq!((line.len(), line.left, drain(line)), (2, 0, [3, 4].map(|joined| Place::new(0, joined)).to_vec()));
    }

    #[test]
    fn the_order_is_that_of_priority_and_then_of_joining() {
        let mut line = queue(2);
        for (priority, joined) in [(9, 2), (0, 3), (255, 4), (9, 5)] {
            line.insert(waiter(priority, joined));
        }
        assert_eq!(line.ahead_of(Place::new(9, 6)), [3]);
        let order = [(255, 4), (9, 2), (9, 5), (0, 0), (0, 1), (0, 3)];
        assert_eq!(drain(line), order.map(|(priority, joined)| Place::new(priority, joined)));
        assert_eq!(Place::new(9, 5).joined(), 5);
    }

    #[test]
    fn those_who_ask_for_too_much_are_taken_out_and_no_others() {
        let mut line = queue(3);
        line.insert(Waiter {
            waker: Some(Waker::noop().clone()),
            ..Waiter::new(Place::new(0, 3), [2], Instant::EPOCH)
        });
        line.remove(Place::new(0, 1));
        assert_eq!(line.remove_above(0, 1).len(), 1);
        assert_eq!((line.len(), line.ahead_of(Place::LAST)), (2, [2]));
        assert_eq!(drain(line), [0, 2].map(|joined| Place::new(0, joined)));
    }
}
