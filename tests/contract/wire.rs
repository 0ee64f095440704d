use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use directway::{
    kernel::{OpError, SegmentNic},
    model::{Answer, Dev, Reach, Role},
    plan::Op,
    wire::{Meaning, Message, Received, Request, Sender},
};

use crate::world::{
    EADDRNOTAVAIL, EEXIST, NODE, NODE_MAC, PEER, PEER_MAC, TAKEN, VIP, World, ip, on, quiet,
};

fn macs_of(world: &mut World, dev: &str, address: &str) -> BTreeSet<directway::model::Mac> {
    let target = on(dev, address);
    let mut answers = world.kernel.probe(&BTreeSet::from([target.clone()]));
    answers
        .remove(&target)
        .unwrap()
        .expect("probing works")
        .macs
}

pub fn a_free_vip_is_met_with_silence(world: &mut World) {
    assert_eq!(macs_of(world, "eth0", VIP), BTreeSet::new());
}

pub fn whoever_has_the_vip_is_found(world: &mut World) {
    assert_eq!(macs_of(world, "eth0", TAKEN), BTreeSet::from([PEER_MAC]));
}

pub fn this_node_does_not_answer_itself(world: &mut World) {
    world.must([
        quiet("lo", VIP),
        Op::AddAddress(on("eth0", VIP), Role::Held),
    ]);
    assert_eq!(macs_of(world, "eth0", VIP), BTreeSet::new());
}

pub fn many_vips_are_probed_at_once(world: &mut World) {
    let mut targets: BTreeSet<_> = (1..=200)
        .map(|last| on("eth0", &format!("10.77.1.{last}")))
        .collect();
    targets.extend([on("eth0", TAKEN), on("eth1", VIP)]);
    let start = Instant::now();
    let answers = world.kernel.probe(&targets);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(answers.len(), targets.len());
    let answered: Vec<_> = answers
        .iter()
        .filter(|(_, answer)| **answer != Ok(Answer::default()))
        .collect();
    assert_eq!(
        answered,
        [(
            &on("eth0", TAKEN),
            &Ok(Answer {
                macs: BTreeSet::from([PEER_MAC])
            })
        )]
    );
}

pub fn neighbours_are_resolved(world: &mut World) {
    let eth0: Dev = "eth0".parse().unwrap();
    let expected = [
        (ip(NODE), Reach::Local),
        (
            ip(PEER),
            Reach::Neighbour {
                dev: eth0.clone(),
                mac: PEER_MAC,
            },
        ),
        (ip("10.77.0.77"), Reach::Silent { dev: eth0 }),
        (ip("192.0.2.1"), Reach::NotOnLink),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(ip, reach)| (ip, Ok(reach))).into();
    let reach = world.kernel.resolve(&expected.keys().copied().collect());
    assert_eq!(reach, expected);

    let Some(judge) = &world.judge else { return };
    judge.node(&format!(
        "ip route add 198.51.100.0/24 via {PEER}; ip route add blackhole 203.0.113.0/24"
    ));
    let routed = BTreeSet::from([ip("198.51.100.9"), ip("203.0.113.9")]);
    let reach = world.kernel.resolve(&routed);
    assert!(
        reach.values().all(|reach| *reach == Ok(Reach::NotOnLink)),
        "{reach:?}"
    );
}

pub fn an_announcement_corrects_a_neighbours_table(world: &mut World) {
    if let Some(judge) = &world.judge {
        judge.peer(&format!(
            "ip neigh add {VIP} lladdr 02:00:00:00:00:77 dev eth0 nud stale"
        ));
    }
    let mut nic = nic(world);
    assert_eq!(nic.add(&[ip(VIP)].into(), None), [Ok(())]);
    nic.send(ip(NODE), &Message::Announce(ip(VIP))).unwrap();
    let Some(judge) = &world.judge else { return };
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let text = judge.peer(&format!("ip neigh show {VIP}"));
        if text.contains(&NODE_MAC.to_string()) {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
    }
}

