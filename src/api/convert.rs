//! API object → model: the third check of an object, after the CRD's schema and its CEL rules.
//!
//! Everything that the API server checks is checked again, because admission can be bypassed, and manifests in a
//! directory have none. All problems of an object are reported at once.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::Value;

use super::{
    health_check::health_check,
    lists,
    schema::{self, Unknown},
    virtual_service::{
        Directors, ExternalServer, NodeSelector, RealServers, Scheduler as ApiScheduler,
        SelectorRequirement, VirtualServiceSpec,
    },
};
use crate::model::{
    self, Dev, DirectorPolicy, Flag, Interfaces, NodeName, Operator, RealServerPolicy, Reason,
    Refusal, Requirement, Scheduler, Selector, ServiceName, VirtualService, VsKey, listed,
};

/// A VirtualService from a source, valid or not.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedVirtualService {
    /// Namespace and name.
    pub key: VsKey,
    /// The API server's identity of the object; the name where there is no API server.
    pub uid: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// What it asks for, or everything that is wrong with it.
    pub parsed: Result<Arc<VirtualService>, Refusal>,
}

/// Checks one object from a watch. Never fails: its problems become its refusal.
pub fn parse_virtual_service(object: &DynamicObject) -> ParsedVirtualService {
    parse_parts(&object.metadata, &object.data, Unknown::Ignore, Vec::new())
}

/// Checks an object; `problems` were found before.
pub(super) fn parse_parts(
    metadata: &ObjectMeta,
    data: &Value,
    unknown: Unknown,
    mut problems: Vec<String>,
) -> ParsedVirtualService {
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    let key = VsKey::new(namespace, metadata.name.as_deref().unwrap_or_default());
    let uid = metadata.uid.clone().unwrap_or_else(|| key.to_string());
    let generation = metadata.generation.unwrap_or_default();
    let created = metadata
        .creation_timestamp
        .as_ref()
        .map_or(0, |time| time.0.as_second());

    // The status is not checked: if it is garbled, the controller writes it anew.
    let spec = data.get("spec").map(schema::pruned).unwrap_or_default();
    let schema = &schema::VIRTUAL_SERVICE["properties"]["spec"];
    problems.extend(schema::check(&spec, schema, "spec", unknown));
    let virtual_service = problems
        .is_empty()
        .then(|| serde_json::from_value::<VirtualServiceSpec>(spec))
        .map(|parsed| match parsed {
            Ok(spec) => convert(&spec, &key, &uid, generation, created, &mut problems),
            Err(error) => {
                problems.push(format!("spec: {error}"));
                None
            }
        })
        .unwrap_or_default();
    let parsed = virtual_service
        .filter(|_| problems.is_empty())
        .ok_or_else(|| Refusal::new(Reason::InvalidSpec, problems.join("; ")));
    ParsedVirtualService {
        key,
        uid,
        generation,
        parsed: parsed.map(Arc::new),
    }
}

/// Checks what the schema cannot express. `None` comes with at least one entry in `problems`.
fn convert(
    spec: &VirtualServiceSpec,
    key: &VsKey,
    uid: &str,
    generation: i64,
    created: i64,
    problems: &mut Vec<String>,
) -> Option<VirtualService> {
    let vips: Vec<_> = spec
        .vips
        .iter()
        .filter_map(|vip| address("spec.vips", vip, problems))
        .collect();
    if vips.len() == 2 && vips.iter().all(IpAddr::is_ipv4) | vips.iter().all(IpAddr::is_ipv6) {
        problems.push(format!(
            "spec.vips: \"{}\" are of the same family: use one IPv4 and one IPv6 address, or a second VirtualService",
            spec.vips.join("\" and \"")
        ));
    }
    let ports = spec.ports.iter().filter_map(|port| {
        Some(model::Port {
            port: collect(u16::try_from(port.port), "spec.ports.port", problems)?,
            protocol: collect(port.protocol.parse(), "spec.ports.protocol", problems)?,
        })
    });
    let ports = ports.collect();
    let scheduler = scheduler(&spec.scheduler, problems);
    let persistence = |prefix_length: Option<i64>| {
        let timeout_seconds = spec.persistence.as_ref()?.timeout_seconds;
        Some(model::Persistence {
            timeout_seconds: u32::try_from(timeout_seconds).ok()?,
            prefix_length: u8::try_from(prefix_length?).ok()?,
        })
    };
    let persistences = spec.persistence.as_ref();
    let directors = directors(&spec.directors, problems);
    let real_servers = real_servers(&spec.real_servers, &key.namespace, &vips, problems);
    let health_check = health_check(&spec.health_check, &spec.ports, problems);
    let (scheduler, flags) = scheduler?;
    Some(VirtualService {
        key: key.clone(),
        uid: uid.to_owned(),
        generation,
        created,
        vips,
        ports,
        scheduler,
        flags,
        persistence_v4: persistence(persistences.map(|p| p.ipv4_prefix_length)),
        persistence_v6: persistence(persistences.map(|p| p.ipv6_prefix_length)),
        directors,
        real_servers: real_servers?,
        health_check: health_check?,
        drain: Duration::from_secs(collect(
            u64::try_from(spec.drain_seconds),
            "spec.drainSeconds",
            problems,
        )?),
        without: BTreeSet::new(),
    })
}

