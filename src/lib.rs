//! directway: LVS direct routing, declared and reconciled.
//!
//! Dependencies point downwards only: `model`, `health`, `desired`, `election` and `plan` use neither Kubernetes nor netlink nor
//! tokio. `tests/walls.rs` lists what each module may use, and fails when one uses more.

pub mod admin;
pub mod agent;
pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod desired;
pub mod election;
pub mod forecast;
pub mod health;
pub mod http;
pub mod kernel;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod telemetry;
pub mod wire;
