//! Two attempts of one call at once.

use super::*;
use crate::retry::budget::Budget;

/// A hedge after two seconds.
fn hedged(builder: PipelineBuilder) -> PipelineBuilder {
    builder.hedge(Hedge::builder().after(seconds(2)).build().unwrap())
}

impl Bench {
    fn hedged_call(&self, secs: u64) -> Call<Ticket, Hedged> {
        self.pipeline.hedged_call(s(secs), CallOptions::idempotent())
    }

    fn end(&mut self, secs: u64, call: &mut Call<Ticket, Hedged>, attempt: u32, outcome: Outcome) {
        call.finish(s(secs), 0, attempt, outcome, &mut self.pipeline, &mut self.events);
        self.events.report(s(secs), &self.reported);
    }

    fn has_reported(&self, event: Event) -> bool {
        self.reported.borrow().contains(&event)
    }

    /// A call whose first attempt started at 0 and its hedge at 2.
    fn both_running(&mut self) -> Call<Ticket, Hedged> {
        let mut call = self.hedged_call(0);
        assert_eq!(self.poll(0, &mut call), start(1, 10));
        assert_eq!(self.poll(0, &mut call), Step::Wait(s(2)), "for the hedge");
        assert_eq!(self.poll(2, &mut call), start(2, 12));
        assert_eq!(self.poll(2, &mut call), Step::Wait(s(10)), "for the first to time out");
        assert!(self.has_reported(Event::Hedged { attempt: 2, beside: 1 }));
        call
    }

    fn in_flight(&self) -> u32 {
        self.pipeline.limits().concurrency_limit().unwrap().in_flight()
    }
}

#[test]
fn whichever_is_answered_first_counts_and_the_other_is_cancelled() {
    for winner in [1, 2] {
        let slots = ConcurrencyLimit::fixed(5).build().unwrap();
        let mut bench = Bench::new(hedged(builder()).concurrency_limit(slots));
        let mut call = bench.both_running();
        assert_eq!(bench.in_flight(), 2);
        bench.end(3, &mut call, winner, Outcome::success());
        assert_eq!(bench.poll(3, &mut call), Step::Done(Ok(())));
        assert!(bench.has_reported(Event::AttemptCancelled { attempt: 3 - winner }));
        assert!(bench.has_reported(Event::Succeeded { attempts: 2 }));
        assert_eq!(bench.in_flight(), 0);
        bench.end(4, &mut call, 3 - winner, Outcome::transient());
        assert_eq!(bench.poll(4, &mut call), Step::Done(Ok(())), "the loser is not heard any more");
    }
}

#[test]
fn while_one_still_runs_a_failure_is_not_the_end() {
    for first in [1, 2] {
        let mut bench = Bench::new(hedged(builder().without_circuit_breaker()));
        let mut call = bench.both_running();
        bench.end(3, &mut call, first, Outcome::transient());
        let other = 3 - first;
        assert_eq!(bench.poll(3, &mut call), Step::Wait(s(if other == 1 { 10 } else { 12 })));
        bench.end(4, &mut call, other, Outcome::transient());
        // Then the retry, after a backoff of two seconds, since two attempts were made.
        assert_eq!(bench.poll(4, &mut call), Step::Wait(s(6)));
        assert_eq!(bench.poll(6, &mut call), start(3, 16));
        assert_eq!(bench.poll(8, &mut call), Step::Wait(s(16)), "no hedge beside the last attempt that is allowed");
        bench.end(9, &mut call, 3, Outcome::success());
        assert_eq!(bench.poll(9, &mut call), Step::Done(Ok(())));
    }
}

#[test]
fn what_the_server_said_to_one_holds_for_the_retry_after_both() {
    let hint = |secs| Outcome::throttled().with_retry_after(seconds(secs));
    for (first, second, want) in [
        (hint(20), Outcome::transient(), Step::Wait(s(25))), // Asked for at 3, and a backoff of 2.
        (hint(4), hint(9), Step::Wait(s(15))),
        (hint(30), hint(9), Step::Wait(s(35))),
        (Outcome::transient().without_retry(), Outcome::transient(), stopped(Rejected::RetryForbidden)),
        (Outcome::transient(), Outcome::permanent(), stopped(Rejected::Permanent)),
    ] {
        let mut bench = Bench::new(hedged(builder().without_circuit_breaker()));
        let mut call = bench.both_running();
        bench.end(3, &mut call, 1, first);
        bench.end(4, &mut call, 2, second);
        assert_eq!(bench.poll(4, &mut call), want, "{first:?}, {second:?}");
    }
}

#[test]
fn a_permanent_failure_ends_both() {
    let mut bench = Bench::new(hedged(builder()));
    let mut call = bench.both_running();
    bench.end(3, &mut call, 2, Outcome::permanent());
    assert_eq!(bench.poll(3, &mut call), stopped(Rejected::Permanent));
    assert!(bench.has_reported(Event::AttemptCancelled { attempt: 1 }));
}

#[test]
fn no_hedge_goes_beside_a_throttled_call() {
    let hedge = Hedge::builder().after(seconds(2)).max_hedges(2).build().unwrap();
    let mut bench = Bench::new(builder().hedge(hedge).budget(Budget::unlimited()));
    let mut call = bench.both_running();
    bench.end(3, &mut call, 1, Outcome::throttled());
    assert_eq!(bench.poll(5, &mut call), Step::Wait(s(12)), "though another would be due at 4");
    // Beside one that only lost its neighbour, there is.
    let mut call = bench.both_running();
    bench.end(3, &mut call, 1, Outcome::transient());
    assert_eq!(bench.poll(3, &mut call), Step::Wait(s(4)));
    assert_eq!(bench.poll(4, &mut call), start(3, 14));
}

