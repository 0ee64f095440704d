//! discovery.k8s.io/v1 EndpointSlice → model.

use k8s_openapi::api::discovery::v1::{Endpoint as ApiEndpoint, EndpointPort, EndpointSlice};

use crate::model::{
    Endpoint, EndpointPorts, EndpointState, NodeName, Protocol, ServiceName, Slice,
};

/// The label that names a slice's Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The slice's Service, if it has one; its own name; and its content.
pub fn endpoint_slice(object: &EndpointSlice) -> (Option<ServiceName>, String, Slice) {
    let metadata = &object.metadata;
    let labels = metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL));
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    let slice = Slice {
        ports: ports(object.ports.as_deref().unwrap_or_default()),
        endpoints: object
            .endpoints
            .iter()
            .flatten()
            .flat_map(endpoints)
            .collect(),
    };
    (
        service.map(|name| ServiceName::new(namespace, name)),
        metadata.name.clone().unwrap_or_default(),
        slice,
    )
}

/// A slice without ports is that of a Service without ports; a port without a number stands for all.
fn ports(ports: &[EndpointPort]) -> EndpointPorts {
    if ports.is_empty() || ports.iter().any(|port| port.port.is_none()) {
        return EndpointPorts::Any;
    }
    let known = ports.iter().filter_map(|port| {
        let protocol: Protocol = port.protocol.as_deref().unwrap_or("TCP").parse().ok()?;
        Some((u16::try_from(port.port?).ok()?, protocol))
    });
    EndpointPorts::These(known.collect())
}

/// One for each IP address. A host name (address type FQDN) is left out, because no node has it as its address.
fn endpoints(endpoint: &ApiEndpoint) -> impl Iterator<Item = Endpoint> {
    let addresses = endpoint.addresses.iter();
    addresses.filter_map(|address| {
        Some(Endpoint {
            address: address.parse().ok()?,
            node: endpoint.node_name.clone().map(NodeName),
            state: state(endpoint),
        })
    })
}

/// A missing condition counts as the API documents: ready is true, serving is what ready is, terminating is false.
fn state(endpoint: &ApiEndpoint) -> EndpointState {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|given| given.ready).unwrap_or(true);
    let serving = conditions.and_then(|given| given.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|given| given.terminating);
    match (terminating.unwrap_or(false), ready, serving) {
        (false, true, _) => EndpointState::Ready,
        (false, false, _) => EndpointState::NotReady,
        (true, _, true) => EndpointState::ServingTerminating,
        (true, _, false) => EndpointState::Terminating,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> (Option<ServiceName>, String, Slice) {
        endpoint_slice(&serde_json::from_value(value).unwrap())
    }

    fn state_of(conditions: Value) -> EndpointState {
        let (_, _, slice) = read(json!({
            "metadata": {"name": "x"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}],
        }));
        slice.endpoints[0].state
    }

    #[test]
    fn a_slice_is_read() {
        let (service, name, slice) = read(json!({
            "metadata": {"name": "web-abc", "namespace": "shop", "labels": {SERVICE_NAME_LABEL: "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}, {"port": 1}],
            "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "a"}, {"addresses": ["db.example.com"]}],
        }));
        assert_eq!(service, Some(ServiceName::new("shop", "web")));
        assert_eq!(name, "web-abc");
        let expected = Endpoint {
            address: [10, 0, 0, 1].into(),
            node: Some("a".into()),
            state: EndpointState::Ready,
        };
        assert_eq!(slice.endpoints, [expected]);
        for (port, protocol) in [(80, Protocol::Tcp), (53, Protocol::Udp), (1, Protocol::Tcp)] {
            assert!(slice.ports.contains(port, protocol));
        }
        assert!(!slice.ports.contains(53, Protocol::Tcp));
    }

    #[test]
    fn a_slice_of_nobody_is_no_services() {
        let (service, _, slice) =
            read(json!({"metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": []}));
        assert_eq!(service, None);
        assert!(
            slice.ports.contains(7, Protocol::Sctp),
            "no port is any port"
        );
    }

    #[test]
    fn conditions_mean_what_the_api_says() {
        use EndpointState::{NotReady, Ready, ServingTerminating, Terminating};
        for (conditions, expected) in [
            (json!(null), Ready),
            (json!({}), Ready),
            (
                json!({"ready": true, "serving": true, "terminating": false}),
                Ready,
            ),
            (json!({"ready": false}), NotReady),
            (
                json!({"ready": false, "serving": true, "terminating": true}),
                ServingTerminating,
            ),
            (
                json!({"ready": false, "serving": false, "terminating": true}),
                Terminating,
            ),
            (json!({"ready": false, "terminating": true}), Terminating),
            // publishNotReadyAddresses
            (json!({"ready": true, "serving": false}), Ready),
            (
                json!({"ready": true, "serving": true, "terminating": true}),
                ServingTerminating,
            ),
        ] {
            assert_eq!(state_of(conditions.clone()), expected, "{conditions}");
        }
    }
}
