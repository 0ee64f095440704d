use std::net::IpAddr;

use crate::{
    election::score,
    model::{NodeName, Snapshot, VirtualService},
};

/// The nodes that may hold the VIPs of `virtual_service`: labelled and selected.
pub fn directors<'a>(
    virtual_service: &'a VirtualService,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = &'a NodeName> {
    let selector = &virtual_service.directors.selector;
    snapshot
        .nodes
        .iter()
        .filter(|(_, node)| node.is_director() && selector.matches(&node.labels))
        .map(|(name, _)| name)
}

/// Which of them holds `vip`: the preferred one, else the one that scores highest for it.
///
/// Rendezvous hashing: every node computes the same answer, and a director that comes or goes moves only
/// the VIPs that it gets or had.
pub fn holder<'a>(
    virtual_service: &'a VirtualService,
    vip: IpAddr,
    snapshot: &'a Snapshot,
) -> Option<&'a NodeName> {
    let preferred = virtual_service.directors.preferred.as_ref();
    directors(virtual_service, snapshot)
        .max_by_key(|name| (Some(*name) == preferred, score(vip, name), *name))
}
