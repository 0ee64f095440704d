#![doc = include_str!("protocol.md")]

mod action;
mod announcing;
mod claiming;
mod config;
mod contest;
mod context;
mod event;
mod frame_kind;
mod hash;
mod holding;
mod moving;
mod peers;
mod placement;
mod probing;
mod rate_limiter;
mod segment;
mod standby;
mod timers;
mod timing;
mod vip;
mod yielding;

pub use crate::{
    model::TakeCause,
    wire::{Meaning, Received, Request, Sender},
};
pub use action::{Actions, GiveCause, Notice};
pub use config::{Candidate, DirectorId, ElectionConfig, PeerConfig, VipConfig};
pub use event::Event;
pub use hash::score;
pub use placement::{Placement, PlacementInput, place};
pub use segment::{Election, VipState};
pub use timers::{Timer, UnknownTimer};
pub use timing::{InvalidTiming, Rate, Timing};
