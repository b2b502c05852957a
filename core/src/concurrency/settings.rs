use core::time::Duration;

use super::{Algorithm, ConcurrencyLimit};
use crate::settings::{InvalidSetting, Value, at_least_one, positive};

/// Settings of a [`ConcurrencyLimit`]; ranges and defaults are in the [module](super).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "call `build`"]
pub struct ConcurrencyLimitBuilder {
    pub(super) algorithm: Algorithm,
    pub(super) initial: u32,
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) lease: Duration,
}

impl ConcurrencyLimitBuilder {
    /// How the limit follows what the calls show.
    pub const fn algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// What the limit is before anything is known.
    pub const fn initial(self, calls: u32) -> Self {
        Self { initial: calls, ..self }
    }

    /// What it never goes below, not in a probe either.
    pub const fn min(self, calls: u32) -> Self {
        Self { min: calls, ..self }
    }

    /// What it never goes above.
    pub const fn max(self, calls: u32) -> Self {
        Self { max: calls, ..self }
    }

    /// For how long a permit keeps its slot. It is lost after that, and its slot free again within twice the time.
    pub const fn lease(self, time: Duration) -> Self {
        Self { lease: time, ..self }
    }

    /// The limit, with nothing in flight.
    ///
    /// # Errors
    /// If `min` or `lease` is zero, or `initial` is not between `min` and `max`.
    pub fn build(self) -> Result<ConcurrencyLimit, InvalidSetting> {
        at_least_one("min", self.min)?;
        at_least(("initial", self.initial), ("min", self.min))?;
        at_least(("max", self.max), ("initial", self.initial))?;
        positive("lease", self.lease)?;
        Ok(ConcurrencyLimit::with_settings(self))
    }
}

/// Refuses a count that is less than another, by both their names.
pub(super) fn at_least(
    (setting, value): (&'static str, u32),
    (other, other_value): (&'static str, u32),
) -> Result<(), InvalidSetting> {
    if value < other_value {
        return Err(InvalidSetting::Contradiction {
            setting,
            value: Value::Count(value.into()),
            must_be: "at least",
            other,
            other_value: Value::Count(other_value.into()),
        });
    }
    Ok(())
}
