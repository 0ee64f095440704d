mod events;
mod holders;
mod refused_device;
mod shared_vip;
mod silence;

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

#[test]
fn served_by_all_real_servers() {
    let status = Ground::serving().status("web");
    assert_eq!(status.holders[0].node, "d");
    assert_eq!(status.vips, [VIP]);
    let summary = status.summary.unwrap();
    assert_eq!(
        (
            summary.ports.as_str(),
            summary.real_servers.as_str(),
            summary.directors.as_str()
        ),
        ("80/TCP", "2/2", "1/1")
    );
    let ground = Ground::serving();
    assert_eq!(ground.condition("web", "Accepted"), "True Valid");
    assert_eq!(ground.condition("web", "Programmed"), "True Programmed");
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    assert_eq!(ground.condition("web", "VIPConflict"), "False NoConflict");
}

#[test]
fn nothing_is_said_before_the_holder_has_seen_the_object() {
    let mut ground = Ground::new();
    assert_eq!(
        ground.condition("web", "Accepted"),
        "True Valid",
        "that needs no node"
    );
    assert_eq!(ground.condition("web", "Ready"), "Unknown Pending");
    assert!(
        ground
            .message("web", "Ready")
            .contains("the agent of d has not reported yet")
    );
    ground.report("d", |report| report.observed = "00000000".repeat(8));
    assert_eq!(ground.condition("web", "Ready"), "Unknown Pending");
    ground.report("d", |_| {});
    assert_eq!(ground.condition("web", "Ready"), "False NotHeld");
}

#[test]
fn a_late_report_makes_nothing_flicker_but_a_new_generation_is_not_taken_for_done() {
    let mut ground = Ground::serving();
    let before = ground.status("web");
    // Other objects are new, and the holder's digest does not cover them yet.
    for index in 0..40 {
        ground.apply(
            &format!("other-{index}"),
            &format!("u-{index}"),
            1,
            json!([format!("10.0.1.{index}")]),
        );
        assert_eq!(ground.status("web"), before);
    }
    ground.apply("web", "u-web", 2, json!([VIP]));
    assert_eq!(ground.condition("web", "Ready"), "Unknown Pending");
    assert_eq!(ground.status("web").observed_generation, Some(2));
    ground.report("d", |_| {});
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
}

#[test]
fn a_transition_time_moves_only_with_the_condition() {
    let mut ground = Ground::serving();
    let time = |ground: &Ground| {
        let conditions = ground.status("web").conditions;
        conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready")
            .unwrap()
            .last_transition_time
            .0
            .as_second()
    };
    let before = time(&ground);
    ground.report("d", |report| {
        take(&mut report.peer.directing[0].ready, "10.0.0.12");
    });
    assert_eq!(ground.condition("web", "Ready"), "True Degraded");
    assert_eq!(time(&ground), before, "it is still true");
    ground.report("d", |report| {
        report.peer.directing[0].ready = IpRanges::default()
    });
    assert_eq!(time(&ground), ground.seconds);
    ground.write_back();
    assert_eq!(ground.status("web"), ground.status("web"));
    assert_eq!(time(&ground), ground.seconds - 60);
}

#[test]
fn a_real_server_that_gets_nothing_is_named_with_its_reason() {
    let mut ground = Ground::serving();
    let far = Refusal::new(Reason::NotOnSegment, "10.0.0.12 is behind a router");
    ground.report("d", |report| {
        take(&mut report.peer.directing[0].ready, "10.0.0.12");
        report.peer.directing[0]
            .unready
            .insert(ip("10.0.0.12"), far);
    });
    assert_eq!(ground.condition("web", "Ready"), "True Degraded");
    let message = ground.message("web", "Ready");
    assert!(
        message.contains("1 of 2") && message.contains("r2 (10.0.0.12): NotOnSegment: "),
        "{message}"
    );
    assert_eq!(ground.status("web").summary.unwrap().real_servers, "1/2");
    ground.report("d", |report| {
        report.peer.directing[0].ready = IpRanges::default()
    });
    assert_eq!(ground.condition("web", "Ready"), "False Pending");
    assert_eq!(ground.condition("web", "Programmed"), "True Programmed");
}

