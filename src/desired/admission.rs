use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::model::{
    DirectorPolicy, NodeName, Reason, Refusal, ServiceKey, Snapshot, VirtualService, VsKey,
};

/// What is served of each VirtualService: the same answer on every node.
///
/// A refused part does not take the rest with it. An object that is edited into a conflict keeps what it has beside that,
/// so it may be in both maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission<'a> {
    /// What is served, without the refused parts.
    pub accepted: BTreeMap<&'a VsKey, Cow<'a, VirtualService>>,
    /// Why an object, or a part of it, is not served.
    pub refused: BTreeMap<&'a VsKey, Refusal>,
}

/// Sorts out broken objects, and parts that cannot be served or that an older object has.
pub fn admit(snapshot: &Snapshot) -> Admission<'_> {
    let mut admission = Admission::default();
    let mut candidates = Vec::new();
    for (key, object) in &snapshot.virtual_services {
        match object {
            Ok(virtual_service) => candidates.push((key, &**virtual_service)),
            Err(refusal) => {
                admission.refused.insert(key, refusal.clone());
            }
        }
    }
    // Of two that claim the same, the older wins; the name decides between twins.
    candidates.sort_by_key(|(key, virtual_service)| (virtual_service.created, *key));
    let mut claims = Claims {
        node_addresses: node_addresses(snapshot),
        services: BTreeMap::new(),
        vips: BTreeMap::new(),
    };
    for (key, candidate) in candidates {
        let (served, refusal) = claims.admit(candidate);
        admission
            .accepted
            .extend(served.map(|served| (key, served)));
        admission
            .refused
            .extend(refusal.map(|refusal| (key, refusal)));
    }
    admission
}

/// The addresses that nodes have of their own. A kubelet that starts while its node holds a VIP may report the VIP as the
/// node's address; the node's agent knows better.
fn node_addresses(snapshot: &Snapshot) -> BTreeMap<IpAddr, &NodeName> {
    let nodes = snapshot.nodes.iter();
    let addresses = nodes.flat_map(|(name, node)| node.addresses.iter().map(move |it| (*it, name)));
    addresses
        .filter(|(address, name)| !snapshot.has_as_vip(name, *address))
        .collect()
}

/// What older objects have.
struct Claims<'a> {
    node_addresses: BTreeMap<IpAddr, &'a NodeName>,
    services: BTreeMap<ServiceKey, &'a VsKey>,
    vips: BTreeMap<IpAddr, (&'a VsKey, &'a DirectorPolicy)>,
}

impl<'a> Claims<'a> {
    /// What is served of `candidate`, which becomes its own, and the first reason why something is not.
    fn admit(
        &mut self,
        candidate: &'a VirtualService,
    ) -> (Option<Cow<'a, VirtualService>>, Option<Refusal>) {
        let mut refusals = Vec::new();
        let (mut vips, mut without) = (Vec::new(), BTreeSet::new());
        for (index, vip) in candidate.vips.iter().enumerate() {
            if let Some(refusal) = self.refuses_address(index, *vip) {
                refusals.push(refusal);
                continue;
            }
            let mut is_served = false;
            for service in candidate.services_of(*vip) {
                if let Some(winner) = self.services.get(&service) {
                    refusals.push(port_claimed(service, winner));
                    without.insert(service);
                } else {
                    is_served = true;
                }
            }
            if is_served {
                vips.push((index, *vip));
            }
        }
        // Nodes must agree on who may hold a VIP, so the oldest object on it decides for all.
        let shared = vips.iter().find_map(|(_, vip)| self.vips.get(vip));
        let directors = shared.map_or(&candidate.directors, |(_, directors)| directors);
        vips.retain(|(index, vip)| match self.vips.get(vip) {
            Some((older, its)) if **its != candidate.directors => {
                refusals.push(shape_differs(*index, *vip, older));
                *its == directors
            }
            Some(_) | None => true,
        });
        let refusal = refusals.into_iter().next();
        if vips.is_empty() {
            return (None, refusal);
        }
        let served = if refusal.is_none() {
            Cow::Borrowed(candidate)
        } else {
            Cow::Owned(VirtualService {
                vips: vips.into_iter().map(|(_, vip)| vip).collect(),
                without,
                directors: directors.clone(),
                ..candidate.clone()
            })
        };
        for vip in &served.vips {
            self.vips.entry(*vip).or_insert((&candidate.key, directors));
        }
        let services = served.services().map(|service| (service, &candidate.key));
        self.services.extend(services);
        (Some(served), refusal)
    }

    fn refuses_address(&self, index: usize, vip: IpAddr) -> Option<Refusal> {
        if vip.is_ipv6() {
            return Some(Refusal::new(
                Reason::Ipv6NotServed,
                format!(
                    "spec.vips[{index}] {vip}: IPv6 VIPs cannot be served yet; use an IPv4 address"
                ),
            ));
        }
        let node = self.node_addresses.get(&vip)?;
        Some(Refusal::new(
            Reason::VipIsNodeAddress,
            format!(
                "spec.vips[{index}] {vip} is the address of node {node}; use an address that no host has"
            ),
        ))
    }
}

fn port_claimed(service: ServiceKey, winner: &VsKey) -> Refusal {
    Refusal::new(
        Reason::PortClaimed,
        format!(
            "{service} is claimed by the older VirtualService {winner}; use another VIP or port"
        ),
    )
}

fn shape_differs(index: usize, vip: IpAddr, older: &VsKey) -> Refusal {
    Refusal::new(
        Reason::VipShapeDiffers,
        format!(
            "spec.vips[{index}] {vip} is shared with the older VirtualService {older}, which has other spec.directors; make them equal. Until then the older one's are used"
        ),
    )
}
