//! Which addresses can be no VIP because packets to them are somebody else's: bound on a node, such a VIP would lead the
//! node's packets for its router or the API server to itself.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
};

use crate::model::{
    Ledger, LinkKind, NodeName, Observed, Reason, Refusal, Reserved, ReservedAs, Role, Snapshot,
};

use super::Inputs;

/// What a node must not bind, by what its own kernel shows and where it reaches the API server.
pub fn reserved(observed: &Observed, ledger: &Ledger, api_servers: &BTreeSet<IpAddr>) -> Reserved {
    let mut reserved = Reserved::new();
    let links = observed.links.values();
    let links = links.filter(|link| link.kind != LinkKind::Loopback);
    for net in links.flat_map(|link| link.networks()) {
        let is_own = net.addr() == net.network() || net.addr() == net.broadcast();
        // In a network of two addresses both are hosts' (RFC 3021). IPv6 has no broadcast, and the first address is that
        // of all routers (RFC 4291 2.6.1).
        if net.addr().is_ipv4() && net.prefix_len() < 31 && !is_own {
            reserved.insert(net.network(), ReservedAs::Network);
            reserved.insert(net.broadcast(), ReservedAs::Broadcast);
        }
    }
    // On a NIC they answer ARP; on `lo` or a dummy, an address may be a VIP that somebody has bound by hand.
    let held = observed.net.addresses.iter();
    for (key, _) in held.filter(|(_, role)| **role == Role::Held) {
        if !ledger.owns_address(key, observed) {
            reserved.insert(key.ip, ReservedAs::OwnAddress);
        }
    }
    let api_servers = api_servers.iter();
    reserved.extend(api_servers.map(|ip| (*ip, ReservedAs::ApiServer)));
    let next_hops = observed.next_hops.iter();
    reserved.extend(next_hops.map(|ip| (*ip, ReservedAs::NextHop)));
    reserved
}

/// Refuses a VIP that this node must not bind.
///
/// What was served goes on: a VIP that is bound here and that a director holds stays. A director that holds the API
/// server's address serves the API server, so this node may be one of its real servers.
pub(super) fn check_reserved(vip: IpAddr, inputs: &Inputs<'_>) -> Result<(), Refusal> {
    let Some(found) = inputs.reserved.get(&vip) else {
        return Ok(());
    };
    let is_held = inputs.elected.held.contains_key(&vip) || inputs.snapshot.is_held(vip);
    if is_held && (*found == ReservedAs::ApiServer || inputs.ledger.has_bound(vip, inputs.observed))
    {
        return Ok(());
    }
    Err(refusal(vip, *found, "this node"))
}

/// The VIPs among `vips` that cannot be one because of some node: of the first of them, by name, and what they are to it.
/// The node's object counts, and its agent's report: an address that its kubelet takes for the node's, but that its agent
/// reports as a VIP, is a VIP.
pub(super) fn reserved_by_nodes<'a>(
    vips: &HashSet<IpAddr>,
    snapshot: &'a Snapshot,
) -> BTreeMap<IpAddr, (&'a NodeName, ReservedAs)> {
    let mut found = BTreeMap::new();
    for (name, node) in &snapshot.nodes {
        let own = node.addresses.iter();
        let report = snapshot.peers.report(name);
        let reported = report.into_iter().flat_map(|report| &report.addresses);
        let own = own.chain(reported).map(|ip| (*ip, ReservedAs::OwnAddress));
        let other = report.into_iter().flat_map(|report| &report.reserved);
        let all = own.chain(other.map(|(ip, what)| (*ip, *what)));
        for (ip, what) in all.filter(|(ip, _)| vips.contains(ip)) {
            if !snapshot.has_as_vip(name, ip) {
                found.entry(ip).or_insert((name, what));
            }
        }
    }
    found
}

/// The refusal of a VIP that is something else to `node`.
pub(super) fn refusal(vip: IpAddr, what: ReservedAs, node: &str) -> Refusal {
    let reason = match what {
        ReservedAs::OwnAddress => Reason::VipIsNodeAddress,
        ReservedAs::NextHop
        | ReservedAs::ApiServer
        | ReservedAs::Network
        | ReservedAs::Broadcast => Reason::VipReserved,
    };
    let what = what.explain(node);
    Refusal::new(
        reason,
        format!("{vip} is {what}; use an address that no host has"),
    )
}
