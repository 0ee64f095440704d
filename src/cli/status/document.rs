use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Count, Holder, Report, VirtualServiceStatus},
    cli::{liveness::Liveness, snapshot::recent_directors},
    cluster::Store,
    controller::{RealServerCounts, count_real_servers},
    desired::{Admission, RecentDirectors, admit, admit_here},
    model::{NodeName, Refusal, Snapshot, VirtualService, VsKey},
};

use super::{
    directors::{UnreadyStandby, standbys},
    drains::{self, DrainLine},
    holder,
    nodes::{Known, NodeLine, known_node, node_line},
    notes,
};

/// How many moves are shown.
const MOVES: usize = 10;

/// The output of `status`.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub virtual_services: Vec<Service>,
    /// Real servers that keep their open connections for a while.
    pub drains: Vec<DrainLine>,
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

/// From the API: what the controller and the agents wrote.
pub(super) fn of_cluster(cluster: &Store, liveness: &Liveness, mut notes: Vec<String>) -> Document {
    let snapshot = cluster.snapshot();
    let now = Timestamp::now();
    let view = ClusterView {
        snapshot,
        directors: recent_directors(cluster),
        admission: admit(snapshot),
        reports: cluster.readable().collect(),
        liveness,
    };
    let services = snapshot.virtual_services.iter().map(|(key, parsed)| {
        let object = cluster.objects().get(key);
        let status = object.and_then(|object| object.status.clone());
        view.service(key, parsed.as_deref().ok(), &status.unwrap_or_default())
    });
    let virtual_services = services.collect();
    let reports = &view.reports;
    notes.extend(notes::undone(reports));
    notes.extend(notes::drained(cluster, now));
    notes.extend(notes::cordoned(snapshot));
    let nodes = &snapshot.nodes;
    let has_role = |name: &NodeName| {
        let node = nodes.get(name);
        node.is_some_and(|node| node.is_director() || node.is_backend())
    };
    notes.extend(liveness.doubt(reports.keys().copied().filter(|name| has_role(name))));
    let lines = cluster.reports().iter().map(|(name, report)| match report {
        Ok(report) => {
            let known = Known {
                node: nodes.get(name),
                directs: view.directors.contains(name),
                silence: liveness.silence(name, snapshot),
            };
            known_node(name, report, &known)
        }
        Err(error) => NodeLine {
            name: name.to_string(),
            problems: vec![error.to_string()],
            ..NodeLine::default()
        },
    });
    let counting = || {
        let reports = reports.iter().map(|(name, report)| (*name, *report));
        view.directors.weigh(reports)
    };
    Document {
        virtual_services,
        drains: drains::lines(counting(), Some(snapshot), now),
        nodes: lines.collect(),
        moves: moves(counting()),
        notes,
    }
}

/// What is known of the whole cluster.
struct ClusterView<'a> {
    snapshot: &'a Snapshot,
    /// Whose reports of VIPs count.
    directors: RecentDirectors,
    admission: Admission<'a>,
    reports: BTreeMap<&'a NodeName, &'a Report>,
    liveness: &'a Liveness,
}

impl ClusterView<'_> {
    fn service(
        &self,
        key: &VsKey,
        parsed: Option<&VirtualService>,
        status: &VirtualServiceStatus,
    ) -> Service {
        let Self {
            snapshot,
            directors,
            reports,
            liveness,
            ..
        } = self;
        let held_by: BTreeSet<&str> = status.holders.iter().map(|it| it.node.as_str()).collect();
        let silence = |name: &NodeName| liveness.silence(name, snapshot);
        let accepted = self.admission.accepted.get(key);
        let (standbys, not_standing_by) = accepted.map_or_else(Default::default, |object| {
            standbys(object, &held_by, reports, snapshot, silence)
        });
        let why_holder = accepted.into_iter().flat_map(|object| {
            let why = |name: &&str| holder::why(object, name, &not_standing_by, snapshot);
            let named = held_by.iter();
            named.filter_map(move |name| Some(((*name).to_owned(), why(name)?)))
        });
        let why_holder = why_holder.collect();
        // What a silent standby could not reach when it was last heard of may be reached by now. The holder's kernel goes on
        // with the weights that its report has.
        let weighed = directors.weigh(reports.iter().map(|(name, report)| (*name, *report)));
        let speaking = weighed
            .filter(|(name, _)| held_by.contains(name.0.as_str()) || silence(name).is_none());
        let conditions = conditions(status);
        let mut with_ready = conditions.iter().filter(|it| it.type_ == "Ready");
        let ready = with_ready.next().map(|it| it.status.clone());
        let vips = parsed.map_or(&[][..], |object| &object.vips);
        Service {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            vips: vips.iter().map(ToString::to_string).collect(),
            ports: parsed.map(ports).unwrap_or_default(),
            why_holder,
            standbys,
            not_standing_by,
            holders: status.holders.clone(),
            real_servers: status.real_servers.unwrap_or_default(),
            ready: ready.unwrap_or_else(|| "Unknown".to_owned()),
            not_ready: accepted
                .map(|object| not_ready(object, speaking, snapshot))
                .unwrap_or_default(),
            conditions,
        }
    }
}

