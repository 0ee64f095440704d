use std::{collections::BTreeMap, time::Duration};

use super::fixture::*;
use crate::{desired::clients_nic, model::*};

#[test]
fn a_director_carries_the_vip_on_lo_and_on_the_nic_in_its_network() {
    let mut lan = Lan::director();
    assert_eq!(lan.devices(), on(&[("lo", false)]), "not elected");
    lan.elected.held.insert(ip(VIP), [dev("eth0")].into());
    assert_eq!(lan.devices(), on(&[("lo", false), ("eth0", true)]));
    lan.eth0().addresses = vec!["192.168.9.10/24".parse().unwrap()];
    assert_eq!(lan.reason(), Some(Reason::NoInterface));
    lan.web().directors.interface = Some(dev("eth0").into());
    assert_eq!(lan.devices(), on(&[("lo", false), ("eth0", true)]));
}

#[test]
fn a_real_server_gets_weight_only_after_its_agent_reports_it_ready() {
    let mut lan = Lan::director();
    assert_eq!(lan.weights(), weights(&[]));
    lan.bound("r1");
    assert_eq!(lan.weights(), weights(&[("10.77.0.11", 1)]));
    lan.bound("r2");
    assert_eq!(
        lan.weights(),
        weights(&[("10.77.0.11", 1), ("10.77.0.12", 1)])
    );
}

#[test]
fn if_all_real_servers_are_replaced_at_once_the_old_ones_serve_until_a_new_one_does() {
    let mut lan = Lan::director();
    let nodes = &mut lan.snapshot.nodes;
    nodes.get_mut(&"r1".into()).unwrap().labels.clear();
    lan.serving(&[("10.77.0.11", 3)]);
    let waiting = weights(&[("10.77.0.11", 3)]);
    assert_eq!(lan.weights(), waiting, "r2 has not bound the VIP yet");
    lan.timers = lan.desired().timers;
    lan.now = Duration::from_secs(59);
    assert_eq!(lan.weights(), waiting);
    let mut too_long = lan.desired().timers;
    std::mem::swap(&mut lan.timers, &mut too_long);
    lan.now = Duration::from_secs(60);
    assert_eq!(lan.weights(), weights(&[]), "for the drain time at most");
    lan.now = Duration::from_secs(59);
    lan.bound("r2");
    let replaced = weights(&[("10.77.0.11", 0), ("10.77.0.12", 1)]);
    assert_eq!(lan.weights(), replaced);
    lan.snapshot
        .nodes
        .get_mut(&"r2".into())
        .unwrap()
        .labels
        .clear();
    assert_eq!(lan.weights(), weights(&[("10.77.0.11", 0)]), "nobody comes");
}

#[test]
fn one_that_is_no_longer_ready_loses_its_weight_but_not_its_place() {
    let mut lan = Lan::director();
    lan.unbound("r1");
    lan.bound("r2");
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 1)]);
    assert_eq!(
        lan.weights(),
        weights(&[("10.77.0.11", 0), ("10.77.0.12", 1)])
    );
    lan.wire.reach.insert(ip("10.77.0.12"), Reach::NotOnLink);
    assert_eq!(
        lan.weights(),
        weights(&[("10.77.0.11", 0), ("10.77.0.12", 0)])
    );
}

#[test]
fn without_reports_the_wire_must_say_that_it_is_there_and_quiet() {
    let mut lan = Lan::director();
    lan.snapshot.peers = Peers::Silent;
    lan.probed = false;
    assert_eq!(lan.weights(), weights(&[]), "nobody has asked the wire yet");
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 0)]);
    let as_they_are = weights(&[("10.77.0.11", 1), ("10.77.0.12", 0)]);
    assert_eq!(lan.weights(), as_they_are, "nor has it answered otherwise");
    lan.observed.net.services.clear();
    lan.wire.answers.insert(ip(VIP), Answer::default());
    assert_eq!(
        lan.weights(),
        weights(&[("10.77.0.11", 1), ("10.77.0.12", 1)])
    );
    lan.wire
        .reach
        .insert(ip("10.77.0.11"), Reach::Silent { dev: dev("eth0") });
    assert_eq!(lan.weights(), weights(&[("10.77.0.12", 1)]));
    lan.wire.answers.insert(
        ip(VIP),
        Answer {
            macs: [Mac([2, 0, 0, 0, 0, 12])].into(),
        },
    );
    assert_eq!(lan.weights(), weights(&[]), "r2 answers ARP for the VIP");
}

