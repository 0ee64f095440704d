use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::model::{Mac, NodeName};

/// A director on the segment, identified by its own address there, which all directors know and ARP can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectorId(pub IpAddr);

/// The election's configuration for one segment, from the sources: the peers, and who should hold which VIP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ElectionConfig {
    /// This director.
    pub me: DirectorId,
    /// The MACs of all its NICs. Frames from them are ignored.
    pub macs: BTreeSet<Mac>,
    /// All other nodes that hold a VIP of this segment, or may. A host that is missing here counts as a stranger.
    pub peers: BTreeMap<DirectorId, PeerConfig>,
    /// Every VIP of the segment that this node has a part in.
    pub vips: BTreeMap<IpAddr, Arc<VipConfig>>,
    /// Whether the sources can be read now. If not, VIPs still fail over by the last known configuration, but
    /// directors move none for preference.
    pub fresh: bool,
}

/// A peer as the sources know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerConfig {
    /// The node's name.
    pub name: NodeName,
    /// Its MAC on the segment. `None`: learnt by ARP.
    pub mac: Option<Mac>,
}

/// Who should hold a VIP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VipConfig {
    /// All directors that may hold it, the best first; from [`super::place`].
    pub order: Vec<Candidate>,
    /// Peers that report that they hold it. A report is a reason to ask them by unicast, and nothing more.
    pub reported: BTreeSet<DirectorId>,
    /// Whether the first is `spec.directors.preferred`. Then a move does not wait until the VIP has been at its holder
    /// for the hold-down.
    pub on_request: bool,
}

/// A director that may hold a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Who.
    pub director: DirectorId,
    /// Whether it has a destination that gets connections. For this director from its kernel, for others from their
    /// last report.
    pub ready: bool,
}

/// How good a director is for a VIP: the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    may_not: bool,
    unready: bool,
    position: usize,
}

impl VipConfig {
    pub(super) fn candidate(&self, director: DirectorId) -> Option<Candidate> {
        self.order
            .iter()
            .copied()
            .find(|candidate| candidate.director == director)
    }
}

impl Rank {
    /// Readiness comes before preference: a director that is not ready serves only where none is.
    pub fn of(director: DirectorId, wanted: Option<&VipConfig>) -> Self {
        let order = wanted.map_or(&[][..], |wanted| &wanted.order);
        let found = order
            .iter()
            .position(|candidate| candidate.director == director);
        Self {
            may_not: found.is_none(),
            unready: found.is_none_or(|position| !order[position].ready),
            position: found.unwrap_or(usize::MAX),
        }
    }

    /// The rank that it has if it is ready.
    pub fn as_ready(self) -> Self {
        Self {
            unready: self.may_not,
            ..self
        }
    }
}
