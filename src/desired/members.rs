use std::{collections::BTreeMap, fmt, net::IpAddr};

use crate::model::{NodeName, Reason, Refusal, Snapshot, VirtualService, WEIGHT_ANNOTATION};

/// A real server of a VirtualService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub id: MemberId,
    /// The weight it gets when it is ready.
    pub weight: u32,
}

/// Who a real server is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberId {
    /// A node, whose agent speaks for it.
    Node(NodeName),
    /// A host outside the cluster.
    External,
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => name.fmt(f),
            Self::External => f.pad("external"),
        }
    }
}

/// The real servers of a VirtualService for one VIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// By the address that packets are sent to.
    pub by_address: BTreeMap<IpAddr, Member>,
    /// Selected nodes that cannot be one.
    pub refused: BTreeMap<NodeName, Refusal>,
}

/// Who the real servers of `virtual_service` for `vip` are: the same answer on every node.
pub fn members(virtual_service: &VirtualService, vip: IpAddr, snapshot: &Snapshot) -> Members {
    let policy = &virtual_service.real_servers;
    let mut members = Members::default();
    if let Some(selector) = &policy.selector {
        for (name, node) in &snapshot.nodes {
            if !node.is_backend() || !selector.matches(&node.labels) {
                continue;
            }
            let Some(address) = node.address_for(vip) else {
                let refusal = Refusal::new(
                    Reason::NoNodeAddress,
                    format!(
                        "node {name} has no InternalIP of the family of {vip} in status.addresses"
                    ),
                );
                members.refused.insert(name.clone(), refusal);
                continue;
            };
            match weight(name, node.weight.as_deref(), policy.weight) {
                Ok(weight) => {
                    let id = MemberId::Node(name.clone());
                    members.by_address.insert(address, Member { id, weight });
                }
                Err(refusal) => {
                    members.refused.insert(name.clone(), refusal);
                }
            }
        }
    }
    for external in &policy.external {
        // A node that is also listed by its address stays a node: its agent knows more than the wire.
        members
            .by_address
            .entry(external.address)
            .or_insert(Member {
                id: MemberId::External,
                weight: external.weight.into(),
            });
    }
    members
        .by_address
        .retain(|address, _| address.is_ipv4() == vip.is_ipv4());
    members
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
