use std::net::IpAddr;

use super::fixture::*;
use crate::{
    desired::{RealServerId, admit, real_servers},
    model::*,
};

fn reasons(lan: &Lan) -> Vec<(String, Reason)> {
    let admission = admit(&lan.snapshot);
    admission
        .refused
        .iter()
        .map(|(key, refusal)| (key.to_string(), refusal.reason))
        .collect()
}

fn add(lan: &mut Lan, virtual_service: VirtualService) {
    lan.snapshot
        .virtual_services
        .insert(virtual_service.key.clone(), Ok(virtual_service.into()));
}

#[test]
fn of_two_that_claim_one_port_the_older_wins_and_is_named() {
    let mut lan = Lan::director();
    add(
        &mut lan,
        VirtualService {
            created: 99,
            ..virtual_service("zzz-older")
        },
    );
    assert_eq!(
        reasons(&lan),
        [("shop/web".to_owned(), Reason::PortClaimed)]
    );
    let admission = admit(&lan.snapshot);
    let message = &admission.refused.values().next().unwrap().message;
    assert!(
        message.contains("10.77.0.100:80/TCP") && message.contains("shop/zzz-older"),
        "{message}"
    );
}

#[test]
fn twins_are_told_apart_by_name_and_other_ports_share_the_vip() {
    let mut lan = Lan::director();
    add(&mut lan, virtual_service("a-twin"));
    assert_eq!(
        reasons(&lan),
        [("shop/web".to_owned(), Reason::PortClaimed)]
    );

    let mut lan = Lan::director();
    let other_port = vec![Port {
        port: 443,
        protocol: Protocol::Tcp,
    }];
    add(
        &mut lan,
        VirtualService {
            ports: other_port,
            ..virtual_service("tls")
        },
    );
    assert_eq!(reasons(&lan), []);
    assert_eq!(lan.desired().net.services.len(), 2);
}

#[test]
fn a_shared_vip_has_one_kind_of_director() {
    let mut lan = Lan::director();
    let directors = DirectorPolicy {
        interface: Some(dev("eth1").into()),
        ..DirectorPolicy::default()
    };
    let ports = vec![Port {
        port: 443,
        protocol: Protocol::Tcp,
    }];
    add(
        &mut lan,
        VirtualService {
            created: 200,
            ports,
            directors,
            ..virtual_service("tls")
        },
    );
    assert_eq!(
        reasons(&lan),
        [("shop/tls".to_owned(), Reason::VipShapeDiffers)]
    );
}

fn port(number: u16) -> Port {
    Port {
        port: number,
        protocol: Protocol::Tcp,
    }
}

/// The services of `name` that are served, as ports by VIP.
fn served(lan: &Lan, name: &str) -> Vec<(IpAddr, u16)> {
    let admission = admit(&lan.snapshot);
    let accepted = admission.accepted.get(&VsKey::new("shop", name));
    let services = accepted.into_iter().flat_map(|it| it.services());
    services.map(|key| (key.vip, key.port)).collect()
}

#[test]
fn an_edit_into_a_conflict_takes_nothing_that_is_beside_it() {
    let mut lan = Lan::director();
    let other = ip("10.77.0.101");
    let older = VirtualService {
        created: 1,
        ports: vec![port(443)],
        ..virtual_service("older")
    };
    add(&mut lan, older);
    lan.web().vips = vec![ip(VIP), other];
    lan.web().ports = vec![port(80), port(443)];
    let expected = [(ip(VIP), 80), (other, 80), (other, 443)];
    assert_eq!(served(&lan, "web"), expected);
    assert_eq!(served(&lan, "older"), [(ip(VIP), 443)]);
    assert_eq!(
        reasons(&lan),
        [("shop/web".to_owned(), Reason::PortClaimed)]
    );
    assert_eq!(lan.desired().net.services.len(), 4);
    // What is refused is nobody's: a third object can have neither.
    let third = VirtualService {
        created: 300,
        ports: vec![port(80), port(443)],
        ..virtual_service("third")
    };
    add(&mut lan, third);
    assert_eq!(served(&lan, "third"), []);
}

