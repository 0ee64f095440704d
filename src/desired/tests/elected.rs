//! Directors that elect who holds which VIP.

use std::net::IpAddr;

use super::fixture::*;
use crate::{
    desired::{AfterPass, RealServerState, RecentDirectors, Segment, admit, segments},
    election::DirectorId,
    model::*,
};

/// Director `d`, with a second one, `e`; an election goes on.
pub fn pair() -> Lan {
    let mut lan = Lan::director();
    lan.bound("r1");
    lan.bound("r2");
    let mut e = lan.snapshot.nodes[&"d".into()].clone();
    e.addresses = vec![ip("10.77.0.20")];
    lan.snapshot.nodes.insert("e".into(), e);
    lan
}

fn claim() -> AddressKey {
    AddressKey::new(dev("eth0"), ip(VIP))
}

fn hold(lan: &mut Lan) {
    let held = &mut lan.elected.held;
    held.insert(ip(VIP), [dev("eth0")].into());
}

pub fn segment(lan: &Lan, former: &RecentDirectors) -> Segment {
    let admission = admit(&lan.snapshot);
    let desired = lan.desired();
    let after = AfterPass {
        node: &lan.node,
        snapshot: &lan.snapshot,
        admission: &admission,
        observed: &lan.observed,
        desired: &desired,
    };
    segments(&after, former, true).remove(&dev("eth0")).unwrap()
}

#[test]
fn a_nic_as_quiet_device_is_no_claim() {
    let mut lan = Lan::real_server();
    let spare = nic(3, "eth1", &[]);
    lan.observed.links.insert(spare.dev.clone(), spare);
    lan.options.vip_devices = VipDevices(vec!["eth1".parse().unwrap()]);
    lan.web().real_servers.device = dev("eth1");
    let held = &mut lan.elected.held;
    held.insert(ip(VIP), [dev("eth1")].into());
    assert!(lan.desired().net.services.is_empty());
    assert_eq!(lan.devices(), on(&[("eth1", false)]));
}

/// Who may hold the VIP, the best first, and whether each is ready.
fn order(lan: &Lan) -> Vec<(String, bool)> {
    let config = segment(lan, &RecentDirectors::default()).config;
    let wanted = &config.vips[&ip(VIP)];
    let order = wanted.order.iter();
    order
        .map(|it| (it.director.0.to_string(), it.ready))
        .collect()
}

#[test]
fn a_standby_has_the_services_and_only_the_holder_the_vip_on_its_nic() {
    let mut lan = pair();
    let standby = lan.desired();
    assert_eq!(standby.net.services.len(), 1);
    assert!(!standby.net.addresses.contains_key(&claim()));
    assert!(standby.net.claims.contains(&claim()));
    hold(&mut lan);
    let holder = lan.desired();
    assert_eq!(holder.net.addresses.get(&claim()), Some(&Role::Held));
    assert_eq!(holder.net.services, standby.net.services);
}

#[test]
fn a_standby_that_is_a_real_server_has_the_services_only_while_it_holds_the_vip() {
    let mut lan = pair();
    let labels = &mut lan.snapshot.nodes.get_mut(&"d".into()).unwrap().labels;
    labels.insert(BACKEND_LABEL.to_owned(), String::new());
    assert!(lan.desired().net.services.is_empty());
    hold(&mut lan);
    assert_eq!(lan.desired().net.services.len(), 1);
}

#[test]
fn who_may_no_longer_hold_a_vip_serves_it_until_the_election_takes_it_away() {
    let mut lan = pair();
    hold(&mut lan);
    lan.snapshot
        .nodes
        .get_mut(&"d".into())
        .unwrap()
        .labels
        .clear();
    let leaving = lan.desired();
    assert_eq!(leaving.net.services.len(), 1);
    assert!(leaving.net.addresses.contains_key(&claim()));
    assert!(!leaving.net.claims.contains(&claim()));
    assert_eq!(order(&lan), [("10.77.0.20".to_owned(), false)]);
    lan.elected = Elected::default();
    assert!(lan.desired().net.services.is_empty());
}

