//! The controller: what the nodes report → the status of every VirtualService. Traffic never depends on it.

mod conditions;
mod double_holders;
mod event_rate;
mod events;
mod heartbeats;
mod leader;
mod lease;
mod metrics;
mod passed_over;
mod real_servers;
mod run;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

pub use run::{Config, run};
pub use summary::{Context, summarise};
