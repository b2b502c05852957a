use super::Limits;
use crate::settings::{InvalidSetting, unchangeable};
use crate::time::Instant;

/// Limits that go over to other settings while callers wait for them, and owe what they owed: see
/// [`Pipeline::reconfigure`](crate::pipeline::Pipeline::reconfigure).
pub trait Reconfigure {
    /// Limits that have the settings, and nothing else that counts.
    type Settings;

    /// Whether they can go over to these. Changes nothing.
    ///
    /// # Errors
    /// If they cannot, with the setting that stands against it.
    fn accepts(&self, to: &Self::Settings) -> Result<(), InvalidSetting>;

    /// Goes over to settings that they [accept](Self::accepts), from now on.
    fn reconfigure(&mut self, now: Instant, to: &Self::Settings);
}

/// Those who wait by reservation keep the times that they were told.
impl<const K: usize> Reconfigure for Limits<K> {
    type Settings = Self;

    fn accepts(&self, to: &Self) -> Result<(), InvalidSetting> {
        const COMES_OR_GOES: &str = "limits that calls wait for can neither come nor go";
        if self.rates.is_some() != to.rates.is_some() {
            return Err(unchangeable("rate_limits", COMES_OR_GOES));
        }
        if self.rates.is_some() && self.counts != to.counts {
            return Err(unchangeable("rate_limits.counts", "calls in line were counted the other way"));
        }
        if self.adaptive_rate.is_some() != to.adaptive_rate.is_some() {
            return Err(unchangeable("adaptive_rate", COMES_OR_GOES));
        }
        match (&self.concurrency, &to.concurrency) {
            (Some(limit), Some(to)) => limit.accepts(to),
            (None, None) => Ok(()),
            (Some(_), None) | (None, Some(_)) => Err(unchangeable("concurrency_limit", COMES_OR_GOES)),
        }
    }

    fn reconfigure(&mut self, now: Instant, to: &Self) {
        if let (Some(rates), Some(to)) = (&mut self.rates, &to.rates) {
            for (bucket, to) in rates.limits_mut().iter_mut().zip(to.limits()) {
                // Another quota ends what could still be given back under this one, so the same is not set again.
                if bucket.quota() != to.quota() {
                    bucket.set_quota(now, to.quota());
                }
            }
        }
        if let (Some(limit), Some(to)) = (&mut self.concurrency, &to.concurrency) {
            limit.reconfigure(to);
        }
    }
}
