use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use steadfast_client::{ApiClientBuilder, Auth, ClientCredentials};
use steadfast_core::event::Observer;
use steadfast_core::time::Timer;

use super::refused;
use crate::error::ConfigError;

/// Where a secret is: in the variable of the environment that has this name. The secret itself is in no configuration.
///
/// ```toml
/// token = { env = "API_TOKEN" }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct Secret {
    /// The name of the variable.
    pub env: String,
}

/// How a client says who it is: see [`Auth`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthConfig {
    /// A bearer token.
    Bearer(Secret),
    /// A user and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A key in a header field.
    ApiKey {
        /// The field's name.
        field: String,
        /// The key.
        key: Secret,
    },
    /// A key in the query.
    ApiKeyInQuery {
        /// Under which name.
        name: String,
        /// The key.
        key: Secret,
    },
    /// OAuth 2.0 client credentials.
    #[serde(rename = "oauth2")]
    OAuth2 {
        /// Where tokens are fetched.
        #[serde(deserialize_with = "token_url")]
        #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[^@]*$")))]
        token_url: String,
        /// Who fetches them.
        client_id: String,
        /// With what.
        client_secret: Secret,
        /// For what.
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
    },
}

/// What a header field holds: a text, or the secret of a variable of the environment.
#[derive(Clone, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum HeaderConfig {
    /// For everybody to read.
    Plain(String),
    /// For nobody to read.
    Secret(Secret),
}

/// Fields that hold secrets wherever they are.
const SECRET: [&str; 7] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "x-access-token"];

/// What is said of a secret that was written down. The secret is not repeated.
const WRITTEN_DOWN: &str = "a secret is not written here, but in the environment: { env = \"NAME\" }";

impl Secret {
    fn look_up(&self, secret: &impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
        secret(&self.env).ok_or_else(|| ConfigError::new("", format!("the environment has no variable {}", self.env)))
    }
}

impl AuthConfig {
    pub(super) fn build(&self, secret: &impl Fn(&str) -> Option<String>) -> Result<Auth, ConfigError> {
        let at = |path: &'static str| move |error: ConfigError| error.within(path);
        match self {
            Self::Bearer(token) => {
                let token = token.look_up(secret).map_err(at("bearer"))?;
                Auth::bearer(&token).map_err(|error| refused("bearer", &error))
            }
            Self::Basic { user, password } => {
                let password = password.look_up(secret).map_err(at("basic.password"))?;
                Auth::basic(user, &password).map_err(|error| refused("basic", &error))
            }
            Self::ApiKey { field, key } => {
                let key = key.look_up(secret).map_err(at("api_key.key"))?;
                Auth::api_key(field, &key).map_err(|error| refused("api_key", &error))
            }
            Self::ApiKeyInQuery { name, key } => {
                let key = key.look_up(secret).map_err(at("api_key_in_query.key"))?;
                Ok(Auth::api_key_in_query(name.clone(), key))
            }
            Self::OAuth2 { token_url, client_id, client_secret, scope } => {
                let client_secret = client_secret.look_up(secret).map_err(at("oauth2.client_secret"))?;
                let credentials = ClientCredentials::new(token_url, client_id, client_secret)
                    .map_err(|error| refused("oauth2", &error))?;
                Ok(Auth::oauth2(match scope {
                    Some(scope) => credentials.scope(scope.clone()),
                    None => credentials,
                }))
            }
        }
    }
}

impl HeaderConfig {
    pub(super) fn apply<T, C: Timer, O: Observer>(
        &self,
        builder: ApiClientBuilder<T, C, O>,
        name: &str,
        secret: &impl Fn(&str) -> Option<String>,
    ) -> Result<ApiClientBuilder<T, C, O>, ConfigError> {
        Ok(match self {
            Self::Plain(value) => builder.header(name, value),
            Self::Secret(variable) => builder.secret_header(name, &variable.look_up(secret)?),
        })
    }
}

/// Shows no value: somebody may have written a secret there.
impl fmt::Debug for HeaderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(…)"),
            Self::Secret(secret) => secret.fmt(f),
        }
    }
}

/// The fields, of which those that hold a secret by their name must not be written down.
pub(super) fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, HeaderConfig>, D::Error> {
    let headers: BTreeMap<String, HeaderConfig> = unrepeated(from)?;
    for (name, value) in &headers {
        if matches!(value, HeaderConfig::Plain(_)) && SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            return Err(D::Error::custom(format_args!("{name}: {WRITTEN_DOWN}")));
        }
    }
    Ok(headers)
}

/// By hand: an error of serde's own would repeat what was found.
/// Reads where secrets belong, and a secret may stand where its name should: what was read is left out of what is wrong with it.
pub(super) fn unrepeated<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::deserialize(from).map_err(|error| {
        let message = error.to_string();
        // Serde says what it got, and then, last, what it expected.
        match message.rsplit_once(", expected ") {
            Some((_, expected)) => D::Error::custom(format_args!("what is here may be a secret: expected {expected}")),
            None => error,
        }
    })
}

/// Reads the URL of a token server: without a password, as that would be shown.
fn token_url<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let url = String::deserialize(from)?;
    if url.contains('@') { Err(D::Error::custom("a URL with a user or a password")) } else { Ok(url) }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InTheEnvironment;
        impl<'de> Visitor<'de> for InTheEnvironment {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a variable: { env = \"NAME\" }")
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Secret, E> {
                Err(E::custom(WRITTEN_DOWN))
            }

            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Secret, E> {
                Err(E::custom(WRITTEN_DOWN))
            }

            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Secret, E> {
                Err(E::custom(WRITTEN_DOWN))
            }

            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::custom(WRITTEN_DOWN))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Table {
                    env: String,
                }
                let Table { env } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Secret { env })
            }
        }
        from.deserialize_any(InTheEnvironment)
    }
}

impl<'de> Deserialize<'de> for HeaderConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = HeaderConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or the name of a variable: { env = \"NAME\" }")
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<HeaderConfig, E> {
                Ok(HeaderConfig::Plain(value.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HeaderConfig, A::Error> {
                Secret::deserialize(MapAccessDeserializer::new(map)).map(HeaderConfig::Secret)
            }
        }
        from.deserialize_any(Either)
    }
}
