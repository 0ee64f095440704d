//! v1 Node → model.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;

use crate::model::{DRAIN_ANNOTATION, Node, NodeName, WEIGHT_ANNOTATION};

/// A node's name, what directway needs of it, and a problem per address that is invalid.
pub fn node(object: &core::Node) -> (NodeName, Node, Vec<String>) {
    let metadata = &object.metadata;
    let name = NodeName(metadata.name.clone().unwrap_or_default());
    let mut problems = Vec::new();
    let listed = object
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten())
        .filter(|address| address.type_ == "InternalIP");
    let addresses = listed
        .filter_map(|address| {
            address
                .address
                .parse::<IpAddr>()
                .map_err(|_| {
                    problems.push(format!(
                        "status.addresses: InternalIP \"{}\" is not an IP address: write it as in 192.0.2.10",
                        address.address
                    ));
                })
                .ok()
        })
        .collect();
    let annotation = |name| metadata.annotations.as_ref().and_then(|all| all.get(name));
    let node = Node {
        labels: metadata.labels.clone().unwrap_or_default(),
        weight: annotation(WEIGHT_ANNOTATION).cloned(),
        drained: annotation(DRAIN_ANNOTATION).is_some_and(|value| value != "false"),
        addresses,
        cordoned: object
            .spec
            .as_ref()
            .and_then(|spec| spec.unschedulable)
            .unwrap_or_default(),
        silent: is_silent(object),
    };
    (name, node, problems)
}

/// The node lifecycle controller sets Ready to Unknown when a kubelet has not renewed its Lease for 40 s
/// (`--node-monitor-grace-period`). False was set by the kubelet itself, so the node is alive.
fn is_silent(object: &core::Node) -> bool {
    let status = object.status.iter();
    let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
}
