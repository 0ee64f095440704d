use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    kernel::{Kernel, SegmentNic},
    model::{AddressKey, Reach},
    wire::{Meaning, Message},
};

fn asked_with(ignore: u32, on: &str) -> bool {
    let lan = FakeLan::new();
    lan.add("c", host(1));
    lan.add("d", host(10));
    lan.on("d", |machine| {
        bind(machine, on);
        machine.set_arp(&dev("eth0"), Arp::Ignore, ignore).unwrap();
    });
    let answered = !lan.who_has("c", ip(VIP)).is_empty();
    let key = AddressKey::new(dev("eth0"), ip(VIP));
    let mut probe = lan.kernel("c").probe(&BTreeSet::from([key.clone()]));
    assert_eq!(
        !probe.remove(&key).unwrap().unwrap().macs.is_empty(),
        answered,
        "a probe differs from a request at arp_ignore={ignore}, {on}"
    );
    answered
}

#[test]
fn arp_ignore_answers_as_seen_on_a_kernel() {
    for (ignore, on_lo, on_nic) in [
        (0, true, true),
        (1, false, true),
        (2, false, true),
        (3, true, true),
        (4, true, true),
        (8, false, false),
        (9, true, true),
    ] {
        assert_eq!(asked_with(ignore, "lo"), on_lo, "lo, {ignore}");
        assert_eq!(asked_with(ignore, "eth0"), on_nic, "eth0, {ignore}");
    }
}

#[test]
fn the_greater_of_all_and_the_interface_counts_and_lo_does_not() {
    let lan = FakeLan::new();
    lan.add("c", host(1));
    lan.add("r", host(11));
    lan.on("r", |machine| {
        bind(machine, "lo");
        machine.set_arp(&Dev::lo(), Arp::Ignore, 1).unwrap();
    });
    assert_eq!(lan.who_has("c", ip(VIP)).len(), 1, "conf/lo quiets nothing");
    lan.on("r", |machine| machine.set_arp_all(ArpSettings::QUIET));
    assert!(lan.who_has("c", ip(VIP)).is_empty());
}

#[test]
fn a_bridges_own_setting_counts_not_its_ports() {
    let lan = FakeLan::new();
    lan.add("c", host(1));
    let mut router = Machine::new().nic(&dev("eth0"), LAN, []);
    router.enslave(&dev("eth0"), &dev("br0"));
    lan.add("r", router);
    lan.on("r", |machine| {
        bind(machine, "lo");
        machine
            .add_address(&dev("br0"), net("10.0.0.11/24"), ForeignTag::Untagged)
            .unwrap();
        machine.set_arp(&dev("eth0"), Arp::Ignore, 1).unwrap();
    });
    let bridge = lan.on("r", |m| m.mac(&dev("br0"))).flatten().unwrap();
    assert_eq!(
        lan.who_has("c", ip(VIP)),
        [("r".to_owned(), bridge)],
        "the port's setting changed what the bridge does"
    );
    lan.on("r", |m| m.set_arp(&dev("br0"), Arp::Ignore, 1));
    assert!(lan.who_has("c", ip(VIP)).is_empty());
}

#[test]
fn three_nics_on_one_segment_all_answer_unless_quiet() {
    let lan = FakeLan::new();
    lan.add("c", host(1));
    let director = host(10).nic(&dev("eth1"), LAN, [net("10.0.0.20/24")]).nic(
        &dev("eth2"),
        LAN,
        [net("10.0.0.30/24")],
    );
    lan.add("d", director);
    lan.on("d", |machine| bind(machine, "eth0"));
    assert_eq!(lan.who_has("c", ip(VIP)).len(), 3, "ARP flux");
    lan.on("d", |machine| machine.set_arp_all(ArpSettings::QUIET));
    assert_eq!(lan.who_has("c", ip(VIP)).len(), 1);
}

#[test]
fn a_probe_hears_strangers_and_proxies_but_not_oneself() {
    let lan = FakeLan::new();
    lan.add("d", host(10).nic(&dev("eth1"), LAN, []));
    lan.on("d", |machine| bind(machine, "lo"));
    let key = AddressKey::new(dev("eth0"), ip(VIP));
    let mut kernel = lan.kernel("d");
    let mut macs = || {
        let mut answers = kernel.probe(&[key.clone()].into());
        answers.remove(&key).unwrap().unwrap().macs
    };
    assert_eq!(macs(), [].into());
    lan.add("proxy", host(99).proxying_arp());
    let mac = lan.on("proxy", |m| m.mac(&dev("eth0"))).flatten().unwrap();
    assert_eq!(macs(), [mac].into());
    lan.power_off("proxy");
    assert_eq!(macs(), [].into());
    let no_device = AddressKey::new(dev("nix"), ip(VIP));
    let answers = kernel.probe(&BTreeSet::from([no_device, key.clone()]));
    assert_eq!(answers.values().filter(|answer| answer.is_ok()).count(), 1);
}