#[test]
fn whoever_else_answers_is_told_and_decides_nothing() {
    let mut lan = pair();
    let stranger = Mac([2, 0, 0, 0, 0, 99]);
    let conflicts = &mut lan.elected.conflicts;
    conflicts.insert(claim(), [(stranger, None)].into());
    let vs_state = lan.vs_state();
    let refusal = vs_state.refusal.unwrap();
    assert_eq!(refusal.reason, Reason::VipConflict);
    assert!(refusal.message.contains("not claimed"), "{refusal}");
    hold(&mut lan);
    lan.carrying("eth0", Role::Held);
    assert!(lan.desired().net.addresses.contains_key(&claim()));
    assert!(
        lan.vs_state()
            .refusal
            .unwrap()
            .message
            .contains("stays here, at 02:00:00:00:00:02")
    );
}

#[test]
fn whoever_else_answers_has_a_name_if_it_is_a_node() {
    let mut lan = pair();
    hold(&mut lan);
    let (director, real_server) = (Mac([2, 0, 0, 0, 0, 20]), Mac([2, 0, 0, 0, 0, 11]));
    let rivals = [(director, Some("e".into())), (real_server, None)].into();
    let conflicts = &mut lan.elected.conflicts;
    conflicts.insert(claim(), rivals);
    let message = lan.vs_state().refusal.unwrap().message;
    for rival in ["02:00:00:00:00:14 (node e)", "02:00:00:00:00:0b (node r1)"] {
        assert!(message.contains(rival), "{message}");
    }
}

#[test]
fn a_director_counts_as_ready_when_its_kernel_is() {
    let mut lan = pair();
    let ready = |lan: &Lan, address: &str| {
        let mut order = order(lan).into_iter();
        order
            .find(|(who, _)| who == address)
            .map(|(_, ready)| ready)
    };
    assert_eq!(ready(&lan, "10.77.0.10"), None, "nothing is programmed yet");
    assert_eq!(
        ready(&lan, "10.77.0.20"),
        Some(false),
        "it has not reported"
    );
    lan.serving(&[("10.77.0.11", 0), ("10.77.0.12", 0)]);
    assert_eq!(ready(&lan, "10.77.0.10"), None, "it does not carry the VIP");
    lan.carrying("lo", Role::Quiet);
    assert_eq!(ready(&lan, "10.77.0.10"), Some(false), "nobody to send to");
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 0)]);
    assert_eq!(ready(&lan, "10.77.0.10"), Some(true));
    let Peers::Reported(peers) = &mut lan.snapshot.peers else {
        panic!("no reports");
    };
    let directing = Directing {
        vips: [ip(VIP)].into_iter().collect(),
        ready: [ip("10.77.0.11")].into(),
        ..Directing::default()
    };
    let e = PeerState {
        directing: vec![directing],
        ..PeerState::default()
    };
    peers.insert("e".into(), e);
    assert_eq!(ready(&lan, "10.77.0.20"), Some(true));
    lan.snapshot.peers = Peers::Silent;
    assert_eq!(
        ready(&lan, "10.77.0.20"),
        Some(true),
        "nothing is known to the contrary"
    );
}

/// What is served behind a VIP keeps it, whatever is refused beside it.
#[test]
fn a_director_stands_for_a_vip_while_it_serves_anything_behind_it() {
    let mut lan = pair();
    lan.carrying("lo", Role::Quiet);
    lan.serving(&[("10.77.0.11", 1)]);
    let stands = |lan: &Lan| order(lan).iter().any(|(who, _)| who == "10.77.0.10");
    assert!(stands(&lan));
    lan.web().scheduler = Scheduler::Lblc;
    assert!(stands(&lan), "the kernel still has the service as it was");
    let mut second = virtual_service("second");
    second.ports[0].port = 8080;
    let object = (second.key.clone(), Ok(second.into()));
    lan.snapshot.virtual_services.extend([object]);
    assert!(stands(&lan), "another object's service is missing");
    lan.observed.net.services.clear();
    assert!(!stands(&lan), "nothing is served");
}

