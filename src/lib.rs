//! directway: LVS direct routing, declared and reconciled.
//!
//! Dependencies point downwards only: `model`, `desired` and `plan` know neither Kubernetes nor netlink nor tokio.

pub mod agent;
pub mod desired;
pub mod kernel;
pub mod model;
pub mod plan;
pub mod wire;
