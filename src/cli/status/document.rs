use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Count, Holder, Report, VirtualServiceStatus},
    cluster::Store,
    desired::{Viewpoint, real_servers},
    model::{NodeName, Refusal, Snapshot, VirtualService, VsKey},
};

use super::{
    directors::{UnreadyStandby, standbys},
    holder, notes,
};

/// How many moves are shown.
const MOVES: usize = 10;

/// The output of `status`.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub virtual_services: Vec<Service>,
    pub nodes: Vec<NodeLine>,
    /// The newest last.
    pub moves: Vec<MoveLine>,
    pub notes: Vec<String>,
}

/// The state of one VirtualService.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    pub namespace: String,
    pub name: String,
    pub vips: Vec<String>,
    pub ports: String,
    /// Who holds each VIP.
    pub holders: Vec<Holder>,
    /// Holders that are not the directors that should hold the VIPs, and why.
    pub why_holder: BTreeMap<String, String>,
    /// Directors that could take over from the holder.
    pub standbys: Vec<String>,
    /// Directors that could not, and why.
    pub not_standing_by: Vec<UnreadyStandby>,
    pub real_servers: Count,
    pub ready: String,
    pub conditions: Vec<Condition>,
    /// Real servers that get no new connections.
    pub not_ready: Vec<NotReady>,
}

/// A condition, as the controller wrote it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

/// A real server without traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotReady {
    pub address: String,
    /// The node with that address; absent for external hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The director that reports this.
    pub director: String,
    pub reason: String,
    pub message: String,
}

/// VIPs that came to a node together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MoveLine {
    pub at: Timestamp,
    pub vips: Vec<String>,
    pub to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub cause: String,
    pub milliseconds: u64,
}

/// The state of one node.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeLine {
    pub name: String,
    pub roles: Vec<&'static str>,
    pub held: Vec<String>,
    pub bound: Vec<String>,
    pub services: usize,
    pub destinations: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// Failed preflight checks, refusals, conflicts and warnings of the node.
    pub problems: Vec<String>,
}

/// From the API: what the controller and the agents wrote.
pub(super) fn of_cluster(cluster: &Store, mut notes: Vec<String>) -> Document {
    let snapshot = cluster.snapshot();
    let reports: BTreeMap<&NodeName, &Report> = cluster.readable().collect();
    let services = snapshot.virtual_services.iter().map(|(key, parsed)| {
        let beyond = cluster.objects().get(key);
        let status = beyond.and_then(|beyond| beyond.status.clone());
        let status = status.unwrap_or_default();
        let accepted = parsed.as_ref().ok();
        let vips = accepted
            .map(|accepted| accepted.vips.clone())
            .unwrap_or_default();
        let held_by: BTreeSet<&str> = status.holders.iter().map(|it| it.node.as_str()).collect();
        let (standbys, not_standing_by) = accepted.map_or_else(Default::default, |object| {
            standbys(object, &held_by, &reports, snapshot)
        });
        let why_holder = accepted.into_iter().flat_map(|object| {
            let why = |name: &&str| holder::why(object, name, &not_standing_by, snapshot);
            held_by
                .iter()
                .filter_map(move |name| Some(((*name).to_owned(), why(name)?)))
        });
        let why_holder = why_holder.collect();
        let mut service = Service {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            vips: vips.iter().map(ToString::to_string).collect(),
            ports: accepted.map(|object| ports(object)).unwrap_or_default(),
            why_holder,
            standbys,
            not_standing_by,
            holders: status.holders.clone(),
            real_servers: status.real_servers.unwrap_or_default(),
            conditions: conditions(&status),
            not_ready: accepted
                .map(|object| not_ready(object, &reports, snapshot))
                .unwrap_or_default(),
            ready: "Unknown".to_owned(),
        };
        let ready = service
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        if let Some(ready) = ready {
            service.ready = ready.status.clone();
        }
        service
    });
    let virtual_services = services.collect();
    notes.extend(notes::undone(&reports));
    let nodes = cluster.reports().iter().map(|(name, report)| match report {
        Ok(report) => node_line(name, report),
        Err(error) => NodeLine {
            name: name.to_string(),
            problems: vec![error.to_string()],
            ..NodeLine::default()
        },
    });
    Document {
        virtual_services,
        nodes: nodes.collect(),
        moves: moves(&reports),
        notes,
    }
}

/// From one agent, and from the manifests that it reads.
pub(super) fn of_agent(node: &NodeName, report: &Report, snapshot: Option<&Snapshot>) -> Document {
    let reports = [(node, report)].into();
    let objects = snapshot.into_iter().flat_map(|snapshot| {
        let objects = snapshot.virtual_services.iter();
        objects.map(move |(key, object)| (key, object, snapshot))
    });
    let services = objects.map(|(key, object, snapshot)| {
        let refusal = object.as_ref().err().or_else(|| report.refused.get(key));
        match object {
            Ok(accepted) => of_manifest(accepted, refusal, node, &reports, snapshot),
            Err(_) => refused(key, refusal),
        }
    });
    Document {
        virtual_services: services.collect(),
        nodes: vec![node_line(node, report)],
        moves: moves(&reports),
        notes: Vec::new(),
    }
}

fn refused(key: &VsKey, refusal: Option<&Refusal>) -> Service {
    Service {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        ready: "False".to_owned(),
        conditions: refusal.map(accepted_false).into_iter().collect(),
        ..Service::default()
    }
}

fn accepted_false(refusal: &Refusal) -> Condition {
    Condition {
        type_: "Accepted".to_owned(),
        status: "False".to_owned(),
        reason: refusal.reason.name().to_owned(),
        message: refusal.message.clone(),
    }
}

