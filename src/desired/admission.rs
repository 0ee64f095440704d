use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{Reason, Refusal, ServiceKey, Snapshot, VirtualService, VsKey};

/// Which VirtualServices are served at all: the same answer on every node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission<'a> {
    /// Those that are served.
    pub accepted: BTreeMap<&'a VsKey, &'a VirtualService>,
    /// Those that are not, each with the reason.
    pub refused: BTreeMap<&'a VsKey, Refusal>,
}

/// Refuses invalid objects and those that collide with a node's address or with an older object.
pub fn admit(snapshot: &Snapshot) -> Admission<'_> {
    let mut admission = Admission::default();
    let mut candidates = Vec::new();
    for (key, object) in &snapshot.virtual_services {
        match object {
            Ok(virtual_service) => candidates.push((key, virtual_service)),
            Err(refusal) => {
                admission.refused.insert(key, refusal.clone());
            }
        }
    }
    // Of two that claim the same, the older wins; the name decides between two of the same age.
    candidates.sort_by_key(|(key, virtual_service)| (virtual_service.created, *key));

    let node_addresses: BTreeMap<IpAddr, _> = snapshot
        .nodes
        .iter()
        .flat_map(|(name, node)| node.addresses.iter().map(move |address| (*address, name)))
        .collect();
    let mut claims = Claims::default();
    for (key, virtual_service) in candidates {
        let checked = check_addresses(virtual_service, &node_addresses)
            .and_then(|()| claims.check(virtual_service));
        match checked {
            Ok(()) => {
                claims.add(virtual_service);
                admission.accepted.insert(key, virtual_service);
            }
            Err(refusal) => {
                admission.refused.insert(key, refusal);
            }
        }
    }
    admission
}

fn check_addresses<N: std::fmt::Display>(
    virtual_service: &VirtualService,
    node_addresses: &BTreeMap<IpAddr, N>,
) -> Result<(), Refusal> {
    for (index, vip) in virtual_service.vips.iter().enumerate() {
        if vip.is_ipv6() {
            return Err(Refusal::new(
                Reason::Ipv6NotServed,
                format!(
                    "spec.vips[{index}] {vip}: IPv6 VIPs cannot be served yet; use an IPv4 address"
                ),
            ));
        }
        if let Some(node) = node_addresses.get(vip) {
            return Err(Refusal::new(
                Reason::VipIsNodeAddress,
                format!(
                    "spec.vips[{index}] {vip} is the address of node {node}; use an address that no host has"
                ),
            ));
        }
    }
    Ok(())
}

/// What the objects accepted so far claim.
#[derive(Default)]
struct Claims<'a> {
    services: BTreeMap<ServiceKey, &'a VsKey>,
    vips: BTreeMap<IpAddr, &'a VirtualService>,
}

impl<'a> Claims<'a> {
    fn check(&self, candidate: &VirtualService) -> Result<(), Refusal> {
        for service in candidate.services() {
            if let Some(winner) = self.services.get(&service) {
                return Err(Refusal::new(
                    Reason::PortClaimed,
                    format!(
                        "{service} is claimed by the older VirtualService {winner}; use another VIP or port"
                    ),
                ));
            }
        }
        for (index, vip) in candidate.vips.iter().enumerate() {
            // A VIP is held by one node on one interface, whatever number of objects share it.
            if let Some(first) = self
                .vips
                .get(vip)
                .filter(|first| first.directors != candidate.directors)
            {
                return Err(Refusal::new(
                    Reason::VipShapeDiffers,
                    format!(
                        "spec.vips[{index}] {vip} is shared with the older VirtualService {}, which has other spec.directors; make them equal",
                        first.key
                    ),
                ));
            }
        }
        Ok(())
    }

    fn add(&mut self, winner: &'a VirtualService) {
        for service in winner.services() {
            self.services.insert(service, &winner.key);
        }
        for vip in &winner.vips {
            self.vips.entry(*vip).or_insert(winner);
        }
    }
}
