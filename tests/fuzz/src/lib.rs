//! Only the parts of directway that decode frames and netlink messages, and what these need: instrumented for fuzzing, the
//! Kubernetes client alone would take longer to build than the fuzzing lasts.

#[path = "../../../src/kernel/mod.rs"]
pub mod kernel;
#[path = "../../../src/model/mod.rs"]
pub mod model;
#[path = "../../../src/plan/mod.rs"]
pub mod plan;
#[path = "../../../src/wire/mod.rs"]
pub mod wire;
