use crate::model::{
    EndpointState, Node, NodeName, Reason, Refusal, ServiceName, Snapshot, VirtualService,
};

use super::RealServerId;

/// What the endpoints of a VirtualService's Service mean for one of its real servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndpointCheck {
    /// It may get connections.
    Takes,
    /// Its endpoint is terminating, but still serves: it gets connections only while no other real server does.
    Leaves(Refusal),
    /// It must get no new connections.
    Refuses(Refusal),
    /// No endpoint runs there.
    Absent,
    /// The endpoints have not been read yet.
    Unread(Refusal),
}

/// Checks `real_server` against the endpoints of the Service, if one is named.
pub(super) fn check_endpoint(
    virtual_service: &VirtualService,
    real_server: &RealServerId,
    snapshot: &Snapshot,
) -> EndpointCheck {
    let (Some(service), RealServerId::Node(name)) =
        (&virtual_service.real_servers.service, real_server)
    else {
        return EndpointCheck::Takes;
    };
    if !snapshot.endpoints.contains_key(service) {
        let unread = format!("the EndpointSlices of Service {service} have not been read yet");
        return EndpointCheck::Unread(Refusal::new(Reason::Pending, unread));
    }
    match snapshot.nodes.get(name) {
        Some(node) => on_node(virtual_service, service, name, node, snapshot),
        None => EndpointCheck::Absent,
    }
}

// The messages name neither the Service nor the pod, so that VIPs whose real servers have equal states share an entry
// of the NodeState, which must stay small.
fn on_node(
    virtual_service: &VirtualService,
    service: &ServiceName,
    name: &NodeName,
    node: &Node,
    snapshot: &Snapshot,
) -> EndpointCheck {
    let mut best: Option<EndpointState> = None;
    let mut unserved = None;
    let mut has_pod = false;
    for slice in snapshot
        .endpoints
        .get(service)
        .into_iter()
        .flat_map(|slices| slices.values())
    {
        let lacking = virtual_service
            .ports
            .iter()
            .find(|port| !slice.ports.contains(port.port, port.protocol));
        for endpoint in &slice.endpoints {
            // A pod on the host's network has the node's address, and so has its endpoint.
            if node.addresses.contains(&endpoint.address) {
                match lacking {
                    Some(port) => unserved = Some(port),
                    // While slices are rearranged, an endpoint may be in two of them.
                    None => best = Some(best.map_or(endpoint.state, |b| b.min(endpoint.state))),
                }
            } else {
                has_pod |= endpoint.node.as_ref() == Some(name);
            }
        }
    }
    let refusal = match (best, unserved) {
        (Some(EndpointState::Ready), _) => return EndpointCheck::Takes,
        (Some(EndpointState::ServingTerminating), _) => return EndpointCheck::Leaves(ending()),
        (Some(EndpointState::Terminating), _) => ending(),
        (Some(EndpointState::NotReady), _) => {
            Refusal::new(Reason::EndpointNotReady, "its endpoint is not ready")
        }
        (None, Some(port)) => Refusal::new(
            Reason::EndpointPortDiffers,
            format!(
                "its endpoint does not listen on {}/{}, and direct routing cannot change the port: let the pod and the Service's targetPort use it",
                port.port, port.protocol
            ),
        ),
        (None, None) if has_pod => Refusal::new(
            Reason::EndpointOnPodNetwork,
            "its endpoint is a pod with a network of its own, which direct routing cannot reach: give the pod hostNetwork: true",
        ),
        (None, None) => return EndpointCheck::Absent,
    };
    EndpointCheck::Refuses(refusal)
}

fn ending() -> Refusal {
    Refusal::new(Reason::Draining, "its endpoint is terminating")
}

/// The refusal of a VirtualService that has no real server although nodes are selected.
pub fn no_endpoints(service: &ServiceName) -> Refusal {
    let ServiceName { namespace, name } = service;
    Refusal::new(
        Reason::NoEndpoints,
        format!(
            "no endpoint of Service {service} runs on a node that is labelled directway.dev/backend and selected; see kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={name}"
        ),
    )
}
