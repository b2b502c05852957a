use std::fmt;

use steadfast_core::outcome::Classified;
use steadfast_core::pipeline::CallOptions;
use steadfast_core::rejected::Rejected;

/// What requests of a service are, and what its answers mean.
///
/// [`Http`](crate::Http) is one for `http::Request`, and [`protocol`] makes one of closures.
pub trait Protocol<Request, Response, Error> {
    /// What is said of an answer: an [`Outcome`](steadfast_core::outcome::Outcome), alone or with what the server told of its
    /// limits.
    type Classified: Classified;

    /// What is said about a call, and above all whether its request may be made twice.
    fn options(&self, request: &Request) -> CallOptions;

    /// The same request once more; `None` if there is only the one. Then it is sent once, whatever comes of it: what cannot be sent
    /// again is never sent in part, or empty.
    ///
    /// It is asked before the request leaves, for each attempt.
    fn repeat(&self, request: &Request) -> Option<Request>;

    /// How an attempt ended that was answered so.
    fn classify(&self, result: Result<&Response, &Error>) -> Self::Classified;

    /// Leaves word in a response why there was no further attempt, where it is returned although it is no success, and after how
    /// many. Does nothing unless the protocol has a place for it.
    fn note_end(&self, response: &mut Response, rejected: Rejected, attempts: u32) {
        let _ = (response, rejected, attempts);
    }
}

/// A [`Protocol`] of closures: what is said about a call, how its request is repeated, and how an attempt ended.
///
/// ```
/// use steadfast_core::outcome::Outcome;
/// use steadfast_core::pipeline::CallOptions;
/// use steadfast_tower::protocol;
///
/// let jobs = protocol(
///     |_job: &String| CallOptions::idempotent(),
///     |job: &String| Some(job.clone()),
///     |result: Result<&u32, &std::io::Error>| if result.is_ok() { Outcome::success() } else { Outcome::transient() },
/// );
/// # let _ = jobs;
/// ```
pub const fn protocol<O, R, C>(options: O, repeat: R, classify: C) -> ByClosures<O, R, C> {
    ByClosures { options, repeat, classify }
}

/// A [`Protocol`] that was made by [`protocol`].
#[derive(Clone, Copy)]
pub struct ByClosures<O, R, C> {
    options: O,
    repeat: R,
    classify: C,
}

impl<Request, Response, Error, O, R, C, V> Protocol<Request, Response, Error> for ByClosures<O, R, C>
where
    O: Fn(&Request) -> CallOptions,
    R: Fn(&Request) -> Option<Request>,
    C: Fn(Result<&Response, &Error>) -> V,
    V: Classified,
{
    type Classified = V;

    fn options(&self, request: &Request) -> CallOptions {
        (self.options)(request)
    }

    fn repeat(&self, request: &Request) -> Option<Request> {
        (self.repeat)(request)
    }

    fn classify(&self, result: Result<&Response, &Error>) -> V {
        (self.classify)(result)
    }
}

impl<O, R, C> fmt::Debug for ByClosures<O, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByClosures").finish_non_exhaustive()
    }
}
