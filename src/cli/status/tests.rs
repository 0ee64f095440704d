//! What `directway status` says of a cluster and of a plain host, by what the objects and the agents say.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde_json::json;

use super::document::{Document, of_agent, of_cluster};
use crate::{
    api::{Holder, Report, VirtualServiceStatus, parse_virtual_service},
    cli::liveness::Liveness,
    cluster::{Change, Object, Store, Wanted},
    model::{
        BACKEND_LABEL, Conflict, DIRECTOR_LABEL, Directing, Drain, IpRanges, Move, Node, NodeName,
        Port, Protocol, Reason, Refusal, Snapshot, TakeCause, VsKey,
    },
};

const VIP: &str = "10.0.0.100";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips<const N: usize>(all: [&str; N]) -> IpRanges {
    all.map(ip).into_iter().collect()
}

fn web() -> Change {
    let object = json!({
        "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"vips": [VIP], "ports": [{"port": 80}, {"port": 443}], "realServers": {"nodeSelector": {}}},
    });
    let object = serde_json::from_value(object).unwrap();
    Change::VirtualService(Box::new(parse_virtual_service(&object)))
}

fn node(name: &str, label: &str, host: u8) -> Change {
    let node = Node {
        labels: [(label.to_owned(), String::new())].into(),
        addresses: vec![[10, 0, 0, host].into()],
        ..Node::default()
    };
    Change::Node(name.into(), node)
}

/// Real servers that get new connections on some of the ports; no port means all.
fn group(ports: &[u16], ready: IpRanges) -> Directing {
    let ports = ports.iter().map(|port| Port {
        port: *port,
        protocol: Protocol::Tcp,
    });
    Directing {
        vips: ips([VIP]),
        ports: ports.collect(),
        ready,
        ..Directing::default()
    }
}

fn directs() -> Report {
    let mut report = Report::default();
    report.peer.bound = ips([VIP]);
    report.peer.directing = vec![group(&[], ips(["10.0.0.11"]))];
    report
}

fn took(second: i64) -> Move {
    Move {
        at: jiff::Timestamp::from_second(second).unwrap(),
        vips: ips([VIP]),
        from: None,
        cause: TakeCause::HolderDown,
        after: Duration::ZERO,
    }
}

fn drain() -> Drain {
    Drain {
        connections: 3,
        until: jiff::Timestamp::MAX,
    }
}

/// The holder `d`, the standbys `e` and `x`, and the real server `r1`.
fn cluster() -> Store {
    let mut store = Store::new(&Wanted::all().sources());
    let mut d = directs();
    d.peer.held = ips([VIP]);
    d.moves.push(took(1));
    let report = |name: &str, report: Report| Change::Report(name.into(), Box::new(Ok(report)));
    let status = VirtualServiceStatus {
        holders: vec![Holder {
            vip: VIP.to_owned(),
            node: "d".to_owned(),
        }],
        ..VirtualServiceStatus::default()
    };
    let object = Object {
        status: Some(status),
        ..Object::default()
    };
    store.apply([
        web(),
        Change::Object(VsKey::new("shop", "web"), Box::new(object)),
        node("d", DIRECTOR_LABEL, 1),
        node("e", DIRECTOR_LABEL, 2),
        node("x", DIRECTOR_LABEL, 3),
        node("r1", BACKEND_LABEL, 11),
        report("d", d),
        report("e", directs()),
        report("x", directs()),
        report("r1", Report::default()),
    ]);
    store
}

/// How long ago the agents' heartbeats were, in seconds.
fn status(store: &Store, ages: &[(&str, u64)]) -> Document {
    let ages = ages.iter();
    let ages: BTreeMap<NodeName, Option<Duration>> = ages
        .map(|(name, age)| ((*name).into(), Some(Duration::from_secs(*age))))
        .collect();
    of_cluster(store, &Liveness::new("ns", Ok(ages)), Vec::new())
}

const ALIVE: [(&str, u64); 4] = [("d", 5), ("e", 5), ("x", 5), ("r1", 5)];

#[test]
fn what_a_backend_says_of_vips_counts_for_nothing() {
    let mut store = cluster();
    let honest = status(&store, &ALIVE);
    let mut forged = directs();
    forged.is_director = true;
    forged.peer.bound = IpRanges::default();
    forged.peer.held = ips([VIP]);
    forged.moves.push(took(2));
    forged.drains.insert(ip("10.0.0.11"), drain());
    let refusal = Refusal::new(Reason::Unreachable, "no answer");
    let unready = [(ip("10.0.0.11"), refusal)];
    forged.peer.directing[0].unready = unready.into();
    let conflict = Conflict {
        own: None,
        rivals: [("02:00:00:00:00:09".parse().unwrap(), None)].into(),
    };
    let at = (ip(VIP), "eth0".parse().unwrap());
    forged.conflicts.insert(at, conflict);
    store.apply([Change::Report("r1".into(), Box::new(Ok(forged)))]);
    let mut found = status(&store, &ALIVE);
    assert_eq!(found.virtual_services, honest.virtual_services);
    assert_eq!(found.moves, honest.moves);
    assert_eq!(found.drains, honest.drains);
    let at = found.nodes.iter().position(|it| it.name == "r1").unwrap();
    let line = found.nodes.remove(at);
    assert!(line.held.is_empty(), "{line:?}");
    assert_eq!(line.roles, ["backend"]);
    assert_eq!(line.problems.len(), 1, "{line:?}");
    assert!(
        line.problems[0].starts_with("it reports 10.0.0.100 as held, which does not count"),
        "{line:?}"
    );
}

