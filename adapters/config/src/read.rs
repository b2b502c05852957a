use serde::{Deserialize, Deserializer};

use crate::error::ConfigError;

/// Reads a configuration from any format that [serde](https://serde.rs) knows, and says where it is wrong.
///
/// ```
/// use steadfast_config::PipelineConfig;
///
/// let text = "[circuit_breaker]\nopen_for = 5\n";
/// let error = steadfast_config::read::<PipelineConfig, _>(toml::Deserializer::parse(text)?).unwrap_err();
/// assert_eq!(error.path(), "circuit_breaker.open_for");
/// # Ok::<(), toml::de::Error>(())
/// ```
///
/// Some formats quote the line of the text in their errors. It is left out here: a secret may have been written there by
/// mistake.
///
/// # Errors
/// If a field is unknown, missing, or not what it should be, with its path.
pub fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(from).map_err(|error| {
        let path = error.path().to_string();
        ConfigError::new(
            if path == "." { String::new() } else { path },
            without_quotes(&error.into_inner().to_string()),
        )
    })
}

/// What a format says, in one line and without what it quotes, which it draws behind a bar.
fn without_quotes(message: &str) -> String {
    let is_quoted = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty() && !is_quoted(line)).collect();
    lines.join(": ")
}