#[test]
fn resolve_tells_neighbours_from_silence_and_routers() {
    let lan = FakeLan::new();
    lan.add("d", host(10));
    lan.add("r", host(11));
    lan.on("d", |machine| {
        machine.add_route(
            net("10.9.0.0/24"),
            Some(ip("10.0.0.254")),
            &dev("eth0"),
            false,
        )
    });
    let mac = lan.on("r", |m| m.mac(&dev("eth0"))).flatten().unwrap();
    let ask = || {
        let all = [
            "10.0.0.10",
            "10.0.0.11",
            "10.0.0.12",
            "10.9.0.1",
            "192.0.2.1",
        ]
        .map(ip);
        let reach = lan.kernel("d").resolve(&BTreeSet::from(all)).into_iter();
        let reach = reach.map(|(ip, reach)| (ip, reach.unwrap()));
        reach.collect::<BTreeMap<_, _>>()
    };
    let reach = ask();
    let eth0 = || dev("eth0");
    assert_eq!(reach[&ip("10.0.0.10")], Reach::Local);
    assert_eq!(
        reach[&ip("10.0.0.11")],
        Reach::Neighbour { dev: eth0(), mac }
    );
    assert_eq!(reach[&ip("10.0.0.12")], Reach::Silent { dev: eth0() });
    assert_eq!(reach[&ip("10.9.0.1")], Reach::NotOnLink);
    assert_eq!(reach[&ip("192.0.2.1")], Reach::NotOnLink);
    lan.plug("r", &dev("eth0"), false);
    assert_eq!(ask()[&ip("10.0.0.11")], Reach::Silent { dev: eth0() });
    lan.plug("r", &dev("eth0"), true);
    lan.move_cable("r", &dev("eth0"), "elsewhere");
    assert_eq!(ask()[&ip("10.0.0.11")], Reach::Silent { dev: eth0() });
}

#[test]
fn without_arp_announce_a_reply_tells_the_segment_where_the_vip_is() {
    for (announce, leaks) in [(0, true), (1, true), (2, false)] {
        let lan = by_hand(Scheduler::Rr);
        lan.on("r1", |m| m.set_arp(&dev("eth0"), Arp::Announce, announce));
        lan.clear_log();
        lan.send("c", ip(VIP), 80, Protocol::Tcp);
        assert_eq!(
            lan.claimants(ip(VIP)).contains("r1"),
            leaks,
            "arp_announce={announce}: {:#?}",
            lan.log()
        );
    }
}

#[test]
fn gratuitous_arp_corrects_entries_and_makes_none() {
    let lan = by_hand(Scheduler::Rr);
    lan.add("bystander", host(2));
    lan.send("c", ip(VIP), 80, Protocol::Tcp);
    lan.add("d2", host(20));
    lan.on("d2", |machine| bind(machine, "eth0"));
    let mut nic = lan.nic("d2", &dev("eth0")).unwrap();
    let mut bystander = lan.nic("bystander", &dev("eth0")).unwrap();
    let frames = nic.send(ip(VIP), &Message::Announce(ip(VIP))).unwrap();
    let heard: Vec<_> = std::iter::from_fn(|| bystander.receive().unwrap()).collect();
    assert_eq!(heard.len(), frames);
    let forms = [Meaning::Request(ip(VIP)), Meaning::Reply(Some(ip(VIP)))];
    assert_eq!(heard.iter().map(|it| it.meaning).collect::<Vec<_>>(), forms);
    let next = lan.send("c", ip(VIP), 80, Protocol::Tcp);
    assert_eq!(next.hops[0].to, "d2", "{next}");
    let client_asked = next.arp_requests.iter().any(|question| question.by == "c");
    assert!(!client_asked, "its entry was corrected: {next}");
    let fresh = lan.send("bystander", ip(VIP), 80, Protocol::Tcp);
    assert_eq!(fresh.arp_requests[0].answers.len(), 2, "{fresh}");
}
