use directway::{
    model::{Arp, ArpSettings},
    plan::{ArpChange, Op},
};

use crate::world::{ENODEV, World};

fn set(dev: &str, which: Arp, from: u32, to: u32) -> ArpChange {
    ArpChange {
        dev: dev.parse().unwrap(),
        which,
        from,
        to,
    }
}

pub fn arp_settings_are_set_and_given_back(world: &mut World) {
    assert_eq!(world.observe().arp_all, ArpSettings::default());
    assert_eq!(world.observe().net.arp["eth0"], ArpSettings::default());
    world.must([
        Op::Quiet(set("eth0", Arp::Ignore, 0, 1)),
        Op::Quiet(set("eth0", Arp::Announce, 0, 2)),
    ]);
    let observed = world.observe();
    assert_eq!(observed.net.arp["eth0"], ArpSettings::QUIET);
    assert_eq!(observed.links["eth0"].arp, ArpSettings::QUIET);
    assert_eq!(
        observed.net.arp["eth1"],
        ArpSettings::default(),
        "the other interface is left alone"
    );
    world.must([
        Op::Restore(set("eth0", Arp::Ignore, 1, 0)),
        Op::Restore(set("eth0", Arp::Announce, 2, 0)),
    ]);
    assert_eq!(world.observe().net.arp["eth0"], ArpSettings::default());
}

pub fn arp_settings_of_a_missing_device_are_refused(world: &mut World) {
    let message = world.refused(Op::Quiet(set("eth7", Arp::Ignore, 0, 1)), ENODEV);
    assert!(message.contains("eth7"), "{message}");
}

pub fn arp_settings_agree_with_sysctl(world: &mut World) {
    world.must([
        Op::Quiet(set("eth0", Arp::Ignore, 0, 8)),
        Op::Quiet(set("lo", Arp::Announce, 0, 1)),
    ]);
    let Some(judge) = &world.judge else { return };
    assert_eq!(
        judge
            .node("cat /proc/sys/net/ipv4/conf/eth0/arp_ignore")
            .trim(),
        "8"
    );
    assert_eq!(
        judge
            .node("cat /proc/sys/net/ipv4/conf/lo/arp_announce")
            .trim(),
        "1"
    );
    judge.node("sysctl -qw net.ipv4.conf.eth1.arp_announce=2 net.ipv4.conf.all.arp_ignore=1");
    let observed = world.observe();
    assert_eq!(
        observed.net.arp["eth1"],
        ArpSettings {
            ignore: 0,
            announce: 2
        }
    );
    assert_eq!(
        observed.arp_all,
        ArpSettings {
            ignore: 1,
            announce: 0
        }
    );
}
