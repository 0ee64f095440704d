use std::{net::IpAddr, time::Duration};

use super::fixture::*;
use crate::model::*;

#[test]
fn a_real_server_carries_the_vip_on_lo_and_serves_nothing() {
    let lan = Lan::real_server();
    let desired = lan.desired();
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    assert!(desired.net.services.is_empty() && desired.net.routes.is_empty());
}

#[test]
fn nothing_is_bound_for_a_vip_that_no_director_can_serve() {
    let mut lan = Lan::real_server();
    lan.snapshot.peers = Peers::Reported(Default::default());
    assert_eq!(lan.devices(), on(&[]), "no director reports it bound");
    assert!(lan.desired().net.arp.is_empty());
    lan.bound("r2");
    assert_eq!(lan.devices(), on(&[]), "r2 is no director");
    lan.bound("d");
    assert_eq!(lan.devices(), on(&[("lo", false)]));

    // Without reports, it is enough that there is a director.
    lan.snapshot.peers = Peers::Silent;
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    lan.snapshot.nodes.remove(&"d".into());
    assert_eq!(lan.devices(), on(&[]));

    let mut lan = Lan::director();
    lan.eth0().addresses = vec!["192.168.9.10/24".parse().unwrap()];
    assert_eq!(lan.devices(), on(&[]));
    assert_eq!(lan.reason(), Some(Reason::NoInterface));
}

#[test]
fn what_is_bound_stays_while_no_director_is_known() {
    let mut lan = Lan::real_server();
    lan.carrying("lo", Role::Quiet);
    lan.snapshot.peers = Peers::Reported(Default::default());
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    lan.snapshot.nodes.remove(&"d".into());
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    let mut lan = Lan::director();
    lan.carrying("lo", Role::Quiet);
    lan.eth0().addresses.clear();
    assert_eq!(lan.devices(), on(&[("lo", false)]));
}

#[test]
fn a_dummy_device_is_made_for_it_and_a_host_route_on_request() {
    let mut lan = Lan::real_server();
    lan.web().real_servers.device = dev("vip0");
    lan.web().real_servers.host_route = true;
    let net = lan.desired().net;
    assert_eq!(lan.devices(), on(&[("vip0", false)]));
    assert!(net.dummies.contains(&dev("vip0")));
    assert!(net.routes.contains(&AddressKey::new(dev("vip0"), ip(VIP))));
}

#[test]
fn a_nic_carries_vips_only_if_it_carries_nothing_else() {
    let mut lan = Lan::real_server();
    lan.options.vip_devices = VipDevices(vec!["eth1".parse().unwrap()]);
    lan.web().real_servers.device = dev("eth1");
    lan.observed.links.insert(dev("eth1"), nic(3, "eth1", &[]));
    assert_eq!(
        lan.desired()
            .net
            .arp
            .get(&dev("eth1"))
            .map(|arp| arp.ignore),
        Some(8)
    );
    assert_eq!(lan.reason(), None);

    lan.observed
        .links
        .insert(dev("eth1"), nic(3, "eth1", &["192.168.9.1/24"]));
    assert_eq!(lan.reason(), Some(Reason::DeviceInUse));
    assert_eq!(lan.devices(), on(&[]));
}

#[test]
fn a_device_that_its_administrator_has_not_allowed_is_neither_made_nor_silenced() {
    for name in ["wg0", "cni0", "eth1"] {
        let mut lan = Lan::real_server();
        lan.web().real_servers.device = dev(name);
        lan.observed.links.insert(dev("eth1"), nic(3, "eth1", &[]));
        assert_eq!(lan.reason(), Some(Reason::DeviceNotAllowed), "{name}");
        let net = lan.desired().net;
        assert!(net.dummies.is_empty() && net.arp.is_empty(), "{net:?}");
        assert_eq!(lan.devices(), on(&[]));
        let message = lan.vs_state().refusal.unwrap().message;
        let told = format!("spec.realServers.vipDevice {name} is not allowed");
        assert!(
            message.starts_with(&told) && message.contains("use one of lo, "),
            "{message}"
        );
    }
}

