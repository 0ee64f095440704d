//! By which address a node is a real server, and which of two nodes with one address.

use super::fixture::*;
use crate::{
    desired::{RecentDirectors, Viewpoint, real_servers},
    model::*,
};

fn addresses(lan: &Lan) -> Vec<String> {
    let viewpoint = Viewpoint::new(&lan.node, &lan.observed);
    let Ok(web) = &lan.snapshot.virtual_services[&VsKey::new("shop", "web")] else {
        panic!("refused");
    };
    let set = real_servers(web, ip(VIP), &lan.snapshot, Some(&viewpoint));
    let named = set.by_address.iter();
    named.map(|(ip, it)| format!("{} {ip}", it.id)).collect()
}

fn r1(lan: &mut Lan) -> &mut Node {
    lan.snapshot.nodes.get_mut(&"r1".into()).unwrap()
}

fn says(lan: &mut Lan, name: &str, own: &str) {
    let Peers::Reported(peers) = &mut lan.snapshot.peers else {
        panic!("no reports");
    };
    let state = peers.entry(name.into()).or_default();
    state.addresses.insert(ip(own));
}

#[test]
fn of_several_addresses_the_one_in_the_vips_network_is_taken() {
    let mut lan = Lan::director();
    let expected = ["r1 10.77.0.11", "r2 10.77.0.12"];
    for listed in [["192.0.2.11", "10.77.0.11"], ["10.77.0.11", "192.0.2.11"]] {
        r1(&mut lan).addresses = listed.map(ip).into();
        assert_eq!(addresses(&lan), expected, "{listed:?}");
    }
    // The node's object names none there, but its agent reports one; the director's own is nobody else's.
    r1(&mut lan).addresses = vec![ip("192.0.2.11")];
    assert_eq!(addresses(&lan), ["r2 10.77.0.12", "r1 192.0.2.11"]);
    says(&mut lan, "r1", "10.77.0.10");
    says(&mut lan, "r1", "10.77.0.11");
    assert_eq!(addresses(&lan), expected);
}

#[test]
fn a_node_knows_its_own_addresses_before_anybody_reports_them() {
    let mut lan = Lan::real_server();
    r1(&mut lan).addresses = vec![ip("192.0.2.11")];
    assert_eq!(addresses(&lan), ["r1 10.77.0.11", "r2 10.77.0.12"]);
}

#[test]
fn a_vip_of_no_network_is_sent_to_an_address_that_the_director_can_reach() {
    let mut lan = Lan::director();
    lan.web().vips = vec![ip(VIP)];
    lan.eth0().addresses = vec!["10.78.0.10/24".parse().unwrap()];
    r1(&mut lan).addresses = vec![ip("192.0.2.11"), ip("10.78.0.11")];
    assert_eq!(addresses(&lan), ["r2 10.77.0.12", "r1 10.78.0.11"]);
}

/// A second node with the address of r1.
fn twin(lan: &mut Lan, name: &str) {
    let node = lan.snapshot.nodes[&"r1".into()].clone();
    lan.snapshot.nodes.insert(name.into(), node);
}

#[test]
fn of_two_nodes_with_one_address_the_one_that_speaks_has_it() {
    for name in ["a-old", "z-old"] {
        let mut lan = Lan::director();
        lan.bound("r1");
        twin(&mut lan, name);
        says(&mut lan, "r1", "10.77.0.11");
        assert_eq!(lan.weights(), weights(&[("10.77.0.11", 1)]), "{name}");
        // What is left of the other's report does not count while its kubelet is silent.
        says(&mut lan, name, "10.77.0.11");
        let old = lan.snapshot.nodes.get_mut(&name.into()).unwrap();
        old.silent = true;
        assert_eq!(lan.weights(), weights(&[("10.77.0.11", 1)]), "{name}");
        let Ok(web) = &lan.snapshot.virtual_services[&VsKey::new("shop", "web")] else {
            panic!("refused");
        };
        let set = real_servers(web, ip(VIP), &lan.snapshot, None);
        let refusal = &set.refused[&name.into()];
        assert_eq!(refusal.reason, Reason::NodeAddressShared);
        assert!(refusal.message.contains("that of node r1"), "{refusal}");
        // The node itself runs, whatever others say.
        let mut own = Lan::real_server();
        twin(&mut own, name);
        assert_eq!(own.reason(), None, "{name}");
        assert_eq!(own.devices(), on(&[("lo", false)]), "{name}");
    }
}

#[test]
fn a_director_that_is_left_over_is_no_candidate() {
    for name in ["a-old", "z-old"] {
        let mut lan = super::elected::pair();
        let e = lan.snapshot.nodes[&"e".into()].clone();
        lan.snapshot.nodes.insert(name.into(), e);
        says(&mut lan, "e", "10.77.0.20");
        lan.serving(&[("10.77.0.11", 1)]);
        lan.carrying("lo", Role::Quiet);
        let config = super::elected::segment(&lan, &RecentDirectors::default()).config;
        let order = config.vips[&ip(VIP)].order.iter();
        let mut order: Vec<String> = order.map(|it| it.director.0.to_string()).collect();
        order.sort();
        assert_eq!(order, ["10.77.0.10", "10.77.0.20"], "{name}");
        let names = config.peers.values().map(|peer| peer.name.to_string());
        assert_eq!(names.collect::<Vec<_>>(), ["e"], "{name}");
    }
}
