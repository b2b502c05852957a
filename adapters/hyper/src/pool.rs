use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;

use crate::connection::Connection;

/// Where a connection leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Origin {
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// The origin of an absolute URI with a scheme that we speak.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        // As the resolver wants it: an address of IPv6 without its brackets.
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { secure, host, port })
    }
}

/// Connections that are open and that nobody uses, oldest first.
///
/// No task watches over them. Whoever comes by clears away what is too old, and looks whether the one he takes is still
/// open. So a transport that nobody uses keeps its sockets until it is used or dropped: never more than `max_idle`.
#[derive(Clone)]
pub(crate) struct Pool {
    pub(crate) max_idle: usize,
    pub(crate) idle_timeout: Duration,
    idle: Arc<Mutex<Vec<Idle>>>,
}

struct Idle {
    origin: Origin,
    since: Instant,
    connection: Connection,
}

impl Pool {
    pub(crate) fn new(max_idle: usize, idle_timeout: Duration) -> Self {
        Self { max_idle, idle_timeout, idle: Arc::default() }
    }

    /// The connection that was used last, which the server is the least likely to have closed meanwhile.
    pub(crate) fn take(&self, origin: &Origin) -> Option<Connection> {
        self.clear(self.max_idle);
        loop {
            let mut connection = {
                let mut idle = self.lock();
                let index = idle.iter().rposition(|idle| idle.origin == *origin)?;
                idle.remove(index).connection
            };
            if connection.is_idle() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next who needs it, unless it can take no request.
    pub(crate) fn put(&self, origin: Origin, mut connection: Connection) {
        if connection.is_idle() {
            self.clear(self.max_idle.saturating_sub(1));
            let mut idle = self.lock();
            if idle.len() < self.max_idle {
                idle.push(Idle { origin, since: Instant::now(), connection });
            }
        }
    }

    /// Closes what has been idle for too long, and the oldest of what is more than `keep`.
    fn clear(&self, keep: usize) {
        let closed = {
            let mut idle = self.lock();
            let too_old = idle.iter().take_while(|idle| idle.since.elapsed() >= self.idle_timeout).count();
            let too_many = idle.len().saturating_sub(keep);
            let kept = idle.split_off(too_old.max(too_many));
            mem::replace(&mut *idle, kept)
        };
        // Sockets are closed here, when nobody waits for the lock.
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_idle, idle_timeout, idle: _ } = self;
        f.debug_struct("Pool")
            .field("max_idle", max_idle)
            .field("idle_timeout", idle_timeout)
            .field("idle", &self.lock().len())
            .finish()
    }
}