/// From one agent, and from the manifests that it reads.
pub(super) fn of_agent(node: &NodeName, report: &Report, snapshot: Option<&Snapshot>) -> Document {
    // As the agent does it: what it holds, it goes on serving.
    let admit = |snapshot| admit_here(snapshot, |vip| report.peer.held.contains(vip));
    let services = snapshot.into_iter().flat_map(|snapshot| {
        let admission = admit(snapshot);
        let services = snapshot.virtual_services.keys().map(|key| {
            let refusal = admission
                .refused
                .get(key)
                .or_else(|| report.refused.get(key));
            match admission.accepted.get(key) {
                Some(accepted) => of_manifest(accepted, refusal, node, report, snapshot),
                None => refused(key, refusal),
            }
        });
        services.collect::<Vec<_>>()
    });
    Document {
        virtual_services: services.collect(),
        drains: drains::lines([(node, report)].into_iter(), snapshot, Timestamp::now()),
        nodes: vec![node_line(node, report)],
        moves: moves([(node, report)].into_iter()),
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
    report: &Report,
    snapshot: &Snapshot,
) -> Service {
    let held = |vip: &&IpAddr| report.peer.held.contains(**vip);
    let holders = object.vips.iter().filter(held).map(|vip| Holder {
        vip: vip.to_string(),
        node: node.to_string(),
    });
    let holds_all = object.vips.iter().all(|vip| held(&vip));
    let own = |name: &NodeName| (name == node).then_some(report);
    let count = |vip: &IpAddr| {
        let director = Some((node, report));
        count_real_servers(object, *vip, snapshot, &own, director, |_| false)
    };
    let counts = RealServerCounts::worst(object.vips.iter().map(count));
    // Only the holder knows whether clients are served.
    let served = match (refusal, holds_all) {
        (Some(_), _) => "False",
        (None, true) if counts.ready == 0 => "False",
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
        real_servers: Count::of(counts.ready, counts.total),
        ready: served.to_owned(),
        conditions: refusal.map(accepted_false).into_iter().collect(),
        not_ready: not_ready(object, [(node, report)].into_iter(), snapshot),
    }
}

/// The last [`MOVES`] moves in these reports.
fn moves<'a>(reports: impl Iterator<Item = (&'a NodeName, &'a Report)>) -> Vec<MoveLine> {
    let of_node = |(name, report): (&NodeName, &Report)| {
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
    let mut moves: Vec<MoveLine> = reports.flat_map(of_node).collect();
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

/// The node that has this address by its object, else by its agent's report.
pub(super) fn node_of(address: IpAddr, snapshot: &Snapshot) -> Option<String> {
    let nodes = snapshot.nodes.iter();
    let mut by_object = nodes.filter(|(_, node)| node.addresses.contains(&address));
    let mut by_report = snapshot
        .nodes
        .keys()
        .filter(|name| snapshot.addresses_of(name).any(|own| own == address));
    let found = by_object.next().map(|(name, _)| name);
    found.or_else(|| by_report.next()).map(NodeName::to_string)
}

fn not_ready<'a>(
    object: &VirtualService,
    reports: impl Iterator<Item = (&'a NodeName, &'a Report)>,
    snapshot: &Snapshot,
) -> Vec<NotReady> {
    let mut found = BTreeSet::new();
    for (director, report) in reports {
        let groups = object
            .services()
            .filter_map(|key| report.peer.directing(key));
        for (address, refusal) in groups.flat_map(|group| &group.unready) {
            found.insert(NotReady {
                address: address.to_string(),
                node: node_of(*address, snapshot),
                director: director.to_string(),
                reason: refusal.reason.name().to_owned(),
                message: refusal.message.clone(),
            });
        }
    }
    found.into_iter().collect()
}
