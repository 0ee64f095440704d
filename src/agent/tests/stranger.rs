//! A host that is no node and answers for a VIP.

use super::*;

#[test]
fn a_vip_that_a_stranger_has_is_not_claimed_until_the_stranger_is_gone() {
    let mut world = World::new(false);
    let net = format!("{VIP}/24").parse().unwrap();
    world
        .lan
        .add("stranger", Machine::new().nic(&eth0(), "lan", [net]));
    let mac = world
        .lan
        .on("stranger", |machine| machine.mac(&eth0()))
        .flatten()
        .unwrap();
    world.pass("d");
    for _ in 0..4 {
        world.now += Duration::from_secs(2);
        let (_, report) = world.pass("d");
        let report = report.unwrap();
        let refusal = report.refused.values().next().unwrap();
        assert_eq!(refusal.reason, Reason::VipConflict, "{refusal}");
        assert!(refusal.message.contains(&mac.to_string()), "{refusal}");
        let conflict = Conflict {
            own: None,
            rivals: [(mac, None)].into(),
        };
        assert_eq!(report.conflicts.values().next(), Some(&conflict));
        assert!(report.peer.held.is_empty() && !world.lan.claimants(VIP).contains("d"));
    }
    world.lan.power_off("stranger");
    world.settle();
    let (_, report) = world.pass("d");
    assert!(report.unwrap().peer.held.contains(VIP));
}
