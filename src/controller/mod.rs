//! The controller: what the nodes report → the status of every VirtualService. Traffic never depends on it.

mod conditions;
mod conflicts;
mod context;
mod double_holders;
mod event_rate;
mod events;
mod heartbeats;
mod holder;
mod leader;
mod lease;
mod metrics;
mod passed_over;
mod real_servers;
mod run;
mod serving;
mod silence;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

pub use context::Context;
pub use heartbeats::{AgentState, Heartbeats, is_silence};
pub use real_servers::{RealServerCounts, count_real_servers};
pub use run::{Config, run};
pub use silence::{Silence, silence};
pub use summary::summarise;
