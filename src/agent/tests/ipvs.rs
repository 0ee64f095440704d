//! Settings of IPVS.

use super::*;
use crate::model::IpvsSetting;

#[test]
fn settings_of_ipvs_come_with_the_first_service_and_go_with_the_last() {
    let mut world = World::new(false);
    let settings = [(IpvsSetting::ScheduleIcmp, 1)];
    world.restart_with(&NodeOptions {
        ipvs: settings.into(),
        ..NodeOptions::default()
    });
    let set = |world: &World, name| world.look(name).net.ipvs[&IpvsSetting::ScheduleIcmp];
    world.settle();
    assert_eq!(["d", "b1", "b2"].map(|name| set(&world, name)), [1, 0, 0]);
    world.delete();
    world.settle();
    assert_eq!(set(&world, "d"), 0);
}

#[test]
fn a_director_of_udp_reports_that_clients_would_stay_with_a_deleted_real_server() {
    let reported = |world: &mut World, name: &str| {
        let (_, report) = world.pass(name);
        let preflight = report.unwrap().preflight;
        preflight
            .iter()
            .any(|entry| entry.check == PreflightCheck::ExpireNodestConn)
    };
    let mut world = World::new(false);
    world.settle();
    assert!(!reported(&mut world, "d"), "TCP");
    world.change(|| Change::of(&SERVICE.replace("{port: 80}", "{port: 80, protocol: UDP}")));
    world.settle();
    assert!(reported(&mut world, "d") && !reported(&mut world, "b1"));
    world.restart_with(&NodeOptions {
        ipvs: [(IpvsSetting::ExpireNodestConn, 1)].into(),
        ..NodeOptions::default()
    });
    world.settle();
    assert!(!reported(&mut world, "d"));
}
