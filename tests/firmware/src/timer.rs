//! Time on embassy: what the adapter of that name does, in as few lines as this firmware needs.

use steadfast_core::time::{Clock, Instant, Timer};

/// Time since the start, as the driver that is linked in tells it.
#[derive(Clone, Copy, Debug)]
pub struct EmbassyTimer;

const NANOS_PER_TICK: u64 = 1_000_000_000 / embassy_time::TICK_HZ;

impl Clock for EmbassyTimer {
    fn now(&self) -> Instant {
        Instant::from_nanos(embassy_time::Instant::now().as_ticks().saturating_mul(NANOS_PER_TICK))
    }
}

impl Timer for EmbassyTimer {
    type Sleep = embassy_time::Timer;

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        // Up, to a whole tick: a sleep never ends early.
        embassy_time::Timer::at(embassy_time::Instant::from_ticks(deadline.as_nanos().div_ceil(NANOS_PER_TICK)))
    }
}
