use proptest::prelude::*;

use super::*;
use crate::model::{Arp, LinkKind};

fn reply(kind: u16, body: Vec<u8>) -> Reply {
    Reply { kind, body }
}

#[test]
fn an_arp_setting_is_nested_as_the_kernel_wants_it() {
    let request = link::set_arp(std::num::NonZeroU32::new(7).unwrap(), Arp::Ignore, 1);
    assert_eq!(request.kind, 19);
    #[rustfmt::skip]
    let expected = [
        0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ifinfomsg
        20, 0, 26, 0x80, // IFLA_AF_SPEC
        16, 0, 2, 0x80, // AF_INET
        12, 0, 1, 0x80, // IFLA_INET_CONF
        8, 0, 19, 0, 1, 0, 0, 0, // arp_ignore = 1
    ];
    assert_eq!(request.body, expected);
}

#[test]
fn a_port_of_a_bridge_is_told_from_a_member_of_a_vrf() {
    for (kind, enslaved) in [("bridge", true), ("bond", true), ("vrf", false)] {
        let mut body = vec![0; 16];
        body[2] = 1; // ARPHRD_ETHER
        append_attribute(&mut body, 3, b"eth1\0");
        append_attribute(&mut body, 10, &9u32.to_ne_bytes());
        let mut info = Vec::new();
        append_attribute(&mut info, 4, format!("{kind}\0").as_bytes());
        append_attribute(&mut body, 18, &info);
        let link = link::parse(&reply(16, body)).unwrap().unwrap();
        assert_eq!(
            (link.enslaved, link.kind),
            (enslaved, LinkKind::Other),
            "{kind}"
        );
    }
}

#[test]
fn with_a_peer_the_local_address_counts() {
    let mut body = vec![AF_INET, 32, 0, 0, 3, 0, 0, 0];
    append_attribute(&mut body, 1, &[10, 0, 0, 2]);
    append_attribute(&mut body, 2, &[10, 0, 0, 1]);
    let seen = address::parse(&reply(20, body)).unwrap().unwrap();
    assert_eq!(seen.ip, "10.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(seen.valid_seconds, None);
}

#[test]
fn an_address_tells_who_added_it_and_for_how_long() {
    let mut body = vec![AF_INET, 32, 0, 0, 3, 0, 0, 0];
    append_attribute(&mut body, 2, &[10, 0, 0, 1]);
    append_attribute(&mut body, 11, &[99]);
    let lifetimes: Vec<u8> = [50u32, 60, 0, 0]
        .iter()
        .flat_map(|n| n.to_ne_bytes())
        .collect();
    append_attribute(&mut body, 6, &lifetimes);
    let seen = address::parse(&reply(20, body)).unwrap().unwrap();
    assert_eq!((seen.protocol, seen.valid_seconds), (99, Some(60)));
}

#[test]
fn a_route_through_a_router_is_no_host_route_of_ours() {
    let direct = |gateway: bool| {
        let mut body = vec![AF_INET, 32, 0, 0, 254, 215, 253, 1, 0, 0, 0, 0];
        append_attribute(&mut body, 1, &[10, 0, 0, 9]);
        append_attribute(&mut body, 4, &5u32.to_ne_bytes());
        if gateway {
            append_attribute(&mut body, 5, &[10, 0, 0, 1]);
        }
        reply(24, body)
    };
    let expected = route::HostRoute {
        ip: [10, 0, 0, 9].into(),
        index: 5,
        protocol: 215,
    };
    let listed = route::parse_listed(&direct(false)).unwrap().unwrap();
    assert_eq!(listed.host_route, Some(expected));
    let listed = route::parse_listed(&direct(true)).unwrap().unwrap();
    assert_eq!(listed.host_route, None);
    assert_eq!(listed.next_hops, [IpAddr::from([10, 0, 0, 1])]);
    assert_eq!(
        route::parse_path(&direct(true)).unwrap(),
        Some(route::Path::Elsewhere)
    );
}

#[test]
fn every_next_hop_of_a_route_counts_in_any_table() {
    let next_hop = |gateway: &[u8]| {
        let mut attributes = Vec::new();
        append_attribute(&mut attributes, 5, gateway);
        let length = u16::try_from(8 + attributes.len()).unwrap();
        let header = [&length.to_ne_bytes()[..], &[0, 0], &7u32.to_ne_bytes()];
        [&header.concat()[..], &attributes].concat()
    };
    let mut body = vec![AF_INET, 0, 0, 0, 99, 3, 0, 1, 0, 0, 0, 0];
    let hops = [next_hop(&[10, 0, 0, 1]), next_hop(&[10, 0, 0, 2])].concat();
    append_attribute(&mut body, 9, &hops);
    let listed = route::parse_listed(&reply(24, body.clone()))
        .unwrap()
        .unwrap();
    let expected = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
    assert_eq!(listed.next_hops, expected);
    // A next hop that is longer than the attribute.
    body[16] = 200;
    assert!(route::parse_listed(&reply(24, body)).is_err());
}

proptest! {
    #[test]
    fn arbitrary_replies_do_no_harm(kind in 16u16..28, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let reply = reply(kind, body);
        let _ = (link::parse(&reply), address::parse(&reply));
        let _ = (route::parse_listed(&reply), route::parse_path(&reply));
    }
}
