//! Changes that directway did not make.

use super::*;
use crate::plan::Op;

#[test]
fn what_somebody_else_changed_is_put_right_and_counted() {
    let mut world = World::new(false);
    world.settle();
    let key = *world.look("d").net.services.keys().next().unwrap();
    let mut intruder = world.lan.kernel("d");
    let results = intruder.apply(&[crate::plan::Op::DelDestination(key, [10, 0, 0, 11].into())]);
    assert!(results.iter().all(Result::is_ok));
    let (end, _) = world.pass("d");
    assert_eq!((end.ops.len(), end.drift), (1, 1), "{:?}", end.ops);
    let (end, _) = world.pass("d");
    assert_eq!((end.ops.len(), end.drift), (0, 0));
    let other = "10.0.0.12:8080".parse().unwrap();
    world.lan.on("d", |machine| {
        machine.add_foreign_destination(key, other, Destination::direct(5));
    });
    let (end, _) = world.pass("d");
    assert_eq!(end.ops, ["ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.12:8080"]);
    assert_eq!(end.drift, 1);
    assert!(world.look("d").foreign_destinations.is_empty());
    let (_, report) = world.pass("d");
    let repairs = report.unwrap().repairs;
    let counts: Vec<_> = repairs
        .iter()
        .map(|(op, it)| (op.as_str(), it.count))
        .collect();
    assert_eq!(
        counts,
        [("add_destination", 1), ("del_foreign_destination", 1)]
    );
    // A change of the VirtualService is no drift.
    world.change(|| Change::of(&SERVICE.replace("rr", "wrr")));
    let (end, _) = world.pass("d");
    assert_eq!((end.ops.len(), end.drift), (1, 0), "{:?}", end.ops);
}

#[test]
fn what_is_undone_again_and_again_is_reported_until_that_is_over() {
    let mut world = World::new(false);
    world.settle();
    let delete = |world: &mut World| {
        let deleted = |machine: &mut Machine| machine.del_address(&Dev::lo(), VIP.into());
        world.lan.on("b1", |machine| deleted(machine).unwrap());
        world.now += Duration::from_secs(20);
    };
    for _ in 0..5 {
        delete(&mut world);
        let (end, report) = world.pass("b1");
        assert_eq!(end.ops.len(), 1);
        let warned = report.unwrap().warnings;
        assert!(warned.keys().all(|it| it.reason == Reason::Overwritten));
    }
    delete(&mut world);
    world.now -= Duration::from_secs(16);
    let (end, report) = world.pass("b1");
    assert_eq!(end.ops.len(), 0, "the last repair was 4 s ago");
    assert_eq!(end.next.deadline, Some(Duration::from_secs(1)));
    let report = report.unwrap();
    assert!(report.peer.bound.is_empty());
    let (warning, vips) = report.warnings.first_key_value().unwrap();
    assert_eq!(warning.reason, Reason::Overwritten);
    assert_eq!(vips.to_strings(), ["10.0.0.100"]);
    world.now += Duration::from_secs(1);
    assert_eq!(world.pass("b1").0.ops.len(), 1);
    world.now += Duration::from_secs(301);
    let (_, report) = world.pass("b1");
    assert_eq!(report.unwrap().warnings.len(), 0);
}

/// A change of which the kernel notifies nobody.
#[test]
fn a_look_finds_each_change_of_a_service() {
    let mut world = World::new(false);
    world.settle();
    let key = *world.look("d").net.services.keys().next().unwrap();
    let server = IpAddr::from([10, 0, 0, 11]);
    let changes = [
        Op::DelService(key),
        Op::DelDestination(key, server),
        Op::EditDestination(key, server, Destination::direct(7)),
        Op::AddDestination(key, [10, 0, 0, 99].into(), Destination::direct(1)),
    ];
    for change in changes {
        let mut kernel = world.lan.kernel("d");
        let passes = &mut world.agent("d").passes;
        assert!(passes.is_watching() && !passes.finds_drift(&mut kernel));
        let text = change.to_string();
        let results = kernel.apply(&[change]);
        assert!(results.iter().all(Result::is_ok), "{text}");
        assert!(passes.finds_drift(&mut kernel), "{text}");
        for _ in 0..3 {
            // A destination that is not ours is drained first.
            world.pass("d");
        }
    }
}
