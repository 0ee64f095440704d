use super::fixture::*;
use crate::{desired::admit, model::*};

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
        interface: Some(dev("eth1")),
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
