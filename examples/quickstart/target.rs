//! What the calls are aimed at, and what was seen of them there.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use reqwest::{StatusCode, Url};
use steadfast_tests::faulty_server::{self, FaultyServer};
use steadfast_tests::peak::PeakPerSecond;

use crate::settings::{SERVER_RATE, Settings};

/// Where the calls of one side go.
#[derive(Debug)]
pub(crate) enum Target {
    /// A server of our own, for this side alone, which can be asked what it saw.
    Local(FaultyServer),
    /// A server of the user's, which cannot: what the client sees has to do.
    Remote { url: Url, seen: Mutex<SeenByClient> },
}

/// What was seen of one side's requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sightings {
    pub(crate) peak_per_second: usize,
    pub(crate) rejected: u64,
    /// Only a server knows these.
    pub(crate) early_retries: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct SeenByClient {
    sent: PeakPerSecond,
    rejected: u64,
}

impl Target {
    pub(crate) fn start(settings: &Settings) -> io::Result<Self> {
        Ok(match &settings.url {
            Some(url) => Self::Remote { url: url.clone(), seen: Mutex::default() },
            None => Self::Local(FaultyServer::start(faulty_server::Settings {
                seed: settings.seed,
                requests_per_second: SERVER_RATE,
                ..faulty_server::Settings::default()
            })?),
        })
    }

    /// What call number `index` asks for.
    pub(crate) fn url(&self, index: u32) -> String {
        match self {
            Self::Local(server) => format!("{}/items/{index}", server.url()),
            Self::Remote { url, .. } => url.to_string(),
        }
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        match self {
            Self::Local(server) => server.url(),
            Self::Remote { url, .. } => url.origin().ascii_serialization(),
        }
    }

    /// Whether `body` is all that was asked for.
    pub(crate) fn check(&self, body: &[u8]) -> Result<(), String> {
        match self {
            Self::Local(_) => serde_json::from_slice::<serde_json::Value>(body)
                .map(drop)
                .map_err(|error| format!("the body is not JSON: {error}")),
            Self::Remote { .. } => Ok(()),
        }
    }

    /// To be called whenever an attempt is sent.
    pub(crate) fn attempt_sent(&self) {
        if let Self::Remote { seen, .. } = self {
            open(seen).sent.record(Instant::now());
        }
    }

    /// To be called whenever an attempt is answered.
    pub(crate) fn attempt_answered(&self, status: StatusCode) {
        if let Self::Remote { seen, .. } = self {
            open(seen).rejected += u64::from(status == StatusCode::TOO_MANY_REQUESTS);
        }
    }

    pub(crate) fn sightings(&self) -> Sightings {
        match self {
            Self::Local(server) => {
                let report = server.report();
                Sightings {
                    peak_per_second: report.peak_per_second,
                    rejected: report.rejected,
                    early_retries: Some(report.early_retries),
                }
            }
            Self::Remote { seen, .. } => {
                let seen = open(seen);
                Sightings { peak_per_second: seen.sent.peak(), rejected: seen.rejected, early_retries: None }
            }
        }
    }
}

fn open(seen: &Mutex<SeenByClient>) -> MutexGuard<'_, SeenByClient> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
