use crate::time::{Instant, part};

use super::after;

/// All of the calls, in parts of 2³².
const ALL: u64 = 1 << 32;

/// The growing share of calls that is admitted after an outage.
///
/// The share is the part of the ramp that has passed. No dice are needed to keep to it: each call that comes adds the
/// share of its moment to a credit, and whoever brings it to one whole call is admitted and takes that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    since: Instant,
    /// In parts of [`ALL`], always less.
    credit: u32,
}

impl Ramp {
    /// The first call is admitted at once, so that who calls rarely need not wait for nothing.
    pub(super) const fn begin(now: Instant) -> Self {
        Self { since: now, credit: u32::MAX }
    }

    /// When it ends, if it takes so many nanoseconds.
    pub(super) fn end(&self, over: u64) -> Instant {
        after(self.since, over)
    }

    /// Until when a call that comes at `now` is refused, if it is.
    ///
    /// Callers that are refused with different credits are sent to different parts of what is left of the ramp, so that
    /// they do not come back together. With a credit of c and a share of s, there is a whole call to give when
    /// (1 − s)(1 − c) more of the ramp has passed: c + s + (1 − s)(1 − c) is 1 + s × c.
    pub(super) fn refused_until(&self, now: Instant, over: u64) -> Option<Instant> {
        let end = self.end(over);
        if now >= end || u64::from(self.credit) + self.share(now, over) >= ALL {
            return None;
        }
        let begun = now.max(self.since);
        // Of the ramp, and not until its end, which may lie beyond the end of the clock.
        let left = over.saturating_sub(begun.as_nanos().saturating_sub(self.since.as_nanos()));
        let wait = part(left, ALL - u64::from(self.credit));
        // The share is rounded down, by less than this part of the ramp.
        let wait = wait.saturating_add(over >> 30).saturating_add(1);
        Some(after(begun, wait).min(end))
    }

    /// Takes note of a call that came at `now`, admitted or not.
    pub(super) fn note(&mut self, now: Instant, over: u64) {
        let credit = u64::from(self.credit) + self.share(now, over);
        #[allow(clippy::cast_possible_truncation)] // A whole call is taken off: what is left is what is cut to.
        let left = credit as u32;
        self.credit = left;
    }

    /// The share of calls that are admitted at `now`. Never nothing, or the first would not be.
    fn share(&self, now: Instant, over: u64) -> u64 {
        let elapsed = now.as_nanos().saturating_sub(self.since.as_nanos());
        // In units of so many nanoseconds that the ramp has at most 2³² of them: a division of 64 bits does then, which
        // is what small processors can do.
        let units = 32_u32.saturating_sub(over.leading_zeros());
        let elapsed = elapsed.min(over) >> units;
        ((elapsed << 32) / (over >> units).max(1)).clamp(1, ALL)
    }
}
