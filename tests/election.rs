//! Where VIPs are placed.

// The suite is tests throughout; clippy.toml's exceptions reach only functions marked as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "election/placement.rs"]
mod placement;
#[path = "election/say.rs"]
mod say;
