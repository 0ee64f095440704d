//! The segments from which tests start.

use std::time::Duration;

use directway::election::Timing;

use crate::{judge::Judge, wire::ms, world::World};

/// A short hold-down, so that every story ends with the VIPs where they belong.
pub fn hasty() -> Timing {
    Timing {
        hold_down: ms(1000),
        retry: ms(500),
        ..Timing::default()
    }
}

/// Starts the directors one after the other and lets them settle; `phase` shifts what follows by 13 ms × `phase`.
pub fn in_order(mut world: World, phase: u64) -> World {
    for host in 0..world.hosts.len() {
        world.start_agent(host);
        after(&mut world, ms(11));
    }
    let settled = ms(4000 + 2 * world.orders.len() as u64 + 13 * phase);
    world.run(settled);
    world.verdict().unwrap();
    arm(&mut world);
    world
}

/// From now on the judge measures, and a VIP may move only after a fault that hits more than agents.
pub fn arm(world: &mut World) {
    let mut judge: Judge = std::mem::take(&mut world.judge);
    judge.arm(world);
    world.judge = judge;
}

/// Host 0 is the best director of all VIPs, then 1, then 2.
pub fn all_on_first(hosts: usize, vips: usize, timing: Timing) -> World {
    let mut world = World::new(hosts, vips, timing);
    for order in world.orders.values_mut() {
        order.sort_unstable();
    }
    for host in 0..hosts {
        world.configure(host);
    }
    world
}

pub fn after(world: &mut World, time: Duration) {
    let end = world.now + time;
    world.run(end);
}

/// Runs for `time`, in which no rule may be broken; then every VIP must be held by its best director.
pub fn settle(world: &mut World, time: Duration) {
    after(world, time);
    fine(world);
    world.verdict().unwrap();
}

pub fn fine(world: &World) {
    assert_eq!(world.judge.violation, None);
}

/// How long it takes until every VIP is held by its best director, in whole milliseconds.
pub fn until_in_order(world: &mut World, limit: Duration) -> Duration {
    let began = world.now;
    while let Err(wrong) = world.verdict() {
        assert!(world.now < began + limit, "{wrong}");
        after(world, ms(1));
    }
    fine(world);
    world.now - began
}