pub(super) fn collect<T, E: std::fmt::Display>(
    result: Result<T, E>,
    field: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    result
        .map_err(|error| problems.push(format!("{field}: {error}")))
        .ok()
}

/// A unicast address in canonical form.
fn address(field: &str, text: &str, problems: &mut Vec<String>) -> Option<IpAddr> {
    let complaint = match IpAddr::from_str(text) {
        Err(_) => {
            "is not an IP address: write it as in 192.0.2.10 or 2001:db8::10, without prefix length or zone".to_owned()
        }
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            "is not an IP address: write it as an IPv4 address".to_owned()
        }
        Ok(ip) if ip.to_string() != text => {
            format!("is not in canonical form: write it as \"{ip}\"")
        }
        Ok(ip) if !is_unicast(ip) => {
            "is no unicast address: loopback, multicast, link-local, unspecified and broadcast addresses cannot be used, choose one of the segment".to_owned()
        }
        Ok(ip) => return Some(ip),
    };
    problems.push(format!("{field}: \"{text}\" {complaint}"));
    None
}

fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        // 0.0.0.0/8: RFC 1122 3.2.1.3; 240.0.0.0/4 with the limited broadcast: RFC 1112 4.
        IpAddr::V4(ip) => {
            let first = ip.octets()[0];
            first != 0
                && first < 240
                && !(ip.is_loopback() || ip.is_multicast() || ip.is_link_local())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_unicast_link_local())
        }
    }
}

fn scheduler(api: &ApiScheduler, problems: &mut Vec<String>) -> Option<(Scheduler, Vec<Flag>)> {
    let scheduler: Scheduler = collect(api.name.parse(), "spec.scheduler.name", problems)?;
    let Some(names) = &api.flags else {
        let mut default: Vec<_> = lists::default_flags(&scheduler).collect();
        default.sort_unstable();
        return Some((scheduler, default));
    };
    let flags = names.iter().filter_map(|name| {
        let flag = Flag::of_scheduler(name, &scheduler);
        if flag.is_none() {
            let its = lists::flags_of(&scheduler);
            let fix = if its.is_empty() {
                let flagged = listed(&lists::flagged_names(), "and");
                format!("remove it, only {flagged} have flags")
            } else {
                format!("use {}", listed(&its, "or"))
            };
            problems.push(format!(
                "spec.scheduler.flags: \"{name}\" does not belong to scheduler {scheduler}: {fix}"
            ));
        }
        flag
    });
    let mut flags: Vec<_> = flags.collect();
    flags.sort_unstable();
    flags.dedup();
    Some((scheduler, flags))
}

fn directors(api: &Directors, problems: &mut Vec<String>) -> DirectorPolicy {
    let preferred = api.preferred.as_ref().inspect(|name| {
        if !is_node_name(name) {
            problems.push(format!(
                "spec.directors.preferred: \"{name}\" is not a node name: use one that kubectl get nodes shows"
            ));
        }
    });
    let preferred = preferred.map(|name| NodeName(name.clone()));
    let interface = api.interface.as_ref();
    let interface =
        interface.and_then(|named| named_interfaces("spec.directors.interface", named, problems));
    DirectorPolicy {
        selector: api
            .node_selector
            .as_ref()
            .map(|node_selector| selector(node_selector, problems))
            .unwrap_or_default(),
        preferred,
        interface,
    }
}