#[test]
fn directors_without_an_internal_address_on_the_segment_know_each_other_by_what_they_report() {
    let mut lan = pair();
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 1)]);
    lan.carrying("lo", Role::Quiet);
    for node in lan.snapshot.nodes.values_mut() {
        node.addresses = vec![ip("192.168.1.1")];
    }
    let Peers::Reported(peers) = &mut lan.snapshot.peers else {
        panic!("no reports");
    };
    let e = PeerState {
        addresses: [ip("10.78.0.20"), ip("10.77.0.21"), ip("10.77.0.20")].into(),
        ..PeerState::default()
    };
    peers.insert("e".into(), e);
    let config = segment(&lan, &RecentDirectors::default()).config;
    assert_eq!(config.me, DirectorId(ip("10.77.0.10")));
    let known: Vec<IpAddr> = config.peers.keys().map(|it| it.0).collect();
    assert_eq!(known, [ip("10.77.0.20")]);
}

#[test]
fn a_cordoned_director_comes_last_and_the_preferred_one_first() {
    let mut lan = pair();
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 1)]);
    lan.carrying("lo", Role::Quiet);
    for (first, second) in [("10.77.0.10", "10.77.0.20"), ("10.77.0.20", "10.77.0.10")] {
        let name = if first == "10.77.0.10" { "d" } else { "e" };
        lan.web().directors.preferred = Some(name.into());
        let found: Vec<String> = order(&lan).into_iter().map(|(who, _)| who).collect();
        assert_eq!(found, [first, second]);
        assert!(segment(&lan, &RecentDirectors::default()).config.vips[&ip(VIP)].on_request);
        lan.snapshot.nodes.get_mut(&name.into()).unwrap().cordoned = true;
        let found: Vec<String> = order(&lan).into_iter().map(|(who, _)| who).collect();
        assert_eq!(found, [second, first], "cordoned");
        lan.snapshot.nodes.get_mut(&name.into()).unwrap().cordoned = false;
    }
}

/// The election's configuration: the complete one is the target, whoever is preferred, and no request for the move is seen in it.
#[test]
fn a_director_that_serves_everything_comes_before_the_preferred_one_that_does_not() {
    let mut lan = pair();
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 1)]);
    lan.carrying("lo", Role::Quiet);
    for (name, other) in [("d", "10.77.0.20"), ("e", "10.77.0.10")] {
        lan.web().directors.preferred = Some(name.into());
        let mut told = lan.snapshot.clone();
        let Peers::Reported(peers) = &mut told.peers else {
            panic!("no reports");
        };
        peers.entry(name.into()).or_default().incomplete = [ip(VIP)].into();
        let before = std::mem::replace(&mut lan.snapshot, told);
        assert_eq!(order(&lan)[0].0, other);
        assert!(!segment(&lan, &RecentDirectors::default()).config.vips[&ip(VIP)].on_request);
        lan.snapshot = before;
        assert_ne!(order(&lan)[0].0, other);
    }
}

#[test]
fn directors_of_today_and_of_lately_are_no_strangers() {
    let mut lan = pair();
    let gone = [("x".into(), vec![ip("192.168.0.9"), ip("10.77.0.30")])];
    let gone = gone.into_iter().collect();
    let config = segment(&lan, &gone).config;
    assert_eq!(config.me, DirectorId(ip("10.77.0.10")));
    let peers: Vec<String> = config.peers.keys().map(|id| id.0.to_string()).collect();
    assert_eq!(peers, ["10.77.0.20", "10.77.0.30"]);
    // A director without an address on this segment cannot hold the VIP there.
    let e = lan.snapshot.nodes.get_mut(&"e".into()).unwrap();
    e.addresses = vec![ip("192.168.0.20")];
    assert!(order(&lan).is_empty());
}

