use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use steadfast_client::{IdempotencyKeys, Redirects};

use super::refused;
use crate::error::ConfigError;

/// The URL that paths are relative to. It has no user, no password and no query, where secrets would be.
#[derive(Clone, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BaseUrl(
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^https?://[^@?#]+$")))]
    String,
);

impl BaseUrl {
    /// The URL, if there is nothing in it where secrets would be. Whether it is one at all, the client says.
    pub fn new(url: impl Into<String>) -> Option<Self> {
        Some(url.into()).filter(|url| !url.contains(['@', '?', '#'])).map(Self)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let url = String::deserialize(from)?;
        Self::new(url).ok_or_else(|| D::Error::custom("a URL with a user, a password, a query or a fragment"))
    }
}

/// Which redirects are followed: see [`Redirects`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RedirectsConfig {
    /// Where to.
    pub follow: FollowConfig,
    /// How many in one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u32>,
}

/// Where redirects are followed to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FollowConfig {
    /// Nowhere.
    None,
    /// To the origin of the base URL.
    SameOrigin,
    /// To any origin, without what may be secret.
    AnyOrigin,
}

/// How keys are minted: see [`IdempotencyKeys`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IdempotencyKeysConfig {
    /// In which form.
    pub form: KeyFormConfig,
    /// In which header field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// The form of an idempotency key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyFormConfig {
    /// As it is.
    Raw,
    /// In quotes.
    Quoted,
}

impl RedirectsConfig {
    pub(super) fn build(self) -> Redirects {
        let redirects = match self.follow {
            FollowConfig::None => Redirects::none(),
            FollowConfig::SameOrigin => Redirects::same_origin(),
            FollowConfig::AnyOrigin => Redirects::any_origin(),
        };
        self.at_most.map_or(redirects, |redirected| redirects.at_most(redirected))
    }
}

impl IdempotencyKeysConfig {
    pub(super) fn build(&self) -> Result<IdempotencyKeys, ConfigError> {
        let keys = match self.form {
            KeyFormConfig::Raw => IdempotencyKeys::raw(),
            KeyFormConfig::Quoted => IdempotencyKeys::quoted(),
        };
        match &self.field {
            Some(field) => keys.in_field(field).map_err(|error| refused("field", &error)),
            None => Ok(keys),
        }
    }
}
