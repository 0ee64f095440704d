//! The option `--run-dir`, and what is ours by the ledger in it.

use std::path::PathBuf;

use crate::{
    agent::LedgerFile,
    model::{Ledger, Observed},
};

use super::Failure;

/// Where the agent of this node keeps its ledger.
#[derive(Clone, Debug, clap::Args)]
pub struct RunDirArgs {
    /// Directory of the ledger and the lock: it must outlive the agent, but not a reboot, so not on a disk
    #[arg(long, default_value = "/run/directway", value_name = "DIR")]
    pub run_dir: PathBuf,
}

impl RunDirArgs {
    /// What is ours of `observed`, by the ledger, or by what an agent would adopt if there is no ledger.
    pub(super) fn ledger(&self, observed: &Observed) -> Result<Ledger, Failure> {
        let read = LedgerFile::in_dir(&self.run_dir).load();
        let ledger = read.map_err(|error| Failure::Failed(error.to_string()))?;
        let known = ledger.map(|ledger| ledger.followed(&observed.links));
        Ok(known.unwrap_or_else(|| Ledger::adopt(observed)))
    }
}
