//! Changes that directway did not make.

use super::*;

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
    // A change of the VirtualService is no drift.
    world.change(|| Change::of(&SERVICE.replace("rr", "wrr")));
    let (end, _) = world.pass("d");
    assert_eq!((end.ops.len(), end.drift), (1, 0), "{:?}", end.ops);
}
