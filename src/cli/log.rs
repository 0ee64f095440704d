//! Options of the log, shared by the agent and the controller.

use crate::telemetry::{LogFormat, init};

use super::Failure;

/// How to log.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// error, warn, info, debug, trace, or filters such as directway=debug,kube=warn
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
    /// text for people, json for collectors; both on standard error
    #[arg(long, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

impl LogArgs {
    /// Sets up the process's logs.
    pub(super) fn init(&self) -> Result<(), Failure> {
        init(self.log_format, &self.log_level).map_err(|error| Failure::Usage(error.to_string()))
    }
}
