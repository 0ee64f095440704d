//! `directway crd`: the kinds, as YAML for `kubectl apply -f -`.

use std::process::ExitCode;

use crate::api::crds_yaml;

use super::{CommandResult, Failure, output};

/// Options of `crd`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  directway crd | kubectl apply --server-side -f -")]
pub struct Args {}

pub(super) fn run(Args {}: &Args) -> CommandResult {
    let yaml = crds_yaml().map_err(|error| Failure::Failed(error.to_string()))?;
    output::print(&yaml)?;
    Ok(ExitCode::SUCCESS)
}