#[test]
fn directors_that_differ_on_a_shared_vip_are_those_of_the_older() {
    let mut lan = Lan::director();
    lan.web().directors.preferred = Some("d".into());
    let younger = VirtualService {
        created: 200,
        ports: vec![port(443)],
        ..virtual_service("tls")
    };
    add(&mut lan, younger);
    assert_eq!(
        reasons(&lan),
        [("shop/tls".to_owned(), Reason::VipShapeDiffers)]
    );
    assert_eq!(served(&lan, "tls"), [(ip(VIP), 443)]);
    let admission = admit(&lan.snapshot);
    let tls = &admission.accepted[&VsKey::new("shop", "tls")];
    assert_eq!(tls.directors.preferred, Some("d".into()));
}

#[test]
fn directors_count_only_on_a_vip_that_is_shared() {
    let mut lan = Lan::director();
    let older = VirtualService {
        created: 1,
        ..virtual_service("older")
    };
    add(&mut lan, older);
    lan.web().directors.preferred = Some("d".into());
    // The port is the conflict, whatever the directors are.
    assert_eq!(
        reasons(&lan),
        [("shop/web".to_owned(), Reason::PortClaimed)]
    );
    let own = ip("10.77.0.101");
    lan.web().vips = vec![ip(VIP), own];
    assert_eq!(served(&lan, "web"), [(own, 80)]);
    let admission = admit(&lan.snapshot);
    let web = &admission.accepted[&VsKey::new("shop", "web")];
    assert_eq!(web.directors.preferred, Some("d".into()));
}

#[test]
fn a_vip_that_cannot_be_served_leaves_the_others_alone() {
    let mut lan = Lan::director();
    for (refused, reason) in [
        ("fd00::1", Reason::Ipv6NotServed),
        ("10.77.0.12", Reason::VipIsNodeAddress),
    ] {
        lan.web().vips = vec![ip(refused), ip(VIP)];
        assert_eq!(served(&lan, "web"), [(ip(VIP), 80)]);
        assert_eq!(reasons(&lan), [("shop/web".to_owned(), reason)]);
    }
}

/// A kubelet that starts on the holder may take the VIP for its node's address.
#[test]
fn a_vip_that_a_kubelet_adopts_is_still_a_vip() {
    let mut lan = Lan::director();
    let r1 = NodeName::from("r1");
    lan.snapshot.nodes.get_mut(&r1).unwrap().addresses = vec![ip(VIP)];
    assert_eq!(
        reasons(&lan),
        [("shop/web".to_owned(), Reason::VipIsNodeAddress)]
    );
    let report = PeerState {
        addresses: [ip("10.77.0.11")].into(),
        held: [ip(VIP)].into_iter().collect(),
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([(r1.clone(), report)].into());
    assert_eq!(reasons(&lan), []);
    let snapshot = lan.snapshot.clone();
    let set = real_servers(lan.web(), ip(VIP), &snapshot, None);
    let real_server = set.by_address.get(&ip("10.77.0.11"));
    assert_eq!(
        real_server.map(|it| it.id.clone()),
        Some(RealServerId::Node(r1)),
        "by its own address, not by the VIP"
    );
}

#[test]
fn a_nodes_address_is_no_vip_and_ipv6_waits() {
    let mut lan = Lan::director();
    lan.web().vips = vec![ip("10.77.0.12")];
    assert_eq!(
        reasons(&lan),
        [("shop/web".to_owned(), Reason::VipIsNodeAddress)]
    );
    lan.web().vips = vec![ip("fd00::1")];
    assert_eq!(
        reasons(&lan),
        [("shop/web".to_owned(), Reason::Ipv6NotServed)]
    );
}

#[test]
fn a_broken_object_disturbs_no_other() {
    let mut lan = Lan::director();
    let broken = Err(Refusal::new(Reason::InvalidSpec, "spec.vips: missing"));
    lan.snapshot
        .virtual_services
        .insert(VsKey::new("a", "broken"), broken);
    assert_eq!(
        reasons(&lan),
        [("a/broken".to_owned(), Reason::InvalidSpec)]
    );
    assert!(lan.desired().net.services.contains_key(&web_key()));
}