#[test]
fn a_device_that_is_refused_does_not_take_the_vip_from_another() {
    let mut lan = Lan::real_server();
    lan.carrying("lo", Role::Quiet);
    for (name, reason) in [
        ("wg0", Reason::DeviceNotAllowed),
        ("vipnic", Reason::DeviceInUse),
    ] {
        lan.web().real_servers.device = dev(name);
        let in_use = nic(3, "vipnic", &["192.168.9.1/24"]);
        lan.observed.links.insert(dev("vipnic"), in_use);
        assert_eq!(lan.reason(), Some(reason));
        assert_eq!(lan.devices(), on(&[("lo", false)]));
        assert!(lan.desired().net.arp[&dev("eth0")].is_quiet());
    }
    // What is bound on a device that is no longer allowed leaves it.
    let mut lan = Lan::real_server();
    lan.web().real_servers.device = dev("vip0");
    lan.options.vip_devices = VipDevices(vec![]);
    lan.carrying("vip0", Role::Quiet);
    assert_eq!(lan.reason(), Some(Reason::DeviceNotAllowed));
    lan.now = Duration::from_secs(600);
    let kept = lan
        .desired()
        .net
        .addresses
        .contains_key(&AddressKey::new(dev("vip0"), ip(VIP)));
    assert_eq!(
        kept,
        !lan.desired().timers.unwanted.is_empty(),
        "it stays for directors only"
    );
}

#[test]
fn a_holder_whose_own_device_is_refused_goes_on_directing() {
    let mut lan = Lan::director();
    let node = lan.snapshot.nodes.get_mut(&"d".into()).unwrap();
    node.labels
        .insert(BACKEND_LABEL.to_owned(), "true".to_owned());
    lan.carrying("lo", Role::Quiet);
    lan.carrying("eth0", Role::Held);
    lan.elected.held.insert(ip(VIP), [dev("eth0")].into());
    let before = lan.devices();
    assert!(lan.desired().net.services.contains_key(&web_key()));
    lan.web().real_servers.device = dev("wg0");
    assert_eq!(lan.reason(), Some(Reason::DeviceNotAllowed));
    assert_eq!(lan.devices(), before);
    assert!(lan.desired().net.services.contains_key(&web_key()));
}

#[test]
fn a_vip_that_is_already_the_nodes_own_is_refused() {
    let mut lan = Lan::real_server();
    lan.eth0().addresses.push("10.77.0.100/24".parse().unwrap());
    assert_eq!(lan.reason(), Some(Reason::VipIsNodeAddress));

    let mut lan = Lan::real_server();
    lan.observed
        .net
        .addresses
        .insert(AddressKey::new(dev("eth0"), ip(VIP)), Role::Held);
    assert_eq!(
        lan.reason(),
        Some(Reason::VipIsNodeAddress),
        "a foreign /32 on the NIC would answer ARP"
    );
}

#[test]
fn a_vip_stays_until_no_director_sends_packets_for_it() {
    let mut lan = Lan::real_server();
    lan.snapshot.virtual_services.clear();
    lan.carrying("lo", Role::Quiet);
    let directing = |ready: &[IpAddr]| Directing {
        vips: [ip(VIP)].into_iter().collect(),
        ready: ready.iter().copied().collect(),
        ..Directing::default()
    };
    let says = |directing| {
        let state = PeerState {
            directing: vec![directing],
            ..PeerState::default()
        };
        Peers::Reported([("d".into(), state)].into())
    };
    lan.snapshot.peers = says(directing(&[ip("10.77.0.11")]));
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    assert!(
        lan.desired().net.arp.contains_key(&dev("eth0")),
        "it must stay quiet as long as it carries the VIP"
    );

    lan.snapshot.peers = says(directing(&[ip("10.77.0.12")]));
    lan.timers = lan.desired().timers;
    lan.now = Duration::from_secs(2);
    assert_eq!(
        lan.devices(),
        on(&[("lo", false)]),
        "a report may be on its way"
    );
    lan.now = Duration::from_secs(3);
    assert_eq!(lan.devices(), on(&[]));
    assert!(lan.desired().net.arp.is_empty());
}

