use std::time::Duration;

/// Where a response came from, in a client with a [`Cache`](super::Cache).
///
/// The words are those of the `Cache-Status` field (RFC 9211), and its `Age` is the one in the response's fields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CacheStatus {
    /// From the server: there is no cache, or the call went past it.
    Bypassed,
    /// From the server: nothing was kept that could be used.
    Missed,
    /// From the cache, still fresh. The server was not asked, and no limit was touched.
    Hit {
        /// How old it is.
        age: Duration,
    },
    /// From the server, with the answer to another call that was asking for the same.
    Collapsed {
        /// How old it is.
        age: Duration,
    },
    /// From the cache, after the server said that it is still the answer (304).
    Validated,
    /// From the cache, and stale.
    Stale {
        /// How old it is.
        age: Duration,
        /// Why it was answered all the same.
        why: WhyStale,
    },
}

/// Why a stale response is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WhyStale {
    /// The call takes such (`max-stale`).
    Accepted,
    /// The server allows it while somebody asks it again (`stale-while-revalidate`).
    Revalidating,
    /// The call has failed, or was not let through, and server or call allow it then (`stale-if-error`).
    Failed,
}
