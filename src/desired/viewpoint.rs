use std::{cmp::Reverse, collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

use crate::model::{LinkKind, NodeName, Observed, PeerState, Snapshot};

/// A node from which others are looked at, with what its kernel or its report says of its networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewpoint<'a> {
    /// The node.
    pub(super) node: &'a NodeName,
    /// The networks that it is in.
    networks: BTreeSet<IpNet>,
    /// Its own addresses in them.
    addresses: BTreeSet<IpAddr>,
}

impl<'a> Viewpoint<'a> {
    /// The node `node`, as its kernel shows it.
    pub fn new(node: &'a NodeName, observed: &Observed) -> Self {
        let links = observed.links.values();
        let links = links.filter(|link| link.kind == LinkKind::Other && !link.enslaved);
        let networks: BTreeSet<IpNet> = links.flat_map(|link| link.networks()).copied().collect();
        Self {
            node,
            addresses: networks.iter().map(IpNet::addr).collect(),
            networks: networks.iter().map(IpNet::trunc).collect(),
        }
    }

    /// The node `node`, as its agent reports it.
    pub fn reported(node: &'a NodeName, networks: BTreeSet<IpNet>, report: &PeerState) -> Self {
        Self {
            node,
            networks,
            addresses: report.addresses.clone(),
        }
    }

    /// Its smallest network that contains `ip`.
    pub(super) fn network_of(&self, ip: IpAddr) -> Option<IpNet> {
        let networks = self.networks.iter().filter(|net| net.contains(&ip));
        networks.max_by_key(|net| net.prefix_len()).copied()
    }

    /// Whether it has this address itself.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip)
    }

    /// Its own addresses, if it is the node `name`: its own report is not in the snapshot that it reads.
    pub(super) fn own_of(&self, name: &NodeName) -> impl Iterator<Item = IpAddr> {
        let is_own = self.node == name;
        self.addresses.iter().copied().filter(move |_| is_own)
    }
}

/// Which of two nodes that both claim `address` has it: the one that looks, `here`, because it runs; then one whose agent
/// reports the address and whose kubelet is not silent. The other is mostly what is left of a node that had another name.
pub(super) fn owner_of<'a>(
    address: IpAddr,
    one: &'a NodeName,
    other: &'a NodeName,
    here: Option<&NodeName>,
    snapshot: &Snapshot,
) -> &'a NodeName {
    let claim = |name: &NodeName| {
        let node = snapshot.nodes.get(name);
        let speaks = node.is_some_and(|node| !node.silent);
        let report = snapshot.peers.report(name);
        let reports = report.is_some_and(|report| report.addresses.contains(&address));
        let is_internal = node.is_some_and(|node| node.addresses.contains(&address));
        (
            here == Some(name),
            reports && speaks,
            reports,
            speaks,
            is_internal,
            Reverse(name.clone()),
        )
    };
    if claim(one) >= claim(other) {
        one
    } else {
        other
    }
}
