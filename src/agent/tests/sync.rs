//! Connections that directors exchange.

use super::*;
use crate::{
    model::{PreflightCheck, SyncDaemon, SyncDaemons, SyncHalf},
    plan::Op,
};

fn daemon(id: u32) -> SyncDaemon {
    SyncDaemon { dev: eth0(), id }
}

/// Agents that are set to use this daemon.
fn told(id: u32) -> World {
    let mut world = World::new(true);
    tell(&mut world, Some(daemon(id)));
    world
}

fn tell(world: &mut World, daemon: Option<SyncDaemon>) {
    world.restart_with(&NodeOptions {
        sync: daemon,
        ..NodeOptions::default()
    });
}

fn running(world: &World, name: &str) -> SyncDaemons {
    world.look(name).net.sync
}

fn both(id: u32) -> SyncDaemons {
    SyncHalf::ALL.map(|half| (half, daemon(id))).into()
}

#[test]
fn daemons_come_with_the_first_service_and_go_with_the_last() {
    let mut world = told(215);
    world.settle();
    assert_eq!(running(&world, "d"), both(215));
    assert_eq!(running(&world, "b1"), [].into(), "directors only");
    world.delete();
    world.settle();
    assert_eq!(running(&world, "d"), [].into());
}

#[test]
fn an_agent_with_another_number_takes_over_what_an_earlier_one_started() {
    let mut world = told(215);
    world.settle();
    tell(&mut world, Some(daemon(7)));
    world.settle();
    assert_eq!(running(&world, "d"), both(7));
    tell(&mut world, None);
    world.settle();
    assert_eq!(running(&world, "d"), [].into());
}

#[test]
fn somebody_elses_daemon_is_reported_and_left_alone() {
    let mut world = told(215);
    let ops = [Op::StartSync(SyncHalf::Backup, daemon(51))];
    assert_eq!(world.lan.kernel("d").apply(&ops), [Ok(())]);
    world.settle();
    let expected = [
        (SyncHalf::Master, daemon(215)),
        (SyncHalf::Backup, daemon(51)),
    ];
    assert_eq!(running(&world, "d"), expected.into());
    let (_, report) = world.pass("d");
    let preflight = report.unwrap().preflight;
    assert!(
        preflight
            .iter()
            .any(|entry| entry.check == PreflightCheck::ConnectionSync
                && entry.message.contains("backup")
                && entry.message.contains("syncid 51 on eth0")),
        "{preflight:?}"
    );
    world.delete();
    world.settle();
    assert_eq!(
        running(&world, "d"),
        [(SyncHalf::Backup, daemon(51))].into()
    );
}

/// The kernel's daemon stays bound to an interface that is gone, and shows its name.
#[test]
fn daemons_are_started_again_on_an_interface_that_was_made_anew() {
    let mut world = told(215);
    world.settle();
    let replace = |machine: &mut Machine| {
        machine.del_link(&eth0()).unwrap();
        machine.plug_in(&eth0(), "lan", ["10.0.0.1/24".parse().unwrap()]);
    };
    world.lan.on("d", replace).unwrap();
    let (end, _) = world.pass("d");
    let again = |op: &&String| op.contains("daemon");
    let expected = [
        "ipvsadm --stop-daemon master",
        "ipvsadm --stop-daemon backup",
        "ipvsadm --start-daemon master --mcast-interface eth0 --syncid 215",
        "ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 215",
    ];
    assert_eq!(end.ops.iter().filter(again).collect::<Vec<_>>(), expected);
    let (end, _) = world.pass("d");
    assert_eq!(end.ops.iter().find(again), None, "once");
    assert_eq!(running(&world, "d"), both(215));
}
