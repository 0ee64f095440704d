//! Logs: one line per event on stderr, as text or JSON.

use std::{fmt, io::IsTerminal, str::FromStr};

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a format.
    #[error("log format {0:?} is not known: use text or json")]
    Format(String),
    /// Not a filter.
    #[error(
        "log level {level:?}: {cause}; use error, warn, info, debug, trace or filters such as directway=debug,kube=warn"
    )]
    Level {
        /// As given.
        level: String,
        /// The parser's complaint.
        cause: String,
    },
    /// Logs are set up already.
    #[error("logs are set up already: {0}")]
    Twice(String),
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(TelemetryError::Format(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Filters for libraries that log failures which the agent logs better, and once: the client's failed requests, and
/// notifications that the netlink socket lost (a pass then reads the kernel by itself).
const ECHO: &str = "kube_client::client=off,netlink_proto=error";

/// Sets up logs for the process. `level` is a level or a list of filters.
pub fn init(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let filter =
        EnvFilter::try_new(format!("{ECHO},{level}")).map_err(|error| TelemetryError::Level {
            level: level.to_owned(),
            cause: error.to_string(),
        })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| TelemetryError::Twice(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_named_with_the_choices() {
        let error = "yaml".parse::<LogFormat>().unwrap_err().to_string();
        assert!(
            error.contains("yaml") && error.contains("text or json"),
            "{error}"
        );
        let error = init(LogFormat::Text, "directway=loud")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("directway=loud") && error.contains("debug"),
            "{error}"
        );
    }
}
