//! The configuration of the election on each of a node's segments: its peers, and who should hold which VIP.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
};

use crate::{
    election::{Candidate, DirectorId, ElectionConfig, PeerConfig, Placement, VipConfig},
    model::{
        AddressKey, Dev, Link, Mac, Node, NodeName, Observed, PeerState, Role, VirtualService,
    },
};

use super::{AfterPass, RecentDirectors, placement, stands_by, viewpoint::owner_of};

/// A segment on which VIPs are elected, seen from one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The kernel's index of the node's NIC there.
    pub index: NonZeroU32,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its peers, and who should hold which VIP.
    pub config: Arc<ElectionConfig>,
}

/// Segments by NIC.
pub type Segments = BTreeMap<Dev, Segment>;

/// Every segment on which this node holds a VIP or may.
///
/// `former` are the nodes that are directors, or were lately; `fresh` says whether the sources can be read now.
pub fn segments(after: &AfterPass<'_>, former: &RecentDirectors, fresh: bool) -> Segments {
    let specs: BTreeMap<IpAddr, &VirtualService> = after
        .admission
        .accepted
        .values()
        .flat_map(|spec| spec.vips.iter().map(move |vip| (*vip, &**spec)))
        .collect();
    let mut by_nic: BTreeMap<&Dev, BTreeSet<IpAddr>> = BTreeMap::new();
    for AddressKey { dev, ip } in &after.desired.net.claims {
        by_nic.entry(dev).or_default().insert(*ip);
    }
    // VIPs that it holds although it may no longer hold them.
    for (key, role) in &after.desired.net.addresses {
        if *role == Role::Held {
            let vips = by_nic.entry(&key.dev).or_default();
            // An election takes off the VIPs that its configuration no longer has.
            if !after.desired.yielding.contains(key) {
                vips.insert(key.ip);
            }
        }
    }
    if by_nic.is_empty() {
        return Segments::new();
    }
    let facts = Facts {
        placement: placement(after.snapshot, after.admission),
        specs,
        claims: after.desired.net.claims.iter().map(|it| it.ip).collect(),
        unprogrammed: unprogrammed(after),
        idle: idle(after),
        after,
        former,
        fresh,
    };
    by_nic
        .into_iter()
        .filter_map(|(dev, vips)| {
            let link = after.observed.links.get(dev)?;
            Some((dev.clone(), facts.segment(link, &vips)?))
        })
        .collect()
}

/// What is the same for all segments of a node.
struct Facts<'a> {
    placement: Placement<'a>,
    specs: BTreeMap<IpAddr, &'a VirtualService>,
    /// VIPs that this director may claim.
    claims: BTreeSet<IpAddr>,
    /// VIPs of which this director can serve nothing.
    unprogrammed: BTreeSet<IpAddr>,
    /// VIPs without a destination that gets connections.
    idle: BTreeSet<IpAddr>,
    after: &'a AfterPass<'a>,
    former: &'a RecentDirectors,
    fresh: bool,
}

