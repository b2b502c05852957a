//! What every [`Limiter`] has to do, whether callers wait in line before it or hold a time of their own.
//!
//! ```
//! use steadfast_core::limits::Limits;
//! use steadfast_core::rate_limit::TokenBucket;
//! use steadfast_tests::conformance::limiter;
//!
//! limiter::check(|quota| Limits::from(TokenBucket::new(quota)));
//! ```

use std::time::Duration;

use steadfast_core::limits::{Admission, Limiter};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::rate_limit::Quota;
use steadfast_core::time::Instant;

fn ms(millis: u64) -> Instant {
    Instant::EPOCH + Duration::from_millis(millis)
}

/// Ten a second, two at once: a token every 100 ms.
fn quota() -> Quota {
    Quota::per_second(10).and_then(|quota| quota.with_burst(2)).expect("a quota that can be")
}

/// Every script, each with limits of its own that `make` makes with this quota and no concurrency limit.
///
/// # Panics
/// At the first thing that a limiter must not do.
pub fn check<L: Limiter>(make: impl Fn(Quota) -> L) {
    its_burst_and_not_one_more(make(quota()));
    who_comes_back_when_told_is_served(make(quota()));
    who_leaves_gives_back_what_it_took(make(quota()));
    what_was_started_stays_spent(make(quota()));
    too_late_and_never_are_refused_at_once(make(quota()));
    a_block_holds_everybody(make(quota()));
    asking_takes_nothing(make(quota()));
}

/// Joins with so many tokens and no deadline.
fn join<L: Limiter>(limits: &mut L, now: Instant, n: u32) -> L::Ticket {
    limits.join(now, n, 0, Instant::MAX).unwrap_or_else(|refusal| panic!("{n} at {now}: {refusal}"))
}

/// Waits as it is told until it is granted, lets the attempt end at once, and says when that was.
fn serve<L: Limiter>(limits: &mut L, mut now: Instant, mut ticket: L::Ticket) -> Instant {
    loop {
        match limits.poll(now, &mut ticket) {
            Admission::Granted => {
                limits.finish(now, ticket, OutcomeKind::Success);
                return now;
            }
            Admission::Wait(until) | Admission::WaitForSlot(until) => {
                assert!(until > now, "told at {now} to wait until {until}");
                now = until;
            }
            Admission::Refused(refusal) => panic!("refused at {now}: {refusal}"),
        }
    }
}

/// Never over: what is granted in any time is the burst and what was refilled, to the nanosecond.
fn its_burst_and_not_one_more<L: Limiter>(mut limits: L) {
    let mut now = Instant::EPOCH;
    for call in 0..50 {
        let ticket = join(&mut limits, now, 1);
        now = serve(&mut limits, now, ticket);
        assert_eq!(now, ms(100 * u64::saturating_sub(call, 1)), "call {call}");
    }
}

/// Never early, and not in vain: a nanosecond before it is still too early, and then it works.
fn who_comes_back_when_told_is_served<L: Limiter>(mut limits: L) {
    let first = join(&mut limits, ms(0), 2);
    assert_eq!(serve(&mut limits, ms(0), first), ms(0));
    let mut ticket = join(&mut limits, ms(0), 2);
    let Admission::Wait(until) = limits.poll(ms(0), &mut ticket) else { panic!("there is no token left") };
    let before = Instant::from_nanos(until.as_nanos() - 1);
    assert_eq!(limits.poll(before, &mut ticket), Admission::Wait(until));
    assert_eq!(serve(&mut limits, until, ticket), ms(200));
}

/// Whatever it stood for: a place in line, or tokens that it was granted and has not used.
fn who_leaves_gives_back_what_it_took<L: Limiter>(mut limits: L) {
    for _ in 0..3 {
        let mut granted = join(&mut limits, ms(0), 2);
        assert_eq!(limits.poll(ms(0), &mut granted), Admission::Granted);
        limits.leave(ms(0), granted);
    }
    let full = join(&mut limits, ms(0), 2);
    assert_eq!(serve(&mut limits, ms(0), full), ms(0));
    let mut waits = join(&mut limits, ms(0), 2);
    assert!(matches!(limits.poll(ms(0), &mut waits), Admission::Wait(_)));
    limits.leave(ms(10), waits);
    let next = join(&mut limits, ms(10), 1);
    assert_eq!(serve(&mut limits, ms(10), next), ms(100));
}

/// The server may have seen it.
fn what_was_started_stays_spent<L: Limiter>(mut limits: L) {
    let mut dropped = join(&mut limits, ms(0), 2);
    assert_eq!(limits.poll(ms(0), &mut dropped), Admission::Granted);
    limits.abandon(ms(0), dropped);
    let next = join(&mut limits, ms(0), 1);
    assert_eq!(serve(&mut limits, ms(0), next), ms(100));
}

/// And a refusal takes nothing.
fn too_late_and_never_are_refused_at_once<L: Limiter>(mut limits: L) {
    assert!(limits.join(ms(0), 3, 0, Instant::MAX).is_err(), "three are more than the burst, ever");
    let first = join(&mut limits, ms(0), 2);
    assert_eq!(serve(&mut limits, ms(0), first), ms(0));
    for deadline in [ms(0), ms(50), ms(100)] {
        assert!(limits.join(ms(0), 1, 0, deadline).is_err(), "its turn is at 100 ms, not before {deadline}");
    }
    let in_time = limits.join(ms(0), 1, 0, ms(101));
    let in_time = in_time.unwrap_or_else(|refusal| panic!("it is in time: {refusal}"));
    assert_eq!(serve(&mut limits, ms(0), in_time), ms(100));
}

/// Those who wait as well as those who come.
fn a_block_holds_everybody<L: Limiter>(mut limits: L) {
    let first = join(&mut limits, ms(0), 2);
    assert_eq!(serve(&mut limits, ms(0), first), ms(0));
    let waits = join(&mut limits, ms(0), 1);
    limits.block_until(ms(1_000));
    limits.block_until(ms(500)); // The later one counts.
    let comes = join(&mut limits, ms(0), 1);
    let (first, second) = (serve(&mut limits, ms(0), waits), serve(&mut limits, ms(0), comes));
    assert!(first >= ms(1_000) && second >= ms(1_000), "{first}, {second}");
}

/// However often it is asked, and in whatever order.
fn asking_takes_nothing<L: Limiter>(mut limits: L) {
    let mut tickets: Vec<_> = (0..4).map(|_| join(&mut limits, ms(0), 1)).collect();
    for _ in 0..10 {
        for ticket in tickets.iter_mut().rev() {
            limits.poll(ms(0), ticket);
        }
    }
    let served: Vec<_> = tickets.into_iter().map(|ticket| serve(&mut limits, ms(0), ticket)).collect();
    assert_eq!(served, [ms(0), ms(0), ms(100), ms(200)]);
}
