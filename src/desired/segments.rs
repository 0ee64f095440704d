//! What the election on each of a node's segments has to know: who else is there, and who should hold what.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
};

use crate::{
    election::{Candidate, DirectorId, Known, View, Wanted, Wish, place},
    model::{
        AddressKey, Dev, Link, Mac, Node, NodeName, Observed, Peers, Role, Snapshot, VirtualService,
    },
};

use super::{Admission, Desired, directors};

/// A segment on which VIPs are elected, seen from one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The kernel's index of the node's NIC there.
    pub index: NonZeroU32,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Who is there, and who should hold what.
    pub view: Arc<View>,
}

/// By NIC.
pub type Segments = BTreeMap<Dev, Segment>;

/// Nodes that were directors, with their addresses: they may have VIPs on their NICs for a while yet.
pub type Former = BTreeMap<NodeName, Vec<IpAddr>>;

/// What [`segments`] looks at.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// This node.
    pub node: &'a NodeName,
    /// What the sources say.
    pub snapshot: &'a Snapshot,
    /// Which VirtualServices are served.
    pub admission: &'a Admission<'a>,
    /// What the kernel shows, after whatever was to be done.
    pub observed: &'a Observed,
    /// What the node should be.
    pub desired: &'a Desired,
    /// Who was a director lately.
    pub former: &'a Former,
    /// Whether the sources can be read now.
    pub fresh: bool,
}

/// Every segment on which this node holds a VIP or may.
pub fn segments(sight: &Sight<'_>) -> Segments {
    let specs: BTreeMap<IpAddr, &VirtualService> = sight
        .admission
        .accepted
        .values()
        .flat_map(|spec| spec.vips.iter().map(move |vip| (*vip, &**spec)))
        .collect();
    let (unprogrammed, idle) = (unprogrammed(sight), idle(sight));
    let mut by_nic: BTreeMap<&Dev, BTreeSet<IpAddr>> = BTreeMap::new();
    for (vip, dev) in &sight.desired.candidacies {
        by_nic.entry(dev).or_default().insert(*vip);
    }
    // What it holds although it may no longer.
    for (AddressKey { dev, ip }, role) in &sight.desired.net.addresses {
        if *role == Role::Held && super::node::is_elected(*ip) {
            by_nic.entry(dev).or_default().insert(*ip);
        }
    }
    by_nic
        .into_iter()
        .filter_map(|(dev, vips)| {
            let link = sight.observed.links.get(dev)?;
            Some((
                dev.clone(),
                segment(link, &vips, &specs, &unprogrammed, &idle, sight)?,
            ))
        })
        .collect()
}

fn segment(
    link: &Link,
    vips: &BTreeSet<IpAddr>,
    specs: &BTreeMap<IpAddr, &VirtualService>,
    unprogrammed: &BTreeSet<IpAddr>,
    idle: &BTreeSet<IpAddr>,
    sight: &Sight<'_>,
) -> Option<Segment> {
    let me = own_address(link, sight)?;
    let mut ids: BTreeMap<&NodeName, DirectorId> = sight
        .snapshot
        .nodes
        .keys()
        .filter_map(|name| {
            let addresses = sight.snapshot.addresses_of(name);
            Some((name, DirectorId(address_on(link, addresses)?)))
        })
        .collect();
    ids.insert(sight.node, me);
    let (nodes, reports) = (&sight.snapshot.nodes, &sight.snapshot.peers);
    let may_hold = |name: &NodeName| {
        nodes.get(name).is_some_and(Node::is_director)
            || reports
                .report(name)
                .is_some_and(|peer| !peer.held.is_empty())
    };
    let mut peers: BTreeMap<DirectorId, Known> = ids
        .iter()
        .filter(|(name, _)| may_hold(name))
        .map(|(name, id)| (*id, known(name)))
        .collect();
    for (name, addresses) in sight.former {
        if let Some(address) = address_on(link, addresses.iter().copied()) {
            peers
                .entry(DirectorId(address))
                .or_insert_with(|| known(name));
        }
    }
    peers.remove(&me);

    let cordoned = nodes.iter().filter(|(_, node)| node.cordoned);
    let cordoned = cordoned.map(|(name, _)| name.clone()).collect();
    let wishes: Vec<Wish<'_>> = vips
        .iter()
        .filter_map(|vip| {
            let spec = specs.get(vip)?;
            let eligible = directors(spec, sight.snapshot);
            Some(Wish {
                vip: *vip,
                eligible: eligible
                    .filter(|name| ids.contains_key(name))
                    .filter(|name| *name != sight.node || !unprogrammed.contains(vip))
                    .collect(),
                preferred: spec.directors.preferred.as_ref(),
            })
        })
        .collect();
    let mut orders = place(&wishes, &cordoned).orders;
    let wanted = |vip: IpAddr| {
        let Some(spec) = specs.get(&vip) else {
            // Kept because not all manifests can be read.
            let me = Candidate {
                director: me,
                ready: true,
            };
            return Wanted {
                order: vec![me],
                on_request: false,
            };
        };
        let order = orders.remove(&vip).unwrap_or_default();
        let preferred = spec.directors.preferred.as_ref();
        Wanted {
            on_request: preferred.is_some() && order.first().copied() == preferred,
            order: order
                .into_iter()
                .map(|name| Candidate {
                    director: ids[name],
                    ready: is_ready(name, vip, idle, sight),
                })
                .collect(),
        }
    };
    let view = View {
        me,
        macs: macs(sight.observed),
        peers,
        vips: vips
            .iter()
            .copied()
            .map(wanted)
            .map(Arc::new)
            .zip(vips)
            .map(|(wanted, vip)| (*vip, wanted))
            .collect(),
        fresh: sight.fresh,
    };
    Some(Segment {
        index: NonZeroU32::new(link.index)?,
        mac: link.mac?,
        view: Arc::new(view),
    })
}

