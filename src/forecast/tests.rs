use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{Assumed, EvidenceSource, Forecast, ForecastCluster, ForecastNode, settle};
use crate::{
    desired::RealServerState,
    model::*,
    plan::{Op, Phase},
};

const VIP: &str = "10.77.0.100";

fn web() -> VirtualService {
    VirtualService {
        key: VsKey::new("shop", "web"),
        uid: "web".to_owned(),
        generation: 1,
        created: 100,
        vips: vec![VIP.parse().unwrap()],
        ports: vec![Port {
            port: 80,
            protocol: Protocol::Tcp,
        }],
        scheduler: Scheduler::Rr,
        flags: vec![],
        persistence_v4: None,
        persistence_v6: None,
        directors: DirectorPolicy::default(),
        real_servers: RealServerPolicy {
            selector: Some(Selector::default()),
            service: None,
            device: "vip0".parse().unwrap(),
            weight: 1,
            host_route: true,
            cordon: CordonPolicy::Ignore,
            external: vec![],
        },
        health_check: HealthCheck::NONE,
        drain: Duration::from_secs(60),
        without: std::collections::BTreeSet::new(),
    }
}

/// Director `d` and real servers `r1` and `r2` on 10.77.0.0/24, with nothing of ours on them.
fn lan() -> (Snapshot, ForecastCluster) {
    let mut snapshot = Snapshot {
        peers: Peers::Reported(Default::default()),
        ..Snapshot::default()
    };
    let mut world = ForecastCluster::default();
    for (name, label, host) in [
        ("d", DIRECTOR_LABEL, 1),
        ("r1", BACKEND_LABEL, 11),
        ("r2", BACKEND_LABEL, 12),
    ] {
        let address = format!("10.77.0.{host}").parse().unwrap();
        let node = Node {
            labels: [(label.to_owned(), "true".to_owned())].into(),
            weight: None,
            drained: false,
            addresses: vec![address],
            cordoned: false,
            silent: false,
        };
        snapshot.nodes.insert(name.into(), node);
        let mut observed = Observed::default();
        for (index, dev, kind, net) in [
            (1, "lo", LinkKind::Loopback, "127.0.0.1/8".to_owned()),
            (2, "eth0", LinkKind::Other, format!("10.77.0.{host}/24")),
        ] {
            let link = Link {
                index,
                dev: dev.parse().unwrap(),
                mac: None,
                kind,
                up: true,
                carrier: true,
                arp_capable: kind == LinkKind::Other,
                enslaved: false,
                addresses: vec![net.parse().unwrap()],
                arp: ArpSettings::default(),
            };
            observed.links.insert(link.dev.clone(), link);
        }
        let node = ForecastNode {
            observed,
            wire: EvidenceSource::Assumed(Assumed {
                own: [address].into(),
                ..Assumed::default()
            }),
            ..ForecastNode::default()
        };
        world.nodes.insert(name.into(), node);
    }
    (snapshot, world)
}

fn with_web(snapshot: &mut Snapshot) {
    let web = web();
    snapshot
        .virtual_services
        .insert(web.key.clone(), Ok(web.into()));
}

/// The position of the first op on `node` whose line begins with `start`.
fn place(forecast: &Forecast, node: &str, start: &str) -> usize {
    let mut steps = forecast.steps.iter();
    steps
        .position(|step| step.node.0 == node && step.op.to_string().starts_with(start))
        .unwrap_or_else(|| panic!("{node} never runs {start}: {:#?}", forecast.steps))
}

#[test]
fn real_servers_bind_before_the_director_adds_them() {
    let (mut snapshot, mut world) = lan();
    with_web(&mut snapshot);
    let forecast = settle(&snapshot, &mut world);
    assert!(forecast.settled);
    for (node, address) in [("r1", "10.77.0.11"), ("r2", "10.77.0.12")] {
        let add = format!("ipvsadm -a -t {VIP}:80 -r {address}:80 -g -w 1");
        let bound = place(&forecast, node, "ip addr add");
        assert!(place(&forecast, node, "sysctl") < bound);
        assert!(place(&forecast, node, "ip link add vip0") < bound);
        assert!(bound < place(&forecast, "d", &add));
    }
    let real_servers = &forecast.nodes[&"d".into()].virtual_services[&web().key].real_servers;
    let ready = |state: &RealServerState| matches!(state, RealServerState::Ready { weight: 1 });
    assert!(
        real_servers
            .iter()
            .flat_map(|(_, all)| all.all())
            .all(ready)
    );
    assert_eq!(
        settle(&snapshot, &mut world).steps,
        [],
        "nothing is left to do"
    );
}

