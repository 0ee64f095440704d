use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    election::{Placement, PlacementInput, place},
    model::{
        AddressKey, CordonPolicy, Elected, Node, NodeName, Observed, Peers, Role, Snapshot,
        VirtualService, WireEvidence,
    },
};

use super::{Admission, director::clients_nic};

/// The nodes that may hold the VIPs of `virtual_service`: labelled and selected.
pub fn directors<'a>(
    virtual_service: &'a VirtualService,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = &'a NodeName> {
    let is_selected = |(_, node): &(_, &Node)| selects(virtual_service, node);
    snapshot
        .nodes
        .iter()
        .filter(is_selected)
        .map(|(name, _)| name)
}

/// Whether `node` may hold the VIPs of `virtual_service`.
pub fn may_hold(virtual_service: &VirtualService, node: &NodeName, snapshot: &Snapshot) -> bool {
    let node = snapshot.nodes.get(node);
    node.is_some_and(|node| selects(virtual_service, node))
}

/// Whether the director `node` could take `vip` over now, by its report. Where nobody can report, all count as able.
/// `on_cordon` is that of the VirtualService with the VIP.
pub fn stands_by(
    node: &NodeName,
    vip: IpAddr,
    on_cordon: CordonPolicy,
    snapshot: &Snapshot,
) -> bool {
    match &snapshot.peers {
        Peers::Silent => true,
        Peers::Reported(reports) => {
            let found = snapshot.nodes.get(node);
            let may_serve = found.is_some_and(|it| it.takes_connections(on_cordon));
            let report = reports.get(node);
            report.is_some_and(|report| report.stands_by(vip, may_serve))
        }
    }
}

fn selects(virtual_service: &VirtualService, node: &Node) -> bool {
    node.is_director() && virtual_service.directors.selector.matches(&node.labels)
}

/// Which director should hold which VIP: for agents, status and forecasts alike.
///
/// It uses the snapshot alone, so every node computes the same answer. That a director cannot serve everything behind a
/// VIP is known from its own report, this node's too: what an agent has found is not used before the others can read it.
/// Such a report only ever takes VIPs from its own node. If a director cannot serve a VIP now, the next
/// in that VIP's order holds it, and no other VIP moves because of that.
pub fn placement<'a>(snapshot: &'a Snapshot, admission: &'a Admission<'_>) -> Placement<'a> {
    // Looked up once: of all nodes few are directors, and there may be ten thousand VirtualServices.
    let nodes = snapshot.nodes.iter();
    let labelled: Vec<(&NodeName, &Node)> = nodes.filter(|(_, node)| node.is_director()).collect();
    let eligible = |virtual_service: &VirtualService| -> Vec<&'a NodeName> {
        let selected = labelled
            .iter()
            .filter(|(_, node)| selects(virtual_service, node));
        selected.map(|(name, _)| *name).collect()
    };
    let mut placement_inputs: BTreeMap<IpAddr, PlacementInput<'a>> = BTreeMap::new();
    for virtual_service in admission.accepted.values() {
        for vip in &virtual_service.vips {
            // All VirtualServices that share a VIP have the same `spec.directors`.
            placement_inputs.entry(*vip).or_insert_with(|| {
                let eligible = eligible(virtual_service);
                let is_incomplete = |name: &&NodeName| snapshot.is_incomplete(name, *vip);
                PlacementInput {
                    vip: *vip,
                    incomplete: eligible.iter().copied().filter(is_incomplete).collect(),
                    eligible,
                    preferred: virtual_service.directors.preferred.as_ref(),
                }
            });
        }
    }
    let cordoned = snapshot.nodes.iter().filter(|(_, node)| node.cordoned);
    let cordoned: BTreeSet<NodeName> = cordoned.map(|(name, _)| name.clone()).collect();
    let placement_inputs: Vec<PlacementInput<'a>> = placement_inputs.into_values().collect();
    place(&placement_inputs, &cordoned)
}

/// What `node` would hold if directors elected now, for forecasts: a preferred director takes its VIP, a holder that is
/// not cordoned and serves as much as the first choice keeps its VIP, and any other VIP goes to its first choice.
pub fn presumed(
    node: &NodeName,
    snapshot: &Snapshot,
    admission: &Admission<'_>,
    observed: &Observed,
    wire: &WireEvidence,
) -> Elected {
    let placement = placement(snapshot, admission);
    let mut elected = Elected::default();
    for virtual_service in admission.accepted.values() {
        for vip in &virtual_service.vips {
            let named = virtual_service.directors.interface.as_ref();
            let Ok(nic) = clients_nic(named, *vip, observed) else {
                continue;
            };
            let claim = AddressKey::new(nic.dev.clone(), *vip);
            let order = placement.order(*vip);
            let first = placement.first(*vip);
            let has_it = observed.net.addresses.get(&claim) == Some(&Role::Held);
            let others = wire.answers.get(vip).filter(|it| !it.macs.is_empty());
            let wants = match present_holder(virtual_service, *vip, order, snapshot) {
                Some(holder) => holder == node,
                None if has_it => order.contains(&node),
                None => others.is_none() && first == Some(node),
            };
            if wants {
                let devices = elected.held.entry(*vip).or_default();
                devices.insert(nic.dev.clone());
            }
            if let Some(answer) = others
                && first == Some(node)
            {
                elected.conflicts.insert(claim, answer.rivals());
            }
        }
    }
    elected
}

/// The first director if it is preferred, else the one that reports `vip` as held, or the first if that is cordoned or
/// serves less than the first.
fn present_holder<'a>(
    virtual_service: &VirtualService,
    vip: IpAddr,
    order: &[&'a NodeName],
    snapshot: &Snapshot,
) -> Option<&'a NodeName> {
    if snapshot.peers == Peers::Silent {
        return None;
    }
    let first = order.first().copied()?;
    if virtual_service.directors.preferred.as_ref() == Some(first) {
        return Some(first);
    }
    let cordoned = |name: &NodeName| snapshot.nodes.get(name).is_some_and(|node| node.cordoned);
    let report = |name: &NodeName| snapshot.peers.report(name);
    let holds = |name: &NodeName| report(name).is_some_and(|it| it.held.contains(vip));
    let mut holders = order.iter().copied().filter(|name| holds(name));
    let holder = holders.next()?;
    let serves_less = snapshot.is_incomplete(holder, vip) && !snapshot.is_incomplete(first, vip);
    Some(if cordoned(holder) || serves_less {
        first
    } else {
        holder
    })
}
