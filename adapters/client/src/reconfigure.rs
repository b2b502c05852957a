use std::fmt;

use steadfast_core::event::Observer;
use steadfast_core::settings::InvalidSetting;
use steadfast_core::time::Timer;

use crate::any_pipeline::AnyPipeline;
use crate::client::ApiClient;

impl<T, C: Timer, O: Observer> ApiClient<T, C, O> {
    /// Goes over to the settings of other pipelines while calls go through the client: those of all of them, or with an error
    /// of none.
    ///
    /// `others` is what [`ApiClientBuilder::pipeline`](crate::ApiClientBuilder::pipeline) was given, and `endpoints` has a
    /// pipeline for each [endpoint](crate::ApiClientBuilder::endpoint), in any order. Debts stay, those who wait keep their
    /// order and go by the new settings at once, and what runs keeps its timeout and its deadline. See
    /// [`Pipeline::reconfigure`](steadfast_core::pipeline::Pipeline::reconfigure) for what can be changed.
    ///
    /// # Errors
    /// With a setting that cannot be changed, or an endpoint that is not among them or that the client does not have.
    pub fn reconfigure(
        &self,
        others: &AnyPipeline,
        endpoints: &[(String, AnyPipeline)],
    ) -> Result<(), NotReconfigured> {
        self.endpoints().reconfigure(self.base(), others, endpoints)
    }
}

/// Why a client keeps its settings, all of them.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NotReconfigured {
    /// A setting cannot be changed.
    Setting {
        /// The path of the endpoint whose pipeline it belongs to; `None` for the client's own.
        path: Option<String>,
        /// Which, and why not.
        source: InvalidSetting,
    },
    /// Endpoints can neither come nor go.
    Endpoint {
        /// The path of the one that would have to.
        path: String,
        /// What is wrong with it, to be read after a colon.
        reason: &'static str,
    },
}

impl fmt::Display for NotReconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { path: None, source } => source.fmt(f),
            Self::Setting { path: Some(path), source } => write!(f, "endpoint {path}: {source}"),
            Self::Endpoint { path, reason } => write!(f, "endpoint {path}: {reason}"),
        }
    }
}

impl std::error::Error for NotReconfigured {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Setting { source, .. } => Some(source),
            Self::Endpoint { .. } => None,
        }
    }
}
