use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::IpAddr,
    rc::Rc,
};

use ipnet::IpNet;

use crate::model::{
    NodeName, RealServerPolicy, Reason, Refusal, Snapshot, VirtualService, WEIGHT_ANNOTATION,
};

use super::viewpoint::{Viewpoint, owner_of};

/// A real server of a VirtualService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// Who it is.
    pub id: RealServerId,
    /// The weight it gets when it is ready.
    pub weight: u32,
}

/// Who a real server is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RealServerId {
    /// A node, whose agent reports for it.
    Node(NodeName),
    /// A host outside the cluster.
    External,
}

impl fmt::Display for RealServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => name.fmt(f),
            Self::External => f.pad("external"),
        }
    }
}

/// The real servers of a VirtualService for one VIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealServerSet {
    /// By the address that packets are sent to.
    pub by_address: BTreeMap<IpAddr, RealServer>,
    /// Selected nodes that cannot be one.
    pub refused: BTreeMap<NodeName, Refusal>,
}

/// The sets of one snapshot. Each is computed once for all VirtualServices with one policy and network, of which there are
/// few where there are ten thousand VirtualServices.
pub(super) struct RealServerSets<'a> {
    snapshot: &'a Snapshot,
    viewpoint: Viewpoint<'a>,
    known: VecDeque<(&'a RealServerPolicy, bool, Option<IpNet>, Rc<RealServerSet>)>,
}

/// How many sets are kept: to look through more would cost as much as to compute one, and each has all real servers.
const KNOWN: usize = 32;

impl<'a> RealServerSets<'a> {
    /// None is computed yet.
    pub fn new(snapshot: &'a Snapshot, viewpoint: Viewpoint<'a>) -> Self {
        Self {
            snapshot,
            viewpoint,
            known: VecDeque::with_capacity(KNOWN),
        }
    }

    /// Who the real servers of `virtual_service` for `vip` are.
    pub fn get(&mut self, virtual_service: &'a VirtualService, vip: IpAddr) -> Rc<RealServerSet> {
        let policy = &virtual_service.real_servers;
        let key = (policy, vip.is_ipv4(), self.viewpoint.network_of(vip));
        let mut known = self.known.iter();
        if let Some((.., set)) = known.find(|(its, v4, net, _)| (*its, *v4, *net) == key) {
            return Rc::clone(set);
        }
        let set = Rc::new(of_policy(policy, vip, self.snapshot, Some(&self.viewpoint)));
        self.known.truncate(KNOWN - 1);
        let (policy, is_v4, network) = key;
        self.known
            .push_front((policy, is_v4, network, Rc::clone(&set)));
        set
    }
}

/// Who the real servers of `virtual_service` for `vip` are, as a director at `viewpoint` sees them: the same answer on every
/// node in the same networks.
pub fn real_servers(
    virtual_service: &VirtualService,
    vip: IpAddr,
    snapshot: &Snapshot,
    viewpoint: Option<&Viewpoint<'_>>,
) -> RealServerSet {
    of_policy(&virtual_service.real_servers, vip, snapshot, viewpoint)
}

/// Depends on the family and the network of `vip`, not on the VIP.
fn of_policy(
    policy: &RealServerPolicy,
    vip: IpAddr,
    snapshot: &Snapshot,
    viewpoint: Option<&Viewpoint<'_>>,
) -> RealServerSet {
    let mut real_servers = RealServerSet::default();
    for (address, name) in owners(policy, vip, snapshot, viewpoint, &mut real_servers.refused) {
        let node = snapshot.nodes.get(name);
        let annotation = node.and_then(|node| node.weight.as_deref());
        match weight(name, annotation, policy.weight) {
            Ok(weight) => {
                let id = RealServerId::Node(name.clone());
                let real_server = RealServer { id, weight };
                real_servers.by_address.insert(address, real_server);
            }
            Err(refusal) => {
                real_servers.refused.insert(name.clone(), refusal);
            }
        }
    }
    for external in &policy.external {
        // A node that is also listed by its address stays a node: its agent reports more than ARP shows.
        real_servers
            .by_address
            .entry(external.address)
            .or_insert(RealServer {
                id: RealServerId::External,
                weight: external.weight.into(),
            });
    }
    real_servers
        .by_address
        .retain(|address, _| address.is_ipv4() == vip.is_ipv4());
    real_servers
}