fn real_servers(
    api: &RealServers,
    namespace: &str,
    vips: &[IpAddr],
    problems: &mut Vec<String>,
) -> Option<RealServerPolicy> {
    let listed = api.external.as_deref().unwrap_or_default();
    if api.node_selector.is_none() && api.service.is_none() && listed.is_empty() {
        problems.push("spec.realServers: has no source: set nodeSelector ({} selects every node labelled directway.dev/backend), name a service, or list hosts under external".to_owned());
    }
    let service = api.service.as_ref();
    if let Some(named) = service.filter(|service| !is_label(&service.name)) {
        problems.push(format!(
            "spec.realServers.service.name: \"{}\" is not a Service name: use one that kubectl get services shows",
            named.name
        ));
    }
    let selected = api
        .node_selector
        .as_ref()
        .map(|node_selector| selector(node_selector, problems));
    let external = listed
        .iter()
        .filter_map(|server| external(server, vips, problems));
    let external = external.collect();
    let Some(cordon) = model::CordonPolicy::from_name(&api.cordon_policy) else {
        // The schema has refused it already.
        problems.push(format!(
            "spec.realServers.cordonPolicy: \"{}\" is none",
            api.cordon_policy
        ));
        return None;
    };
    Some(RealServerPolicy {
        // With a Service and no selector, all backends are selected.
        selector: selected.or_else(|| service.map(|_| Selector::default())),
        service: service.map(|service| ServiceName::new(namespace, &service.name)),
        device: device("spec.realServers.vipDevice", &api.vip_device, problems)?,
        weight: collect(
            u16::try_from(api.weight),
            "spec.realServers.weight",
            problems,
        )?,
        host_route: api.host_route,
        cordon,
        external,
    })
}

fn external(
    server: &ExternalServer,
    vips: &[IpAddr],
    problems: &mut Vec<String>,
) -> Option<model::ExternalServer> {
    let field = "spec.realServers.external.address";
    let address = address(field, &server.address, problems)?;
    if vips.contains(&address) {
        problems.push(format!(
            "{field}: \"{address}\" is one of spec.vips: name the address that the host has besides the VIP"
        ));
    }
    let weight = collect(
        u16::try_from(server.weight),
        "spec.realServers.external.weight",
        problems,
    )?;
    Some(model::ExternalServer { address, weight })
}

fn named_interfaces(field: &str, text: &str, problems: &mut Vec<String>) -> Option<Interfaces> {
    let parsed: Result<Interfaces, _> = text.parse();
    parsed
        .map_err(|error| problems.push(format!("{field}: {error}")))
        .ok()
}

fn device(field: &str, name: &str, problems: &mut Vec<String>) -> Option<Dev> {
    let dev = Dev::from_str(name)
        .ok()
        .filter(|_| name.bytes().all(|byte| byte.is_ascii_graphic()));
    if dev.is_none() {
        problems.push(format!(
            "{field}: \"{name}\" is not an interface name: use 1 to 15 ASCII characters without \"/\", \":\" or space, and not \".\" or \"..\""
        ));
    }
    dev
}

/// RFC 1123 subdomain.
fn is_node_name(name: &str) -> bool {
    name.split('.').all(is_label)
}

/// RFC 1123 label.
fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn selector(api: &NodeSelector, problems: &mut Vec<String>) -> Selector {
    let labels = api.match_labels.iter().flatten();
    let mut requirements: Vec<_> = labels
        .map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In(vec![value.clone()]),
        })
        .collect();
    let expressions = api.match_expressions.iter().flatten();
    requirements.extend(expressions.filter_map(|expression| requirement(expression, problems)));
    Selector(requirements)
}

fn requirement(api: &SelectorRequirement, problems: &mut Vec<String>) -> Option<Requirement> {
    let SelectorRequirement {
        key,
        operator,
        values,
    } = api;
    let values = values.clone().unwrap_or_default();
    let operator = match (operator.as_str(), values.is_empty()) {
        ("In", false) => Operator::In(values),
        ("NotIn", false) => Operator::NotIn(values),
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        (_, missing) => {
            let fix = if missing {
                "needs values: list at least one"
            } else {
                "takes no values: remove them"
            };
            problems.push(format!(
                "nodeSelector.matchExpressions: key \"{key}\": {operator} {fix}"
            ));
            return None;
        }
    };
    Some(Requirement {
        key: key.clone(),
        operator,
    })
}
