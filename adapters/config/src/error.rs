use std::fmt;

use steadfast_core::settings::InvalidSetting;

/// What is wrong with a configuration, and where.
///
/// Printed, it is one sentence: `circuit_breaker.open_for: open_for is 0ns, which is not more than zero`. No secret is in
/// it: they are not in a configuration, and where one was written by mistake, it is not repeated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    path: String,
    reason: Reason,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Reason {
    Text(String),
    Setting(InvalidSetting),
}

impl ConfigError {
    /// The path of the field that is wrong, as in `endpoints.search.retry.max_attempts`; `.` for the whole.
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "." } else { &self.path }
    }

    /// What the policy itself says, if it could be read and makes no sense.
    pub const fn setting(&self) -> Option<&InvalidSetting> {
        match &self.reason {
            Reason::Setting(setting) => Some(setting),
            Reason::Text(_) => None,
        }
    }

    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: Reason::Text(reason.into()) }
    }

    /// What a policy says of one of its settings, whose field is the one of that name.
    pub(crate) fn of(setting: InvalidSetting) -> Self {
        Self::at(name(&setting), setting)
    }

    pub(crate) fn at(path: &str, setting: InvalidSetting) -> Self {
        Self { path: path.to_owned(), reason: Reason::Setting(setting) }
    }

    /// The same, in the field of this name.
    pub(crate) fn within(self, parent: &str) -> Self {
        let path = match &*self.path {
            "" => parent.to_owned(),
            path => format!("{parent}.{path}"),
        };
        Self { path, ..self }
    }
}

/// The setting that is to be mended, by its name in the core.
pub(crate) const fn name(setting: &InvalidSetting) -> &'static str {
    match setting {
        InvalidSetting::OutOfRange { setting, .. }
        | InvalidSetting::Contradiction { setting, .. }
        | InvalidSetting::Unchangeable { setting, .. } => setting,
        _ => "",
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path())?;
        match &self.reason {
            Reason::Text(text) => f.write_str(text),
            Reason::Setting(setting) => setting.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Text(_) => None,
            Reason::Setting(setting) => Some(setting),
        }
    }
}