#[test]
fn a_real_server_that_did_not_bind_says_why_itself() {
    let mut ground = Ground::serving();
    ground.report("d", |report| {
        let group = &mut report.peer.directing[0];
        for (name, address) in [("r1", ip("10.0.0.11")), ("r2", ip("10.0.0.12"))] {
            take(&mut group.ready, &address.to_string());
            let told = Refusal::new(Reason::NotBound, format!("{name} has not reported the VIP"));
            group.unready.insert(address, told);
        }
    });
    assert_eq!(ground.condition("web", "Ready"), "False NotBound");
    ground.report("r1", |report| {
        let in_use = Refusal::new(Reason::DeviceInUse, "eth0 carries 10.0.0.11/24");
        report.refused.insert(VsKey::new("default", "web"), in_use);
    });
    ground.report("r2", |report| {
        report.preflight = [Reason::IpvsMissing, Reason::LedgerUnwritable]
            .map(|reason| Preflight {
                check: PreflightCheck::Needs(reason),
                message: format!("{reason} here"),
                fix: String::new(),
            })
            .into();
    });
    assert_eq!(ground.condition("web", "Ready"), "False DeviceInUse");
    let message = ground.message("web", "Ready");
    assert!(
        message.contains("r1 (10.0.0.11): DeviceInUse: eth0 carries")
            && message.contains("r2 (10.0.0.12): LedgerUnwritable: LedgerUnwritable here"),
        "{message}"
    );
}

#[test]
fn a_director_that_cannot_says_why() {
    let mut ground = Ground::new();
    let refusal = Refusal::new(
        Reason::NoInterface,
        "no interface is in the network of 10.0.0.100",
    );
    ground.report("d", |report| {
        report.refused.insert(VsKey::new("default", "web"), refusal);
    });
    assert_eq!(ground.condition("web", "Programmed"), "False NoInterface");
    assert_eq!(ground.condition("web", "Ready"), "False NoInterface");
    assert!(
        ground
            .message("web", "Ready")
            .starts_with("d: no interface")
    );
    assert_eq!(ground.status("web").summary.unwrap().directors, "0/1");
    assert_eq!(ground.status("web").holders, []);
}

#[test]
fn nobody_to_direct_and_nobody_to_serve() {
    let mut ground = Ground::serving();
    for name in ["r1", "r2"] {
        ground.cluster.apply([Change::Gone(Key::Node(name.into()))]);
    }
    assert_eq!(ground.condition("web", "Ready"), "False NoRealServers");
    let mut ground = Ground::new();
    ground.cluster.apply([Change::Gone(Key::Node("d".into()))]);
    assert_eq!(ground.condition("web", "Ready"), "False NoDirector");
}

#[test]
fn nodes_without_an_endpoint_are_no_real_servers() {
    let mut ground = Ground::serving();
    ground.node("r3", "backend", "10.0.0.13");
    let follow = json!({"service": {"name": "shop"}});
    ground.apply_with("web", "u-web", 2, json!([VIP]), follow);
    let directing = |ground: &mut Ground, change: fn(&mut Directing)| {
        ground.report("d", |report| change(&mut report.peer.directing[0]));
        ground.write_back();
    };
    // r3 runs no endpoint, and the director does not report it.
    directing(&mut ground, |_| ());
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    assert_eq!(ground.status("web").summary.unwrap().real_servers, "2/2");
    directing(&mut ground, |group| {
        take(&mut group.ready, "10.0.0.12");
        let pod = Refusal::new(Reason::EndpointOnPodNetwork, "give it hostNetwork: true");
        group.unready.insert(ip("10.0.0.12"), pod);
    });
    assert_eq!(ground.condition("web", "Ready"), "True Degraded");
    assert!(
        ground
            .message("web", "Ready")
            .contains("r2 (10.0.0.12): EndpointOnPodNetwork")
    );
    assert_eq!(ground.status("web").summary.unwrap().real_servers, "1/2");
    // A removed endpoint drains and is no real server any more.
    directing(&mut ground, |group| {
        group.unready.clear();
        group.draining = one("10.0.0.12");
    });
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    directing(&mut ground, |group| group.ready = IpRanges::default());
    assert_eq!(ground.condition("web", "Ready"), "False NoEndpoints");
    let message = ground.message("web", "Ready");
    assert!(
        message.contains("Service default/shop") && message.contains("service-name=shop"),
        "{message}"
    );
    assert_eq!(ground.condition("web", "Programmed"), "True Programmed");
    for name in ["r1", "r2", "r3"] {
        ground.cluster.apply([Change::Gone(Key::Node(name.into()))]);
    }
    assert_eq!(ground.condition("web", "Ready"), "False NoRealServers");
}

#[test]
fn the_younger_of_two_is_refused_and_the_winner_named() {
    let mut ground = Ground::serving();
    ground.apply("late", "u-late", 2, json!([VIP]));
    for kind in ["Accepted", "Programmed", "Ready"] {
        assert_eq!(ground.condition("late", kind), "False PortClaimed");
    }
    assert!(ground.message("late", "Accepted").contains("default/web"));
    assert_eq!(
        ground.status("late").holders,
        [],
        "the VIP is held for the other one"
    );
}

#[test]
fn a_broken_object_gets_its_reason_and_disturbs_nobody() {
    let mut ground = Ground::serving();
    ground.apply("broken", "u-broken", 1, json!(["127.0.0.1"]));
    assert_eq!(ground.condition("broken", "Accepted"), "False InvalidSpec");
    assert!(ground.message("broken", "Accepted").contains("127.0.0.1"));
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
}

