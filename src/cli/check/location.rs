//! Where `check` runs. Its findings are about this machine, and a kubectl plugin mostly runs on one that is no node.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::facts::Location;

/// Which of a cluster's nodes a machine is: by its name, else by an address.
pub(super) fn location(machine: String, addresses: &BTreeSet<IpAddr>, nodes: &[Node]) -> Location {
    let by_name = nodes.iter().find(|node| node.name_any() == machine);
    let node = by_name.or_else(|| nodes.iter().find(|node| has_one_of(node, addresses)));
    Location {
        node: node.map(ResourceExt::name_any),
        machine,
    }
}

fn has_one_of(node: &Node, addresses: &BTreeSet<IpAddr>) -> bool {
    let status = node.status.iter();
    let of_node = status.flat_map(|status| status.addresses.iter().flatten());
    of_node
        .filter_map(|address| address.address.parse().ok())
        .any(|address: IpAddr| addresses.contains(&address))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{NodeAddress, NodeStatus};

    use super::*;

    fn node(name: &str, address: &str) -> Node {
        let address = NodeAddress {
            address: address.to_owned(),
            type_: "InternalIP".to_owned(),
        };
        let mut node = Node::default();
        node.metadata.name = Some(name.to_owned());
        node.status = Some(NodeStatus {
            addresses: Some(vec![address]),
            ..NodeStatus::default()
        });
        node
    }

    #[test]
    fn a_node_is_known_by_its_name_or_by_an_address() {
        let nodes = [node("a", "10.0.0.1"), node("b.example.org", "10.0.0.2")];
        let on = |machine: &str, address: &str| {
            let addresses = [address.parse().unwrap()].into();
            location(machine.to_owned(), &addresses, &nodes)
        };
        for (machine, address, expected) in [
            ("a", "127.0.0.1", Some("a")),
            ("b", "10.0.0.2", Some("b.example.org")),
            ("a", "10.0.0.2", Some("a")),
            ("laptop", "10.0.0.3", None),
        ] {
            let found = on(machine, address);
            assert_eq!(found.node.as_deref(), expected, "{machine} {address}");
        }
    }
}