#[test]
fn drains_are_told_by_director_and_node() {
    let mut store = cluster();
    let mut e = directs();
    let servers = ["10.0.0.11", "10.0.0.99"];
    e.drains = servers.map(|server| (ip(server), drain())).into();
    store.apply([Change::Report("e".into(), Box::new(Ok(e)))]);
    let drains = status(&store, &ALIVE).drains;
    let told = drains.iter().map(|line| {
        let node = line.node.as_deref();
        (line.address.as_str(), node, line.director.as_str())
    });
    let expected = [("10.0.0.11", Some("r1"), "e"), ("10.0.0.99", None, "e")];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(drains[0].connections, 3);
    assert!(drains[0].seconds_left > 1_000_000);
}

#[test]
fn a_cordoned_real_server_is_noted_where_that_drains_it() {
    let noted = |policy: &str, cordoned: bool| {
        let mut store = cluster();
        let object = json!({
            "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService",
            "metadata": {"name": "mail", "namespace": "shop"},
            "spec": {"vips": ["10.0.0.101"], "ports": [{"port": 25}], "realServers": {"nodeSelector": {}, "cordonPolicy": policy}},
        });
        let object = serde_json::from_value(object).unwrap();
        let r1 = Node {
            labels: [(BACKEND_LABEL.to_owned(), String::new())].into(),
            addresses: vec![[10, 0, 0, 11].into()],
            cordoned,
            ..Node::default()
        };
        store.apply([
            Change::VirtualService(Box::new(parse_virtual_service(&object))),
            Change::Node("r1".into(), r1),
        ]);
        status(&store, &ALIVE).notes
    };
    let drained = noted("Drain", true);
    assert!(
        drained[0].starts_with("node r1 is cordoned, so it is no real server of shop/mail (cord"),
        "{drained:?}"
    );
    assert!(noted("Drain", false).is_empty() && noted("Ignore", true).is_empty());
}

#[test]
fn a_director_that_was_just_unlabelled_is_shown_with_the_vip_that_it_has() {
    let mut store = cluster();
    store.apply([node("d", BACKEND_LABEL, 1)]);
    let found = status(&store, &ALIVE);
    assert_eq!(found.nodes[0].held, [VIP]);
    assert!(found.nodes[0].problems.is_empty());
    assert_eq!(found.moves.len(), 1);
}

#[test]
fn a_standby_whose_agent_is_dead_is_none() {
    let store = cluster();
    let well = status(&store, &ALIVE);
    assert_eq!(well.virtual_services[0].standbys, ["e", "x"]);
    assert!(well.notes.is_empty(), "{:?}", well.notes);
    let mut ages = ALIVE;
    ages[2].1 = 312;
    let found = status(&store, &ages);
    let web = &found.virtual_services[0];
    assert_eq!(web.standbys, ["e"]);
    let other = &web.not_standing_by[0];
    assert_eq!(
        (other.director.as_str(), other.reason.as_str()),
        ("x", "ReportStale")
    );
    let x = found.nodes.iter().find(|it| it.name == "x").unwrap();
    assert_eq!(x.silent_seconds, Some(312));
    assert!(
        x.problems[0].starts_with("ReportStale: its agent is silent (no heartbeat for 312 s)"),
        "{x:?}"
    );
}

#[test]
fn what_a_silent_standby_could_not_reach_is_not_said_for_ever() {
    let mut store = cluster();
    let mut x = directs();
    let refusal = Refusal::new(Reason::Unreachable, "no answer");
    x.peer.directing[0].unready = [(ip("10.0.0.12"), refusal)].into();
    store.apply([Change::Report("x".into(), Box::new(Ok(x)))]);
    assert_eq!(
        status(&store, &ALIVE).virtual_services[0].not_ready.len(),
        1
    );
    let mut ages = ALIVE;
    ages[2].1 = 60;
    assert_eq!(status(&store, &ages).virtual_services[0].not_ready, []);
}

#[test]
fn a_heartbeat_that_is_not_there_or_may_not_be_read_is_said() {
    let store = cluster();
    let found = status(&store, &ALIVE[..3]);
    assert!(
        found.notes[0].contains("the agents of r1 run is not known"),
        "{:?}",
        found.notes
    );
    let liveness = Liveness::new("ns", Err("list Leases: forbidden".to_owned()));
    let found = of_cluster(&store, &liveness, Vec::new());
    assert_eq!(found.virtual_services[0].standbys, ["e", "x"]);
    assert!(
        found.notes[0].contains("a standby may have none that runs"),
        "{:?}",
        found.notes
    );
}

/// Of a plain host `d` with two ports and two real servers: how many get new connections.
fn ready_on_a_plain_host(directing: Vec<Directing>) -> (i64, i64) {
    let mut store = Store::new(&[]);
    store.apply([
        web(),
        node("d", DIRECTOR_LABEL, 1),
        node("r1", BACKEND_LABEL, 11),
        node("r2", BACKEND_LABEL, 12),
    ]);
    let snapshot: &Snapshot = store.snapshot();
    let mut report = directs();
    report.peer.held = ips([VIP]);
    report.peer.directing = directing;
    let document = of_agent(&"d".into(), &report, Some(snapshot));
    let count = document.virtual_services[0].real_servers;
    (count.ready, count.total)
}

#[test]
fn a_real_server_of_a_plain_host_is_ready_if_every_service_sends_it_connections() {
    let (both, first) = (ips(["10.0.0.11", "10.0.0.12"]), ips(["10.0.0.11"]));
    let everywhere = vec![group(&[], both.clone())];
    assert_eq!(ready_on_a_plain_host(everywhere), (2, 2));
    let in_part = vec![group(&[80], both.clone()), group(&[443], first)];
    assert_eq!(ready_on_a_plain_host(in_part), (1, 2));
    let one_service = vec![group(&[80], both)];
    assert_eq!(ready_on_a_plain_host(one_service), (0, 2));
}
