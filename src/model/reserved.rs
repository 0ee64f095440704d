use std::{collections::BTreeMap, net::IpAddr};

use super::words;

words! {
    /// What an address is to a node, so that it can be no VIP: bound on a node, it would lead the node's own packets to
    /// itself.
    pub enum ReservedAs {
        /// The next hop of one of its routes, such as its default gateway.
        NextHop = "NextHop",
        /// Where it reaches the API server.
        ApiServer = "APIServer",
        /// An address of its own.
        OwnAddress = "OwnAddress",
        /// The address of a network that it is in.
        Network = "Network",
        /// The broadcast address of a network that it is in.
        Broadcast = "Broadcast",
    }
}

/// Addresses that can be no VIP because of one node.
pub type Reserved = BTreeMap<IpAddr, ReservedAs>;

impl ReservedAs {
    /// What an address is to `node`, as the end of a sentence.
    pub fn explain(self, node: &str) -> String {
        match self {
            Self::NextHop => format!("a router that {node} has routes through"),
            Self::ApiServer => format!("where {node} reaches the API server"),
            Self::OwnAddress => format!("the address of {node}"),
            Self::Network => format!("the address of a network that {node} is in"),
            Self::Broadcast => format!("the broadcast address of a network that {node} is in"),
        }
    }
}
