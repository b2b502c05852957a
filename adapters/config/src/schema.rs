//! What cannot be derived, because it is read by hand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::circuit_breaker::WindowConfig;
use crate::or_none::OrNone;
use crate::rate::{Rate, RateLimitConfig, Table};
use crate::retry::JitterConfig;
use crate::time::Time;

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A span of time, as in \"250ms\" or \"1m30s\".",
            "pattern": Self::PATTERN,
        })
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "How many per what time, and how many at once, as in \"100/s\" or \"90000/min burst 2000\".",
            "pattern": Self::PATTERN,
        })
    }
}

impl JsonSchema for JitterConfig {
    fn schema_name() -> Cow<'static, str> {
        "Jitter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::PATTERN })
    }
}

impl JsonSchema for WindowConfig {
    fn schema_name() -> Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let time = generator.subschema_for::<Time>();
        json_schema!({ "anyOf": [time, { "type": "string", "pattern": Self::CALLS_PATTERN }] })
    }
}

impl JsonSchema for RateLimitConfig {
    fn schema_name() -> Cow<'static, str> {
        "RateLimit".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (alone, table) = (generator.subschema_for::<Rate>(), generator.subschema_for::<Table>());
        json_schema!({ "anyOf": [alone, table] })
    }
}

impl<T: JsonSchema> JsonSchema for OrNone<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OrNone_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "const": "none" }, value] })
    }
}
