//! Addresses that can be no VIP.

use super::fixture::*;
use crate::{
    desired::{admit, admit_here, reserved},
    model::*,
};

fn is_refused(lan: &Lan, as_: ReservedAs) {
    let desired = lan.desired();
    assert!(
        desired.net.addresses.is_empty(),
        "{as_}: bound all the same"
    );
    assert!(desired.net.services.is_empty(), "{as_}: served");
    assert_eq!(lan.reason(), Some(Reason::VipReserved), "{as_}");
}

#[test]
fn a_node_binds_no_router_no_api_server_and_no_network() {
    for new in [Lan::director, Lan::real_server] {
        let lan_with = |vip: &str| {
            let mut lan = new();
            lan.snapshot.peers = Peers::Silent;
            lan.web().vips = vec![ip(vip)];
            lan
        };
        let mut lan = lan_with("10.77.0.1");
        lan.observed.next_hops.insert(ip("10.77.0.1"));
        is_refused(&lan, ReservedAs::NextHop);
        let mut lan = lan_with("10.77.0.2");
        lan.api_servers.insert(ip("10.77.0.2"));
        is_refused(&lan, ReservedAs::ApiServer);
        is_refused(&lan_with("10.77.0.0"), ReservedAs::Network);
        is_refused(&lan_with("10.77.0.255"), ReservedAs::Broadcast);
    }
}

#[test]
fn small_networks_have_no_broadcast_and_lo_is_no_network() {
    let mut lan = Lan::director();
    lan.eth0().addresses = vec!["10.77.0.10/31".parse().unwrap()];
    let lo = lan.observed.links.get_mut("lo").unwrap();
    lo.addresses.push("10.9.0.1/24".parse().unwrap());
    let none = reserved(&lan.observed, &lan.ledger, &lan.api_servers);
    assert_eq!(none, Reserved::new());
}

/// A report of `name` in which `address` is reserved.
fn reports(lan: &mut Lan, name: &str, address: &str, as_: ReservedAs) {
    let state = PeerState {
        reserved: [(ip(address), as_)].into(),
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([(name.into(), state)].into());
}

#[test]
fn what_one_node_must_not_bind_no_node_binds() {
    for as_ in ReservedAs::ALL {
        let mut lan = Lan::director();
        reports(&mut lan, "r2", VIP, as_);
        let admission = admit(&lan.snapshot);
        let refusal = admission.refused.values().next().unwrap();
        let expected = if as_ == ReservedAs::OwnAddress {
            Reason::VipIsNodeAddress
        } else {
            Reason::VipReserved
        };
        assert_eq!(refusal.reason, expected);
        assert!(
            refusal.message.starts_with("spec.vips[0] 10.77.0.100 is ")
                && refusal.message.contains("node r2"),
            "{refusal}"
        );
        assert!(lan.desired().net.addresses.is_empty());
    }
    // A report without a node is nobody's.
    let mut lan = Lan::director();
    reports(&mut lan, "gone", VIP, ReservedAs::NextHop);
    assert!(admit(&lan.snapshot).refused.is_empty());
}

#[test]
fn an_address_that_an_agent_reports_is_a_nodes_own() {
    let mut lan = Lan::director();
    let state = PeerState {
        addresses: [ip(VIP)].into(),
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([("r2".into(), state)].into());
    let admission = admit(&lan.snapshot);
    let refusal = admission.refused.values().next().unwrap();
    assert_eq!(refusal.reason, Reason::VipIsNodeAddress);
}

#[test]
fn what_is_served_goes_on_whatever_others_take_it_for() {
    let mut lan = Lan::director();
    reports(&mut lan, "r2", VIP, ReservedAs::NextHop);
    let holder = PeerState {
        held: [ip(VIP)].into_iter().collect(),
        ..PeerState::default()
    };
    let says = |lan: &mut Lan, name: &str| match &mut lan.snapshot.peers {
        Peers::Reported(peers) => peers.insert(name.into(), holder.clone()),
        Peers::Silent => panic!("no reports"),
    };
    says(&mut lan, "r1");
    let refused = |has: bool| admit_here(&lan.snapshot, |_| has).refused.len();
    assert_eq!(refused(false), 1, "only a director's word counts");
    assert_eq!(refused(true), 0, "this node holds it");
    says(&mut lan, "d");
    assert!(admit(&lan.snapshot).refused.is_empty());
}

#[test]
fn a_vip_that_is_served_and_bound_stays_and_one_that_is_not_bound_is_not_added() {
    let mut lan = Lan::real_server();
    let d = NodeName::from("d");
    let holder = PeerState {
        held: [ip(VIP)].into_iter().collect(),
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([(d, holder)].into());
    lan.observed.next_hops.insert(ip(VIP));
    is_refused(&lan, ReservedAs::NextHop);
    lan.carrying("lo", Role::Quiet);
    assert_eq!(lan.reason(), None);
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    // Directors that hold the API server's address serve it.
    let mut lan = Lan::real_server();
    lan.api_servers.insert(ip(VIP));
    is_refused(&lan, ReservedAs::ApiServer);
    let holder = PeerState {
        held: [ip(VIP)].into_iter().collect(),
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([("d".into(), holder)].into());
    assert_eq!(lan.devices(), on(&[("lo", false)]));
}
