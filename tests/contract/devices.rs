use directway::{
    kernel::OpError,
    model::{Dev, LinkKind},
    plan::Op,
};

use crate::world::{EEXIST, ENODEV, NODE_MAC, World};

fn dev(name: &str) -> Dev {
    name.parse().unwrap()
}

pub fn a_dummy_device_is_created_up_and_deleted(world: &mut World) {
    world.must([Op::AddDummy(dev("vip0"))]);
    let observed = world.observe();
    assert!(observed.net.dummies.contains("vip0"));
    let link = &observed.links["vip0"];
    assert!(
        link.up && link.kind == LinkKind::Dummy && !link.hears_arp(),
        "{link:?}"
    );
    if let Some(judge) = &world.judge {
        assert!(judge.node("ip -d link show vip0").contains("dummy"));
    }
    world.must([Op::DelDummy(dev("vip0"))]);
    let observed = world.observe();
    assert!(!observed.net.dummies.contains("vip0") && !observed.links.contains_key("vip0"));
}

pub fn a_dummy_device_is_created_once(world: &mut World) {
    world.must([Op::AddDummy(dev("vip0"))]);
    world.refused(Op::AddDummy(dev("vip0")), EEXIST);
}

pub fn only_dummy_devices_are_deleted(world: &mut World) {
    world.refused(Op::DelDummy(dev("vip0")), ENODEV);
    let result = world.apply(Op::DelDummy(dev("eth1")));
    assert!(matches!(result, Err(OpError::Unsent(_))), "{result:?}");
    assert!(world.observe().links.contains_key("eth1"));
}

pub fn interfaces_are_described(world: &mut World) {
    let observed = world.observe();
    let (lo, eth0) = (&observed.links["lo"], &observed.links["eth0"]);
    assert_eq!(
        (lo.kind, lo.mac, lo.arp_capable),
        (LinkKind::Loopback, None, false)
    );
    assert_eq!(
        (eth0.kind, eth0.mac, eth0.enslaved),
        (LinkKind::Other, Some(NODE_MAC), false)
    );
    assert!(eth0.up && eth0.carrier && eth0.arp_capable && eth0.hears_arp());
    assert!(observed.net.dummies.is_empty());

    let Some(judge) = &world.judge else { return };
    judge.peer("ip link set eth0 down");
    let link = world.observe().links["eth0"].clone();
    assert!(link.up && !link.carrier, "{link:?}");
    let Some(judge) = &world.judge else { return };
    judge.node("ip link set eth1 down; ip link set eth0 arp off");
    let observed = world.observe();
    assert!(!observed.links["eth1"].up);
    assert!(!observed.links["eth0"].arp_capable);
}

pub fn bridges_and_their_ports_are_told_apart(world: &mut World) {
    let Some(judge) = &world.judge else { return };
    judge.node(
        "ip link add br0 type bridge; ip link set br0 up; ip link set eth1 master br0
         ip link add link eth0 name eth0.5 type vlan id 5; ip link set eth0.5 up",
    );
    let observed = world.observe();
    assert!(observed.links["eth1"].enslaved && !observed.links["eth1"].hears_arp());
    assert!(observed.links["br0"].hears_arp());
    assert!(observed.links["eth0.5"].hears_arp() && observed.links["eth0"].hears_arp());
}
