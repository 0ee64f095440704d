//! Snapshot → what this node's network should be, and a state per VirtualService.
//!
//! Decisions that every node must take alike (which VirtualServices are admitted, which hosts are real servers, which
//! director should hold a VIP) are in `admission`, `real_servers` and `placement`; whose reports count, in `recent_directors`. They use the snapshot, and by which address
//! a real server is reached, the networks of the `viewpoint`. What one node does about it is in `director`, `bind`, `quiet`, `keep`, `rivals`, `health` and `drain`; they also use what the node
//! observes. `incomplete` is what it found of its own VIPs in the last passes. `reserved` is both: which addresses can be no VIP. `segments` prepares the elections, in which directors agree by ARP.

mod admission;
mod after_pass;
mod bind;
mod director;
mod director_history;
mod drain;
mod endpoints;
mod health;
mod incomplete;
mod keep;
mod node;
mod placement;
mod questions;
mod quiet;
mod real_server_states;
mod real_servers;
mod recent_directors;
mod reserved;
mod rivals;
mod segments;
mod sync;
#[cfg(test)]
mod tests;
mod viewpoint;

pub use admission::{Admission, admit, admit_here};
pub use after_pass::AfterPass;
pub use director::clients_nic;
pub use director_history::DirectorHistory;
pub use drain::DrainTimers;
pub use endpoints::no_endpoints;
pub use incomplete::IncompleteVips;
pub use node::{Desired, Inputs, NodeOptions, VirtualServiceState, desired};
pub use placement::{directors, may_hold, placement, presumed, stands_by};
pub use questions::{Questions, questions};
pub use quiet::{Unanswered, unanswered};
pub use real_server_states::{RealServerState, RealServerStates};
pub use real_servers::{RealServer, RealServerId, RealServerSet, real_servers};
pub use recent_directors::RecentDirectors;
pub use reserved::reserved;
pub use rivals::conflict;
pub use segments::{Segment, Segments, segments};
pub use viewpoint::Viewpoint;
