use super::fixture::*;
use crate::model::*;

fn quieted(lan: &Lan) -> Vec<String> {
    lan.desired()
        .net
        .arp
        .keys()
        .map(ToString::to_string)
        .collect()
}

fn add(lan: &mut Lan, link: Link) {
    lan.observed.links.insert(link.dev.clone(), link);
}

#[test]
fn every_nic_that_could_hear_the_arp_is_quiet() {
    let mut lan = Lan::real_server();
    add(&mut lan, nic(3, "eth1", &["10.77.0.21/24"]));
    add(&mut lan, nic(4, "eth2", &[]));
    add(&mut lan, nic(5, "eth3", &["192.168.9.1/24"]));
    add(
        &mut lan,
        Link {
            enslaved: true,
            ..nic(6, "port0", &[])
        },
    );
    add(
        &mut lan,
        Link {
            arp_capable: false,
            ..nic(7, "wg0", &[])
        },
    );
    add(
        &mut lan,
        Link {
            kind: LinkKind::Dummy,
            ..nic(8, "dummy0", &[])
        },
    );
    assert_eq!(quieted(&lan), ["eth0", "eth1", "eth2", "eth3"]);
}

#[test]
fn a_real_server_without_a_nic_in_the_vips_network_needs_no_arp_step_and_says_so() {
    let lan = Lan::seen_from("r1", "192.168.9.11/24");
    assert_eq!(quieted(&lan), [""; 0]);
    let notes = lan.desired().notes;
    assert!(
        notes.iter().any(|note| note.contains("no ARP step needed")),
        "{notes:?}"
    );
    assert_eq!(lan.devices(), on(&[("lo", false)]));
}

#[test]
fn a_vip_outside_every_network_is_quiet_on_every_nic_where_the_directors_interface_is_named() {
    let mut lan = Lan::seen_from("r1", "192.168.9.11/24");
    add(&mut lan, nic(3, "eth1", &["192.168.8.11/24"]));
    // The real server's own interface need not have that name.
    lan.web().directors.interface = Some(dev("bond0").into());
    assert_eq!(quieted(&lan), ["eth0", "eth1"]);
    assert!(lan.desired().notes.is_empty());
    lan.observed.arp_all.ignore = 3;
    assert_eq!(lan.reason(), Some(Reason::NotQuiet));
}

#[test]
fn what_was_made_quiet_stays_so_while_the_vip_does() {
    let mut lan = Lan::seen_from("r1", "192.168.9.11/24");
    add(&mut lan, nic(3, "eth1", &["192.168.8.11/24"]));
    lan.carrying("lo", Role::Quiet);
    lan.eth0().arp = ArpSettings::QUIET;
    let change = SettingChange { before: 0, set: 1 };
    lan.ledger.arp.insert((dev("eth0"), Arp::Ignore), change);
    lan.snapshot.virtual_services.clear();
    assert_eq!(lan.devices(), on(&[("lo", false)]));
    assert_eq!(quieted(&lan), ["eth0"]);
}

#[test]
fn an_unnumbered_nic_is_quiet_before_it_gets_an_address() {
    let mut lan = Lan::seen_from("r1", "192.168.9.11/24");
    add(&mut lan, nic(3, "eth1", &[]));
    assert_eq!(quieted(&lan), ["eth1"]);
}

#[test]
fn a_node_that_cannot_be_quiet_carries_nothing() {
    let mut lan = Lan::real_server();
    lan.observed.arp_all.ignore = 3;
    assert_eq!(lan.reason(), Some(Reason::NotQuiet));
    assert_eq!(lan.devices(), on(&[]));
    lan.observed.arp_all.ignore = 8;
    assert_eq!(lan.reason(), None);
}

#[test]
fn own_addresses_that_a_quiet_nic_no_longer_answers_for_are_noted() {
    let mut lan = Lan::real_server();
    let noted = |lan: &Lan| -> Vec<String> {
        let notes = lan.desired().notes.into_iter();
        notes.filter(|it| it.contains("does not answer")).collect()
    };
    assert_eq!(noted(&lan), Vec::<String>::new());
    add(&mut lan, nic(3, "eth1", &["10.77.0.21/24"]));
    add(&mut lan, nic(4, "eth2", &["192.168.9.1/24"]));
    assert_eq!(
        noted(&lan),
        [
            "10.77.0.21 is on eth1, and a quiet eth0 does not answer for it",
            "10.77.0.11 is on eth0, and a quiet eth1 does not answer for it",
        ]
    );
}
