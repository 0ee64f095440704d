#![doc = include_str!("protocol.md")]

mod action;
mod announcing;
mod claiming;
mod contest;
mod context;
mod event;
mod hash;
mod holding;
mod moving;
mod news;
mod pace;
mod peers;
mod placement;
mod probing;
mod segment;
mod standby;
mod timers;
mod timing;
mod view;
mod vip;
mod yielding;

pub use crate::{
    model::TakeCause,
    wire::{Heard, Question, Says, Sender},
};
pub use action::{Actions, GiveCause, Report};
pub use event::Event;
pub use hash::score;
pub use placement::{Placement, Wish, place};
pub use segment::{Election, Place};
pub use timers::{Timer, UnknownTimer};
pub use timing::{InvalidTiming, Rate, Timing};
pub use view::{Candidate, DirectorId, Known, View, Wanted};
