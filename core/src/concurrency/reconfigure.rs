use super::{ConcurrencyLimit, Control};
use crate::settings::{InvalidSetting, Value, contradiction, is_shorter};

/// Other settings, for a limit that is in use.
impl ConcurrencyLimit {
    /// Whether it can go over to the settings of another.
    pub(crate) fn accepts(&self, to: &Self) -> Result<(), InvalidSetting> {
        if is_shorter(to.lease(), self.lease()) {
            // The slot of an attempt that still runs would go to another, and more would run than may.
            let lease = ("concurrency_limit.lease", Value::Time(to.lease()));
            let so_far = ("that of attempts under way", Value::Time(self.lease()));
            return Err(contradiction(lease, "at least as long as", so_far));
        }
        Ok(())
    }

    /// Goes over to the settings of another, which it accepts. Who is in flight stays, and what was learned stays as far as
    /// the algorithm is the same. `initial` matters only where the limit is fixed.
    pub(crate) fn reconfigure(&mut self, to: &Self) {
        let Self { min, max, control, estimate, slots, round: _, epoch: _ } = to;
        let from = self.limit();
        if self.control.algorithm() != control.algorithm() {
            self.control = Control::new(control.algorithm());
        }
        (self.min, self.max) = (*min, *max);
        self.slots.set_lease(slots.lease());
        let next = if control.is_fixed() { *estimate } else { self.estimate };
        self.correct(from, next);
    }
}
