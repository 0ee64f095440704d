use std::{collections::BTreeMap, fmt};

use super::Dev;

/// One half of IPVS's connection synchronisation: a network namespace has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncHalf {
    /// Tells the other directors of this one's connections.
    Master,
    /// Learns of theirs.
    Backup,
}

impl SyncHalf {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Master, Self::Backup];

    /// ipvsadm's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

impl fmt::Display for SyncHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
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
