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
