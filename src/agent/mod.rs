//! The agent of one node: sources → pass → kernel → report.

mod drift;
mod elections;
mod former;
mod journal;
mod kube_proxy;
mod ledger_file;
mod links;
mod memory;
mod nics;
mod pass;
mod report;
mod run;
mod run_dir;
mod runner;
mod shared;
mod state_writer;
#[cfg(test)]
mod tests;
mod unseen;
mod wire;
mod worker;

pub use elections::{Board, Elections, SimulatedElections, pass_time};
pub use kube_proxy::{ask as ask_kube_proxy, parse_config as parse_kube_proxy};
pub use ledger_file::{LedgerError, LedgerFile};
pub use pass::{Findings, PassEnd, PassError, Passes, View};
pub use report::{peer_state, report};
pub use run::{AgentConfig, AgentError, run, run_on};
pub use run_dir::{RunDir, RunDirError};
pub use runner::{Cause, Intervals, Next, Trigger, run as run_passes};
pub use shared::Shared;
pub use wire::{Asking, Told, Wire};
