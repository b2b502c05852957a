use core::cmp;

use super::evidence::Evidence;
use super::machine::Phase;
use super::settings::Settings;
use super::window::Sliding;
use super::{CircuitBreaker, after};
use crate::time::Instant;

/// Other settings, for a breaker that is in use.
impl CircuitBreaker {
    /// Goes over to the settings of another, and to its mode. It stays in its state, and its permits stay good.
    ///
    /// An open one stays open no longer than the settings allow. What its window holds stays and leaves at the new pace;
    /// a window of the other kind begins empty.
    pub(crate) fn reconfigure(&mut self, now: Instant, to: &Self) {
        let from = self.settings;
        match &mut self.phase {
            Phase::Closed(evidence) | Phase::Recovering { evidence, .. } => evidence.fit(now, &from, &to.settings),
            Phase::Open { until, .. } => *until = cmp::min(*until, after(now, to.settings.longest_open_time())),
            Phase::HalfOpen { .. } | Phase::ForcedOpen | Phase::ForcedClosed => {}
        }
        self.settings = to.settings;
        self.set_mode(to.mode());
    }
}

impl Evidence {
    fn fit(&mut self, now: Instant, from: &Settings, to: &Settings) {
        if (from.shape, from.width) != (to.shape, to.width) {
            self.window.slide(&mut self.sum, from.width, now);
            let samples = self.window.samples(&self.sum, from.width, now);
            (self.window, self.sum) = Sliding::restore(to.shape, to.width, now, &samples);
        }
    }
}
