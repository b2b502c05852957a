//! The schema says of a file what reading it would.

use schemars::schema_for;
use serde_json::Value;
use steadfast_config::{PipelineConfig, Rate, Time};

#[test]
fn the_schema_has_the_patterns_refuses_unknown_fields_and_describes_each() {
    let schema = serde_json::to_value(schema_for!(PipelineConfig)).unwrap();
    assert_eq!(schema["$defs"]["Time"]["pattern"], Time::PATTERN);
    assert_eq!(schema["$defs"]["Rate"]["pattern"], Rate::PATTERN);
    // Every table refuses what it does not know, and every field says what it is.
    let mut tables = 0;
    walk(&schema, &mut |value| {
        if let Some(fields) = value.get("properties").and_then(Value::as_object) {
            tables += 1;
            assert_eq!(value["additionalProperties"], false, "{value}");
            for (name, field) in fields {
                if fields.len() == 1 && value.get("description").is_some() {
                    continue; // The name of a variant, which is described as a whole.
                }
                assert!(field.get("description").is_some() || field.get("$ref").is_some(), "{name} in {value}");
            }
        }
    });
    assert!(tables > 10, "{tables}");
}

/// Each of the fields that a written file has is in the schema, where it is.
#[test]
fn what_standard_is_written_as_is_in_the_schema() {
    let schema = serde_json::to_value(schema_for!(PipelineConfig)).unwrap();
    let written = serde_json::to_value(PipelineConfig::standard()).unwrap();
    let preset = serde_json::json!({
        "preset": { "llm_api": { "requests": "1/s", "tokens": "2/s burst 3" } },
        "rate_limits": ["1/s", { "rate": "1/s", "counts": "calls" }],
        "concurrency_limit": { "algorithm": "vegas", "lease": "2m" },
        "circuit_breaker": { "window": "100 calls", "failure_rate": "none" },
        "budget": "unlimited",
    });
    assert!(is_allowed(&schema, &schema, &written), "{written}");
    assert!(is_allowed(&schema, &schema, &preset), "{preset}");
    for wrong in [
        serde_json::json!({ "deadline": "30" }),
        serde_json::json!({ "deadline": 30 }),
        serde_json::json!({ "dead_line": "30s" }),
        serde_json::json!({ "retry": { "backoff": { "jitter": "101%" } } }),
        serde_json::json!({ "rate_limits": ["1/fortnight"] }),
        serde_json::json!({ "circuit_breaker": { "window": "100 cals" } }),
        serde_json::json!({ "budget": "ratoi" }),
        serde_json::json!({ "preset": { "llm_api": { "requests": "1/s" } } }),
    ] {
        assert!(!is_allowed(&schema, &schema, &wrong), "{wrong}");
    }
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(fields) => fields.values().for_each(|field| walk(field, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// As much of JSON Schema's rules (2020-12) as the schema uses; a word that it does not know fails the test.
fn is_allowed(root: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(rules) = schema else { return schema.as_bool().expect("a schema") };
    rules.iter().all(|(rule, of)| match &**rule {
        "$schema" | "$defs" | "title" | "description" | "format" => true,
        "$ref" => {
            let name = of.as_str().and_then(|path| path.strip_prefix("#/$defs/")).expect("a definition");
            is_allowed(root, &root["$defs"][name], value)
        }
        "anyOf" => of.as_array().expect("schemas").iter().any(|one| is_allowed(root, one, value)),
        "oneOf" => of.as_array().expect("schemas").iter().filter(|one| is_allowed(root, one, value)).count() == 1,
        "const" => of == value,
        "enum" => of.as_array().expect("values").contains(value),
        "pattern" => {
            let pattern = regex::Regex::new(of.as_str().expect("a pattern")).expect("a pattern");
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "type" => match of {
            Value::Array(types) => types.iter().any(|one| is_of(one, value)),
            one => is_of(one, value),
        },
        "minimum" => value.as_i64().is_none_or(|number| number >= of.as_i64().expect("a number")),
        "maximum" => value.as_i64().is_none_or(|number| number <= of.as_i64().expect("a number")),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| is_allowed(root, of, item))),
        "required" => value.as_object().is_none_or(|fields| {
            of.as_array().expect("names").iter().all(|name| fields.contains_key(name.as_str().expect("a name")))
        }),
        "properties" => value.as_object().is_none_or(|fields| {
            fields.iter().all(|(name, field)| of.get(name).is_none_or(|schema| is_allowed(root, schema, field)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|fields| {
            let known = |name: &String| rules.get("properties").is_some_and(|known| known.get(name).is_some());
            fields.iter().all(|(name, field)| known(name) || is_allowed(root, of, field))
        }),
        other => panic!("{other} is not known here"),
    })
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type") {
        "string" => value.is_string(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is not known here"),
    }
}

#[cfg(feature = "client")]
#[test]
fn the_schema_of_a_client_allows_what_can_be_read_and_no_secret() {
    use steadfast_config::ClientConfig;

    let schema = serde_json::to_value(schema_for!(ClientConfig)).unwrap();
    let base = "base_url = \"https://a.example/v1\"\n";
    for (text, is_right) in [
        ("auth.bearer = { env = \"API_TOKEN\" }\nheaders = { a = \"b\", c = { env = \"D\" } }", true),
        (
            "auth.oauth2 = { token_url = \"https://b.example\", client_id = \"c\", client_secret = { env = \"D\" } }",
            true,
        ),
        ("redirects = { follow = \"any_origin\" }\nread_timeout = \"5s\"\nmax_body = 9", true),
        (
            "pipeline.preset.llm_api = { requests = \"1/s\", tokens = \"2/s\" }\nendpoints.search.deadline = \"none\"",
            true,
        ),
        ("auth.bearer = \"s3cret\"", false),
        ("auth.basic = { user = \"ann\", password = \"s3cret\" }", false),
        ("auth.bearer = { env = \"API_TOKEN\", value = \"s3cret\" }", false),
        ("timeout = \"5s\"", false),
        ("read_timeout = 5", false),
        ("endpoints.search.deadline = \"never\"", false),
    ] {
        let value = serde_json::to_value(toml::from_str::<toml::Value>(&format!("{base}{text}")).unwrap()).unwrap();
        assert_eq!(is_allowed(&schema, &schema, &value), is_right, "{text}");
        assert_eq!(serde_json::from_value::<ClientConfig>(value).is_ok(), is_right, "{text}");
    }
    for url in ["https://ann:s3cret@a.example", "https://a.example?key=s3cret", "a.example"] {
        assert!(!is_allowed(&schema, &schema, &serde_json::json!({ "base_url": url })), "{url}");
    }
}
