use crate::time::Instant;

use super::after;

/// How many probes there can be at once.
pub(super) const MOST_PROBES: u32 = 8;

/// The probes that are out: how long each may be, and by which number its answer is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probes {
    /// When each one's lease ends; [`FREE`] where there is none.
    expires: [Instant; MOST_PROBES as usize],
    serials: [u32; MOST_PROBES as usize],
}

/// A lease that has always ended. No real one ends here, since it is not empty.
const FREE: Instant = Instant::EPOCH;

impl Probes {
    pub(super) const NONE: Self = Self { expires: [FREE; MOST_PROBES as usize], serials: [0; MOST_PROBES as usize] };

    /// When the next place comes back, if none of the first `limit` is free at `now`.
    ///
    /// If the limit was lowered, there may be probes beyond it: then nobody joins them before all are back.
    pub(super) fn all_out_until(&self, now: Instant, limit: u8) -> Option<Instant> {
        let (allowed, beyond) = self.expires.split_at(usize::from(limit).min(self.expires.len()));
        let next =
            if beyond.iter().any(|expires| *expires > now) { self.expires.iter().max() } else { allowed.iter().min() };
        next.copied().filter(|next| *next > now)
    }

    /// Gives the place whose lease ended first, or that was never taken, to the probe of this number.
    pub(super) fn give_out(&mut self, now: Instant, lease: u64, limit: u8, serial: u32) {
        let places = self.expires.iter_mut().zip(&mut self.serials).take(usize::from(limit));
        if let Some(place) = places.min_by_key(|(expires, _)| **expires) {
            *place.0 = after(now, lease);
            *place.1 = serial;
        }
    }

    /// Frees the place of the probe of this number; false if it has none, or none any more.
    pub(super) fn take_back(&mut self, serial: u32) -> bool {
        let mut places = self.expires.iter_mut().zip(&self.serials);
        match places.find(|(expires, of)| **of == serial && **expires != FREE) {
            Some((expires, _)) => {
                *expires = FREE;
                true
            }
            None => false,
        }
    }

    /// How many are out and not lost.
    pub(super) fn out(&self, now: Instant) -> u32 {
        self.expires.iter().map(|expires| u32::from(*expires > now)).sum()
    }
}
