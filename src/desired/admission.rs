use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    ops::Deref,
};

use crate::model::{
    DirectorPolicy, NodeName, Reason, Refusal, ReservedAs, ServiceKey, Snapshot, VirtualService,
    VsKey,
};

use super::reserved;

/// What is served of each VirtualService: the same answer on every node.
///
/// A refused part does not take the rest with it. An object that is edited into a conflict keeps what it has beside that,
/// so it may be in both maps.
#[derive(Clone, Debug, Default)]
pub struct Admission<'a> {
    /// What is served, without the refused parts.
    pub accepted: BTreeMap<&'a VsKey, Served<'a>>,
    /// Why an object, or a part of it, is not served.
    pub refused: BTreeMap<&'a VsKey, Refusal>,
}

/// What is served of a VirtualService. No larger than a pointer and a tag: a pass keeps one for each of thousands of objects.
#[derive(Clone, Debug)]
pub enum Served<'a> {
    /// All of it.
    Whole(&'a VirtualService),
    /// What older objects leave to it.
    Part(Box<VirtualService>),
}

impl Deref for Served<'_> {
    type Target = VirtualService;

    fn deref(&self) -> &VirtualService {
        match self {
            Self::Whole(virtual_service) => virtual_service,
            Self::Part(virtual_service) => virtual_service,
        }
    }
}

/// Sorts out broken objects, and parts that cannot be served or that an older object has.
pub fn admit(snapshot: &Snapshot) -> Admission<'_> {
    admit_here(snapshot, |_| false)
}

/// The same on a node that `has` some VIPs itself, because its own report is not in the snapshot.
pub fn admit_here(snapshot: &Snapshot, has: impl Fn(IpAddr) -> bool) -> Admission<'_> {
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
    let vips = candidates.iter().flat_map(|(_, candidate)| &candidate.vips);
    let vips: HashSet<IpAddr> = vips.copied().collect();
    let mut reserved = reserved::reserved_by_nodes(&vips, snapshot);
    // What is served goes on: a node that takes a VIP for something else later does not end that.
    reserved.retain(|vip, _| !has(*vip) && !snapshot.is_held(*vip));
    let mut claims = Claims {
        reserved,
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

/// What older objects have.
struct Claims<'a> {
    /// VIPs that are something else to a node.
    reserved: BTreeMap<IpAddr, (&'a NodeName, ReservedAs)>,
    services: BTreeMap<ServiceKey, &'a VsKey>,
    vips: BTreeMap<IpAddr, (&'a VsKey, &'a DirectorPolicy)>,
}

impl<'a> Claims<'a> {
    /// What is served of `candidate`, which becomes its own, and the first reason why something is not.
    fn admit(&mut self, candidate: &'a VirtualService) -> (Option<Served<'a>>, Option<Refusal>) {
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
            Served::Whole(candidate)
        } else {
            Served::Part(Box::new(VirtualService {
                vips: vips.into_iter().map(|(_, vip)| vip).collect(),
                without,
                directors: directors.clone(),
                ..candidate.clone()
            }))
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
        let (node, what) = self.reserved.get(&vip)?;
        let Refusal { reason, message } = reserved::refusal(vip, *what, &format!("node {node}"));
        Some(Refusal::new(
            reason,
            format!("spec.vips[{index}] {message}"),
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
