//! The election of holders on simulated segments: every interleaving of some events, random ones, and single stories.
//!
//! What must hold at all times is in `judge`; it is checked after every event.

// The suite is tests throughout; clippy.toml's exceptions reach only functions marked as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "election/agents.rs"]
mod agents;
#[path = "election/bad_wires.rs"]
mod bad_wires;
#[path = "election/exhaustive.rs"]
mod exhaustive;
#[path = "election/explore.rs"]
mod explore;
#[path = "election/faults.rs"]
mod faults;
#[path = "election/host.rs"]
mod host;
#[path = "election/judge.rs"]
mod judge;
#[path = "election/notes.rs"]
mod notes;
#[path = "election/placement.rs"]
mod placement;
#[path = "election/random.rs"]
mod random;
#[path = "election/say.rs"]
mod say;
#[path = "election/scale.rs"]
mod scale;
#[path = "election/setup.rs"]
mod setup;
#[path = "election/stories.rs"]
mod stories;
#[path = "election/strangers.rs"]
mod strangers;
#[path = "election/traffic.rs"]
mod traffic;
#[path = "election/wire.rs"]
mod wire;
#[path = "election/world.rs"]
mod world;
