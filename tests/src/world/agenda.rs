use std::collections::BinaryHeap;

use steadfast_core::time::Instant;

/// What is due when: in the order of time, and at the same time in the order in which it was entered.
///
/// An entry is one number, so that comparing two is one comparison: the time above, then how many were entered before
/// it, then who is due. The count wraps after four billion entries; then the order of two at the same nanosecond may
/// be another, and is still the same in every run.
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
    /// The call at this place goes on.
    Call(usize),
}

/// Tells callers from calls.
const CALLER: u32 = 1 << 31;

impl Agenda {
    pub(super) fn enter(&mut self, at: Instant, due: Due) {
        let who = match due {
            Due::Caller(client) => index(client) | CALLER,
            Due::Call(place) => index(place),
        };
        self.heap.push(!(u128::from(at.as_nanos()) << 64 | u128::from(self.entered) << 32 | u128::from(who)));
        self.entered = self.entered.wrapping_add(1);
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
        let due = if who & CALLER == 0 { Due::Call(who as usize) } else { Due::Caller((who & !CALLER) as usize) };
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
        let mut agenda = Agenda::default();
        for (nanos, due) in [(5, Due::Call(1)), (3, Due::Caller(9)), (5, Due::Caller(0)), (3, Due::Call(0))] {
            agenda.enter(Instant::from_nanos(nanos), due);
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.next_before(Instant::from_nanos(6))).collect();
        let want = [(3, Due::Caller(9)), (3, Due::Call(0)), (5, Due::Call(1)), (5, Due::Caller(0))];
        assert_eq!(order, want.map(|(nanos, due)| (Instant::from_nanos(nanos), due)));
    }

    #[test]
    fn what_is_due_at_the_end_is_left() {
        let mut agenda = Agenda::default();
        agenda.enter(Instant::from_nanos(7), Due::Call(0));
        assert_eq!(agenda.next_before(Instant::from_nanos(7)), None);
        assert_eq!(agenda.next_before(Instant::from_nanos(8)), Some((Instant::from_nanos(7), Due::Call(0))));
        assert_eq!(agenda.next_before(Instant::MAX), None);
    }
}
