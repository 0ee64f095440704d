//! Interfaces that appear, change their names or are replaced while agents run.

use super::*;
use crate::model::{Arp, ArpSettings};

fn lan0() -> Dev {
    "lan0".parse().unwrap()
}

#[test]
fn a_nic_that_appears_is_made_quiet() {
    let mut world = World::new(false);
    world.settle();
    let new: Dev = "eth1".parse().unwrap();
    world.lan.on("b1", |machine| {
        machine.plug_in(&new, "lan", ["10.0.0.77/24".parse().unwrap()])
    });
    let (_, report) = world.pass("b1");
    assert!(report.unwrap().peer.bound.contains(VIP));
    assert!(world.look("b1").links[&new].arp.is_quiet());
    assert!(!world.lan.claimants(VIP).contains("b1"));
}

#[test]
fn an_interface_is_given_back_under_its_new_name() {
    for name in ["b1", "d"] {
        let mut world = World::new(false);
        let set = |machine: &mut Machine| machine.set_arp(&eth0(), Arp::Announce, 1);
        world.lan.on(name, set).unwrap().unwrap();
        let before = world.look(name).links[&eth0()].arp;
        world.settle();
        let renamed = world
            .lan
            .on(name, |machine| machine.rename(&eth0(), &lan0()));
        renamed.unwrap().unwrap();
        world.settle();
        assert_eq!(world.look(name).links[&lan0()].arp, ArpSettings::QUIET);
        assert_eq!(world.answers().len(), 4);
        world.delete();
        world.settle();
        let after = world.look(name);
        assert_eq!(after.links[&lan0()].arp, before, "{name}");
        assert!(!after.net.carries(VIP), "{name}");
    }
}

/// The settings of the old one went with it; the new one's are its own.
#[test]
fn nothing_is_given_back_to_an_interface_that_took_another_s_name() {
    let mut world = World::new(false);
    world.settle();
    let replace = |machine: &mut Machine| {
        machine.del_link(&eth0()).unwrap();
        machine.plug_in(&eth0(), "lan", ["10.0.0.11/24".parse().unwrap()]);
        machine.set_arp(&eth0(), Arp::Ignore, 1).unwrap();
        machine.set_arp(&eth0(), Arp::Announce, 2).unwrap();
    };
    world.lan.on("b1", replace).unwrap();
    world.settle();
    world.delete();
    world.settle();
    assert_eq!(world.look("b1").links[&eth0()].arp, ArpSettings::QUIET);
}

/// The kernel notifies nobody of these settings.
#[test]
fn an_interface_that_is_no_longer_quiet_is_noticed_between_passes() {
    let mut world = World::new(false);
    world.settle();
    let finds = |world: &mut World| {
        let mut kernel = world.lan.kernel("b1");
        let passes = &mut world.agent("b1").passes;
        passes.is_watching() && passes.finds_drift(&mut kernel)
    };
    assert!(!finds(&mut world));
    for change in [
        (|machine| machine.set_arp(&eth0(), Arp::Ignore, 0).unwrap()) as fn(&mut Machine),
        |machine| machine.set_arp(&eth0(), Arp::Announce, 0).unwrap(),
        |machine| {
            machine.set_arp_all(ArpSettings {
                ignore: 3,
                announce: 0,
            })
        },
    ] {
        world.lan.on("b1", change).unwrap();
        assert!(finds(&mut world));
        world.pass("b1");
        assert!(!finds(&mut world), "once");
    }
    world.delete();
    world.settle();
    assert!(!finds(&mut world), "nothing has to be quiet");
}
