use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use steadfast_client::{AnyPipeline, ApiClient, ApiClientBuilder, NotReconfigured};
use steadfast_core::event::Observer;
use steadfast_core::pipeline::Pipeline;
use steadfast_core::time::Timer;

use crate::error::ConfigError;
use crate::pipeline::{PipelineConfig, path_of};
use crate::time::Time;

mod auth;
mod fields;

pub use auth::{AuthConfig, HeaderConfig, Secret};
pub use fields::{BaseUrl, FollowConfig, IdempotencyKeysConfig, KeyFormConfig, RedirectsConfig};

/// A client of one HTTP API: see [`ApiClient::builder`] for the defaults of what is left out.
///
/// ```toml
/// base_url = "https://api.example.com/v1"
/// auth.bearer = { env = "API_TOKEN" }
/// headers = { x-tenant = "blue", x-signing-key = { env = "SIGNING_KEY" } }
///
/// [pipeline]
/// rate_limits = ["100/s burst 10"]
///
/// [endpoints.search]
/// rate_limits = ["30/min"]
/// ```
///
/// No secret is in it: a secret is the name of a variable of the environment, which is read when the client is built.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// The URL that paths are relative to.
    pub base_url: BaseUrl,
    /// How the client says who it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "auth::unrepeated")]
    pub auth: Option<AuthConfig>,
    /// Header fields that every request carries unless it sets its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "auth::headers")]
    pub headers: BTreeMap<String, HeaderConfig>,
    /// Who is calling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Which redirects are followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirects: Option<RedirectsConfig>,
    /// How keys are minted for calls whose method is not idempotent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_keys: Option<IdempotencyKeysConfig>,
    /// The header field in which each call has a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_ids: Option<String>,
    /// The header field in which each attempt has its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_counts: Option<String>,
    /// How many bytes of a response's body are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<usize>,
    /// How many bytes are kept of a request's body that is a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replay: Option<usize>,
    /// For how long nothing may come of a response's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_timeout: Option<Time>,
    /// How long calls wait at most for the reset of a limit that the server says is spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_hold: Option<Time>,
    /// What jitter is drawn from, so that a run can be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The policies that every call goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelineConfig>,
    /// The policies of all paths that begin with one of these, instead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, PipelineConfig>,
}

impl ClientConfig {
    /// Sets up a client that was begun with [`base_url`](Self::base_url), with secrets from the environment of the process.
    ///
    /// # Errors
    /// If a pipeline cannot be built, a variable is not in the environment, or a value can be no header field's; with the
    /// path of the field.
    pub fn apply<T, C: Timer, O: Observer>(
        &self,
        builder: ApiClientBuilder<T, C, O>,
    ) -> Result<ApiClientBuilder<T, C, O>, ConfigError> {
        self.apply_with(builder, |variable| std::env::var(variable).ok())
    }

