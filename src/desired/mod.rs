//! Snapshot → what this node's network should be, and a verdict per VirtualService.
//!
//! Decisions that every node must take alike (who is admitted, who is a real server, who holds a VIP) are in
//! `admission`, `real_servers` and `placement`; they look at the snapshot alone. What one node does about it is in
//! `director`, `bind`, `quiet`, `keep`, `rivals` and `drain`; they also look at what the node observes. What directors agree on among
//! themselves, on the wire, is prepared in `segments`.

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
pub use real_servers::{RealServer, RealServerId, RealServerSet, real_servers};
pub use rivals::conflict;
pub use segments::{FormerDirectors, Segment, SegmentInputs, Segments, segments};