#[test]
fn a_real_server_leaves_after_its_destination_is_gone() {
    let (mut snapshot, mut world) = lan();
    with_web(&mut snapshot);
    settle(&snapshot, &mut world);
    snapshot.nodes.get_mut(&"r1".into()).unwrap().labels.clear();
    let forecast = settle(&snapshot, &mut world);
    let quiesced = place(
        &forecast,
        "d",
        "ipvsadm -e -t 10.77.0.100:80 -r 10.77.0.11:80 -g -w 0",
    );
    let deleted = place(
        &forecast,
        "d",
        "ipvsadm -d -t 10.77.0.100:80 -r 10.77.0.11:80",
    );
    let unbound = place(&forecast, "r1", "ip addr del");
    let restored = place(&forecast, "r1", "sysctl");
    assert!(quiesced < deleted && deleted < unbound && unbound < restored);
    let rounds = [quiesced, deleted, unbound].map(|at| forecast.steps[at].round);
    assert!(rounds.is_sorted_by(|a, b| a < b), "{rounds:?}");
    assert!(forecast.steps[deleted].after_drain);
    assert!(forecast.steps.iter().all(|step| step.node.0 != "r2"));
}

#[test]
fn deleting_everything_leaves_the_nodes_as_they_were() {
    let (mut snapshot, mut world) = lan();
    let (_, before) = lan();
    with_web(&mut snapshot);
    settle(&snapshot, &mut world);
    snapshot.virtual_services.clear();
    let forecast = settle(&snapshot, &mut world);
    assert!(forecast.settled);
    for (name, node) in &world.nodes {
        let (now, then) = (&node.observed, &before.nodes[name].observed);
        assert_eq!(now.links, then.links, "{name}");
        assert_eq!(now.net.addresses, then.net.addresses, "{name}");
        assert_eq!(now.net.routes, then.net.routes, "{name}");
        assert_eq!(now.net.services, then.net.services, "{name}");
        assert_eq!(node.ledger, Ledger::default(), "{name}");
    }
}

#[test]
fn what_is_known_to_fail_is_foretold() {
    let (mut snapshot, mut world) = lan();
    with_web(&mut snapshot);
    let stranger = Mac([2, 0, 0, 0, 0, 9]);
    let director = world.nodes.get_mut(&"d".into()).unwrap();
    let r1 = "10.77.0.11".parse().unwrap();
    let assumed = Assumed {
        own: ["10.77.0.1".parse().unwrap()].into(),
        out_of_reach: [(r1, Reason::Unreachable)].into(),
        answers: [(VIP.parse().unwrap(), [stranger].into())].into(),
    };
    director.wire = EvidenceSource::Assumed(assumed);
    let vip: IpAddr = VIP.parse().unwrap();
    let forecast = settle(&snapshot, &mut world);
    let vs_state = &forecast.nodes[&"d".into()].virtual_services[&web().key];
    assert_eq!(
        vs_state.refusal.as_ref().unwrap().reason,
        Reason::VipConflict
    );
    assert!(
        forecast
            .steps
            .iter()
            .all(|step| step.op.phase() != Phase::Claim)
    );
    let is_bound = |op: &Op| matches!(op, Op::AddAddress(..) | Op::AddService(..));
    let bound = forecast.steps.iter().find(|step| is_bound(&step.op));
    assert!(bound.is_none(), "a stranger has the VIP: {bound:?}");
    let director = world.nodes.get_mut(&"d".into()).unwrap();
    if let EvidenceSource::Assumed(assumed) = &mut director.wire {
        assumed.answers.clear();
    }
    let forecast = settle(&snapshot, &mut world);
    let vs_state = &forecast.nodes[&"d".into()].virtual_services[&web().key];
    let real_servers = vs_state.real_servers_of(vip).unwrap();
    assert!(
        matches!(real_servers.of_vip(r1), Some(RealServerState::Unready(refusal)) if refusal.reason == Reason::Unreachable)
    );
    let adds = forecast.steps.iter();
    let adds = adds.filter(|step| matches!(step.op, Op::AddDestination(..)));
    assert_eq!(adds.count(), 1);
}

#[test]
fn without_reports_the_wire_speaks_and_time_passes_once() {
    let (mut snapshot, mut world) = lan();
    snapshot.peers = Peers::Silent;
    with_web(&mut snapshot);
    let forecast = settle(&snapshot, &mut world);
    assert!(forecast.settled);
    assert!(
        forecast.steps.iter().all(|step| step.round == 1),
        "nobody waits for a report"
    );
    snapshot.virtual_services.clear();
    let forecast = settle(&snapshot, &mut world);
    assert!(forecast.settled);
    let unbound = place(&forecast, "r1", "ip addr del");
    assert!(
        forecast.steps[unbound].after_drain,
        "a director may not have read it yet"
    );
    assert!(
        world
            .nodes
            .values()
            .all(|node| node.ledger == Ledger::default())
    );
}