#[test]
fn another_director_that_answers_for_the_vip_is_still_a_real_server() {
    let mut lan = pair();
    lan.snapshot.peers = Peers::Silent;
    let labels = &mut lan.snapshot.nodes.get_mut(&"e".into()).unwrap().labels;
    labels.insert(BACKEND_LABEL.to_owned(), String::new());
    lan.neighbour("10.77.0.20", 20);
    let holders = [Mac([2, 0, 0, 0, 0, 20]), Mac([2, 0, 0, 0, 0, 11])];
    let answer = Answer {
        macs: holders.into(),
    };
    lan.wire.answers.insert(ip(VIP), answer);
    let vs_state = lan.vs_state();
    let real_servers = vs_state.real_servers_of(ip(VIP)).unwrap();
    let ready = |address: &str| {
        matches!(
            real_servers.of_vip(ip(address)),
            Some(RealServerState::Ready { .. })
        )
    };
    assert!(ready("10.77.0.20"));
    assert!(
        !ready("10.77.0.11"),
        "one that is no director must be quiet"
    );
}

#[test]
fn a_directors_report_is_a_reason_to_ask_it_and_no_other_nodes_is() {
    let mut lan = pair();
    let mac = Mac([2, 0, 0, 0, 0, 20]);
    let holds = |address: &str| PeerState {
        addresses: [ip(address)].into(),
        macs: [(ip(address), mac)].into(),
        held: [ip(VIP)].into_iter().collect(),
        ..PeerState::default()
    };
    let reports = [("e", "10.77.0.20"), ("r1", "10.77.0.11")];
    let reports = reports.map(|(name, address)| (name.into(), holds(address)));
    lan.snapshot.peers = Peers::Reported(reports.into());
    let config = segment(&lan, &RecentDirectors::default()).config;
    let e = DirectorId(ip("10.77.0.20"));
    assert_eq!(config.vips[&ip(VIP)].reported, [e].into());
    assert_eq!(config.peers.keys().collect::<Vec<_>>(), [&e]);
    assert_eq!(config.peers[&e].mac, Some(mac));
}

#[test]
fn a_director_that_cannot_answer_for_the_vip_claims_nothing() {
    let claims = |arp_ignore, vip_network: &str| {
        let mut lan = pair();
        lan.web().directors.interface = Some(dev("eth0").into());
        lan.eth0().addresses = vec![vip_network.parse().unwrap()];
        lan.observed.arp_all.ignore = arp_ignore;
        let claimed = !lan.desired().net.claims.is_empty();
        let bound = !lan.devices().is_empty();
        assert_eq!(claimed, bound, "who may not claim it binds nothing");
        (claimed, lan.reason() == Some(Reason::CannotAnswer))
    };
    let (inside, outside) = ("10.77.0.10/24", "10.77.0.10/28");
    for (arp_ignore, network, expected) in [
        (1, inside, true),
        (1, outside, true),
        (2, inside, true),
        (2, outside, false),
        (8, inside, false),
    ] {
        let found = claims(arp_ignore, network);
        assert_eq!(found, (expected, !expected), "{arp_ignore} {network}");
    }
}

#[test]
fn a_holder_that_cannot_answer_any_more_serves_until_a_successor_has_the_vip() {
    let mut lan = pair();
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 1)]);
    lan.carrying("lo", Role::Quiet);
    lan.carrying("eth0", Role::Held);
    hold(&mut lan);
    assert_eq!(order(&lan).len(), 2);
    lan.observed.arp_all.ignore = 8;
    assert_eq!(lan.reason(), Some(Reason::CannotAnswer));
    assert_eq!(lan.devices(), on(&[("lo", false), ("eth0", true)]));
    let left: Vec<String> = order(&lan).into_iter().map(|(who, _)| who).collect();
    assert_eq!(left, ["10.77.0.20"]);
}

#[test]
fn directors_that_could_not_know_each_other_do_not_claim() {
    let mut lan = pair();
    lan.web().directors.interface = Some(dev("eth0").into());
    lan.eth0().addresses = Vec::new();
    assert_eq!(lan.reason(), Some(Reason::NoInterface));
    assert!(lan.desired().net.claims.is_empty());
    assert_eq!(lan.devices(), on(&[]));
    // The only director need not know another one.
    lan.snapshot.nodes.remove(&"e".into());
    assert_eq!(lan.desired().net.claims.len(), 1);
}