#[test]
fn a_rival_on_the_wire_is_a_conflict_that_goes_on_being_served() {
    let mut ground = Ground::serving();
    ground.report("d", |report| {
        let conflict = Conflict {
            own: "02:00:00:00:00:01".parse().ok(),
            rivals: [("02:00:00:00:00:66".parse().unwrap(), Some("r1".into()))].into(),
        };
        let at = (ip(VIP), "eth0".parse().unwrap());
        report.conflicts.insert(at, conflict);
        let refusal = Refusal::new(Reason::VipConflict, "it stays here");
        report.refused.insert(VsKey::new("default", "web"), refusal);
    });
    assert_eq!(ground.condition("web", "VIPConflict"), "True VIPConflict");
    assert_eq!(
        ground.message("web", "VIPConflict"),
        format!(
            "{VIP} is answered by 02:00:00:00:00:66 (node r1) and by d at 02:00:00:00:00:01, on eth0: take the address from that host, or use another VIP"
        )
    );
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    // If the director could not claim the VIP, it serves no client.
    ground.report("d", |report| report.peer.held = IpRanges::default());
    assert_eq!(ground.condition("web", "Ready"), "False VIPConflict");
}

#[test]
fn kube_proxy_s_conflict_is_told_and_disturbs_no_other_condition() {
    let mut ground = Ground::serving();
    let key = VsKey::new("default", "web");
    let mut event_filter = EventFilter::begin(&ground.cluster, &ground.directors());
    let mut now = Duration::ZERO;
    let kind = "KubeProxyConflict";
    assert_eq!(ground.condition("web", kind), "False NoConflict");
    for (reason, condition, event) in [
        (
            Reason::KubeProxyUnknown,
            "Unknown KubeProxyUnknown",
            "Warning",
        ),
        (Reason::KubeProxyIpvs, "True KubeProxyIPVS", "Warning"),
        (Reason::KubeProxyDeletes, "True KubeProxyDeletes", "Warning"),
        // A warning that only a newer agent has.
        (Reason::Pending, "False NoConflict", "Normal"),
    ] {
        ground.report("d", |report| {
            let warning = Refusal::new(reason, "set ipvs.excludeCIDRs");
            report.warnings = [(warning, one(VIP))].into();
        });
        assert_eq!(ground.condition("web", kind), condition);
        let conditions = ground.status("web").conditions;
        let events = event_filter.events(&key, &conditions, now);
        let told: Vec<_> = events
            .iter()
            .map(|event| (event.action.as_str(), format!("{:?}", event.type_)))
            .collect();
        assert_eq!(told, [(kind, event.to_owned())]);
        assert_eq!(ground.condition("web", "Ready"), "True Serving");
        now += PAUSE;
    }
    // A warning about another VIP does not count. Of several warnings the gravest counts, whichever node reports it.
    let warn = |ground: &mut Ground, node, reason, vip| {
        ground.report(node, |report| {
            let warning = Refusal::new(reason, "set ipvs.excludeCIDRs");
            report.warnings = [(warning, one(vip))].into();
        });
    };
    warn(&mut ground, "d", Reason::KubeProxyDeletes, "10.0.0.101");
    assert_eq!(ground.condition("web", kind), "False NoConflict");
    warn(&mut ground, "d", Reason::KubeProxyIpvs, VIP);
    warn(&mut ground, "r1", Reason::KubeProxyUnknown, VIP);
    assert_eq!(ground.condition("web", kind), "True KubeProxyIPVS");
    let message = ground.message("web", kind);
    assert!(message.starts_with("10.0.0.100 on d: set"), "{message}");
}

#[test]
fn a_garbled_report_is_no_report_and_no_reason_to_stop() {
    let mut ground = Ground::serving();
    let garbled = Box::new(Err(NoReport::Garbled("status.bound: what?".to_owned())));
    ground.cluster.apply([Change::Report("d".into(), garbled)]);
    assert_eq!(ground.condition("web", "Ready"), "Unknown Pending");
    assert!(ground.message("web", "Ready").contains("status.bound"));
}

#[test]
fn what_a_list_does_not_name_is_gone_and_then_it_is_synced() {
    let mut ground = Ground::serving();
    assert_eq!(ground.cluster.missing().len(), 3);
    for source in Wanted::all().sources() {
        let list = [Change::Relist(source), Change::Listed(source)];
        assert!(ground.cluster.apply(list));
    }
    let snapshot = ground.cluster.snapshot();
    assert!(snapshot.nodes.is_empty() && snapshot.virtual_services.is_empty());
    assert!(ground.cluster.objects().is_empty() && ground.cluster.reports().is_empty());
    assert_eq!(ground.cluster.missing(), Vec::<String>::new());
}
