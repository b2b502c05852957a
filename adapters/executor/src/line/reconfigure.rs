use steadfast_core::limits::{Limits, Reconfigure};
use steadfast_core::rate_limit::TokenBucket;
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::Instant;

use super::Line;

/// Those who wait go by the new settings at once, in the order in which they came.
impl<const K: usize> Reconfigure for Line<K> {
    type Settings = Limits<K>;

    fn accepts(&self, to: &Limits<K>) -> Result<(), InvalidSetting> {
        self.gate.own.accepts(to)
    }

    fn reconfigure(&mut self, now: Instant, to: &Limits<K>) {
        self.gate.own.reconfigure(now, to);
        let quotas = self.gate.own.rate_limits().map(|limits| limits.limits().each_ref().map(TokenBucket::quota));
        for (limit, quota) in quotas.into_iter().flatten().enumerate() {
            self.remove_hopeless(limit, quota);
        }
        self.go_on(now);
    }
}