#[test]
fn an_external_server_is_judged_by_the_wire_even_where_agents_report() {
    let mut lan = Lan::director();
    lan.web().real_servers.external = vec![ExternalServer {
        address: ip("10.77.0.50"),
        weight: 3,
    }];
    lan.neighbour("10.77.0.50", 50);
    lan.probed = false;
    lan.carrying("lo", Role::Quiet);
    assert_eq!(lan.weights(), weights(&[]));
    lan.wire.answers.insert(ip(VIP), Answer::default());
    assert_eq!(lan.weights(), weights(&[("10.77.0.50", 3)]));
}

#[test]
fn a_leaving_real_server_keeps_its_connections_until_dry_or_the_deadline() {
    let r2 = |lan: &mut Lan, leave: fn(&mut Node)| {
        leave(lan.snapshot.nodes.get_mut(&"r2".into()).unwrap());
    };
    keeps_its_connections(|lan| r2(lan, |node| node.labels.clear()));
    keeps_its_connections(|lan| r2(lan, |node| node.drained = true));
    keeps_its_connections(|lan| {
        lan.web().real_servers.cordon = CordonPolicy::Drain;
        r2(lan, |node| node.cordoned = true);
    });
}

#[test]
fn a_cordoned_real_server_goes_on_unless_its_virtual_service_says_otherwise() {
    let mut lan = Lan::director();
    lan.bound("r1");
    lan.bound("r2");
    let r2 = lan.snapshot.nodes.get_mut(&"r2".into()).unwrap();
    r2.cordoned = true;
    let both = weights(&[("10.77.0.11", 1), ("10.77.0.12", 1)]);
    assert_eq!(lan.weights(), both);
}

fn keeps_its_connections(leave: impl FnOnce(&mut Lan)) {
    let mut lan = Lan::director();
    lan.bound("r1");
    leave(&mut lan);
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 1)]);
    let drained = weights(&[("10.77.0.11", 1)]);
    let draining = weights(&[("10.77.0.11", 1), ("10.77.0.12", 0)]);
    assert_eq!(lan.weights(), draining, "weight 0 comes before deletion");

    lan.timers = lan.desired().timers;
    lan.serving(&[("10.77.0.11", 1), ("10.77.0.12", 0)]);
    let connections = Connections {
        active: 1,
        inactive: 0,
    };
    lan.observed
        .draining
        .insert((web_key(), ip("10.77.0.12")), connections);
    lan.now = Duration::from_secs(59);
    assert_eq!(lan.weights(), draining);
    assert!(lan.vs_state().draining.contains(&ip("10.77.0.12")));
    lan.now = Duration::from_secs(60);
    assert_eq!(lan.weights(), drained, "the deadline has passed");
    lan.now = Duration::from_secs(1);
    lan.observed.draining.clear();
    assert_eq!(lan.weights(), drained, "no connection is left");
}

#[test]
fn a_foreign_service_with_the_same_key_is_left_alone() {
    let mut lan = Lan::director();
    lan.serving(&[("10.77.0.99", 1)]);
    lan.ledger.services.clear();
    assert_eq!(lan.reason(), Some(Reason::ForeignService));
    assert!(lan.desired().net.services.is_empty());
    assert_eq!(lan.devices(), on(&[]), "not bound either");
}

#[test]
fn a_report_that_vanished_takes_no_weight() {
    let mut lan = Lan::director();
    lan.serving(&[("10.77.0.11", 1)]);
    lan.snapshot.peers = Peers::Reported(BTreeMap::new());
    assert_eq!(
        lan.weights(),
        weights(&[("10.77.0.11", 1)]),
        "the one that has weight keeps it, and the other one gets none"
    );
    lan.unbound("r1");
    assert_eq!(lan.weights(), weights(&[("10.77.0.11", 0)]));
}

/// An agent that cannot read its sources when it starts has reports that may be older than what it serves.
#[test]
fn a_report_from_before_takes_no_weight() {
    let mut lan = Lan::director();
    lan.serving(&[("10.77.0.11", 1)]);
    lan.unbound("r1");
    lan.complete = false;
    assert_eq!(lan.weights(), weights(&[("10.77.0.11", 1)]));
}