/// Somebody with this MAC answers for the VIP.
fn answered(lan: &mut Lan, mac: Mac) {
    let macs = [mac].into();
    lan.wire.answers.insert(ip(VIP), Answer { macs });
}

#[test]
fn a_strangers_address_is_not_bound_before_the_election_holds_it() {
    let mut lan = pair();
    answered(&mut lan, Mac([2, 0, 0, 0, 0, 99]));
    assert_eq!(lan.devices(), on(&[]));
    let waiting = lan.desired();
    // The election asks that host itself: the answer may be forged. If it takes the VIP, the node is quiet already.
    assert!(waiting.net.claims.contains(&claim()));
    assert_eq!(waiting.net.arp[&dev("eth0")], ArpSettings::QUIET);
    assert!(waiting.net.services.is_empty());
    assert_eq!(order(&lan).len(), 2, "it stays a candidate");
    hold(&mut lan);
    assert_eq!(lan.devices(), on(&[("lo", false), ("eth0", true)]));
    assert_eq!(lan.desired().net.services.len(), 1);
}

#[test]
fn a_vip_that_was_not_probed_yet_is_neither_bound_nor_claimed() {
    let mut lan = pair();
    lan.probed = false;
    assert_eq!(lan.reason(), Some(Reason::Pending));
    let waiting = lan.desired().net;
    assert_eq!(*waiting, NodeNet::default(), "nothing at all");
    // What is there stays, and so does what another director has: then nobody is asked.
    lan.carrying("lo", Role::Quiet);
    assert_eq!(lan.reason(), None);
    let mut held = pair();
    held.probed = false;
    hold(&mut held);
    assert_eq!(held.reason(), None);
}

#[test]
fn a_directors_answer_keeps_no_standby_from_binding_the_vip() {
    let mac = Mac([2, 0, 0, 0, 0, 20]);
    let seen_with = |report: PeerState| {
        let mut lan = pair();
        answered(&mut lan, mac);
        let Peers::Reported(reports) = &mut lan.snapshot.peers else {
            unreachable!("a fixture with reports");
        };
        reports.insert("e".into(), report);
        lan.devices()
    };
    let macs = [(ip("10.77.0.20"), mac)].into();
    let known = PeerState {
        macs,
        ..PeerState::default()
    };
    let holds = PeerState {
        held: [ip(VIP)].into_iter().collect(),
        ..PeerState::default()
    };
    assert_eq!(seen_with(known), on(&[("lo", false)]));
    assert_eq!(seen_with(holds), on(&[("lo", false)]));
    assert_eq!(seen_with(PeerState::default()), on(&[]));
}

#[test]
fn what_is_bound_stays_when_a_stranger_answers_and_real_servers_follow_their_director() {
    let mut lan = pair();
    lan.carrying("lo", Role::Quiet);
    answered(&mut lan, Mac([2, 0, 0, 0, 0, 99]));
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    let mut real_server = Lan::real_server();
    answered(&mut real_server, Mac([2, 0, 0, 0, 0, 99]));
    assert_eq!(real_server.devices(), on(&[("lo", false)]));
    real_server.unbound("d");
    assert_eq!(real_server.devices(), on(&[]));
}

#[test]
fn only_a_vip_that_is_nowhere_yet_is_probed_before_it_is_bound() {
    let asks = |lan: &Lan| {
        let asked = lan.decide(|it| {
            crate::desired::questions(it.node, it.snapshot, it.admission, it.observed, it.elected)
        });
        asked.silence == [claim()].into()
    };
    assert!(asks(&pair()));
    let mut bound = pair();
    bound.carrying("lo", Role::Quiet);
    assert!(!asks(&bound));
    let mut held = pair();
    let Peers::Reported(reports) = &mut held.snapshot.peers else {
        unreachable!("a fixture with reports");
    };
    reports.entry("e".into()).or_default().held = [ip(VIP)].into_iter().collect();
    assert!(!asks(&held));
}
