//! The controller: what the nodes report → the status of every VirtualService. Traffic never depends on it.

mod conditions;
mod leader;
mod lease;
mod metrics;
mod news;
mod run;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

pub use run::{Config, run};
pub use summary::{Context, summarise};
