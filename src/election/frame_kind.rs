use std::net::IpAddr;

use crate::model::Mac;

use super::{DirectorId, ElectionConfig, Meaning, Received, peers::Peers};

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub mac: Mac,
    /// Which director it is; `None` = a stranger.
    pub director: Option<DirectorId>,
}

/// What a frame means for one VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// It is said to be at the sender.
    Announced,
    /// The sender, or somebody in its place, answered a broadcast.
    Answered,
    /// The sender itself answered a question that was sent to it alone.
    Confirmed,
    /// The sender asks everybody whether they have it.
    Probed,
    /// The sender asks us alone for it, or agrees that we take it.
    Asked,
}

/// Who sent `heard`, which address it is about, and what it means for it. Whatever comes from this node is no news.
pub(super) fn classify(
    heard: Received,
    config: &ElectionConfig,
    peers: &Peers,
) -> Option<(Host, IpAddr, FrameKind)> {
    if config.macs.contains(&heard.from) {
        return None;
    }
    let host = Host {
        mac: heard.from,
        director: peers.by_mac(heard.from),
    };
    let kind = match (heard.meaning, heard.has) {
        (Meaning::Request(_), None) if heard.to_us => FrameKind::Asked,
        (Meaning::Request(_), None) => FrameKind::Probed,
        // Whatever it asks, it says that this is its own address.
        (Meaning::Request(_), Some(_)) => FrameKind::Announced,
        (Meaning::Reply(to), own) if to == own => FrameKind::Announced,
        (Meaning::Reply(Some(_)), _) if heard.to_us => FrameKind::Confirmed,
        (Meaning::Reply(_), _) => FrameKind::Answered,
    };
    Some((host, heard.claims()?, kind))
}
