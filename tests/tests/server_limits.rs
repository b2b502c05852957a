//! What a server tells of its limits, heeded by a client, against the server itself: brute force over worlds in which
//! requests and answers take any time and overtake each other.
//!
//! The server counts each request when it arrives, and tells what is left and until when. Requests that set out once
//! anything was told must never be refused.

use core::time::Duration;

use proptest::prelude::*;
use steadfast_core::limits::{Counts, Missing, Remaining, Sent, ServerLimits, Told};
use steadfast_core::outcome::OutcomeKind;
use steadfast_core::time::Instant;

use crate::support::config;

/// A limit as the server keeps it. Times are in nanoseconds.
#[derive(Clone, Debug)]
enum Keeps {
    /// So many in each window, which begins with a multiple of its length; the reset is the window's end.
    Windows { limit: u64, length: u64, window: u64, used: u64 },
    /// A bucket of so many, of which one comes in after each interval; the reset is when it is full again.
    BucketUntilFull { limit: u64, interval: u64, full_at: u64 },
    /// The same; the reset is when the next one comes in.
    BucketUntilNext { limit: u64, interval: u64, full_at: u64 },
}

/// Whether the server took a request, and what it told: how many are left, and for how long.
type Answer = (bool, u64, u64);

impl Keeps {
    fn request(&mut self, now: u64, weight: u64) -> Answer {
        match self {
            Self::Windows { limit, length, window, used } => {
                if now / *length != *window {
                    (*window, *used) = (now / *length, 0);
                }
                let is_taken = *used + weight <= *limit;
                *used += if is_taken { weight } else { 0 };
                (is_taken, *limit - *used, (*window + 1) * *length - now)
            }
            Self::BucketUntilFull { limit, interval, full_at } => {
                let (is_taken, left) = bucket(now, weight, *limit, *interval, full_at);
                (is_taken, left, full_at.saturating_sub(now))
            }
            Self::BucketUntilNext { limit, interval, full_at } => {
                let (is_taken, left) = bucket(now, weight, *limit, *interval, full_at);
                let full_in = full_at.saturating_sub(now);
                let next_in = if full_in % *interval == 0 { *interval } else { full_in % *interval };
                (is_taken, left, if full_in == 0 { 0 } else { next_in })
            }
        }
    }
}

fn bucket(now: u64, weight: u64, limit: u64, interval: u64, full_at: &mut u64) -> (bool, u64) {
    let after = now.max(*full_at) + weight * interval;
    let is_taken = after <= now + limit * interval;
    *full_at = if is_taken { after } else { now.max(*full_at) };
    (is_taken, limit - (*full_at - now).div_ceil(interval))
}

/// One attempt, as planned: when it is asked for after the one before, and what becomes of it.
#[derive(Clone, Debug)]
struct Plan {
    pause: u64,
    weight: u32,
    /// How long the request takes to the server, and the answer back.
    there: u64,
    back: u64,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    IsAnswered,
    /// It is given up after it has arrived, and before it is answered.
    IsGivenUp,
    /// It is given up without ever arriving.
    NeverArrives,
    /// The answer arrives broken: what it told is not heard.
    BreaksOff,
    /// Nobody ever says what became of it, though it arrives.
    IsForgotten,
}

#[derive(Debug)]
enum Event {
    Arrives(usize),
    Returns(usize),
}

struct World {
    limits: ServerLimits,
    server: Keeps,
    counts: Counts,
    /// What is to come, in any order.
    agenda: Vec<(u64, u64, Event)>,
    planned: u64,
    sent: Vec<(Option<Sent>, Plan, Option<Answer>)>,
    /// Whether anything was told when each set out.
    knew: Vec<bool>,
    was_told: bool,
    refused: Vec<usize>,
}

impl World {
    fn new(server: Keeps, counts: Counts) -> Self {
        Self {
            limits: ServerLimits::new(),
            server,
            counts,
            agenda: Vec::new(),
            planned: 0,
            sent: Vec::new(),
            knew: Vec::new(),
            was_told: false,
            refused: Vec::new(),
        }
    }

    fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.agenda.push((at, self.planned, event));
    }

    /// Lets everything happen that is due by then, in order.
    fn advance(&mut self, now: u64) {
        while let Some(first) = (0..self.agenda.len()).min_by_key(|i| (self.agenda[*i].0, self.agenda[*i].1)) {
            if self.agenda[first].0 > now {
                return;
            }
            let (at, _, event) = self.agenda.swap_remove(first);
            self.happen(at, &event);
        }
    }

    fn happen(&mut self, now: u64, event: &Event) {
        match *event {
            Event::Arrives(which) => {
                let weight = match self.counts {
                    Counts::Calls => 1,
                    Counts::Weight => self.sent[which].1.weight.into(),
                };
                let answer = self.server.request(now, weight);
                if !answer.0 && self.knew[which] {
                    self.refused.push(which);
                }
                self.sent[which].2 = Some(answer);
            }
            Event::Returns(which) => {
                let (held, plan, answer) = &mut self.sent[which];
                let held = held.take().expect("it returns once");
                match (plan.fate, *answer) {
                    (Fate::IsAnswered, Some((is_taken, left, reset_in))) => {
                        let left = u32::try_from(left).expect("limits are small here");
                        let reset_in = Duration::from_nanos(reset_in);
                        let told = Remaining { which: 7, counts: self.counts, left, reset_in };
                        self.limits.tell(Instant::from_nanos(now), &held, &Told::from_iter([told]));
                        self.was_told = true;
                        self.limits.finish(held, if is_taken { OutcomeKind::Success } else { OutcomeKind::Throttled });
                    }
                    (Fate::BreaksOff, _) => self.limits.finish(held, OutcomeKind::Transient),
                    (Fate::IsGivenUp | Fate::NeverArrives, _) => self.limits.abandon(held),
                    (Fate::IsForgotten | Fate::IsAnswered, _) => drop(held),
                }
            }
        }
    }

    /// Sends the next as planned, or returns what it is told to wait for.
    fn send(&mut self, now: u64, plan: &Plan) -> Result<(), Missing> {
        let sent = self.limits.try_acquire(Instant::from_nanos(now), plan.weight)?;
        let which = self.sent.len();
        self.sent.push((Some(sent), plan.clone(), None));
        self.knew.push(self.was_told);
        if plan.fate != Fate::NeverArrives {
            self.plan(now + plan.there, Event::Arrives(which));
        }
        self.plan(now + plan.there + plan.back, Event::Returns(which));
        Ok(())
    }
}

const MS: u64 = 1_000_000;

fn servers() -> impl Strategy<Value = Keeps> {
    let windows = (1..30_u64, 1..20_000_u64).prop_map(|(limit, length)| Keeps::Windows {
        limit,
        length: length * MS,
        window: 0,
        used: 0,
    });
    let bucket = (1..30_u64, 1..2_000_u64, any::<bool>()).prop_map(|(limit, interval, until_full)| {
        let interval = interval * MS;
        if until_full {
            Keeps::BucketUntilFull { limit, interval, full_at: 0 }
        } else {
            Keeps::BucketUntilNext { limit, interval, full_at: 0 }
        }
    });
    prop_oneof![windows, bucket]
}

fn plans(at_worst: Fate) -> impl Strategy<Value = Vec<Plan>> {
    let times = || prop_oneof![Just(0), 0..20_u64, 0..2_000_u64, 0..30_000_u64].prop_map(|millis| millis * MS + 1);
    let fates = prop_oneof![
        12 => Just(Fate::IsAnswered),
        1 => Just(at_worst),
        1 => Just(if at_worst == Fate::IsAnswered { at_worst } else { Fate::NeverArrives }),
        1 => Just(if at_worst == Fate::IsAnswered { at_worst } else { Fate::BreaksOff }),
    ];
    let plan = (times(), 1..4_u32, times(), times(), fates).prop_map(|(pause, weight, there, back, fate)| Plan {
        pause: pause - 1,
        weight,
        there,
        back,
        fate,
    });
    prop::collection::vec(plan, 1..50)
}

