use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::model::{Mac, NodeName};

/// A director on the segment, named by its own address there: every director knows it alike, and the wire does too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectorId(pub IpAddr);

/// What the sources say about one segment: who else is there, and who should hold what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ElectionConfig {
    /// This director.
    pub me: DirectorId,
    /// The MACs of all its NICs: their frames are its own.
    pub macs: BTreeSet<Mac>,
    /// All other nodes that hold VIPs of this segment or ever may, whether they are to have one now or not: whoever is
    /// missing here is a stranger.
    pub peers: BTreeMap<DirectorId, PeerConfig>,
    /// Every VIP of the segment that this node has a part in.
    pub vips: BTreeMap<IpAddr, Arc<VipConfig>>,
    /// Whether the sources can be read now. If not, this is the last that is known: VIPs fail over, but none is moved for
    /// preference.
    pub fresh: bool,
}

/// A peer as the sources know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerConfig {
    /// The node's name.
    pub name: NodeName,
    /// Its MAC on the segment. `None`: the wire is asked.
    pub mac: Option<Mac>,
}

/// Who should hold a VIP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VipConfig {
    /// All that may, the best first; from [`super::place`].
    pub order: Vec<Candidate>,
    /// Whether somebody asked for the first of them (`spec.directors.preferred`): it need not wait until the VIP has been
    /// in its place for a while.
    pub on_request: bool,
}

/// A director that may hold a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Who.
    pub director: DirectorId,
    /// Whether its services and destinations are programmed. Of this director: the truth; of others: the last report.
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
    /// Readiness comes before preference: who is not ready serves only where nobody is.
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

    /// The same, for one that says that it is ready.
    pub fn as_ready(self) -> Self {
        Self {
            unready: self.may_not,
            ..self
        }
    }
}
