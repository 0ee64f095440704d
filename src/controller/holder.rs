//! Which director holds a VIP, of those that report it as held.

use std::net::IpAddr;

use jiff::Timestamp;

use super::summary::Summariser;
use crate::{
    api::Report,
    cluster::Store,
    desired::RecentDirectors,
    model::{IpRanges, NodeName},
};

impl<'a> Summariser<'a> {
    /// The director that holds `vip` (`true`), or that should. Two report it as held during a move, or after one lost
    /// its power with the VIP. One whose kubelet reports comes first, then the one to which the VIP came last, then one
    /// that has read the present generation, then the one that should hold it.
    pub(super) fn director(&self, vip: IpAddr) -> Option<(&'a NodeName, bool)> {
        let context = self.context;
        let wanted = context.placement.first(vip);
        let weighed = context.directors.weigh(context.cluster.readable());
        let holding = weighed.filter(|(_, report)| report.peer.held.contains(vip));
        holding
            .map(|(name, _)| name)
            .max_by_key(|name| {
                let came = context
                    .report(name)
                    .and_then(|report| last_move(report, vip));
                (
                    !context.is_kubelet_silent(name),
                    came,
                    self.is_current(name),
                    Some(*name) == wanted,
                )
            })
            .map(|name| (name, true))
            .or(wanted.map(|name| (name, false)))
    }

    /// Whether this node's report counts for the object's present generation.
    pub(super) fn is_current(&self, name: &NodeName) -> bool {
        let agreement = self.context.agreements.get(name);
        agreement.is_some_and(|agreement| agreement.covers(&self.object.uid))
    }
}

/// The directors that report VIPs as held. A node whose kubelet is silent is left out: it may have lost its power with its
/// VIPs.
pub(super) fn present_holders<'a>(
    cluster: &'a Store,
    directors: &'a RecentDirectors,
) -> Vec<(&'a NodeName, &'a IpRanges)> {
    let nodes = &cluster.snapshot().nodes;
    let is_there = |name: &NodeName| nodes.get(name).is_some_and(|node| !node.silent);
    let holders = directors.weigh(cluster.readable());
    let holders = holders.filter(|(name, report)| !report.peer.held.is_empty() && is_there(name));
    holders
        .map(|(name, report)| (name, &report.peer.held))
        .collect()
}

/// When `vip` came to the node, if its report still contains that move.
fn last_move(report: &Report, vip: IpAddr) -> Option<Timestamp> {
    let moves = report.moves.iter();
    moves
        .filter(|it| it.vips.contains(vip))
        .map(|it| it.at)
        .max()
}
