//! Model → API object: the inverse of [`super::convert`]. What is kept on disk is read again by the same checks as an
//! object of an API server.

use std::collections::BTreeMap;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};

use super::{
    health_check::api_of,
    virtual_service::{
        Directors, ExternalServer, NodeSelector, Persistence, Port, RealServers, Scheduler,
        SelectorRequirement, ServiceReference, VirtualService, VirtualServiceSpec,
    },
};
use crate::model::{
    self, ArpMode, DirectorPolicy, Operator, RealServerPolicy, Requirement, Selector,
};

/// The most entries that `matchLabels` may have; see [`super::virtual_service::NodeSelector`].
const MAX_LABELS: usize = 64;

/// The object that [`super::parse_virtual_service`] reads as `virtual_service`.
pub fn manifest_of(virtual_service: &model::VirtualService) -> VirtualService {
    // Not kept: `without` is decided anew from all objects (`desired::admit`).
    let model::VirtualService {
        key,
        uid,
        generation,
        created,
        vips,
        ports,
        scheduler,
        flags,
        persistence_v4,
        persistence_v6,
        directors,
        real_servers,
        health_check,
        drain,
        without: _,
    } = virtual_service;
    let ports = ports.iter().map(|port| Port {
        name: None,
        port: port.port.into(),
        protocol: port.protocol.name().to_owned(),
    });
    let spec = VirtualServiceSpec {
        vips: vips.iter().map(ToString::to_string).collect(),
        ports: ports.collect(),
        scheduler: Scheduler {
            name: scheduler.name().to_owned(),
            flags: Some(flags.iter().map(|flag| flag.name(scheduler)).collect()),
        },
        persistence: persistence(persistence_v4.as_ref(), persistence_v6.as_ref()),
        directors: directors_of(directors),
        real_servers: real_servers_of(real_servers),
        health_check: api_of(health_check),
        drain_seconds: i64::try_from(drain.as_secs()).unwrap_or(i64::MAX),
    };
    VirtualService {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: Some(uid.clone()),
            generation: Some(*generation),
            creation_timestamp: Timestamp::from_second(*created).ok().map(Time),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn persistence(
    v4: Option<&model::Persistence>,
    v6: Option<&model::Persistence>,
) -> Option<Persistence> {
    let (v4, v6) = (v4?, v6?);
    Some(Persistence {
        timeout_seconds: v4.timeout_seconds.into(),
        ipv4_prefix_length: v4.prefix_length.into(),
        ipv6_prefix_length: v6.prefix_length.into(),
    })
}

fn directors_of(policy: &DirectorPolicy) -> Directors {
    let DirectorPolicy {
        selector,
        preferred,
        interface,
    } = policy;
    Directors {
        node_selector: Some(node_selector(selector)),
        preferred: preferred.as_ref().map(ToString::to_string),
        interface: interface.as_ref().map(ToString::to_string),
    }
}

fn real_servers_of(policy: &RealServerPolicy) -> RealServers {
    let RealServerPolicy {
        selector,
        service,
        device,
        weight,
        host_route,
        cordon,
        external,
    } = policy;
    let servers = external.iter().map(|server| ExternalServer {
        address: server.address.to_string(),
        weight: server.weight.into(),
    });
    let name = |service: &model::ServiceName| service.name.clone();
    let service = service.as_ref().map(name);
    RealServers {
        node_selector: selector.as_ref().map(node_selector),
        service: service.map(|name| ServiceReference { name }),
        vip_device: device.to_string(),
        arp: ArpMode::Sysctl.name().to_owned(),
        weight: (*weight).into(),
        host_route: *host_route,
        cordon_policy: cordon.name().to_owned(),
        external: (!external.is_empty()).then(|| servers.collect()),
    }
}

/// Labels are read before expressions and in the order of their keys, so only a sorted beginning can be written as
/// labels.
fn node_selector(selector: &Selector) -> NodeSelector {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    let mut expressions = Vec::new();
    for Requirement { key, operator } in &selector.0 {
        let is_next = labels.last_key_value().is_none_or(|(last, _)| last < key);
        match operator {
            Operator::In(values)
                if values.len() == 1
                    && is_next
                    && expressions.is_empty()
                    && labels.len() < MAX_LABELS =>
            {
                labels.extend(values.first().map(|value| (key.clone(), value.clone())));
            }
            Operator::In(values) => expressions.push(requirement(key, "In", Some(values))),
            Operator::NotIn(values) => expressions.push(requirement(key, "NotIn", Some(values))),
            Operator::Exists => expressions.push(requirement(key, "Exists", None)),
            Operator::DoesNotExist => expressions.push(requirement(key, "DoesNotExist", None)),
        }
    }
    NodeSelector {
        match_labels: (!labels.is_empty()).then_some(labels),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}

fn requirement(key: &str, operator: &str, values: Option<&Vec<String>>) -> SelectorRequirement {
    SelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: values.cloned(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use serde_json::json;

    use super::*;
    use crate::api::parse_virtual_service;

    fn reads_back(spec: serde_json::Value) {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "generation": 7, "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": spec,
        }))
        .unwrap();
        let parsed = parse_virtual_service(&object);
        let written = serde_json::to_value(manifest_of(parsed.parsed.as_ref().unwrap())).unwrap();
        let read = parse_virtual_service(&serde_json::from_value(written).unwrap());
        assert_eq!(read, parsed);
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        reads_back(json!({
            "vips": ["10.0.0.100"], "ports": [{"port": 80}], "realServers": {"nodeSelector": {}},
        }));
        reads_back(json!({
            "vips": ["10.0.0.100", "fd00::100"],
            "ports": [{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"}],
            "scheduler": {"name": "sh", "flags": ["sh-port"]},
            "persistence": {"timeoutSeconds": 300, "ipv4PrefixLength": 24},
            "directors": {"preferred": "d", "interface": "eth1", "nodeSelector": {"matchLabels": {"rack": "a"}}},
            "realServers": {
                "nodeSelector": {
                    "matchLabels": {"tier": "web", "zone": "b"},
                    "matchExpressions": [
                        {"key": "a", "operator": "In", "values": ["x"]},
                        {"key": "zz", "operator": "In", "values": ["x"]},
                        {"key": "b", "operator": "NotIn", "values": ["x", "y"]},
                        {"key": "c", "operator": "Exists"},
                        {"key": "d", "operator": "DoesNotExist"},
                    ],
                },
                "service": {"name": "web"}, "vipDevice": "vip0", "weight": 3, "hostRoute": true, "cordonPolicy": "Drain",
                "external": [{"address": "10.0.0.9", "weight": 0}, {"address": "10.0.0.8"}],
            },
            "drainSeconds": 5,
            "healthCheck": {
                "directPath": false, "type": "HTTP", "port": 8080, "intervalSeconds": 5, "timeoutSeconds": 4, "rise": 1, "fall": 9,
                "http": {
                    "path": "/healthz?full=1", "host": "shop.example:8080", "method": "GET",
                    "expectedStatuses": ["200", "300-302"], "expectedBody": "ok",
                },
            },
        }));
        reads_back(json!({
            "vips": ["10.0.0.100"], "ports": [{"port": 80}], "scheduler": {"name": "wrr"}, "healthCheck": {"type": "TCP"},
            "realServers": {"service": {"name": "web"}},
        }));
        reads_back(json!({
            "vips": ["10.0.0.100"], "ports": [{"port": 53, "protocol": "UDP"}], "realServers": {"service": {"name": "web"}},
            "healthCheck": {"type": "DNS", "dns": {"name": "shop.example"}},
        }));
        let ca = include_str!("../../tests/tls/ca.pem");
        for tls in [
            json!({"insecure": true}),
            json!({"insecure": false, "ca": ca, "serverName": "shop.example"}),
        ] {
            reads_back(json!({
                "vips": ["10.0.0.100"], "ports": [{"port": 443}], "realServers": {"service": {"name": "web"}},
                "healthCheck": {"type": "HTTPS", "tls": tls},
            }));
        }
    }
}
