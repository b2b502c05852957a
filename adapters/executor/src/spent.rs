use steadfast_core::event::Observer;
use steadfast_core::limits::Limiter;
use steadfast_core::time::Clock;

use crate::line::Ticket;
use crate::pipeline::SharedPipeline;

/// What a call that succeeded took of its pipeline's rate limits, as far as those count weight: from
/// [`SharedPipeline::call_unsettled`].
///
/// Dropping it leaves that spent: who does not care about true costs need not keep it. It is one attempt's, and no longer holds
/// a slot.
#[derive(Debug)]
pub struct Spent<T, O = (), const K: usize = 1> {
    pipeline: SharedPipeline<T, O, K>,
    ticket: Option<Ticket<K>>,
}

impl<T, O, const K: usize> Spent<T, O, K> {
    pub(crate) const fn new(pipeline: SharedPipeline<T, O, K>, ticket: Option<Ticket<K>>) -> Self {
        Self { pipeline, ticket }
    }
}

impl<T: Clock, O: Observer, const K: usize> Spent<T, O, K> {
    /// Settles with what the call weighed in truth.
    ///
    /// If it was less, what has not been refilled in the meantime goes back, and those in line move forward. If it was
    /// more, the difference is owed, and those in line wait for it. Limits that count calls stay as they are.
    pub fn commit(self, used: u32) {
        if let Some(ticket) = self.ticket {
            self.pipeline.with_policies(|pipeline, now| Limiter::commit(pipeline.limits_mut(), now, ticket, used));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use steadfast_core::circuit_breaker::Mode;
    use steadfast_core::outcome::Outcome;
    use steadfast_core::pipeline::{CallOptions, Pipeline};
    use steadfast_core::rate_limit::{Quota, TokenBucket};
    use steadfast_core::time::ManualClock;

    use super::*;
    use crate::line::Line;

    /// Ten a second, and as many at once.
    fn bucket() -> TokenBucket {
        TokenBucket::new(Quota::per_second(10).and_then(|quota| quota.with_burst(10)).unwrap())
    }

    fn call<'a>(
        pipeline: &SharedPipeline<&'a ManualClock>,
        clock: &ManualClock,
        weight: u32,
    ) -> Spent<&'a ManualClock> {
        let options = CallOptions::idempotent().with_weight(NonZeroU32::new(weight).unwrap());
        let call = pipeline.call_unsettled(options, |(): &()| Outcome::success(), |_| ready(()));
        clock.drive(call).unwrap().unwrap().1
    }

    #[test]
    fn a_call_is_settled_with_what_it_weighed_in_truth() {
        for (used, want) in [(None, 2), (Some(8), 2), (Some(3), 7), (Some(0), 10), (Some(10), 0), (Some(25), 0)] {
            let clock = ManualClock::new();
            let pipeline = SharedPipeline::new(Pipeline::builder().rate_limit(bucket()).build().unwrap(), &clock);
            let spent = call(&pipeline, &clock, 8);
            if let Some(used) = used {
                spent.commit(used);
            }
            assert_eq!(
                pipeline.with_policies(|pipeline, now| pipeline.limits_mut().available(now)),
                [want],
                "{used:?}"
            );
        }
    }

    #[test]
    fn limits_of_ones_own_are_nobody_elses_and_the_breaker_is_everybodys() {
        let clock = ManualClock::new();
        let shared = SharedPipeline::new(Pipeline::builder().rate_limit(bucket()).build().unwrap(), &clock);
        let own = shared.with_line(Line::before(bucket()));
        let available = |pipeline: &SharedPipeline<&ManualClock>| {
            pipeline.with_policies(|pipeline, now| pipeline.limits_mut().available(now))
        };
        let spent = call(&own, &clock, 9);
        assert_eq!((available(&shared), available(&own), available(&own.clone())), ([10], [1], [1]));
        spent.commit(4);
        own.with_policies(|pipeline, now| pipeline.limits_mut().block_until(now + Duration::from_secs(9)));
        assert_eq!((available(&shared), available(&own)), ([10], [0]));
        let _ = shared.with_policies(|pipeline, _| pipeline.circuit_breaker_mut().unwrap().set_mode(Mode::ForcedOpen));
        let refuses = |pipeline: &SharedPipeline<&ManualClock>| {
            pipeline.with_policies(|pipeline, now| {
                pipeline.circuit_breaker_mut().is_some_and(|breaker| breaker.pre_admit(now).is_err())
            })
        };
        assert_eq!((refuses(&shared), refuses(&own)), (true, true));
    }
}
