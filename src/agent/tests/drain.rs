//! What a director reports of real servers that it drains.

use super::*;
use crate::model::{DRAIN_ANNOTATION, Drain};

/// What `d` reports of the drain of `server`, 10.0.0.11 or 10.0.0.12.
fn reported(world: &mut World, server: IpAddr) -> Option<Drain> {
    let (_, report) = world.pass("d");
    report.unwrap().drains.get(&server).copied()
}

#[test]
fn a_drain_is_reported_until_its_last_connection_has_ended() {
    let mut world = World::new(true);
    world.change(|| Change::of(&SERVICE.replace("drainSeconds: 0", "drainSeconds: 60")));
    world.settle();
    let long = world.lan.send("client", VIP, 80, Protocol::Tcp);
    let last = if long.hops[1].to == "b1" { 11 } else { 12 };
    let server = [10, 0, 0, last].into();
    assert_eq!(reported(&mut world, server), None);

    let address = format!("address: 10.0.0.{last}");
    let manifests = node_manifests();
    let documents = manifests.split("---\n").filter(|it| it.contains(&address));
    let annotated: String = documents
        .map(|node| {
            let metadata = format!("metadata: {{annotations: {{{DRAIN_ANNOTATION}: 'true'}}, ");
            node.replace("metadata: {", &metadata)
        })
        .collect();
    world.change(|| Change::of(&annotated));
    let wall = jiff::Timestamp::now();
    world.pass("d");
    let first = reported(&mut world, server).unwrap();
    assert_eq!(first.connections, 1);
    let left = first.seconds_left(wall);
    assert!((58..=62).contains(&left), "{left} s");
    world.now += Duration::from_secs(20);
    assert_eq!(reported(&mut world, server), Some(first), "no jitter");
    world.lan.close(long.flow);
    assert_eq!(reported(&mut world, server), None);
}