pub fn a_device_without_arp_cannot_be_asked(world: &mut World) {
    for dev in ["lo", "eth7"] {
        let targets = BTreeSet::from([on(dev, VIP), on("eth0", TAKEN)]);
        let answers = world.kernel.probe(&targets);
        assert!(answers[&on(dev, VIP)].is_err(), "{answers:?}");
        assert!(answers[&on("eth0", TAKEN)].is_ok(), "{answers:?}");
        assert!(world.kernel.nic(&dev.parse().unwrap()).is_err());
    }
}

fn nic(world: &World) -> Box<dyn SegmentNic> {
    world.kernel.nic(&"eth0".parse().unwrap()).unwrap()
}

pub fn an_election_adds_and_removes_vips_and_sees_them(world: &mut World) {
    let mut nic = nic(world);
    let vips = BTreeSet::from([ip(VIP)]);
    let errno = |results: Vec<Result<(), OpError>>| match results.as_slice() {
        [Err(OpError::Refused { errno, .. })] => *errno,
        other => panic!("{other:?}"),
    };
    let lifetime = Some(Duration::from_secs(60));
    assert_eq!(nic.add(&vips, lifetime), [Ok(())]);
    assert_eq!(errno(nic.add(&vips, None)), EEXIST);
    let state = nic.look().unwrap().unwrap();
    assert!(state.carrier && state.vips.contains(&ip(VIP)), "{state:?}");
    assert_eq!(nic.renew(&vips, lifetime), [Ok(())]);
    assert_eq!(nic.remove(&vips), [Ok(())]);
    assert_eq!(errno(nic.remove(&vips)), EADDRNOTAVAIL);
    assert!(!nic.look().unwrap().unwrap().vips.contains(&ip(VIP)));
    assert_eq!(nic.renew(&vips, lifetime), [Ok(())]);
    let state = nic.look().unwrap().unwrap();
    assert!(
        state.vips.contains(&ip(VIP)),
        "renewing adds what is not there"
    );
    assert_eq!(nic.remove(&vips), [Ok(())]);
}

pub fn an_election_hears_who_answers_its_questions(world: &mut World) {
    let mut nic = nic(world);
    for (sender, to) in [
        (Sender::Unspecified, None),
        (Sender::Own, Some(PEER_MAC)),
        (Sender::Unspecified, Some(PEER_MAC)),
    ] {
        let question = Request {
            about: ip(TAKEN),
            to,
            sender,
        };
        nic.send(ip(NODE), &Message::Request(question)).unwrap();
        let own = (sender == Sender::Own).then(|| ip(NODE));
        let expected = Received {
            from: PEER_MAC,
            has: Some(ip(TAKEN)),
            meaning: Meaning::Reply(own),
            to_us: true,
        };
        let deadline = Instant::now() + Duration::from_secs(2);
        while nic.receive().unwrap() != Some(expected) {
            assert!(Instant::now() < deadline, "no answer to {question:?}");
        }
    }
    assert_eq!(nic.lost().unwrap(), 0);
}

/// The neighbour announces an address in a VLAN that this node's NIC has a device for, and in one that it has not.
pub fn frames_of_a_vlan_are_not_the_nics(world: &mut World) {
    let mut nic = nic(world);
    let Some(judge) = &world.judge else { return };
    judge.node("ip link add link eth0 name eth0.5 type vlan id 5; ip link set eth0.5 up");
    // With arp_notify, the kernel announces the addresses of a device that comes up.
    judge.peer(&format!(
        "sysctl -qw net.ipv4.conf.default.arp_notify=1
         for id in 5 7; do
             ip link add link eth0 name eth0.$id type vlan id $id
             ip addr add {VIP}/32 dev eth0.$id
             ip link set eth0.$id up
         done"
    ));
    let question = Request {
        about: ip(TAKEN),
        to: Some(PEER_MAC),
        sender: Sender::Own,
    };
    nic.send(ip(NODE), &Message::Request(question)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let heard = nic.receive().unwrap();
        assert!(heard.is_none_or(|it| it.has != Some(ip(VIP))), "{heard:?}");
        // It was sent after the announcements.
        if heard.is_some_and(|it| it.has == Some(ip(TAKEN))) {
            break;
        }
        assert!(Instant::now() < deadline, "no answer");
    }
}