fn known(name: &NodeName) -> Known {
    Known {
        name: name.clone(),
        mac: None,
    }
}

fn macs(observed: &Observed) -> BTreeSet<Mac> {
    observed
        .links
        .values()
        .filter_map(|link| link.mac)
        .collect()
}

/// The address by which directors on a segment know a node: of its internal ones the first that is there, else the lowest
/// that its agent reports there.
fn address_on(link: &Link, mut addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.find(|address| address.is_ipv4() && link.is_in_network_of(*address))
}

/// The same for this node. Where it has none there, no other can know it either; but it may be the only director.
fn own_address(link: &Link, sight: &Sight<'_>) -> Option<DirectorId> {
    let node = sight.snapshot.nodes.get(sight.node);
    let internal = node.map_or(&[][..], |node| &node.addresses).iter().copied();
    let on_nic = sight.observed.own_addresses();
    let any = || internal.clone().find(IpAddr::is_ipv4);
    address_on(link, internal.clone().chain(on_nic))
        .or_else(any)
        .map(DirectorId)
}

/// Whether a director that stands for election could serve `vip` now: this one as its kernel is, another as it reported.
fn is_ready(name: &NodeName, vip: IpAddr, idle: &BTreeSet<IpAddr>, sight: &Sight<'_>) -> bool {
    if name == sight.node {
        return !idle.contains(&vip);
    }
    match &sight.snapshot.peers {
        // Without reports, nothing is known to the contrary.
        Peers::Silent => true,
        Peers::Reported(reports) => {
            let node = sight.snapshot.nodes.get(name);
            let is_backend = node.is_some_and(Node::is_backend);
            let report = reports.get(name);
            report.is_some_and(|report| report.stands_by(vip, is_backend))
        }
    }
}

/// VIPs with services and not a single destination that gets connections: whoever has one should have the VIP. A director
/// that was cut off from its real servers is such a one.
fn idle(sight: &Sight<'_>) -> BTreeSet<IpAddr> {
    let wanted = sight.desired.net.services.keys();
    let mut idle: BTreeSet<IpAddr> = wanted.map(|key| key.vip).collect();
    for (key, service) in &sight.observed.net.services {
        if service.destinations.values().any(|it| it.weight > 0) {
            idle.remove(&key.vip);
        }
    }
    idle
}

/// VIPs of which not everything is there that comes before the VIP on the NIC: nothing would be served, so this node does
/// not stand for election.
fn unprogrammed(sight: &Sight<'_>) -> BTreeSet<IpAddr> {
    let there = &sight.observed.net;
    let services = sight.desired.net.services.iter();
    let services = services
        .filter(|(key, wanted)| {
            let present = there.services.get(key);
            !present.is_some_and(|present| wanted.same_settings(present))
        })
        .map(|(key, _)| key.vip);
    let quiet = sight.desired.net.addresses.iter();
    let quiet = quiet
        .filter(|(key, role)| **role == Role::Quiet && !there.addresses.contains_key(key))
        .map(|(key, _)| key.ip);
    services.chain(quiet).collect()
}