#[test]
fn endpoints_say_who_gets_connections() {
    let (mut snapshot, mut world) = lan();
    with_web(&mut snapshot);
    let service = ServiceName::new("shop", "web");
    let follow = |snapshot: &mut Snapshot, running: &[u8]| {
        let endpoints = running.iter().map(|host| Endpoint {
            address: [10, 77, 0, *host].into(),
            node: None,
            state: EndpointState::Ready,
        });
        let slice = Slice {
            endpoints: endpoints.collect(),
            ..Slice::default()
        };
        let web = snapshot.virtual_services.get_mut(&web().key).unwrap();
        Arc::make_mut(web.as_mut().unwrap()).real_servers.service = Some(service.clone());
        let slices = [("web-1".to_owned(), slice)].into();
        snapshot.endpoints = [(service.clone(), slices)].into();
    };
    follow(&mut snapshot, &[11]);
    let forecast = settle(&snapshot, &mut world);
    assert!(forecast.settled);
    place(
        &forecast,
        "d",
        "ipvsadm -a -t 10.77.0.100:80 -r 10.77.0.11:80",
    );
    place(&forecast, "r2", "ip addr add");
    let adds = |forecast: &Forecast| {
        let steps = forecast.steps.iter();
        steps
            .filter(|step| matches!(step.op, Op::AddDestination(..)))
            .count()
    };
    assert_eq!(adds(&forecast), 1);
    // The pod moves to r2: r1's destination is deleted in the end, its VIP stays.
    follow(&mut snapshot, &[12]);
    let forecast = settle(&snapshot, &mut world);
    assert!(forecast.settled);
    let added = place(
        &forecast,
        "d",
        "ipvsadm -a -t 10.77.0.100:80 -r 10.77.0.12:80",
    );
    let deleted = place(
        &forecast,
        "d",
        "ipvsadm -d -t 10.77.0.100:80 -r 10.77.0.11:80",
    );
    assert!(added < deleted && forecast.steps[deleted].after_drain);
    assert!(forecast.steps.iter().all(|step| step.node.0 == "d"));
}

/// The labelled directors `d` and `e`, of which `d` holds the VIP and is cordoned, so that it moves to `e`.
fn moving() -> (Snapshot, ForecastCluster) {
    let (mut snapshot, mut world) = lan();
    with_web(&mut snapshot);
    assert!(settle(&snapshot, &mut world).settled);
    let mut second = snapshot.nodes[&"d".into()].clone();
    let address: IpAddr = "10.77.0.2".parse().unwrap();
    second.addresses = vec![address];
    snapshot.nodes.insert("e".into(), second);
    snapshot.nodes.get_mut(&"d".into()).unwrap().cordoned = true;
    let (_, fresh) = lan();
    let mut node = fresh.nodes[&"d".into()].clone();
    let eth0 = node.observed.links.get_mut("eth0");
    eth0.unwrap().addresses = vec!["10.77.0.2/24".parse().unwrap()];
    node.wire = EvidenceSource::Assumed(Assumed {
        own: [address].into(),
        ..Assumed::default()
    });
    world.nodes.insert("e".into(), node);
    (snapshot, world)
}

/// A report of the node `x`, which is a backend and runs beyond the forecast: it claims to hold the VIP, and to send r1
/// connections for it.
fn pretend(snapshot: &mut Snapshot) {
    let mut node = snapshot.nodes[&"r1".into()].clone();
    node.addresses = vec!["10.77.0.66".parse().unwrap()];
    snapshot.nodes.insert("x".into(), node);
    let vips: IpRanges = [VIP.parse::<IpAddr>().unwrap()].into_iter().collect();
    let report = PeerState {
        held: vips.clone(),
        directing: vec![Directing {
            vips,
            ready: ["10.77.0.11".parse::<IpAddr>().unwrap()]
                .into_iter()
                .collect(),
            ..Directing::default()
        }],
        ..PeerState::default()
    };
    let Peers::Reported(reports) = &mut snapshot.peers else {
        panic!("nobody reports");
    };
    reports.insert("x".into(), report);
}

#[test]
fn a_move_does_not_look_done_because_a_backend_says_that_it_holds_the_vip() {
    for forged in [false, true] {
        let (mut snapshot, mut world) = moving();
        if forged {
            pretend(&mut snapshot);
        }
        let forecast = settle(&snapshot, &mut world);
        assert!(forecast.settled);
        let claimed = place(&forecast, "e", "ip addr add 10.77.0.100/32 dev eth0");
        let yielded = place(&forecast, "d", "ip addr del 10.77.0.100/32 dev eth0");
        assert!(
            forecast.steps[claimed].round < forecast.steps[yielded].round,
            "forged: {forged}: {:#?}",
            forecast.steps
        );
    }
}

#[test]
fn a_backend_that_claims_to_direct_keeps_no_vip_bound_elsewhere() {
    let (mut snapshot, mut world) = lan();
    with_web(&mut snapshot);
    settle(&snapshot, &mut world);
    pretend(&mut snapshot);
    snapshot.virtual_services.clear();
    let forecast = settle(&snapshot, &mut world);
    assert!(forecast.settled);
    place(&forecast, "r1", "ip addr del");
    // The controller knows it as a director of lately: it may still send connections.
    let (mut snapshot, mut world) = lan();
    with_web(&mut snapshot);
    settle(&snapshot, &mut world);
    pretend(&mut snapshot);
    world.lately.insert("x".into());
    snapshot.virtual_services.clear();
    let forecast = settle(&snapshot, &mut world);
    let mut steps = forecast.steps.iter();
    assert!(steps.all(|it| it.node.0 != "r1"), "{:#?}", forecast.steps);
}