#[test]
fn a_report_that_leaves_a_vip_out_does_not_say_that_nothing_is_sent() {
    let mut lan = Lan::real_server();
    lan.snapshot.virtual_services.clear();
    lan.carrying("lo", Role::Quiet);
    let partial = PeerState {
        partial: true,
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([("d".into(), partial)].into());
    lan.timers = lan.desired().timers;
    lan.now = Duration::from_secs(60);
    assert_eq!(lan.devices(), on(&[("lo", false)]));
}

#[test]
fn without_another_director_nobody_is_waited_for() {
    let mut lan = Lan::real_server();
    lan.snapshot.virtual_services.clear();
    lan.snapshot.nodes.remove(&"d".into());
    lan.carrying("lo", Role::Quiet);
    assert_eq!(lan.devices(), on(&[]));
}

#[test]
fn what_is_about_to_go_is_leaving() {
    let mut lan = Lan::real_server();
    lan.carrying("lo", Role::Quiet);
    let key = AddressKey::new(Dev::lo(), ip(VIP));
    assert!(!lan.desired().is_leaving(&key));
    lan.snapshot.virtual_services.clear();
    let desired = lan.desired();
    assert!(desired.net.addresses.contains_key(&key) && desired.is_leaving(&key));
}

#[test]
fn without_reports_it_stays_for_the_drain_time() {
    let mut lan = Lan::real_server();
    lan.snapshot.peers = Peers::Silent;
    lan.web().drain = Duration::from_secs(10);
    lan.snapshot
        .nodes
        .get_mut(&"r1".into())
        .unwrap()
        .labels
        .clear();
    lan.carrying("lo", Role::Quiet);
    lan.timers = lan.desired().timers;
    lan.now = Duration::from_secs(12);
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    lan.now = Duration::from_secs(13);
    assert_eq!(lan.devices(), on(&[]));
}

#[test]
fn a_foreign_vip_on_lo_is_used_and_never_kept() {
    let mut lan = Lan::real_server();
    lan.snapshot.virtual_services.clear();
    lan.carrying("lo", Role::Quiet);
    for address in lan.observed.addresses.values_mut() {
        address.tag = ForeignTag::Untagged;
    }
    assert_eq!(lan.devices(), on(&[]));
}

#[test]
fn an_annotation_that_is_no_weight_refuses_that_node_alone() {
    let mut lan = Lan::director();
    lan.bound("r2");
    lan.snapshot.nodes.get_mut(&"r1".into()).unwrap().weight = Some("heavy".to_owned());
    lan.snapshot.nodes.get_mut(&"r2".into()).unwrap().weight = Some("7".to_owned());
    assert_eq!(lan.weights(), weights(&[("10.77.0.12", 7)]));
    lan.node = "r1".into();
    assert_eq!(lan.reason(), Some(Reason::InvalidWeightAnnotation));
}

#[test]
fn a_node_that_is_no_director_pins_no_vip() {
    let mut lan = Lan::real_server();
    lan.snapshot.virtual_services.clear();
    lan.carrying("lo", Role::Quiet);
    let directing = Directing {
        vips: [ip(VIP)].into_iter().collect(),
        ready: [ip("10.77.0.11")].into(),
        ..Directing::default()
    };
    let state = PeerState {
        directing: vec![directing],
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([("r2".into(), state)].into());
    lan.timers = lan.desired().timers;
    lan.now = Duration::from_secs(3);
    // When the agent has just started, r2 may have been a director until then.
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    lan.former = Some([("d".into(), Vec::new())].into_iter().collect());
    assert_eq!(lan.devices(), on(&[]));
}

/// The director goes on sending packets, so the old device would keep the VIP for ever.
#[test]
fn a_vip_leaves_its_old_device_once_another_one_has_it_although_a_director_sends_packets() {
    let mut lan = Lan::real_server();
    let dummy = Link {
        kind: LinkKind::Dummy,
        arp_capable: false,
        ..nic(3, "vip0", &[])
    };
    lan.observed.links.insert(dev("vip0"), dummy);
    lan.carrying("lo", Role::Quiet);
    lan.web().real_servers.device = dev("vip0");
    let directing = Directing {
        vips: [ip(VIP)].into(),
        ready: [ip("10.77.0.11")].into(),
        ..Directing::default()
    };
    let state = PeerState {
        bound: [ip(VIP)].into(),
        directing: vec![directing],
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([("d".into(), state)].into());
    assert_eq!(lan.devices(), on(&[("lo", false), ("vip0", false)]));
    lan.carrying("vip0", Role::Quiet);
    assert_eq!(lan.devices(), on(&[("vip0", false)]));
}
