//! Who should hold which VIP.

mod hash;
mod placement;

pub use hash::score;
pub use placement::{Placement, Wish, place};
