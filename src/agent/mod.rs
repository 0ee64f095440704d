//! The agent of one node: sources → pass → kernel → report.

mod announcer;
mod drift;
mod ledger_file;
mod pass;
mod run_dir;
mod runner;
#[cfg(test)]
pub(crate) mod testing;
mod unseen;
mod wire;

pub use announcer::Announcer;
pub use ledger_file::{LedgerError, LedgerFile};
pub use pass::{Findings, PassEnd, PassError, Passes, View};
pub use run_dir::{RunDir, RunDirError};
pub use runner::{Cause, Intervals, Next, Trigger, run as run_passes};
pub use wire::Wire;
