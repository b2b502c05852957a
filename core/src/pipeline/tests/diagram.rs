//! The diagrams on the page are those of the code.

use std::borrow::ToOwned;
use std::collections::BTreeSet;
use std::format;
use std::string::String;

use super::*;
use crate::retry::budget::Budget;

type Arrows = BTreeSet<(String, String)>;

/// Every arrow of the first diagram after the given words on the page, as pairs of names.
fn arrows_after(words: &str) -> Arrows {
    let page = include_str!("../../pipeline.rs");
    let (_, after) = page.split_once(words).unwrap();
    let diagram = after.split("//! ```").nth(1).unwrap();
    let mut arrows = Arrows::new();
    for line in diagram.lines().filter(|line| line.contains('▶')) {
        let (from, rest) = line.trim_start_matches("//!").split_once("──").unwrap();
        let to = rest.split_once('▶').unwrap().1.trim();
        arrows.extend(from.split(',').map(|from| (from.trim().to_owned(), to.to_owned())));
    }
    arrows
}

#[test]
fn the_diagrams_and_the_code_agree() {
    let mut random = 1_u64;
    let mut draw = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let (mut calls_went, mut hedges_went) = (Arrows::new(), Arrows::new());
    let hedge = Hedge::builder().after(seconds(2)).max_hedges(2).build().unwrap();
    let slots = ConcurrencyLimit::fixed(6).build().unwrap();
    let builder = limited(builder(), 3).hedge(hedge).concurrency_limit(slots).budget(Budget::unlimited());
    let (mut bench, mut now, mut calls) = (Bench::new(builder), 0, Vec::new());
    for _ in 0..50_000 {
        if calls.len() < 4 {
            calls.push(bench.pipeline.hedged_call(s(now), CallOptions::idempotent()));
        }
        let mut call = calls.swap_remove(usize::try_from(draw(calls.len() as u64)).unwrap());
        let from = call.names();
        let (attempt, dice) = (u32::try_from(draw(4)).unwrap(), draw(1 << 31) << 33);
        let (pipeline, events) = (&mut bench.pipeline, &mut bench.events);
        match draw(12) {
            0..=5 => drop(call.poll(s(now), dice, pipeline, events)),
            6 | 7 => drop(call.finish(s(now), dice, attempt, Outcome::success(), pipeline, events)),
            8 => drop(call.finish(s(now), dice, attempt, Outcome::transient(), pipeline, events)),
            9 => call.time_out(s(now), dice, attempt, pipeline, events),
            10 if draw(4) == 0 => call.abandon(s(now), pipeline, events),
            _ => now += draw(3),
        }
        bench.events.report(s(now), &());
        let to = call.names();
        assert!(to.0 == "Running" || to.1 == "Nothing", "{to:?}: a hedge beside no attempt");
        for (arrows, from, to) in [(&mut calls_went, from.0, to.0), (&mut hedges_went, from.1, to.1)] {
            if from != to {
                arrows.insert((from, to));
            }
        }
        if !call.has_ended() {
            calls.push(call);
        }
    }
    assert_eq!(calls_went, arrows_after("# One call"));
    assert_eq!(hedges_went, arrows_after("itself:"));
}

impl<H: MayHedge> Call<Ticket, H> {
    /// In which stage it is, and what there is beside its attempt.
    fn names(&self) -> (String, String) {
        let name = |debugged: String| debugged.split([' ', '(']).next().unwrap_or_default().to_owned();
        let (stage, beside) = self.stages();
        (name(format!("{stage:?}")), name(format!("{beside:?}")))
    }
}
