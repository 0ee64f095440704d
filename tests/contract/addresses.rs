use directway::{
    model::{ForeignTag, Role},
    plan::Op,
};

use crate::world::{EADDRNOTAVAIL, EEXIST, ENODEV, NODE, VIP, World, on, quiet};

pub fn a_quiet_and_a_held_address_are_added_and_seen(world: &mut World) {
    let (bound, held) = (on("lo", VIP), on("eth0", VIP));
    world.must([quiet("lo", VIP), Op::AddAddress(held.clone(), Role::Held)]);
    let observed = world.observe();
    assert_eq!(observed.net.addresses.get(&bound), Some(&Role::Quiet));
    assert_eq!(observed.net.addresses.get(&held), Some(&Role::Held));
    for key in [&bound, &held] {
        let seen = observed.addresses[key];
        assert_eq!(
            (seen.tag, seen.valid_seconds),
            (ForeignTag::Ours, None),
            "{key:?}"
        );
    }
    if let Some(judge) = &world.judge {
        for dev in ["lo", "eth0"] {
            let text = judge.node(&format!("ip -4 -o addr show dev {dev}"));
            assert!(text.contains(&format!("{VIP}/32")), "{text}");
        }
    }
    world.must([
        Op::DelAddress(held.clone(), Role::Held),
        Op::DelAddress(bound.clone(), Role::Quiet),
    ]);
    let observed = world.observe();
    assert!(!observed.net.carries(bound.ip));
    assert!(!observed.addresses.contains_key(&held));
}

pub fn an_address_is_added_once(world: &mut World) {
    world.must([quiet("lo", VIP)]);
    world.refused(quiet("lo", VIP), EEXIST);
}

pub fn an_address_that_is_not_there_cannot_be_deleted(world: &mut World) {
    world.refused(Op::DelAddress(on("lo", VIP), Role::Quiet), EADDRNOTAVAIL);
}

pub fn a_device_that_is_not_there_is_named(world: &mut World) {
    for op in [
        quiet("eth7", VIP),
        Op::DelAddress(on("eth7", VIP), Role::Quiet),
        Op::AddRoute(on("eth7", VIP)),
    ] {
        let message = world.refused(op, ENODEV);
        assert!(message.contains("eth7"), "{message}");
    }
}

pub fn a_refused_op_does_not_stop_the_others(world: &mut World) {
    world.must([quiet("lo", "10.77.0.102")]);
    let ops: Vec<Op> = (101..104)
        .map(|last| quiet("lo", &format!("10.77.0.{last}")))
        .collect();
    let refused: Vec<bool> = world
        .kernel
        .apply(&ops)
        .iter()
        .map(Result::is_err)
        .collect();
    assert_eq!(refused, [false, true, false]);
    let observed = world.observe();
    assert!((101..104).all(|last| {
        observed
            .net
            .addresses
            .contains_key(&on("lo", &format!("10.77.0.{last}")))
    }));
}

pub fn addresses_of_others_are_told_apart(world: &mut World) {
    let observed = world.observe();
    let network = format!("{NODE}/24").parse().unwrap();
    assert_eq!(
        observed.links["eth0"]
            .addresses
            .iter()
            .filter(|net| !net.addr().is_ipv6())
            .collect::<Vec<_>>(),
        [&network]
    );
    assert!(
        !observed.net.addresses.contains_key(&on("eth0", NODE)),
        "only host-sized addresses are VIPs"
    );

    let Some(judge) = &world.judge else { return };
    // (ip of iproute2 6.1 cannot set IFA_PROTO)
    judge.node(
        "ip addr add 10.77.0.101/32 dev lo
         ip addr add 10.77.0.102/32 dev lo valid_lft 100 preferred_lft 100",
    );
    let observed = world.observe();
    let seen = |address| observed.addresses[&on("lo", address)];
    assert_eq!(seen("10.77.0.101").tag, ForeignTag::Untagged);
    assert_eq!(seen("10.77.0.101").valid_seconds, None);
    assert!(
        seen("10.77.0.102")
            .valid_seconds
            .is_some_and(|seconds| (80..=100).contains(&seconds))
    );
}
