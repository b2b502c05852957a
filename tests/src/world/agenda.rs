use std::collections::BinaryHeap;

use steadfast_core::time::Instant;

/// What is due when: in the order of time, and at the same time in the order in which it was entered.
///
/// An entry is one number, so that comparing two is one comparison: the time above, then how many were entered before
/// it, then who is due. The count wraps after four billion entries; then the order of two at the same nanosecond may
/// be another, and is still the same in every run.
///
/// Nothing is ever struck out. Whoever enters a call anew remembers the number of the entry, and knows an older one by it.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Every bit is turned over: the heap keeps its largest on top, and we want the earliest.
    heap: BinaryHeap<u128>,
    entered: u32,
}

/// Who is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// The client of this number makes its next call.
    Caller(usize),
    /// The call at this place goes on, if this is the number of its entry.
    Call(usize, u32),
}

/// Tells callers from calls.
const CALLER: u32 = 1 << 31;

impl Agenda {
    pub(super) fn enter_caller(&mut self, at: Instant, client: usize) {
        self.enter(at, index(client) | CALLER);
    }

    /// Returns the number of the entry.
    pub(super) fn enter_call(&mut self, at: Instant, place: usize) -> u32 {
        self.enter(at, index(place))
    }

    fn enter(&mut self, at: Instant, who: u32) -> u32 {
        let number = self.entered;
        self.heap.push(!(u128::from(at.as_nanos()) << 64 | u128::from(number) << 32 | u128::from(who)));
        self.entered = number.wrapping_add(1);
        number
    }

    /// Takes the first entry, if its time is before `end`.
    #[allow(clippy::cast_possible_truncation)] // Taken apart as it was put together.
    pub(super) fn next_before(&mut self, end: Instant) -> Option<(Instant, Due)> {
        let entry = !*self.heap.peek()?;
        let at = Instant::from_nanos((entry >> 64) as u64);
        if at >= end {
            return None;
        }
        self.heap.pop();
        let who = entry as u32;
        let due = match who & CALLER {
            0 => Due::Call(who as usize, (entry >> 32) as u32),
            _ => Due::Caller((who & !CALLER) as usize),
        };
        Some((at, due))
    }
}

fn index(of: usize) -> u32 {
    let index = u32::try_from(of).unwrap_or(u32::MAX);
    assert!(index < CALLER, "no world holds two billion clients or calls");
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_of_those_at_once_whoever_was_entered_first() {
        let (mut agenda, at) = (Agenda::default(), Instant::from_nanos);
        assert_eq!(agenda.enter_call(at(5), 1), 0);
        agenda.enter_caller(at(3), 9);
        agenda.enter_caller(at(5), 0);
        assert_eq!(agenda.enter_call(at(3), 0), 3);
        let order: Vec<_> = std::iter::from_fn(|| agenda.next_before(at(6))).collect();
        let want = [(3, Due::Caller(9)), (3, Due::Call(0, 3)), (5, Due::Call(1, 0)), (5, Due::Caller(0))];
        assert_eq!(order, want.map(|(nanos, due)| (at(nanos), due)));
    }

    #[test]
    fn what_is_due_at_the_end_is_left() {
        let mut agenda = Agenda::default();
        agenda.enter_caller(Instant::from_nanos(7), 0);
        assert_eq!(agenda.next_before(Instant::from_nanos(7)), None);
        assert_eq!(agenda.next_before(Instant::from_nanos(8)), Some((Instant::from_nanos(7), Due::Caller(0))));
        assert_eq!(agenda.next_before(Instant::MAX), None);
    }
}
