use std::collections::BTreeMap;

use super::{Dev, words};

words! {
    /// One half of IPVS's connection synchronisation: a network namespace has at most one of each.
    pub enum SyncHalf {
        /// Sends this director's connections to the others.
        Master = "master",
        /// Receives the others' connections.
        Backup = "backup",
    }
}

/// A daemon of the kernel that sends or receives connections by UDP multicast (224.0.0.81:8848), unsigned: any host on
/// that interface's segment can add connections to the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncDaemon {
    /// The interface towards the other directors.
    pub dev: Dev,
    /// A receiver ignores connections that were sent with another number; a receiver with 0 takes all.
    pub id: u32,
}

/// The daemons of a node.
pub type SyncDaemons = BTreeMap<SyncHalf, SyncDaemon>;
