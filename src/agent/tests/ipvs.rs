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

/// A director reports `check` as soon as its service is `edited`, and no more when it may set `setting`.
fn reports_a_missing_setting(edited: fn() -> String, check: &PreflightCheck, setting: IpvsSetting) {
    let reported = |world: &mut World, name: &str| {
        let (_, report) = world.pass(name);
        let preflight = report.unwrap().preflight;
        preflight.iter().any(|entry| entry.check == *check)
    };
    let mut world = World::new(false);
    world.settle();
    assert!(!reported(&mut world, "d"), "it does not matter yet");
    world.change(|| Change::of(&edited()));
    world.settle();
    assert!(reported(&mut world, "d") && !reported(&mut world, "b1"));
    world.restart_with(&NodeOptions {
        ipvs: [(setting, 1)].into(),
        ..NodeOptions::default()
    });
    world.settle();
    assert!(!reported(&mut world, "d"));
}

#[test]
fn a_director_of_udp_reports_that_clients_would_stay_with_a_deleted_real_server() {
    reports_a_missing_setting(
        || SERVICE.replace("{port: 80}", "{port: 80, protocol: UDP}"),
        &PreflightCheck::ExpireNodestConn,
        IpvsSetting::ExpireNodestConn,
    );
}

#[test]
fn a_director_with_persistence_reports_that_clients_would_stay_with_a_drained_real_server() {
    reports_a_missing_setting(
        || {
            let persistent = "spec:\n  persistence: {timeoutSeconds: 300}";
            SERVICE.replace("spec:", persistent)
        },
        &PreflightCheck::ExpireQuiescentTemplate,
        IpvsSetting::ExpireQuiescentTemplate,
    );
}
