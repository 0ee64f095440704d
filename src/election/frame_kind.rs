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
    /// The sender announces the VIP, as sender of a request or by a gratuitous reply.
    Announced,
    /// The sender, or a switch in its place, answered a broadcast.
    Answered,
    /// The sender answered a unicast question.
    Confirmed,
    /// The sender probes for the VIP by broadcast.
    Probed,
    /// The sender asks this director for the VIP by unicast, or agrees that this director takes it.
    Asked,
}

/// Who sent `heard`, which address it is about, and what it means for it. Frames of this node itself are ignored.
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
        // A request announces its sender's address, whatever it asks for.
        (Meaning::Request(_), Some(_)) => FrameKind::Announced,
        // Also one that was sent to this NIC alone: it answers no question, so it confirms nothing.
        (Meaning::Reply(_), _) if heard.is_gratuitous_reply() => FrameKind::Announced,
        (Meaning::Reply(Some(_)), _) if heard.to_us => FrameKind::Confirmed,
        (Meaning::Reply(_), _) => FrameKind::Answered,
    };
    Some((host, heard.claims()?, kind))
}