/// Plays it through. Each attempt is asked for in turn, and again whenever it is told to or something has happened.
fn play(server: Keeps, counts: Counts, plans: &[Plan]) -> World {
    let mut world = World::new(server, counts);
    let mut now = 0;
    for plan in plans {
        now += plan.pause;
        world.advance(now);
        let mut asked = 0;
        while let Err(missing) = world.send(now, plan) {
            asked += 1;
            assert!(asked < 10_000, "never stuck: {missing:?} at {now}");
            let next = world.agenda.iter().map(|(at, _, _)| *at).min().unwrap_or(u64::MAX);
            let until = match missing {
                Missing::Tokens(until) | Missing::Slot(until) => until.as_nanos(),
                Missing::Never(refusal) => panic!("{refusal}"),
            };
            assert!(until > now, "a refusal names a time to come: {missing:?} at {now}");
            if let Missing::Tokens(_) = missing {
                assert!(until <= now + 40_000 * MS + 20_000 * MS * 30, "never later than a reset may be");
            }
            now = until.min(next.max(now));
            world.advance(now);
        }
    }
    world.advance(u64::MAX);
    world
}

proptest! {
    #![proptest_config(config(300))]

    /// Promises 1 and 2: what was sent with the knowledge of a limit is within it.
    #[test]
    fn nothing_is_refused_that_was_sent_once_the_limit_was_known(
        server in servers(),
        counts in prop_oneof![Just(Counts::Calls), Just(Counts::Weight)],
        plans in plans(Fate::IsAnswered),
    ) {
        // What weighs more than one may ask what a reset has brought, and be told: not so much.
        let weighs = |plan: &Plan| if counts == Counts::Calls { plan.weight } else { 1 };
        let plans: Vec<_> = plans.iter().map(|plan| Plan { weight: weighs(plan), ..plan.clone() }).collect();
        let world = play(server, counts, &plans);
        prop_assert!(world.refused.is_empty(), "{:?}", world.refused);
    }

    /// What was given up, or whose answer was lost, may have used up what a reset brought. Then the one that asks after the
    /// reset is refused, and nobody else.
    #[test]
    fn each_attempt_that_is_lost_costs_one_other_at_most(server in servers(), plans in plans(Fate::IsGivenUp)) {
        let world = play(server, Counts::Calls, &plans);
        let lost = world.sent.iter().filter(|(_, plan, _)| plan.fate != Fate::IsAnswered).count();
        prop_assert!(world.refused.len() <= lost, "{:?} were refused for {lost} that were lost", world.refused);
    }

    /// Promises 4 and 9: whatever becomes of what was sent, the next goes at some time.
    #[test]
    fn somebody_goes_in_the_end_whatever_became_of_the_others(
        server in servers(),
        plans in plans(Fate::IsGivenUp),
        forgotten in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut plans = plans;
        for index in forgotten {
            index.get_mut(&mut plans).fate = Fate::IsForgotten;
        }
        let world = play(server, Counts::Weight, &plans);
        prop_assert_eq!(world.sent.len(), plans.len());
    }

    /// Promise 9: any order of anything, at any time.
    #[test]
    fn no_order_of_calls_panics(
        ops in prop::collection::vec((any::<u64>(), 0..6_u8, any::<u32>(), any::<u64>(), any::<prop::sample::Index>()), 0..200),
    ) {
        let mut limits = ServerLimits::new();
        let mut sent = Vec::new();
        for (now, op, number, nanos, index) in ops {
            let now = Instant::from_nanos(now);
            let handed_back = (op > 2 && !sent.is_empty()).then(|| sent.swap_remove(index.index(sent.len())));
            match (op, handed_back) {
                (0, _) => sent.extend(limits.try_acquire(now, number)),
                (1, _) => {
                    if let Err(Missing::Tokens(until)) = limits.check(now, number) {
                        prop_assert!(until > now && until <= now + ServerLimits::LONGEST_HOLD);
                    }
                }
                (2, _) if !sent.is_empty() => {
                    let remaining = Remaining {
                        which: number % 11,
                        counts: if number % 2 == 0 { Counts::Calls } else { Counts::Weight },
                        left: number / 11,
                        reset_in: Duration::from_nanos(nanos),
                    };
                    limits.tell(now, &sent[index.index(sent.len())], &Told::from_iter([remaining; 9]));
                }
                (3, Some(one)) => limits.finish(one, OutcomeKind::Success),
                (4, Some(one)) => limits.abandon(one),
                (_, Some(one)) => limits.give_back(one),
                (_, None) => {}
            }
        }
    }
}
