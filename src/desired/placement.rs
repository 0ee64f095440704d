use std::net::IpAddr;

use crate::model::{NodeName, Snapshot, VirtualService};

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

/// A hash that stays the same over releases and machines: FNV-1a, finished with splitmix64 because FNV alone
/// leaves the high bits of short inputs alike.
fn score(vip: IpAddr, name: &NodeName) -> u64 {
    let vip = match vip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let bytes = vip.octets().into_iter().chain(name.0.bytes());
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
