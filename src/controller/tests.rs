//! Statuses of VirtualServices, from objects and reports in a store.

mod conditions;
mod conflicts;
mod events;
mod holders;
mod real_servers;
mod refusals;
mod refused_device;
mod reports;
mod shared_vip;
mod silence;
mod sources;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::json;

use super::{
    context::{Context, agreements},
    double_holders::{DoubleHolders, PATIENCE},
    events::{EventFilter, PAUSE},
    heartbeats::{Heartbeats, SILENCE},
    summary::summarise,
};
use crate::{
    api::{Report, VirtualServiceStatus},
    cluster::{Change, Key, NoReport, Store, Wanted, virtual_service},
    desired::{DirectorHistory, RecentDirectors, admit},
    model::{
        Conflict, Directing, IpRanges, Move, Node, NodeName, Preflight, PreflightCheck, Reason,
        Refusal, TakeCause, VsKey,
    },
};

const VIP: &str = "10.0.0.100";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn one(text: &str) -> IpRanges {
    [ip(text)].into_iter().collect()
}

/// Takes an address out of a set.
fn take(set: &mut IpRanges, text: &str) {
    *set = set.iter().filter(|it| *it != ip(text)).collect();
}

/// A director `d`, real servers `r1` `r2`, and the VirtualService default/web.
struct Ground {
    cluster: Store,
    seconds: i64,
    heartbeats: Heartbeats,
    /// Nodes that are or were directors; `None`: as if the controller had just started.
    directors: Option<RecentDirectors>,
    double_holders: DoubleHolders,
}

impl Ground {
    fn new() -> Self {
        let mut ground = Self {
            cluster: Store::new(&Wanted::all().sources()),
            seconds: 1_000,
            heartbeats: Heartbeats::default(),
            directors: None,
            double_holders: DoubleHolders::default(),
        };
        ground.node("d", "director", "10.0.0.1");
        ground.node("r1", "backend", "10.0.0.11");
        ground.node("r2", "backend", "10.0.0.12");
        ground.apply("web", "u-web", 1, json!([VIP]));
        ground
    }

    /// With all nodes' work done and reported.
    fn serving() -> Self {
        let mut ground = Self::new();
        ground.report("d", |report| {
            report.peer.bound = one(VIP);
            report.peer.held = one(VIP);
            report.peer.directing = vec![Directing {
                vips: one(VIP),
                ready: [ip("10.0.0.11"), ip("10.0.0.12")].into(),
                ..Directing::default()
            }];
        });
        ground.write_back();
        ground
    }

    fn node(&mut self, name: &str, role: &str, address: &str) {
        let node = Node {
            labels: BTreeMap::from([(format!("directway.dev/{role}"), "true".to_owned())]),
            weight: None,
            drained: false,
            addresses: vec![ip(address)],
            cordoned: false,
            silent: false,
        };
        self.cluster.apply([Change::Node(name.into(), node)]);
    }

    /// The node's kubelet no longer reports.
    fn silence(&mut self, name: &str) {
        let mut node = self.cluster.snapshot().nodes[&name.into()].clone();
        node.silent = true;
        self.cluster.apply([Change::Node(name.into(), node)]);
    }

    fn apply(&mut self, name: &str, uid: &str, generation: i64, vips: serde_json::Value) {
        let real_servers = json!({"nodeSelector": {}});
        self.apply_with(name, uid, generation, vips, real_servers);
    }

    fn apply_with(
        &mut self,
        name: &str,
        uid: &str,
        generation: i64,
        vips: serde_json::Value,
        real_servers: serde_json::Value,
    ) {
        let spec = json!({"vips": vips, "ports": [{"port": 80}], "realServers": real_servers});
        self.apply_spec(name, uid, generation, spec);
    }

    fn apply_spec(&mut self, name: &str, uid: &str, generation: i64, spec: serde_json::Value) {
        let key = VsKey::new("default", name);
        let status = self
            .cluster
            .objects()
            .get(&key)
            .and_then(|object| object.status.clone());
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService",
            "metadata": {"name": name, "namespace": "default", "uid": uid, "generation": generation,
                         "creationTimestamp": format!("2026-01-01T00:00:0{generation}Z")},
            "spec": spec,
            "status": status,
        }))
        .unwrap();
        self.cluster.apply(virtual_service(&object, true));
    }

    /// The node's agent reports after it has read the present objects.
    fn report(&mut self, node: &str, change: impl FnOnce(&mut Report)) {
        let name = NodeName::from(node);
        let old = self.cluster.reports().get(&name).cloned();
        let mut report = old.and_then(Result::ok).unwrap_or_default();
        report.observed = self.cluster.seen().digest();
        change(&mut report);
        self.cluster
            .apply([Change::Report(name, Box::new(Ok(report)))]);
    }

    fn directors(&self) -> RecentDirectors {
        let just_started = || {
            let snapshot = self.cluster.snapshot();
            DirectorHistory::default().update(snapshot, Duration::ZERO, Duration::ZERO)
        };
        self.directors.clone().unwrap_or_else(just_started)
    }

    fn status(&self, name: &str) -> VirtualServiceStatus {
        let key = VsKey::new("default", name);
        let admission = admit(self.cluster.snapshot());
        let placement = crate::desired::placement(self.cluster.snapshot(), &admission);
        let directors = self.directors();
        let context = Context {
            cluster: &self.cluster,
            admission: &admission,
            placement: &placement,
            directors: &directors,
            double_holders: &self.double_holders,
            agreements: &agreements(&self.cluster),
            heartbeats: &self.heartbeats,
            now: Timestamp::from_second(self.seconds).unwrap(),
        };
        summarise(&key, &self.cluster.objects()[&key], &context)
    }

    /// Writes the present statuses into the store, as the API server would return them.
    fn write_back(&mut self) {
        for (key, mut object) in self.cluster.objects().clone() {
            object.status = Some(self.status(&key.name));
            self.cluster.apply([Change::Object(key, Box::new(object))]);
        }
        self.seconds += 60;
    }

    /// `status reason` of a condition.
    fn condition(&self, name: &str, kind: &str) -> String {
        let status = self.status(name);
        let condition = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind)
            .unwrap();
        format!("{} {}", condition.status, condition.reason)
    }

    fn message(&self, name: &str, kind: &str) -> String {
        let status = self.status(name);
        let condition = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == kind);
        condition.unwrap().message.clone()
    }
}

/// Who holds the only VIP.
fn holder(ground: &Ground, name: &str) -> String {
    let holders = ground.status(name).holders;
    assert_eq!(holders.len(), 1, "{holders:?}");
    assert_eq!(holders[0].vip, VIP);
    holders[0].node.clone()
}
