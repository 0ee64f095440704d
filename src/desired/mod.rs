//! Snapshot → what this node's network should be, and a state per VirtualService.
//!
//! Decisions that every node must take alike (which VirtualServices are admitted, which hosts are real servers, which
//! director should hold a VIP) are in `admission`, `real_servers` and `placement`; they use the snapshot alone. What
//! one node does about it is in `director`, `bind`, `quiet`, `keep`, `rivals` and `drain`; they also use what the node
//! observes. `segments` prepares the elections, in which directors agree by ARP.

mod admission;
mod bind;
mod director;
mod drain;
mod endpoints;
mod keep;
mod node;
mod placement;
mod questions;
mod quiet;
mod real_servers;
mod rivals;
mod segments;
mod sync;
#[cfg(test)]
mod tests;

pub use admission::{Admission, admit};
pub use director::clients_nic;
pub use drain::DrainTimers;
pub use endpoints::no_endpoints;
pub use node::{Desired, Inputs, NodeOptions, RealServerState, VirtualServiceState, desired};
pub use placement::{directors, placement, presumed};
pub use questions::{Questions, questions};
pub use quiet::{Unanswered, unanswered};
pub use real_servers::{RealServer, RealServerId, RealServerSet, real_servers};
pub use rivals::conflict;
pub use segments::{FormerDirectors, Segment, SegmentInputs, Segments, segments};
