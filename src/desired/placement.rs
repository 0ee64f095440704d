use std::net::IpAddr;

use crate::{
    election::score,
    model::{
        AddressKey, Elected, NodeName, Observed, Peers, Role, Snapshot, VirtualService,
        WireEvidence,
    },
};

use super::{Admission, director::clients_nic, node::is_elected};

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

/// What `node` would hold if directors elected now, for forecasts: whoever is preferred takes a VIP, whoever has one keeps it,
/// and one that nobody has goes to its first choice.
pub fn presumed(
    node: &NodeName,
    snapshot: &Snapshot,
    admission: &Admission<'_>,
    observed: &Observed,
    wire: &WireEvidence,
) -> Elected {
    let mut elected = Elected::default();
    for virtual_service in admission.accepted.values() {
        for vip in virtual_service.vips.iter().filter(|vip| is_elected(**vip)) {
            let named = virtual_service.directors.interface.as_ref();
            let Ok(nic) = clients_nic(named, *vip, observed) else {
                continue;
            };
            let claim = AddressKey::new(nic.dev.clone(), *vip);
            let has_it = observed.net.addresses.get(&claim) == Some(&Role::Held);
            let others = wire.answers.get(vip).filter(|it| !it.macs.is_empty());
            let wants = match present_holder(virtual_service, *vip, snapshot) {
                Some(holder) => holder == node,
                None if has_it => directors(virtual_service, snapshot).any(|name| name == node),
                None => others.is_none() && holder(virtual_service, *vip, snapshot) == Some(node),
            };
            if wants {
                elected
                    .held
                    .entry(*vip)
                    .or_default()
                    .insert(nic.dev.clone());
            }
            if let Some(answer) = others
                && holder(virtual_service, *vip, snapshot) == Some(node)
            {
                elected.conflicts.insert(claim, answer.rivals());
            }
        }
    }
    elected
}

/// The director that is preferred, or that reports that it holds `vip`.
fn present_holder<'a>(
    virtual_service: &'a VirtualService,
    vip: IpAddr,
    snapshot: &'a Snapshot,
) -> Option<&'a NodeName> {
    let preferred = virtual_service.directors.preferred.as_ref();
    if snapshot.peers == Peers::Silent {
        return None;
    }
    let report = |name: &NodeName| snapshot.peers.report(name);
    let holds = |name: &NodeName| report(name).is_some_and(|it| it.held.contains(vip));
    directors(virtual_service, snapshot)
        .filter(|name| Some(*name) == preferred || holds(name))
        .max_by_key(|name| (Some(*name) == preferred, *name))
}