fn of_manifest(
    object: &VirtualService,
    refusal: Option<&Refusal>,
    node: &NodeName,
    reports: &BTreeMap<&NodeName, &Report>,
    snapshot: &Snapshot,
) -> Service {
    let own = reports.get(node);
    let held = |vip: &&IpAddr| own.is_some_and(|report| report.peer.held.contains(**vip));
    let holders = object.vips.iter().filter(held).map(|vip| Holder {
        vip: vip.to_string(),
        node: node.to_string(),
    });
    let holds_all = object.vips.iter().all(|vip| held(&vip));
    let groups: Vec<_> = own
        .into_iter()
        .flat_map(|report| {
            let keys = object.services();
            keys.filter_map(|key| report.peer.directing(key))
        })
        .collect();
    let viewpoint = own.map(|report| Viewpoint {
        node,
        networks: report.subnets(),
        addresses: report.peer.addresses.clone(),
    });
    let seen = |vip| real_servers(object, vip, snapshot, viewpoint.as_ref());
    let all: BTreeSet<IpAddr> = object
        .vips
        .iter()
        .flat_map(|vip| seen(*vip).by_address.into_keys())
        .collect();
    let is_ready = |address: &&IpAddr| groups.iter().any(|group| group.ready.contains(**address));
    let ready = all.iter().filter(is_ready).count();
    let count = |set: usize| i64::try_from(set).unwrap_or(i64::MAX);
    // Only the holder knows whether clients are served.
    let served = match (refusal, holds_all) {
        (Some(_), _) => "False",
        (None, true) if ready == 0 => "False",
        (None, true) => "True",
        (None, false) => "Unknown",
    };
    Service {
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
        vips: object.vips.iter().map(ToString::to_string).collect(),
        ports: ports(object),
        holders: holders.collect(),
        why_holder: BTreeMap::new(),
        standbys: Vec::new(),
        not_standing_by: Vec::new(),
        real_servers: Count {
            ready: count(ready),
            total: count(all.len()),
        },
        ready: served.to_owned(),
        conditions: refusal.map(accepted_false).into_iter().collect(),
        not_ready: not_ready(object, reports, snapshot),
    }
}

/// The last [`MOVES`] moves in all reports.
fn moves(reports: &BTreeMap<&NodeName, &Report>) -> Vec<MoveLine> {
    let of_node = |(name, report): (&&NodeName, &&Report)| {
        let lines = report.moves.iter().map(|it| MoveLine {
            at: it.at,
            vips: it.vips.to_strings(),
            to: name.to_string(),
            from: it.from.clone(),
            cause: it.cause.to_string(),
            milliseconds: u64::try_from(it.after.as_millis()).unwrap_or(u64::MAX),
        });
        lines.collect::<Vec<_>>()
    };
    let mut moves: Vec<MoveLine> = reports.iter().flat_map(of_node).collect();
    moves.sort();
    let first = moves.len().saturating_sub(MOVES);
    moves.split_off(first)
}

fn ports(object: &VirtualService) -> String {
    let ports = object.ports.iter();
    let ports: Vec<String> = ports.map(ToString::to_string).collect();
    ports.join(",")
}

fn conditions(status: &VirtualServiceStatus) -> Vec<Condition> {
    let conditions = status.conditions.iter().map(|condition| Condition {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    });
    conditions.collect()
}

fn not_ready(
    object: &VirtualService,
    reports: &BTreeMap<&NodeName, &Report>,
    snapshot: &Snapshot,
) -> Vec<NotReady> {
    let node_of = |address: &IpAddr| {
        let nodes = snapshot.nodes.iter();
        let mut nodes = nodes.filter(|(_, node)| node.addresses.contains(address));
        nodes.next().map(|(name, _)| name.to_string())
    };
    let mut found = BTreeSet::new();
    for (director, report) in reports {
        let groups = object
            .services()
            .filter_map(|key| report.peer.directing(key));
        for (address, refusal) in groups.flat_map(|group| &group.unready) {
            found.insert(NotReady {
                address: address.to_string(),
                node: node_of(address),
                director: director.to_string(),
                reason: refusal.reason.name().to_owned(),
                message: refusal.message.clone(),
            });
        }
    }
    found.into_iter().collect()
}

fn node_line(name: &NodeName, report: &Report) -> NodeLine {
    let roles = [
        (report.is_director, "director"),
        (report.is_backend, "backend"),
    ];
    let preflight = report.preflight.iter();
    let preflight =
        preflight.map(|entry| format!("{}: {}; {}", entry.check, entry.message, entry.fix));
    let refused = report
        .refused
        .iter()
        .map(|(key, refusal)| format!("{key}: {refusal}"));
    let conflicts = report.conflicts.iter().map(|((vip, dev), conflict)| {
        format!("VIPConflict: {vip} is answered on {dev} by {conflict}")
    });
    let warnings = report
        .warnings
        .iter()
        .map(|(warning, vips)| format!("{}: {vips}: {}", warning.reason, warning.message));
    let left_out = (report.left_out > 0).then(|| {
        format!(
            "the report leaves out {} entries to stay small: /state of the node's agent has more of them",
            report.left_out
        )
    });
    NodeLine {
        name: name.to_string(),
        roles: roles
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, role)| role)
            .collect(),
        held: report.peer.held.to_strings(),
        bound: report.peer.bound.to_strings(),
        services: report.services,
        destinations: report.destinations,
        agent_version: report.agent_version.clone(),
        problems: preflight
            .chain(refused)
            .chain(conflicts)
            .chain(warnings)
            .chain(left_out)
            .collect(),
    }
}
