use std::collections::BTreeMap;

use super::{Dev, words};

words! {
    /// One half of IPVS's connection synchronisation: a network namespace has at most one of each.
    pub enum SyncHalf {
        /// Tells the other directors of this one's connections.
        Master = "master",
        /// Learns of theirs.
        Backup = "backup",
    }
}

/// A daemon of the kernel that sends or receives connections by UDP multicast (224.0.0.81:8848), unsigned: whoever can
/// send on that interface's segment can add connections to the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncDaemon {
    /// The interface towards the other directors.
    pub dev: Dev,
    /// Connections of another number are not for this one; 0 in a receiver takes all.
    pub id: u32,
}

/// The daemons of a node.
pub type SyncDaemons = BTreeMap<SyncHalf, SyncDaemon>;
