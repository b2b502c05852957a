use core::mem::discriminant;

use super::Budget;
use super::kind::{Kind, Unlimited};
use super::window::Window;
use crate::settings::{InvalidSetting, unchangeable};
use crate::time::Instant;

/// Other settings, for a budget that attempts under way are paid for by.
///
/// They are told apart by a `match`, and not by what a budget points to: whoever never changes any links none of this.
impl Budget {
    /// Whether it can go over to the settings of another: of the same kind, over the same time.
    pub(crate) fn accepts(&self, to: &Self) -> Result<(), InvalidSetting> {
        if discriminant(&self.kind) != discriminant(&to.kind) {
            return Err(unchangeable("budget", "what was paid under one kind means nothing to another"));
        }
        match (self.kind.window(), to.kind.window()) {
            (Some((name, own)), Some((_, to))) if own.length() != to.length() => {
                Err(unchangeable(name, "what was counted is known by the slices of that time"))
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// Goes over to the settings of another, which it accepts. What was spent stays spent, and what was counted, counted.
    pub(crate) fn reconfigure(&mut self, now: Instant, to: &Self) {
        match (&mut self.kind, &to.kind) {
            (Kind::Ratio(own), Kind::Ratio(to)) => own.reconfigure(now, to),
            (Kind::Quota(own), Kind::Quota(to)) => own.reconfigure(to),
            (Kind::InFlight(own), Kind::InFlight(to)) => own.reconfigure(to),
            (Kind::Throttle(own), Kind::Throttle(to)) => own.reconfigure(to),
            (Kind::Adaptive(own), Kind::Adaptive(to)) => own.reconfigure(to),
            // Nothing to be set, or of another kind, which it has not accepted.
            (
                Kind::Unlimited(Unlimited)
                | Kind::Ratio(_)
                | Kind::Quota(_)
                | Kind::InFlight(_)
                | Kind::Throttle(_)
                | Kind::Adaptive(_),
                _,
            ) => {}
        }
    }
}

impl Kind {
    /// Over how long it counts, if it does, and the name of that setting.
    const fn window(&self) -> Option<(&'static str, &Window)> {
        match self {
            Self::Unlimited(Unlimited) | Self::Quota(_) | Self::Throttle(_) => None,
            Self::Ratio(ratio) => Some(("budget.window", &ratio.window)),
            Self::InFlight(in_flight) => Some(("budget.lease", &in_flight.window)),
            Self::Adaptive(adaptive) => Some(("budget.window", &adaptive.window)),
        }
    }
}
