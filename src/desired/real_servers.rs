use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::IpAddr,
    rc::Rc,
};

use crate::model::{
    NodeName, RealServerPolicy, Reason, Refusal, Snapshot, VirtualService, WEIGHT_ANNOTATION,
};

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

/// The sets of one snapshot. Each is computed once for all VirtualServices with one policy, of which there are few where
/// there are ten thousand VirtualServices.
pub(super) struct RealServerSets<'a> {
    snapshot: &'a Snapshot,
    known: VecDeque<(&'a RealServerPolicy, bool, Rc<RealServerSet>)>,
}

/// How many sets are kept: to look through more would cost as much as to compute one, and each has all real servers.
const KNOWN: usize = 32;

impl<'a> RealServerSets<'a> {
    /// None is computed yet.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            known: VecDeque::with_capacity(KNOWN),
        }
    }

    /// Who the real servers of `virtual_service` for `vip` are.
    pub fn get(&mut self, virtual_service: &'a VirtualService, vip: IpAddr) -> Rc<RealServerSet> {
        let policy = &virtual_service.real_servers;
        let is_v4 = vip.is_ipv4();
        let mut known = self.known.iter();
        if let Some((_, _, set)) = known.find(|(its, v4, _)| (*v4, *its) == (is_v4, policy)) {
            return Rc::clone(set);
        }
        let set = Rc::new(of_policy(policy, vip, self.snapshot));
        self.known.truncate(KNOWN - 1);
        self.known.push_front((policy, is_v4, Rc::clone(&set)));
        set
    }
}

/// Who the real servers of `virtual_service` for `vip` are: the same answer on every node.
pub fn real_servers(
    virtual_service: &VirtualService,
    vip: IpAddr,
    snapshot: &Snapshot,
) -> RealServerSet {
    of_policy(&virtual_service.real_servers, vip, snapshot)
}

/// Depends on the family of `vip`, not on the VIP.
fn of_policy(policy: &RealServerPolicy, vip: IpAddr, snapshot: &Snapshot) -> RealServerSet {
    let mut real_servers = RealServerSet::default();
    let family = if vip.is_ipv4() { "IPv4" } else { "IPv6" };
    if let Some(selector) = &policy.selector {
        for (name, node) in &snapshot.nodes {
            if !node.is_backend() || !selector.matches(&node.labels) {
                continue;
            }
            let Some(address) = snapshot.real_server_address(name, vip) else {
                let refusal = Refusal::new(
                    Reason::NoNodeAddress,
                    format!("node {name} has no {family} InternalIP in status.addresses"),
                );
                real_servers.refused.insert(name.clone(), refusal);
                continue;
            };
            match weight(name, node.weight.as_deref(), policy.weight) {
                Ok(weight) => {
                    let id = RealServerId::Node(name.clone());
                    real_servers
                        .by_address
                        .insert(address, RealServer { id, weight });
                }
                Err(refusal) => {
                    real_servers.refused.insert(name.clone(), refusal);
                }
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