#[test]
fn a_hedge_waits_for_its_tokens_and_gives_up_its_place_with_the_call() {
    let mut bench = Bench::new(hedged(limited(builder(), 1)).without_circuit_breaker());
    let mut used = bench.call(1);
    let mut call = bench.hedged_call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    assert_eq!(bench.poll(1, &mut used), start(1, 11));
    let mut third = bench.call(1);
    assert_eq!(bench.poll(1, &mut third), Step::Wait(s(2)));
    assert_eq!(bench.poll(2, &mut call), Step::Wait(s(3)), "in line");
    bench.finish(2, &mut used, Outcome::success());
    // The first attempt fails while its hedge waits: the hedge's place goes, and a retry takes its turn.
    bench.end(2, &mut call, 1, Outcome::transient());
    assert_eq!(bench.poll(2, &mut call), Step::Wait(s(3)), "backing off");
    bench.abandon(2, &mut call);
    assert_eq!(bench.available(3), 1);
}

#[test]
fn a_hedge_that_is_refused_changes_nothing_for_the_call() {
    // By the budget, the breaker, the deadline of the wait, the attempts that are allowed, the driver.
    let slow = TokenBucket::new(Quota::per_hour(1).unwrap());
    let spent = || {
        let mut budget = Budget::default();
        while budget.withdraw(s(0), 0, crate::retry::budget::Cause::Transient).is_ok() {}
        budget
    };
    for builder in [hedged(builder().budget(spent())), hedged(builder().rate_limit(slow))] {
        let mut bench = Bench::new(builder);
        let mut call = bench.hedged_call(0);
        assert_eq!(bench.poll(0, &mut call), start(1, 10));
        assert_eq!(bench.poll(2, &mut call), Step::Wait(s(10)));
        let refused = |event: &Event| matches!(event, Event::HedgeRefused(_));
        assert_eq!(bench.reported.borrow().iter().filter(|event| refused(event)).count(), 1);
        bench.finish(5, &mut call, Outcome::success());
        assert_eq!(bench.poll(5, &mut call), Step::Done(Ok(())));
    }
    let mut bench = Bench::new(hedged(builder()));
    let mut call = bench.hedged_call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    bench.trip(1);
    assert_eq!(bench.poll(2, &mut call), Step::Wait(s(10)));

    for options in [CallOptions::not_idempotent(), CallOptions::idempotent().with_max_attempts(1)] {
        let mut bench = Bench::new(hedged(builder()));
        let mut call = bench.pipeline.hedged_call(s(0), options);
        assert_eq!(bench.poll(0, &mut call), start(1, 10));
        assert_eq!(bench.poll(0, &mut call), Step::Wait(s(10)), "{options:?}");
    }
    let mut bench = Bench::new(hedged(builder()));
    let mut call = bench.call(0);
    assert_eq!(bench.poll(0, &mut call), start(1, 10));
    assert_eq!(bench.poll(0, &mut call), Step::Wait(s(10)), "its driver runs one at a time");
    assert!(size_of_val(&call) + 64 < size_of_val(&bench.hedged_call(0)), "and has no place for another");
}

#[test]
fn an_abandoned_call_gives_back_what_both_hold() {
    let slots = ConcurrencyLimit::fixed(5).build().unwrap();
    let mut bench = Bench::new(hedged(builder()).concurrency_limit(slots));
    let mut call = bench.both_running();
    bench.abandon(3, &mut call);
    assert_eq!(bench.in_flight(), 0);
    for attempt in [1, 2] {
        assert!(bench.has_reported(Event::AttemptCancelled { attempt }));
    }
}

#[test]
fn the_hedge_learns_from_answers_and_from_losers() {
    let hedge = Hedge::builder().min_delay(seconds(1)).max_delay(seconds(3)).build().unwrap();
    let mut bench = Bench::new(builder().hedge(hedge).budget(Budget::unlimited()));
    let mut at = 0;
    for _ in 0..100 {
        let mut call = bench.hedged_call(at);
        assert_eq!(bench.poll(at, &mut call), start(1, at + 10));
        bench.end(at, &mut call, 1, Outcome::success());
        at += 1;
    }
    let mut call = bench.hedged_call(at);
    assert_eq!(bench.poll(at, &mut call), start(1, at + 10));
    assert_eq!(bench.poll(at, &mut call), Step::Wait(s(at + 1)), "answers come at once: as soon as it may");
    assert_eq!(bench.pipeline.hedge().map(Hedge::delay), Some(seconds(1)), "and so it says");
    // Six of 112 that were not answered within two seconds are more than one in twenty.
    for _ in 0..6 {
        let mut call = bench.hedged_call(at);
        assert_eq!([at, at + 2].map(|secs| bench.poll(secs, &mut call)), [start(1, at + 10), start(2, at + 12)]);
        bench.end(at + 2, &mut call, 2, Outcome::success());
    }
    assert!(bench.pipeline.hedge().map(Hedge::delay) > Some(seconds(2)));
}