    /// The same, with secrets from somewhere else: `secret` returns what is known under a name.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_with<T, C: Timer, O: Observer>(
        &self,
        mut builder: ApiClientBuilder<T, C, O>,
        secret: impl Fn(&str) -> Option<String>,
    ) -> Result<ApiClientBuilder<T, C, O>, ConfigError> {
        let (others, endpoints) = self.pipelines()?;
        builder = builder.pipeline(others);
        for (path, pipeline) in endpoints {
            builder = builder.endpoint(&path, pipeline);
        }
        if let Some(auth) = &self.auth {
            builder = builder.auth(auth.build(&secret).map_err(|error| error.within("auth"))?);
        }
        for (name, value) in &self.headers {
            builder = value.apply(builder, name, &secret).map_err(|error| error.within(name).within("headers"))?;
        }
        self.apply_fields(builder)
    }

    /// What needs neither a pipeline nor a secret.
    fn apply_fields<T, C: Timer, O: Observer>(
        &self,
        mut builder: ApiClientBuilder<T, C, O>,
    ) -> Result<ApiClientBuilder<T, C, O>, ConfigError> {
        if let Some(name) = &self.user_agent {
            builder = builder.user_agent(name);
        }
        if let Some(redirects) = &self.redirects {
            builder = builder.redirects(redirects.build());
        }
        if let Some(keys) = &self.idempotency_keys {
            builder = builder.idempotency_keys(keys.build().map_err(|error| error.within("idempotency_keys"))?);
        }
        if let Some(field) = &self.request_ids {
            builder = builder.request_ids(field);
        }
        if let Some(field) = &self.attempt_counts {
            builder = builder.attempt_counts(field);
        }
        if let Some(bytes) = self.max_body {
            builder = builder.max_body(bytes);
        }
        if let Some(bytes) = self.max_replay {
            builder = builder.max_replay(bytes);
        }
        if let Some(time) = self.read_timeout {
            builder = builder.read_timeout(time.get());
        }
        if let Some(time) = self.longest_hold {
            builder = builder.longest_hold(time.get());
        }
        if let Some(seed) = self.seed {
            builder = builder.seed(seed);
        }
        Ok(builder)
    }

    /// Has a client that runs by this configuration run by the next, and becomes that: all of it, or with an error nothing of
    /// it.
    ///
    /// The settings of pipelines change, as far as [`Pipeline::reconfigure`] has it: debts stay, those who wait keep their
    /// order and go by the new settings at once, and what runs keeps its timeout and its deadline. All else is the same as
    /// long as the client lives, and refused by its name if it is not. Secrets are not read again.
    ///
    /// # Errors
    /// With the path of a field that makes no sense, or cannot be changed.
    pub fn reload<T, C: Timer, O: Observer>(
        &mut self,
        client: &ApiClient<T, C, O>,
        next: Self,
    ) -> Result<(), ConfigError> {
        if let Some(field) = self.first_that_differs(&next) {
            return Err(ConfigError::new(field, "it cannot be changed while the client lives: build another"));
        }
        let (others, endpoints) = next.pipelines()?;
        client.reconfigure(&others, &endpoints).map_err(|refused| match refused {
            NotReconfigured::Setting { path: None, source } => {
                ConfigError::at(path_of(&source), source).within("pipeline")
            }
            NotReconfigured::Setting { path: Some(path), source } => {
                ConfigError::at(path_of(&source), source).within(&path).within("endpoints")
            }
            NotReconfigured::Endpoint { path, reason } => ConfigError::new(path, reason).within("endpoints"),
            other => ConfigError::new("", other.to_string()),
        })?;
        *self = next;
        Ok(())
    }

    /// The first field that differs and is none of a pipeline's.
    fn first_that_differs(&self, next: &Self) -> Option<&'static str> {
        let fields = [
            ("base_url", self.base_url == next.base_url),
            ("auth", self.auth == next.auth),
            ("headers", self.headers == next.headers),
            ("user_agent", self.user_agent == next.user_agent),
            ("redirects", self.redirects == next.redirects),
            ("idempotency_keys", self.idempotency_keys == next.idempotency_keys),
            ("request_ids", self.request_ids == next.request_ids),
            ("attempt_counts", self.attempt_counts == next.attempt_counts),
            ("max_body", self.max_body == next.max_body),
            ("max_replay", self.max_replay == next.max_replay),
            ("read_timeout", self.read_timeout == next.read_timeout),
            ("longest_hold", self.longest_hold == next.longest_hold),
            ("seed", self.seed == next.seed),
        ];
        fields.into_iter().find(|(_, is_same)| !is_same).map(|(field, _)| field)
    }

    fn pipelines(&self) -> Result<(AnyPipeline, Vec<(String, AnyPipeline)>), ConfigError> {
        let others = match &self.pipeline {
            Some(config) => any(config).map_err(|error| error.within("pipeline"))?,
            None => Pipeline::standard().into(),
        };
        let endpoint = |(path, config): (&String, &PipelineConfig)| match any(config) {
            Ok(pipeline) => Ok((path.clone(), pipeline)),
            Err(error) => Err(error.within(path).within("endpoints")),
        };
        Ok((others, self.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?))
    }
}

/// A pipeline with as many rate limits as it says.
fn any(config: &PipelineConfig) -> Result<AnyPipeline, ConfigError> {
    Ok(match config.rate_limits() {
        0 | 1 => config.build::<1>()?.into(),
        2 => config.build::<2>()?.into(),
        3 => config.build::<3>()?.into(),
        4 => config.build::<4>()?.into(),
        more => {
            return Err(ConfigError::new("rate_limits", format!("there are {more}, and a client keeps to 4 at most")));
        }
    })
}

/// What the client says of a value, with the field of which it is.
pub(crate) fn refused(field: &str, error: &dyn fmt::Display) -> ConfigError {
    ConfigError::new(field, error.to_string())
}
