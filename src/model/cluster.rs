use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    BACKEND_LABEL, CordonPolicy, DIRECTOR_LABEL, Endpoints, IpRanges, Mac, NodeName, Port, Refusal,
    Reserved, ServiceKey, VirtualService, VsKey,
};

/// The content of all sources once each has been read completely: the same on every node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Every VirtualService; an invalid one is kept as its refusal and does not affect the others. Shared with the
    /// source, so that ten thousand of them are in memory once.
    pub virtual_services: BTreeMap<VsKey, Result<Arc<VirtualService>, Refusal>>,
    /// Every node.
    pub nodes: BTreeMap<NodeName, Node>,
    /// What the nodes' agents report.
    pub peers: Peers,
    /// The request to undo everything on every node, if there is one. The text identifies the request.
    pub undo: Option<String>,
    /// The endpoints of the Services that VirtualServices name. Only directors read them.
    pub endpoints: Endpoints,
}

/// A node as its Node object describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The annotation [`super::WEIGHT_ANNOTATION`], as written.
    pub weight: Option<String>,
    /// Whether it is taken out of use as a real server ([`super::DRAIN_ANNOTATION`]).
    pub drained: bool,
    /// Internal addresses, in the manifest's order.
    pub addresses: Vec<IpAddr>,
    /// Taken out of use for new work (`kubectl cordon`): it holds a VIP only where no other director serves as much of it.
    /// Whether it is a real server all the same is each VirtualService's choice ([`CordonPolicy`]).
    pub cordoned: bool,
    /// Its kubelet has not reported for a while: the machine may be gone, and its agent's report out of date.
    pub silent: bool,
}

impl Node {
    fn has_role(&self, label: &str) -> bool {
        self.labels
            .get(label)
            .is_some_and(|value| value.is_empty() || value == "true")
    }

    /// Whether it may own VIPs.
    pub fn is_director(&self) -> bool {
        self.has_role(DIRECTOR_LABEL)
    }

    /// Whether it hosts applications.
    pub fn is_backend(&self) -> bool {
        self.has_role(BACKEND_LABEL)
    }

    /// Whether it may be a real server: it hosts applications, and is not taken out of use.
    pub fn takes_connections(&self, on_cordon: CordonPolicy) -> bool {
        let is_drained = self.drained
            || match on_cordon {
                CordonPolicy::Ignore => false,
                CordonPolicy::Drain => self.cordoned,
            };
        self.is_backend() && !is_drained
    }
}

impl Snapshot {
    /// Whether the agent of `name` reports `address` as a VIP on one of its devices.
    pub fn has_as_vip(&self, name: &NodeName, address: IpAddr) -> bool {
        let report = self.peers.report(name);
        report.is_some_and(|it| it.held.contains(address) || it.bound.contains(address))
    }

    /// Whether the agent of the director `name` reports that it cannot serve everything behind `vip`. One that reports
    /// nothing of the kind, as agents of older releases, counts as one that can.
    pub fn is_incomplete(&self, name: &NodeName, vip: IpAddr) -> bool {
        let report = self.peers.report(name);
        report.is_some_and(|report| report.incomplete.contains(vip))
    }

    /// Whether a director reports that it holds `vip`.
    pub fn is_held(&self, vip: IpAddr) -> bool {
        let mut reports = self.peers.reports();
        reports.any(|(name, report)| {
            report.held.contains(vip) && self.nodes.get(name).is_some_and(Node::is_director)
        })
    }

    /// All addresses of the node `name` but VIPs: those of its object first, then what its agent reports.
    pub fn addresses_of(&self, name: &NodeName) -> impl Iterator<Item = IpAddr> {
        let node = self.nodes.get(name).into_iter();
        let report = self.peers.report(name).into_iter();
        let internal = node.flat_map(|node| &node.addresses);
        let reported = report.flat_map(|report| &report.addresses);
        let addresses = internal.chain(reported).copied();
        addresses.filter(|address| !self.has_as_vip(name, *address))
    }
}

/// Whether agents can report to each other what they observe.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Peers {
    /// They can't: manifests come from a directory, and agents learn about each other by ARP only.
    #[default]
    Silent,
    /// They can, through their NodeStates.
    Reported(BTreeMap<NodeName, PeerState>),
}

impl Peers {
    /// All reports; none where agents cannot report.
    pub fn reports(&self) -> impl Iterator<Item = (&NodeName, &PeerState)> {
        let reports = match self {
            Self::Silent => None,
            Self::Reported(reports) => Some(reports),
        };
        reports.into_iter().flatten()
    }

    /// What the agent of `name` reported, if it did.
    pub fn report(&self, name: &NodeName) -> Option<&PeerState> {
        match self {
            Self::Silent => None,
            Self::Reported(reports) => reports.get(name),
        }
    }
}

/// What one node's agent observed, as far as other nodes act on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerState {
    /// The node's own addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Other addresses that can be no VIP because of this node.
    pub reserved: Reserved,
    /// The Ethernet addresses of the interfaces that have them.
    pub macs: BTreeMap<IpAddr, Mac>,
    /// VIPs bound to the node's quiet device, with every NIC quiet.
    pub bound: IpRanges,
    /// VIPs on the node's NIC.
    pub held: IpRanges,
    /// VIPs of which this director cannot serve everything; [`crate::desired::placement`] ranks it after those that can.
    pub incomplete: IpRanges,
    /// Groups of VIPs that send to the same real servers.
    pub directing: Vec<Directing>,
    /// Whether `directing` lacks groups, because the report would be too large with them.
    pub partial: bool,
}

/// Services on a director that have the same destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directing {
    /// Their VIPs.
    pub vips: IpRanges,
    /// Their ports on each of the VIPs; empty = all that no other group names.
    pub ports: BTreeSet<Port>,
    /// Addresses of the destinations that get new connections.
    pub ready: IpRanges,
    /// Real servers that get none, and those that get some although they fail their health checks, because all do; each
    /// with the reason.
    pub unready: BTreeMap<IpAddr, Refusal>,
    /// Destinations that keep old connections only: the real server must not drop the VIP yet.
    pub draining: IpRanges,
}

impl PeerState {
    /// What this director does with the connections of a service; `None` if it has none on the VIP.
    pub fn directing(&self, key: ServiceKey) -> Option<&Directing> {
        let on_vip = || self.directing.iter().filter(|it| it.vips.contains(key.vip));
        let named = on_vip().find(|it| it.ports.contains(&key.into()));
        named.or_else(|| on_vip().find(|it| it.ports.is_empty()))
    }

    /// Whether this director could take `vip` over now. A director that is also a real server of `vip` has the services
    /// only while it holds the VIP, so there it is enough that it has the VIP bound: it can answer clients itself.
    pub fn stands_by(&self, vip: IpAddr, is_backend: bool) -> bool {
        let mut groups = self.directing.iter();
        let directs = groups.any(|group| group.vips.contains(vip) && !group.ready.is_empty());
        directs || (is_backend && self.bound.contains(vip))
    }

    /// Whether this director's kernel may still hand packets for `vip` to the real server at `address`. A VIP that a
    /// partial report does not name may have any destination.
    pub fn may_direct(&self, vip: IpAddr, address: IpAddr) -> bool {
        let groups = self.directing.iter();
        let mut groups = groups.filter(|group| group.vips.contains(vip)).peekable();
        if groups.peek().is_none() {
            return self.partial;
        }
        groups.any(|group| group.ready.contains(address) || group.draining.contains(address))
    }
}
