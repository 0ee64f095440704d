//! The agent of one node: sources → pass → kernel → report.

mod api_servers;
mod atomic_file;
mod directing;
mod directory_file;
mod drains;
mod drift;
mod elections;
mod health;
mod heartbeat;
mod journal;
mod kube_proxy;
mod ledger_file;
mod links;
mod memory;
mod neighbours;
mod nics;
mod ownership;
mod pass;
mod pass_result;
mod repairs;
mod report;
mod run;
mod run_dir;
mod runner;
mod shared;
mod snapshot_file;
mod snapshot_writer;
mod state_writer;
#[cfg(test)]
mod tests;
mod worker;

pub use elections::{ElectionStatus, Elections, SimulatedElections, pass_time};
pub use health::{HealthChecks, run as make_health_checks};
pub use kube_proxy::{ask as ask_kube_proxy, parse_config as parse_kube_proxy};
pub use ledger_file::{LedgerError, LedgerFile};
pub use neighbours::{
    Asker, AskerThread, NeighbourAnswers, NeighbourCache, NeighbourQueries, asker,
};
pub use pass::Passes;
pub use pass_result::{PassError, PassInput, PassResult, PassState};
pub use report::{peer_state, report};
pub use run::{AgentConfig, AgentError, run, run_on};
pub use run_dir::{RunDir, RunDirError};
pub use runner::{Cause, Intervals, NextPass, Trigger, run as run_passes};
pub use shared::Shared;
