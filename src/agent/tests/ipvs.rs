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
