//! How calls get at the policies that they share.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};

use steadfast_core::pipeline::Pipeline;
use steadfast_core::share::Share;

use crate::line::Line;
use crate::lock;
use crate::sync::{Arc, Mutex};

#[derive(Debug)]
pub(crate) struct Policies<const K: usize> {
    pub(super) pipeline: Mutex<Pipeline<Line<K>>>,
    /// Drawn once for each pipeline, so that no two processes draw the same jitter.
    pub(super) seed: u64,
    /// How many calls have drawn from it.
    pub(super) sessions: AtomicUsize,
}

/// The policies as calls see them: with the limits that all share, or with others in their place.
#[derive(Debug)]
pub(crate) struct Lent<const K: usize> {
    pub(crate) policies: Arc<Policies<K>>,
    pub(super) own: Option<Arc<Mutex<Line<K>>>>,
}

impl<const K: usize> Clone for Lent<K> {
    fn clone(&self) -> Self {
        Self { policies: Arc::clone(&self.policies), own: self.own.clone() }
    }
}

impl<const K: usize> Policies<K> {
    /// A generator of its own for each session. Their seeds lie apart by the golden ratio, as those of `SplitMix64` do (Steele,
    /// Lea and Flood, 2014): what is drawn from neighbours has nothing in common.
    pub(crate) fn session(&self) -> fastrand::Rng {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed) as u64;
        fastrand::Rng::with_seed(self.seed.wrapping_add(session.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}

impl<const K: usize> Share for Lent<K> {
    type State = Pipeline<Line<K>>;

    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut Pipeline<Line<K>>) -> R) -> R {
        let mut pipeline = lock(&self.policies.pipeline);
        match &self.own {
            None => f(&mut pipeline),
            // Always after the pipeline's lock, so that no two wait for each other.
            Some(own) => f(Exchanged::new(&mut pipeline, &mut lock(own)).pipeline),
        }
    }
}

/// A pipeline with other limits than its own, until this is dropped.
struct Exchanged<'a, const K: usize> {
    pipeline: &'a mut Pipeline<Line<K>>,
    line: &'a mut Line<K>,
}

impl<'a, const K: usize> Exchanged<'a, K> {
    fn new(pipeline: &'a mut Pipeline<Line<K>>, line: &'a mut Line<K>) -> Self {
        mem::swap(pipeline.limits_mut(), line);
        Self { pipeline, line }
    }
}

/// Also where somebody has panicked who changed the policies.
impl<const K: usize> Drop for Exchanged<'_, K> {
    fn drop(&mut self) {
        mem::swap(self.pipeline.limits_mut(), self.line);
    }
}