/// The selected nodes by the address that packets are sent to.
fn owners<'a>(
    policy: &RealServerPolicy,
    vip: IpAddr,
    snapshot: &'a Snapshot,
    viewpoint: Option<&Viewpoint<'_>>,
    refused: &mut BTreeMap<NodeName, Refusal>,
) -> BTreeMap<IpAddr, &'a NodeName> {
    let here = viewpoint.map(|it| it.node);
    let mut owners: BTreeMap<IpAddr, &NodeName> = BTreeMap::new();
    let Some(selector) = &policy.selector else {
        return owners;
    };
    for (name, node) in &snapshot.nodes {
        if !node.takes_connections(policy.cordon) || !selector.matches(&node.labels) {
            continue;
        }
        let Some(address) = address(name, vip, snapshot, viewpoint) else {
            let family = if vip.is_ipv4() { "IPv4" } else { "IPv6" };
            let message = format!("node {name} has no {family} InternalIP in status.addresses");
            let refusal = Refusal::new(Reason::NoNodeAddress, message);
            refused.insert(name.clone(), refusal);
            continue;
        };
        let owner = owners.entry(address).or_insert(name);
        let present = *owner;
        if present != name {
            let winner = owner_of(address, present, name, here, snapshot);
            let other = if winner == name { present } else { name };
            *owner = winner;
            refused.insert(other.clone(), address_shared(other, address, winner));
        }
    }
    owners
}

/// The address to which a director sends packets for `vip` to the node `name`: one in the VIP's network, which the node's
/// object or its agent's report names; else one of its object that is in another network of the director; else the first
/// of its object. A node without an address of the family in its object is no real server.
fn address(
    name: &NodeName,
    vip: IpAddr,
    snapshot: &Snapshot,
    viewpoint: Option<&Viewpoint<'_>>,
) -> Option<IpAddr> {
    let of_family = |ip: &IpAddr| ip.is_ipv4() == vip.is_ipv4();
    let internal = &snapshot.nodes.get(name)?.addresses;
    internal.iter().find(|ip| of_family(ip))?;
    let all = || {
        let own = viewpoint.into_iter().flat_map(|it| it.own_of(name));
        let all = snapshot.addresses_of(name).chain(own);
        all.filter(of_family)
    };
    let Some(viewpoint) = viewpoint else {
        return all().next();
    };
    let others = || all().filter(|ip| viewpoint.node == name || !viewpoint.has(*ip));
    let network = viewpoint.network_of(vip);
    let near = others().find(|ip| network.is_some_and(|net| net.contains(ip)));
    let on_link =
        || others().find(|ip| internal.contains(ip) && viewpoint.network_of(*ip).is_some());
    near.or_else(on_link).or_else(|| all().next())
}

fn address_shared(name: &NodeName, address: IpAddr, owner: &NodeName) -> Refusal {
    Refusal::new(
        Reason::NodeAddressShared,
        format!(
            "node {name} has the address {address}, which is that of node {owner}: delete the Node that is gone, or give each an address of its own"
        ),
    )
}

fn weight(name: &NodeName, annotation: Option<&str>, default: u16) -> Result<u32, Refusal> {
    let Some(text) = annotation else {
        return Ok(default.into());
    };
    text.parse::<u16>().map(u32::from).map_err(|_| {
        Refusal::new(
            Reason::InvalidWeightAnnotation,
            format!("node {name} has the annotation {WEIGHT_ANNOTATION}={text:?}; use a number from 0 to 65535"),
        )
    })
}
