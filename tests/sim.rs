//! Whole node agents on the simulator: the real passes with their ledgers, on simulated kernels that share a LAN.
//!
//! The safety rules are checked after every op of every node, and agents are killed at every op.

// The suite is tests throughout; clippy.toml's exceptions reach only functions marked as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "sim/cluster.rs"]
mod cluster;
#[path = "sim/crashes.rs"]
mod crashes;
#[path = "sim/endpoints.rs"]
mod endpoints;
#[path = "sim/incomplete.rs"]
mod incomplete;
#[path = "sim/lifecycle.rs"]
mod lifecycle;
#[path = "sim/safety.rs"]
mod safety;
#[path = "sim/schedules.rs"]
mod schedules;
#[path = "sim/site.rs"]
mod site;