impl Facts<'_> {
    fn segment(&self, link: &Link, vips: &BTreeSet<IpAddr>) -> Option<Segment> {
        let me = own_address(link, self.after)?;
        let ids = self.directors_on(link, me);
        let peers = self.peers_on(link, me, &ids);
        let holders = self.holders(&peers);
        let wanted = |vip: &IpAddr| {
            let reporting = holders
                .iter()
                .filter(|(_, report)| report.held.contains(*vip));
            let reported = reporting.map(|(id, _)| *id).collect();
            let wanted = VipConfig {
                reported,
                ..self.wanted(*vip, me, &ids)
            };
            (*vip, Arc::new(wanted))
        };
        let config = ElectionConfig {
            me,
            macs: macs(self.after.observed),
            vips: vips.iter().map(wanted).collect(),
            peers,
            fresh: self.fresh,
        };
        Some(Segment {
            index: NonZeroU32::new(link.index)?,
            mac: link.mac?,
            config: Arc::new(config),
        })
    }

    /// The nodes that have an address on the segment, one for each address.
    fn directors_on(&self, link: &Link, me: DirectorId) -> BTreeMap<&NodeName, DirectorId> {
        let (snapshot, here) = (self.after.snapshot, self.after.node);
        let mut owners = BTreeMap::from([(me, here)]);
        for name in snapshot.nodes.keys().filter(|name| *name != here) {
            if let Some(address) = address_on(link, snapshot.addresses_of(name)) {
                let owner = owners.entry(DirectorId(address)).or_insert(name);
                let present = *owner;
                *owner = owner_of(address, present, name, Some(here), snapshot);
            }
        }
        owners.into_iter().map(|(id, name)| (name, id)).collect()
    }

    /// The peers that report VIPs as held.
    fn holders(&self, peers: &BTreeMap<DirectorId, PeerConfig>) -> Vec<(DirectorId, &PeerState)> {
        let reports = &self.after.snapshot.peers;
        let reports = peers
            .iter()
            .filter_map(|(id, peer)| Some((*id, reports.report(&peer.name)?)));
        reports
            .filter(|(_, report)| !report.held.is_empty())
            .collect()
    }

    /// All other directors on the segment, and those that were directors lately. A node that merely reports VIPs as held
    /// is none: its word must not make it a director, to which a holder may yield.
    fn peers_on(
        &self,
        link: &Link,
        me: DirectorId,
        ids: &BTreeMap<&NodeName, DirectorId>,
    ) -> BTreeMap<DirectorId, PeerConfig> {
        let nodes = &self.after.snapshot.nodes;
        let may_hold = |name: &NodeName| nodes.get(name).is_some_and(Node::is_director);
        let known = |name: &NodeName, id: DirectorId| PeerConfig {
            name: name.clone(),
            mac: self.reported_mac(name, id),
        };
        let mut peers: BTreeMap<DirectorId, PeerConfig> = ids
            .iter()
            .filter(|(name, _)| may_hold(name))
            .map(|(name, id)| (*id, known(name, *id)))
            .collect();
        for (name, addresses) in self.former.iter() {
            if let Some(address) = address_on(link, addresses.iter().copied()) {
                let id = DirectorId(address);
                peers.entry(id).or_insert_with(|| known(name, id));
            }
        }
        peers.remove(&me);
        peers
    }

    /// Whether this director could serve `vip` and answer for it.
    fn may_claim(&self, vip: IpAddr) -> bool {
        !self.unprogrammed.contains(&vip) && self.claims.contains(&vip)
    }

    /// The MAC that a node reports for its address: where broadcasts do not get through, it cannot be learnt.
    fn reported_mac(&self, name: &NodeName, DirectorId(address): DirectorId) -> Option<Mac> {
        let report = self.after.snapshot.peers.report(name)?;
        report.macs.get(&address).copied()
    }

    /// Who should hold `vip`, of those on the segment.
    fn wanted(
        &self,
        vip: IpAddr,
        me: DirectorId,
        ids: &BTreeMap<&NodeName, DirectorId>,
    ) -> VipConfig {
        let Some(spec) = self.specs.get(&vip) else {
            // Kept because not all manifests can be read.
            let me = Candidate {
                director: me,
                ready: true,
            };
            return VipConfig {
                order: vec![me],
                reported: BTreeSet::new(),
                on_request: false,
            };
        };
        let after = self.after;
        let order = self.placement.order(vip).iter();
        // A director whose kernel is not programmed would serve nothing, so it is no candidate.
        let order: Vec<&NodeName> = order
            .copied()
            .filter(|name| *name != after.node || self.may_claim(vip))
            .filter(|name| ids.contains_key(name))
            .collect();
        let preferred = spec.directors.preferred.as_ref();
        VipConfig {
            reported: BTreeSet::new(),
            on_request: preferred.is_some() && order.first().copied() == preferred,
            order: order
                .into_iter()
                .map(|name| Candidate {
                    director: ids[name],
                    ready: is_ready(name, vip, spec, &self.idle, after),
                })
                .collect(),
        }
    }
}

fn macs(observed: &Observed) -> BTreeSet<Mac> {
    observed
        .links
        .values()
        .filter_map(|link| link.mac)
        .collect()
}

/// The address by which directors on a segment know a node: the first of its internal ones in the segment's network,
/// else the lowest that its agent reports there.
fn address_on(link: &Link, mut addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.find(|address| address.is_ipv4() && link.is_in_network_of(*address))
}

/// The same for this node. If it has none there, no other director knows it, but it may be the only one: any will do.
fn own_address(link: &Link, after: &AfterPass<'_>) -> Option<DirectorId> {
    let node = after.snapshot.nodes.get(after.node);
    let internal = node.map_or(&[][..], |node| &node.addresses).iter().copied();
    let on_nic = after.observed.own_addresses();
    let any = || internal.clone().find(IpAddr::is_ipv4);
    address_on(link, internal.clone().chain(on_nic))
        .or_else(any)
        .map(DirectorId)
}

/// Whether a candidate could serve `vip` now: this node by what its kernel has, another by its report.
fn is_ready(
    name: &NodeName,
    vip: IpAddr,
    spec: &VirtualService,
    idle: &BTreeSet<IpAddr>,
    after: &AfterPass<'_>,
) -> bool {
    if name == after.node {
        return !idle.contains(&vip);
    }
    stands_by(name, vip, spec.real_servers.cordon, after.snapshot)
}

/// VIPs with services but no destination that gets connections, for instance on a director that is cut off from its
/// real servers: a director with such a destination should hold the VIP.
fn idle(after: &AfterPass<'_>) -> BTreeSet<IpAddr> {
    let wanted = after.desired.net.services.keys();
    let mut idle: BTreeSet<IpAddr> = wanted.map(|key| key.vip).collect();
    for (key, service) in &after.observed.net.services {
        if service.destinations.values().any(|it| it.weight > 0) {
            idle.remove(&key.vip);
        }
    }
    idle
}

/// VIPs of which this director can serve nothing: the quiet VIP is missing, or every service is.
///
/// One service that the kernel refuses – its scheduler's module is missing – must not take the VIP from those that are
/// served, and a service whose edit is refused goes on as it was.
fn unprogrammed(after: &AfterPass<'_>) -> BTreeSet<IpAddr> {
    let (wanted, there) = (&after.desired.net, &after.observed.net);
    let (mut served, mut all) = (BTreeSet::new(), BTreeSet::new());
    for key in wanted.services.keys() {
        all.insert(key.vip);
        if there.services.contains_key(key) {
            served.insert(key.vip);
        }
    }
    let quiet = wanted.addresses.iter();
    let unbound = quiet
        .filter(|(key, role)| **role == Role::Quiet && !there.addresses.contains_key(key))
        .map(|(key, _)| key.ip);
    all.difference(&served).copied().chain(unbound).collect()
}