#[test]
fn without_ipvs_nothing_is_claimed() {
    let mut lan = Lan::director();
    lan.observed.ipvs = Ipvs::Missing("load ip_vs".to_owned());
    assert_eq!(lan.reason(), Some(Reason::IpvsMissing));
    assert_eq!(lan.devices(), on(&[]));
}

#[test]
fn a_standby_serves_unless_it_is_a_real_server_too() {
    let mut lan = Lan::director();
    let second = lan.snapshot.nodes[&"d".into()].clone();
    lan.snapshot.nodes.insert(
        "d2".into(),
        Node {
            addresses: vec![ip("10.77.0.20")],
            ..second
        },
    );
    lan.web().directors.preferred = Some("d2".into());
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    assert_eq!(lan.desired().net.services.len(), 1);

    let labels = &mut lan.snapshot.nodes.get_mut(&"d".into()).unwrap().labels;
    labels.insert(BACKEND_LABEL.to_owned(), "true".to_owned());
    assert_eq!(
        lan.desired().net.services.len(),
        0,
        "two directors could bounce a packet between them"
    );
}

#[test]
fn of_several_nics_in_the_vips_network_one_that_works_faces_the_clients() {
    let mut lan = Lan::director();
    let mut add = |index, name: &str, network: &str| {
        let link = nic(index, name, &[network]);
        lan.observed.links.insert(link.dev.clone(), link);
    };
    add(3, "eth1", "10.77.0.20/24");
    add(4, "eth2", "10.77.0.97/27");
    let chosen = |lan: &Lan| {
        let nic = clients_nic(None, ip(VIP), &lan.observed).unwrap();
        nic.dev.to_string()
    };
    let link = |lan: &mut Lan, name: &str, up: bool, carrier: bool| {
        let link = lan.observed.links.get_mut(name).unwrap();
        (link.up, link.carrier) = (up, carrier);
    };
    assert_eq!(chosen(&lan), "eth2", "the longest prefix");
    link(&mut lan, "eth2", true, false);
    assert_eq!(chosen(&lan), "eth0", "the first with a carrier");
    link(&mut lan, "eth0", false, false);
    assert_eq!(chosen(&lan), "eth1", "the one that is up");
    lan.carrying("eth1", Role::Held);
    link(&mut lan, "eth0", true, true);
    link(&mut lan, "eth2", true, true);
    assert_eq!(chosen(&lan), "eth1", "where the VIP is");
    for name in ["eth0", "eth1", "eth2"] {
        link(&mut lan, name, false, false);
    }
    assert_eq!(chosen(&lan), "eth1", "none works");
}

#[test]
fn interfaces_may_be_named_differently_on_each_node() {
    let mut lan = Lan::director();
    for (index, name) in [(3, "eno1"), (4, "eno2"), (5, "bond0")] {
        lan.observed.links.insert(dev(name), nic(index, name, &[]));
    }
    let chosen = |lan: &Lan, named: &str| {
        let named = named.parse().unwrap();
        let nic = clients_nic(Some(&named), ip(VIP), &lan.observed);
        nic.map(|nic| nic.dev.to_string()).map_err(|it| it.message)
    };
    assert_eq!(chosen(&lan, "ens3,bond0,eno*"), Ok("bond0".to_owned()));
    assert_eq!(chosen(&lan, "eno*,bond0"), Ok("eno1".to_owned()));
    assert_eq!(chosen(&lan, "e*"), Ok("eth0".to_owned()), "in its network");
    lan.observed.links.get_mut("bond0").unwrap().carrier = false;
    assert_eq!(chosen(&lan, "bond0,eno2"), Ok("eno2".to_owned()), "works");
    lan.observed.links.get_mut("eno2").unwrap().enslaved = true;
    assert_eq!(chosen(&lan, "bond0,eno2"), Ok("bond0".to_owned()));
    let missing = chosen(&lan, "ens3,wl*").unwrap_err();
    assert!(missing.contains("ens3,wl*: this node has no"), "{missing}");
    let mute = chosen(&lan, "lo").unwrap_err();
    assert!(mute.contains("lo cannot answer ARP"), "{mute}");
}
